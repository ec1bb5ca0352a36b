"""The roofline of a case: a time below which no call can come on this machine, and what forbids it.

A call is cut into phases, one after the other: forward (where the x side is computed ahead: it, then the steps),
backward through time, the gradient of x, the gradient of the weights. A phase takes at least as long as the slowest of

    arithmetic      its multiply-adds, at the rate measured on as many threads as it has
    from L1, ...    the bytes that come out of each cache, and of memory, at the rate of reading measured there
    chain           a step's sums wait for the step before, and a number's sum is one chain in a fixed order

as if these overlapped perfectly. Launches and meetings of threads overlap with nothing and are added. The bound is the
sum over the phases; its name is what most of it goes to.

Bytes are counted for the cut that the engine chooses: packed panels of weights, padding included, once a step and group
of rows, shared out where tasks share rows, and again for every further tile of rows; the tiles' other operand; what a
call reads, writes and keeps. Each such stream comes from the nearest cache that holds all that is touched between two
readings of one number: a longer walk finds nothing there (measured: the rate of reading falls at once where a set
outgrows a cache). A number from afar crosses every cache on its way. Writing counts as reading, once.

Not in it: activations (`Bound.activations` says what they cost by themselves; they hardly overlap with products),
tiles that are not full, addresses and table look-ups, packing's instructions, the latency of caches, misses of the
address translation, fresh pages from the system, and Python's part of a call. So 100 % is out of reach, and a call that
stands at 90 % of "weights from L3" has little to gain from better arithmetic. Where a set is a little larger than a
cache, part of it may stay there after all, and the bound be a few percent too high.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numrnn.bench.caches import Level
from numrnn.bench.cases import Case
from numrnn.bench.ceilings import MEMORY, Ceilings
from numrnn.bench.work import Phase, Stream, activations_of, phases_of

__all__ = ["Bound", "Machine", "bound_of", "thread_counts"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Caches, and the ceilings for each number of threads that some phase has."""

    levels: tuple[Level, ...]
    source: str
    ceilings: Mapping[int, Ceilings]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can carry."""
        return {
            "caches": [{"name": each.name, "bytes": each.size, "shared": each.shared} for each in self.levels],
            "cache_sizes_from": self.source,
            "ceilings": [self.ceilings[n].as_dict() for n in sorted(self.ceilings)],
        }


@dataclass(frozen=True, slots=True)
class Bound:
    """A time that no call can undercut.

    Attributes
    ----------
    seconds
        The time.
    name
        What most of it goes to.
    parts
        Seconds by what they go to; they add up to `seconds`.
    phases
        Seconds by phase, likewise.
    activations
        Seconds of the activations by themselves; not in `seconds`.
    threads
        The most that a phase has.
    """

    seconds: float
    name: str
    parts: dict[str, float]
    phases: dict[str, float]
    activations: float
    threads: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can carry."""
        return {name: getattr(self, name) for name in self.__slots__}


def thread_counts(case: Case, threads: int) -> list[int]:
    """Numbers of threads that phases of a case have."""
    return sorted({phase.threads for phase in phases_of(case, threads)})


def bound_of(case: Case, threads: int, machine: Machine) -> Bound:
    """Bound a case's call on up to `threads` threads."""
    parts: defaultdict[str, float] = defaultdict(float)
    phases: dict[str, float] = {}
    work = phases_of(case, threads)
    for phase in work:
        ceilings = machine.ceilings[phase.threads]
        limits = limits_of(phase, machine.levels, ceilings)
        slowest = max(limits, key=limits.__getitem__)
        alone = {"launch": phase.launches * ceilings.launch, "meetings": phase.meetings * ceilings.meeting}
        for name, seconds in ({slowest: limits[slowest]} | alone).items():
            parts[name] += seconds
        phases[phase.name] = limits[slowest] + sum(alone.values())
    most = max(phase.threads for phase in work)
    return Bound(
        sum(phases.values()),
        max(parts, key=parts.__getitem__),
        {name: seconds for name, seconds in parts.items() if seconds > 0},
        phases,
        activations_of(case) * machine.ceilings[work[0].threads].activation,
        most,
    )


def limits_of(phase: Phase, levels: Sequence[Level], ceilings: Ceilings) -> dict[str, float]:
    """Seconds that each thing alone would take: arithmetic, the chain, what crosses each level."""
    limits = {"arithmetic": phase.flops / ceilings.flops, "chain": phase.chain * ceilings.multiply_add}
    for name, rate in ceilings.read.items():
        kinds: defaultdict[str, float] = defaultdict(float)
        for stream in phase.streams:
            kinds[stream.what] += crossed(stream, levels).get(name, 0.0)
        most = max(kinds, key=kinds.__getitem__, default="data")
        limits[f"{most} from {name}"] = sum(kinds.values()) / rate
    return limits


def crossed(stream: Stream, levels: Sequence[Level]) -> dict[str, float]:
    """Bytes of a stream that cross each level, as far as the one that holds what is touched in between.

    Examples
    --------
    >>> levels = [Level("L1", 32_000, False), Level("L2", 1_000_000, False), Level("L3", 9_000_000, True)]
    >>> crossed(Stream("weights", 8e6, 5e5, 4e6), levels)
    {'L1': 8000000.0, 'L2': 8000000.0}
    >>> crossed(Stream("weights", 8e6, 2e6, 4e6), levels)
    {'L1': 8000000.0, 'L2': 8000000.0, 'L3': 8000000.0}
    """
    crossing = {}
    for level in levels:
        crossing[level.name] = stream.n_bytes
        if (stream.every if level.shared else stream.own) <= level.size:
            return crossing
    return crossing | {MEMORY: stream.n_bytes}
