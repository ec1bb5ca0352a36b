"""`layer.stream`: steps and chunks of any size are the whole sequence, bit for bit; states, resets and forks."""

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from refusals import BATCH_FIRST, GRU, LSTM

import numrnn
from numrnn import _jit

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": 5}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
same = np.testing.assert_array_equal


def make(kind, input_size=3, hidden_size=7, num_layers=2, **options):
    name, own = KINDS[kind]
    return getattr(numrnn, name)(input_size, hidden_size, num_layers, **own, **options)


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def draw_state(layer, batch_size, rng):
    """A random state in the layer's form, without an axis of rows where batch_size is None."""
    rows = () if batch_size is None else (batch_size,)
    sizes = (layer.signature.output_size, layer.hidden_size)[: 1 + isinstance(layer, numrnn.LSTM)]
    parts = tuple(rng.standard_normal((layer.num_layers, *rows, size)).astype(layer.dtype) for size in sizes)
    return parts if len(parts) == 2 else parts[0]


def draw_x(layer, seq_len, batch_size, rng):
    """A sequence in the layer's layout and dtype, and the same time-major."""
    rows = () if batch_size is None else (batch_size,)
    x = rng.standard_normal((seq_len, *rows, layer.input_size)).astype(layer.dtype)
    return (np.ascontiguousarray(x.swapaxes(0, 1)) if layer.batch_first and rows else x), x


def chunks(stream, x, axis, rng):
    """Outputs of chunks of random sizes, some of them empty."""
    cuts = np.sort(rng.integers(0, x.shape[axis] + 1, 4))
    return np.concatenate([stream.run(part) for part in np.split(x, cuts, axis)], axis)


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [None, 1, 5, 17])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_steps_and_chunks_are_the_whole_sequence(kind, num_layers, batch_size, dtype, rng):
    """From a state or from none, in either layout; the states afterwards too."""
    for batch_first, given, (input_size, hidden_size) in itertools.product(
        (False, True), (False, True), ((3, 7), (17, 33))
    ):
        layer = make(kind, input_size, hidden_size, num_layers, batch_first=batch_first, dtype=dtype, seed=0)
        state = draw_state(layer, batch_size, rng) if given else None
        x, steps = draw_x(layer, 9, batch_size, rng)
        whole = layer(x, state)
        stream = layer.stream(batch_size, state)
        axis = 1 if batch_first and batch_size is not None else 0
        stepped = np.stack([stream.step(x_t) for x_t in steps], axis)
        np.testing.assert_array_equal(stepped, whole.output, strict=True)
        chunked = layer.stream(batch_size, state=state)
        np.testing.assert_array_equal(chunks(chunked, x, axis, rng), whole.output, strict=True)
        mixed = layer.stream(batch_size, state)
        first = np.stack([mixed.step(x_t) for x_t in steps[:4]], axis)
        middle = mixed.run(np.ascontiguousarray(x[:, 4:6] if axis else x[4:6]))
        last = np.stack([mixed.step(x_t) for x_t in steps[6:]], axis)
        same(np.concatenate([first, middle, last], axis), whole.output)
        for found in (stream, chunked, mixed):
            assert type(found.state) is type(whole.state)
            for ours, theirs in zip(parts_of(found.state), parts_of(whole.state), strict=True):
                np.testing.assert_array_equal(ours, theirs, strict=True)


@every_kind
@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_state_goes_round(kind, batch_size, rng):
    """From a stream into a layer, from a layer into a stream, and from one stream into the next."""
    layer = make(kind, dtype="float64", seed=0)
    x, steps = draw_x(layer, 8, batch_size, rng)
    whole = layer(x).output
    stream = layer.stream(batch_size)
    stream.run(x[:3])
    same(layer(x[3:], stream.state).output, whole[3:])
    same(layer.stream(batch_size, stream.state).run(x[3:]), whole[3:])
    resumed = layer.stream(batch_size, layer(x[:5]).state)
    same(np.stack([resumed.step(x_t) for x_t in steps[5:]]), whole[5:])


