"""Numbers as text: bars, pictures, and the course of a training."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["picture", "show_losses", "sparkline"]

_BARS = ("▁▂▃▄▅▆▇█", "_.-~=+*#")
_SHADES = (" ░▒▓█", " .:*#")


def sparkline(values: Sequence[float] | NDArray[Any], width: int) -> str:
    """A series as a line of bars, each the mean of its share."""
    bars = _fitting(_BARS)
    shares = np.array([np.mean(share) for share in np.array_split(np.asarray(values), max(1, min(width, len(values))))])
    low, high = shares.min(), shares.max()
    heights = (shares - low) / (high - low if high > low else 1.0) * (len(bars) - 1)
    return "".join(bars[round(height)] for height in heights.tolist())


def picture(shades: NDArray[Any]) -> list[str]:
    """Shades from 0 to 1 as lines of signs, two signs wide each."""
    signs = _fitting(_SHADES)
    places = np.rint(np.clip(shades, 0.0, 1.0) * (len(signs) - 1)).astype(int)
    return ["".join(2 * signs[place] for place in row) for row in places.tolist()]


def show_losses(losses: Mapping[str, Sequence[float]]) -> None:
    """Print losses at some epochs; the bars show all of the first."""
    first = next(iter(losses.values()))
    marks = sorted({round(epoch) for epoch in np.geomspace(1, len(first), 6)})
    width = max(5, *map(len, losses))
    print(f"    {'epoch':<{width}} {''.join(f'{mark:>8}' for mark in marks)}")
    for name, values in losses.items():
        bars = f"   {sparkline(values, 40)}" if values is first else ""
        print(f"    {name:<{width}} {''.join(f'{values[mark - 1]:>8.3f}' for mark in marks)}{bars}")


def _fitting(choices: tuple[str, str]) -> str:
    """The signs that the terminal knows."""
    try:
        choices[0].encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return choices[1]
    return choices[0]
