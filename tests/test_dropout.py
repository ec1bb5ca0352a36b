"""Dropout between layers: its statistics, its masks as a function of place, and the gradient through them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import numrnn

X = np.random.default_rng(0).standard_normal((12, 9, 5))


def layer(dropout: float, *, cell: str = "LSTM", **arguments: object) -> numrnn.LSTM:
    made: numrnn.LSTM = getattr(numrnn, cell)(5, 7, 3, dropout=dropout, dtype="float64", seed=0, **arguments)
    return made


def test_inference_drops_nothing() -> None:
    np.testing.assert_array_equal(layer(0.5)(X).output, layer(0.0)(X).output)
    np.testing.assert_array_equal(layer(0.5).last(X).last_output, layer(0.0)(X).last_output)


def test_no_dropout_is_dropout_of_nothing() -> None:
    np.testing.assert_array_equal(layer(0.0).vjp(X, seed=3)[0].output, layer(0.0)(X).output)


def test_the_lowest_layers_state_is_taken_before_dropout() -> None:
    with_dropout, _ = layer(0.7).vjp(X, seed=1)
    np.testing.assert_array_equal(with_dropout.h_n[0], layer(0.0)(X).h_n[0])
    assert not np.array_equal(with_dropout.h_n[1], layer(0.0)(X).h_n[1])


def test_dropping_everything_leaves_the_upper_layers_without_input() -> None:
    dropped, pullback = layer(1.0).vjp(X)
    upper = numrnn.LSTM(7, 7, dtype="float64", seed=1)
    upper.set_parameters({name[:-1] + "0": value for name, value in layer(1.0).parameters.items() if name[-1] == "2"})
    np.testing.assert_array_equal(dropped.output, upper(np.zeros((12, 9, 7))).output)
    gradients = pullback(np.ones_like(dropped.output))
    np.testing.assert_array_equal(gradients.x, 0)
    np.testing.assert_array_equal(gradients.parameters["weight_ih_l0"], 0)


def test_a_share_of_the_numbers_is_zero_and_the_rest_keeps_the_mean() -> None:
    relu = numrnn.RNN(4, 64, 2, "relu", dropout=0.3, seed=0, bias=False)
    ones, eye = np.ones((50, 40, 4)), np.eye(64)
    relu.set_parameters(
        {
            "weight_ih_l0": np.full((64, 4), 0.25),
            "weight_hh_l0": 0 * eye,
            "weight_ih_l1": eye,
            "weight_hh_l1": 0 * eye,
        }
    )
    output = relu.vjp(ones, seed=5)[0].output
    np.testing.assert_allclose(np.unique(output), [0, 1 / 0.7], rtol=1e-6)
    assert abs((output == 0).mean() - 0.3) < 0.01
    for axis in range(3):  # along each axis fresh masks
        assert np.abs((output == 0).mean(axis) - 0.3).max() < 0.4
        assert not np.array_equal(output.take(0, axis), output.take(1, axis))


def test_seeds_decide_the_masks() -> None:
    model = layer(0.5)
    first, second = model.vjp(X, seed=1)[0].output, model.vjp(X, seed=2)[0].output
    np.testing.assert_array_equal(model.vjp(X, seed=1)[0].output, first)
    assert not np.array_equal(first, second)


def test_without_a_seed_each_call_draws_its_own_from_the_layers_stream() -> None:
    model = layer(0.5)
    twin, later = pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    first, second = model.vjp(X)[0].output, model.vjp(X)[0].output
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(twin.vjp(X)[0].output, first)
    np.testing.assert_array_equal(later.vjp(X)[0].output, first)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_threads_do_not_change_the_masks(bidirectional: bool) -> None:
    wide = numrnn.GRU(5, 60, 2, dropout=0.5, seed=0, bidirectional=bidirectional)
    x = np.random.default_rng(1).standard_normal((40, 30, 5))
    (one, back_one), (two, back_two) = wide.vjp(x, seed=4, n_threads=1), wide.vjp(x, seed=4, n_threads=-1)
    np.testing.assert_array_equal(one.output, two.output)
    np.testing.assert_array_equal(back_one(one.output).x, back_two(one.output).x)


def test_pieces_that_tell_their_place_get_the_masks_of_the_whole() -> None:
    model = layer(0.5)
    whole, _ = model.vjp(X, seed=4)
    first, _ = model.vjp(X[:5], seed=4)
    later, _ = model.vjp(X[5:], first.state, seed=4, t0=5)
    np.testing.assert_array_equal(np.concatenate([first.output, later.output]), whole.output)
    rows, _ = model.vjp(X[:, 6:], seed=4, row0=6)
    np.testing.assert_array_equal(rows.output, whole.output[:, 6:])


def test_a_ragged_row_gets_the_masks_of_the_row_alone() -> None:
    model = layer(0.5, bidirectional=True)
    lengths = np.array([12, 3, 0, 7, 1, 12, 5, 9, 2])
    ragged, pullback = model.vjp(X, lengths=lengths, seed=4)
    gradients = pullback(np.ones_like(ragged.output))
    for row in (1, 3, 7):
        steps = lengths[row]
        alone, back = model.vjp(X[:steps, row : row + 1], seed=4, row0=row)
        np.testing.assert_array_equal(alone.output[:, 0], ragged.output[:steps, row])
        np.testing.assert_array_equal(back(np.ones_like(alone.output)).x[:, 0], gradients.x[:steps, row])


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_the_gradient_goes_through_the_same_masks(cell: str) -> None:
    model = layer(0.4, cell=cell, bidirectional=True)
    rng = np.random.default_rng(2)
    result, pullback = model.vjp(X, seed=9)
    weights, direction = rng.standard_normal(result.output.shape), rng.standard_normal(X.shape)
    gradients, again = pullback(weights), pullback(weights)
    np.testing.assert_array_equal(gradients.x, again.x)
    step = 1e-6
    up, down = (np.sum(model.vjp(X + s * direction, seed=9)[0].output * weights) for s in (step, -step))
    np.testing.assert_allclose(np.sum(gradients.x * direction), (up - down) / (2 * step), rtol=1e-6, atol=1e-6)
    name = "weight_ih_l1"
    change = rng.standard_normal(model.parameters[name].shape)
    values = []
    for s in (step, -step):
        moved = copy.deepcopy(model)
        moved.set_parameters({name: model.parameters[name] + s * change})
        values.append(np.sum(moved.vjp(X, seed=9)[0].output * weights))
    expected = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(np.sum(gradients.parameters[name] * change), expected, rtol=1e-6, atol=1e-6)


def test_a_single_layer_has_nothing_to_drop_and_says_so() -> None:
    with pytest.warns(UserWarning, match=r"LSTM: dropout acts between layers.*num_layers=1 has none: dropout=0\.5"):
        single = numrnn.LSTM(5, 7, dropout=0.5, dtype="float64", seed=0)
    np.testing.assert_array_equal(single.vjp(X)[0].output, numrnn.LSTM(5, 7, dtype="float64", seed=0)(X).output)


# --- a model


def model(*, listed: bool, readout_on: str = "every", dropout: float = 0.5) -> numrnn.SequenceModel:
    """A stack of two layers, or two of them one on the other, and a head."""
    options: dict[str, Any] = {"num_layers": 2, "dropout": dropout, "dtype": "float64"}
    recurrent: Any = numrnn.LSTM(5, 7, seed=1, **options)
    if listed:
        recurrent = [numrnn.GRU(5, 4, bidirectional=True, seed=2, **options), numrnn.LSTM(8, 7, seed=3, **options)]
    head = numrnn.Linear(7, 2, dtype="float64", seed=4)
    return numrnn.SequenceModel(recurrent, head, readout_on=readout_on)


listed_or_not = pytest.mark.parametrize("listed", [False, True], ids=["one", "list"])


@listed_or_not
def test_a_plain_call_of_a_model_drops_nothing(listed: bool) -> None:
    np.testing.assert_array_equal(model(listed=listed)(X), model(listed=listed, dropout=0.0)(X))
    without, _ = model(listed=listed, dropout=0.0).vjp(X, seed=3)
    np.testing.assert_array_equal(model(listed=listed)(X), without)


def test_a_model_of_one_layer_has_the_layers_masks() -> None:
    net: Any = model(listed=False)
    expected = net.readout(net.recurrent.vjp(X, seed=3, t0=2, row0=1)[0].output)
    np.testing.assert_array_equal(net.vjp(X, seed=3, t0=2, row0=1)[0], expected)


def test_each_layer_of_a_list_has_masks_of_its_own() -> None:
    """From the seeds that numpy's SeedSequence spawns, inside each stack only."""
    net: Any = model(listed=True)
    first, second = (int(s.generate_state(1, np.uint64)[0]) for s in np.random.SeedSequence(3).spawn(2))
    assert len({3, first, second}) == 3
    below = net.recurrent[0].vjp(X, seed=first, t0=2, row0=1)[0].output
    above = net.recurrent[1].vjp(below, seed=second, t0=2, row0=1)[0].output
    np.testing.assert_array_equal(net.vjp(X, seed=3, t0=2, row0=1)[0], net.readout(above))
    assert not np.array_equal(net.recurrent[1].vjp(below, seed=first, t0=2, row0=1)[0].output, above)