@every_kind
def test_a_state_of_one_row_stands_for_every_row(kind, rng):
    layer = make(kind, dtype="float64", seed=0)
    state = draw_state(layer, 1, rng)
    x, _ = draw_x(layer, 4, 5, rng)
    same(layer.stream(5, state).run(x), layer(x, state).output)


@every_kind
@pytest.mark.parametrize("batch_size", [None, 5])
def test_what_is_given_and_what_was_returned_stays_as_it_is(kind, batch_size, rng):
    """Later steps, resets and chunks write neither a result, nor a state that was read, nor the user's arrays."""
    layer = make(kind, seed=0)
    state = draw_state(layer, batch_size, rng)
    x, steps = draw_x(layer, 6, batch_size, rng)
    user = [x, steps, *parts_of(state)]
    kept = [array.copy() for array in user]
    stream = layer.stream(batch_size, state)
    found = []
    for x_t in steps[:3]:
        found += [stream.step(x_t), *parts_of(stream.state)]
    found += [stream.run(x[3:5]), *parts_of(stream.state)]
    copies = [array.copy() for array in found]
    stream.run(x)
    stream.step(steps[0])
    stream.reset()
    for array, copied in zip([*user, *found], [*kept, *copies], strict=True):
        same(array, copied)
    for array in parts_of(stream.state):
        array[...] = 7
    assert not any(part.any() for part in parts_of(stream.state))
    for one, other in itertools.combinations(found, 2):
        assert not np.shares_memory(one, other)
    assert all(array.flags.writeable for array in found)


@every_kind
@pytest.mark.parametrize("batch_size", [None, 5])
def test_out_receives_the_step(kind, batch_size, rng):
    """Contiguous or not; it is what is returned, and nothing beside it is written."""
    layer = make(kind, dtype="float64", seed=0)
    _, steps = draw_x(layer, 6, batch_size, rng)
    plain, stream = layer.stream(batch_size), layer.stream(batch_size)
    width = layer.signature.output_size
    rows = () if batch_size is None else (batch_size,)
    around = np.full((*rows, 2 * width + 1), np.nan)
    whole = np.full((6, *rows, width), np.nan)
    turned = np.full((width, *rows[::-1]), np.nan).T
    for x_t, row in zip(steps, whole, strict=True):
        for out in (row,):
            expected = plain.step(x_t)
            assert stream.step(x_t, out=out) is out
            same(out, expected)
    for x_t, out in zip(steps, (around[..., 1::2], turned, around[..., 1::2][..., ::-1]), strict=False):
        expected = plain.step(x_t)
        assert stream.step(x_t, out) is out
        same(out, expected)
    assert np.isnan(around[..., ::2]).all()


def test_out_may_be_x(rng):
    """Where features are as many as units, a step may be taken in place."""
    layer = numrnn.GRU(4, 4, seed=0)
    x = rng.standard_normal((5, 2, 4)).astype("f4")
    expected = layer(x).output
    stream = layer.stream(2)
    for x_t in x:
        stream.step(x_t, out=x_t)
    same(x, expected)


@every_kind
def test_resets_begin_rows_anew(kind, rng):
    """An int, ints in any order and form, a mask, negative numbers, none; the rest goes on."""
    layer = make(kind, dtype="float64", seed=0)
    x, _ = draw_x(layer, 6, 5, rng)
    state = draw_state(layer, 5, rng)
    mask = np.array([True, False, True, False, True])
    chosen: list[tuple[Any, list[int]]] = [
        (None, [0, 1, 2, 3, 4]),
        (2, [2]),
        (np.int64(0), [0]),
        (-1, [4]),
        ([3, 0], [0, 3]),
        ((1,), [1]),
        ([2, 2], [2]),
        (np.array([4, 1], np.uint8), [1, 4]),
        (range(3), [0, 1, 2]),
        (mask, [0, 2, 4]),
        (mask.tolist(), [0, 2, 4]),
        (~mask & mask, []),
        ([], []),
    ]
    for rows, cleared in chosen:
        stream = layer.stream(5, state)
        stream.run(x[:3])
        before = parts_of(stream.state)
        assert stream.reset(rows) is None
        expected = [part.copy() for part in before]
        for part in expected:
            part[:, cleared] = 0
        for ours, theirs in zip(parts_of(stream.state), expected, strict=True):
            same(ours, theirs)
        cut = np.zeros((6, 5), bool)
        cut[3, cleared] = True
        same(stream.run(x[3:]), layer(x, state, reset=cut).output[3:])


