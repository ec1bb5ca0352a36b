"""Arrays as kernels take them: one axis, writable in type, on a cache line where they are ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_ALIGNMENT = 64
_SMALL = 4096  # numbers: to find a cache line takes longer than to do without


def aligned(size: int, dtype: np.dtype[Any], *, small: bool = False) -> Array:
    """A flat array of at least one number, which begins on a cache line; a `small` one too, if that is wanted."""
    if size <= _SMALL and not small:
        return np.empty(max(size, 1), dtype)
    memory = np.empty(max(size, 1) * dtype.itemsize + _ALIGNMENT, np.uint8)
    skip = -memory.__array_interface__["data"][0] % _ALIGNMENT
    return memory[skip : skip + max(size, 1) * dtype.itemsize].view(dtype)


class Scratches:
    """Scratch of one dtype that the next call can use again: two pieces at most, which are not large."""

    _MOST = 64 << 20  # bytes of a piece: 256 MiB for two dtypes

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._idle: list[Array] = []

    def borrow(self, size: int) -> Array:
        """At least `size` numbers, whatever they hold."""
        try:
            scratch = self._idle.pop()  # one operation: two threads do not get the same
        except IndexError:
            return aligned(size, self._dtype)
        return scratch if len(scratch) >= size else aligned(size, self._dtype)

    def give_back(self, scratch: Array) -> None:
        """Take scratch that nobody uses any more."""
        if len(self._idle) < 2 and scratch.nbytes <= self._MOST:
            self._idle.append(scratch)


SCRATCHES = {np.dtype(name): Scratches(name) for name in ("float32", "float64")}


def flat(array: Array) -> Array:
    """The array as kernels take it: one axis, writable in type (kernels do not write their inputs), never empty.

    It is C-contiguous, so that `ravel`, which takes half the time of `reshape`, copies nothing.
    """
    if array.size == 0:
        return np.zeros(1, array.dtype)
    if not array.flags.writeable:
        return np.asarray(_Writable(array)).ravel()
    return array.ravel()


class _Writable:
    """The same memory, typed as writable: a read-only array would make Numba compile every kernel a second time."""

    def __init__(self, array: Array) -> None:
        self._array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


_NO_RESETS = np.zeros(1, np.uint8)


def reset_flags(resets: Array | None) -> Array:
    """The resets as kernels take them."""
    return _NO_RESETS if resets is None else flat(resets)
