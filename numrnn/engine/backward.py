"""Back-propagation through time: layer by layer from the top, time block by time block from the last.

A block takes a launch over groups of rows (adjoints, input gradients, operands packed), and then for each direction one
over rows of the weight gradients, which sums them over the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import backward_plans, by_reference
from numrnn.engine.backward_plans import BackwardLaunch
from numrnn.engine.buffers import SCRATCHES, flat, reset_flags
from numrnn.engine.forward import Saved
from numrnn.engine.workspace import Workspace
from numrnn.kernels import launch

Array = NDArray[Any]


def run(
    saved: Any, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None, *, x_gradient: bool
) -> tuple[Array | None, Array, Array | None, dict[str, Array]]:
    """Return the gradients of x, h_0, c_0 and the parameters."""
    if _jit.DISABLED:
        return by_reference.backward(saved, d_output, d_h_n, d_c_n, x_gradient=x_gradient)
    plan = saved.plan
    n_states = plan.num_layers * plan.num_directions
    d_h_0 = np.empty((n_states, plan.batch_size, plan.output_size), plan.dtype)
    d_c_0 = np.empty((n_states, plan.batch_size, plan.hidden_size), plan.dtype) if plan.spec.has_cell_state else None
    found: dict[str, Array] = {}
    for layer in reversed(range(plan.num_layers)):
        rows = plan.states_of(layer)
        d_output, gradients = _run_layer(
            saved,
            layer,
            d_output,
            [(None if given is None else given[rows]) for given in (d_h_n, d_c_n)],
            [(None if target is None else target[rows]) for target in (d_h_0, d_c_0)],
            x_gradient=x_gradient or layer > 0,
        )
        found |= gradients
        if saved.dropout is not None and d_output is not None and layer > 0:
            d_output = saved.dropout(d_output, layer - 1, plan.n_threads)
    return d_output, d_h_0, d_c_0, {name: found[name] for name in saved.panels.parameters}


def _run_layer(
    saved: Saved,
    layer: int,
    d_output: Array | None,
    given: list[Array | None],
    targets: list[Array | None],
    *,
    x_gradient: bool,
) -> tuple[Array | None, dict[str, Array]]:
    """Back through one layer; writes the targets d_h_0 and d_c_0, returns d_x and the parameters' gradients."""
    plan, batch = saved.plan, saved.batch
    space = Workspace.of(plan, keep=True) if saved.segments is None else saved.segments.space
    planned = backward_plans.backward(
        plan,
        layer,
        batch,
        space,
        has_d_output=d_output is not None,
        has_d_x=x_gradient,
        resets=saved.resets is not None,
    )
    size, scratch = planned.size, SCRATCHES[plan.dtype].borrow(planned.launch.scratch)
    states: list[tuple[Array, Array]] = []
    for d, places in enumerate(planned.arenas):
        scratch[places.d_h : places.fresh] = 0
        for at, start, target in zip((places.d_h, places.d_c), given, targets, strict=True):
            if target is not None:
                rows = scratch[at : at + plan.batch_size * size.state_stride]
                rows = rows.reshape(plan.batch_size, size.state_stride)
                states.append((rows[:, : target.shape[-1]], target[d]))
                if start is not None:
                    states[-1][0][:] = start[d]
    x = saved.input(layer)
    make = np.empty if batch.steps else np.zeros
    d_x = make((plan.num_directions, *x.shape), plan.dtype) if x_gradient else None
    if batch.steps:
        _run_blocks(saved, layer, planned, x, d_output, d_x, scratch)
    for state, target in states:
        target[:] = state
    gradients: dict[str, Array] = {}
    for d in range(plan.num_directions):
        gradients |= _parameter_gradients(saved, layer, planned, d, scratch)
    SCRATCHES[plan.dtype].give_back(scratch)
    if d_x is None:
        return None, gradients
    if plan.num_directions == 2:
        d_x[0] += d_x[1]
    return (d_x[0] if plan.num_directions == 1 else d_x[0].copy()), gradients


def _run_blocks(
    saved: Saved,
    layer: int,
    planned: BackwardLaunch,
    x: Array,
    d_output: Array | None,
    d_x: Array | None,
    scratch: Array,
) -> None:
    plan, nothing, segments = saved.plan, scratch[:1], saved.segments
    workspace, k, since = saved.workspaces[layer], 0, 0
    if segments is not None:
        k = len(segments.bounds)
        workspace = SCRATCHES[plan.dtype].borrow(plan.num_directions * segments.space.size)
    arrays = (
        flat(x),
        saved.panels.backward(layer),
        saved.start(layer),
        flat(saved.outputs[layer]),
        workspace,
        nothing if d_output is None else flat(d_output),
        nothing if d_x is None else flat(d_x),
        scratch,
        reset_flags(saved.resets),
    )
    twins = launch.BACKWARD[plan.spec.name]
    for begin, end, lines in planned.blocks:
        if segments is not None and end == segments.bounds[k - 1][1]:
            k -= 1
            since = segments.bounds[k][0]
            saved.rebuild(layer, x, k, workspace)
        planned.launch.run(twins, begin, end, scratch, arrays, saved.batch.running, since)
        for n_tasks, request in planned.sums_of(lines):
            launch.run(launch.WEIGHT_GRADIENT, n_tasks, request, scratch, scratch)
    if segments is not None:
        SCRATCHES[plan.dtype].give_back(workspace)


def _parameter_gradients(saved: Saved, layer: int, planned: BackwardLaunch, d: int, scratch: Array) -> dict[str, Array]:
    """Read the sums out of the scratch, in PyTorch's order of gates."""
    plan, size, places = saved.plan, planned.size, planned.arenas[d]
    suffix = f"_l{layer}_reverse" if d else f"_l{layer}"
    split = size.slab_width > size.width

    def input_side(rows: Array) -> Array:
        """Undo the slab's order, which begins with the candidate where that is apart."""
        if not size.hidden_begin:
            return rows[: size.width].copy()
        return np.concatenate([rows[size.hidden_begin : size.width], rows[: size.hidden_begin]])

    def hidden_side(rows: Array) -> Array:
        return rows[size.hidden_begin : size.hidden_begin + size.hidden_width]

    bias, hidden = places.weights.column_sums(scratch), hidden_side(places.weights.total(scratch, 1))
    if size.reset_before:
        hidden = np.concatenate([hidden, places.weights.total(scratch, 2)[: size.hidden_size]])
    gradients = {
        f"weight_ih{suffix}": input_side(places.weights.total(scratch, 0)),
        f"weight_hh{suffix}": hidden.copy(),
    }
    if plan.bias:
        gradients[f"bias_ih{suffix}"] = input_side(bias)
        gradients[f"bias_hh{suffix}"] = hidden_side(bias).copy() if split else input_side(bias)
    if places.projection is not None:
        gradients[f"weight_hr{suffix}"] = places.projection.total(scratch, 0).copy()
    return gradients
