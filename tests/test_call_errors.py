"""Every error of a call: its type and its whole text."""

import numpy as np
import pytest
import scipy.sparse
from refusals import BATCH_FIRST, GRU, LSTM, TWO_LAYERS, Refusal, X, refusal, zeros

import numrnn


class Unreadable:
    """What a tensor that records its history says when it is read as an array."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("this tensor requires grad; call detach()")


INPUT = [
    refusal(
        "an empty list",
        lambda: LSTM([]),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` is an empty list: it holds no sequence.",
        "For a batch of none pass an array that has its axes, such as np.empty((0, 0, features)).",
    ),
    refusal(
        "no axes",
        lambda: LSTM(1.0),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 0 axes, expected 3, or 2 for one sequence.",
        "x.shape = (), expected (time, batch, features) because batch_first=False.",
        "Pass an array with these three axes.",
    ),
    refusal(
        "one axis",
        lambda: LSTM(zeros(5)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 1 axes, expected 3, or 2 for one sequence.",
        "x.shape = (5,), expected (time, batch, features) because batch_first=False.",
        "If x is one sequence of one feature: pass x[:, None], and make the layer with input_size=1.",
    ),
    refusal(
        "one axis of a layer of one feature",
        lambda: numrnn.GRU(1, 64)(zeros(5)),
        ValueError,
        "GRU(input_size=1, hidden_size=64): `x` has 1 axes, expected 3, or 2 for one sequence.",
        "x.shape = (5,), expected (time, batch, features) because batch_first=False.",
        "If x is one sequence of one feature: pass x[:, None].",
    ),
    refusal(
        "one step",
        lambda: LSTM(zeros(8)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 1 axes, expected 3, or 2 for one sequence.",
        "x.shape = (8,), expected (time, batch, features) because batch_first=False.",
        "If x is one step of one sequence: pass x[None].",
    ),
    refusal(
        "a batch of two axes",
        lambda: LSTM(zeros(5, 3, 2, 8)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 4 axes, expected 3, or 2 for one sequence.",
        "x.shape = (5, 3, 2, 8), expected (time, batch, features) because batch_first=False.",
        "If the other axes are all of the batch: pass x.reshape(5, -1, 8).",
    ),
    refusal(
        "a batch of two axes, batch_first",
        lambda: BATCH_FIRST(zeros(3, 2, 5, 8)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 4 axes, expected 3, or 2 for one sequence.",
        "x.shape = (3, 2, 5, 8), expected (batch, time, features) because batch_first=True.",
        "If the other axes are all of the batch: pass x.reshape(-1, 5, 8).",
    ),
    refusal(
        "four axes that fit nothing",
        lambda: LSTM(zeros(5, 3, 2, 2)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 4 axes, expected 3, or 2 for one sequence.",
        "x.shape = (5, 3, 2, 2), expected (time, batch, features) because batch_first=False.",
        "Pass an array with these three axes.",
    ),
    refusal(
        "four axes",
        lambda: LSTM(zeros(5, 3, 2, 4)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 4 axes, expected 3, or 2 for one sequence.",
        "x.shape = (5, 3, 2, 4), expected (time, batch, features) because batch_first=False.",
        "If the last 2 axes are all features: pass x.reshape(5, 3, -1).",
    ),
    refusal(
        "wrong features",
        lambda: BATCH_FIRST(zeros(32, 100, 12)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 12 features, expected 8.",
        "x.shape = (32, 100, 12) read as (batch, time, features) because batch_first=True.",
        "Features are the last axis: pass 8 of them, or make the layer with input_size=12.",
    ),
    refusal(
        "features on another axis",
        lambda: LSTM(zeros(5, 8, 3)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 3 features, expected 8.",
        "x.shape = (5, 8, 3) read as (time, batch, features) because batch_first=False.",
        "Axis 1 has 8 entries: if these are the features, pass np.moveaxis(x, 1, -1).",
    ),
    refusal(
        "wrong features of one sequence",
        lambda: LSTM(zeros(5, 3)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 3 features, expected 8.",
        "x.shape = (5, 3) read as one sequence (time, features).",
        "Features are the last axis: pass 8 of them, or make the layer with input_size=3.",
    ),
    refusal(
        "one sequence, turned",
        lambda: BATCH_FIRST(zeros(8, 3)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 3 features, expected 8.",
        "x.shape = (8, 3) read as one sequence (time, features).",
        "Axis 0 has 8 entries: if these are the features, pass x.T.",
    ),
    refusal(
        "one feature without its axis",
        lambda: numrnn.GRU(1, 64)(zeros(5, 3)),
        ValueError,
        "GRU(input_size=1, hidden_size=64): `x` has 3 features, expected 1.",
        "x.shape = (5, 3) read as one sequence (time, features).",
        "If x is sequences of one feature: pass x[:, :, None], then read as (time, batch, features).",
    ),
    refusal(
        "nothing",
        lambda: LSTM(None),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` should be an array of real numbers, got NoneType.",
        "Pass a NumPy array.",
    ),
    refusal(
        "a whole result",
        lambda: LSTM(LSTM(X)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` is a whole result.",
        "Pass its output: `layer(result.output)`.",
    ),
    refusal(
        "masked",
        lambda: LSTM(np.ma.masked_invalid(zeros(5, 3, 8))),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` is a masked array, and a mask is not read.",
        "Pass x.filled(0.0), or the valid part.",
    ),
    refusal(
        "complex",
        lambda: LSTM(zeros(5, 3, 8).astype(complex)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds complex numbers (dtype complex128), expected real numbers.",
        "Pass real and imaginary parts as two features.",
    ),
    refusal(
        "objects",
        lambda: LSTM(zeros(5, 3, 8).astype(object)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds Python objects (dtype object), expected real numbers.",
        "Convert it first, for example x.astype('float64').",
    ),
    refusal(
        "text",
        lambda: LSTM(zeros(5, 3, 8).astype(str)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds text (dtype <U32), expected real numbers.",
        "Convert it first, for example x.astype('float64').",
    ),
    refusal(
        "bytes",
        lambda: LSTM(zeros(5, 3, 8).astype(bytes)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds bytes (dtype |S32), expected real numbers.",
        "Convert it first, for example x.astype('float64').",
    ),
    refusal(
        "dates",
        lambda: LSTM(zeros(5, 3, 8).astype("M8[s]")),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds dates (dtype datetime64[s]), expected real numbers.",
        "Convert it first, for example x.astype('float64').",
    ),
    refusal(
        "time differences",
        lambda: LSTM(zeros(5, 3, 8).astype("m8[s]")),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds time differences (dtype timedelta64[s]), expected real numbers.",
        "Convert it first, for example x.astype('float64').",
    ),
    refusal(
        "records",
        lambda: LSTM(np.zeros((5, 3, 8), [("price", "f4")])),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` holds records (dtype [('price', '<f4')]), expected real numbers.",
        "Pass one field, or stack the fields along the last axis.",
    ),
    refusal(
        "sparse",
        lambda: LSTM(scipy.sparse.csr_array(zeros(5, 8))),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` is a sparse array (csr_array).",
        "Pass x.toarray(), reshaped.",
    ),
    refusal(
        "ragged list",
        lambda: LSTM([[[1.0]], [[1.0], [2.0]]]),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` is not one array: its nested rows differ in length.",
        "Pad them to one length.",
    ),
    refusal(
        "not readable",
        lambda: LSTM(Unreadable()),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `x` (Unreadable) cannot be read as an array.",
        "It says: this tensor requires grad; call detach()",
    ),
    refusal(
        "more output than memory",
        lambda: LSTM(np.broadcast_to(np.float32(0), (10**7, 10**5, 8))),
        MemoryError,
        "LSTM(input_size=8, hidden_size=64): 232.8 TiB needed for the result of x of shape (10000000, 100000,"
        " 8), this machine has 16.0 GiB.",
        "Split the batch, or split time and carry `result.state` over.",
    ),
    refusal(
        "more training than memory",
        lambda: LSTM.vjp(np.broadcast_to(np.float32(0), (10**7, 10**5, 8))),
        MemoryError,
        "LSTM(input_size=8, hidden_size=64): 1.4 PiB needed for training on x of shape (10000000, 100000, 8),"
        " this machine has 16.0 GiB.",
        "Split the batch, or split time and carry `result.state` over.",
    ),
    refusal(
        "a copy beyond memory",
        lambda: numrnn.RNN(8, 1).last(np.broadcast_to(np.float32(0), (10**6, 10**6, 8))),
        MemoryError,
        "RNN(input_size=8, hidden_size=1): 29.1 TiB needed for a copy of `x`, this machine has 16.0 GiB.",
    ),
    refusal(
        "internals of the wrong kind",
        lambda: LSTM(X, internals="gates"),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `internals` should be True or False, got str 'gates'.",
    ),
    refusal(
        "t0 of the wrong kind",
        lambda: LSTM.vjp(X, t0=1.5),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `t0` should be an int of 0 or more, got float 1.5.",
    ),
    refusal(
        "negative row0",
        lambda: LSTM.vjp(X, row0=-1),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `row0` should be an int of 0 or more, got -1.",
    ),
    refusal(
        "seed of vjp",
        lambda: LSTM.vjp(X, seed="7"),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `seed` should be an int of 0 or more, got str '7'.",
    ),
]

STATE = [
    refusal(
        "no pair",
        lambda: LSTM(X, zeros(1, 3, 64)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `state` should be a pair (h_0, c_0), got an array of shape (1, 3, 64).",
        "To continue a sequence pass `result.state`; for one half of the pair pass zeros.",
    ),
    refusal(
        "three states",
        lambda: LSTM(X, (zeros(1, 3, 64),) * 3),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `state` should be a pair (h_0, c_0), got a tuple of 3.",
        "To continue a sequence pass `result.state`; for one half of the pair pass zeros.",
    ),
    refusal(
        "number for a pair",
        lambda: LSTM(X, 0.0),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `state` should be a pair (h_0, c_0), got float 0.0.",
        "To continue a sequence pass `result.state`; for one half of the pair pass zeros.",
    ),
    refusal(
        "pair for a GRU",
        lambda: GRU(X, (zeros(1, 3, 64), zeros(1, 3, 64))),
        TypeError,
        "GRU(input_size=8, hidden_size=64): `state` is a tuple of 2, expected one array h_0.",
        "Pass h_0 alone; (h_0, c_0) is for cells with a cell state, such as LSTM.",
    ),
    refusal(
        "a whole result as state",
        lambda: GRU(X, GRU(X)),
        TypeError,
        "GRU(input_size=8, hidden_size=64): `state` is a whole result.",
        "Pass its state: `layer(x, result.state)`.",
    ),
    refusal(
        "nothing for c_0",
        lambda: LSTM(X, (zeros(1, 3, 64), None)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `c_0` should be an array of real numbers, got NoneType.",
        "Pass a NumPy array.",
    ),
    refusal(
        "batch-first state",
        lambda: TWO_LAYERS(X, zeros(3, 2, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (3, 2, 64), expected (2, 3, 64).",
        "h_0.shape = (3, 2, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "It looks batch-first. States are never batch-first: pass h_0.swapaxes(0, 1).",
    ),
    refusal(
        "batch-first state, one row",
        lambda: TWO_LAYERS(X, zeros(1, 2, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (1, 2, 64), expected (2, 3, 64).",
        "h_0.shape = (1, 2, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "It looks batch-first. States are never batch-first: pass h_0.swapaxes(0, 1).",
    ),
    refusal(
        "state without layers",
        lambda: GRU(X, zeros(3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (3, 64), expected (1, 3, 64).",
        "h_0.shape = (3, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "The axis of layers is missing: pass h_0[None].",
    ),
    refusal(
        "state without layers, of two",
        lambda: TWO_LAYERS(X, zeros(3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (3, 64), expected (2, 3, 64).",
        "h_0.shape = (3, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "The axis of layers is missing. The layer has num_layers=2: pass one state for each.",
    ),
    refusal(
        "state with its last axes swapped",
        lambda: TWO_LAYERS(X, zeros(2, 64, 3)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (2, 64, 3), expected (2, 3, 64).",
        "h_0.shape = (2, 64, 3) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "Its last two axes look swapped: pass h_0.swapaxes(1, 2).",
    ),
    refusal(
        "state of four axes",
        lambda: TWO_LAYERS(X, zeros(2, 1, 3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (2, 1, 3, 64), expected (2, 3, 64).",
        "h_0.shape = (2, 1, 3, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "To continue a sequence pass `result.state`; to start one pass nothing.",
    ),
    refusal(
        "batch-first c_0",
        lambda: LSTM(X, (zeros(1, 3, 64), zeros(3, 1, 64))),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `c_0` has shape (3, 1, 64), expected (1, 3, 64).",
        "c_0.shape = (3, 1, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "It looks batch-first. States are never batch-first: pass c_0.swapaxes(0, 1).",
    ),
    refusal(
        "state without batch",
        lambda: TWO_LAYERS(X, zeros(2, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (2, 64), expected (2, 3, 64).",
        "h_0.shape = (2, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "The batch axis is missing: pass h_0[:, None, :], which stands for every row.",
    ),
    refusal(
        "x batch-first by mistake",
        lambda: GRU(X, zeros(1, 5, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (1, 5, 64), expected (1, 3, 64).",
        "h_0.shape = (1, 5, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "x was read as (time, batch, features) with batch 3 and time 5: if its batch is 5, x has these axes "
        "swapped; make the layer with batch_first=True.",
    ),
    refusal(
        "x time-first by mistake",
        lambda: BATCH_FIRST(X, (zeros(1, 3, 64), zeros(1, 3, 64))),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `h_0` has shape (1, 3, 64), expected (1, 5, 64).",
        "h_0.shape = (1, 3, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "x was read as (batch, time, features) with batch 5 and time 3: if its batch is 3, x has these axes "
        "swapped; make the layer with batch_first=False.",
    ),
    refusal(
        "state of fewer layers",
        lambda: TWO_LAYERS(X, zeros(1, 3, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (1, 3, 64), expected (2, 3, 64).",
        "h_0.shape = (1, 3, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "The layer has num_layers=2: pass one state for each.",
    ),
    refusal(
        "state of another batch",
        lambda: GRU(X, zeros(1, 4, 64)),
        ValueError,
        "GRU(input_size=8, hidden_size=64): `h_0` has shape (1, 4, 64), expected (1, 3, 64).",
        "h_0.shape = (1, 4, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "x has a batch of 3: pass a state for each row, or one row that stands for all.",
    ),
    refusal(
        "state of another size",
        lambda: LSTM(X, (zeros(1, 3, 64), zeros(1, 3, 32))),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `c_0` has shape (1, 3, 32), expected (1, 3, 64).",
        "c_0.shape = (1, 3, 32) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "To continue a sequence pass `result.state`; to start one pass nothing.",
    ),
    refusal(
        "complex state",
        lambda: GRU(X, zeros(1, 3, 64) * 1j),
        TypeError,
        "GRU(input_size=8, hidden_size=64): `h_0` holds complex numbers (dtype complex128), expected real numbers.",
        "Pass real and imaginary parts as two features.",
    ),
]


@pytest.mark.parametrize("wrong", [*INPUT, *STATE], ids=str)
def test_a_wrong_call_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)


def test_after_an_error_the_next_call_works():
    """A refused call leaves nothing behind, whatever it was refused for."""
    layers = (LSTM, GRU, TWO_LAYERS, BATCH_FIRST)
    before = [layer(X + 1).output for layer in layers]
    for wrong in [*INPUT, *STATE]:
        with pytest.raises(wrong.error):
            wrong.call()
    for layer, output in zip(layers, before, strict=True):
        np.testing.assert_array_equal(layer(X + 1).output, output)
