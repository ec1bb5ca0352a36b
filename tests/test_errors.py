"""Every error of constructors, parameters, results and `describe`: its type and its whole text."""

import numpy as np
import pytest
from refusals import GRU, LSTM, Refusal, X, refusal, zeros

import numrnn


def gradients(layer):
    result, pullback = layer.vjp(zeros(1, 1, layer.input_size))
    return pullback(result.output)


CONSTRUCTORS = [
    refusal(
        "sizes of the wrong kind",
        lambda: numrnn.LSTM(8.0, 64),
        TypeError,
        "LSTM: `input_size` should be an int of 1 or more, got float 8.0.",
    ),
    refusal(
        "a bool is no size",
        lambda: numrnn.GRU(8, True),
        TypeError,
        "GRU: `hidden_size` should be an int of 1 or more, got bool True.",
    ),
    refusal(
        "no features", lambda: numrnn.RNN(0, 64), ValueError, "RNN: `input_size` should be an int of 1 or more, got 0."
    ),
    refusal(
        "negative hidden_size",
        lambda: numrnn.GRU(8, -64),
        ValueError,
        "GRU: `hidden_size` should be an int of 1 or more, got -64.",
    ),
    refusal(
        "no layers",
        lambda: numrnn.LSTM(8, 64, num_layers=0),
        ValueError,
        "LSTM: `num_layers` should be an int of 1 or more, got 0.",
    ),
    refusal(
        "a text is no size",
        lambda: numrnn.LSTM(8, "64"),
        TypeError,
        "LSTM: `hidden_size` should be an int of 1 or more, got str '64'.",
    ),
    refusal(
        "dropout in the place of bias",
        lambda: numrnn.LSTM(8, 64, 2, 0.5),
        TypeError,
        "LSTM: `bias` should be True or False, got float 0.5.",
        "Arguments in order: input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, "
        "proj_size.",
    ),
    refusal(
        "batch_first of the wrong kind",
        lambda: numrnn.RNN(8, 64, batch_first=1),
        TypeError,
        "RNN: `batch_first` should be True or False, got int 1.",
        "Arguments in order: input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, "
        "bidirectional.",
    ),
    refusal(
        "unknown nonlinearity",
        lambda: numrnn.RNN(8, 64, nonlinearity="sigmoid"),
        ValueError,
        'RNN: `nonlinearity` should be "tanh" or "relu", got str \'sigmoid\'.',
    ),
    refusal(
        "unknown init",
        lambda: numrnn.GRU(8, 64, init="xavier"),
        ValueError,
        'GRU: `init` should be "pytorch" or "keras", got str \'xavier\'.',
    ),
    refusal(
        "dropout out of range",
        lambda: numrnn.LSTM(8, 64, 2, dropout=1.5),
        ValueError,
        "LSTM: `dropout` should be a number from 0 to 1, the probability of a zero, got float 1.5.",
    ),
    refusal(
        "dropout of the wrong kind",
        lambda: numrnn.LSTM(8, 64, 2, dropout=True),
        ValueError,
        "LSTM: `dropout` should be a number from 0 to 1, the probability of a zero, got bool True.",
    ),
    refusal(
        "negative dropout",
        lambda: numrnn.RNN(8, 64, 2, dropout=-0.1),
        ValueError,
        "RNN: `dropout` should be a number from 0 to 1, the probability of a zero, got float -0.1.",
    ),
    refusal(
        "dropout that is no number",
        lambda: numrnn.GRU(8, 64, 2, dropout=float("nan")),
        ValueError,
        "GRU: `dropout` should be a number from 0 to 1, the probability of a zero, got float nan.",
    ),
    refusal(
        "dropout as text",
        lambda: numrnn.GRU(8, 64, 2, dropout="0.5"),
        ValueError,
        "GRU: `dropout` should be a number from 0 to 1, the probability of a zero, got str '0.5'.",
    ),
    refusal(
        "no features of an LSTM",
        lambda: numrnn.LSTM(0, 64),
        ValueError,
        "LSTM: `input_size` should be an int of 1 or more, got 0.",
    ),
    refusal(
        "num_layers of the wrong kind",
        lambda: numrnn.GRU(8, 64, 1.5),
        TypeError,
        "GRU: `num_layers` should be an int of 1 or more, got float 1.5.",
    ),
    refusal(
        "bias of the wrong kind",
        lambda: numrnn.LSTM(8, 64, bias=None),
        TypeError,
        "LSTM: `bias` should be True or False, got NoneType None.",
        "Arguments in order: input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, "
        "proj_size.",
    ),
    refusal(
        "dtype that is no dtype",
        lambda: numrnn.GRU(8, 64, dtype="single precision"),
        TypeError,
        'GRU: `dtype` should be "float32" or "float64", got str \'single precision\'.',
    ),
    refusal(
        "no dtype",
        lambda: numrnn.GRU(8, 64, dtype=None),
        TypeError,
        'GRU: `dtype` should be "float32" or "float64", got NoneType None.',
    ),
    refusal(
        "an array that is no integer",
        lambda: numrnn.LSTM(np.array(3.5), 4),
        TypeError,
        "LSTM: `input_size` should be an int of 1 or more, got ndarray array(3.5).",
    ),
    refusal(
        "foreign byte order",
        lambda: numrnn.GRU(8, 64, dtype=np.dtype("float32").newbyteorder("S").str),
        ValueError,
        'GRU: `dtype` should be "float32" or "float64", got '
        f"{np.dtype('float32').newbyteorder('S').str}, in foreign byte order.",
    ),
    refusal(
        "half precision",
        lambda: numrnn.GRU(8, 64, dtype="float16"),
        ValueError,
        'GRU: `dtype` should be "float32" or "float64", got float16.',
    ),
    refusal(
        "negative seed",
        lambda: numrnn.LSTM(8, 64, seed=-1),
        ValueError,
        "LSTM: `seed` should be an int of 0 or more, got -1.",
    ),
    refusal(
        "seed of the wrong kind",
        lambda: numrnn.LSTM(8, 64, seed=0.5),
        TypeError,
        "LSTM: `seed` should be an int of 0 or more, got float 0.5.",
    ),
    refusal(
        "proj_size as large as hidden_size",
        lambda: numrnn.LSTM(8, 64, proj_size=64),
        ValueError,
        "LSTM: `proj_size` should be less than hidden_size=64, got 64.",
        "0 is none.",
    ),
    refusal(
        "negative proj_size",
        lambda: numrnn.LSTM(8, 64, proj_size=-1),
        ValueError,
        "LSTM: `proj_size` should be an int of 0 or more, got -1.",
    ),
    refusal(
        "proj_size of the wrong kind",
        lambda: numrnn.LSTM(8, 64, proj_size=0.5),
        TypeError,
        "LSTM: `proj_size` should be an int of 0 or more, got float 0.5.",
    ),
    refusal(
        "reset_after of the wrong kind",
        lambda: numrnn.GRU(8, 64, reset_after=0),
        TypeError,
        "GRU: `reset_after` should be True or False, got int 0.",
    ),
    refusal(
        "bidirectional of the wrong kind",
        lambda: numrnn.GRU(8, 64, bidirectional=2),
        TypeError,
        "GRU: `bidirectional` should be True or False, got int 2.",
        "Arguments in order: input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional.",
    ),
    refusal(
        "forget_bias of the wrong kind",
        lambda: numrnn.LSTM(8, 64, forget_bias="1"),
        TypeError,
        "LSTM: `forget_bias` should be a real number, got str '1'.",
    ),
    refusal(
        "infinite forget_bias",
        lambda: numrnn.LSTM(8, 64, forget_bias=float("inf")),
        ValueError,
        "LSTM: `forget_bias` should be finite, got inf.",
    ),
    refusal(
        "forget_bias without biases",
        lambda: numrnn.LSTM(8, 64, bias=False, forget_bias=1.0),
        ValueError,
        "LSTM: `forget_bias` was given, but bias=False.",
        "Leave one of the two out.",
    ),
    refusal(
        "more weights than memory",
        lambda: numrnn.LSTM(10**7, 10**8),
        MemoryError,
        "LSTM(input_size=10000000, hidden_size=100000000): 156.3 PiB needed for the weights, "
        "this machine has 16.0 GiB.",
    ),
    refusal(
        "more layers than memory",
        lambda: numrnn.RNN(1, 1, num_layers=10**12),
        MemoryError,
        "RNN(input_size=1, hidden_size=1): 1.8 PiB needed for the weights of num_layers=1000000000000, this "
        "machine has 16.0 GiB.",
    ),
]

