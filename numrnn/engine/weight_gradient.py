"""Weight gradients: the request that the kernels walk, and where its numbers stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn.kernels import products
from numrnn.kernels.tile import ROWS, VECTORS


def ceil(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple


class Found(NamedTuple):
    """A gradient: where it begins, which columns of the left operand are its rows, and the row of the first of them."""

    at: int
    left_begin: int
    left_end: int
    left_first: int = 0


class Right(NamedTuple):
    """A right operand: its columns, and what its product with the left one gives."""

    columns: int
    found: Found


@dataclass(frozen=True, slots=True)
class WeightGradient:
    """Scratch of left^T @ right for one left operand of `width` columns and at most `lines` lines at a time."""

    lanes: int
    width: int
    rights: tuple[Right, ...]
    biases: tuple[Found, ...]
    n_tasks: int
    sums: int
    operands: tuple[int, ...]
    packed: int
    pre: int
    end: int

    @classmethod
    def place(
        cls,
        at: int,
        lanes: int,
        width: int,
        lines: int,
        rights: tuple[Right, ...],
        biases: tuple[Found, ...],
        n_tasks: int,
    ) -> WeightGradient:
        """Lay the scratch out from offset `at` on."""
        tiles = -(-width // ROWS)
        lengths = [tiles * ROWS + lanes]
        lengths += [lines * ceil(right.columns, lanes) for right in rights]
        lengths.append(tiles * (min(lines, products.K_BLOCK) * ROWS + lanes))
        lengths.append(n_tasks * ROWS * VECTORS * lanes)
        places = [at]
        for length in lengths:
            places.append(places[-1] + ceil(length, 64))
        sums, *operands, packed, pre, end = places
        return cls(lanes, width, rights, biases, n_tasks, sums, tuple(operands), packed, pre, end)

    def request(self, left_at: int, left_stride: int) -> NDArray[np.int64]:
        """The kernels' request; WG_LINES and WG_ADD, and WG_LEFT_AT where it moves, are filled in for each launch."""
        request = [0, self.n_tasks, 0, 0, left_at, left_stride, self.width, self.packed, self.pre, self.sums]
        request += [len(self.rights), len(self.biases)]
        for right, at in zip(self.rights, self.operands, strict=True):
            request += [*right.found, at, right.columns]
        for bias in self.biases:
            request += bias
        request += self._boundaries()
        request[products.WG_SIZE] = len(request)
        return np.array(request, np.int64)

    def _boundaries(self) -> list[int]:
        """First tile of each task, so that each has the same number of products."""
        first_columns = np.arange(-(-self.width // ROWS)) * ROWS
        work = np.full(first_columns.size, 0.1)
        for right in self.rights:
            meets = (first_columns + ROWS > right.found.left_begin) & (first_columns < right.found.left_end)
            work += meets * float(ceil(right.columns, self.lanes))
        done = np.cumsum(work)
        shares = np.arange(1, self.n_tasks) / self.n_tasks
        return [0, *(int(b) for b in np.searchsorted(done, shares * done[-1])), first_columns.size]
