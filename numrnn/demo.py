"""The `numrnn demo` command: forecasts sunspots one year ahead, and shows what a recurrent layer returns.

Several small models, alike but for their initial weights, are trained side by side on years up to 1958, and their
forecasts averaged. How many epochs are enough is found by a rehearsal that stops at 1908 and is judged on the fifty
years after it. The years from 1959 on are never seen before the forecast is final.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numrnn
from numrnn import _jit, losses, optim
from numrnn.data import sunspots
from numrnn.kernels import launch
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel

__all__ = ["add_arguments", "main"]

Numbers = NDArray[np.float64]

# window, size and rate were chosen by the error on the rehearsal's years
WINDOW = 9
HIDDEN_SIZE = 32
MEMBERS = 8
LEARNING_RATE = 5e-3
MAX_NORM = 1.0
MOST_EPOCHS = 300
PATIENCE = 40  # epochs that a rehearsal goes on without getting better
THREADS = 1  # a step on a model this small is over before a second thread has joined in
REHEARSED_FROM, HELD_OUT_FROM = 1909, 1959

_CELLS: dict[str, tuple[Callable[..., Any], str]] = {
    "lstm": (numrnn.LSTM, "lstm"),
    "gru": (numrnn.GRU, "gru"),
    "rnn": (numrnn.RNN, "rnn_tanh"),
}
_BARS = ("▁▂▃▄▅▆▇█", "_.-~=+*#")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options to a command line."""
    parser.add_argument("--cell", default="lstm", choices=tuple(_CELLS), help="default: lstm")
    parser.add_argument("--plot", metavar="FILE", help="draw the forecast into this file, for example forecast.png")
    parser.add_argument("--epochs", type=int, metavar="N", help="train for N epochs instead of finding out how many")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights (default: 0)")


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


class Ensemble:
    """Models that differ in their initial weights alone, trained on the same windows."""

    def __init__(self, cell: str, seed: int, windows: Windows, scale: Scale) -> None:
        make, first = _CELLS[cell][0], 2 * MEMBERS * seed
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

    def epoch(self) -> float:
        """Train every model once on all windows, as one batch; return the mean loss."""
        values = []
        for model, optimizer in zip(self.models, self._optimizers, strict=True):
            prediction, pullback = model.vjp(self.x, n_threads=THREADS)
            value, d_prediction = losses.mse(prediction, self._target)
            gradients, _ = optim.clip_by_global_norm(pullback(d_prediction, x_gradient=False), MAX_NORM)
            optimizer.step(gradients)
            values.append(value)
        return float(np.mean(values))

    def forecast(self, windows: Windows) -> Numbers:
        """The mean of all models' forecasts, in sunspot numbers."""
        x = self.inputs(windows)
        each = np.stack([self.scale.undo(model(x, n_threads=THREADS)[:, 0]) for model in self.models])
        return np.asarray(each.mean(axis=0), np.float64)


def main(options: argparse.Namespace) -> int:
    """Carry out the command; `options` are those of `add_arguments`.

    Returns
    -------
    int
        0; or 1 if one of the identities that are checked on the way did not hold.
    """
    if options.epochs is not None and options.epochs < 1:
        raise ValueError(f"--epochs {options.epochs}: expected 1 or more.")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: expected 0 or more.")
    if options.plot is not None:
        numrnn.plot.check(options.plot)  # before the work, not after it
    start = time.perf_counter()
    years, numbers = sunspots()
    windows = Windows.of(years, numbers)
    train, held_out = windows.between(0, HELD_OUT_FROM), windows.between(HELD_OUT_FROM, 9999)
    cell: str = options.cell
    ensemble = Ensemble(cell, options.seed, train, Scale.of(numbers[years < HELD_OUT_FROM]))

    _show_data(years, numbers, train, held_out)
    _show_model(ensemble.models[0], _CELLS[cell][0].__name__)
    _compile(cell, ensemble)
    sound = _show_shapes(ensemble.models[0], ensemble.x)

    print(f"\nTraining, {MEMBERS} models side by side")
    epochs = options.epochs
    if epochs is None:
        epochs = _rehearse(cell, options.seed, windows, numbers[years < REHEARSED_FROM])
    history = _train(ensemble, epochs)
    _show_training(history)

    forecasts = {
        "persistence": held_out.before[:, -1],
        f"linear autoregression, {WINDOW} years": _autoregression(train, held_out, lambda n: n, lambda n: n),
        "the same on square roots": _autoregression(train, held_out, np.sqrt, lambda n: np.maximum(n, 0.0) ** 2),
        f"{cell.upper()}, mean of {MEMBERS}": ensemble.forecast(held_out),
    }
    _show_errors(forecasts, held_out)
    if options.plot is not None:
        _draw(options.plot, windows, held_out, forecasts, history)
        print(f"\nDrawn into {options.plot}")
    print(f"\nAll of this took {time.perf_counter() - start:.1f} s.")
    return 0 if sound else 1


