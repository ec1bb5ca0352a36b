"""The recurrent operators of ONNX in plain NumPy, with everything that their specification has.

The equations are those of the operators' documentation, version 22. Computed in float64, one step after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numrnn.interop.onnx_recurrence import Recurrence
from numrnn.reference_cells import sigmoid

__all__ = ["evaluate"]

Array: TypeAlias = NDArray[np.float64]
Step: TypeAlias = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]

_ACTIVATIONS: Mapping[str, Callable[[Array, float, float], Array]] = {
    "relu": lambda x, alpha, beta: np.maximum(x, 0.0),
    "tanh": lambda x, alpha, beta: np.tanh(x),
    "sigmoid": lambda x, alpha, beta: sigmoid(x),
    "softsign": lambda x, alpha, beta: x / (1.0 + np.abs(x)),
    "softplus": lambda x, alpha, beta: np.logaddexp(0.0, x),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "leakyrelu": lambda x, alpha, beta: np.where(x >= 0.0, x, alpha * x),
    "thresholdedrelu": lambda x, alpha, beta: np.where(x >= alpha, x, 0.0),
    "scaledtanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "hardsigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0.0, 1.0),
    "elu": lambda x, alpha, beta: np.where(x >= 0.0, x, alpha * np.expm1(np.minimum(x, 0.0))),
}


def evaluate(
    recurrence: Recurrence,
    x: NDArray[Any],
    weights: Mapping[str, NDArray[Any]],
    lengths: NDArray[Any] | None,
    states: Sequence[NDArray[Any] | None],
) -> tuple[Array, tuple[Array, ...]]:
    """Run all directions.

    Parameters
    ----------
    recurrence
        The node's attributes; its layout is not looked at.
    x : array (T, N, I)
    weights
        W (D, G*H, I), R (D, G*H, H), and where given B (D, 2*G*H) and P (D, 3*H), in ONNX's gate order.
    lengths : array (N,), optional
        Steps of each row.
    states : sequence of array (D, N, H) or None
        h_0, and for LSTM c_0; None is zero.

    Returns
    -------
    y : array (T, D, N, H)
        Zero at padded steps.
    states : tuple of array (D, N, H)
        After each row's last step; of a row without steps the initial ones.
    """
    hidden = weights["R"].shape[-1]
    n_steps, n_rows = x.shape[:2]
    lengths = np.full(n_rows, n_steps) if lengths is None else lengths.astype(np.int64)
    y = np.zeros((n_steps, len(recurrence.directions), n_rows, hidden))
    ends: list[tuple[Array, ...]] = []
    for k, reverse in enumerate(recurrence.directions):
        step = _step(recurrence, k, {name: value[k].astype(np.float64) for name, value in weights.items()})
        state = tuple(np.zeros((n_rows, hidden)) if s is None else s[k].astype(np.float64) for s in states)
        for t in range(n_steps):
            rows = np.flatnonzero(t < lengths)
            steps = lengths[rows] - 1 - t if reverse else np.full(len(rows), t)
            after = step(x[steps, rows].astype(np.float64), tuple(s[rows] for s in state))
            for whole, part in zip(state, after, strict=True):
                whole[rows] = part
            y[steps, k, rows] = after[0]
        ends.append(state)
    return y, tuple(np.stack(each) for each in zip(*ends, strict=True))


def _step(recurrence: Recurrence, direction: int, weights: Mapping[str, Array]) -> Step:
    """One step of one direction, as a function of x_t and the states."""
    hidden = weights["R"].shape[-1]
    bound = np.inf if recurrence.clip is None else recurrence.clip
    activations = recurrence.activations[direction]
    w, r = weights["W"].T, weights["R"].T
    biases = weights.get("B", np.zeros(2 * w.shape[1]))
    b_w, b_r = np.split(biases, 2)

    def activated(which: int, pre: Array) -> Array:
        name, alpha, beta = activations[which]
        with np.errstate(over="ignore"):
            return _ACTIVATIONS[name](np.clip(pre, -bound, bound), alpha, beta)

    def rnn(x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        return (activated(0, x @ w + states[0] @ r + b_w + b_r),)

    p_i, p_o, p_f = np.split(weights.get("P", np.zeros(3 * hidden)), 3)

    def lstm(x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        i, o, f, g = np.split(x @ w + h @ r + b_w + b_r, 4, axis=1)
        i = activated(0, i + p_i * c)
        f = 1.0 - i if recurrence.input_forget else activated(0, f + p_f * c)
        c = f * c + i * activated(1, g)
        o = activated(0, o + p_o * c)
        name, alpha, beta = activations[2]
        return o * _ACTIVATIONS[name](c, alpha, beta), c

    def gru(x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        gates, last = slice(2 * hidden), slice(2 * hidden, None)
        of_x = x @ w + b_w
        z, reset = np.split(activated(0, of_x[:, gates] + h @ r[:, gates] + b_r[gates]), 2, axis=1)
        if recurrence.linear_before_reset:
            of_h = reset * (h @ r[:, last] + b_r[last])
        else:
            of_h = (reset * h) @ r[:, last] + b_r[last]
        return ((1.0 - z) * activated(1, of_x[:, last] + of_h) + z * h,)

    return {"RNN": rnn, "LSTM": lstm, "GRU": gru}[recurrence.op]
