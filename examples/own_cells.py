"""Two cells from the literature, written as cells of one's own: checked, and one of them trained beside the GRU.

The minimal gated unit: Zhou, Wu, Zhang & Zhou 2016, "Minimal gated unit for recurrent neural networks". One gate
decides what of the state the candidate sees, and how much of the state it replaces.

The LSTM with peepholes: Gers & Schmidhuber 2000, "Recurrent nets that time and count", in the form of Graves 2013. The
gates see the cell state too, i and f the last one, o the new one, each through one weight a unit.

The task is the adding problem (Hochreiter & Schmidhuber 1997): of 20 numbers two are marked, and their sum is wanted.
With a file name as argument what the trained unit computes is drawn into it.
"""

from __future__ import annotations

import sys
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


def adding_problem(rng: np.random.Generator, n_rows: int, n_steps: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from 0 to 1 beside marks, (time, batch, 2), and the sums of those marked, (batch, 1)."""
    numbers, marks = rng.random((n_steps, n_rows)), np.zeros((n_steps, n_rows))
    for half in (slice(0, n_steps // 2), slice(n_steps // 2, n_steps)):
        marks[half][rng.integers(0, n_steps // 2, n_rows), np.arange(n_rows)] = 1.0
    x = np.stack([numbers, marks], axis=-1).astype(np.float32)
    return x, np.sum(numbers * marks, axis=0)[:, None].astype(np.float32)


def main() -> None:
    """Check both cells; train one."""
    for cell in (MGU, PeepholeLSTM):
        cells.check(cell)
        print(f"{cell.__name__}: adjoints are those of finite differences")

    rng = np.random.default_rng(0)
    x, y = adding_problem(rng, 1024)
    new_x, new_y = adding_problem(rng, 512)
    print(f"always the mean: squared error {np.mean((new_y - y.mean()) ** 2):.4f}")
    for layer in (MGU(2, 32, seed=0), numrnn.GRU(2, 32, seed=0)):
        model = numrnn.SequenceModel(layer, numrnn.Linear(32, 1, seed=0))
        numrnn.fit(
            model,
            x,
            y,
            loss=numrnn.losses.mse,
            optimizer=numrnn.optim.Adam(model, lr=0.01),
            epochs=25,
            batch_size=32,
            max_norm=1.0,
            n_threads=1,
            seed=0,
        )
        error = np.mean((model(new_x) - new_y) ** 2)
        print(f"{type(layer).__name__}, {layer.num_parameters} weights: squared error {error:.4f}")
        if sys.argv[1:] and isinstance(layer, MGU):
            internals = layer(new_x[:, :1], internals=True).internals
            axes = numrnn.plot.gates(internals, title="What the minimal gated unit computes, and where the marks are")
            axes.scatter(np.flatnonzero(new_x[:, 0, 1]), [0, 0], marker="v", color="black")
            axes.figure.savefig(sys.argv[1])


if __name__ == "__main__":
    main()
