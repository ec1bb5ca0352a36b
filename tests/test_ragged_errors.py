"""Every error of sequences of different lengths, of one sequence, of resets and of two directions: its whole text."""

import types

import numpy as np
import pytest
from refusals import BATCH_FIRST, GRU, LSTM, TWO_LAYERS, Refusal, X, refusal, zeros

import numrnn

BOTH = numrnn.GRU(8, 64, bidirectional=True, seed=0)
PROJECTED = numrnn.LSTM(8, 64, proj_size=16, seed=0)
ONE_FEATURE = numrnn.GRU(1, 64, seed=0)
HEAD = "LSTM(input_size=8, hidden_size=64): "
GRU_HEAD = "GRU(input_size=8, hidden_size=64): "
ROWS = [zeros(5, 8), zeros(2, 8), zeros(0, 8)]
PACKED = numrnn.pack_sequence(ROWS[:2])
READ_LIST = "x is a list of 2 arrays, read as one sequence (time, features) each, whatever batch_first is."

LENGTHS = [
    refusal(
        "too few lengths",
        lambda: LSTM(X, lengths=[1, 2]),
        ValueError,
        HEAD + "`lengths` has shape (2,), expected (3,).",
        "x is read as (time, batch, features): one length for each of its 3 rows.",
        "Lengths are numbers of steps, in any order.",
    ),
    refusal(
        "lengths of the other axis",
        lambda: LSTM.last(X, lengths=[3] * 5),
        ValueError,
        HEAD + "`lengths` has shape (5,), expected (3,).",
        "x is read as (time, batch, features): one length for each of its 3 rows.",
        "If x has 5 rows, make the layer with batch_first=True.",
    ),
    refusal(
        "a mask for lengths",
        lambda: LSTM.vjp(X, lengths=np.ones((5, 3), int)),
        ValueError,
        HEAD + "`lengths` has shape (5, 3), expected (3,).",
        "x is read as (time, batch, features): one length for each of its 3 rows.",
        "If it is a mask of valid steps, which come first, pass lengths.sum(axis=0).",
    ),
    refusal(
        "a mask for lengths, batch_first",
        lambda: BATCH_FIRST(zeros(3, 5, 8), lengths=np.ones((3, 5), int)),
        ValueError,
        HEAD + "`lengths` has shape (3, 5), expected (3,).",
        "x is read as (batch, time, features): one length for each of its 3 rows.",
        "If it is a mask of valid steps, which come first, pass lengths.sum(axis=1).",
    ),
    refusal(
        "longer than x",
        lambda: LSTM(X, lengths=[5, 6, 7]),
        ValueError,
        HEAD + "`lengths[1]` is 6, expected 0 to 5, the steps of x.",
        "x is read as (time, batch, features).",
    ),
    refusal(
        "negative length",
        lambda: LSTM(X, lengths=[5, 5, -1]),
        ValueError,
        HEAD + "`lengths[2]` is -1, expected 0 to 5, the steps of x.",
        "x is read as (time, batch, features).",
    ),
    refusal(
        "lengths that are real",
        lambda: LSTM(X, lengths=[5.0, 5.0, 1.0]),
        TypeError,
        HEAD + "`lengths` should be integers, got float64.",
        "Convert them first: np.asarray(lengths).astype(int).",
    ),
    refusal(
        "lengths that are true or false",
        lambda: LSTM(X, lengths=[True, True, False]),
        TypeError,
        HEAD + "`lengths` should be integers, got bool.",
        "Convert them first: np.asarray(lengths).astype(int).",
    ),
    refusal(
        "lengths of a list",
        lambda: LSTM(ROWS, lengths=[1, 1, 0]),
        ValueError,
        HEAD + "`lengths` was given, but x is a list of arrays, which have their own.",
        "Pass x[n][:length] in the list.",
    ),
    refusal(
        "lengths of a packed sequence",
        lambda: LSTM(PACKED, lengths=[5, 2]),
        ValueError,
        HEAD + "`lengths` was given, but x is a packed sequence, which has its own.",
        "Leave `lengths` out.",
    ),
    refusal(
        "lengths of one sequence",
        lambda: LSTM(zeros(5, 8), lengths=[3]),
        ValueError,
        HEAD + "`lengths` was given, but x is one sequence (time, features).",
        "Pass x[:length].",
    ),
]

