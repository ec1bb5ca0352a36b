"""What the machine can do at most, measured from Numba: multiply-adds, reads from each cache, launches, meetings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from numrnn.bench.caches import Level
from numrnn.kernels import bandwidth, costs, peak

__all__ = ["MEMORY", "Ceilings", "Meter"]

MEMORY = "memory"
_LEAST, _MOST = 64 << 20, 512 << 20  # bytes of the set that is read from memory: 4 times the last cache between these


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Rates and costs of `threads` threads together, for one dtype.

    Attributes
    ----------
    flops
        Operations a second; a fused multiply-add counts two.
    read
        Bytes a second from each cache by its name, and from "memory".
    launch, meeting
        Seconds that a launch without work and a meeting of all tasks take.
    multiply_add
        Seconds that a multiply-add waits for the one before.
    activation
        Seconds of a tanh, all threads busy with others.
    """

    threads: int
    flops: float
    read: dict[str, float]
    launch: float
    meeting: float
    multiply_add: float
    activation: float

    @classmethod
    def best(cls, several: Iterable[Ceilings]) -> Ceilings:
        """The highest rates and the lowest costs of several measurements; a meeting that failed is none."""
        first, *rest = several
        every = (first, *rest)
        return cls(
            first.threads,
            max(each.flops for each in every),
            {name: max(each.read[name] for each in every) for name in first.read},
            min(each.launch for each in every),
            min((each.meeting for each in every if each.meeting > 0), default=0.0),
            min(each.multiply_add for each in every),
            min(each.activation for each in every),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can carry."""
        return asdict(self)


class Meter:
    """Measures the ceilings again and again over the same memory."""

    def __init__(self, levels: Iterable[Level]) -> None:
        self._levels = tuple(levels)
        last = self._levels[-1]
        self._memory = bandwidth.buffer(min(_MOST, max(_LEAST, 4 * last.size)))

    def measure(self, threads: int, dtype: str) -> Ceilings:
        """Measure on so many threads. Each reads a part of its own, which no nearer cache holds."""
        read = {}
        nearer = self._levels[0].size
        for level in self._levels:  # a large cache is the faster the less of it is used
            read[level.name] = bandwidth.measure(self._memory, threads, min(level.room(threads) // 2, 4 * nearer))
            nearer = level.size
        read[MEMORY] = bandwidth.measure_memory(self._memory, threads)
        return Ceilings(
            threads,
            peak.measure(threads, dtype) * 1e9,
            read,
            costs.launch_seconds(threads, dtype),
            costs.meeting_seconds(threads),
            costs.multiply_add_seconds(dtype),
            costs.activation_seconds(threads, dtype),
        )
