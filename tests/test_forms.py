"""The forms of x beside one array, resets and internals: every form gives the bits of the padded batch."""

import numpy as np
import pytest

import numrnn
from numrnn.engine.plan import plan_call

T, N, I, H = 6, 5, 3, 8
LENGTHS = np.array([4, 6, 0, 1, 4])

LAYERS = {
    "lstm": numrnn.LSTM(I, H, num_layers=2, seed=0),
    "lstm, both, projected": numrnn.LSTM(I, H, num_layers=2, bidirectional=True, proj_size=4, seed=0),
    "gru, both, batch_first": numrnn.GRU(I, H, num_layers=2, bidirectional=True, batch_first=True, seed=0),
    "gru, reset before": numrnn.GRU(I, H, reset_after=False, seed=0),
    "rnn, batch_first": numrnn.RNN(I, H, num_layers=2, batch_first=True, seed=0),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def rows_first(layer, array):
    """(N, T, features) of a padded array."""
    return array if layer.batch_first else array.swapaxes(0, 1)


def padded(layer, rng):
    """A padded batch in the layer's layout, NaN where it is padding, and its sequences."""
    x = rng.standard_normal((N, T, I)).astype(np.float32)
    sequences = [row[:length].copy() for row, length in zip(x, LENGTHS, strict=True)]
    x[np.arange(T) >= LENGTHS[:, None]] = np.nan
    return np.ascontiguousarray(rows_first(layer, x)), sequences


def state_of(layer, rng):
    tracks = layer.num_layers * (1 + layer.bidirectional)
    h_0 = rng.standard_normal((tracks, N, layer.signature.output_size)).astype(np.float32)
    c_0 = rng.standard_normal((tracks, N, H)).astype(np.float32)
    return (h_0, c_0) if isinstance(layer, numrnn.LSTM) else h_0


def states(result):
    return [result.h_n, result.c_n] if isinstance(result.state, tuple) else [result.h_n]


def row(state, n):
    """The state of one row, without the batch axis."""
    return tuple(part[:, n] for part in state) if isinstance(state, tuple) else state[:, n]


def cotangents(result, rng):
    """Of a padded result: NaN at padded steps, where they are ignored."""
    d_output = rng.standard_normal(result.output.shape).astype(np.float32)
    return d_output, [rng.standard_normal(part.shape).astype(np.float32) for part in states(result)]


def assert_parameters_equal(one, other):
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, other.parameters[name], err_msg=name)


def assert_parameters_close(one, other):
    """Sums over rows and steps, in another order."""
    for name, value in one.parameters.items():
        np.testing.assert_allclose(value, other.parameters[name], atol=2e-5, rtol=2e-5, err_msg=name)


