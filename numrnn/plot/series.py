"""A series, and what was predicted of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numrnn._errors import explain
from numrnn.nn.arguments import count
from numrnn.plot.curves import draw_losses
from numrnn.plot.frame import COLOURS, INK, SHADE, SOFT, dress, figure_module, new_axes

__all__ = ["forecast", "predictions"]

_HEAD = "plot.predictions"
_BANDS = (
    "#f3cfc9",
    "#e6a398",
    "#d97768",
)  # from the widest inwards; not transparent, so that legends show what is drawn
_FEW = 150  # points that are worth a mark each


def predictions(
    truth: ArrayLike,
    prediction: ArrayLike | Mapping[str, ArrayLike],
    *,
    levels: Sequence[float] | None = None,
    start: int | None = None,
    held_out: int | None = None,
    x: ArrayLike | None = None,
    ax: Any = None,
    title: str = "",
) -> Any:
    """Draw a series and predictions of it; of quantiles a band.

    Parameters
    ----------
    truth : array (T,)
        What was observed.
    prediction : array (K,), or (K, Q) of the quantiles `levels`; or a mapping of str to array (K,)
        K successive numbers. Of a mapping, the first is drawn foremost; names stand in the legend.
    levels : sequence of float, optional
        Levels of quantiles, rising, between 0 and 1. The first and the last bound a band, and so on inwards; what is
        left in the middle is a line.
    start : int, optional
        The step of the first prediction, counted from the first of `truth`; T is the step after its end. None: the
        last prediction belongs to the last step of `truth`.
    held_out : int, optional
        The first step that the model was not trained on: the picture is shaded from there.
    x : array, optional
        Where the steps stand on the axis of time, for example years; one a step, those of predictions included. None:
        0, 1, 2, ...
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.

    Returns
    -------
    Axes
        Nothing is shown or written: `axes.figure.savefig("predictions.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        Arrays that do not fit together, or levels that do not rise.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> truth = np.sin(np.arange(60.0))
    >>> quantiles = truth[40:, None] + [-0.2, 0.0, 0.2]
    >>> axes = numrnn.plot.predictions(truth, quantiles, levels=(0.1, 0.5, 0.9), held_out=40)  # doctest: +SKIP
    """
    observed = _read(truth, "truth", 1)
    named = prediction if isinstance(prediction, Mapping) else {"predicted": prediction}
    if not named:
        raise ValueError(explain(_HEAD, "`prediction` is an empty mapping.", "Pass at least one array."))
    if levels is not None and isinstance(prediction, Mapping):
        raise ValueError(explain(_HEAD, "`levels` was given with a mapping.", "Pass one array (K, Q)."))
    drawn = {
        name: _read(each, f"prediction[{name!r}]" if named is prediction else "prediction", 1 if levels is None else 2)
        for name, each in named.items()
    }
    if len({len(each) for each in drawn.values()}) > 1:
        shapes = ", ".join(f"{name!r} {each.shape}" for name, each in drawn.items())
        raise ValueError(explain(_HEAD, "predictions differ in their number of steps.", f"{shapes}."))
    n_steps = len(next(iter(drawn.values())))
    if start is None and n_steps > len(observed):
        problem = f"`prediction` has {n_steps} steps, `truth` {len(observed)}."
        raise ValueError(explain(_HEAD, problem, "Pass `start`, the step of the first prediction."))
    first = len(observed) - n_steps if start is None else count(_HEAD, "start", start, least=0)
    places = _places(x, max(len(observed), first + n_steps))
    bounds = None if levels is None else _levels(levels, next(iter(drawn.values())))

    axes = new_axes((9, 3.4)) if ax is None else ax
    if held_out is not None:
        _shade(axes, places, count(_HEAD, "held_out", held_out, least=0))
    mark = {"marker": "o", "markersize": 3} if len(observed) <= _FEW else {}
    axes.plot(places[: len(observed)], observed, color=INK, linewidth=1.3, label="observed", zorder=2.5, **mark)
    here = places[first : first + n_steps]
    if bounds is None:
        for (name, each), style in zip(drawn.items(), _styles(len(drawn)), strict=True):
            axes.plot(here, each, label=name, **style)
    else:
        _draw_quantiles(axes, here, next(iter(drawn.values())), bounds)
    axes.set_xlim(*_ends(places))
    axes.margins(y=0.15)
    axes.legend(frameon=False, ncols=4, loc="upper left", fontsize="small")
    dress(axes, title)
    return axes


def _read(values: Any, name: str, ndim: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != ndim:
        axes = "(steps,)" if ndim == 1 else "(steps, quantiles)"
        advice = "Of (steps, 1), pass [:, 0]." if ndim == 1 else "Without quantiles leave `levels` out."
        if ndim == 1 and name == "prediction" and array.ndim == 2 and array.shape[1] > 1:
            advice = "Of quantiles, pass `levels`."
        problem = f"`{name}` has {array.ndim} axes, expected {ndim}: {axes}."
        raise ValueError(explain(_HEAD, problem, f"{name}.shape = {array.shape}.", advice))
    if not len(array):
        raise ValueError(explain(_HEAD, f"`{name}` has no steps."))
    return array


def _places(x: Any, n_steps: int) -> NDArray[Any]:
    if x is None:
        return np.arange(n_steps)
    places = np.asarray(x)
    if places.shape != (n_steps,):
        problem = f"`x` has shape {places.shape}, expected ({n_steps},): one place a step."
        raise ValueError(explain(_HEAD, problem, "Steps are those of `truth` and of predictions after its end."))
    return places


def _levels(levels: Sequence[float], quantiles: NDArray[Any]) -> list[float]:
    read = [float(level) for level in levels]
    if not all(0.0 < level < 1.0 for level in read) or any(np.diff(read) <= 0.0):
        raise ValueError(explain(_HEAD, f"`levels` should rise between 0 and 1, got {read}."))
    if quantiles.shape[1] != len(read):
        problem = f"`prediction` has {quantiles.shape[1]} quantiles, `levels` {len(read)}."
        raise ValueError(explain(_HEAD, problem, f"prediction.shape = {quantiles.shape}."))
    return read


def _styles(n: int) -> list[dict[str, Any]]:
    """The first of several lines is drawn foremost and whole."""
    others = [{"linewidth": 1.3, "linestyle": (0, (4, 2)), "color": COLOURS[k % len(COLOURS)]} for k in range(1, n)]
    return [{"linewidth": 2.0, "zorder": 3, "color": COLOURS[0]}, *others]


def _ends(places: NDArray[Any]) -> tuple[Any, Any]:
    """Half a step before the first place, and half a step after the last."""
    if len(places) < 2:
        return places[0] - 0.5, places[0] + 0.5
    return places[0] - (places[1] - places[0]) / 2, places[-1] + (places[-1] - places[-2]) / 2


def _shade(axes: Any, places: NDArray[Any], first: int) -> None:
    """Shade from half a step before `first` to the end."""
    if first < len(places):
        left, right = _ends(places)
        if first:
            left = places[first] - (places[first] - places[first - 1]) / 2
        axes.axvspan(left, right, color=SHADE, zorder=0)


def _draw_quantiles(axes: Any, places: NDArray[Any], quantiles: NDArray[Any], levels: Sequence[float]) -> None:
    n_bands, single = divmod(len(levels), 2)
    for k in range(n_bands):
        label = f"{100 * levels[k]:g} % to {100 * levels[-1 - k]:g} %"
        low, high = quantiles[:, k], quantiles[:, -1 - k]
        axes.fill_between(
            places, low, high, color=_BANDS[min(k, len(_BANDS) - 1)], linewidth=0.0, label=label, zorder=2
        )
    if single:
        middle = levels[n_bands]
        label = "median" if middle == 0.5 else f"{100 * middle:g} %"
        axes.plot(places, quantiles[:, n_bands], color=COLOURS[0], linewidth=1.8, label=label, zorder=3)


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
    figure = figure_module().Figure(figsize=(11, 6.2), dpi=150, layout="constrained")
    top, below, loss = figure.subplot_mosaic([["top", "top"], ["below", "loss"]], height_ratios=(2.2, 1)).values()
    shown = series[0] >= years[0] - 25
    all_years, truth = series[0][shown], series[1][shown]
    title = "Sunspots, one year ahead; the shaded years were held out"
    predictions(truth, forecasts, held_out=len(truth) - len(years), x=all_years, ax=top, title=title)
    top.set_ylabel("sunspot number")
    top.set_ylim(0, 1.2 * np.max(truth))  # room for the legend

    for values, style in zip(forecasts.values(), _styles(len(forecasts)), strict=True):
        below.plot(years, values - truth[-len(years) :], **style)
    below.axhline(0.0, color=SOFT, linewidth=0.8)
    below.set_xlim(years[0] - 0.5, years[-1] + 0.5)
    dress(below, "forecast minus observed")
    draw_losses(loss, {"loss": losses})
    dress(loss, "training loss")
    figure.savefig(path)
