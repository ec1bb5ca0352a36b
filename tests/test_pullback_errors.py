"""Every error of a pullback: its type and its whole text."""

import numpy as np
import pytest
from refusals import BATCH_FIRST, GRU, LSTM, TWO_LAYERS, Refusal, X, refusal, zeros

COTANGENTS = [
    refusal(
        "d_output swapped",
        lambda: LSTM.vjp(X)[1](zeros(3, 5, 64)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `d_output` has shape (3, 5, 64), expected (5, 3, 64).",
        "It takes the shape of `output` (time, batch, hidden_size).",
        "Its axes are swapped: pass d_output.swapaxes(0, 1).",
    ),
    refusal(
        "d_output of the last step",
        lambda: LSTM.vjp(X)[1](zeros(3, 64)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `d_output` has shape (3, 64), expected (5, 3, 64).",
        "It takes the shape of `output` (time, batch, hidden_size).",
        "For a loss of `last_output` pass d_h_n instead, zero but for d_h_n[-1].",
    ),
    refusal(
        "a number for d_output",
        lambda: BATCH_FIRST.vjp(X)[1](1.0),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `d_output` has shape (), expected (5, 3, 64).",
        "It takes the shape of `output` (batch, time, hidden_size).",
        "A cotangent is one number for each number of the result; nothing is broadcast.",
    ),
    refusal(
        "d_h_n batch-first",
        lambda: TWO_LAYERS.vjp(X)[1](d_h_n=zeros(3, 2, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `d_h_n` has shape (3, 2, 64), expected (2, 3, 64).",
        "It takes the shape of `h_n` (num_layers, batch, hidden_size), whatever batch_first is.",
        "It looks batch-first: pass d_h_n.swapaxes(0, 1).",
    ),
    refusal(
        "d_h_n without layers",
        lambda: GRU.vjp(X)[1](d_h_n=zeros(3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `d_h_n` has shape (3, 64), expected (1, 3, 64).",
        "It takes the shape of `h_n` (num_layers, batch, hidden_size), whatever batch_first is.",
        "The axis of layers is missing: pass d_h_n[None].",
    ),
    refusal(
        "d_h_n of the top layer",
        lambda: TWO_LAYERS.vjp(X)[1](d_h_n=zeros(3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `d_h_n` has shape (3, 64), expected (2, 3, 64).",
        "It takes the shape of `h_n` (num_layers, batch, hidden_size), whatever batch_first is.",
        "For the top layer alone pass zeros but for d_h_n[-1].",
    ),
    refusal(
        "d_c_n of the wrong shape",
        lambda: LSTM.vjp(X)[1](d_c_n=zeros(1, 1, 64)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `d_c_n` has shape (1, 1, 64), expected (1, 3, 64).",
        "It takes the shape of `c_n` (num_layers, batch, hidden_size), whatever batch_first is.",
        "A cotangent is one number for each number of the result; nothing is broadcast.",
    ),
    refusal(
        "d_c_n without cell",
        lambda: GRU.vjp(X)[1](d_c_n=zeros(1, 3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `d_c_n` was given, but this cell has no cell state.",
        "Leave it out; c_n is of cells with a cell state, such as LSTM.",
    ),
    refusal(
        "masked cotangent",
        lambda: GRU.vjp(X)[1](np.ma.ones((5, 3, 64))),
        TypeError,
        "GRU(input_size=8, hidden_size=64): `d_output` is a masked array, and a mask is not read.",
        "Pass d_output.filled(0.0), or the valid part.",
    ),
    refusal(
        "x_gradient of the wrong kind",
        lambda: GRU.vjp(X)[1](zeros(5, 3, 64), x_gradient=1),
        TypeError,
        "GRU(input_size=8, hidden_size=64): `x_gradient` should be True or False, got int 1.",
    ),
]


@pytest.mark.parametrize("wrong", COTANGENTS, ids=str)
def test_a_wrong_cotangent_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)


def test_a_pullback_works_after_it_refused_a_cotangent():
    result, pullback = GRU.vjp(X + 1)
    before = pullback(result.output)
    with pytest.raises(ValueError, match="d_output"):
        pullback(zeros(3, 64))
    np.testing.assert_array_equal(pullback(result.output).x, before.x)
