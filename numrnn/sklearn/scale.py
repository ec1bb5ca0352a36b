"""Mean and deviation: what numbers are standardised by, and how that is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from numrnn._types import Array

__all__ = ["Scale"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """A mean and a deviation for each column."""

    mean: Numbers
    deviation: Numbers

    @classmethod
    def of(cls, values: NDArray[Any], weight: Numbers) -> Self:
        """The weighted mean and deviation of the columns of `values` (rows, columns).

        A column that is constant, up to the rounding of its dtype, has deviation 1. Columns are divided by their
        largest magnitude on the way, so that no square overflows.
        """
        peak = np.abs(values).max(axis=0).astype(np.float64)
        unit = np.where(peak > 0.0, peak, 1.0)
        share = (weight / weight.sum())[:, None]
        scaled = values / unit
        mean = np.sum(share * scaled, axis=0)
        deviation = np.sqrt(np.sum(share * (scaled - mean) ** 2, axis=0))
        rounding = 8.0 * np.finfo(values.dtype).eps * np.abs(mean)
        return cls(mean * unit, np.where(deviation > rounding, deviation * unit, 1.0))

    def apply(self, values: NDArray[Any]) -> Array:
        """Standardise, in float64; the result has the dtype of `values`."""
        with np.errstate(over="ignore"):
            standardised: Array = ((values - self.mean) / self.deviation).astype(values.dtype, copy=False)
        return standardised

    def undo(self, values: NDArray[Any]) -> Array:
        """From standardised values to values; the result has their dtype."""
        with np.errstate(over="ignore"):
            undone: Array = (values * self.deviation + self.mean).astype(values.dtype, copy=False)
        return undone
