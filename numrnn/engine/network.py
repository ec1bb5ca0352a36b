"""A stack of layers as one plan and one array of weights: what `numrnn.jit` hands to compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.cellspec import CELLS, parameter_shapes
from numrnn.engine import forward
from numrnn.engine.buffers import aligned
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Call, kept_plan
from numrnn.engine.signature import Signature
from numrnn.kernels import step as fields
from numrnn.kernels.network import Network, NetworkState, network_class, restored
from numrnn.kernels.tile import ROW_C, ROW_FIELDS, ROW_H, ROW_LOCAL, ROW_X, ROWS

__all__ = ["make", "new_state", "parts", "signature_of", "step"]

Array = NDArray[Any]

FIRST_CACHE = 1 << 15
"""Bytes of weights up to which one row takes two panels at once."""


def make(signature: Signature, panels: Panels) -> Network:
    """The network of a stack of one direction, with the weights that `panels` has."""
    plan = _plan(signature, panels)
    if _jit.DISABLED:  # the reference takes weights as they are
        weights = np.concatenate([value.ravel() for value in panels.parameters.values()])
    else:
        packed = [panels.forward(layer) for layer in range(signature.num_layers)]
        weights = aligned(sum(map(len, packed)), signature.dtype, small=True)
        np.concatenate(packed, out=weights)
    for array in (plan, weights):
        array.flags.writeable = False
    return network_class(signature.cell)(plan, weights)


def _plan(signature: Signature, panels: Panels) -> NDArray[np.int64]:
    size, has_c = panels.sizes(0), CELLS[signature.cell].has_cell_state
    plan = np.zeros(fields.NETWORK_FIELDS + signature.num_layers * fields.LAYER_SIZE, np.int64)
    values = {
        fields.N_LAYERS: signature.num_layers,
        fields.INPUT: signature.input_size,
        fields.HIDDEN: signature.hidden_size,
        fields.OUTPUT: signature.output_size,
        fields.CELL_STATE: signature.hidden_size if has_c else 0,
        fields.BATCH_FIRST: signature.batch_first,
        fields.BIAS: signature.bias,
        fields.LANES: size.lanes,
        fields.LOCAL: size.local_stride,
        fields.UNITS: size.panel_units,
        fields.N_PANELS: size.n_panels,
        fields.SECOND: size.second_columns,
        fields.N_SECOND: size.n_second_panels,
        fields.SECOND_SIZE: (size.hidden_size + 1) * size.line,
        fields.X_AT: max(2, ROWS) * size.line + size.lanes,
        fields.REGIONS: size.n_regions - 2 if size.second_columns else 0,
    }
    plan[list(values)] = list(values.values())
    at = 0
    for layer, line in enumerate(plan[fields.NETWORK_FIELDS :].reshape(-1, fields.LAYER_SIZE)):
        size = panels.sizes(layer)
        line[fields.LAYER_INPUT] = size.input_size
        line[fields.LAYER_PANELS_AT] = at
        line[fields.LAYER_PANEL_SIZE] = size.panel_size
        at += size.n_panels * size.panel_size
        line[fields.LAYER_SECOND_AT] = at
        at += size.second_size
        line[fields.LAYER_VECTORS_AT] = at
        at += size.vectors_size
        weights = size.n_panels * size.panel_size * signature.dtype.itemsize
        line[fields.LAYER_AT_ONCE] = 2 if weights <= FIRST_CACHE else 1
        table = line[fields.LAYER_FIELDS :].reshape(ROWS, ROW_FIELDS)
        strides = {
            ROW_X: size.input_size,
            ROW_H: size.output_size,
            ROW_C: size.hidden_size,
            ROW_LOCAL: size.local_stride,
        }
        for field, stride in strides.items():
            table[:, field] = np.arange(ROWS) * stride
    return plan


def parts(plan: NDArray[np.int64], n_rows: int) -> tuple[int, ...]:
    """`kernels.step.parts_of`, without compiling it."""
    function = getattr(fields.parts_of, "py_func", fields.parts_of)
    return tuple(int(part) for part in function(plan, n_rows))


def new_state(net: Network, n_rows: int) -> NetworkState:
    """States of zeros."""
    plan = net.plan
    _, h_at, c_at, *_, end = parts(plan, n_rows)
    shape = int(plan[fields.N_LAYERS]), n_rows
    h, c = (*shape, int(plan[fields.OUTPUT])), (*shape, int(plan[fields.CELL_STATE]))
    memory = aligned(end, net.panels.dtype, small=True)
    memory[:] = 0
    return restored(memory, (h_at, h), (c_at, c))


def step(net: Network, x_t: Array, state: NetworkState) -> Array:
    """Take the rows of `state` one step further; returns the top layer's h, a view of the state."""
    if _jit.DISABLED:
        _step_by_reference(net, x_t, state)
    else:
        n_rows = state.h.shape[1]
        x_at = int(net.plan[fields.X_AT])
        x = state.memory[x_at : x_at + x_t.size]
        with np.errstate(over="ignore", invalid="ignore"):  # Inf, as in `ready`
            x.reshape(x_t.shape)[...] = x_t
        fields.STEP[net.cell](net.plan, net.panels, x, state.memory, n_rows)
    top: Array = state.h[-1]
    return top


def signature_of(head: str, net: Network) -> Signature:
    """What the signature of the layer was, time first; `head` names it in errors."""
    plan = net.plan
    fields_of = fields.INPUT, fields.HIDDEN, fields.N_LAYERS, fields.OUTPUT
    input_size, hidden, num_layers, output = (int(plan[field]) for field in fields_of)
    projected, bias = output if output != hidden else 0, bool(plan[fields.BIAS])
    return Signature(head, net.cell, net.panels.dtype, input_size, hidden, num_layers, bias, False, 1, projected)


def _step_by_reference(net: Network, x_t: Array, state: NetworkState) -> None:
    of, spec = signature_of("numrnn.jit", net), CELLS[net.cell]
    shapes = parameter_shapes(spec, of.input_size, of.hidden_size, of.num_layers, of.bias, 1, of.proj_size)
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    values = np.split(net.panels, ends[:-1])
    parameters = {name: value.reshape(shape) for (name, shape), value in zip(shapes.items(), values, strict=True)}
    panels = Panels(
        spec, parameters, input_size=of.input_size, hidden_size=of.hidden_size, num_layers=of.num_layers,
        dtype=of.dtype, proj_size=of.proj_size,
    )  # fmt: skip
    call = Call(kept_plan(of, (1, *x_t.shape), None, "output"), x_t[None], state.h, state.c)
    run = forward.run(call if spec.has_cell_state else call._replace(c_0=None), panels)
    state.h[:] = run.h_n
    if run.c_n is not None:
        state.c[:] = run.c_n
