"""Packed weights of a stack: made when a layer's parameters change, immutable, kept by every pullback made with them.

A forward panel holds, for a block of hidden units, the biases and then for every input feature and every hidden unit
the gates' columns side by side, so that a tile reads it front to back. A backward panel is a strip of columns of a
weight. Biases are folded here and nowhere else: b_ih + b_hh, but for a candidate that multiplies the hidden side
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CellSpec
from numrnn.engine.geometry import Sizes, sizes

Array = NDArray[Any]

_ALIGNMENT = 64


def aligned(size: int, dtype: np.dtype[Any], *, zero: bool = False) -> Array:
    """A flat array that begins on a cache line, of at least one number."""
    make = np.zeros if zero else np.empty
    memory = make(max(size, 1) * dtype.itemsize + _ALIGNMENT, np.uint8)
    skip = -memory.__array_interface__["data"][0] % _ALIGNMENT
    return memory[skip : skip + max(size, 1) * dtype.itemsize].view(dtype)


class Panels:
    """The weights of a stack of layers, re-laid for the register tile on first use."""

    def __init__(
        self,
        spec: CellSpec,
        parameters: Mapping[str, Array],
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dtype: np.dtype[Any],
    ) -> None:
        self.spec = spec
        self.parameters = dict(parameters)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dtype = np.dtype(dtype)
        self._forward: dict[int, Array] = {}
        self._backward: dict[int, Array] = {}

    def sizes(self, layer: int) -> Sizes:
        """The layer's sizes as the tile sees them."""
        input_size = self.input_size if layer == 0 else self.hidden_size
        return sizes(self.spec.num_gates, len(self.spec.saved), self.dtype, input_size, self.hidden_size)

    def forward(self, layer: int) -> Array:
        """Panels for the pre-activations of one layer."""
        packed = self._forward.get(layer)
        if packed is None:
            packed = self._forward[layer] = self._pack_forward(layer)
        return packed

    def backward(self, layer: int) -> Array:
        """Panels for the adjoints of one layer: W_hh's columns, then W_ih's."""
        packed = self._backward.get(layer)
        if packed is None:
            packed = self._backward[layer] = self._pack_backward(layer)
        return packed

    def _pack_forward(self, layer: int) -> Array:
        size = self.sizes(layer)
        flat = aligned(size.n_panels * size.panel_size, self.dtype, zero=True)
        panels = flat.reshape(size.n_panels, size.panel_size)
        biases = self._biases(layer, size)
        if biases is not None:
            self._spread(biases[..., None], panels[:, : size.line], size)
        inputs_end = size.line + size.input_size * size.n_gates * size.panel_units
        for name, lines in (
            (f"weight_ih_l{layer}", panels[:, size.line : inputs_end]),
            (f"weight_hh_l{layer}", panels[:, inputs_end:]),
        ):
            weight = self.parameters[name]
            self._spread(weight.reshape(size.n_gates, size.hidden_size, -1), lines, size)
        return flat

    @staticmethod
    def _spread(gates: Array, lines: Array, size: Sizes) -> None:
        """Write gates (G, H, K) to panels (n_panels, K * G * units), hidden units beyond H staying zero."""
        n_gates, _, steps = gates.shape
        whole = size.hidden_size // size.panel_units
        target = lines.reshape(size.n_panels, steps, n_gates, size.panel_units)
        blocks = gates[:, : whole * size.panel_units].reshape(n_gates, whole, size.panel_units, steps)
        target[:whole] = blocks.transpose(1, 3, 0, 2)
        rest = gates[:, whole * size.panel_units :]
        target[whole:, :, :, : rest.shape[1]] = rest.transpose(2, 0, 1)

    def _biases(self, layer: int, size: Sizes) -> Array | None:
        """What the accumulators start from (vectors, H); None without biases."""
        if f"bias_ih_l{layer}" not in self.parameters:
            return None
        b_ih = self.parameters[f"bias_ih_l{layer}"].reshape(size.n_gates, size.hidden_size)
        b_hh = self.parameters[f"bias_hh_l{layer}"].reshape(size.n_gates, size.hidden_size)
        if size.hidden_begin:
            return np.concatenate([b_ih[:-1] + b_hh[:-1], b_ih[-1:], b_hh[-1:]])
        return b_ih + b_hh

    def _pack_backward(self, layer: int) -> Array:
        size = self.sizes(layer)
        weight_hh, weight_ih = self.parameters[f"weight_hh_l{layer}"], self.parameters[f"weight_ih_l{layer}"]
        if size.hidden_begin:  # the slab's input side begins with the candidate
            weight_ih = np.concatenate([weight_ih[-size.hidden_size :], weight_ih[: -size.hidden_size]])
        strips = [column_panels(weight_hh, size.line), column_panels(weight_ih, size.line)]
        flat = aligned(sum(strip.size for strip in strips), self.dtype)
        np.concatenate(strips, out=flat)
        return flat


def column_panels(weight: Array, line: int) -> Array:
    """Strips of `line` columns of a weight (K, columns), one after the other, columns that are not there 0."""
    steps, columns = weight.shape
    whole = columns // line
    strips = [weight[:, : whole * line].reshape(steps, whole, line).transpose(1, 0, 2).ravel()]
    if columns % line:
        last = np.zeros((steps, line), weight.dtype)
        last[:, : columns % line] = weight[:, whole * line :]
        strips.append(last.ravel())
    return np.concatenate(strips)
