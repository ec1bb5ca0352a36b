"""The names of a result and of gradients, what they hold, and the identities between them."""

import math
import pickle

import numpy as np
import pytest

import numrnn
from numrnn.nn import Gradients, Result

LAYERS = {
    "lstm": numrnn.LSTM(5, 7, num_layers=3, seed=0),
    "gru": numrnn.GRU(5, 7, num_layers=3, seed=0),
    "rnn": numrnn.RNN(5, 7, num_layers=3, seed=0),
    "lstm, batch_first": numrnn.LSTM(5, 7, num_layers=3, batch_first=True, seed=0),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


@pytest.fixture
def x(rng):
    return rng.standard_normal((4, 6, 5)).astype(np.float32)


def batch(layer):
    return 4 if layer.batch_first else 6


def is_lstm(layer):
    return isinstance(layer, numrnn.LSTM)


@every_layer
def test_every_name_has_the_shape_that_it_promises(layer, x):
    result, N = layer(x), batch(layer)
    assert result.output.shape == (4, 6, 7)
    assert result.h_n.shape == (3, N, 7)
    assert result.final_hidden.shape == (3, 1, N, 7)
    assert result.last_output.shape == (N, 7)
    assert result.internals is None
    if is_lstm(layer):
        assert result.c_n.shape == (3, N, 7)
        assert result.final_cell.shape == (3, 1, N, 7)


@every_layer
def test_the_identities_between_the_names_hold(layer, x):
    """The top layer's last step stands in output, h_n, final_hidden and last_output, bit for bit."""
    result = layer(x)
    last_step = result.output[:, -1] if layer.batch_first else result.output[-1]
    np.testing.assert_array_equal(last_step, result.h_n[-1])
    np.testing.assert_array_equal(result.last_output, result.h_n[-1])
    for level in range(3):
        np.testing.assert_array_equal(result.final_hidden[level, 0], result.h_n[level])
        if is_lstm(layer):
            np.testing.assert_array_equal(result.final_cell[level, 0], result.c_n[level])


@every_layer
def test_a_result_unpacks_and_indexes_as_in_pytorch(layer, x):
    result = layer(x)
    output, state = result
    assert output is result.output is result[0]
    assert len(result) == 2
    if is_lstm(layer):
        h_n, c_n = state
        assert (h_n is result.h_n, c_n is result.c_n) == (True, True)
        assert all(one is other for one, other in zip(result.state, state, strict=True))
    else:
        assert state is result.h_n is result.state is result[1]


@every_layer
def test_all_cells_return_the_same_object(layer, x):
    result = layer(x)
    assert type(result) is Result
    assert hasattr(result, "c_n") == hasattr(result, "final_cell") == is_lstm(layer)


@every_layer
def test_the_state_continues_the_sequence(layer, x):
    """One line for every cell: layer(rest, result.state)."""
    steps = (slice(None), slice(2)) if layer.batch_first else (slice(2),)
    rest = (slice(None), slice(2, None)) if layer.batch_first else (slice(2, None),)
    whole, first = layer(x), layer(x[steps])
    second = layer(x[rest], first.state)
    axis = 1 if layer.batch_first else 0
    np.testing.assert_array_equal(np.concatenate([first.output, second.output], axis), whole.output)
    np.testing.assert_array_equal(second.h_n, whole.h_n)
    list_of_parts = list(first.state) if is_lstm(layer) else first.state
    np.testing.assert_array_equal(layer(x[rest], list_of_parts).output, second.output)


@every_layer
def test_last_is_the_call_without_output(layer, x):
    last, whole = layer.last(x), layer(x)
    assert last.output is None
    output, state = last
    assert output is None
    np.testing.assert_array_equal(np.array(state), np.array(whole.state))
    np.testing.assert_array_equal(last.last_output, whole.last_output)


@every_layer
def test_arrays_of_a_call_are_the_callers_own(layer, x):
    for array in (layer(x).output, layer(x).h_n, layer.last(x).h_n):
        array[...] = 0


@every_layer
def test_vjp_returns_the_bits_of_a_call_read_only(layer, x):
    plain = layer(x)
    result, _ = layer.vjp(x)
    names = ["output", "h_n", "final_hidden", "last_output", *(["c_n", "final_cell"] if is_lstm(layer) else [])]
    for name in names:
        array = getattr(result, name)
        np.testing.assert_array_equal(array, getattr(plain, name))
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@every_layer
def test_results_of_one_call_share_no_memory_with_the_next(layer, x):
    first = layer(x)
    before = [first.output.copy(), first.h_n.copy()]
    layer(x + 1)
    layer(x + 2, first.state)
    np.testing.assert_array_equal(first.output, before[0])
    np.testing.assert_array_equal(first.h_n, before[1])
    assert not np.shares_memory(first.output, first.h_n)


@every_layer
def test_a_result_shows_its_shapes_and_pickles(layer, x):
    result = layer(x)
    assert f"output {result.output.shape}" in repr(result)
    assert ("c_n" in repr(result)) == is_lstm(layer)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.output, result.output)
    np.testing.assert_array_equal(np.array(again.state), np.array(result.state))


def test_two_directions_stand_side_by_side(rng):
    """h_n's rows are layer * D + direction; last_output joins the top layer's."""
    h_n = rng.standard_normal((3 * 2, 6, 7))
    result = Result(None, h_n, None, num_directions=2)
    assert result.final_hidden.shape == (3, 2, 6, 7)
    np.testing.assert_array_equal(result.final_hidden[1, 1], h_n[3])
    np.testing.assert_array_equal(result.last_output, np.concatenate([h_n[4], h_n[5]], axis=-1))


