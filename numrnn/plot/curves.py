"""Curves of a training: losses over epochs, and norms of gradients over time steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from numrnn._errors import explain
from numrnn.plot.frame import COLOURS, INK, SOFT, dress, new_axes
from numrnn.training.history import History

__all__ = ["draw_losses", "gradient_norms", "history"]

_WIDE = 10.0  # times the smallest loss, from where on a linear axis hides the end of the training
_NAMES = {"loss": "training loss", "val_loss": "validation loss"}


def history(history: History | Mapping[str, Sequence[float]], *, ax: Any = None, title: str = "") -> Any:
    """Draw the losses of a training over its epochs, the best epoch marked, and the learning rate if it changed.

    Parameters
    ----------
    history : History, or a mapping of str to numbers
        What `numrnn.fit` returned; "loss", and "val_loss" and "lr" where they are.
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.

    Returns
    -------
    Axes
        That of the losses; logarithmic where the largest is more than 10 times the smallest. Nothing is shown or
        written: `axes.figure.savefig("history.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        No epoch has ended.

    Notes
    -----
    The best epoch is that of the lowest validation loss, or training loss where there is no other. The training loss is
    the mean over an epoch's batches, each before its step; the validation loss belongs to the end of the epoch.

    Examples
    --------
    >>> import numrnn
    >>> history = {"loss": [2.0, 1.0, 0.6], "val_loss": [1.8, 1.2, 1.3]}
    >>> axes = numrnn.plot.history(history)  # doctest: +SKIP
    """
    recorded = {name: list(history[name]) for name in ("loss", "val_loss", "lr") if name in history}
    losses = {name: values for name, values in recorded.items() if name != "lr"}
    if not any(losses.values()):
        raise ValueError(explain("plot.history", "there is no epoch to draw.", "Pass what numrnn.fit returned."))
    axes = new_axes((7, 3.4)) if ax is None else ax
    draw_losses(axes, losses)
    _mark_best(axes, losses.get("val_loss") or losses["loss"])
    rates = recorded.get("lr", [])
    handles, labels = axes.get_legend_handles_labels()
    if len(set(rates)) > 1:
        right = axes.twinx()
        style = {"linewidth": 1.2, "linestyle": (0, (4, 2)), "drawstyle": "steps-mid"}
        right.plot(np.arange(1, len(rates) + 1), rates, color=SOFT, **style)
        right.set_ylabel("learning rate", color=SOFT)
        right.set_ylim(bottom=0.0)
        dress(right)
        right.tick_params(axis="y", colors=SOFT)
    if len(labels) > 1:
        axes.legend(handles, labels, frameon=False, loc="upper right", fontsize="small")
    axes.set_ylabel(labels[0] if len(labels) == 1 else "loss", color=INK)
    dress(axes, title)
    return axes


def draw_losses(axes: Any, losses: Mapping[str, Sequence[float]]) -> None:
    """Draw losses over epochs counted from 1; logarithmic where the range asks for it."""
    for (name, values), colour in zip(losses.items(), COLOURS[1::-1], strict=False):
        epochs = np.arange(1, len(values) + 1)
        mark = {"marker": "o", "markersize": 3} if len(values) <= 30 else {}
        axes.plot(epochs, values, color=colour, linewidth=1.6, label=_NAMES.get(name, name), **mark)
    finite = [value for values in losses.values() for value in values if math.isfinite(value)]
    if finite and min(finite) > 0.0 and max(finite) > _WIDE * min(finite):
        axes.set_yscale("log")
    axes.set_xlabel("epoch", color=INK)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _mark_best(axes: Any, values: Sequence[float]) -> None:
    """Mark the lowest of the losses, if one is finite."""
    if not any(math.isfinite(value) for value in values):
        return
    best = int(np.nanargmin([value if math.isfinite(value) else math.nan for value in values]))
    axes.plot([best + 1], [values[best]], color=INK, marker="o", markersize=6, fillstyle="none", linestyle="none")
    late = best + 1 > 0.6 * len(values)
    axes.annotate(
        f"epoch {best + 1}: {values[best]:.3g}",
        (best + 1, values[best]),
        (-8 if late else 8, 10),
        textcoords="offset points",
        ha="right" if late else "left",
        fontsize="small",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )


def gradient_norms(norms: ArrayLike | Mapping[str, ArrayLike], *, ax: Any = None, title: str = "") -> Any:
    """Draw how gradients vanish or explode on their way back through time: their norm at each step, logarithmic.

    Parameters
    ----------
    norms : array (T,), or a mapping of str to array (T,)
        Such as `numrnn.plot.norms_over_time` gives; of several models a mapping, whose names stand in the legend.
    ax : matplotlib Axes, optional
        What to draw into; a new figure otherwise, which is `axes.figure` of the result.
    title : str, optional
        What stands above.

    Returns
    -------
    Axes
        A norm of 0 has no place on a logarithmic axis and leaves a gap. Nothing is shown or written:
        `axes.figure.savefig("norms.png")` does.

    Raises
    ------
    ImportError
        matplotlib is not installed; names the extra that brings it.
    ValueError
        An array that does not have one axis, or norms that are all 0 or NaN.

    Notes
    -----
    Bengio, Simard & Frasconi 1994, IEEE Transactions on Neural Networks 5(2): over T steps a gradient is multiplied by
    T matrices, so that it shrinks or grows exponentially unless a cell keeps it.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> axes = numrnn.plot.gradient_norms({"RNN": 0.7 ** np.arange(50)[::-1]})  # doctest: +SKIP
    """
    head = "plot.gradient_norms"
    named = norms if isinstance(norms, Mapping) else {"": norms}
    curves = {name: np.asarray(each, np.float64) for name, each in named.items()}
    for name, curve in curves.items():
        if curve.ndim != 1:
            label = f"`norms[{name!r}]`" if named is norms else "`norms`"
            problem = f"{label} has {curve.ndim} axes, expected 1: (time,)."
            raise ValueError(explain(head, problem, f"Its shape is {curve.shape}.", "See plot.norms_over_time."))
    if not any(np.any(curve > 0.0) for curve in curves.values()):
        raise ValueError(explain(head, "there is no norm above 0 to draw.", "All gradients are 0 or NaN."))
    axes = new_axes((7, 3.0)) if ax is None else ax
    for k, (name, curve) in enumerate(curves.items()):
        shown = np.where(curve > 0.0, curve, np.nan)
        axes.plot(np.arange(len(curve)), shown, color=COLOURS[k % len(COLOURS)], linewidth=1.6, label=name or None)
    axes.set_yscale("log")
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("norm of the gradient", color=INK)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=SOFT, linewidth=0.5, alpha=0.4)
    if any(curves):
        axes.legend(frameon=False, fontsize="small")
    dress(axes, title)
    return axes
