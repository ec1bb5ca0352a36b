"""Forward through a stack of layers: for each layer, time block by time block, one launch over groups of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import by_reference, geometry
from numrnn.engine.panels import Panels, aligned
from numrnn.engine.plan import Plan
from numrnn.kernels import launch
from numrnn.kernels import recurrence as fields
from numrnn.kernels.tile import ROWS

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """What backward needs: the inputs, every layer's output and workspace, and the weights of the time."""

    plan: Plan
    panels: Panels
    x: Array
    h_0: Array
    outputs: tuple[Array, ...]
    workspaces: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What a forward pass gives: `saved` is for `backward.run` and None where nothing was kept."""

    output: Array | None
    h_n: Array
    c_n: Array | None
    saved: Any


def flat(array: Array) -> Array:
    """The array as kernels take it: one axis, writable in type (kernels do not write their inputs), never empty."""
    if array.size == 0:
        return np.zeros(1, array.dtype)
    if not array.flags.writeable:
        return np.asarray(_Writable(array)).reshape(-1)
    return array.reshape(-1)


class _Writable:
    """The same memory, typed as writable: a read-only array would make Numba compile every kernel a second time."""

    def __init__(self, array: Array) -> None:
        self._array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def run(
    plan: Plan, panels: Panels, x: Array, h_0: Array | None, c_0: Array | None, *, keep: bool, last: bool = False
) -> Run:
    """Run a stack of layers over a validated input; `last` builds no output."""
    if _jit.DISABLED:
        trace, output, h_n, c_n = by_reference.forward(plan, panels, x, h_0, c_0)
        return Run(None if last else output, h_n, c_n, (plan, trace) if keep else None)
    shape = (plan.num_layers, plan.batch_size, plan.hidden_size)
    h_0 = np.zeros(shape, plan.dtype) if h_0 is None else h_0
    h_n = np.empty(shape, plan.dtype)
    c_n = np.empty(shape, plan.dtype) if plan.spec.has_cell_state else None
    outputs, workspaces, below = [], [], x
    for layer in range(plan.num_layers):
        c_before = None if c_0 is None else c_0[layer]
        below, workspace = _run_layer(plan, panels, layer, below, h_0[layer], c_before, keep=keep, last=last)
        h_n[layer] = _last_step(plan, layer, below, h_0[layer], last=last)
        if c_n is not None:
            at = geometry.cells_size(plan, keep=keep) - c_n[layer].size
            c_n[layer] = workspace[at : at + c_n[layer].size].reshape(shape[1:])
        if keep:
            outputs.append(below)
            workspaces.append(workspace)
    saved = Saved(plan, panels, x, h_0, tuple(outputs), tuple(workspaces)) if keep else None
    return Run(None if last else below, h_n, c_n, saved)


def _run_layer(
    plan: Plan, panels: Panels, layer: int, x: Array, h_0: Array, c_0: Array | None, *, keep: bool, last: bool
) -> tuple[Array, Array]:
    """Run one layer; returns its output and the workspace with its cell states."""
    top = layer == plan.num_layers - 1
    steps = min(2, plan.seq_len) if last and top else plan.seq_len
    batch_first = plan.batch_first and top and not last
    lead = (plan.batch_size, steps) if batch_first else (steps, plan.batch_size)
    output = np.empty((*lead, plan.hidden_size), plan.dtype)
    workspace = aligned(geometry.saved_size(plan, keep=keep), plan.dtype)
    if plan.spec.has_cell_state:
        workspace[: plan.batch_size * plan.hidden_size] = 0 if c_0 is None else c_0.reshape(-1)
    if plan.seq_len == 0 or plan.batch_size == 0:
        return output, workspace
    size = geometry.layer_sizes(plan, layer)
    request = geometry.forward_plan(plan, layer, keep=keep, last=last).copy()
    n_tasks = int(request[fields.N_TASKS])
    scratch = aligned(n_tasks * ROWS * size.line, plan.dtype)
    arrays = (flat(x), panels.forward(layer), flat(h_0), flat(output), workspace, scratch)
    block = geometry.forward_steps(plan, size)
    for begin in range(0, plan.seq_len, block):
        request[fields.T_BEGIN], request[fields.T_END] = begin, min(begin + block, plan.seq_len)
        launch.run(launch.FORWARD[plan.spec.name], n_tasks, request, *arrays)
    return output, workspace


def _last_step(plan: Plan, layer: int, output: Array, h_0: Array, *, last: bool) -> Array:
    """h_t after the last step, which for an empty sequence is the state given."""
    if plan.seq_len == 0:
        return h_0
    top = layer == plan.num_layers - 1
    steps = output.swapaxes(0, 1) if plan.batch_first and top and not last else output
    final: Array = steps[(plan.seq_len - 1) % 2 if last and top else -1]
    return final