PARAMETERS = [
    refusal(
        "a name that is no text",
        lambda: numrnn.RNN(2, 3).set_parameters({1: zeros(1)}),
        ValueError,
        """RNN(input_size=2, hidden_size=3): the names do not match: unexpected 1.
  Expected: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0.""",
    ),
    refusal(
        "no mapping",
        lambda: LSTM.set_parameters([1, 2]),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `set_parameters` takes a mapping of names to arrays, got list.",
        "Names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0.",
    ),
    refusal(
        "unknown name",
        lambda: numrnn.RNN(8, 4, bias=False).set_parameters({"bias_ih_l0": zeros(4)}),
        ValueError,
        "RNN(input_size=8, hidden_size=4): the names do not match: unexpected bias_ih_l0.",
        "Expected: weight_ih_l0, weight_hh_l0.",
    ),
    refusal(
        "missing and unexpected names",
        lambda: numrnn.RNN(8, 4, bias=False).load_state_dict(
            {"weight_ih_l0": zeros(4, 8), "weight_hh": zeros(4, 4), "bias": zeros(4)}
        ),
        ValueError,
        "RNN(input_size=8, hidden_size=4): the names do not match: missing weight_hh_l0; unexpected weight_hh, bias.",
        "Expected: weight_ih_l0, weight_hh_l0.",
    ),
    refusal(
        "transposed weight",
        lambda: numrnn.RNN(8, 4).set_parameters({"weight_ih_l0": zeros(8, 4)}),
        ValueError,
        "RNN(input_size=8, hidden_size=4): `weight_ih_l0` has shape (8, 4), expected (4, 8).",
        "It looks transposed: pass weight_ih_l0.T.",
    ),
    refusal(
        "weight of the wrong shape",
        lambda: numrnn.RNN(8, 4).set_parameters({"weight_ih_l0": zeros(4, 9)}),
        ValueError,
        "RNN(input_size=8, hidden_size=4): `weight_ih_l0` has shape (4, 9), expected (4, 8).",
        "Nothing was changed.",
    ),
    refusal(
        "weight that is no array",
        lambda: numrnn.RNN(8, 4).set_parameters({"weight_ih_l0": None}),
        TypeError,
        "RNN(input_size=8, hidden_size=4): `weight_ih_l0` should be an array of real numbers, got NoneType.",
        "Pass a NumPy array.",
    ),
    refusal(
        "argument changed later",
        lambda: setattr(LSTM, "hidden_size", 32),
        AttributeError,
        "LSTM(input_size=8, hidden_size=64): `hidden_size` is fixed when the layer is made.",
        "Make a new layer; load_state_dict moves weights.",
    ),
]