LISTS = [
    refusal(
        "features of one array",
        lambda: LSTM([zeros(5, 8), zeros(4, 3)]),
        ValueError,
        HEAD + "`x[1]` has shape (4, 3), expected (time, 8).",
        READ_LIST,
        "Pass 8 features, or make the layer with input_size=3.",
    ),
    refusal(
        "one array turned",
        lambda: LSTM([zeros(8, 5), zeros(4, 8)]),
        ValueError,
        HEAD + "`x[0]` has shape (8, 5), expected (time, 8).",
        READ_LIST,
        "It looks like (features, time): pass x[0].T.",
    ),
    refusal(
        "batches in a list",
        lambda: LSTM([zeros(5, 8), X]),
        ValueError,
        HEAD + "`x[1]` has shape (5, 3, 8), expected (time, 8).",
        READ_LIST,
        "To run one padded batch pass it alone: layer(x[1]).",
    ),
    refusal(
        "no axis of features",
        lambda: ONE_FEATURE([zeros(5), zeros(4)]),
        ValueError,
        "GRU(input_size=1, hidden_size=64): `x[0]` has shape (5,), expected (time, 1).",
        READ_LIST,
        "For sequences of one feature pass arrays (time, 1).",
    ),
    refusal(
        "rows for sequences",
        lambda: LSTM([zeros(8), zeros(8)]),
        ValueError,
        HEAD + "`x[0]` has shape (8,), expected (time, 8).",
        READ_LIST,
        "Each array needs two axes.",
    ),
    refusal(
        "complex array of a list",
        lambda: LSTM([zeros(5, 8), zeros(4, 8) * 1j]),
        TypeError,
        HEAD + "`x[1]` holds complex numbers (dtype complex128), expected real numbers.",
        "Pass real and imaginary parts as two features.",
    ),
    refusal(
        "a list beyond memory",
        lambda: LSTM([np.broadcast_to(np.float32(0), (10**12, 8)), zeros(1, 8)]),
        MemoryError,
        HEAD + "29.1 TiB needed for a copy of `x`, this machine has 16.0 GiB.",
    ),
    refusal(
        "features of a packed sequence",
        lambda: LSTM(numrnn.pack_sequence([zeros(5, 3)])),
        ValueError,
        HEAD + "`x.data` has shape (5, 3), expected (sum of lengths, 8).",
        "x is a packed sequence: its data hold the features of every step of every sequence.",
    ),
    refusal(
        "what only looks packed",
        lambda: LSTM(types.SimpleNamespace(data=zeros(5, 8), batch_sizes=[3, 1])),
        ValueError,
        "PackedSequence: `data` has 5 steps, but `batch_sizes` add up to 4.",
        "Make it with pack_padded_sequence or pack_sequence.",
    ),
]

RESETS = [
    refusal(
        "reset of integers",
        lambda: GRU(X, reset=np.zeros((5, 3), int)),
        TypeError,
        GRU_HEAD + "`reset` should be of type bool, got int64.",
        "Pass reset.astype(bool); True at a step cuts the state before it.",
    ),
    refusal(
        "reset of the wrong shape",
        lambda: GRU(X, reset=np.zeros(5, bool)),
        ValueError,
        GRU_HEAD + "`reset` has shape (5,), expected (5, 3).",
        "It has the shape of x without its features.",
        "A step's reset is one for all features and layers.",
    ),
    refusal(
        "reset swapped",
        lambda: GRU.last(X, reset=np.zeros((3, 5), bool)),
        ValueError,
        GRU_HEAD + "`reset` has shape (3, 5), expected (5, 3).",
        "It has the shape of x without its features.",
        "Its axes are swapped: pass reset.T.",
    ),
    refusal(
        "reset of two directions",
        lambda: BOTH.vjp(X, reset=np.zeros((5, 3), bool)),
        NotImplementedError,
        GRU_HEAD
        + "`reset` is not available with bidirectional=True: a reverse direction comes from later steps, and a "
        "reset cuts what comes from earlier ones.",
        "Cut the sequences where the state is reset, and pass the pieces as a list.",
    ),
    refusal(
        "reset of a list",
        lambda: GRU(ROWS, reset=np.zeros((5, 3), bool)),
        NotImplementedError,
        GRU_HEAD + "`reset` is available for arrays only, and x is a list of arrays.",
        "Cut the arrays where the state is reset, or pass one padded array and lengths.",
    ),
    refusal(
        "reset of a packed sequence",
        lambda: GRU(PACKED, reset=np.zeros((5, 2), bool)),
        NotImplementedError,
        GRU_HEAD + "`reset` is available for arrays only, and x is a packed sequence.",
        "Pass pad_packed_sequence(x), which gives one array and lengths.",
    ),
]