@every_layer
def test_a_list_is_a_padded_batch_without_padding(layer, rng):
    """Outputs, states, gradients of x and of the state: the same bits; parameters' gradients but for rounding."""
    x, sequences = padded(layer, rng)
    state = state_of(layer, rng)
    whole, whole_back = layer.vjp(x, state, lengths=LENGTHS)
    result, pullback = layer.vjp(sequences, state)
    d_output, d_states = cotangents(whole, rng)
    rows_first(layer, d_output)[np.arange(T) >= LENGTHS[:, None]] = np.nan
    expected = whole_back(d_output, *d_states)
    cut = [part[:length] for part, length in zip(rows_first(layer, d_output), LENGTHS, strict=True)]
    gradients = pullback(cut, *d_states)
    assert isinstance(result.output, list)
    for n, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(rows_first(layer, whole.output)[n, :length], result.output[n])
        np.testing.assert_array_equal(rows_first(layer, expected.x)[n, :length], gradients.x[n])
        assert not rows_first(layer, whole.output)[n, length:].any()
        assert not rows_first(layer, expected.x)[n, length:].any()
    for one, other in zip(states(result), states(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(result.last_output, whole.last_output)
    np.testing.assert_array_equal(gradients.h_0, expected.h_0)
    assert_parameters_close(gradients, expected)


@every_layer
def test_a_row_does_not_know_its_batch(layer, rng):
    """Each sequence alone, without a batch axis, gives the bits it has in the batch; length 0 keeps the state."""
    _, sequences = padded(layer, rng)
    state = state_of(layer, rng)
    result, pullback = layer.vjp(sequences, state)
    gradients = pullback(result.output, *states(result))
    for n, sequence in enumerate(sequences):
        alone, alone_back = layer.vjp(sequence, row(state, n))
        assert alone.output.shape == (len(sequence), result.output[n].shape[1])
        np.testing.assert_array_equal(alone.output, result.output[n])
        np.testing.assert_array_equal(alone.last_output, result.last_output[n])
        for one, other in zip(states(alone), states(result), strict=True):
            np.testing.assert_array_equal(one, other[:, n])
        own = alone_back(alone.output, *states(alone))
        np.testing.assert_array_equal(own.x, gradients.x[n])
        np.testing.assert_array_equal(own.h_0, gradients.h_0[:, n])
        assert alone.final_hidden.shape == result.final_hidden[:, :, n].shape
    empty = int(np.flatnonzero(LENGTHS == 0)[0])
    for one, other in zip(states(result), state if isinstance(state, tuple) else (state,), strict=True):
        np.testing.assert_array_equal(one[:, empty], other[:, empty])


@every_layer
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_a_packed_sequence_comes_back_packed(layer, enforce_sorted, rng):
    """States are in the user's order; the gradient of x is packed as x is."""
    _, sequences = padded(layer, rng)
    sequences = [sequence for sequence in sequences if len(sequence)]
    if enforce_sorted:
        sequences.sort(key=len, reverse=True)
    packed = numrnn.pack_sequence(sequences, enforce_sorted)
    listed, listed_back = layer.vjp(sequences)
    result, pullback = layer.vjp(packed)
    assert isinstance(result.output, numrnn.PackedSequence)
    np.testing.assert_array_equal(result.output.batch_sizes, packed.batch_sizes)
    for one, other in zip(numrnn.unpack_sequence(result.output), listed.output, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(result.h_n, listed.h_n)
    expected = listed_back(listed.output, listed.h_n)
    for d_output in (result.output, result.output.data):
        gradients = pullback(d_output, result.h_n)
        for one, other in zip(numrnn.unpack_sequence(gradients.x), expected.x, strict=True):
            np.testing.assert_array_equal(one, other)
        assert_parameters_equal(gradients, expected)
    with pytest.raises(ValueError, match="read-only"):
        result.output.data[...] = 0


@every_layer
def test_lengths_of_whole_rows_change_nothing(layer, rng):
    x = rng.standard_normal((T, N, I)).astype(np.float32)
    rows = N if not layer.batch_first else T
    steps = T if not layer.batch_first else N
    np.testing.assert_array_equal(layer(x, lengths=[steps] * rows).output, layer(x).output)
    together = layer(list(np.ascontiguousarray(rows_first(layer, x))))
    np.testing.assert_array_equal(np.array(together.output), rows_first(layer, layer(x).output))


@every_layer
def test_last_is_right_for_rows_of_any_length(layer, rng):
    x, sequences = padded(layer, rng)
    whole = layer(x, lengths=LENGTHS)
    for last in (layer.last(x, lengths=LENGTHS), layer.last(sequences)):
        assert last.output is None
        np.testing.assert_array_equal(last.last_output, whole.last_output)
        np.testing.assert_array_equal(np.array(last.h_n), whole.h_n)
    size = layer.signature.output_size
    for n, length in enumerate(LENGTHS):
        if length:
            steps = rows_first(layer, whole.output)[n]
            np.testing.assert_array_equal(whole.last_output[n, :size], steps[length - 1, :size])
            np.testing.assert_array_equal(whole.last_output[n, size:], steps[0, size:])


def test_lengths_are_read_when_the_call_is_made(rng):
    """Changing them before the pullback changes nothing; nor is anything written to them."""
    layer = LAYERS["lstm"]
    x, _ = padded(layer, rng)
    lengths = LENGTHS.copy()
    result, pullback = layer.vjp(x, lengths=lengths)
    before = pullback(result.output)
    np.testing.assert_array_equal(lengths, LENGTHS)
    lengths[:] = 6
    np.testing.assert_array_equal(pullback(result.output).x, before.x)


@pytest.mark.parametrize("form", [list, tuple, lambda a: a.astype(np.uint8), lambda a: a.astype(">i2")])
def test_lengths_of_any_integer_form(form, rng):
    layer = LAYERS["lstm"]
    x, _ = padded(layer, rng)
    np.testing.assert_array_equal(layer(x, lengths=form(LENGTHS)).output, layer(x, lengths=LENGTHS).output)


def test_a_list_of_equal_lengths_is_an_ordinary_batch():
    """Nothing about it is ragged, and the engine is told so."""
    layer = LAYERS["lstm"]
    call = plan_call(layer, [np.ones((4, I))] * 3, None, n_threads=1)
    assert (call.plan.flat, call.plan.batch_first, call.lengths) == (False, True, None)
    ragged = plan_call(layer, [np.ones((4, I)), np.ones((2, I))], None, n_threads=1)
    assert ragged.plan.flat
    assert ragged.plan.positions(ragged.lengths) == len(ragged.x) == 6
    assert plan_call(layer, np.ones((4, 3, I)), None, n_threads=1).plan.positions(None) == 12


@pytest.mark.parametrize("name", ["lstm", "gru, reset before", "rnn, batch_first"])
def test_a_reset_begins_anew(name, rng):
    """The pieces between resets, each run alone from zero, give the bits of the whole; no gradient crosses."""
    layer = LAYERS[name]
    x = rng.standard_normal((1, T, I)).astype(np.float32)
    given = rows_first(layer, x)
    reset = np.zeros((1, T), bool)
    reset[0, [2, 5]] = True
    state = state_of(layer, rng)
    first = tuple(part[:, :1] for part in state) if isinstance(state, tuple) else state[:, :1]
    result, pullback = layer.vjp(given, first, reset=reset if layer.batch_first else reset.T)
    gradients = pullback(result.output, *states(result))
    begin = 0
    for end in (2, 5, T):
        piece, piece_back = layer.vjp(x[0, begin:end], row(first, 0) if begin == 0 else None)
        np.testing.assert_array_equal(rows_first(layer, result.output)[0, begin:end], piece.output)
        own = piece_back(piece.output, *(states(piece) if end == T else ()))
        np.testing.assert_array_equal(rows_first(layer, gradients.x)[0, begin:end], own.x)
        if begin == 0:
            np.testing.assert_array_equal(gradients.h_0[:, 0], own.h_0)
        begin = end
    alone = layer(x[0], row(first, 0), reset=reset[0])
    np.testing.assert_array_equal(alone.output, rows_first(layer, result.output)[0])
    np.testing.assert_array_equal(layer.last(x[0], row(first, 0), reset=reset[0]).h_n, alone.h_n)


def test_a_reset_at_the_first_step_cuts_the_state_given(rng):
    layer = LAYERS["lstm"]
    x = rng.standard_normal((T, N, I)).astype(np.float32)
    reset = np.zeros((T, N), bool)
    reset[0] = True
    result, pullback = layer.vjp(x, state_of(layer, rng), reset=reset)
    np.testing.assert_array_equal(result.output, layer(x).output)
    gradients = pullback(result.output)
    assert not gradients.h_0.any()
    assert not gradients.c_0.any()
    np.testing.assert_array_equal(layer(x, reset=np.zeros((T, N), bool)).output, result.output)


@every_layer
def test_internals_are_every_layers_states_and_gates(layer, rng):
    """Read-only, in order of time; the top layer's are the output; asking for them changes no bit."""
    x, sequences = padded(layer, rng)
    plain = layer(x, lengths=LENGTHS)
    result = layer(x, lengths=LENGTHS, internals=True)
    kept = layer.vjp(x, lengths=LENGTHS, internals=True)[0].internals
    np.testing.assert_array_equal(result.output, plain.output)
    found, size = result.internals, layer.signature.output_size
    directions = 1 + layer.bidirectional
    output = rows_first(layer, plain.output).swapaxes(0, 1)
    for d in range(directions):
        np.testing.assert_array_equal(found.hidden[-1][d], output[..., d * size : (d + 1) * size])
    names = {"LSTM": "ifgo", "RNN": ""}.get(type(layer).__name__)
    if names is None:
        names = ["r", "z", "n", "hn"][: 4 if layer.reset_after else 3]
    assert list(found.gates) == list(names)
    padding = np.arange(T)[:, None] >= LENGTHS
    tracks = [found.hidden, *found.gates.values()] + ([found.cell] if isinstance(layer, numrnn.LSTM) else [])
    for track, other in zip(tracks, [kept.hidden, *kept.gates.values(), *tracks[len(found.gates) + 1 :]], strict=True):
        assert (len(track), len(track[0])) == (layer.num_layers, directions)
        for k in range(layer.num_layers):
            for d in range(directions):
                assert track[k][d].shape == (T, N, size if track is found.hidden else H)
                assert not track[k][d][padding].any()
                np.testing.assert_array_equal(track[k][d], other[k][d])
                with pytest.raises(ValueError, match="read-only"):
                    track[k][d][...] = 0
    for n, length in enumerate(LENGTHS):
        alone = layer(sequences[n], internals=True).internals
        assert alone.hidden[0][0].shape == (length, size)
        np.testing.assert_array_equal(alone.hidden[0][0], found.hidden[0][0][:length, n])
    np.testing.assert_array_equal(layer(sequences, internals=True).internals.hidden[0][0], found.hidden[0][0])
    assert f"{layer.num_layers} layers, {directions} directions, {T} steps" in repr(found)


def test_the_gates_make_the_states(rng):
    """c_t = f * c_{t-1} + i * g and h_t = o * tanh(c_t), as the equations say."""
    x = rng.standard_normal((T, N, I))
    found = numrnn.LSTM(I, H, dtype="float64", seed=0)(x, internals=True).internals
    i, f, g, o = (found.gates[name][0][0] for name in "ifgo")
    cell = found.cell[0][0]
    before = np.concatenate([np.zeros((1, N, H)), cell[:-1]])
    np.testing.assert_allclose(f * before + i * g, cell, atol=1e-14)
    np.testing.assert_allclose(o * np.tanh(cell), found.hidden[0][0], atol=1e-14)


def test_gradients_of_lists_and_packed_sequences_add_and_scale(rng):
    layer = LAYERS["lstm"]
    sequences = [rng.standard_normal((3, I)), rng.standard_normal((2, I))]
    for x in (sequences, numrnn.pack_sequence(sequences)):
        result, pullback = layer.vjp(x)
        one = pullback(result.output)
        twice, scaled = one + one, one * 2.0
        for total in (twice.x, scaled.x):
            parts = total if isinstance(total, list) else numrnn.unpack_sequence(total)
            own = one.x if isinstance(one.x, list) else numrnn.unpack_sequence(one.x)
            for part, other in zip(parts, own, strict=True):
                np.testing.assert_array_equal(part, 2 * other)
        other_result, other_back = layer.vjp([sequences[1], sequences[0]])
        assert (one + other_back(other_result.output)).x is None
    listed = layer.vjp(sequences)[1]()
    assert "x of 2 sequences" in repr(listed)
    assert "output of 2 sequences" in repr(layer(sequences))
    assert "output packed (5, 8)" in repr(layer(numrnn.pack_sequence(sequences)))
    assert (layer.vjp(sequences)[1](x_gradient=False).x, listed.x is None) == (None, False)
