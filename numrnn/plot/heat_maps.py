"""Heat maps: states and gates over time, and a table of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn._errors import explain
from numrnn.nn.internals import Internals
from numrnn.plot.frame import INK, SOFT, new_axes

__all__ = ["confusion", "gates", "states"]


def states(steps: ArrayLike, *, ax: Any = None, title: str = "", limit: float | None = None) -> Any:
    """Draw the states of one sequence as a heat map: steps from left to right, units from top to bottom.

    Blue is negative, white is 0, red is positive.

    Parameters
    ----------
    steps : array (T, H)
        One sequence: `output[:, row]`, or `internals.cell[layer][direction][:, row]`.
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.
    limit : float, optional
        The value of the darkest red; -limit is the darkest blue. The largest magnitude in `steps` otherwise.

    Returns
    -------
    Axes
        Nothing is shown or written: `axes.figure.savefig("states.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        `steps` is not one sequence.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> result = numrnn.GRU(4, 8)(np.ones((10, 3, 4)))
    >>> axes = numrnn.plot.states(result.output[:, 0])  # doctest: +SKIP
    """
    shown = np.asarray(steps)
    if shown.ndim != 2:
        raise ValueError(
            f"plot.states: `steps` has {shown.ndim} axes, expected 2: (time, units).\n"
            f"  steps.shape = {shown.shape}\n"
            "  Of (time, batch, units), pass one sequence: steps[:, row]."
        )
    axes = new_axes((7, 2.6)) if ax is None else ax
    _heat_map(axes, shown, np.max(np.abs(shown), initial=0.0) or 1.0 if limit is None else limit)
    axes.set_ylabel("unit", color=INK)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=INK)
    return axes


def gates(
    internals: Internals, *, layer: int = -1, direction: int = 0, row: int = 0, ax: Any = None, title: str = ""
) -> Any:
    """Draw all gates of one layer, direction and sequence as one heat map, a band of H units for each gate.

    Blue is -1, white is 0, red is 1; all but the candidate (g of LSTM, n of GRU) lie between 0 and 1.

    Parameters
    ----------
    internals : Internals
        `internals` of a result that was asked for them.
    layer, direction : int
        Which part of the layer; the top layer, forward.
    row : int
        Which sequence of the batch.
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.

    Returns
    -------
    Axes
        Nothing is shown or written: `axes.figure.savefig("gates.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        The layer is an RNN, which has no gates.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> result = numrnn.LSTM(4, 8)(np.ones((10, 3, 4)), internals=True)
    >>> axes = numrnn.plot.gates(result.internals, row=2)  # doctest: +SKIP
    """
    tracks = {name: each[layer][direction] for name, each in internals.gates.items() if name != "hn"}
    if not tracks:
        raise ValueError("plot.gates: RNN has no gates; draw its states: plot.states(internals.hidden[0][0][:, row]).")
    bands = [track if track.ndim == 2 else track[:, row] for track in tracks.values()]
    size = bands[0].shape[1]
    axes = new_axes((7, 4.4)) if ax is None else ax
    _heat_map(axes, np.concatenate(bands, axis=1), 1.0)
    for edge in range(1, len(bands)):
        axes.axhline(edge * size - 0.5, color=INK, linewidth=1.0)
    axes.set_yticks([size * (band + 0.5) - 0.5 for band in range(len(bands))], list(tracks))
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel(f"gate, {size} units each", color=INK)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=INK)
    return axes


def confusion(table: ArrayLike, *, names: Sequence[object] | None = None, ax: Any = None, title: str = "") -> Any:
    """Draw which classes were taken for which: a cell for each pair, with its count.

    Parameters
    ----------
    table : array of int (C, C)
        Row: the true class; column: the predicted one.
    names : sequence, optional
        Of the classes; None: 0, 1, 2, ...
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.

    Returns
    -------
    Axes
        Blue is right, red is wrong; the darkest of each is its largest share of a row. Nothing is shown or written:
        `axes.figure.savefig("confusion.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        `table` is not square, or `names` do not fit it.

    Examples
    --------
    >>> import numrnn
    >>> axes = numrnn.plot.confusion([[9, 1], [0, 7]], names=["calm", "storm"])  # doctest: +SKIP
    """
    head = "plot.confusion"
    counts = np.asarray(table)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        problem = f"`table` has shape {counts.shape}, expected (classes, classes)."
        raise ValueError(explain(head, problem, "Row: the true class; column: the predicted one."))
    size = len(counts)
    words = [str(name) for name in (range(size) if names is None else names)]
    if len(words) != size:
        raise ValueError(explain(head, f"`names` has {len(words)} names, `table` {size} classes."))
    axes = new_axes((1.8 + 0.4 * size, 1.5 + 0.36 * size)) if ax is None else ax
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(size, dtype=bool)
    worst = max(0.05, float(share[~right].max(initial=0.0)))
    shade = np.where(right, -share, share / worst)
    axes.imshow(shade, cmap="RdBu_r", vmin=-1.6, vmax=1.6, interpolation="nearest", origin="upper")
    for row, column in np.argwhere(counts):
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", fontsize="small", color=INK)
    axes.set_xticks(range(size), words)
    axes.set_yticks(range(size), words)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    axes.spines[:].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize="small", length=0)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=INK)
    return axes


def _heat_map(axes: Any, steps: NDArray[Any], limit: float) -> None:
    """Draw (T, units), unit 0 on top, with the scale beside it."""
    image = axes.imshow(
        steps.T, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest", origin="upper"
    )
    axes.set_xlabel("step", color=INK)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(colors=INK, labelsize="small")
    axes.spines[:].set_color(SOFT)
    scale = axes.figure.colorbar(image, ax=axes, pad=0.02)
    scale.outline.set_edgecolor(SOFT)
    scale.ax.tick_params(colors=INK, labelsize="small")
