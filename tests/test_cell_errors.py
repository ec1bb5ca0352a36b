"""Every error of RNNCell, LSTMCell and GRUCell: its type and its whole text."""

import numpy as np
import pytest
from refusals import Refusal, refusal, zeros

import numrnn

LSTM = numrnn.LSTMCell(4, 8, seed=0)
GRU = numrnn.GRUCell(4, 8, seed=0)
ONE = numrnn.RNNCell(1, 8, seed=0)
HEAD = "LSTMCell(input_size=4, hidden_size=8): "
GRU_HEAD = "GRUCell(input_size=4, hidden_size=8): "
X, H = zeros(3, 4), zeros(3, 8)
STATES = "x is (batch, features), so a state is (batch, hidden_size)."


def read_as(shape):
    return f"x.shape = {shape}, expected (batch, features), or (features,) for one row: one step has no axis of time."


WRONG = [
    refusal(
        "input_size of the wrong kind",
        lambda: numrnn.LSTMCell(4.0, 8),
        TypeError,
        "LSTMCell: `input_size` should be an int of 1 or more, got float 4.0.",
    ),
    refusal(
        "no hidden units",
        lambda: numrnn.GRUCell(4, 0),
        ValueError,
        "GRUCell: `hidden_size` should be an int of 1 or more, got 0.",
    ),
    refusal(
        "bias of the wrong kind",
        lambda: numrnn.GRUCell(4, 8, 1),
        TypeError,
        "GRUCell: `bias` should be True or False, got int 1.",
        "Arguments in order: input_size, hidden_size, bias.",
    ),
    refusal(
        "unknown nonlinearity",
        lambda: numrnn.RNNCell(4, 8, nonlinearity="sigmoid"),
        ValueError,
        'RNNCell: `nonlinearity` should be "tanh" or "relu", got str \'sigmoid\'.',
    ),
    refusal(
        "reset_after of the wrong kind",
        lambda: numrnn.GRUCell(4, 8, reset_after=1),
        TypeError,
        "GRUCell: `reset_after` should be True or False, got int 1.",
    ),
    refusal(
        "forget_bias without biases",
        lambda: numrnn.LSTMCell(4, 8, bias=False, forget_bias=1.0),
        ValueError,
        "LSTMCell: `forget_bias` was given, but bias=False.",
        "Leave one of the two out.",
    ),
    refusal(
        "a layer's name",
        lambda: GRU.set_parameters({"weight_ih_l0": zeros(24, 4)}),
        ValueError,
        GRU_HEAD + "the names do not match: unexpected weight_ih_l0.",
        "Expected: weight_ih, weight_hh, bias_ih, bias_hh.",
    ),
    refusal(
        "a whole sequence",
        lambda: LSTM(zeros(5, 3, 4)),
        ValueError,
        HEAD + "`x` has 3 axes, expected 1 or 2.",
        "x.shape = (5, 3, 4), expected (batch, features), or (features,) for one row: one step has no axis of time.",
        "A cell runs one step: for a sequence use a layer.",
    ),
    refusal(
        "a packed sequence",
        lambda: LSTM(numrnn.pack_sequence([zeros(2, 4)])),
        TypeError,
        HEAD + "`x` is a packed sequence, and an array is expected here.",
        "Pass x.data, or pad_packed_sequence(x)[0].",
    ),
    refusal(
        "a number",
        lambda: LSTM(1.0),
        ValueError,
        HEAD + "`x` has 0 axes, expected 1 or 2.",
        "x.shape = (), expected (batch, features), or (features,) for one row: one step has no axis of time.",
        "Pass an array with these axes.",
    ),
    refusal(
        "wrong features",
        lambda: LSTM(zeros(3, 5)),
        ValueError,
        HEAD + "`x` has 5 features, expected 4.",
        read_as((3, 5)),
        "Features are the last axis: pass 4 of them.",
    ),
    refusal(
        "swapped axes",
        lambda: LSTM(zeros(4, 3)),
        ValueError,
        HEAD + "`x` has 3 features, expected 4.",
        read_as((4, 3)),
        "Axis 0 has 4 entries: if these are the features, pass x.T.",
    ),
    refusal(
        "rows of one feature",
        lambda: ONE(zeros(5)),
        ValueError,
        "RNNCell(input_size=1, hidden_size=8): `x` has 5 features, expected 1.",
        read_as((5,)),
        "For a batch of rows of one feature pass x[:, None].",
    ),
    refusal(
        "nothing",
        lambda: GRU(None),
        TypeError,
        GRU_HEAD + "`x` should be an array of real numbers, got NoneType.",
        "Pass a NumPy array.",
    ),
    refusal(
        "complex",
        lambda: GRU(X * 1j),
        TypeError,
        GRU_HEAD + "`x` holds complex numbers (dtype complex128), expected real numbers.",
        "Pass real and imaginary parts as two features.",
    ),
    refusal(
        "a whole result",
        lambda: GRU(numrnn.GRU(4, 4)(zeros(2, 3, 4))),
        TypeError,
        GRU_HEAD + "`x` is a whole result.",
        "Pass one step: x.output[t].",
    ),
    refusal(
        "no pair",
        lambda: LSTM(X, H),
        TypeError,
        HEAD + "`hx` should be a pair (h, c), got an array of shape (3, 8).",
        "Pass what the last step returned; for one half of the pair pass zeros.",
    ),
    refusal(
        "three states",
        lambda: LSTM(X, (H, H, H)),
        TypeError,
        HEAD + "`hx` should be a pair (h, c), got a tuple of 3.",
        "Pass what the last step returned; for one half of the pair pass zeros.",
    ),
    refusal(
        "a pair for a GRU",
        lambda: GRU(X, (H, H)),
        TypeError,
        GRU_HEAD + "`hx` is a tuple of 2, expected one array h.",
        "Pass h alone; (h, c) is for cells with a cell state, such as LSTMCell.",
    ),
    refusal(
        "a layer's result for a state",
        lambda: GRU(X, numrnn.GRU(4, 8)(zeros(2, 3, 4))),
        TypeError,
        GRU_HEAD + "`hx` is a whole result.",
        "Pass result.h_n[-1].",
    ),
    refusal(
        "a layer's state",
        lambda: GRU(X, zeros(1, 3, 8)),
        ValueError,
        GRU_HEAD + "`hx` has shape (1, 3, 8), expected (3, 8).",
        STATES,
        "A cell has no axis of layers: pass hx[0].",
    ),
    refusal(
        "a layer's c",
        lambda: LSTM(X, (H, zeros(1, 3, 8))),
        ValueError,
        HEAD + "`hx[1]` has shape (1, 3, 8), expected (3, 8).",
        STATES,
        "A cell has no axis of layers: pass hx[1][0].",
    ),
    refusal(
        "a state without batch",
        lambda: GRU(X, zeros(8)),
        ValueError,
        GRU_HEAD + "`hx` has shape (8,), expected (3, 8).",
        STATES,
        "For one state that stands for every row pass hx[None].",
    ),
    refusal(
        "a state with swapped axes",
        lambda: GRU(X, zeros(8, 3)),
        ValueError,
        GRU_HEAD + "`hx` has shape (8, 3), expected (3, 8).",
        STATES,
        "Its axes look swapped: pass hx.T.",
    ),
    refusal(
        "a state of another batch",
        lambda: LSTM(X, (zeros(2, 8), H)),
        ValueError,
        HEAD + "`hx[0]` has shape (2, 8), expected (3, 8).",
        STATES,
        "Pass a state for each row of x, or one row that stands for all.",
    ),
    refusal(
        "a state of another size",
        lambda: GRU(X, zeros(3, 9)),
        ValueError,
        GRU_HEAD + "`hx` has shape (3, 9), expected (3, 8).",
        STATES,
        "Pass hidden_size=8 features.",
    ),
    refusal(
        "a batch of states for one row",
        lambda: GRU(zeros(4), zeros(1, 8)),
        ValueError,
        GRU_HEAD + "`hx` has shape (1, 8), expected (8,).",
        "x is one row, and so is a state.",
        "Pass hx[0], or give x its batch axis.",
    ),
    refusal(
        "a number for a state",
        lambda: GRU(X, 0.0),
        ValueError,
        GRU_HEAD + "`hx` has shape (), expected (3, 8).",
        STATES,
        "Pass hidden_size=8 features.",
    ),
    refusal(
        "half a pair",
        lambda: LSTM(X, (H, None)),
        TypeError,
        HEAD + "`hx[1]` should be an array of real numbers, got NoneType.",
        "Pass a NumPy array.",
    ),
    refusal(
        "a cotangent of another shape",
        lambda: LSTM.vjp(X)[1](zeros(1, 8)),
        ValueError,
        HEAD + "`d_h` has shape (1, 8), expected (3, 8).",
        "It takes the shape of `h`; nothing is broadcast.",
    ),
    refusal(
        "a cotangent of no cell state",
        lambda: GRU.vjp(X)[1](d_c=H),
        ValueError,
        GRU_HEAD + "`d_c` was given, but this cell has no cell state.",
        "Leave it out; c is of cells with a cell state, such as LSTMCell.",
    ),
    refusal(
        "x_gradient of the wrong kind",
        lambda: GRU.vjp(X)[1](H, x_gradient=1),
        TypeError,
        GRU_HEAD + "`x_gradient` should be True or False, got int 1.",
    ),
    refusal(
        "more than memory",
        lambda: LSTM(np.broadcast_to(np.float32(0), (10**12, 4))),
        MemoryError,
        HEAD + "14.6 TiB needed for a copy of `x`, this machine has 16.0 GiB.",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_argument_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)
