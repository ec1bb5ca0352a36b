"""What is told on stderr while training runs."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any, Protocol

from numrnn import _jit
from numrnn.kernels import launch

__all__ = ["Progress", "announce_compilation", "make_progress"]

_SECONDS_BETWEEN_LINES = 3.0


class Progress(Protocol):
    """Told after each batch and epoch."""

    def batch(self, done: int, of: int, epoch: int, loss: float) -> None:
        """`done` of `of` batches of an epoch (counted from 1) are done."""

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """An epoch is done."""

    def close(self) -> None:
        """Nothing more will come."""


class Silence:
    """Tells nothing."""

    def batch(self, done: int, of: int, epoch: int, loss: float) -> None:
        """Nothing."""

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, title: str, epochs: int) -> None:
        self._title, self._epochs = title, epochs
        self._start = self._shown = time.perf_counter()
        self._since: tuple[float, float] | None = None  # when the first batch was done, which may have compiled

    def batch(self, done: int, of: int, epoch: int, loss: float) -> None:
        """A line, if the last one is some seconds old."""
        if done < of:
            self._line(epoch - 1 + done / of, f"epoch {epoch} of {self._epochs}, batch {done} of {of}, loss {loss:.4g}")

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """A line, if the last one is some seconds old or this epoch is the last."""
        self._line(epoch, f"epoch {epoch} of {self._epochs}, {_shown(row)}", always=epoch == self._epochs)

    def close(self) -> None:
        """Nothing: lines are complete."""

    def _line(self, done: float, text: str, always: bool = False) -> None:
        now = time.perf_counter()
        if self._since is None:
            self._since = now, done
        if now - self._shown < _SECONDS_BETWEEN_LINES and not always:
            return
        self._shown = now
        begin, begun = self._since
        end = f" after {_duration(now - self._start)}"
        if done < self._epochs:
            left = (now - begin) / (done - begun) * (self._epochs - done) if done > begun else None
            end = "" if left is None else f", about {_duration(left)} left"
        print(f"{self._title}: {text}{end}", file=sys.stderr, flush=True)


class Bar:
    """tqdm's bar over epochs, with the batch within."""

    def __init__(self, tqdm: Any, title: str, epochs: int, first: int = 0) -> None:
        self._bar = tqdm(total=epochs, initial=first, desc=title, unit="epoch", file=sys.stderr)

    def batch(self, done: int, of: int, epoch: int, loss: float) -> None:
        """Move the bar by the share of the epoch that is done."""
        self._bar.set_postfix_str(f"batch {done}/{of}, loss {loss:.4g}", refresh=False)
        self._bar.update(round(epoch - 1 + done / of - self._bar.n, 6))

    def epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Put the bar where the epoch ends."""
        self._bar.set_postfix_str(_shown(row), refresh=False)
        self._bar.update(epoch - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def make_progress(kind: bool | str, title: str, epochs: int, first: int = 0) -> Progress:
    """Return what tells of `epochs` epochs, of which `first` are done.

    "auto" is tqdm's bar on a terminal or in a notebook where tqdm is installed, otherwise lines; False is nothing.
    """
    if kind is False:
        return Silence()
    try:
        tqdm: Any = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        tqdm = None
    notebook = "ipykernel" in sys.modules
    if tqdm is not None and (sys.stderr.isatty() or notebook):
        return Bar(tqdm, title, epochs, first)
    return Lines(title, epochs)


def announce_compilation(cells: set[str]) -> None:
    """Say that the first call takes long, where kernels of these cells have to be compiled first."""
    twins = [launch.WEIGHT_GRADIENT, launch.DENSE]
    for name in sorted(cells):
        twins += [launch.FORWARD[name], launch.BACKWARD[name]]
    if not _jit.DISABLED and not all(any(map(_jit.is_cached, pair)) for pair in twins):
        print("compiling kernels (first run only, about 15 s) ...", file=sys.stderr, flush=True)


def _shown(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("seconds", "lr"))


def _duration(seconds: float) -> str:
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"
