"""Back-propagation through time: layer by layer from the top, time block by time block from the last.

A block takes two launches: one over groups of rows (adjoints, input gradients, operands packed), one over rows of the
weight gradients, which sums them over the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import by_reference, geometry
from numrnn.engine.forward import Saved, flat
from numrnn.engine.panels import aligned
from numrnn.kernels import launch, products
from numrnn.kernels import recurrence as fields

Array = NDArray[Any]


def run(
    saved: Any, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None, *, x_gradient: bool
) -> tuple[Array | None, Array, Array | None, dict[str, Array]]:
    """Return the gradients of x, h_0, c_0 and the parameters."""
    if _jit.DISABLED:
        plan, trace = saved
        d_x, d_h_0, d_c_0, d_parameters = by_reference.backward(plan, trace, d_output, d_h_n, d_c_n)
        return (d_x if x_gradient else None), d_h_0, d_c_0, d_parameters
    return _run_stack(saved, d_output, d_h_n, d_c_n, x_gradient=x_gradient)


def _run_stack(
    saved: Saved, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None, *, x_gradient: bool
) -> tuple[Array | None, Array, Array | None, dict[str, Array]]:
    plan = saved.plan
    shape = (plan.num_layers, plan.batch_size, plan.hidden_size)
    d_h_0 = np.empty(shape, plan.dtype)
    d_c_0 = np.empty(shape, plan.dtype) if plan.spec.has_cell_state else None
    found: dict[str, Array] = {}
    for layer in reversed(range(plan.num_layers)):
        wanted = x_gradient or layer > 0
        d_output, gradients = _run_layer(
            saved,
            layer,
            d_output,
            None if d_h_n is None else d_h_n[layer],
            None if d_c_n is None else d_c_n[layer],
            d_h_0[layer],
            None if d_c_0 is None else d_c_0[layer],
            x_gradient=wanted,
        )
        found |= gradients
    return d_output, d_h_0, d_c_0, {name: found[name] for name in saved.panels.parameters}


def _run_layer(
    saved: Saved,
    layer: int,
    d_output: Array | None,
    d_h_n: Array | None,
    d_c_n: Array | None,
    d_h_0: Array,
    d_c_0: Array | None,
    *,
    x_gradient: bool,
) -> tuple[Array | None, dict[str, Array]]:
    """Back through one layer; writes d_h_0 and d_c_0, returns d_x and the parameters' gradients."""
    plan, size = saved.plan, geometry.layer_sizes(saved.plan, layer)
    places = geometry.arena(plan, layer)
    scratch = aligned(places.size, plan.dtype)
    scratch[: places.fresh] = 0
    states = {"d_h": (places.d_h, d_h_n, d_h_0)}
    if d_c_0 is not None:
        states["d_c"] = (places.d_c, d_c_n, d_c_0)
    views = {}
    for name, (at, given, _) in states.items():
        rows = scratch[at : at + plan.batch_size * size.state_stride].reshape(plan.batch_size, size.state_stride)
        views[name] = rows[:, : plan.hidden_size]
        if given is not None:
            views[name][:] = given
    x = saved.x if layer == 0 else saved.outputs[layer - 1]
    d_x = np.empty(x.shape, plan.dtype) if x_gradient else None
    if plan.seq_len and plan.batch_size:
        _run_blocks(saved, layer, x, d_output, d_x, scratch)
    for name, (_, _, target) in states.items():
        target[:] = views[name]
    return d_x, _parameter_gradients(saved, layer, scratch)


def _run_blocks(saved: Saved, layer: int, x: Array, d_output: Array | None, d_x: Array | None, scratch: Array) -> None:
    plan = saved.plan
    nothing = scratch[:1]
    request = geometry.backward_plan(plan, layer, has_d_output=d_output is not None, has_d_x=d_x is not None).copy()
    places = geometry.arena(plan, layer)
    sums = places.weights.request(places.slab, geometry.layer_sizes(plan, layer).slab_stride)
    arrays = (
        flat(x),
        saved.panels.backward(layer),
        flat(saved.h_0[layer]),
        flat(saved.outputs[layer]),
        saved.workspaces[layer],
        nothing if d_output is None else flat(d_output),
        nothing if d_x is None else flat(d_x),
        scratch,
    )
    block = geometry.backward_steps(plan)
    for begin in reversed(range(0, plan.seq_len, block)):
        end = min(begin + block, plan.seq_len)
        rows = (end - begin) * plan.batch_size
        request[fields.T_BEGIN], request[fields.T_END], request[fields.SLAB_ROWS] = begin, end, rows
        launch.run(launch.BACKWARD[plan.spec.name], int(request[fields.N_TASKS]), request, *arrays)
        sums[products.WG_LINES] = rows
        launch.run(launch.WEIGHT_GRADIENT, places.weights.n_tasks, sums, scratch, scratch)


def _parameter_gradients(saved: Saved, layer: int, scratch: Array) -> dict[str, Array]:
    """Read the sums out of the scratch, in PyTorch's order of gates."""
    plan, size = saved.plan, geometry.layer_sizes(saved.plan, layer)
    weights = geometry.arena(plan, layer).weights

    def input_side(rows: Array) -> Array:
        """Undo the slab's order, whose input side begins with the candidate where that is split."""
        return np.concatenate([rows[size.hidden_begin : size.width], rows[: size.hidden_begin]])

    def hidden_side(rows: Array) -> Array:
        return rows[size.hidden_begin : size.hidden_begin + size.width].copy()

    bias = weights.column_sums(scratch)
    gradients = {
        f"weight_ih_l{layer}": input_side(weights.total(scratch, 0)),
        f"weight_hh_l{layer}": hidden_side(weights.total(scratch, 1)),
    }
    if plan.bias:
        gradients |= {f"bias_ih_l{layer}": input_side(bias), f"bias_hh_l{layer}": hidden_side(bias)}
    return gradients
