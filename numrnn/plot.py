"""Pictures; needs matplotlib, which the extra `plot` brings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn.nn.internals import Internals

__all__ = ["check", "forecast", "gates", "roofline", "states"]

_INK, _SOFT = "#22272e", "#9aa4b1"
_COLOURS = ("#c8402f", "#2f6fb0", "#5b8c3a", "#8a5ba6")


def _figure_module() -> Any:
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError('Drawing needs matplotlib: pip install "numrnn[plot]"') from error


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
    axes = _new_axes((7, 2.6)) if ax is None else ax
    _heat_map(axes, shown, np.max(np.abs(shown), initial=0.0) or 1.0 if limit is None else limit)
    axes.set_ylabel("unit", color=_INK)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=_INK)
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
    axes = _new_axes((7, 4.4)) if ax is None else ax
    _heat_map(axes, np.concatenate(bands, axis=1), 1.0)
    for edge in range(1, len(bands)):
        axes.axhline(edge * size - 0.5, color=_INK, linewidth=1.0)
    axes.set_yticks([size * (band + 0.5) - 0.5 for band in range(len(bands))], list(tracks))
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel(f"gate, {size} units each", color=_INK)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=_INK)
    return axes


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
    colours = [_COLOURS[kinds.index(name.partition(" ")[0]) % len(_COLOURS)] for name in bounds]
    axes = _new_axes((8, 1.0 + 0.3 * len(cases))) if ax is None else ax
    places = np.arange(len(cases))
    axes.barh(places, shares, height=0.7, color=colours)
    axes.axvline(100.0, color=_INK, linewidth=1.0)
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
            color="white" if inside else _INK,
        )
    names = [f"{case['cell']} {','.join(map(str, case['shape']))} {case['mode']}" for case in cases]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, max(105.0, *shares))
    axes.set_xlabel("bound / measured time, %", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_SOFT)
    axes.tick_params(colors=_INK, labelsize="small")
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=_INK)
    return axes


def _new_axes(size: tuple[float, float]) -> Any:
    return _figure_module().Figure(figsize=size, dpi=110, layout="constrained").subplots()


def _heat_map(axes: Any, steps: NDArray[Any], limit: float) -> None:
    """Draw (T, units), unit 0 on top, with the scale beside it."""
    image = axes.imshow(
        steps.T, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest", origin="upper"
    )
    axes.set_xlabel("step", color=_INK)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(colors=_INK, labelsize="small")
    axes.spines[:].set_color(_SOFT)
    scale = axes.figure.colorbar(image, ax=axes, pad=0.02)
    scale.outline.set_edgecolor(_SOFT)
    scale.ax.tick_params(colors=_INK, labelsize="small")


def check(path: str | Path) -> None:
    """Raise if a picture could not be written to `path`, before the work of making one.

    Parameters
    ----------
    path : str or Path
        A file name whose ending says the format: .png, .svg, .pdf.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        An ending that matplotlib does not know.
    FileNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> from numrnn import plot
    >>> plot.check("forecast.png")  # doctest: +SKIP
    """
    canvas = _figure_module().Figure().canvas
    file = Path(path)
    formats = sorted(canvas.get_supported_filetypes())
    if file.suffix[1:].lower() not in formats:
        raise ValueError(f"Cannot draw into {str(path)!r}: the name should end with one of {', '.join(formats)}.")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"Cannot draw into {str(path)!r}: there is no folder {str(file.parent)!r}.")


def forecast(
    path: str | Path,
    series: tuple[NDArray[Any], NDArray[Any]],
    years: NDArray[Any],
    forecasts: Mapping[str, NDArray[Any]],
    losses: Sequence[float],
) -> None:
    """Draw forecasts against the truth, and the loss of the training before.

    Parameters
    ----------
    path : str or Path
        The file to write; its ending says the format.
    series : pair of array
        Years and numbers, those before the forecast included.
    years : array (N,)
        The years of the forecasts, at the end of the series.
    forecasts : mapping of str to array (N,)
        By the names of the legend, the most important first.
    losses : sequence of float
        One an epoch.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import plot
    >>> years = np.arange(1990, 2000)
    >>> plot.forecast("x.png", (years, years), years[5:], {"linear": years[5:]}, [2.0, 1.0])  # doctest: +SKIP
    """
    figure = _figure_module().Figure(figsize=(11, 6.2), dpi=150, layout="constrained")
    top, below, loss = figure.subplot_mosaic([["top", "top"], ["below", "loss"]], height_ratios=(2.2, 1)).values()
    all_years, truth = series
    shown = all_years >= years[0] - 25
    held_out = np.isin(all_years, years)

    top.axvspan(years[0] - 0.5, years[-1] + 0.5, color="#f1f3f6", zorder=0)
    top.plot(all_years[shown], truth[shown], color=_INK, linewidth=1.4, marker="o", markersize=3, label="observed")
    for (name, values), colour in zip(forecasts.items(), _COLOURS, strict=False):
        first = colour == _COLOURS[0]
        style = {"linewidth": 2.0, "zorder": 3} if first else {"linewidth": 1.3, "linestyle": (0, (4, 2))}
        top.plot(years, values, color=colour, label=name, **style)
        below.plot(years, values - truth[held_out], color=colour, **style)
    top.set_title("Sunspots, one year ahead; the shaded years were held out", loc="left", color=_INK)
    top.set_ylabel("sunspot number")
    top.set_xlim(all_years[shown][0] - 0.5, years[-1] + 0.5)
    top.set_ylim(0, 1.2 * np.max(truth[shown]))  # room for the legend
    top.legend(frameon=False, ncols=3, loc="upper left")

    below.axhline(0.0, color=_SOFT, linewidth=0.8)
    below.set_title("forecast minus observed", loc="left", fontsize="medium", color=_INK)
    below.set_xlim(years[0] - 0.5, years[-1] + 0.5)
    loss.plot(np.arange(1, len(losses) + 1), losses, color=_COLOURS[0], linewidth=1.6)
    loss.set_yscale("log")
    loss.set_title("training loss", loc="left", fontsize="medium", color=_INK)
    loss.set_xlabel("epoch")
    for axes in (top, below, loss):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_SOFT)
        axes.tick_params(colors=_INK, labelsize="small")
    figure.savefig(path)
