"""Layers of Keras in our terms: what the configuration and the weights of each one say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CELLS
from numrnn.interop.keras_config import Settings
from numrnn.interop.keras_errors import shown

__all__ = ["RECURRENT", "DenseLayer", "Form", "RecurrentLayer", "Weights", "read_dense", "read_recurrent"]

RECURRENT = ("SimpleRNN", "LSTM", "GRU", "Bidirectional")


class Weights(Protocol):
    """Where a model's arrays come from."""

    def fetch(self, layer: Settings, groups: Sequence[str], per_group: int) -> list[NDArray[Any]]:
        """All arrays of a layer: of each of its groups, in Keras's order, so many."""
        ...


@dataclass(frozen=True)
class Form:
    """What makes a layer; layers of one form can be one stack."""

    cell: str
    hidden_size: int
    bias: bool
    bidirectional: bool


@dataclass(frozen=True)
class RecurrentLayer:
    """One recurrent layer; `weights` has our names without "_l0" and our shapes, for each direction."""

    name: str
    form: Form
    input_size: int
    backwards: bool
    every: bool
    stateful: bool
    weights: tuple[dict[str, NDArray[Any]], ...]


@dataclass(frozen=True)
class DenseLayer:
    """A dense head; `activation` is what Keras applies to its result."""

    name: str
    weight: NDArray[Any]
    bias: NDArray[Any] | None
    activation: str


@dataclass(frozen=True)
class _Cell:
    """One direction, as its configuration says."""

    form: Form
    backwards: bool
    every: bool
    stateful: bool


def read_recurrent(layer: Settings, weights: Weights) -> RecurrentLayer:
    """A SimpleRNN, LSTM or GRU, or a Bidirectional of one.

    Notes
    -----
    Keras's kernels are (input, G * H): ours transposed, with the gates of `cellspec`'s order. It has one bias (G * H,),
    which becomes `bias_ih`, but for a GRU with `reset_after`, whose (2, 3 * H) are `bias_ih` and `bias_hh`.
    """
    if layer.kind == "Bidirectional":
        cell = _read_both(layer)
        groups = ["forward_layer/cell", "backward_layer/cell"]
    else:
        cell = _read_cell(layer)
        groups = ["cell"]
    per_group = 2 + cell.form.bias
    arrays = weights.fetch(layer, groups, per_group)
    converted = [_convert(layer, cell, arrays[k : k + per_group]) for k in range(0, len(arrays), per_group)]
    sizes = [each["weight_ih"].shape[1] for each in converted]
    if len(set(sizes)) > 1:
        layer.refuse(f"its directions read {sizes[0]} and {sizes[1]} features.")
    form = cell.form
    if len(groups) == 2:
        form = replace(form, bidirectional=True)
    return RecurrentLayer(
        layer.name, form, sizes[0], cell.backwards, cell.every, cell.stateful, tuple(converted)
    )  # fmt: skip


def read_dense(layer: Settings, weights: Weights) -> DenseLayer:
    """A Dense, or a TimeDistributed of one."""
    dense, group = layer, ""
    if layer.kind == "TimeDistributed":
        dense, group = layer.inner("layer"), "layer"
        layer.finish()
        if dense.kind != "Dense":
            layer.refuse(f"it wraps a {shown(dense.kind)}, and only a Dense can be loaded.")
    units, bias = dense.count("units"), dense.flag("use_bias", True)
    activation = dense.activation("activation", "linear", "softmax", "sigmoid")
    dense.finish()
    kernel, *biases = weights.fetch(layer, [group], 1 + bias)
    if kernel.ndim != 2 or kernel.shape[1] != units:
        layer.refuse(f"its kernel has shape {kernel.shape}, expected (features, {units}) by `units`.")
    if bias and biases[0].shape != (units,):
        layer.refuse(f"its bias has shape {biases[0].shape}, expected ({units},) by `units`.")
    return DenseLayer(layer.name, kernel.T, biases[0] if bias else None, activation)


def _read_both(layer: Settings) -> _Cell:
    """The forward half of a Bidirectional, once the backward one is found to be its like."""
    if (mode := layer.take("merge_mode", "concat")) != "concat":
        advice = "numrnn has the halves side by side, as merge_mode='concat'."
        layer.refuse(f"`merge_mode` is {shown(mode)}.", advice)
    forward = layer.inner("layer")
    backward = layer.inner("backward_layer") if "backward_layer" in layer.entries else None
    layer.finish()
    if forward.kind not in ("SimpleRNN", "LSTM", "GRU"):
        layer.refuse(f"it wraps a {shown(forward.kind)}, and only a SimpleRNN, LSTM or GRU can be loaded.")
    cell = _read_cell(forward)
    if cell.backwards:
        layer.refuse("its forward layer has `go_backwards`.")
    if backward is not None:
        other = _read_cell(backward)
        if other.form != cell.form or other.every != cell.every or not other.backwards:
            layer.refuse("its backward layer is not its forward layer with `go_backwards`.")
    return cell


def _read_cell(layer: Settings) -> _Cell:
    """The configuration of a SimpleRNN, LSTM or GRU."""
    if layer.kind == "SimpleRNN":
        cell = f"rnn_{layer.activation('activation', 'tanh', 'relu')}"
    else:
        cell = layer.kind.lower()
        layer.activation("activation", "tanh")
        layer.activation("recurrent_activation", "sigmoid")
        if cell == "gru" and not layer.flag("reset_after", True):
            cell = "gru_reset_before"
    if layer.flag("time_major", False):
        layer.refuse("`time_major` is true.", "Only layers of (batch, time, features) can be loaded.")
    layer.flag("return_state", False)  # the states are there in any case; a graph that reads them is no chain
    read = _Cell(
        Form(cell, layer.count("units"), layer.flag("use_bias", True), False),
        layer.flag("go_backwards", False),
        layer.flag("return_sequences", False),
        layer.flag("stateful", False),
    )
    layer.finish()
    return read


def _convert(layer: Settings, cell: _Cell, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One direction's kernel, recurrent kernel and bias under our names, in our shapes."""
    spec, H = CELLS[cell.form.cell], cell.form.hidden_size
    order = list(spec.gate_order["keras"])
    rows = spec.num_gates * H
    kernel, recurrent, *bias = arrays
    if kernel.ndim != 2 or kernel.shape[1] != rows or not len(kernel):
        layer.refuse(f"its kernel has shape {kernel.shape}, expected (features, {rows}) by `units`={H}.")
    if recurrent.shape != (H, rows):
        layer.refuse(f"its recurrent kernel has shape {recurrent.shape}, expected ({H}, {rows}) by `units`={H}.")

    def ours(array: NDArray[Any]) -> NDArray[Any]:
        if order == sorted(order):
            return array
        return array.reshape(spec.num_gates, H, *array.shape[1:])[order].reshape(array.shape)

    converted = {"weight_ih": ours(kernel.T), "weight_hh": ours(recurrent.T)}
    if bias:
        (both,) = bias
        shape = (2, rows) if cell.form.cell == "gru" else (rows,)
        if both.shape != shape:
            layer.refuse(f"its bias has shape {both.shape}, expected {shape} by `units`={H}.")
        of_input, of_hidden = both if cell.form.cell == "gru" else (both, np.zeros_like(both))
        converted |= {"bias_ih": ours(of_input), "bias_hh": ours(of_hidden)}
    return converted
