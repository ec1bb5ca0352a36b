"""The package's cells written as a user's do what the package's do: candidates of either kind, and three gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_close, gradient_answers
from known_cells import CoupledLSTM, LateGRU, SplitGRU

import numrnn


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
    found, wanted = (gradient_answers(layer, back(d_output, d_h_n)) for back in (pullback, pull))
    assert_close(found, wanted, 4e-6)


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
    found, of_tied = (gradient_answers(layer, back(d_output, None, d_c_n)) for back in (pullback, pull))
    for name in layer.parameters:
        i, f, rest = np.split(of_tied[f"d_{name}"], [H, 2 * H])
        of_tied[f"d_{name}"] = np.concatenate([f - i, rest])
    assert_close(found, of_tied, 4e-6)
