"""The helpers of `torch.nn.utils.rnn`, in NumPy: to and from packed sequences, and to and from padding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn._errors import explain, kind_of
from numrnn.engine.arrays import real_array
from numrnn.engine.packed import Integers, PackedSequence, as_packed, integers, lengths_of, places
from numrnn.nn.arguments import choice, count, flag

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

Array = NDArray[Any]


def pack_padded_sequence(
    x: ArrayLike, lengths: ArrayLike, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch of sequences.

    Parameters
    ----------
    x : array (T, N, ...), or (N, T, ...) if batch_first
        What stands behind a row's length is dropped.
    lengths : array of int (N,)
        Steps of each row, 1 to T.
    batch_first : bool
        The layout of x.
    enforce_sorted : bool
        True: rows must come longest first. False: they are sorted, and the packed sequence remembers their order.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        Lengths that do not fit x, are 0, or are not sorted where they must be.
    TypeError
        Something that is no array of numbers, or a flag that is no bool.

    Notes
    -----
    As `torch.nn.utils.rnn.pack_padded_sequence`. Rows of one length keep their order, which PyTorch does not promise. A
    layer's own `lengths=` needs no packing, takes rows in any order, and takes a length of 0.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> packed = numrnn.pack_padded_sequence(np.arange(6).reshape(3, 2), [3, 1])
    >>> packed.data, packed.batch_sizes
    (array([0, 1, 2, 4]), array([2, 1, 1]))
    """
    head = "pack_padded_sequence"
    array = _rows_first(x, batch_first, head)
    return _pack(array, _lengths(lengths, array, batch_first, head), flag(head, "enforce_sorted", enforce_sorted), head)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Array, Integers]:
    """Unpack a packed sequence into a padded batch.

    Parameters
    ----------
    sequence : PackedSequence
        Of ours, or of PyTorch's.
    batch_first : bool
        The layout of the result.
    padding_value : float
        What stands behind a row's length.
    total_length : int, optional
        Steps of the result, the longest length or more.

    Returns
    -------
    x : array (T, N, ...), or (N, T, ...) if batch_first
    lengths : array of int (N,)
        Both in the user's order.

    Raises
    ------
    ValueError
        A `total_length` below the longest length.
    TypeError
        No packed sequence.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> x, lengths = numrnn.pad_packed_sequence(numrnn.pack_sequence([np.ones(3), np.ones(1)]), batch_first=True)
    >>> x, lengths
    (array([[1., 1., 1.],
           [1., 0., 0.]]), array([3, 1]))
    """
    head = "pad_packed_sequence"
    packed = _packed(sequence, head)
    lengths = lengths_of(packed)
    longest = steps = int(lengths.max(initial=0))
    if total_length is not None:
        steps = count(head, "total_length", total_length, least=0)
    if steps < longest:
        problem = f"`total_length` is {total_length}, less than the longest sequence, {longest}."
        raise ValueError(explain(head, problem, f"Pass {longest} or more, or nothing."))
    padded = np.full((len(lengths), steps, *packed.data.shape[1:]), padding_value, packed.data.dtype)
    padded[np.arange(steps) < lengths[:, None]] = packed.data[places(packed, lengths)]
    return _layout(padded, batch_first, head), lengths


