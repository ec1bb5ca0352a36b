"""Interleaved measurement: all libraries are set up, their results compared, then they take turns at short bursts."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.bench.caches import levels
from numrnn.bench.cases import Case
from numrnn.bench.ceilings import Ceilings
from numrnn.bench.processes import Worker, WorkerError
from numrnn.bench.roofline import Bound, Machine, bound_of, thread_counts

__all__ = ["Outcome", "Timing", "largest_difference", "measure"]

SAMPLE_SECONDS = 0.5e-3  # shorter calls are timed in groups
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}  # of scale, between two libraries


@dataclass(slots=True)
class Timing:
    """One library on one case."""

    version: str
    seconds: list[float] = field(default_factory=list)
    difference: float = 0.0

    @property
    def minimum(self) -> float:
        """The fastest sample."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.seconds)


@dataclass(slots=True)
class Outcome:
    """One case: the libraries that were measured, why others were not, and the peaks seen in the whole run.

    `twin` is numrnn alone on the dense twin of a ragged case, measured in turn with it. `bound` is the time that our
    calls cannot undercut on `machine`, where a roofline was asked for.
    """

    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    mismatches: dict[str, str] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    twin: Outcome | None = None
    bound: Bound | None = None
    machine: Machine | None = None

    def ratio(self, statistic: str) -> tuple[float, str] | None:
        """Time of the fastest peer over ours, and that peer's name; above 1 numrnn is ahead."""
        peers = {name: getattr(timing, statistic) for name, timing in self.timings.items() if name != "numrnn"}
        if not peers or "numrnn" not in self.timings:
            return None
        fastest = min(peers, key=peers.__getitem__)
        return peers[fastest] / getattr(self.timings["numrnn"], statistic), fastest

    def over_dense(self, statistic: str) -> float | None:
        """Our time for each step of a ragged case over the dense twin's; 1 is proportional to the sum of lengths."""
        if self.twin is None or not all("numrnn" in outcome.timings for outcome in (self, self.twin)):
            return None
        ragged, dense = (
            getattr(outcome.timings["numrnn"], statistic) / outcome.case.steps for outcome in (self, self.twin)
        )
        return float(ragged / dense)

    @property
    def gflops(self) -> float | None:
        """Our rate in the fastest sample."""
        ours = self.timings.get("numrnn")
        return None if ours is None else self.case.flops / ours.minimum * 1e-9

    @property
    def share_of_peak(self) -> float | None:
        """Our rate over the highest rate of fused multiply-adds seen in the run, in the case's dtype."""
        if self.gflops is None or not self.peaks:
            return None
        return self.gflops / max(self.peaks)

    def share_of_bound(self, statistic: str) -> float | None:
        """The bound over our time; 1 cannot be reached."""
        if self.bound is None or "numrnn" not in self.timings:
            return None
        return self.bound.seconds / float(getattr(self.timings["numrnn"], statistic))


@dataclass(frozen=True, slots=True)
class _Player:
    """A library that takes turns on a case; a sample is `number` calls."""

    outcome: Outcome
    name: str
    worker: Worker
    number: int


def largest_difference(theirs: dict[str, NDArray[Any]], ours: dict[str, NDArray[Any]]) -> tuple[float, str]:
    """Largest |theirs - ours| over the largest |ours| of the same array, and that array's name; inf if one is missing.

    Examples
    --------
    >>> import numpy as np
    >>> largest_difference({"h_n": np.array([1.0, 2.5])}, {"h_n": np.array([1.0, 2.0])})
    (0.25, 'h_n')
    """
    worst, where = 0.0, "nothing"
    for name, expected in ours.items():
        got = theirs.get(name)
        if got is None or got.shape != expected.shape:
            return math.inf, name
        if expected.size == 0:
            continue
        difference = float(np.max(np.abs(got - expected)) / max(float(np.max(np.abs(expected))), 1e-30))
        if not difference <= worst:  # also true for NaN
            worst, where = difference, name
    return worst, where


