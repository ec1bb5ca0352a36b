"""A layer run from each sequence's end: beside the reverse half of a bidirectional one, and turned by hand."""

import copy
import pickle

import numpy as np
import pytest
from refusals import Refusal, refusal, zeros

import numrnn

T, N, I, H = 6, 4, 3, 5
LENGTHS = np.array([4, 6, 0, 1])

LAYERS = {
    "lstm": numrnn.LSTM(I, H, seed=0),
    "projected, batch_first": numrnn.LSTM(I, H, proj_size=2, batch_first=True, seed=0),
    "gru, two layers": numrnn.GRU(I, H, num_layers=2, seed=0),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def sequences(rng):
    return [rng.standard_normal((length, I)).astype(np.float32) for length in LENGTHS]


@pytest.mark.parametrize("name", ["lstm", "projected, batch_first"])
def test_it_is_the_reverse_half_of_a_bidirectional_layer(name, rng):
    """The same bits of outputs, states and input gradients, ragged rows included."""
    layer = LAYERS[name]
    options = {"batch_first": layer.batch_first, "proj_size": layer.proj_size}
    both = numrnn.LSTM(I, H, bidirectional=True, **options)
    both.set_parameters({f"{key}_reverse": value for key, value in layer.parameters.items()})
    x = rng.standard_normal((N, T, I) if layer.batch_first else (T, N, I)).astype(np.float32)
    result, pullback = numrnn.Reversed(layer).vjp(x, lengths=LENGTHS)
    expected, expected_back = both.vjp(x, lengths=LENGTHS)
    size = layer.signature.output_size
    np.testing.assert_array_equal(result.output, expected.output[..., size:])
    np.testing.assert_array_equal(result.last_output, expected.last_output[:, size:])
    np.testing.assert_array_equal(result.c_n[0], expected.c_n[1])
    d_output = np.zeros_like(expected.output)
    d_output[..., size:] = result.output
    gradients, theirs = pullback(result.output), expected_back(d_output)
    np.testing.assert_array_equal(gradients.x, theirs.x)
    np.testing.assert_array_equal(gradients.h_0[0], theirs.h_0[1])
    for key, value in gradients.parameters.items():
        np.testing.assert_allclose(value, theirs.parameters[f"{key}_reverse"], atol=1e-5)


@every_layer
@pytest.mark.parametrize("keep_order", [True, False])
def test_it_is_the_layer_over_turned_sequences(layer, keep_order, rng):
    """In every form: lists, packed, padded, one sequence; output in order of time or as processed."""
    backwards = numrnn.Reversed(layer, keep_order)
    rows = sequences(rng)
    result, pullback = backwards.vjp(rows, internals=True)
    turned, turned_back = layer.vjp([row[::-1] for row in rows], internals=True)
    order = slice(None, None, -1) if keep_order else slice(None)
    for one, other in zip(result.output, turned.output, strict=True):
        np.testing.assert_array_equal(one, other[order])
    np.testing.assert_array_equal(result.h_n, turned.h_n)
    np.testing.assert_array_equal(backwards.last(rows).last_output, turned.last_output)
    gradients, theirs = pullback(result.output, result.h_n), turned_back(turned.output, turned.h_n)
    for one, other in zip(gradients.x, theirs.x, strict=True):
        np.testing.assert_array_equal(one, other[::-1])
    for key, value in gradients.parameters.items():
        np.testing.assert_array_equal(value, theirs.parameters[key])
    for n, length in enumerate(LENGTHS):
        hidden = result.internals.hidden[0][0][:length, n]
        np.testing.assert_array_equal(hidden, turned.internals.hidden[0][0][:length, n][order])
        alone = backwards(rows[n], internals=True)
        np.testing.assert_array_equal(alone.output, result.output[n])
        np.testing.assert_array_equal(alone.internals.hidden[0][0], hidden)
        with pytest.raises(ValueError, match="read-only"):
            alone.internals.hidden[0][0][...] = 0
    padded = numrnn.pad_sequence(rows, layer.batch_first, np.nan)
    steps = numrnn.unpad_sequence(backwards(padded, lengths=LENGTHS).output, LENGTHS, layer.batch_first)
    packed = numrnn.unpack_sequence(backwards(numrnn.pack_sequence([rows[1], rows[0]])).output)
    for n in range(N):
        np.testing.assert_array_equal(steps[n], result.output[n])
    for one, n in zip(packed, (1, 0), strict=True):
        np.testing.assert_array_equal(one, result.output[n])


@every_layer
def test_a_reset_is_before_the_step_is_processed(layer, rng):
    x = rng.standard_normal((T, I)).astype(np.float32)
    reset = np.zeros(T, bool)
    reset[3] = True
    output = numrnn.Reversed(layer)(x, reset=reset).output
    np.testing.assert_array_equal(output, layer(x[::-1], reset=reset[::-1]).output[::-1])
    np.testing.assert_array_equal(output[:4], numrnn.Reversed(layer)(x[:4]).output)


def test_its_weights_are_the_layers(rng):
    layer = numrnn.GRU(I, H, seed=0)
    backwards = numrnn.Reversed(layer, keep_order=False)
    assert repr(backwards) == "Reversed(GRU(input_size=3, hidden_size=5, seed=0), keep_order=False)"
    assert repr(numrnn.Reversed(layer)) == "Reversed(GRU(input_size=3, hidden_size=5, seed=0))"
    backwards.set_parameters({"bias_ih_l0": np.zeros(15)})
    assert not layer.parameters["bias_ih_l0"].any()
    assert list(backwards.parameters) == list(layer.parameters)
    x = rng.standard_normal((T, N, I))
    for twin in (copy.deepcopy(backwards), pickle.loads(pickle.dumps(backwards))):
        np.testing.assert_array_equal(twin(x).output, backwards(x).output)


WRONG = [
    refusal(
        "no layer",
        lambda: numrnn.Reversed("gru"),
        TypeError,
        "Reversed: `layer` should be an RNN, LSTM or GRU, got str 'gru'.",
    ),
    refusal(
        "two directions",
        lambda: numrnn.Reversed(numrnn.GRU(3, 5, bidirectional=True)),
        ValueError,
        "Reversed: `layer` is bidirectional: it reads both ways already.",
        "Its `output` has the reverse direction as second half.",
    ),
    refusal(
        "keep_order of the wrong kind",
        lambda: numrnn.Reversed(LAYERS["lstm"], 1),
        TypeError,
        "Reversed: `keep_order` should be True or False, got int 1.",
    ),
    refusal(
        "another layer later",
        lambda: setattr(numrnn.Reversed(LAYERS["lstm"]), "layer", None),
        AttributeError,
        "Reversed(LSTM(input_size=3, hidden_size=5)): `layer` is fixed when it is made.",
        "Make a new one; load_state_dict moves weights.",
    ),
    refusal(
        "wrong features",
        lambda: numrnn.Reversed(LAYERS["lstm"])(zeros(6, 4, 2)),
        ValueError,
        "Reversed(LSTM(input_size=3, hidden_size=5)): `x` has 2 features, expected 3.",
        "x.shape = (6, 4, 2) read as (time, batch, features) because batch_first=False.",
        "Features are the last axis: pass 3 of them, or make the layer with input_size=2.",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_argument_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)


def test_dropout_is_refused():
    with pytest.raises(NotImplementedError, match=r"`layer\.dropout` is not implemented.*draws no masks"):
        numrnn.Reversed(numrnn.GRU(3, 4, 2, dropout=0.5))
