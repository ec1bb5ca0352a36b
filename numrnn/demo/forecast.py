"""`numrnn demo forecast`: sunspots one year ahead.

Several small models, alike but for their initial weights, are trained side by side on years up to 1958, and their
forecasts averaged. How many epochs are enough is found by a rehearsal that stops at 1908 and is judged on the fifty
years after it. The years from 1959 on are never seen before the forecast is final.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numrnn
from numrnn import callbacks, losses, optim
from numrnn.data import sunspots
from numrnn.demo.cells import CELLS, compile_kernels
from numrnn.demo.shapes import Words, show_shapes
from numrnn.demo.text import show_losses, sparkline
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel
from numrnn.training.progress import make_progress

__all__ = ["Scale", "Windows", "show"]

Numbers = NDArray[np.float64]

# window, size and rate were chosen by the error on the rehearsal's years
WINDOW = 9
HIDDEN_SIZE = 32
MEMBERS = 8
LEARNING_RATE = 5e-3
MAX_NORM = 1.0
MOST_EPOCHS = 300
PATIENCE = 40  # epochs that a rehearsal goes on without getting better
EPOCHS_AT_ONCE = 10  # of one model, before it is the next one's turn
THREADS = 1  # a step on a model this small is over before a second thread has joined in
REHEARSED_FROM, HELD_OUT_FROM = 1909, 1959


@dataclass(frozen=True, slots=True)
class Windows:
    """Pieces of the series: `WINDOW` numbers, and the one that follows."""

    years: NDArray[np.int64]  # (N,) of the number that follows
    before: Numbers  # (N, WINDOW)
    after: Numbers  # (N,)

    @classmethod
    def of(cls, years: NDArray[np.int64], numbers: Numbers) -> Windows:
        """All windows of a series."""
        before = np.lib.stride_tricks.sliding_window_view(numbers[:-1], WINDOW)
        return cls(years[WINDOW:], before, numbers[WINDOW:])

    def between(self, first: int, end: int) -> Windows:
        """Those whose target lies in the years from `first` to before `end`."""
        chosen = (self.years >= first) & (self.years < end)
        return Windows(self.years[chosen], self.before[chosen], self.after[chosen])

    def __str__(self) -> str:
        return f"{self.years[0]}-{self.years[-1]}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Square roots, which even out the spread of counts, at mean 0 and deviation 1 over the years it was made from."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, numbers: Numbers) -> Scale:
        """The scale of the years given."""
        roots = np.sqrt(numbers)
        return cls(float(roots.mean()), float(roots.std()))

    def apply(self, numbers: Numbers) -> Numbers:
        """From sunspot numbers to what a model reads."""
        return (np.sqrt(numbers) - self.mean) / self.deviation

    def undo(self, values: NDArray[Any]) -> Numbers:
        """From what a model says to sunspot numbers."""
        roots = np.asarray(values, np.float64) * self.deviation + self.mean
        return np.maximum(roots, 0.0) ** 2


class _Forecasts(callbacks.Callback):
    """Notes what a model forecasts after each epoch."""

    def __init__(self, x: NDArray[np.float32], scale: Scale) -> None:
        self._x, self._scale = x, scale
        self.noted: list[Numbers] = []

    def on_epoch_end(self, run: Any) -> None:
        """Forecast."""
        self.noted.append(self._scale.undo(run.model(self._x, n_threads=THREADS)[:, 0]))


class Ensemble:
    """Models that differ in their initial weights alone, trained on the same windows."""

    def __init__(self, cell: str, seed: int, windows: Windows, scale: Scale) -> None:
        make, first = CELLS[cell], 2 * MEMBERS * seed
        self.models = [
            SequenceModel(make(1, HIDDEN_SIZE, seed=k), Linear(HIDDEN_SIZE, 1, seed=k + MEMBERS))
            for k in range(first, first + MEMBERS)
        ]
        self.scale = scale
        self.x = self.inputs(windows)
        self._target = scale.apply(windows.after)[:, None]
        self._optimizers = [optim.Adam(model, lr=LEARNING_RATE) for model in self.models]

    def inputs(self, windows: Windows) -> NDArray[np.float32]:
        """The windows as a layer reads them: (time, batch, features)."""
        return np.ascontiguousarray(self.scale.apply(windows.before).T[:, :, None], np.float32)

    def train(self, epochs: int, watched: Windows | None = None) -> tuple[list[float], list[Numbers]]:
        """Train every model for some more epochs, all windows as one batch.

        Returns the mean loss of each epoch, and the mean forecast of the windows to watch after it.
        """
        course, noted = [], []
        for model, optimizer in zip(self.models, self._optimizers, strict=True):
            watching = [] if watched is None else [_Forecasts(self.inputs(watched), self.scale)]
            history = numrnn.fit(
                model,
                self.x,
                self._target,
                loss=losses.mse,
                optimizer=optimizer,
                epochs=epochs,
                batch_size=len(self._target),
                max_norm=MAX_NORM,
                callbacks=watching,
                n_threads=THREADS,
                progress=False,
                seed=0,
            )
            if history.stopped:  # by Ctrl-C
                raise KeyboardInterrupt
            course.append(history["loss"])
            noted.append([forecast for each in watching for forecast in each.noted])
        return [float(np.mean(values)) for values in zip(*course, strict=True)], [
            np.mean(forecasts, axis=0) for forecasts in zip(*noted, strict=True)
        ]

    def forecast(self, windows: Windows) -> Numbers:
        """The mean of all models' forecasts, in sunspot numbers."""
        x = self.inputs(windows)
        each = np.stack([self.scale.undo(model(x, n_threads=THREADS)[:, 0]) for model in self.models])
        return np.asarray(each.mean(axis=0), np.float64)


