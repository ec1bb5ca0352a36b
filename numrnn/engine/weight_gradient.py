"""Weight gradients: the request that the kernels walk, where its numbers stand, and how its sums are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.kernels import products
from numrnn.kernels.tile import ROWS, VECTORS

Array = NDArray[Any]


def ceil(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Right:
    """A right operand: its columns, and the columns of the left operand that it meets."""

    columns: int
    left_begin: int
    left_end: int


@dataclass(frozen=True, slots=True)
class WeightGradient:
    """Scratch of left^T @ right for one left operand of `width` columns and at most `lines` lines at a time.

    `totals` and `bias` must be zero at the start; they and everything else lie in one arena.
    """

    lanes: int
    width: int
    lines: int
    rights: tuple[Right, ...]
    n_tasks: int
    totals: tuple[int, ...]
    bias: int
    operands: tuple[int, ...]
    packed: int
    pre: int
    end: int
    end_of_zeros: int

    @classmethod
    def place(
        cls, at: int, lanes: int, width: int, lines: int, rights: tuple[Right, ...], n_tasks: int
    ) -> WeightGradient:
        """Lay the scratch out from offset `at` on."""
        tiles = -(-width // ROWS)
        strides = [ceil(right.columns, lanes) for right in rights]
        lengths = [tiles * ROWS * stride for stride in strides]
        lengths.append(tiles * ROWS + lanes)
        zeros = len(lengths)
        lengths += [lines * stride for stride in strides]
        lengths.append(tiles * (min(lines, products.K_BLOCK) * ROWS + lanes))
        lengths.append(n_tasks * ROWS * VECTORS * lanes)
        places = [at]
        for length in lengths:
            places.append(places[-1] + ceil(length, 64))
        n = len(rights)
        return cls(
            lanes,
            width,
            lines,
            rights,
            n_tasks,
            totals=tuple(places[:n]),
            bias=places[n],
            operands=tuple(places[zeros : zeros + n]),
            packed=places[zeros + n],
            pre=places[zeros + n + 1],
            end=places[-1],
            end_of_zeros=places[zeros],
        )

    def moved(self, shift: int) -> WeightGradient:
        """The same, further back in the arena."""
        return replace(
            self,
            totals=tuple(at + shift for at in self.totals),
            bias=self.bias + shift,
            operands=tuple(at + shift for at in self.operands),
            packed=self.packed + shift,
            pre=self.pre + shift,
            end=self.end + shift,
            end_of_zeros=self.end_of_zeros + shift,
        )

    def request(self, left_at: int, left_stride: int) -> NDArray[np.int64]:
        """The kernels' request; WG_LINES, and WG_LEFT_AT where it moves, are filled in for each launch."""
        header = [self.n_tasks, 0, left_at, left_stride, self.width, self.packed, self.pre, self.bias, len(self.rights)]
        for right, at, total in zip(self.rights, self.operands, self.totals, strict=True):
            header += [at, right.columns, total, right.left_begin, right.left_end]
        return np.array(header + self._boundaries(), np.int64)

    def _boundaries(self) -> list[int]:
        """First tile of each task, so that each has the same number of products."""
        first_columns = np.arange(-(-self.width // ROWS)) * ROWS
        work = np.full(first_columns.size, 0.1)
        for right in self.rights:
            meets = (first_columns + ROWS > right.left_begin) & (first_columns < right.left_end)
            work += meets * float(ceil(right.columns, self.lanes))
        done = np.cumsum(work)
        shares = np.arange(1, self.n_tasks) / self.n_tasks
        return [0, *(int(b) for b in np.searchsorted(done, shares * done[-1])), first_columns.size]

    def total(self, arena: Array, right: int) -> Array:
        """Sums with one right operand: (width, columns), a view; rows that it does not meet are undefined."""
        tiles, stride = -(-self.width // ROWS), ceil(self.rights[right].columns, self.lanes)
        at = self.totals[right]
        rows = arena[at : at + tiles * ROWS * stride].reshape(tiles * ROWS, stride)
        return rows[: self.width, : self.rights[right].columns]

    def column_sums(self, arena: Array) -> Array:
        """Sums of the left operand's columns: (width,), a view."""
        return arena[self.bias : self.bias + self.width]
