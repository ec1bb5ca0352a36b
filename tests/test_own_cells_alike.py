"""The package's cells written as a user's: the GRU, whose candidate is split or late, and an LSTM of three gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numrnn
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


def parts(gradients: Any) -> dict[str, Any]:
    return {"x": gradients.x, "h_0": gradients.h_0, **gradients.parameters}


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[name], value, rtol=0, atol=4e-6 * max(scale, 1.0), err_msg=name)


@pytest.mark.parametrize(("kind", "reset_after"), [(SplitGRU, True), (LateGRU, False)], ids=["split", "late"])
@pytest.mark.parametrize(("I", "H", "N"), [(5, 1, 7), (3, 17, 1), (16, 33, 6)])
def test_a_gru_has_the_packages_bits(kind: Any, reset_after: bool, I: int, H: int, N: int, rng: Any) -> None:
    known = numrnn.GRU(I, H, 2, bidirectional=True, reset_after=reset_after, seed=0)
    layer = kind(I, H, 2, bidirectional=True)
    layer.set_parameters(known.parameters)
    x, lengths = rng.standard_normal((5, N, I)), rng.integers(0, 6, N)
    (result, pullback), (expected, pull) = (each.vjp(x, lengths=lengths, n_threads=1) for each in (layer, known))
    np.testing.assert_array_equal(result.output, expected.output)
    np.testing.assert_array_equal(result.h_n, expected.h_n)
    d_output, d_h_n = rng.standard_normal(result.output.shape), rng.standard_normal(result.h_n.shape)
    assert_close(parts(pullback(d_output, d_h_n)), parts(pull(d_output, d_h_n)))


@pytest.mark.parametrize(("kind", "reset_after"), [(SplitGRU, True), (LateGRU, False)], ids=["split", "late"])
@pytest.mark.parametrize("n_rows", [1, 7])
def test_a_step_of_a_gru_has_the_packages_bits(kind: Any, reset_after: bool, n_rows: int, rng: Any) -> None:
    known = numrnn.GRU(3, 17, 2, reset_after=reset_after, seed=0)
    layer = kind(3, 17, 2)
    layer.set_parameters(known.parameters)
    x, out = rng.standard_normal((4, n_rows, 3)), np.empty((4, n_rows, 17), np.float32)
    numrnn.jit.run(layer.jit(), x, numrnn.jit.new_state(layer.jit(), n_rows), out)
    np.testing.assert_array_equal(out, known(x, n_threads=1).output)


@pytest.mark.parametrize(("H", "N"), [(1, 7), (17, 1), (33, 6)])
def test_three_plain_gates_are_an_lstm_whose_input_gate_is_tied(H: int, N: int, rng: Any) -> None:
    """sigmoid(-s) is 1 - sigmoid(s): the weights of i are those of f, negative."""
    layer, tied = CoupledLSTM(4, H, 2, seed=0), numrnn.LSTM(4, H, 2)
    tied.set_parameters({name: np.concatenate([-value[:H], value]) for name, value in layer.parameters.items()})
    x = rng.standard_normal((5, N, 4))
    (result, pullback), (expected, pull) = (each.vjp(x, n_threads=1) for each in (layer, tied))
    for found, value in zip((result.output, result.c_n), (expected.output, expected.c_n), strict=True):
        np.testing.assert_allclose(found, value, rtol=0, atol=2e-6)
    d_output, d_c_n = rng.standard_normal(result.output.shape), rng.standard_normal(result.c_n.shape)
    of_tied = parts(pull(d_output, None, d_c_n))
    for name in layer.parameters:
        i, f, rest = np.split(of_tied[name], [H, 2 * H])
        of_tied[name] = np.concatenate([f - i, rest])
    assert_close(parts(pullback(d_output, None, d_c_n)), of_tied)