def pack_sequence(sequences: Iterable[ArrayLike], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences.

    Parameters
    ----------
    sequences : list of arrays (T_n, ...), or anything that gives them one by one
    enforce_sorted : bool
        True: they must come longest first. False: they are sorted, and the packed sequence remembers their order.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        No sequences, an empty one, unlike features, or unsorted lengths where they must be sorted.
    TypeError
        Something that is no array of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> packed = numrnn.pack_sequence([np.array([1]), np.array([2, 3])], enforce_sorted=False)
    >>> packed.data, packed.sorted_indices
    (array([2, 1, 3]), array([1, 0]))
    """
    head = "pack_sequence"
    arrays = _several(sequences, head)
    lengths = np.array([len(array) for array in arrays], np.int64)
    return _pack(_padded(arrays, 0.0), lengths, flag(head, "enforce_sorted", enforce_sorted), head)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Array]:
    """Unpack a packed sequence into a list of sequences, in the user's order.

    Parameters
    ----------
    packed_sequences : PackedSequence

    Returns
    -------
    list of arrays (T_n, ...)

    Raises
    ------
    TypeError
        No packed sequence.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> numrnn.unpack_sequence(numrnn.pack_sequence([np.array([1, 2]), np.array([3])]))
    [array([1, 2]), array([3])]
    """
    packed = _packed(packed_sequences, "unpack_sequence")
    lengths = lengths_of(packed)
    rows = packed.data[places(packed, lengths)]
    return [part.copy() for part in np.split(rows, np.cumsum(lengths)[:-1])] if len(lengths) else []


def pad_sequence(
    sequences: Iterable[ArrayLike], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Array:
    """Stack sequences of different lengths into a padded batch.

    Parameters
    ----------
    sequences : list of arrays (T_n, ...), or anything that gives them one by one
    batch_first : bool
        The layout of the result.
    padding_value : float
    padding_side : {"right", "left"}
        Layers and `lengths` take the padding on the right: after the steps.

    Returns
    -------
    array (T, N, ...), or (N, T, ...) if batch_first
        T is the longest length.

    Raises
    ------
    ValueError
        No sequences, unlike features, or an unknown side.
    TypeError
        Something that is no array of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> numrnn.pad_sequence([np.array([1, 2]), np.array([3])], batch_first=True)
    array([[1, 2],
           [3, 0]])
    """
    head = "pad_sequence"
    left = choice(head, "padding_side", padding_side, ("right", "left")) == "left"
    return _layout(_padded(_several(sequences, head), padding_value, left=left), batch_first, head)


def unpad_sequence(padded_sequences: ArrayLike, lengths: ArrayLike, batch_first: bool = False) -> list[Array]:
    """Cut a padded batch into a list of sequences.

    Parameters
    ----------
    padded_sequences : array (T, N, ...), or (N, T, ...) if batch_first
    lengths : array of int (N,)
    batch_first : bool
        The layout of `padded_sequences`.

    Returns
    -------
    list of arrays (T_n, ...)

    Raises
    ------
    ValueError
        Lengths that do not fit.
    TypeError
        Something that is no array of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> numrnn.unpad_sequence(np.array([[1, 2], [3, 0]]), [2, 1], batch_first=True)
    [array([1, 2]), array([3])]
    """
    head = "unpad_sequence"
    array = _rows_first(padded_sequences, batch_first, head)
    return [row[:length].copy() for row, length in zip(array, _lengths(lengths, array, batch_first, head), strict=True)]


def _pack(rows: Array, lengths: Integers, enforce_sorted: bool, head: str) -> PackedSequence:
    """Pack rows (N, T, ...)."""
    if not len(lengths):
        raise ValueError(explain(head, "there is no sequence to pack."))
    if lengths.min() < 1:
        n = int(np.argmin(lengths))
        problem = f"sequence {n} has length {lengths[n]}; a packed sequence has no empty ones."
        raise ValueError(explain(head, problem, "A layer's `lengths=` takes 0."))
    order: Integers | None = None
    if not enforce_sorted:
        order = np.argsort(-lengths, kind="stable")
        rows, lengths = rows[order], lengths[order]
    elif np.any(np.diff(lengths) > 0):
        problem = f"the lengths {lengths.tolist()[:8]} are not sorted, longest first."
        raise ValueError(explain(head, problem, "Pass enforce_sorted=False: the rows are sorted then, and back again."))
    valid = np.arange(lengths[0])[:, None] < lengths
    return PackedSequence(rows.swapaxes(0, 1)[: lengths[0]][valid], valid.sum(1), order)


def _packed(value: object, head: str) -> PackedSequence:
    if not hasattr(value, "batch_sizes"):
        raise TypeError(explain(head, f"expected a PackedSequence, got {kind_of(value)}."))
    return as_packed(value)


def _several(sequences: object, head: str) -> list[Array]:
    """Read arrays that are alike but for their length; one array is read along its first axis."""
    single = isinstance(sequences, str | bytes | Mapping | PackedSequence) or getattr(sequences, "ndim", 1) == 0
    if single or not isinstance(sequences, Iterable):
        raise TypeError(explain(head, f"`sequences` should be a list of arrays, got {kind_of(sequences)}."))
    arrays = [real_array(item, head, f"sequences[{n}]") for n, item in enumerate(sequences)]
    if not arrays:
        raise ValueError(explain(head, "`sequences` is an empty list."))
    for n, array in enumerate(arrays):
        if not array.ndim:
            raise ValueError(explain(head, f"`sequences[{n}]` is a single number, expected an array (time, ...)."))
        if array.shape[1:] != arrays[0].shape[1:]:
            first = f"`sequences[0]` has shape {arrays[0].shape}"
            problem = f"{first}, `sequences[{n}]` {array.shape}: all but the first axis must agree."
            raise ValueError(explain(head, problem))
    return arrays


def _padded(arrays: list[Array], padding_value: float, *, left: bool = False) -> Array:
    """Stack arrays as rows (N, T, ...)."""
    longest = max(len(array) for array in arrays)
    dtype = np.result_type(*arrays)
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), padding_value, dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[longest - len(array) if left else 0 :][: len(array)] = array
    return padded


def _rows_first(x: object, batch_first: bool, head: str) -> Array:
    """Read a padded batch as (N, T, ...)."""
    array = real_array(x, head, "x")
    if array.ndim < 2:
        problem = f"`x` has {array.ndim} axes, expected time, batch and any others."
        raise ValueError(explain(head, problem))
    return array if flag(head, "batch_first", batch_first) else array.swapaxes(0, 1)


def _layout(rows: Array, batch_first: bool, head: str) -> Array:
    """Return rows (N, T, ...) in the layout that is asked for."""
    return rows if flag(head, "batch_first", batch_first) else np.ascontiguousarray(rows.swapaxes(0, 1))


def _lengths(lengths: ArrayLike, rows: Array, batch_first: bool, head: str) -> Integers:
    """Read the lengths of rows (N, T, ...)."""
    found = integers(lengths, head, "lengths")
    if found.shape != rows.shape[:1]:
        problem = f"`lengths` has shape {found.shape}, expected ({len(rows)},): one for each row of x."
        axes, shape = ("batch, time", rows.shape) if batch_first else ("time, batch", rows.swapaxes(0, 1).shape)
        read = f"x.shape = {shape} read as ({axes}, ...) because batch_first={bool(batch_first)}."
        advice = "Lengths are numbers of steps."
        if found.shape == rows.shape[1:2]:
            advice = f"If x has {len(found)} rows, its axes are swapped: pass batch_first={not batch_first}."
        raise ValueError(explain(head, problem, read, advice))
    if found.size and (found.max() > rows.shape[1] or found.min() < 0):
        n = int(np.argmax((found > rows.shape[1]) | (found < 0)))
        raise ValueError(explain(head, f"`lengths[{n}]` is {found[n]}, expected 0 to {rows.shape[1]}, the steps of x."))
    return found
