"""Learned initial states: the state given by hand, finite differences, names, and what copies and files keep."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import losses

Rng = np.random.Generator
kinds = pytest.mark.parametrize("kind", ["rnn", "gru", "projected", "bidirectional", "listed"])


def make(kind: str, rng: Rng | None = None, *, learn: bool = True, batch_first: bool = False) -> Any:
    """2 features, 2 outputs; with `rng` initial states that are not zero."""
    options: dict[str, Any] = {"dtype": "float64", "seed": 1, "batch_first": batch_first}
    recurrent: Any
    if kind == "listed":
        recurrent = [numrnn.GRU(2, 3, **options), numrnn.LSTM(3, 4, num_layers=2, proj_size=2, **options)]
    elif kind in ("projected", "bidirectional"):
        recurrent = numrnn.LSTM(2, 5, 2, proj_size=3, bidirectional=kind == "bidirectional", **options)
    else:
        recurrent = {"rnn": numrnn.RNN, "gru": numrnn.GRU}[kind](2, 4, num_layers=2, **options)
    width = {"listed": 2, "projected": 3, "bidirectional": 6}.get(kind, 4)
    head = numrnn.Linear(width, 2, dtype="float64", seed=2)
    model = numrnn.SequenceModel(recurrent, head, learn_initial_state=learn)
    if rng is not None:
        start = {name: value for name, value in model.parameters.items() if name.startswith("initial_state")}
        model.set_parameters({name: rng.standard_normal(value.shape) for name, value in start.items()})
    return model


def learned(model: Any) -> Any:
    """The learned initial state, as the model takes states."""
    found = {name: value for name, value in model.parameters.items() if name.startswith("initial_state.")}
    if not isinstance(model.recurrent, tuple):
        return tuple(found.values()) if len(found) == 2 else next(iter(found.values()))
    return [found["initial_state.0.h_0"], (found["initial_state.1.h_0"], found["initial_state.1.c_0"])]


def same_parameters(one: Any, other: Any) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-12, err_msg=name)


def test_names_shapes_and_places() -> None:
    parameters = make("projected").parameters
    names = list(parameters)
    assert names[-4:] == ["initial_state.h_0", "initial_state.c_0", "readout.weight", "readout.bias"]
    assert all(name.startswith("recurrent.") for name in names[:-4])
    assert parameters["initial_state.h_0"].shape == (2, 1, 3)
    assert parameters["initial_state.c_0"].shape == (2, 1, 5)
    assert make("bidirectional").parameters["initial_state.h_0"].shape == (4, 1, 3)
    assert "initial_state.c_0" not in make("gru").parameters
    found = [name for name in make("listed").parameters if name.startswith("initial_state")]
    assert found == ["initial_state.0.h_0", "initial_state.1.h_0", "initial_state.1.c_0"]
    assert make("gru").num_parameters == make("gru", learn=False).num_parameters + 8


@kinds
def test_it_starts_at_zero(rng: Rng, kind: str) -> None:
    x = rng.standard_normal((5, 3, 2))
    model, plain = make(kind), make(kind, learn=False)
    np.testing.assert_array_equal(model(x), plain(x))
    assert not any(value.any() for name, value in model.parameters.items() if name.startswith("initial_state"))


@kinds
@pytest.mark.parametrize("batch_first", [False, True])
def test_it_is_the_state_of_every_row_that_is_given_none(rng: Rng, kind: str, batch_first: bool) -> None:
    """In all forms of x; the same prediction, returned state and gradients as with that state given."""
    model, plain = make(kind, rng, batch_first=batch_first), make(kind, learn=False, batch_first=batch_first)
    rows = [rng.standard_normal((length, 2)) for length in (4, 1, 6)]
    padded = numrnn.pad_sequence(rows, batch_first)
    state = learned(model)
    for x, options in ((padded, {}), (padded, {"lengths": [4, 1, 6]}), (rows, {}), (padded.tolist(), {})):
        np.testing.assert_array_equal(model(x, **options), plain(x, state, **options))
        prediction, pullback = model.vjp(x, **options)
        gradients = pullback(prediction)
        expected = plain.vjp(x, state, **options)[1](prediction)
        same_parameters({name: gradients.parameters[name] for name in plain.parameters}, expected.parameters)
        if kind != "listed":
            np.testing.assert_array_equal(gradients.parameters["initial_state.h_0"], expected.h_0)
            np.testing.assert_array_equal(gradients.h_0, expected.h_0)
    packed = numrnn.pack_sequence(rows, enforce_sorted=False)
    np.testing.assert_array_equal(model(packed), plain(packed, state))
    alone, alone_back = model.vjp(rows[0])
    np.testing.assert_allclose(alone, model(rows)[0], rtol=0, atol=1e-12)
    batched = model.vjp(rows[0][None] if batch_first else rows[0][:, None])
    same_parameters(alone_back(alone).parameters, batched[1](batched[0]).parameters)


@kinds
def test_its_gradient_matches_finite_differences(rng: Rng, kind: str) -> None:
    model, x = make(kind, rng), rng.standard_normal((5, 4, 2))
    target = rng.standard_normal((4, 2))
    prediction, pullback = model.vjp(x, lengths=[5, 3, 0, 4])
    gradients = pullback(losses.mse(prediction, target)[1])
    assert list(gradients.parameters) == list(model.parameters)
    for name, value in model.parameters.items():
        if not name.startswith("initial_state"):
            continue
        assert gradients.parameters[name].shape == value.shape
        for _ in range(3):
            direction, ends = rng.standard_normal(value.shape), []
            for sign in (1, -1):
                model.set_parameters({name: value + sign * 1e-6 * direction})
                ends.append(losses.mse(model(x, lengths=[5, 3, 0, 4]), target)[0])
            model.set_parameters({name: value})
            slope = np.sum(gradients.parameters[name] * direction)
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-9), name


@kinds
def test_a_given_state_takes_its_place_and_its_gradient_is_zero(rng: Rng, kind: str) -> None:
    model, plain = make(kind, rng), make(kind, learn=False)
    x = rng.standard_normal((5, 3, 2))
    _, state = plain(x, return_state=True)
    np.testing.assert_array_equal(model(x, state), plain(x, state))
    prediction, pullback = model.vjp(x, state)
    gradients = pullback(prediction)
    assert list(gradients.parameters) == list(model.parameters)
    for name, value in gradients.parameters.items():
        assert value.any() != name.startswith("initial_state"), name
    np.testing.assert_array_equal(gradients.x, plain.vjp(x, state)[1](prediction).x)


def test_of_a_list_each_layer_takes_its_own(rng: Rng) -> None:
    model, plain = make("listed", rng), make("listed", learn=False)
    x, first = rng.standard_normal((5, 3, 2)), rng.standard_normal((1, 3, 3))
    np.testing.assert_array_equal(model(x, [first, None]), plain(x, [first, learned(model)[1]]))
    prediction, pullback = model.vjp(x, [first, None])
    gradients = pullback(prediction).parameters
    assert not gradients["initial_state.0.h_0"].any()
    assert gradients["initial_state.1.h_0"].any()


def test_a_batch_of_none_has_a_gradient_of_zero() -> None:
    model = make("projected")
    prediction, pullback = model.vjp(np.zeros((4, 0, 2)))
    assert not pullback(prediction).parameters["initial_state.c_0"].any()


def test_gradients_share_no_memory(rng: Rng) -> None:
    prediction, pullback = make("gru", rng).vjp(rng.standard_normal((4, 1, 2)))
    gradients = pullback(prediction)
    assert gradients.h_0 is not None
    assert not np.shares_memory(gradients.h_0, gradients.parameters["initial_state.h_0"])


@kinds
def test_copies_pickles_and_dictionaries_keep_it(rng: Rng, kind: str) -> None:
    model, x = make(kind, rng), rng.standard_normal((5, 3, 2))
    other = make(kind)
    other.load_state_dict(model.state_dict())
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(twin) == repr(model)
        assert repr(twin).endswith(", learn_initial_state=True)")
        np.testing.assert_array_equal(twin(x), model(x))
        assert not any(value.flags.writeable for value in twin.parameters.values())
        twin.set_parameters({name: 0.0 * value for name, value in twin.parameters.items()})
        assert model(x).any()


def test_an_optimiser_moves_it(rng: Rng) -> None:
    """A series that only its beginning tells: the loss falls although nothing else is trained."""
    model, x = make("gru"), np.zeros((3, 8, 2))
    target = np.full((8, 2), 0.3)
    names = [name for name in model.parameters if not name.startswith("initial_state")]
    frozen = {name: model.parameters[name] for name in names}
    optimizer, values = numrnn.optim.Adam(model, lr=0.1), []
    for _ in range(60):
        prediction, pullback = model.vjp(x)
        value, d_prediction = losses.mse(prediction, target)
        values.append(value)
        optimizer.step(pullback(d_prediction, x_gradient=False))
        model.set_parameters(frozen)
    assert values[-1] < 0.2 * values[0]


def test_x_that_no_layer_reads_is_refused_by_the_layer() -> None:
    model = make("gru")
    with pytest.raises(ValueError, match="its nested rows differ in length"):
        model([[1.0, 2.0], [1.0]])
    with pytest.raises(ValueError, match="`x` is an empty list"):
        model([])
    with pytest.raises(ValueError, match="features, expected 2"):
        model(np.zeros((4, 3)))
