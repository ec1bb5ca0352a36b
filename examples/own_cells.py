"""Two cells from the literature, written as cells of one's own, checked, and trained to remember.

The minimal gated unit: Zhou, Wu, Zhang & Zhou 2016, "Minimal gated unit for recurrent neural networks". Its one gate
decides what of the state the candidate sees, and how much of the state it replaces.

The LSTM with peepholes: Gers & Schmidhuber 2000, "Recurrent nets that time and count"; as in Graves 2013, equations
7 to 11. Its gates see the cell state, i and f the last one, o the new one, each through a weight of its own.

    python examples/own_cells.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

import numrnn
from numrnn import cells
from numrnn.cells import sigmoid, tanh

# The minimal gated unit: f = sigma(W_f x + U_f h + b_f), n = tanh(W_n x + U_n (f * h) + b_n), h' = (1 - f) h + f n.


def mgu_operand(gates: Any, states: Any, vectors: Any) -> Any:
    """What U_n multiplies: f * h."""
    return sigmoid(gates[0]) * states[0]


def mgu_forward(sums: Any, states: Any, vectors: Any) -> Any:
    """The new state; f and n are kept."""
    f, n, h = sigmoid(sums[0]), tanh(sums[1]), states[0]
    return ((1.0 - f) * h + f * n,), (f, n)


def mgu_backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    """Adjoints of both sums, and of h where it is not multiplied with a weight."""
    (dh,), (f, n), (h,) = d_states, kept, before
    d_f = dh * (n - h) * f * (1.0 - f)
    d_n = dh * f * (1.0 - n * n)
    return (d_f, d_n), (dh * (1.0 - f),), ()


def mgu_operand_backward(d_operand: Any, kept: Any, before: Any, vectors: Any) -> Any:
    """What reaches f and h through f * h."""
    f, h = kept[0], before[0]
    return (d_operand * h * f * (1.0 - f),), (d_operand * f,), ()


MGU = cells.define(
    "MGU",
    gates=("f", "n"),
    kept=("f", "n"),
    candidate="late",
    operand=mgu_operand,
    forward=mgu_forward,
    backward=mgu_backward,
    operand_backward=mgu_operand_backward,
    source="Zhou et al. 2016",
)

# The LSTM with peepholes. The order of the gates, i f g o, is that of the weights' rows.


def peephole_forward(sums: Any, states: Any, vectors: Any) -> Any:
    """The new states; all gates are kept."""
    (s_i, s_f, s_g, s_o), (_, c), (p_i, p_f, p_o) = sums, states, vectors
    i, f, g = sigmoid(s_i + p_i * c), sigmoid(s_f + p_f * c), tanh(s_g)
    c_new = f * c + i * g
    o = sigmoid(s_o + p_o * c_new)
    return (o * tanh(c_new), c_new), (i, f, g, o)


def peephole_backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
    """Adjoints of the sums, of the last states, and of the peepholes."""
    (dh, dc), (i, f, g, o), c, c_new, (p_i, p_f, p_o) = d_states, kept, before[1], after[1], vectors
    t = tanh(c_new)
    d_o = dh * t * o * (1.0 - o)
    dc = dc + dh * o * (1.0 - t * t) + d_o * p_o
    d_i = dc * g * i * (1.0 - i)
    d_f = dc * c * f * (1.0 - f)
    d_g = dc * i * (1.0 - g * g)
    dc_before = dc * f + d_i * p_i + d_f * p_f
    return (d_i, d_f, d_g, d_o), (0.0, dc_before), (d_i * c, d_f * c, d_o * c_new)


PeepholeLSTM = cells.define(
    "PeepholeLSTM",
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    kept=("i", "f", "g", "o"),
    vectors=("ci", "cf", "co"),
    forward=peephole_forward,
    backward=peephole_backward,
    source="Gers & Schmidhuber 2000",
)
