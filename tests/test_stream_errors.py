"""Every error of streams: its type and its whole text."""

import numpy as np
import pytest
from refusals import BATCH_FIRST, GRU, LSTM, TWO_LAYERS, Refusal, refusal, zeros

import numrnn

HEAD = "GRU(input_size=8, hidden_size=64): "
LSTM_HEAD = "LSTM(input_size=8, hidden_size=64): "
MADE = "The stream was made with batch_size=3"
FROZEN = zeros(3, 64).astype("f4")
FROZEN.flags.writeable = False
ONE_STEP = ": one step has no axis of time."

WRONG = [
    refusal(
        "two directions",
        lambda: numrnn.GRU(8, 64, bidirectional=True).stream(),
        NotImplementedError,
        HEAD + "a bidirectional layer has no stream: its reverse half begins at the end of the sequence.",
        "Run the layer over the whole sequence, or make it with bidirectional=False.",
    ),
    refusal(
        "no rows",
        lambda: GRU.stream(0),
        ValueError,
        HEAD + "`batch_size` should be an int of 1 or more, got 0.",
    ),
    refusal(
        "batch_size of the wrong kind",
        lambda: GRU.stream(3.0),
        TypeError,
        HEAD + "`batch_size` should be an int of 1 or more, got float 3.0.",
    ),
    refusal(
        "a state without batch",
        lambda: TWO_LAYERS.stream(3, zeros(2, 64)),
        ValueError,
        HEAD + "`h_0` has shape (2, 64), expected (2, 3, 64).",
        "h_0.shape = (2, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "The batch axis is missing: pass h_0[:, None, :], which stands for every row.",
    ),
    refusal(
        "a batch-first state",
        lambda: TWO_LAYERS.stream(3, zeros(3, 2, 64)),
        ValueError,
        HEAD + "`h_0` has shape (3, 2, 64), expected (2, 3, 64).",
        "h_0.shape = (3, 2, 64) read as (num_layers, batch, hidden_size), whatever batch_first is.",
        "It looks batch-first. States are never batch-first: pass h_0.swapaxes(0, 1).",
    ),
    refusal(
        "no pair",
        lambda: LSTM.stream(3, zeros(1, 3, 64)),
        TypeError,
        LSTM_HEAD + "`state` should be a pair (h_0, c_0), got an array of shape (1, 3, 64).",
        "To continue a sequence pass `result.state`; for one half of the pair pass zeros.",
    ),
    refusal(
        "a whole chunk",
        lambda: GRU.stream(3).step(zeros(5, 3, 8)),
        ValueError,
        HEAD + "`x_t` has 3 axes, expected 2.",
        "x_t.shape = (5, 3, 8), expected (batch, features) with batch 3: one step has no axis of time.",
        "Several steps go to `run`.",
    ),
    refusal(
        "features",
        lambda: GRU.stream(3).step(zeros(3, 7)),
        ValueError,
        HEAD + "`x_t` has 7 features, expected 8.",
        "x_t.shape = (3, 7), expected (batch, features) with batch 3" + ONE_STEP,
        "Features are the last axis: pass 8 of them.",
    ),
    refusal(
        "swapped axes",
        lambda: GRU.stream(3).step(zeros(8, 3)),
        ValueError,
        HEAD + "`x_t` has 3 features, expected 8.",
        "x_t.shape = (8, 3), expected (batch, features) with batch 3" + ONE_STEP,
        "Axis 0 has 8 entries: if these are the features, pass x_t.T.",
    ),
    refusal(
        "another batch",
        lambda: GRU.stream(3).step(zeros(4, 8)),
        ValueError,
        HEAD + "`x_t` has shape (4, 8), expected (3, 8).",
        MADE + ": x_t is (batch, features) with batch 3.",
    ),
    refusal(
        "one row of a batch",
        lambda: GRU.stream(3).step(zeros(8)),
        ValueError,
        HEAD + "`x_t` has 1 axes, expected 2.",
        "x_t.shape = (8,), expected (batch, features) with batch 3: one step has no axis of time.",
        "Pass an array with these axes.",
    ),
    refusal(
        "a batch of one sequence",
        lambda: GRU.stream().step(zeros(1, 8)),
        ValueError,
        HEAD + "`x_t` has 2 axes, expected 1.",
        "x_t.shape = (1, 8), expected (features,): one step has no axis of time.",
        "Several steps go to `run`.",
    ),
    refusal(
        "complex",
        lambda: GRU.stream().step(zeros(8) * 1j),
        TypeError,
        HEAD + "`x_t` holds complex numbers (dtype complex128), expected real numbers.",
        "Pass real and imaginary parts as two features.",
    ),
    refusal(
        "out of another shape",
        lambda: GRU.stream(3).step(zeros(3, 8), zeros(3, 8).astype("f4")),
        ValueError,
        HEAD + "`out` should be a writable array of shape (3, 64) and dtype float32, got shape (3, 8), dtype float32.",
        "Without `out` the array is fresh.",
    ),
    refusal(
        "out of another dtype",
        lambda: GRU.stream(3).step(zeros(3, 8), zeros(3, 64)),
        ValueError,
        HEAD + "`out` should be a writable array of shape (3, 64) and dtype float32, got shape (3, 64), dtype float64.",
        "Without `out` the array is fresh.",
    ),
    refusal(
        "out that is read-only",
        lambda: GRU.stream(3).step(zeros(3, 8), FROZEN),
        ValueError,
        HEAD + "`out` should be a writable array of shape (3, 64) and dtype float32, got shape (3, 64), dtype float32, "
        "read-only.",
        "Without `out` the array is fresh.",
    ),
    refusal(
        "out that is no array",
        lambda: GRU.stream(3).step(zeros(3, 8), [0.0]),
        TypeError,
        HEAD + "`out` should be a writable array of shape (3, 64) and dtype float32, got list [0.0].",
    ),
    refusal(
        "a chunk of another batch",
        lambda: GRU.stream(3).run(zeros(5, 4, 8)),
        ValueError,
        HEAD + "`x_chunk` has shape (5, 4, 8), expected (time, batch, features) with batch 3 and 8 features.",
        "The stream was made with batch_size=3.",
    ),
    refusal(
        "one step for a chunk",
        lambda: GRU.stream(3).run(zeros(3, 8)),
        ValueError,
        HEAD + "`x_chunk` has shape (3, 8), expected (time, batch, features) with batch 3 and 8 features.",
        "One step goes to `step`.",
    ),
    refusal(
        "a batch for one sequence",
        lambda: GRU.stream().run(zeros(5, 1, 8)),
        ValueError,
        HEAD + "`x_chunk` has shape (5, 1, 8), expected (time, features) with 8 features.",
        "The stream was made with batch_size=None.",
    ),
    refusal(
        "time-first for batch-first",
        lambda: BATCH_FIRST.stream(3).run(zeros(5, 3, 8)),
        ValueError,
        LSTM_HEAD + "`x_chunk` has shape (5, 3, 8), expected (batch, time, features) with batch 3 and 8 features.",
        "Its axes look swapped: pass x_chunk.swapaxes(0, 1).",
    ),
    refusal(
        "batch-first for time-first",
        lambda: GRU.stream(3).run(zeros(3, 5, 8)),
        ValueError,
        HEAD + "`x_chunk` has shape (3, 5, 8), expected (time, batch, features) with batch 3 and 8 features.",
        "Its axes look swapped: pass x_chunk.swapaxes(0, 1).",
    ),
    refusal(
        "a list for a chunk",
        lambda: GRU.stream(3).run([zeros(5, 8)] * 3),
        ValueError,
        HEAD + "`x_chunk` is a list of arrays, expected one array.",
        "Rows of a stream move together: stack them.",
    ),
    refusal(
        "no chunk",
        lambda: GRU.stream(3).run(None),
        TypeError,
        HEAD + "`x_chunk` should be an array of real numbers, got NoneType.",
        "Pass a NumPy array.",
    ),
    refusal(
        "a packed step",
        lambda: GRU.stream(3).step(numrnn.pack_sequence([zeros(2, 8)])),
        TypeError,
        HEAD + "`x_t` is a packed sequence, and an array is expected here.",
        "Pass x_t.data, or pad_packed_sequence(x_t)[0].",
    ),
    refusal(
        "a result for a chunk",
        lambda: GRU.stream(3).run(GRU(zeros(5, 3, 8))),
        TypeError,
        HEAD + "`x_chunk` is a whole result.",
        "Pass its output: result.output.",
    ),
    refusal(
        "a batched state of one sequence",
        lambda: GRU.stream(state=zeros(1, 1, 64)),
        ValueError,
        HEAD + "`h_0` has shape (1, 1, 64), expected (1, 64).",
        "The stream is one sequence (batch_size=None), whose state has no batch axis: (num_layers, hidden_size).",
        "Pass h_0[:, 0], or make the stream with batch_size=1.",
    ),
    refusal(
        "more rows than memory",
        lambda: GRU.stream(2**40),
        MemoryError,
        HEAD + "1.0 PiB needed for the states of batch_size=1099511627776, this machine has 16.0 GiB.",
    ),
    refusal(
        "features of a chunk",
        lambda: GRU.stream(3).run(zeros(5, 3, 7)),
        ValueError,
        HEAD + "`x_chunk` has shape (5, 3, 7), expected (time, batch, features) with batch 3 and 8 features.",
        "Features are the last axis: pass 8 of them.",
    ),
    refusal(
        "rows of one sequence",
        lambda: GRU.stream().reset(0),
        ValueError,
        HEAD + "`rows` was given, but the stream has no batch.",
        "Call reset().",
    ),
    refusal(
        "rows that are real",
        lambda: GRU.stream(3).reset([0.0]),
        TypeError,
        HEAD + "`rows` should be an int, a sequence of ints or 3 bools, got list [0.0].",
    ),
    refusal(
        "a mask of another batch",
        lambda: GRU.stream(3).reset([True, False]),
        ValueError,
        HEAD + "`rows` has 2 bools, expected 3: one for each row.",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_argument_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)


@pytest.mark.parametrize("rows", [3, -4, [0, 3]])
def test_a_row_that_is_not_there_is_refused(rows):
    stream = GRU.stream(3)
    wrong = rows if isinstance(rows, int) else 3
    with pytest.raises(ValueError, match="`rows` has") as caught:
        stream.reset(rows)
    assert str(caught.value) == HEAD + f"`rows` has {wrong}, but the stream has 3 rows."


def test_a_refused_call_moves_nothing(rng):
    """Neither a step, nor a chunk, nor a reset."""
    stream, twin = LSTM.stream(3), LSTM.stream(3)
    x = rng.standard_normal((4, 3, 8))
    np.testing.assert_array_equal(stream.run(x[:2]), twin.run(x[:2]))
    calls = [
        lambda: stream.step(x[0], zeros(3, 64)),
        lambda: stream.step(zeros(3, 9)),
        lambda: stream.step(zeros(4, 8)),
        lambda: stream.run(zeros(2, 4, 8)),
        lambda: stream.run(zeros(2, 3, 9)),
        lambda: stream.run([x[0], x[1]]),
        lambda: stream.reset([0, 5]),
        lambda: stream.reset("all"),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError)):
            call()
        np.testing.assert_array_equal(stream.state, twin.state)
    np.testing.assert_array_equal(stream.run(x[2:]), twin.run(x[2:]))