def all_arrays(gradients):
    named = [gradients.x, gradients.h_0, gradients.c_0, *gradients.parameters.values()]
    return [array for array in named if array is not None]


@every_layer
def test_gradients_have_the_names_and_shapes_of_what_was_given(layer, x):
    result, pullback = layer.vjp(x)
    gradients = pullback(result.output, result.h_n)
    assert gradients.x.shape == x.shape
    assert gradients.h_0.shape == result.h_n.shape
    assert (gradients.c_0 is not None) == is_lstm(layer)
    assert list(gradients.parameters) == list(layer.parameters)
    for name, value in layer.parameters.items():
        assert gradients.parameters[name].shape == value.shape
    for array in all_arrays(gradients):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.writeable


@every_layer
def test_no_two_gradients_share_memory(layer, x):
    """Clipping one array in place must not change another, nor a second pullback's."""
    result, pullback = layer.vjp(x)
    first, second = all_arrays(pullback(result.output)), all_arrays(pullback(result.output))
    for index, one in enumerate(first):
        for other in [*first[index + 1 :], *second, result.output, result.h_n, x]:
            assert not np.shares_memory(one, other)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@every_layer
def test_any_subset_of_cotangents_may_be_given(layer, x):
    """None means zero, for each and for all."""
    result, pullback = layer.vjp(x)
    zeros = {"d_output": np.zeros_like(result.output), "d_h_n": np.zeros_like(result.h_n)}
    if is_lstm(layer):
        zeros["d_c_n"] = np.zeros_like(result.c_n)
    given = {"d_output": result.output, "d_h_n": result.h_n}
    for name, value in given.items():
        alone, filled = pullback(**{name: value}), pullback(**{**zeros, name: value})
        for one, other in zip(all_arrays(alone), all_arrays(filled), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not any(array.any() for array in all_arrays(pullback()))


@every_layer
def test_without_the_gradient_of_x_the_others_are_the_same(layer, x):
    result, pullback = layer.vjp(x)
    without, with_x = pullback(result.output, x_gradient=False), pullback(result.output)
    assert without.x is None
    for name, value in with_x.parameters.items():
        np.testing.assert_array_equal(without.parameters[name], value)
    np.testing.assert_array_equal(without.h_0, with_x.h_0)


@every_layer
def test_a_pullback_keeps_the_weights_it_was_made_with(layer, x):
    fresh = type(layer)(5, 7, num_layers=3, batch_first=layer.batch_first, seed=0)
    result, pullback = fresh.vjp(x)
    before = pullback(result.output)
    fresh.set_parameters({name: value * 2 for name, value in fresh.parameters.items()})
    fresh(x)
    np.testing.assert_array_equal(pullback(result.output).x, before.x)


def test_a_pullback_says_what_to_call_it_with(x):
    assert "d_output, d_h_n, d_c_n" in repr(LAYERS["lstm"].vjp(x)[1])
    assert "d_c_n" not in repr(LAYERS["gru"].vjp(x)[1])


def test_without_dropout_the_arguments_of_masks_have_no_effect(x):
    plain, _ = LAYERS["lstm"].vjp(x)
    told, _ = LAYERS["lstm"].vjp(x, seed=3, t0=10, row0=7, recompute=None)
    np.testing.assert_array_equal(plain.output, told.output)


def gradients_of(layer, x):
    result, pullback = layer.vjp(x)
    return pullback(result.output)


@every_layer
def test_gradients_add_and_scale(layer, x):
    first, second = gradients_of(layer, x), gradients_of(layer, x + 1)
    total, scaled = first + second, first * 0.5
    for one, other, added, half in zip(
        all_arrays(first), all_arrays(second), all_arrays(total), all_arrays(scaled), strict=True
    ):
        np.testing.assert_array_equal(added, one + other)
        np.testing.assert_array_equal(half, one * np.float32(0.5))
        assert added.dtype == half.dtype == np.float32
    for factor in (np.float64(0.5), np.float32(0.5)):
        assert (factor * first).x.dtype == (first * factor).x.dtype == np.float32


def test_gradients_of_batches_of_different_shape_add_where_they_can(x):
    """Parameters accumulate; x and h_0 of different shapes have no sum."""
    layer = LAYERS["gru"]
    total = gradients_of(layer, x) + gradients_of(layer, x[:3, :2])
    assert (total.x, total.h_0, total.c_0) == (None, None, None)
    assert list(total.parameters) == list(layer.parameters)


def test_gradients_refuse_what_is_no_scalar(x):
    gradients = gradients_of(LAYERS["gru"], x)
    for other in (np.ones(3), "2", 1j, gradients):
        with pytest.raises(TypeError):
            gradients * other
    with pytest.raises(TypeError):
        gradients + 1


def test_the_norm_is_that_of_all_parameters_together():
    """In float64, without overflow or underflow on the way."""
    four = np.full(4, 1.5, np.float32)
    assert Gradients(four * 99, None, None, {"a": four, "b": four * 0}).norm() == 3.0
    assert Gradients(None, None, None, {"a": np.array([3e300, 4e300])}).norm() == pytest.approx(5e300)
    assert Gradients(None, None, None, {"a": np.array([3e-300]), "b": np.array([4e-300])}).norm() == pytest.approx(
        5e-300
    )
    assert math.isnan(Gradients(None, None, None, {"a": np.array([1.0, np.nan])}).norm())
    assert Gradients(None, None, None, {"a": np.array([-np.inf])}).norm() == math.inf
    assert Gradients(None, None, None, {}).norm() == 0.0


def test_gradients_show_their_shapes(x):
    assert repr(gradients_of(LAYERS["gru"], x)) == "Gradients(x (4, 6, 5), h_0 (3, 6, 7), 12 parameters)"
