"""What all pictures share: matplotlib, colours, new axes, and whether a file can be written."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["COLOURS", "INK", "SHADE", "SOFT", "check", "dress", "figure_module", "new_axes"]

INK, SOFT, SHADE = "#22272e", "#9aa4b1", "#f1f3f6"
COLOURS = ("#c8402f", "#2f6fb0", "#5b8c3a", "#8a5ba6")


def figure_module() -> Any:
    """Import matplotlib's figures, which draw without a screen."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError('Drawing needs matplotlib: pip install "numrnn[plot]"') from error


def new_axes(size: tuple[float, float]) -> Any:
    """Make axes in a figure of their own, `size` inches wide and high."""
    return figure_module().Figure(figsize=size, dpi=110, layout="constrained").subplots()


def dress(axes: Any, title: str = "") -> None:
    """Take away what distracts, and put the title where all pictures have it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize="small")
    if title:
        axes.set_title(title, loc="left", fontsize="medium", color=INK)


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
    canvas = figure_module().Figure().canvas
    file = Path(path)
    formats = sorted(canvas.get_supported_filetypes())
    if file.suffix[1:].lower() not in formats:
        raise ValueError(f"Cannot draw into {str(path)!r}: the name should end with one of {', '.join(formats)}.")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"Cannot draw into {str(path)!r}: there is no folder {str(file.parent)!r}.")
