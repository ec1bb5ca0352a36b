"""Pictures; needs matplotlib, which the extra `plot` brings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check", "forecast"]

_INK, _SOFT = "#22272e", "#9aa4b1"
_COLOURS = ("#c8402f", "#2f6fb0", "#5b8c3a", "#8a5ba6")


def _figure_module() -> Any:
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError('Drawing needs matplotlib: pip install "numrnn[plot]"') from error


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
