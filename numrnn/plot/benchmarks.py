"""The picture of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numrnn.plot.frame import COLOURS, INK, dress, new_axes

__all__ = ["roofline"]


def roofline(stored: Mapping[str, Any], *, ax: Any = None, title: str = "") -> Any:
    """Draw how near each case of a benchmark comes to what the machine allows: a bar a case, named after its bound.

    Parameters
    ----------
    stored : mapping
        What `numrnn bench --roofline --json FILE` wrote, read by `json.load`.
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.

    Returns
    -------
    Axes
        Nothing is shown or written: `axes.figure.savefig("roofline.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        No case has a bound.

    Examples
    --------
    >>> import json
    >>> import numrnn
    >>> axes = numrnn.plot.roofline(json.load(open("samples.json")))  # doctest: +SKIP
    """
    cases = [case for case in stored["cases"] if case.get("bound")]
    if not cases:
        raise ValueError("plot.roofline: no case has a bound. Pass what `numrnn bench --roofline --json FILE` wrote.")
    shares = [100.0 * case["share_of_bound"]["minimum"] for case in cases]
    bounds = [case["bound"]["name"] for case in cases]
    kinds = list(dict.fromkeys(name.partition(" ")[0] for name in bounds))
    colours = [COLOURS[kinds.index(name.partition(" ")[0]) % len(COLOURS)] for name in bounds]
    axes = new_axes((8, 1.0 + 0.3 * len(cases))) if ax is None else ax
    places = np.arange(len(cases))
    axes.barh(places, shares, height=0.7, color=colours)
    axes.axvline(100.0, color=INK, linewidth=1.0)
    for place, share, name in zip(places, shares, bounds, strict=True):
        inside = share > 50.0
        axes.annotate(
            f"{share:.0f} %  {name}",
            (share, place),
            (-4 if inside else 4, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            fontsize="small",
            color="white" if inside else INK,
        )
    names = [f"{case['cell']} {','.join(map(str, case['shape']))} {case['mode']}" for case in cases]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, max(105.0, *shares))
    axes.set_xlabel("bound / measured time, %", color=INK)
    dress(axes, title)
    return axes
