"""PyTorch's own tests of packed sequences, asked of numrnn: see `test_torch_counterparts.py`."""

import itertools

import numpy as np
import pytest

import numrnn

same = np.testing.assert_array_equal
DTYPES = ("float64", "float32", "int64", "int32", "int16", "int8", "uint8")
SINGLE = [np.array([1, 2, 3]), np.array([4, 5]), np.array([6])]


def equal_packed(one, other):
    for left, right in zip(one, other, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            same(left, right)


def of_many_axes(num_axes, rng):
    """Nine sequences of 1 to 81 steps, in any order."""
    steps = rng.permutation(np.arange(1, 10) ** 2)
    return [rng.random((n, 5, *[4] * num_axes)) for n in steps]


def test_pack_sequence_batch_sizes_throw():
    """`batch_sizes` are counts: nothing else is taken for them."""
    with pytest.raises(TypeError, match="`batch_sizes` should be integers"):
        numrnn.PackedSequence(np.zeros((5, 3)), np.ones(5))
    with pytest.raises(ValueError, match="`batch_sizes` add up to 4"):
        numrnn.PackedSequence(np.zeros((5, 3)), np.ones(4, int))


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("source", DTYPES)
def test_type_casts(source, enforce_sorted, rng):
    """Packing keeps the type of the numbers, and casting what is packed is casting what is padded."""
    padded = rng.integers(0, 100, (6, 5)).astype(source)
    packed = numrnn.pack_padded_sequence(padded, [6, 5, 5, 2, 1], enforce_sorted=enforce_sorted)
    assert packed.data.dtype == source
    for target in DTYPES:
        unpacked, _ = numrnn.pad_packed_sequence(packed._replace(data=packed.data.astype(target)))
        assert unpacked.dtype == target
        same(unpacked, numrnn.pad_packed_sequence(packed)[0].astype(target))


def test_wrong_order():
    rows = numrnn.pad_sequence([np.ones((22, 300)), np.ones((25, 300))])
    with pytest.raises(ValueError, match="not sorted, longest first"):
        numrnn.pack_padded_sequence(rows, [22, 25], enforce_sorted=True)


def test_pad_sequence_with_tensor_sequences():
    """One array is a sequence of sequences too, and so is whatever gives arrays one by one."""
    rows = [np.array([[7, 6]]), np.array([[-7, -1]])]
    expected = numrnn.pad_sequence(tuple(rows))
    assert expected.shape == (1, 2, 2)
    same(numrnn.pad_sequence(np.array(rows)), expected)
    same(numrnn.pad_sequence(row for row in rows), expected)
    equal_packed(numrnn.pack_sequence(np.array(rows)), numrnn.pack_sequence(rows))


def test_pad_sequence_with_non_iterable_sequences():
    with pytest.raises(TypeError, match="`sequences` should be a list of arrays, got int 5"):
        numrnn.pad_sequence(5)


@pytest.mark.parametrize("batch_first", [False, True])
def test_total_length(batch_first, rng):
    lengths = [6, 4, 4, 2, 1]
    packed = numrnn.pack_padded_sequence(rng.random((6, 5)), lengths)
    for total_length in (-1, 0, 5):
        with pytest.raises(ValueError, match="`total_length`"):
            numrnn.pad_packed_sequence(packed, batch_first, total_length=total_length)
    plain, _ = numrnn.pad_packed_sequence(packed, batch_first)
    for more in (0, 1, 8):
        unpacked, found = numrnn.pad_packed_sequence(packed, batch_first, total_length=6 + more)
        assert found.tolist() == lengths
        same(unpacked, np.pad(plain, [(0, 0), (0, more)] if batch_first else [(0, more), (0, 0)]))


def test_pad_sequence(rng):
    a, b, c = SINGLE
    expected = np.array([[4, 5, 0], [1, 2, 3], [6, 0, 0]])
    same(numrnn.pad_sequence([b, a, c], True), expected)
    same(numrnn.pad_sequence([b, a, c]), expected.T)
    same(numrnn.pad_sequence([b, a, c], True, 1), np.array([[4, 5, 1], [1, 2, 3], [6, 1, 1]]))
    same(numrnn.pad_sequence([a, b, c], True), expected[[1, 0, 2]])
    for num_axes in range(4):
        rows = of_many_axes(num_axes, rng)
        expected = np.stack([np.concatenate([row, np.zeros((81 - len(row), *row.shape[1:]))]) for row in rows])
        same(numrnn.pad_sequence(rows, True), expected)
        same(numrnn.pad_sequence(rows), expected.swapaxes(0, 1))


@pytest.mark.parametrize("batch_first", [False, True])
def test_unpad_sequence(batch_first, rng):
    for rows in (SINGLE, *(of_many_axes(num_axes, rng) for num_axes in range(4))):
        padded = numrnn.pad_sequence(rows, batch_first)
        before = padded.copy()
        for row, again in zip(rows, numrnn.unpad_sequence(padded, list(map(len, rows)), batch_first), strict=True):
            same(again, row)
        same(padded, before)  # PyTorch's turns its argument round


def test_pack_sequence(rng):
    a, b, c = SINGLE
    in_order = numrnn.pack_sequence([a, b, c], enforce_sorted=False)
    turned = numrnn.pack_sequence([b, c, a], enforce_sorted=False)
    for packed in (in_order, turned, numrnn.pack_sequence([a, b, c])):
        assert packed.batch_sizes.tolist() == [3, 2, 1]
        assert packed.data.tolist() == [1, 4, 6, 2, 5, 3]
    assert in_order.sorted_indices.tolist() == in_order.unsorted_indices.tolist() == [0, 1, 2]
    assert (turned.sorted_indices.tolist(), turned.unsorted_indices.tolist()) == ([2, 0, 1], [1, 2, 0])
    assert numrnn.pack_sequence([a, b, c])[2:] == (None, None)
    with pytest.raises(ValueError, match=r"not sorted, longest first.\n  Pass enforce_sorted=False"):
        numrnn.pack_sequence([b, c, a], enforce_sorted=True)
    for num_axes, batch_first in itertools.product(range(4), (True, False)):
        rows = of_many_axes(num_axes, rng)
        for sequences, enforce_sorted in ((rows, False), *((sorted(rows, key=len)[::-1], s) for s in (True, False))):
            padded = numrnn.pad_sequence(sequences, batch_first)
            packed = numrnn.pack_sequence(sequences, enforce_sorted)
            same(numrnn.pad_packed_sequence(packed, batch_first)[0], padded)
            lengths = [len(row) for row in sequences]
            equal_packed(packed, numrnn.pack_padded_sequence(padded, lengths, batch_first, enforce_sorted))


def test_unpack_sequence(rng):
    for rows in (SINGLE, *(of_many_axes(num_axes, rng) for num_axes in range(4))):
        again = numrnn.unpack_sequence(numrnn.pack_sequence(rows, enforce_sorted=False))
        for row, unpacked in zip(rows, again, strict=True):
            same(unpacked, row)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("lengths", "shuffled"),
    [([10, 8, 4, 2, 2, 2, 1], False), ([11, 10, 8, 6, 4, 3, 1], False), ([11, 10, 8, 6, 4, 3, 1], True)],
)
def test_pack_padded_sequence(lengths, shuffled, batch_first, rng):
    """Row i's steps are 100 (i + 1) and upwards, so that each number says where it comes from."""
    rows = [100 * (i + 1) + np.arange(1.0, 5 * n + 1).reshape(n, 5) for i, n in enumerate(lengths)]
    expected = np.stack([row[t] for t in range(lengths[0]) for row in rows if len(row) > t])
    order = rng.permutation(len(rows)) if shuffled else np.arange(len(rows))
    padded = numrnn.pad_sequence([rows[n] for n in order], batch_first)
    steps = np.array(lengths)[order]
    packed = numrnn.pack_padded_sequence(padded, steps, batch_first, enforce_sorted=not shuffled)
    same(packed.data, expected)
    assert packed.batch_sizes.tolist() == [sum(n > t for n in lengths) for t in range(lengths[0])]
    assert packed.unsorted_indices is None or packed.unsorted_indices.tolist() == order.tolist()
    again, found = numrnn.pad_packed_sequence(packed, batch_first)
    same(again, padded)
    same(found, steps)
    for refused, given in ((np.zeros((3, 3)), [1, 3, 2]), (np.zeros((0, 0)), []), (np.zeros((0, 1, 10)), [11, 14])):
        with pytest.raises(ValueError, match="pack_padded_sequence: "):
            numrnn.pack_padded_sequence(refused, given, batch_first=refused.ndim == 3)