@every_kind
def test_a_reset_of_one_sequence(kind, rng):
    layer = make(kind, seed=0)
    x, _ = draw_x(layer, 6, None, rng)
    stream = layer.stream(state=draw_state(layer, None, rng))
    stream.run(x)
    stream.reset()
    same(stream.run(x), layer(x).output)


@every_kind
@pytest.mark.parametrize("batch_size", [None, 5])
def test_forks_are_independent(kind, batch_size, rng):
    layer = make(kind, dtype="float64", seed=0)
    x, steps = draw_x(layer, 8, batch_size, rng)
    other, _ = draw_x(layer, 4, batch_size, rng)
    stream = layer.stream(batch_size)
    stream.run(x[:4])
    twin = stream.fork()
    assert twin.batch_size == batch_size
    one = np.stack([stream.step(x_t) for x_t in steps[4:]])
    two = twin.run(other)
    same(one, layer(x).output[4:])
    same(two, layer(np.concatenate([x[:4], other])).output[4:])
    third = twin.fork()
    twin.reset()
    same(third.run(x[4:]), layer(np.concatenate([x[:4], other, x[4:]])).output[8:])


@every_kind
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_a_copy_is_a_fork(kind, batch_size, twin, rng):
    """Whichever way it is made; the weights are the stream's, not the layer's of today."""
    layer = make(kind, dtype="float64", seed=0)
    x, steps = draw_x(layer, 8, batch_size, rng)
    expected = layer(x).output
    stream = layer.stream(batch_size)
    stream.run(x[:3])
    stream.step(steps[3])
    layer.set_parameters(make(kind, dtype="float64", seed=1).parameters)
    other = twin(stream)
    assert other.batch_size == batch_size
    same(np.stack([other.step(x_t) for x_t in steps[4:]]), expected[4:])
    same(np.concatenate([[stream.step(steps[4])], stream.run(x[5:])]), expected[4:])


@every_kind
@pytest.mark.parametrize("batch_size", [None, 5])
def test_weights_are_those_of_the_moment(kind, batch_size, rng):
    """A stream and its forks keep them, in steps and in chunks, whatever becomes of the layer."""
    layer = make(kind, dtype="float64", seed=0)
    x, steps = draw_x(layer, 6, batch_size, rng)
    before = layer(x).output
    stream = layer.stream(batch_size)
    layer.set_parameters(make(kind, dtype="float64", seed=1).parameters)
    fork = stream.fork()
    late = layer.stream(batch_size)
    same(np.stack([stream.step(x_t) for x_t in steps]), before)
    same(np.concatenate([fork.run(x[:3]), fork.run(x[3:])]), before)
    same(late.run(x), layer(x).output)


@every_kind
def test_any_form_of_x_is_cast(kind, rng):
    layer = make(kind, dtype="float32", seed=0)
    x = rng.integers(-3, 4, (4, 5, 3)).astype(np.float32)
    expected = layer(x).output
    forms = [np.ndarray.tolist, lambda a: a.astype("i2"), lambda a: a.astype(">f8"), np.asfortranarray]
    forms += [lambda a: np.repeat(a, 2, -1)[..., ::2], lambda a: a.astype(bool).astype("f8") * a]
    for form in forms:
        stepped, chunked = layer.stream(5), layer.stream(5)
        same(np.stack([stepped.step(form(x_t)) for x_t in x]), expected)
        same(chunked.run(form(x)), expected)


def test_nan_in_one_row_stays_there_and_a_reset_ends_it(rng):
    layer = numrnn.LSTM(3, 4, 2, seed=0)
    x = rng.standard_normal((6, 3, 3)).astype("f4")
    broken = x.copy()
    broken[2, 1] = np.nan
    stream = layer.stream(3)
    output = stream.run(broken[:3])
    assert np.isnan(output[2, 1]).all()
    stream.reset(1)
    rest = stream.run(broken[3:])
    same(rest[:, [0, 2]], layer(x).output[3:, [0, 2]])
    same(rest[:, 1], layer(x[3:, 1]).output)


