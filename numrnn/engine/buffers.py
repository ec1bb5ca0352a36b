"""Arrays as kernels take them: one axis, writable in type, on a cache line where they are ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_ALIGNMENT = 64


def aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """A flat array that begins on a cache line, of at least one number."""
    memory = np.empty(max(size, 1) * dtype.itemsize + _ALIGNMENT, np.uint8)
    skip = -memory.__array_interface__["data"][0] % _ALIGNMENT
    return memory[skip : skip + max(size, 1) * dtype.itemsize].view(dtype)


def clear_padding(steps: Array, lengths: NDArray[np.int64], *, batch_first: bool) -> None:
    """Put zeros behind each row's own end: what was not written, and no more, since zeros take time too."""
    rows = steps if batch_first else steps.swapaxes(0, 1)
    seq_len = rows.shape[1]
    for n, length in enumerate(lengths.tolist()):
        if length < seq_len:
            rows[n, length:] = 0


def flat(array: Array) -> Array:
    """The array as kernels take it: one axis, writable in type (kernels do not write their inputs), never empty."""
    if array.size == 0:
        return np.zeros(1, array.dtype)
    if not array.flags.writeable:
        return np.asarray(_Writable(array)).reshape(-1)
    return array.reshape(-1)


class _Writable:
    """The same memory, typed as writable: a read-only array would make Numba compile every kernel a second time."""

    def __init__(self, array: Array) -> None:
        self._array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def reset_flags(resets: Array | None) -> Array:
    """The resets as kernels take them."""
    return np.zeros(1, np.uint8) if resets is None else flat(resets)
