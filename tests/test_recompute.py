"""`recompute`: the same bits from less memory, whatever is cut where."""

import tracemalloc

import numpy as np
import pytest
from cases import CASES, EMPTY_CASES, Case, assert_same_bits, call, layer_answers, make_layer, make_problem, pull

import numrnn
from numrnn.cellspec import BUILT_IN

LONG = [Case(cell, 3, 400, 5, 17, 2, bidirectional=choice) for cell in BUILT_IN for choice in (False, True)]
LONG += [Case(cell, 40, 60, 5, 17, 2, lengths="some_empty", bidirectional=True) for cell in BUILT_IN]
LONG += [Case(cell, 300, 9, 5, 17, resets=True, dtype="float32") for cell in BUILT_IN]
LONG += [Case("lstm", 30, 50, 5, 33, 2, proj_size=9, lengths="ragged", batch_first=True)]
LONG += [Case("lstm", 1, 700, 5, 130, dtype="float32")]


@pytest.mark.parametrize("case", [*CASES, *LONG, *EMPTY_CASES], ids=str)
def test_recomputation_changes_nothing(case):
    problem, layer = make_problem(case), make_layer(case)
    expected = layer_answers(layer, problem)
    for recompute, n_threads in ((True, 2), (1, 1), (7, 2)):
        assert_same_bits(layer_answers(layer, problem, recompute=recompute, n_threads=n_threads), expected)


@pytest.mark.parametrize("case", LONG[:4], ids=str)
def test_a_pullback_may_be_called_again(case):
    problem, layer = make_problem(case), make_layer(case)
    _, pullback = call(layer.vjp, problem, recompute=5)
    assert_same_bits(pull(layer, pullback, problem), pull(layer, pullback, problem))


@pytest.mark.parametrize("cell", BUILT_IN)
def test_dropout_is_the_same(cell):
    """Masked inputs of upper layers are not kept but made again."""
    case = Case(cell, 5, 300, 4, 9, 3, bidirectional=True, lengths="ragged")
    options = {"nonlinearity": cell[4:]} if cell.startswith("rnn") else {}
    make = getattr(numrnn, cell.partition("_")[0].upper())
    layer = make(4, 9, 3, dropout=0.4, bidirectional=True, dtype="float64", **options)
    problem = make_problem(case)
    assert_same_bits(
        layer_answers(layer, problem, seed=3, recompute=True, t0=2), layer_answers(layer, problem, seed=3, t0=2)
    )


def test_reversed_layers_and_models_recompute_too(rng):
    x, d = rng.standard_normal((300, 3, 4)), rng.standard_normal((3, 2))
    reverse = numrnn.Reversed(numrnn.LSTM(4, 9, 2, dtype="float64"))
    plain, again = reverse.vjp(x)[1], reverse.vjp(x, recompute=True)[1]
    d_output = rng.standard_normal((300, 3, 9))
    np.testing.assert_array_equal(again(d_output).x, plain(d_output).x)
    layers = [numrnn.GRU(4, 9, 2, dropout=0.3, dtype="float64"), numrnn.LSTM(9, 5, dtype="float64")]
    model = numrnn.SequenceModel(layers, numrnn.Linear(5, 2, dtype="float64"))
    plain, again = model.vjp(x, seed=1)[1], model.vjp(x, seed=1, recompute=20)[1]
    np.testing.assert_array_equal(again(d).x, plain(d).x)
    for name, value in plain(d).parameters.items():
        np.testing.assert_array_equal(again(d).parameters[name], value)


def peak(action):
    """Bytes that NumPy held at most."""
    tracemalloc.start()
    action()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_takes_less_memory(cell):
    """One number for each step and unit instead of five or six, but for the ends: checkpoints and one piece."""
    case = Case(cell, 8, 4000, 4, 32, dtype="float32")
    layer, x = make_layer(case), np.zeros((4000, 8, 4), np.float32)
    held: list[object] = []

    def train(**options):
        held[:] = [layer.vjp(x, **options)]

    train(), train(recompute=True)  # plans and compiled code
    held.clear()
    steps = 4000 * 8 * 32 * 4
    assert peak(lambda: train(recompute=True)) < 1.3 * steps
    held.clear()
    assert peak(train) > 4.9 * steps


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"recompute": 0}, ValueError, "`recompute` should be an int of 1 or more, got 0"),
        ({"recompute": "yes"}, TypeError, "`recompute` should be an int of 1 or more, got str 'yes'"),
        ({"recompute": 2.0}, TypeError, "`recompute` should be an int of 1 or more, got float 2.0"),
        ({"recompute": True, "internals": True}, NotImplementedError, "with recompute it keeps less"),
    ],
)
def test_a_wrong_argument_is_refused(wrong, error, text):
    with pytest.raises(error, match=text):
        numrnn.LSTM(4, 8).vjp(np.zeros((10, 3, 4)), **wrong)


def test_none_and_false_keep_everything():
    layer, x = numrnn.GRU(4, 8), np.zeros((10, 3, 4))
    for recompute in (None, False):
        assert layer.vjp(x, recompute=recompute)[1](np.ones((10, 3, 8))).x.shape == x.shape
