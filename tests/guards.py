"""Memory around arrays that must be neither read nor written: pages that fault, and margins that are looked at."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.ma  # it reads the docstring of `np.empty` when it is imported

PAGE = mmap.PAGESIZE
CANARY = 0xA5


class GuardedMemory:
    """Arrays between two pages that nobody may touch; what lies between array and page is filled with canaries."""

    def __init__(self) -> None:
        self._made: list[tuple[mmap.mmap, int, int]] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.at_end = True  # whether an array ends where the page behind it begins, or begins where the one before ends

    def empty(self, shape: Any, dtype: Any = float) -> np.ndarray:
        """As `np.empty`."""
        dtype = np.dtype(dtype)
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (int(shape),)
        size = int(np.prod(shape, dtype=object))
        n_bytes = size * dtype.itemsize
        pages = -(-n_bytes // PAGE) or 1
        memory = mmap.mmap(-1, (pages + 2) * PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        begin = PAGE + (pages * PAGE - n_bytes if self.at_end else 0)
        memory[PAGE : (pages + 1) * PAGE] = bytes([CANARY]) * (pages * PAGE)
        for guard in (address, address + (pages + 1) * PAGE):
            assert self._libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0) == 0
        self._made.append((memory, begin, n_bytes))
        return np.frombuffer(memory, dtype, size, begin).reshape(shape)

    def zeros(self, shape: Any, dtype: Any = float) -> np.ndarray:
        """As `np.zeros`."""
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def copy(self, array: Any) -> np.ndarray:
        """The same numbers between guards."""
        copied = self.empty(array.shape, array.dtype)
        copied[...] = array
        return copied

    def check(self) -> int:
        """Look at all canaries, and forget the arrays; returns how many there were."""
        made, self._made = self._made, []
        for memory, begin, n_bytes in made:
            end = len(memory) - PAGE
            for margin in (memory[PAGE:begin], memory[begin + n_bytes : end]):
                assert margin.count(CANARY) == len(margin), f"a margin of an array of {n_bytes} bytes was written"
        return len(made)

    @contextmanager
    def around_everything(self) -> Iterator[None]:
        """Have every array that the package allocates stand between guards, none that it keeps from earlier."""
        from numrnn.engine import buffers

        for scratches in buffers.SCRATCHES.values():
            scratches._idle.clear()

        aligned, empty, zeros = buffers.aligned, np.empty, np.zeros
        modules = [
            m for n, m in sys.modules.items() if n.startswith("numrnn") and getattr(m, "aligned", None) is aligned
        ]

        def exact(size: int, dtype: Any, *, small: bool = False) -> np.ndarray:
            return self.empty(max(size, 1), dtype)

        try:
            np.empty, np.zeros = self.empty, self.zeros  # type: ignore[assignment]
            for module in modules:
                module.aligned = exact  # type: ignore[attr-defined]
            yield
        finally:
            np.empty, np.zeros = empty, zeros
            for module in modules:
                module.aligned = aligned  # type: ignore[attr-defined]