def show(options: argparse.Namespace) -> bool:
    """Train, forecast, and print all of it; return whether every identity that was checked held."""
    years, numbers = sunspots()
    windows = Windows.of(years, numbers)
    train, held_out = windows.between(0, HELD_OUT_FROM), windows.between(HELD_OUT_FROM, 9999)
    cell: str = options.cell
    ensemble = Ensemble(cell, options.seed, train, Scale.of(numbers[years < HELD_OUT_FROM]))
    model = ensemble.models[0]

    _show_data(years, numbers, train, held_out)
    _show_model(model, CELLS[cell].__name__)
    compile_kernels(model, ensemble.x, THREADS)
    words = Words("years", "windows", "number a year", ("prediction", "(N, 1): the head on the last state"))
    sound = show_shapes(model, ensemble.x, words, n_threads=THREADS)

    print(f"\nTraining, {MEMBERS} models side by side")
    epochs = options.epochs
    if epochs is None:
        epochs = _rehearse(cell, options.seed, windows, numbers[years < REHEARSED_FROM])
    course = _train(ensemble, epochs)
    print(f"  training    from new weights, on all years up to {HELD_OUT_FROM - 1}: {len(course)} epochs")
    show_losses({"loss": course})

    forecasts = {
        "persistence": held_out.before[:, -1],
        f"linear autoregression, {WINDOW} years": _autoregression(train, held_out, lambda n: n, lambda n: n),
        "the same on square roots": _autoregression(train, held_out, np.sqrt, lambda n: np.maximum(n, 0.0) ** 2),
        f"{cell.upper()}, mean of {MEMBERS}": ensemble.forecast(held_out),
    }
    _show_errors(forecasts, held_out)
    if options.plot is not None:
        _draw(options.plot, windows, held_out, forecasts, course)
    return sound


def _show_data(years: NDArray[np.int64], numbers: Numbers, train: Windows, held_out: Windows) -> None:
    print("Data")
    print(f"  yearly sunspot numbers: {len(years)} rows, {years[0]} to {years[-1]}, 0 to {numbers.max():.0f}")
    bars = sparkline(numbers, min(103, shutil.get_terminal_size().columns - 4))  # 103 is a bar for three years
    print(f"  {bars}")
    print(f"  {years[0]}{years[-1]:>{max(5, len(bars) - 4)}}")
    print(f"  trained on  {train}, {len(train.years)} windows of {WINDOW} years and the year that follows")
    print(f"  held out    {held_out}, {len(held_out.years)} windows")


