"""Cells of the package written as a user's: the GRU, its candidate split or late, and an LSTM of three gates."""

from __future__ import annotations

from typing import Any

from numrnn import cells
from numrnn.cells import fma, sigmoid, tanh


def split(sums: Any, states: Any, vectors: Any) -> Any:
    r, z, n_h, h = sigmoid(sums[0]), sigmoid(sums[1]), sums[3], states[0]
    n = tanh(fma(r, n_h, sums[2]))
    return (fma(z, h, (1.0 - z) * n),), (r, z, n, n_h)


def split_backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    (dh,), (r, z, n, n_h), (h,) = d_states, kept, before
    dn = dh * (1.0 - z) * fma(-n, n, 1.0)
    return (dn * n_h * (r * (1.0 - r)), dh * (h - n) * (z * (1.0 - z)), dn, dn * r), (dh * z,), ()


def late(sums: Any, states: Any, vectors: Any) -> Any:
    r, z, n, h = sigmoid(sums[0]), sigmoid(sums[1]), tanh(sums[2]), states[0]
    return (fma(z, h, (1.0 - z) * n),), (r, z, n)


def late_backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    (dh,), (_, z, n), (h,) = d_states, kept, before
    return (0.0, dh * (h - n) * (z * (1.0 - z)), dh * (1.0 - z) * fma(-n, n, 1.0)), (dh * z,), ()


def reset(gates: Any, states: Any, vectors: Any) -> Any:
    return sigmoid(gates[0]) * states[0]


def reset_backward(d_operand: Any, kept: Any, before: Any, vectors: Any) -> Any:
    r = kept[0]
    return (d_operand * before[0] * (r * (1.0 - r)), 0.0), (d_operand * r,), ()


def coupled(sums: Any, states: Any, vectors: Any) -> Any:
    f, g, o, c = sigmoid(sums[0]), tanh(sums[1]), sigmoid(sums[2]), states[1]
    new = f * c + (1.0 - f) * g
    return (o * tanh(new), new), (f, g, o)


def coupled_backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    (dh, dc), (f, g, o), (_, c) = d_states, kept, before
    t = tanh(after[1])
    dc = dc + dh * o * (1.0 - t * t)
    d_f, d_g = dc * (c - g) * f * (1.0 - f), dc * (1.0 - f) * (1.0 - g * g)
    return (d_f, d_g, dh * t * o * (1.0 - o)), (0.0, dc * f), ()


GATES = ("r", "z", "n")
SplitGRU = cells.define(
    "SplitGRU", gates=GATES, kept=(*GATES, "n_h"), forward=split, backward=split_backward, candidate="split"
)
LateGRU = cells.define(
    "LateGRU", gates=GATES, kept=GATES, forward=late, backward=late_backward,
    candidate="late", operand=reset, operand_backward=reset_backward,
)  # fmt: skip
THREE = ("f", "g", "o")
CoupledLSTM = cells.define(
    "CoupledLSTM", gates=THREE, states=("h", "c"), kept=THREE, forward=coupled, backward=coupled_backward
)
