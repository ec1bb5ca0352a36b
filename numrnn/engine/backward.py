"""Back-propagation through time: layer by layer from the top, time block by time block from the last.

A block takes a launch over groups of rows (adjoints, input gradients, operands packed), and then for each direction one
over rows of the weight gradients, which sums them over the block; on one thread the first launch does that too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import backward_plans, by_reference
from numrnn.engine.backward_plans import BackwardLaunch, Has, results
from numrnn.engine.buffers import SCRATCHES, flat, reset_flags
from numrnn.engine.forward import Saved
from numrnn.kernels import launch

Array = NDArray[Any]


def run(
    saved: Any, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None, *, x_gradient: bool
) -> tuple[Array | None, Array, Array | None, dict[str, Array]]:
    """Return the gradients of x, h_0, c_0 and the parameters."""
    if _jit.DISABLED:
        return by_reference.backward(saved, d_output, d_h_n, d_c_n, x_gradient=x_gradient)
    plan = saved.plan
    places = results(plan)
    found = np.empty(places.size, plan.dtype)
    for layer in range(plan.num_layers - 1, -1, -1):
        d_output = _run_layer(saved, layer, d_output, d_h_n, d_c_n, found, x_gradient=x_gradient or layer > 0)
        if saved.dropout is not None and d_output is not None and layer > 0:
            d_output = saved.dropout(d_output, layer - 1, plan.n_threads)
    d_h_0 = found[places.h_0].copy().reshape(plan.state_shape)  # apart: who keeps states keeps no more
    d_c_0 = found[places.c_0].copy().reshape(plan.cell_shape) if plan.spec.has_cell_state else None
    parameters = {name: found[place].reshape(shape) for name, (place, shape) in places.parameters.items()}
    if not saved.batch.steps:
        found[:] = 0
        for state, given in ((d_h_0, d_h_n), (d_c_0, d_c_n)):
            if state is not None:
                state[:] = 0 if given is None else given
    return d_output, d_h_0, d_c_0, parameters


def _run_layer(
    saved: Saved,
    layer: int,
    d_output: Array | None,
    d_h_n: Array | None,
    d_c_n: Array | None,
    found: Array,
    *,
    x_gradient: bool,
) -> Array | None:
    """Back through one layer; writes what belongs to it into `found`, returns d_x."""
    plan, batch = saved.plan, saved.batch
    x = saved.input(layer)
    if not batch.steps:
        return np.zeros(x.shape, plan.dtype) if x_gradient else None
    d_x = np.empty((plan.num_directions, *x.shape), plan.dtype) if x_gradient else None
    segment = None if saved.segments is None else saved.segments.space
    has = Has(d_output is not None, d_h_n is not None, d_c_n is not None, x_gradient, saved.resets is not None)
    planned = backward_plans.backward(plan, layer, batch, segment, has)
    scratch = SCRATCHES[plan.dtype].borrow(planned.launch.scratch)
    for d, places in enumerate(planned.arenas):
        for at, given in ((places.d_h, d_h_n), (places.d_c, d_c_n)):
            if given is not None:
                stride, own = planned.size.state_stride, given[layer * plan.num_directions + d]
                states = scratch[at : at + plan.batch_size * stride].reshape(plan.batch_size, stride)
                states[:, : own.shape[-1]] = own
    _run_blocks(saved, layer, planned, x, d_output, d_x, found, scratch)
    SCRATCHES[plan.dtype].give_back(scratch)
    if d_x is None or plan.num_directions == 1:
        return None if d_x is None else d_x[0]
    both: Array = d_x[0] + d_x[1]
    return both


def _run_blocks(
    saved: Saved,
    layer: int,
    planned: BackwardLaunch,
    x: Array,
    d_output: Array | None,
    d_x: Array | None,
    found: Array,
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
        found,
        scratch,
        reset_flags(saved.resets),
    )
    twins = launch.BACKWARD[plan.spec.name]
    for begin, end in planned.blocks:
        if segments is not None and end == segments.bounds[k - 1][1]:
            k -= 1
            since = segments.bounds[k][0]
            saved.rebuild(layer, x, k, workspace)
        planned.run(twins, begin, end, scratch, arrays, found, saved.batch.running, since)
    if segments is not None:
        SCRATCHES[plan.dtype].give_back(workspace)
