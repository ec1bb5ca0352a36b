"""Data that come with the package; `README.md` beside this file says where they are from."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["sunspots"]


def sunspots() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the yearly mean sunspot numbers from 1700 to 2008.

    Returns
    -------
    years : array (309,) of int64
    numbers : array (309,) of float64

    Examples
    --------
    >>> from numrnn.data import sunspots
    >>> years, numbers = sunspots()
    >>> int(years[0]), int(years[-1]), float(numbers[-1])
    (1700, 2008, 2.9)
    """
    with resources.files(__name__).joinpath("sunspots.csv").open(encoding="ascii") as file:
        table: NDArray[Any] = np.loadtxt(file, delimiter=",", skiprows=1)
    return table[:, 0].astype(np.int64), table[:, 1].copy()