def measure(
    cases: Sequence[Case],
    peers: Sequence[str],
    *,
    threads: int,
    repeats: int,
    burst_seconds: float,
    roofline: bool = False,
) -> tuple[list[Outcome], dict[str, str]]:
    """Measure numrnn and `peers` on each case.

    Parameters
    ----------
    cases
        What to measure.
    peers
        Libraries besides numrnn.
    threads
        Threads for each of them.
    repeats
        How many turns each library has.
    burst_seconds
        How long a turn lasts; at least one call.
    roofline
        Whether the machine's ceilings are measured too, once for each of our turns, and each case gets its bound.

    Returns
    -------
    list of Outcome
        One for each case.
    dict
        Libraries that could not be loaded, with the reason.
    """
    absent: dict[str, str] = {}
    outcomes = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="numrnn-bench-")))
        workers: dict[str, Worker] = {}
        versions: dict[str, str] = {}
        for name in ("numrnn", *peers):
            _notice(f"loading {name}")
            worker = stack.enter_context(Worker(name, threads))
            try:
                versions[name] = worker.ask("load")["version"]
                workers[name] = worker
            except WorkerError as error:
                absent[name] = str(error)
        dense = {}
        if "numrnn" in workers and any(case.shortest is not None for case in cases):
            dense["numrnn"] = stack.enter_context(Worker("numrnn", threads))
            dense["numrnn"].ask("load")
        peaks: dict[str, list[float]] = {case.dtype: [] for case in cases}
        gauge = _Gauge(threads) if roofline else None
        for number, case in enumerate(cases, 1):
            _notice(f"[{number}/{len(cases)}] {case}")
            outcome = Outcome(case, peaks=peaks[case.dtype])
            outcomes.append(outcome)
            players = list(_set_up(outcome, workers, versions, folder))
            if case.shortest is not None:
                outcome.twin = Outcome(case.dense_twin, peaks=outcome.peaks)
                players += _set_up(outcome.twin, dense, versions, folder)
            _take_turns(players, repeats, burst_seconds, gauge)
        if gauge is not None:
            gauge.bound_all(outcomes)
    return outcomes, absent


def _set_up(outcome: Outcome, workers: dict[str, Worker], versions: dict[str, str], folder: Path) -> Iterator[_Player]:
    """Prepare the case in every library and compare results; yields those that can take turns."""
    ours: dict[str, NDArray[Any]] = {}
    for name, worker in workers.items():
        path = folder / f"{name}.npz"
        try:
            seconds = worker.ask("prepare", case=outcome.case.as_dict(), path=str(path))["seconds"]
        except WorkerError as error:
            outcome.refusals[name] = str(error)
            continue
        with np.load(path) as stored:
            arrays = dict(stored)
        path.unlink()
        timing = outcome.timings[name] = Timing(versions[name])
        if name == "numrnn":
            ours = arrays
        elif ours:
            timing.difference, where = largest_difference(arrays, ours)
            if not timing.difference <= TOLERANCE[outcome.case.dtype]:
                outcome.mismatches[name] = f"`{where}` differs by {timing.difference:.1e} of its scale"
        yield _Player(outcome, name, worker, max(1, math.ceil(SAMPLE_SECONDS / seconds)))


class _Gauge:
    """Collects the machine's ceilings for every dtype and number of threads that the cases have."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._found: dict[tuple[str, int], Ceilings] = {}

    def measure(self, case: Case, worker: Worker) -> None:
        """Measure once more what a case needs."""
        for n in thread_counts(case, self._threads):
            now = Ceilings(**worker.ask("ceilings", threads=n, dtype=case.dtype))
            before = self._found.get((case.dtype, n), now)
            self._found[case.dtype, n] = Ceilings.best((before, now))

    def bound_all(self, outcomes: list[Outcome]) -> None:
        """Give each case that was measured its bound, from the best ceilings of the whole run."""
        caches, source = levels()
        for outcome in outcomes:
            dtype = outcome.case.dtype
            if "numrnn" in outcome.timings:
                found = {n: each for (name, n), each in self._found.items() if name == dtype}
                outcome.machine = Machine(caches, source, found)
                outcome.bound = bound_of(outcome.case, self._threads, outcome.machine)


def _take_turns(players: list[_Player], repeats: int, burst_seconds: float, gauge: _Gauge | None) -> None:
    """Bursts in turn, one process busy at a time; the peak, and for a roofline more, is measured between them."""
    for turn in range(repeats):
        _notice(f"    turn {turn + 1}/{repeats}", passing=True)
        for player in list(players):
            outcome, name, worker = player.outcome, player.name, player.worker
            try:
                reply = worker.ask("burst", number=player.number, length=burst_seconds)
                outcome.timings[name].seconds += reply["seconds"]
                if name == "numrnn":
                    outcome.peaks.append(worker.ask("peak", dtype=outcome.case.dtype)["gflops"])
                    if gauge is not None:
                        gauge.measure(outcome.case, worker)
            except WorkerError as error:
                outcome.refusals[name] = str(error)
                del outcome.timings[name]
                players.remove(player)
    _notice("", passing=True)


def _notice(text: str, *, passing: bool = False) -> None:
    """Progress on stderr; a passing line is overwritten, and left out where stderr is no terminal."""
    if not passing:
        print(text, file=sys.stderr, flush=True)
    elif sys.stderr.isatty():
        print(f"\r{text:<40}\r", end="", file=sys.stderr, flush=True)