RESULTS = [
    refusal(
        "no c_n",
        lambda: GRU(X).c_n,
        AttributeError,
        "This result has no c_n: RNN and GRU have no cell state, their state is h_n.",
    ),
    refusal(
        "no final_cell",
        lambda: GRU(X).final_cell,
        AttributeError,
        "This result has no final_cell: RNN and GRU have no cell state; see final_hidden.",
    ),
    refusal(
        "internals without cell",
        lambda: GRU(X, internals=True).internals.cell,
        AttributeError,
        "These internals have no cell: RNN and GRU have no cell state; see hidden.",
    ),
    refusal(
        "gradients of two models",
        lambda: gradients(numrnn.GRU(2, 3)) + gradients(numrnn.GRU(2, 4)),
        ValueError,
        "Gradients: the sum of gradients of different models.",
        "Left: {'weight_ih_l0': (9, 2), 'weight_hh_l0': (9, 3), 'bias_ih_l0': (9,), 'bias_hh_l0': (9,)}.",
        "Right: {'weight_ih_l0': (12, 2), 'weight_hh_l0': (12, 4), 'bias_ih_l0': (12,), 'bias_hh_l0': (12,)}.",
    ),
]

DESCRIBE = [
    refusal(
        "an array for a shape",
        lambda: LSTM.describe(X),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `describe` takes a shape, got ndarray.",
        "Pass x.shape, or a tuple of ints.",
    ),
    refusal(
        "a number for a shape",
        lambda: LSTM.describe(5),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `describe` takes a shape, got int.",
        "Pass x.shape, or a tuple of ints.",
    ),
    refusal(
        "a shape of reals",
        lambda: LSTM.describe((5.0, 3, 8)),
        TypeError,
        "LSTM(input_size=8, hidden_size=64): `shape[0]` should be an int of 0 or more, got float 5.0.",
    ),
    refusal(
        "a negative shape",
        lambda: LSTM.describe((-5, 3, 8)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `shape[0]` should be an int of 0 or more, got -5.",
    ),
    refusal(
        "a refused shape",
        lambda: LSTM.describe((5, 3, 9)),
        ValueError,
        "LSTM(input_size=8, hidden_size=64): `x` has 9 features, expected 8.",
        "x.shape = (5, 3, 9) read as (time, batch, features) because batch_first=False.",
        "Features are the last axis: pass 8 of them, or make the layer with input_size=9.",
    ),
]


@pytest.mark.parametrize("wrong", [*CONSTRUCTORS, *PARAMETERS, *RESULTS, *DESCRIBE], ids=str)
def test_a_wrong_argument_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)


def test_a_refused_mapping_changes_no_parameter():
    layer = numrnn.RNN(8, 4, seed=0)
    before = layer.state_dict()
    good_then_bad = {"weight_ih_l0": zeros(4, 8), "weight_hh_l0": zeros(4, 5)}
    with pytest.raises(ValueError, match="weight_hh_l0"):
        layer.set_parameters(good_then_bad)
    for name, value in layer.parameters.items():
        assert value.tolist() == before[name].tolist()


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'numrnn' has no attribute 'LSTN'$"):
        numrnn.LSTN  # noqa: B018
