"""The helpers of `torch.nn.utils.rnn`: golden values, PyTorch's own answers, and what they refuse."""

import pickle

import numpy as np
import pytest
from refusals import Refusal, refusal, zeros

import numrnn

A, B, C = np.array([[1.0], [2.0]]), np.array([[3.0], [4.0], [5.0]]), np.array([[6.0]])
PADDED = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0], [6.0, 0.0, 0.0]])[..., None]  # (batch, time, 1)


def test_a_packed_sequence_holds_time_step_by_time_step():
    """Golden values: the longest first, its order remembered both ways."""
    packed = numrnn.pack_sequence([A, B, C], enforce_sorted=False)
    assert packed.data.ravel().tolist() == [3, 1, 6, 4, 2, 5]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.batch_sizes.dtype == np.int64
    assert packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    in_order = numrnn.pack_sequence([B, A, C])
    assert in_order.data.ravel().tolist() == packed.data.ravel().tolist()
    assert (in_order.sorted_indices, in_order.unsorted_indices) == (None, None)


def test_packing_and_padding_undo_each_other():
    packed = numrnn.pack_padded_sequence(PADDED, [2, 3, 1], batch_first=True, enforce_sorted=False)
    again, lengths = numrnn.pad_packed_sequence(packed, batch_first=True)
    np.testing.assert_array_equal(again, PADDED)
    assert lengths.tolist() == [2, 3, 1]
    time_first, _ = numrnn.pad_packed_sequence(packed, padding_value=-1.0, total_length=4)
    assert time_first.shape == (4, 3, 1)
    assert time_first[..., 0].T.tolist() == [[1, 2, -1, -1], [3, 4, 5, -1], [6, -1, -1, -1]]
    for one, other in zip(numrnn.unpack_sequence(packed), (A, B, C), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(numrnn.pad_sequence([A, B, C], batch_first=True), PADDED)
    left = numrnn.pad_sequence([A, B, C], batch_first=True, padding_value=9, padding_side="left")
    assert left[..., 0].tolist() == [[9, 1, 2], [3, 4, 5], [9, 9, 6]]
    for one, other in zip(numrnn.unpad_sequence(PADDED.swapaxes(0, 1), [2, 3, 1]), (A, B, C), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_packed_sequence_is_a_tuple_that_pickles():
    packed = numrnn.pack_sequence([A, B, C], enforce_sorted=False)
    data, batch_sizes, order, inverse = packed
    again = pickle.loads(pickle.dumps(packed))
    assert type(again) is numrnn.PackedSequence
    for one, other in zip(again, (data, batch_sizes, order, inverse), strict=True):
        np.testing.assert_array_equal(one, other)
    doubled = packed._replace(data=data * 2)
    np.testing.assert_array_equal(numrnn.unpack_sequence(doubled)[1], B * 2)


def test_either_order_of_indices_gives_the_other():
    data, sizes = np.arange(6.0)[:, None], [3, 2, 1]
    given = numrnn.PackedSequence(data, sizes, sorted_indices=[2, 0, 1])
    assert given.unsorted_indices.tolist() == [1, 2, 0]
    assert numrnn.PackedSequence(data, sizes, unsorted_indices=[1, 2, 0]).sorted_indices.tolist() == [2, 0, 1]


def test_what_is_unpacked_is_the_callers_own():
    for unpacked in (numrnn.unpack_sequence(numrnn.pack_sequence([B, A])), numrnn.unpad_sequence(PADDED, [1, 1, 1])):
        before = PADDED.copy()
        unpacked[0][...] = 7
        assert not (unpacked[1] == 7).any()
        np.testing.assert_array_equal(PADDED, before)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("round", range(5))
def test_all_helpers_agree_with_pytorchs(batch_first, enforce_sorted, round, rng):
    """On random sequences, of any trailing shape; compared after unpacking, since ties may be packed in any order."""
    torch = pytest.importorskip("torch")
    theirs = torch.nn.utils.rnn
    shape = [(), (3,), (2, 2)][round % 3]
    lengths = rng.permutation(9)[: rng.integers(1, 9)] + 1  # distinct, so that even the packed order is one
    if enforce_sorted:
        lengths = np.sort(lengths)[::-1]
    sequences = [rng.standard_normal((length, *shape)) for length in lengths]
    tensors = [torch.from_numpy(sequence) for sequence in sequences]
    packed = numrnn.pack_sequence(sequences, enforce_sorted)
    expected = theirs.pack_sequence(tensors, enforce_sorted)
    for one, other in zip(packed, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other.numpy())
    padded = numrnn.pad_sequence(sequences, batch_first, -2.5)
    np.testing.assert_array_equal(padded, theirs.pad_sequence(tensors, batch_first, -2.5).numpy())
    again = numrnn.pack_padded_sequence(padded, lengths, batch_first, enforce_sorted)
    np.testing.assert_array_equal(again.data, expected.data.numpy())
    for source in (packed, expected):  # a packed sequence of PyTorch's is one too
        unpacked, found = numrnn.pad_packed_sequence(source, batch_first, -2.5)
        np.testing.assert_array_equal(unpacked, padded)
        np.testing.assert_array_equal(found, lengths)
        for one, other in zip(numrnn.unpack_sequence(source), sequences, strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(
        numrnn.unpad_sequence(padded, lengths, batch_first),
        theirs.unpad_sequence(torch.from_numpy(padded), torch.from_numpy(lengths.copy()), batch_first),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other.numpy())


def packed(*arguments, **named):
    return lambda: numrnn.PackedSequence(*arguments, **named)


WRONG = [
    refusal(
        "no axis of steps",
        packed(1.0, [1]),
        ValueError,
        "PackedSequence: `data` needs an axis of steps, `batch_sizes` one axis; got data (), batch_sizes (1,).",
    ),
    refusal(
        "growing sizes",
        packed(zeros(3, 1), [1, 2]),
        ValueError,
        "PackedSequence: `batch_sizes` should be positive and never increase, got [1 2].",
    ),
    refusal(
        "sizes of other data",
        packed(zeros(4, 1), [2, 1]),
        ValueError,
        "PackedSequence: `data` has 4 steps, but `batch_sizes` add up to 3.",
        "Make it with pack_padded_sequence or pack_sequence.",
    ),
    refusal(
        "sizes of the wrong kind",
        packed(zeros(3, 1), [2.0, 1.0]),
        TypeError,
        "PackedSequence: `batch_sizes` should be integers, got float64.",
        "Convert them first: np.asarray(batch_sizes).astype(int).",
    ),
    refusal(
        "no permutation",
        packed(zeros(3, 1), [2, 1], [0, 0]),
        ValueError,
        "PackedSequence: `sorted_indices` should hold 0 to 1, each once, got ndarray array([0, 0]).",
    ),
    refusal(
        "indices that are not inverse",
        packed(zeros(6, 1), [3, 2, 1], [2, 0, 1], [2, 0, 1]),
        ValueError,
        "PackedSequence: `unsorted_indices` is not the inverse of `sorted_indices`.",
        "Omit it.",
    ),
    refusal(
        "nothing to pack",
        lambda: numrnn.pack_padded_sequence(zeros(3, 0, 1), []),
        ValueError,
        "pack_padded_sequence: there is no sequence to pack.",
    ),
    refusal(
        "an empty sequence",
        lambda: numrnn.pack_padded_sequence(zeros(3, 2, 1), [3, 0]),
        ValueError,
        "pack_padded_sequence: sequence 1 has length 0; a packed sequence has no empty ones.",
        "A layer's `lengths=` takes 0.",
    ),
    refusal(
        "unsorted",
        lambda: numrnn.pack_sequence([A, B]),
        ValueError,
        "pack_sequence: the lengths [2, 3] are not sorted, longest first.",
        "Pass enforce_sorted=False: the rows are sorted then, and back again.",
    ),
    refusal(
        "lengths of another batch",
        lambda: numrnn.pack_padded_sequence(zeros(3, 2, 1), [3, 3, 3]),
        ValueError,
        "pack_padded_sequence: `lengths` has shape (3,), expected (2,): one for each row of x.",
        "x.shape = (3, 2, 1) read as (time, batch, ...) because batch_first=False.",
        "If x has 3 rows, its axes are swapped: pass batch_first=True.",
    ),
    refusal(
        "lengths of another batch, batch_first",
        lambda: numrnn.unpad_sequence(zeros(3, 2, 1), [2, 2], batch_first=True),
        ValueError,
        "unpad_sequence: `lengths` has shape (2,), expected (3,): one for each row of x.",
        "x.shape = (3, 2, 1) read as (batch, time, ...) because batch_first=True.",
        "If x has 2 rows, its axes are swapped: pass batch_first=False.",
    ),
    refusal(
        "lengths of neither axis",
        lambda: numrnn.pack_padded_sequence(zeros(3, 2, 1), [[3], [2]]),
        ValueError,
        "pack_padded_sequence: `lengths` has shape (2, 1), expected (2,): one for each row of x.",
        "x.shape = (3, 2, 1) read as (time, batch, ...) because batch_first=False.",
        "Lengths are numbers of steps.",
    ),
    refusal(
        "a negative length",
        lambda: numrnn.pack_padded_sequence(zeros(3, 2, 1), [3, -1]),
        ValueError,
        "pack_padded_sequence: `lengths[1]` is -1, expected 0 to 3, the steps of x.",
    ),
    refusal(
        "lengths that are real",
        lambda: numrnn.pack_padded_sequence(zeros(3, 2, 1), [3.0, 1.0]),
        TypeError,
        "pack_padded_sequence: `lengths` should be integers, got float64.",
        "Convert them first: np.asarray(lengths).astype(int).",
    ),
    refusal(
        "no steps to pack",
        lambda: numrnn.pack_padded_sequence(zeros(0, 2, 1), [0, 0]),
        ValueError,
        "pack_padded_sequence: sequence 0 has length 0; a packed sequence has no empty ones.",
        "A layer's `lengths=` takes 0.",
    ),
    refusal(
        "an empty sequence of a list",
        lambda: numrnn.pack_sequence([B, zeros(0, 1)]),
        ValueError,
        "pack_sequence: sequence 1 has length 0; a packed sequence has no empty ones.",
        "A layer's `lengths=` takes 0.",
    ),
    refusal(
        "an array for a packed sequence",
        lambda: numrnn.unpack_sequence(zeros(3, 1)),
        TypeError,
        "unpack_sequence: expected a PackedSequence, got ndarray.",
    ),
    refusal(
        "longer than x",
        lambda: numrnn.unpad_sequence(zeros(3, 2, 1), [3, 4]),
        ValueError,
        "unpad_sequence: `lengths[1]` is 4, expected 0 to 3, the steps of x.",
    ),
    refusal(
        "one axis",
        lambda: numrnn.unpad_sequence(zeros(3), [3]),
        ValueError,
        "unpad_sequence: `x` has 1 axes, expected time, batch and any others.",
    ),
    refusal(
        "total_length too small",
        lambda: numrnn.pad_packed_sequence(numrnn.pack_sequence([B]), total_length=2),
        ValueError,
        "pad_packed_sequence: `total_length` is 2, less than the longest sequence, 3.",
        "Pass 3 or more, or nothing.",
    ),
    refusal(
        "no packed sequence",
        lambda: numrnn.pad_packed_sequence([1, 2]),
        TypeError,
        "pad_packed_sequence: expected a PackedSequence, got list [1, 2].",
    ),
    refusal(
        "no list",
        lambda: numrnn.pad_sequence(3),
        TypeError,
        "pad_sequence: `sequences` should be a list of arrays, got int 3.",
    ),
    refusal(
        "a packed sequence for a list",
        lambda: numrnn.pack_sequence(numrnn.pack_sequence([B])),
        TypeError,
        "pack_sequence: `sequences` should be a list of arrays, got PackedSequence.",
    ),
    refusal(
        "a name for a list",
        lambda: numrnn.pad_sequence("abc"),
        TypeError,
        "pad_sequence: `sequences` should be a list of arrays, got str 'abc'.",
    ),
    refusal(
        "an empty list", lambda: numrnn.pack_sequence([]), ValueError, "pack_sequence: `sequences` is an empty list."
    ),
    refusal(
        "a number in the list",
        lambda: numrnn.pad_sequence([1.0]),
        ValueError,
        "pad_sequence: `sequences[0]` is a single number, expected an array (time, ...).",
    ),
    refusal(
        "unlike features",
        lambda: numrnn.pad_sequence([zeros(3, 2), zeros(3, 1)]),
        ValueError,
        "pad_sequence: `sequences[0]` has shape (3, 2), `sequences[1]` (3, 1): all but the first axis must agree.",
    ),
    refusal(
        "unknown side",
        lambda: numrnn.pad_sequence([A], padding_side="top"),
        ValueError,
        'pad_sequence: `padding_side` should be "right" or "left", got str \'top\'.',
    ),
    refusal(
        "batch_first of the wrong kind",
        lambda: numrnn.pad_sequence([A], 1),
        TypeError,
        "pad_sequence: `batch_first` should be True or False, got int 1.",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_argument_is_refused_with_the_way_out(wrong: Refusal, monkeypatch):
    wrong.check(monkeypatch)