def _show_data(years: NDArray[np.int64], numbers: Numbers, train: Windows, held_out: Windows) -> None:
    print("Data")
    print(f"  yearly sunspot numbers: {len(years)} rows, {years[0]} to {years[-1]}, 0 to {numbers.max():.0f}")
    bars = _sparkline(numbers, min(103, shutil.get_terminal_size().columns - 4))  # 103 is a bar for three years
    print(f"  {bars}")
    print(f"  {years[0]}{years[-1]:>{max(5, len(bars) - 4)}}")
    print(f"  trained on  {train}, {len(train.years)} windows of {WINDOW} years and the year that follows")
    print(f"  held out    {held_out}, {len(held_out.years)} windows")


def _show_model(model: SequenceModel, name: str) -> None:
    print("\nModel")
    print(f"  {model!r}")
    print(f"  {model.num_parameters} parameters; {MEMBERS} such models that differ in their seeds, forecasts averaged")
    print(f"  the {name} reads square roots of {WINDOW} years, the Linear its last state: the next year's root")


def _compile(cell: str, ensemble: Ensemble) -> None:
    """Make every kernel that training needs, visibly where that takes long."""
    model, name = ensemble.models[0], _CELLS[cell][1]
    twins = (launch.FORWARD[name], launch.BACKWARD[name], launch.WEIGHT_GRADIENT, launch.DENSE)
    new = not all(_jit.is_cached(serial) for serial, _ in twins)
    if new:
        print("compiling kernels (first run only, about 15 s) ...", end=" ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    prediction, pullback = model.vjp(ensemble.x, n_threads=THREADS)
    pullback(np.zeros_like(prediction), x_gradient=False)
    if new:
        print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def _show_shapes(model: SequenceModel, x: NDArray[np.float32]) -> bool:
    """Print what a layer returns, and whether what should be equal is equal."""
    layer, readout = model.recurrent, model.readout
    assert isinstance(layer, numrnn.RNN | numrnn.LSTM | numrnn.GRU)
    assert readout is not None
    prediction = model(x, n_threads=THREADS)
    result = layer(x, n_threads=THREADS)
    assert result.output is not None
    (seq_len, batch_size, features), hidden = x.shape, layer.hidden_size
    rows = [
        ("x", x.shape, f"T={seq_len} years, N={batch_size} windows, I={features} number a year"),
        ("output", result.output.shape, f"(T, N, H): the top layer's hidden state at every step, H={hidden}"),
        ("h_n", result.h_n.shape, "(L, N, H): every layer's hidden state after the last step, L=1"),
    ]
    first = layer(x[:4], n_threads=THREADS)
    second = layer(x[4:], first.state, n_threads=THREADS)
    assert first.output is not None
    assert second.output is not None
    checks = [
        ("output[-1] == h_n[-1]", _same(result.output[-1], result.h_n[-1]), "the last step, seen twice"),
        ("last_output == h_n[-1]", _same(result.last_output, result.h_n[-1]), "what the head reads"),
        (
            "readout(last_output) == model(x)",
            _same(readout(result.last_output, n_threads=THREADS), prediction),
            "the model is no more",
        ),
        (
            "4 years, then 5 from `state` == all 9",
            _same(np.concatenate([first.output, second.output]), result.output) and _same(second.h_n, result.h_n),
            "the state is all that is remembered",
        ),
    ]
    if isinstance(layer, numrnn.LSTM):
        rows.append(("c_n", result.c_n.shape, "(L, N, H): every layer's cell state after the last step"))
        elsewhere = not np.any(np.all(result.output == result.c_n[-1], axis=(1, 2)))
        checks.append(("c_n is no step of output", elsewhere, "the cell state is memory, never shown"))
    rows.append(("prediction", prediction.shape, "(N, 1): the head on the last state"))
    print(f"\nShapes: result = {type(layer).__name__.lower()}(x)")
    for name, shape, meaning in rows:
        print(f"  {name:<11} {shape!s:<13} {meaning}")
    print("  checked on these arrays, bit for bit:")
    for claim, holds, meaning in checks:
        print(f"    {claim:<38} {'yes' if holds else 'NO'}   {meaning}")
    return all(holds for _, holds, _ in checks)


def _same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    return bool(np.array_equal(left, right))


def _rehearse(cell: str, seed: int, windows: Windows, scaled_by: Numbers) -> int:
    """Find how many epochs are enough, on years before those held out."""
    train, judged = windows.between(0, REHEARSED_FROM), windows.between(REHEARSED_FROM, HELD_OUT_FROM)
    ensemble = Ensemble(cell, seed, train, Scale.of(scaled_by))
    best, best_epoch = np.inf, 0
    with _progress("rehearsal", MOST_EPOCHS) as report:
        for epoch in range(1, MOST_EPOCHS + 1):
            loss = ensemble.epoch()
            error = _errors(ensemble.forecast(judged), judged.after)[0]
            if error < best:
                best, best_epoch = error, epoch
            elif epoch - best_epoch >= PATIENCE:
                break
            report(epoch, loss)
    print(f"  rehearsal   on {train}, judged on {judged}: best after {best_epoch} epochs, RMSE {best:.1f}")
    return best_epoch


def _train(ensemble: Ensemble, epochs: int) -> list[float]:
    """Train; return the loss at each epoch."""
    history = []
    with _progress("training", epochs) as report:
        for epoch in range(1, epochs + 1):
            history.append(ensemble.epoch())
            report(epoch, history[-1])
    return history


def _show_training(history: Sequence[float]) -> None:
    print(f"  training    from new weights, on all years up to {HELD_OUT_FROM - 1}: {len(history)} epochs")
    marks = sorted({round(epoch) for epoch in np.geomspace(1, len(history), 6)})
    print(f"    epoch {''.join(f'{mark:>8}' for mark in marks)}")
    print(f"    loss  {''.join(f'{history[mark - 1]:>8.3f}' for mark in marks)}   {_sparkline(history, 40)}")


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


def _sparkline(values: Sequence[float] | Numbers, width: int) -> str:
    """A series as a line of bars, each the mean of its share."""
    bars = _BARS[0]
    try:
        bars.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        bars = _BARS[1]
    shares = np.array([np.mean(share) for share in np.array_split(np.asarray(values), max(1, min(width, len(values))))])
    low, high = shares.min(), shares.max()
    heights = (shares - low) / (high - low if high > low else 1.0) * (len(bars) - 1)
    return "".join(bars[round(height)] for height in heights.tolist())


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """Show progress on stderr: tqdm's bar on a terminal where tqdm is installed, otherwise a line now and then."""
    try:
        tqdm = importlib.import_module("tqdm").tqdm if sys.stderr.isatty() else None
    except ImportError:
        tqdm = None
    if tqdm is not None:
        with tqdm(total=total, desc=title, unit="epoch", leave=False) as bar:

            def advance(_done: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()

            yield advance
        return
    start = shown = time.perf_counter()

    def line(done: int, loss: float) -> None:
        nonlocal shown
        now = time.perf_counter()
        if now - shown < 3.0 and done < total:
            return
        shown = now
        left = (now - start) / done * (total - done)
        print(f"{title}: epoch {done} of {total}, loss {loss:.3f}, at most {left:.0f} s left", file=sys.stderr)

    yield line