def _show_model(model: SequenceModel, name: str) -> None:
    print("\nModel")
    print(f"  {model!r}")
    print(f"  {model.num_parameters} parameters; {MEMBERS} such models that differ in their seeds, forecasts averaged")
    print(f"  the {name} reads square roots of {WINDOW} years, the Linear its last state: the next year's root")


def _rehearse(cell: str, seed: int, windows: Windows, scaled_by: Numbers) -> int:
    """Find how many epochs are enough, on years before those held out."""
    train, judged = windows.between(0, REHEARSED_FROM), windows.between(REHEARSED_FROM, HELD_OUT_FROM)
    ensemble = Ensemble(cell, seed, train, Scale.of(scaled_by))
    errors: list[float] = []
    best = 0
    with closing(make_progress("auto", "rehearsal", MOST_EPOCHS)) as progress:
        while len(errors) < MOST_EPOCHS and len(errors) - best < PATIENCE:
            course, forecasts = ensemble.train(min(EPOCHS_AT_ONCE, MOST_EPOCHS - len(errors)), judged)
            errors += [_errors(forecast, judged.after)[0] for forecast in forecasts]
            best = int(np.argmin(errors)) + 1
            progress.epoch(len(errors), {"loss": course[-1]})
    print(f"  rehearsal   on {train}, judged on {judged}: best after {best} epochs, RMSE {errors[best - 1]:.1f}")
    return best


def _train(ensemble: Ensemble, epochs: int) -> list[float]:
    """Train; return the loss at each epoch."""
    course: list[float] = []
    with closing(make_progress("auto", "training", epochs)) as progress:
        while len(course) < epochs:
            course += ensemble.train(min(EPOCHS_AT_ONCE, epochs - len(course)))[0]
            progress.epoch(len(course), {"loss": course[-1]})
    return course


def _autoregression(
    train: Windows, held_out: Windows, there: Callable[[Numbers], Numbers], back: Callable[[Numbers], Numbers]
) -> Numbers:
    """Least squares over the same windows, forward and back through a transformation."""
    design = np.column_stack([there(train.before), np.ones(len(train.years))])
    weights = np.linalg.lstsq(design, there(train.after), rcond=None)[0]
    return back(there(held_out.before) @ weights[:-1] + weights[-1])


def _errors(forecast: Numbers, truth: Numbers) -> tuple[float, float]:
    """Root mean squared error and mean absolute error."""
    difference = forecast - truth
    return float(np.sqrt(np.mean(difference**2))), float(np.mean(np.abs(difference)))


def _show_errors(forecasts: dict[str, Numbers], held_out: Windows) -> None:
    """Print the table of errors; the last row is ours."""
    print(f"\nError on {held_out}, in sunspot numbers (their mean there: {held_out.after.mean():.0f})")
    width = max(map(len, forecasts))
    errors = {name: _errors(forecast, held_out.after) for name, forecast in forecasts.items()}
    print(f"  {'one year ahead':<{width}}     RMSE      MAE")
    for name, (squared, absolute) in errors.items():
        print(f"  {name:<{width}} {squared:>8.2f} {absolute:>8.2f}")
    *others, (ours, ours_absolute) = errors.values()
    gains = [f"{1.0 - ours / squared:.0%}" for squared, _ in others]
    if all(ours < squared and ours_absolute < absolute for squared, absolute in others):
        print(f"  Verdict: the network beats all of them; its RMSE is lower by {', '.join(gains)}.")
    else:
        beaten = [name for name, error in list(errors.items())[:-1] if ours < error[0] and ours_absolute < error[1]]
        print(f"  Verdict: the network does not beat all of them; it beats {', '.join(beaten) or 'none'}.")


def _draw(
    path: str, windows: Windows, held_out: Windows, forecasts: dict[str, Numbers], history: Sequence[float]
) -> None:
    names = list(forecasts)
    shown = {name: forecasts[name] for name in (names[-1], names[1])}
    labelled = {f"{name} (RMSE {_errors(each, held_out.after)[0]:.1f})": each for name, each in shown.items()}
    numrnn.plot.forecast(path, (windows.years, windows.after), held_out.years, labelled, history)
