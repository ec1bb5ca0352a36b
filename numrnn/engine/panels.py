"""Packed weights of a stack: made when a layer's parameters change, immutable, kept by every pullback made with them.

A forward panel holds, for a block of hidden units, the biases and then for every input feature and every hidden unit
the gates' columns side by side, so that a tile reads it front to back. A backward panel is a strip of columns of a
weight. Biases are folded here and nowhere else: b_ih + b_hh, but for a candidate that multiplies the hidden side
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CellSpec
from numrnn.engine.buffers import aligned
from numrnn.engine.geometry import Sizes, sizes
from numrnn.kernels.simd import LANES_NUMPY
from numrnn.kernels.tile import VECTORS

Array = NDArray[Any]


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
        num_directions: int = 1,
        proj_size: int = 0,
    ) -> None:
        self.spec = spec
        self.parameters = dict(parameters)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dtype = np.dtype(dtype)
        self.num_directions = num_directions
        self.output_size = proj_size or hidden_size
        self._forward: dict[int, Array] = {}
        self._backward: dict[int, Array] = {}

    def sizes(self, layer: int) -> Sizes:
        """The layer's sizes as the tile sees them."""
        input_size = self.input_size if layer == 0 else self.num_directions * self.output_size
        return sizes(self.spec, self.dtype, input_size, self.hidden_size, self.output_size)

    def forward(self, layer: int) -> Array:
        """Panels for the pre-activations of one layer, then of its second stage, for each direction."""
        packed = self._forward.get(layer)
        if packed is None:
            size = self.sizes(layer)
            packed = self._forward[layer] = self._both(lambda suffix: self._pack_forward(suffix, size), layer)
        return packed

    def backward(self, layer: int) -> Array:
        """Panels for the adjoints of one layer: W_hh's columns, W_ih's, the second stage's, for each direction."""
        packed = self._backward.get(layer)
        if packed is None:
            size = self.sizes(layer)
            packed = self._backward[layer] = self._both(lambda suffix: self._pack_backward(suffix, size), layer)
        return packed

    def _both(self, pack: Callable[[str], list[Array]], layer: int) -> Array:
        suffixes = [f"_l{layer}", f"_l{layer}_reverse"][: self.num_directions]
        parts = [part for suffix in suffixes for part in pack(suffix)]
        flat = aligned(sum(part.size for part in parts), self.dtype)
        np.concatenate(parts, out=flat)
        return flat

    def _pack_forward(self, suffix: str, size: Sizes) -> list[Array]:
        panels = np.zeros((size.n_panels, size.panel_size), self.dtype)
        biases = self._biases(suffix, size)
        if biases is not None:
            self._spread(biases[..., None], panels[:, : size.line], size)
        inputs_end = size.line + size.input_lines
        weight_ih, weight_hh = self.parameters[f"weight_ih{suffix}"], self.parameters[f"weight_hh{suffix}"]
        self._spread(weight_ih.reshape(size.n_gates, size.hidden_size, -1), panels[:, size.line : inputs_end], size)
        self._spread(
            weight_hh[: size.hidden_width].reshape(-1, size.hidden_size, size.output_size), panels[:, inputs_end:], size
        )
        parts = [panels.ravel()]
        if size.projected:
            parts.append(started_panels(self.parameters[f"weight_hr{suffix}"].T, None))
        if size.reset_before:
            parts.append(started_panels(weight_hh[size.hidden_width :].T, None))
        return [*parts, self._vectors(suffix, size)]

    def _vectors(self, suffix: str, size: Sizes) -> Array:
        """The cell's vectors, H numbers each, one after the other."""
        packed = np.zeros(size.vectors_size, self.dtype)
        for k, name in enumerate(self.spec.vectors):
            packed[k * size.hidden_size :][: size.hidden_size] = self.parameters[f"weight_{name}{suffix}"]
        return packed

    @staticmethod
    def _spread(gates: Array, lines: Array, size: Sizes) -> None:
        """Write gates (G, H, K) to panels (n_panels, K * G * units), hidden units beyond H staying zero."""
        n_gates, _, steps = gates.shape
        whole = size.hidden_size // size.panel_units
        width = lines.shape[1] // max(1, steps) // size.panel_units  # vectors a line; a start has one more than gates
        target = lines.reshape(size.n_panels, steps, width, size.panel_units)[:, :, :n_gates]
        blocks = gates[:, : whole * size.panel_units].reshape(n_gates, whole, size.panel_units, steps)
        target[:whole] = blocks.transpose(1, 3, 0, 2)
        rest = gates[:, whole * size.panel_units :]
        target[whole:, :, :, : rest.shape[1]] = rest.transpose(2, 0, 1)

    def _biases(self, suffix: str, size: Sizes) -> Array | None:
        """What the accumulators start from (vectors, H); None without biases."""
        if f"bias_ih{suffix}" not in self.parameters:
            return None
        b_ih = self.parameters[f"bias_ih{suffix}"].reshape(size.n_gates, size.hidden_size)
        b_hh = self.parameters[f"bias_hh{suffix}"].reshape(size.n_gates, size.hidden_size)
        if size.slab_width > size.width:  # a split candidate
            return np.concatenate([b_ih[:-1] + b_hh[:-1], b_ih[-1:], b_hh[-1:]])
        return b_ih + b_hh

    def _pack_backward(self, suffix: str, size: Sizes) -> list[Array]:
        weight_hh, weight_ih = self.parameters[f"weight_hh{suffix}"], self.parameters[f"weight_ih{suffix}"]
        if size.hidden_begin:  # the slab begins with the candidate
            weight_ih = np.concatenate([weight_ih[-size.hidden_size :], weight_ih[: -size.hidden_size]])
        parts = [column_panels(weight_hh[: size.hidden_width], size.line), column_panels(weight_ih, size.line)]
        if size.projected:
            parts.append(column_panels(self.parameters[f"weight_hr{suffix}"], size.line))
        if size.reset_before:
            parts.append(column_panels(weight_hh[size.hidden_width :], size.line))
        return [*parts, self._vectors(suffix, size)]


def started_panels(weight: Array, start: Array | None) -> Array:
    """Strips of the columns of `weight` (K, columns), each led by what its sums start from."""
    first = np.zeros((1, weight.shape[1]), weight.dtype) if start is None else start[None]
    return column_panels(np.concatenate([first, weight]), VECTORS * LANES_NUMPY[weight.dtype])


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
