"""PyTorch's packed sequences, in NumPy: the steps of all sequences, time by time, without padding."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn.engine.arrays import real_array

__all__ = ["Integers", "PackedSequence", "as_packed", "integers", "lengths_of", "places"]

Integers: TypeAlias = NDArray[np.int64]

_HEAD = "PackedSequence"


class _Fields(NamedTuple):
    data: NDArray[Any]
    batch_sizes: Integers
    sorted_indices: Integers | None
    unsorted_indices: Integers | None


class PackedSequence(_Fields):
    """Sequences of different lengths, packed time by time from the longest to the shortest.

    Made by `pack_padded_sequence` or `pack_sequence`; a layer takes it for x and gives `output` in the same form.

    Parameters
    ----------
    data : array (sum of lengths, ...)
        All sequences' first steps, then all second steps, and so on.
    batch_sizes : array of int
        The number of sequences that have a first step, a second step, ...; never increasing.
    sorted_indices : array of int, optional
        Which sequence of the user's each packed one is; None where they were given longest first.
    unsorted_indices : array of int, optional
        The inverse; derived where only `sorted_indices` is given.

    Raises
    ------
    ValueError
        Sizes that do not fit together.
    TypeError
        Something that is no array of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> packed = numrnn.pack_sequence([np.ones((3, 2)), np.ones((1, 2))])
    >>> packed.data.shape, packed.batch_sizes
    ((4, 2), array([2, 1, 1]))
    """

    __slots__ = ()

    def __new__(
        cls, data: Any, batch_sizes: Any, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> PackedSequence:
        """Check that the parts fit together."""
        array = real_array(data, _HEAD, "data")
        sizes = integers(batch_sizes, _HEAD, "batch_sizes")
        if array.ndim == 0 or sizes.ndim != 1:
            shapes = f"data {array.shape}, batch_sizes {sizes.shape}"
            raise ValueError(explain(_HEAD, f"`data` needs an axis of steps, `batch_sizes` one axis; got {shapes}."))
        if np.any(np.diff(sizes) > 0) or np.any(sizes < 1):
            raise ValueError(explain(_HEAD, f"`batch_sizes` should be positive and never increase, got {sizes}."))
        if sizes.sum() != len(array):
            problem = f"`data` has {len(array)} steps, but `batch_sizes` add up to {sizes.sum()}."
            raise ValueError(explain(_HEAD, problem, "Make it with pack_padded_sequence or pack_sequence."))
        batch = int(sizes[0]) if len(sizes) else 0
        order = _permutation(sorted_indices, batch, "sorted_indices")
        inverse = _permutation(unsorted_indices, batch, "unsorted_indices")
        if order is None and inverse is not None:
            order = np.argsort(inverse)
        elif order is not None and inverse is None:
            inverse = np.argsort(order)
        elif order is not None and not np.array_equal(order[inverse], np.arange(batch)):
            raise ValueError(explain(_HEAD, "`unsorted_indices` is not the inverse of `sorted_indices`.", "Omit it."))
        return super().__new__(cls, array, sizes, order, inverse)


def integers(value: object, head: str, name: str) -> Integers:
    """Read an array of integers; an empty list is one."""
    array = real_array(value, head, name)
    if array.dtype.kind not in "iu" and array.size:
        advice = f"Convert them first: np.asarray({name}).astype(int)."
        raise TypeError(explain(head, f"`{name}` should be integers, got {array.dtype}.", advice))
    return np.ascontiguousarray(array, np.int64) if array.ndim else np.asarray(array, np.int64)


def _permutation(value: object, batch: int, name: str) -> Integers | None:
    if value is None:
        return None
    order = integers(value, _HEAD, name)
    if not np.array_equal(np.sort(order, axis=None), np.arange(batch)) or order.ndim != 1:
        raise ValueError(explain(_HEAD, f"`{name}` should hold 0 to {batch - 1}, each once, got {kind_of(order)}."))
    return order


def as_packed(value: Any) -> PackedSequence:
    """Read a packed sequence of ours or of PyTorch's."""
    if isinstance(value, PackedSequence):
        return value
    indices = (getattr(value, name, None) for name in ("sorted_indices", "unsorted_indices"))
    return PackedSequence(value.data, value.batch_sizes, *indices)


def lengths_of(packed: PackedSequence) -> Integers:
    """Length of each sequence, in the user's order."""
    batch = int(packed.batch_sizes[0]) if len(packed.batch_sizes) else 0
    # how many steps have more than n sequences; batch_sizes never increase
    lengths: Integers = np.searchsorted(-packed.batch_sizes, -np.arange(batch)).astype(np.int64)
    return lengths if packed.unsorted_indices is None else lengths[packed.unsorted_indices]


def places(packed: PackedSequence, lengths: Integers) -> Integers:
    """Where in `data` the steps are of the first sequence, then of the second, and so on, in the user's order."""
    rows = np.arange(len(lengths)) if packed.unsorted_indices is None else packed.unsorted_indices
    starts: Integers = np.asarray(np.cumsum(packed.batch_sizes, dtype=np.int64) - packed.batch_sizes)
    ends: Integers = np.asarray(np.cumsum(lengths, dtype=np.int64))
    steps = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
    found: Integers = starts[steps] + np.repeat(rows, lengths)
    return found
