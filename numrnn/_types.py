"""Types that several modules share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "ArrayLike", "Parameters", "Shape", "State", "StateLike"]

Array: TypeAlias = NDArray[np.floating[Any]]
"""float32 or float64, in native byte order."""

Shape: TypeAlias = tuple[int, ...]

State: TypeAlias = Array | tuple[Array, Array]
"""h, or (h, c) where the cell has a cell state."""

StateLike: TypeAlias = ArrayLike | Sequence[ArrayLike]

Parameters: TypeAlias = Mapping[str, ArrayLike]
"""Weights by name."""