STATES = [
    refusal(
        "state with a batch",
        lambda: GRU(zeros(5, 8), zeros(1, 1, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (1, 1, 64), expected (1, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "Pass h_0[:, 0], or give x its batch axis.",
    ),
    refusal(
        "state without layers",
        lambda: GRU(zeros(5, 8), zeros(64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (64,), expected (1, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "The axis of layers is missing: pass h_0[None].",
    ),
    refusal(
        "state of another size",
        lambda: LSTM(zeros(5, 8), (zeros(1, 64), zeros(1, 32))),
        ValueError,
        HEAD + "`c_0` has shape (1, 32), expected (1, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "To continue a sequence pass `result.state`; to start one pass nothing.",
    ),
    refusal(
        "batch-first state of one sequence",
        lambda: TWO_LAYERS(zeros(5, 8), zeros(1, 2, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (1, 2, 64), expected (2, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "Pass h_0[0], or give x its batch axis and the state its own behind the layers.",
    ),
    refusal(
        "swapped state of one sequence",
        lambda: TWO_LAYERS(zeros(5, 8), zeros(64, 2)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (64, 2), expected (2, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "Its axes look swapped: pass h_0.T.",
    ),
    refusal(
        "more layers of one sequence",
        lambda: TWO_LAYERS(zeros(5, 8), zeros(3, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (3, 64), expected (2, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "The layer has num_layers=2: pass one state for each.",
    ),
    refusal(
        "no layers of one sequence",
        lambda: TWO_LAYERS(zeros(5, 8), zeros(64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (64,), expected (2, 64).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, hidden_size).",
        "The axis of layers is missing. The layer has num_layers=2: pass one state for each.",
    ),
    refusal(
        "projection of one sequence",
        lambda: PROJECTED(zeros(5, 8), (zeros(1, 64), zeros(1, 64))),
        ValueError,
        HEAD + "`h_0` has shape (1, 64), expected (1, 16).",
        "x is one sequence (time, features), so its state has no batch axis either: (num_layers, proj_size).",
        "With proj_size=16 h_0 has proj_size features, c_0 has hidden_size.",
    ),
    refusal(
        "state of another batch than the packed one",
        lambda: GRU(PACKED, zeros(1, 5, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (1, 5, 64), expected (1, 2, 64).",
        "h_0.shape = (1, 5, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "x has a batch of 2: pass a state for each row, or one row that stands for all.",
    ),
    refusal(
        "state of another batch than the list",
        lambda: GRU(ROWS, zeros(1, 5, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (1, 5, 64), expected (1, 3, 64).",
        "h_0.shape = (1, 5, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "x has a batch of 3: pass a state for each row, or one row that stands for all.",
    ),
    refusal(
        "batch-first state of a list",
        lambda: GRU(ROWS, zeros(3, 1, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (3, 1, 64), expected (1, 3, 64).",
        "h_0.shape = (3, 1, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "It looks batch-first. States are never batch-first: pass h_0.swapaxes(0, 1).",
    ),
    refusal(
        "state of one direction",
        lambda: BOTH(X, zeros(1, 3, 64)),
        ValueError,
        GRU_HEAD + "`h_0` has shape (1, 3, 64), expected (2, 3, 64).",
        "h_0.shape = (1, 3, 64) read as (num_layers * 2, batch, hidden_size), whatever batch_first is.",
        "The layer has num_layers=1 and two directions: pass one state for each, layer by layer, forward before "
        "reverse.",
    ),
    refusal(
        "h_0 without projection",
        lambda: PROJECTED(X, (zeros(1, 3, 64), zeros(1, 3, 64))),
        ValueError,
        HEAD + "`h_0` has shape (1, 3, 64), expected (1, 3, 16).",
        "h_0.shape = (1, 3, 64) read as (num_layers, batch, proj_size), whatever batch_first is.",
        "With proj_size=16 h_0 has proj_size features, c_0 has hidden_size.",
    ),
    refusal(
        "c_0 of the projection",
        lambda: PROJECTED(X, (zeros(1, 3, 16), zeros(1, 3, 16))),
        ValueError,
        HEAD + "`c_0` has shape (1, 3, 16), expected (1, 3, 64).",
        "c_0.shape = (1, 3, 16) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "With proj_size=16 h_0 has proj_size features, c_0 has hidden_size.",
    ),
]

COTANGENTS = [
    refusal(
        "array for a list",
        lambda: LSTM.vjp(ROWS)[1](zeros(5, 3, 64)),
        ValueError,
        HEAD + "`d_output` should be a list of 3 arrays, as x is one, got ndarray.",
    ),
    refusal(
        "fewer arrays",
        lambda: LSTM.vjp(ROWS)[1]([zeros(5, 64), zeros(2, 64)]),
        ValueError,
        HEAD + "`d_output` should be a list of 3 arrays, as x is one, got list of 2.",
    ),
    refusal(
        "array of another length",
        lambda: LSTM.vjp(ROWS)[1]([zeros(5, 64), zeros(3, 64), zeros(0, 64)]),
        ValueError,
        HEAD + "`d_output[1]` has shape (3, 64), expected (2, 64).",
        "Its sequence x[1] has 2 steps.",
    ),
    refusal(
        "another packing",
        lambda: LSTM.vjp(PACKED)[1](numrnn.pack_sequence([zeros(4, 64), zeros(3, 64)])),
        ValueError,
        HEAD + "`d_output` is packed otherwise than x.",
        "Pack it in the same order.",
    ),
    refusal(
        "features of a packed cotangent",
        lambda: LSTM.vjp(PACKED)[1](PACKED),
        ValueError,
        HEAD + "`d_output` has data of shape (7, 8), expected (7, 64).",
        "It is a packed sequence like x, or the data of one.",
    ),
    refusal(
        "cotangent of one sequence",
        lambda: LSTM.vjp(zeros(5, 8))[1](zeros(5, 1, 64)),
        ValueError,
        HEAD + "`d_output` has shape (5, 1, 64), expected (5, 64).",
        "x is one sequence (time, features), and so is what belongs to its steps.",
    ),
    refusal(
        "state's cotangent of one sequence",
        lambda: LSTM.vjp(zeros(5, 8))[1](d_c_n=zeros(1, 1, 64)),
        ValueError,
        HEAD + "`d_c_n` has shape (1, 1, 64), expected (1, 64).",
        "x is one sequence (time, features): `d_c_n` takes the shape of `c_n` (num_layers, hidden_size).",
    ),
    refusal(
        "d_output of two halves",
        lambda: BOTH.vjp(X)[1](zeros(3, 128)),
        ValueError,
        GRU_HEAD + "`d_output` has shape (3, 128), expected (5, 3, 128).",
        "It takes the shape of `output` (time, batch, 2 * hidden_size).",
        "For a loss of `last_output` pass d_h_n instead, zero but for d_h_n[-2], the forward half of this, and "
        "d_h_n[-1], the reverse half.",
    ),
]


@pytest.mark.parametrize("wrong", [*LENGTHS, *LISTS, *RESETS, *STATES, *COTANGENTS], ids=str)
def test_a_wrong_call_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)