@pytest.mark.filterwarnings("ignore:.*num_layers=1 has none")
def test_nothing_is_dropped_between_the_layers_of_a_list_or_before_the_head() -> None:
    def net(dropout: float) -> numrnn.SequenceModel:
        layers = [numrnn.GRU(5, 4, dropout=dropout, seed=2), numrnn.GRU(4, 7, dropout=dropout, seed=3)]
        return numrnn.SequenceModel(layers, numrnn.Linear(7, 2, seed=4))

    np.testing.assert_array_equal(net(0.9).vjp(X, seed=1)[0], net(0.0)(X))


@listed_or_not
def test_seeds_decide_the_masks_of_a_model(listed: bool) -> None:
    net = model(listed=listed)
    twin = copy.deepcopy(net)
    np.testing.assert_array_equal(net.vjp(X, seed=1)[0], net.vjp(X, seed=1)[0])
    assert not np.array_equal(net.vjp(X, seed=1)[0], net.vjp(X, seed=2)[0])
    first, second = net.vjp(X)[0], net.vjp(X)[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(twin.vjp(X)[0], first)
    with pytest.raises(ValueError, match=r"^SequenceModel: `seed` should be an int of 0 or more, got -1\."):
        net.vjp(X, seed=-1)
    with pytest.raises(ValueError, match="`t0` should be an int of 0 or more, got -1"):
        net.vjp(X, t0=-1)


@pytest.mark.parametrize("readout_on", ["last", "every"])
@pytest.mark.parametrize("lengths", [None, np.array([12, 3, 0, 7, 1, 12, 5, 9, 2])], ids=["full", "ragged"])
@listed_or_not
def test_pieces_of_a_batch_have_the_masks_of_the_whole_model(listed: bool, readout_on: str, lengths: Any) -> None:
    """Gradients of weights are sums over the pieces."""
    net = model(listed=listed, readout_on=readout_on)
    whole, pullback = net.vjp(X, lengths=lengths, seed=4)
    gradients = pullback(whole)
    total = None
    for rows in (slice(0, 4), slice(4, 9)):
        own = None if lengths is None else lengths[rows]
        part, part_back = net.vjp(X[:, rows], lengths=own, seed=4, row0=rows.start)
        np.testing.assert_array_equal(part, whole[rows] if readout_on == "last" else whole[:, rows])
        found = part_back(part)
        np.testing.assert_array_equal(found.x, gradients.x[:, rows])
        total = found if total is None else total + found
    for name, value in gradients.parameters.items():
        np.testing.assert_allclose(total.parameters[name], value, rtol=0, atol=1e-12 * (1 + np.abs(value).max()))


def test_pieces_of_time_have_the_masks_of_the_whole_model() -> None:
    net = model(listed=False)
    whole, _ = net.vjp(X, seed=4)
    (first, state), _ = net.vjp(X[:5], seed=4, return_state=True)
    later, _ = net.vjp(X[5:], state, seed=4, t0=5)
    np.testing.assert_array_equal(np.concatenate([first, later]), whole)


def test_threads_do_not_change_the_masks_of_a_model() -> None:
    layers = [numrnn.GRU(size, 60, 2, dropout=0.5, seed=0, bidirectional=True) for size in (5, 120)]
    net = numrnn.SequenceModel(layers, numrnn.Linear(120, 3, seed=0))
    x = np.random.default_rng(1).standard_normal((40, 30, 5))
    (one, back_one), (two, back_two) = (net.vjp(x, seed=4, n_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(back_one(one).x, back_two(one).x)


@pytest.mark.parametrize("name", ["t0", "row0"])
def test_an_offset_that_no_call_reaches_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` should be an int of {2**62} at most, got {2**63}"):
        numrnn.LSTM(3, 5, 2, dropout=0.5).vjp(np.zeros((4, 2, 3)), **{name: 2**63})
