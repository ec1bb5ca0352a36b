"""The mean and the maximum over each row's steps, put together chunk by chunk: the bits of the undivided ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._types import Array
from numrnn.engine.packed import Integers

__all__ = ["larger", "mean_of", "summed"]


def summed(sums: NDArray[Any] | None, steps: Array, lengths: Integers | None) -> NDArray[np.float64]:
    """Go on with the float64 sums of each row's steps, one step after the other, as the undivided mean adds them.

    `steps` (T, N, features) or (T, features) are those of the chunk, and `lengths` (N,) how many of them are the row's.
    """
    total = np.zeros(steps.shape[1:]) if sums is None else sums.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for t, step in enumerate(steps):
            if lengths is None:
                total += step
            else:
                np.add(total, step, out=total, where=(t < lengths)[:, None])
    return total


def mean_of(sums: NDArray[Any], n_steps: int | Integers, dtype: np.dtype[Any]) -> Array:
    """Divide by the number of steps, of all rows or of each; zeros where there are none."""
    divisor = n_steps if isinstance(n_steps, int) else n_steps[:, None]
    mean: Array = (sums / np.maximum(divisor, 1)).astype(dtype)
    return mean


def larger(before: Array, here: Array, some_before: NDArray[np.bool_], some_here: NDArray[np.bool_]) -> Array:
    """Return the larger of two maxima (N, features), NaN where there is one; of equal ones the earlier.

    `some_before`, `some_here` (N,), or () for all rows: whether the row had steps before, and whether it has some here.
    """
    higher = (here > before) | (np.isnan(here) & ~np.isnan(before))
    chosen: Array = np.where((higher | ~some_before[..., None]) & some_here[..., None], here, before)
    return chosen