def test_an_empty_chunk_moves_nothing(rng):
    for layer, shape, batch_size in ((GRU, (0, 3, 8), 3), (BATCH_FIRST, (3, 0, 8), 3), (LSTM, (0, 8), None)):
        stream = layer.stream(batch_size)
        stream.step(rng.standard_normal((3, 8) if batch_size else 8))
        before = parts_of(stream.state)
        assert stream.run(np.zeros(shape)).shape == (*shape[:-1], 64)
        same(parts_of(stream.state), before)


def test_many_steps_are_one_long_sequence(rng):
    """Beyond every block of time and any drift."""
    layer = numrnn.LSTM(2, 5, seed=0)
    x = rng.standard_normal((3000, 2)).astype("f4")
    stream = layer.stream()
    same(np.stack([stream.step(x_t) for x_t in x]), layer(x).output)


def test_a_dropout_layer_streams_without_dropout(rng):
    layer = numrnn.GRU(3, 4, 2, dropout=0.5, seed=0)
    x = rng.standard_normal((5, 2, 3))
    same(layer.stream(2).run(x), layer(x).output)
    stream = layer.stream(2)
    same(np.stack([stream.step(x_t) for x_t in x]), layer(x).output)


def test_a_layer_with_streams_still_pickles(rng):
    layer = numrnn.GRU(3, 4, seed=0)
    stream = layer.stream(2)
    x = rng.standard_normal((5, 2, 3))
    same(pickle.loads(pickle.dumps(layer)).stream(2).run(x), stream.run(x))


def test_a_stream_says_what_it_is():
    assert repr(GRU.stream(3)) == "<stream of GRU(input_size=8, hidden_size=64, seed=0): batch_size=3>"
    assert repr(GRU.stream()) == "<stream of GRU(input_size=8, hidden_size=64, seed=0): one sequence>"
    assert (GRU.stream(3).batch_size, GRU.stream().batch_size) == (3, None)


@every_kind
@pytest.mark.parametrize("batch_size", [None, 1, 5])
@pytest.mark.filterwarnings("ignore:NUMBA_DISABLE_JIT")
def test_a_stream_without_compiled_kernels_says_the_same(kind, batch_size, rng, monkeypatch):
    """Within rounding: the reference sums in another order."""
    layer = make(kind, dtype="float64", seed=0)
    x, steps = draw_x(layer, 6, batch_size, rng)
    state = draw_state(layer, batch_size, rng)
    expected = layer(x, state)
    monkeypatch.setattr(_jit, "DISABLED", True)
    stream = layer.stream(batch_size, state)
    early = [stream.step(x_t) for x_t in steps[:3]]
    found = np.concatenate([early, stream.fork().run(x[3:])])
    np.testing.assert_allclose(found, expected.output, rtol=1e-12, atol=1e-14)
    stream.run(x[3:])
    for ours, theirs in zip(parts_of(stream.state), parts_of(expected.state), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_a_memory_map_may_be_written(tmp_path, rng):
    x = rng.standard_normal((4, 3, 4))
    layer = numrnn.GRU(4, 8)
    states = np.memmap(tmp_path / "states", np.float32, "w+", shape=(4, 3, 8))
    stream = layer.stream(3)
    for x_t, out in zip(x, states, strict=True):
        assert stream.step(x_t, out=out) is out
    np.testing.assert_array_equal(states, layer(x).output)


def test_a_stream_follows_the_setting_of_threads(monkeypatch, rng):
    """Also where it was made with more threads."""
    layer, x = numrnn.LSTM(64, 256), rng.standard_normal((3, 64, 64))
    numrnn.set_num_threads(-1)
    stream = layer.stream(64)
    numrnn.set_num_threads(1)
    monkeypatch.setattr("numrnn._threads.launch", lambda n: pytest.fail("several threads"))
    try:
        for x_t in x:
            stream.step(x_t)
    finally:
        numrnn.set_num_threads(-1)


def test_the_batch_size_is_fixed():
    with pytest.raises(AttributeError):
        numrnn.GRU(4, 8).stream(3).batch_size = 4
