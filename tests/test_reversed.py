"""A layer run from each sequence's end: beside the reverse half of a bidirectional one, and turned by hand."""

import copy
import pickle

import numpy as np
import pytest
from refusals import Refusal, refusal, zeros

import numrnn
from numrnn.engine.dropout import Dropout

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
        NotImplementedError,
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


# --- dropout

DEEP = numrnn.GRU(I, H, num_layers=2, dropout=0.5, dtype="float64", seed=3)
BATCH_FIRST = numrnn.LSTM(I, H, num_layers=3, proj_size=2, batch_first=True, dropout=0.4, seed=3)
ragged = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])


def test_a_plain_call_drops_nothing(rng):
    x, plain = rng.standard_normal((T, N, I)), numrnn.GRU(I, H, num_layers=2, dtype="float64", seed=3)
    np.testing.assert_array_equal(numrnn.Reversed(DEEP)(x).output, numrnn.Reversed(plain)(x).output)
    assert not np.array_equal(numrnn.Reversed(DEEP).vjp(x, seed=0)[0].output, numrnn.Reversed(plain)(x).output)


@ragged
def test_masks_follow_time(lengths, rng):
    """The two layers one by one, each reversed, with the mask of (t, row) between them; the same bits, backward too."""
    x, options = rng.standard_normal((T, N, I)), {} if lengths is None else {"lengths": lengths}
    mask = Dropout(0.5, 7, t_0=2, row_0=1)
    single = [numrnn.GRU(size, H, dtype="float64") for size in (I, H)]
    for k, layer in enumerate(single):
        layer.set_parameters({name: DEEP.parameters[name.replace("l0", f"l{k}")] for name in layer.parameters})
    lower, lower_back = numrnn.Reversed(single[0]).vjp(x, **options)
    upper, upper_back = numrnn.Reversed(single[1]).vjp(mask(np.array(lower.output), 0, 1), **options)
    result, pullback = numrnn.Reversed(DEEP).vjp(x, seed=7, t0=2, row0=1, **options)
    np.testing.assert_array_equal(result.output, upper.output)
    np.testing.assert_array_equal(result.h_n, np.concatenate([lower.h_n, upper.h_n]))
    d_upper = upper_back(upper.output)
    expected, gradients = lower_back(mask(d_upper.x, 0, 1)), pullback(upper.output)
    np.testing.assert_array_equal(gradients.x, expected.x)
    for k, found in enumerate((expected, d_upper)):
        for name, value in found.parameters.items():
            np.testing.assert_array_equal(gradients.parameters[name.replace("l0", f"l{k}")], value)
    processed = numrnn.Reversed(DEEP, keep_order=False).vjp(x, seed=7, t0=2, row0=1, **options)[0]
    np.testing.assert_array_equal(processed.h_n, result.h_n)


@ragged
@pytest.mark.parametrize("layer", [DEEP, BATCH_FIRST], ids=["time first", "batch first"])
def test_pieces_that_tell_their_place_get_the_masks_of_the_whole(layer, lengths, rng):
    """A piece of time starts from the state of the piece after it and passes where it begins; rows pass theirs."""
    backwards, first = numrnn.Reversed(layer), layer.batch_first
    x = rng.standard_normal((N, T, I) if first else (T, N, I))
    steps = (lambda array, part: array[:, part]) if first else (lambda array, part: array[part])
    rows = (lambda array, part: array[part]) if first else (lambda array, part: array[:, part])

    def run(x, state=None, begin=0, stop=T, row=0, **place):
        piece = None if lengths is None else np.clip(lengths[row:] - begin, 0, stop - begin)
        return backwards.vjp(x, state, lengths=piece, seed=4, **place)

    whole, whole_back = run(x)
    late, _ = run(steps(x, slice(2, None)), begin=2, t0=2)
    early, _ = run(steps(x, slice(2)), late.state, stop=2)
    joined = np.concatenate([early.output, late.output], axis=1 if first else 0)
    np.testing.assert_array_equal(joined, whole.output)
    np.testing.assert_array_equal(early.h_n, whole.h_n)
    some, some_back = run(rows(x, slice(1, None)), row=1, row0=1)
    np.testing.assert_array_equal(some.output, rows(whole.output, slice(1, None)))
    expected = rows(whole_back(whole.output).x, slice(1, None))
    np.testing.assert_array_equal(some_back(some.output).x, expected)
    assert not np.array_equal(run(x, t0=1)[0].output, whole.output)
    assert not np.array_equal(run(x, row0=1)[0].output, whole.output)


@pytest.mark.parametrize("layer", [DEEP, BATCH_FIRST], ids=["time first", "batch first"])
def test_every_form_has_the_same_masks(layer, rng):
    """A list, a packed sequence and each row alone."""
    backwards, rows = numrnn.Reversed(layer), sequences(rng)
    result, _ = backwards.vjp(numrnn.pad_sequence(rows, layer.batch_first, np.nan), lengths=LENGTHS, seed=5)
    expected = numrnn.unpad_sequence(result.output, LENGTHS, layer.batch_first)
    listed, _ = backwards.vjp(rows, seed=5)
    equal, _ = backwards.vjp(rows[:1] * 3, seed=5)
    packed, _ = backwards.vjp(numrnn.pack_sequence([rows[n] for n in (0, 1, 3)], enforce_sorted=False), seed=5)
    np.testing.assert_array_equal(numrnn.unpack_sequence(packed.output)[1], expected[1])
    np.testing.assert_array_equal(equal.output[0], expected[0])
    for n, row in enumerate(rows):
        np.testing.assert_array_equal(listed.output[n], expected[n])
        np.testing.assert_array_equal(backwards.vjp(row, seed=5, row0=n)[0].output, expected[n])


@ragged
def test_threads_do_not_change_the_masks(lengths, rng):
    backwards = numrnn.Reversed(numrnn.GRU(I, 120, num_layers=2, dropout=0.5, seed=0))
    x = rng.standard_normal((100, N, I))  # enough for two tasks of the mask
    options = {"lengths": None if lengths is None else 16 * lengths, "seed": 4}
    (one, back_one), (two, back_two) = (backwards.vjp(x, n_threads=n, **options) for n in (1, 2))
    np.testing.assert_array_equal(one.output, two.output)
    np.testing.assert_array_equal(back_one(one.output).x, back_two(one.output).x)


def test_without_a_seed_it_draws_from_the_layers_stream(rng):
    x = rng.standard_normal((T, N, I))
    layer, twin = copy.deepcopy(DEEP), numrnn.Reversed(copy.deepcopy(DEEP))
    first, second = (numrnn.Reversed(layer).vjp(x)[0].output for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(twin.vjp(x)[0].output, first)


def test_a_wrong_place_is_refused_in_its_own_name():
    for options, words in (({"seed": -1}, "`seed`"), ({"t0": -1}, "`t0`"), ({"row0": -1}, "`row0`")):
        with pytest.raises(
            ValueError, match=rf"^Reversed\(LSTM\(.*\)\): {words} should be an int of 0 or more, got -1"
        ):
            numrnn.Reversed(LAYERS["lstm"]).vjp(zeros(6, 4, 3), **options)
