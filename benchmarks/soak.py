"""Do thirty minutes of mixed calls in one process leave memory flat and results as a fresh process has them?

`python -m benchmarks.soak --minutes 30 --seed 0` makes calls of every kind in random order: cells and shapes, training,
streams, roll-outs, optimisers, deliberate errors, Python threads, forks, one and two threads. It follows the process's
memory, and writes down the digest of every few calls' results. Afterwards a fresh process, with one thread and without
any of that around it, makes those calls again. The exit code is 0 if nothing failed, memory grew by less than 1 MiB in
1000 calls, no allocation of Numba's is left over, and all digests agree. Ctrl-C ends the calls, not the verdict.

Memory is judged in the second half of the calls, and without two things: kernels that were compiled or loaded on the
way, once each; and what is free but kept by malloc. Where nothing leaks, resident memory can grow by some MiB in 1000
calls all the same: in the holes that the compiler leaves, and in the arenas of Python threads, random calls leave a
little on ever more pages. So what is allocated is judged, where malloc is glibc's and tells.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ["NUMBA_NRT_STATS"] = "1"  # read when numba is imported

import benchmarks.common  # isort: skip  # sets the environment before NumPy is imported
import numpy as np
from numba.core.runtime import rtsys

import numrnn
from benchmarks.soak_calls import CALLS, Setting, kind_of_call, run_call

MOST_GROWTH = 1.0
"""MiB in 1000 calls."""
ENOUGH = 20_000
"""Calls below which a slope says nothing: caches of plans and scratch are still growing to their largest."""
SMALL_OBJECT = 128
"""Bytes that a small object of Python's is taken for; they are not malloc's, and only their number is known."""
SAMPLE = 100
PROGRESS = 10.0


class Sample(NamedTuple):
    """The process after some number of calls: its memory in use, in MiB, and Numba's allocations that live."""

    number: int
    memory: float
    kernels: float
    """Part of the memory: what came with calls that compiled or loaded a kernel, which happens once for each."""
    living: int


class MallocInfo(ctypes.Structure):
    """What glibc's mallinfo2 says, in bytes, of all arenas together."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keep",
        )
    )


def in_use() -> float:
    """MiB that are allocated: by malloc, and by Python for small objects; where malloc does not tell, resident."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)  # since glibc 2.33
    if ask is None:
        return resident()
    ask.restype = MallocInfo
    found = ask()
    return float(found.uordblks + found.hblkhd + SMALL_OBJECT * sys.getallocatedblocks()) / 2**20


def resident() -> float:
    """MiB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def trim() -> None:
    """Have malloc give back what is free, where it is glibc's."""
    gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def living() -> int:
    """Arrays that Numba's runtime allocated and did not free."""
    stats = rtsys.get_allocation_stats()
    return int(stats.alloc - stats.free)


def kernels() -> int:
    """How many kernels were compiled or loaded, each counted as often as modules name it."""
    modules = [
        module for name, module in list(sys.modules.items()) if name.startswith(("numrnn.kernels", "benchmarks"))
    ]
    return sum(len(each.overloads) for module in modules for each in dispatchers(list(vars(module).values())))


def dispatchers(values: Iterable[Any]) -> Iterator[Any]:
    """Compiled functions among values, and in their tables, where users' cells have theirs."""
    for value in values:
        if hasattr(value, "py_func"):
            yield value
        elif isinstance(value, dict | tuple):
            yield from dispatchers(value.values() if isinstance(value, dict) else value)


def slope(samples: Sequence[Sample]) -> float:
    """MiB in 1000 calls, by least squares, but for what kernels take."""
    numbers = np.array([sample.number for sample in samples], float) / 1000.0
    held = np.array([sample.memory - sample.kernels for sample in samples])
    spread = numbers - numbers.mean()
    return float(spread @ (held - held.mean()) / max(float(spread @ spread), 1e-12))


class Soak:
    """A run: calls made one after the other, samples of memory, digests of every few calls."""

    def __init__(self, seed: int, check_every: int) -> None:
        self.seed, self.check_every = seed, check_every
        self.digests: dict[int, str] = {}
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        self.n_calls = 0
        self._setting = Setting(benchmarks.common.THREADS, alone=False)
        self._switch = np.random.default_rng([seed, 2])
        self._of_kernels, self._n_kernels, self._held = 0.0, kernels(), in_use()

    def run(self, seconds: float, most_calls: int | None) -> None:
        """Make calls until the time or the number is reached, a call fails, or Ctrl-C."""
        began = told = time.monotonic()
        try:
            while time.monotonic() - began < seconds and (most_calls is None or self.n_calls < most_calls):
                if not self._one():
                    return
                if time.monotonic() - told > PROGRESS:
                    told = time.monotonic()
                    self._tell(told - began)
        except KeyboardInterrupt:
            print("interrupted", flush=True)

    def _one(self) -> bool:
        """Make the next call; whether it went well."""
        number = self.n_calls
        numrnn.set_num_threads(int(self._switch.integers(1, self._setting.max_threads + 1)))
        try:
            digest = run_call(self.seed, number, self._setting)
        except Exception:
            kind = kind_of_call(self.seed, number).__name__
            self.failures.append(f"call {number} ({kind}) failed:\n{traceback.format_exc()}")
            return False
        if number % self.check_every == 0:
            self.digests[number] = digest
        held, n_kernels = in_use(), kernels()
        if n_kernels > self._n_kernels:
            self._of_kernels += held - self._held
        self._held, self._n_kernels = held, n_kernels
        if number % SAMPLE == 0:
            trim()
            self._held = in_use()
            self.samples.append(Sample(number, self._held, self._of_kernels, living()))
        self.n_calls += 1
        return True

    def _tell(self, seconds: float) -> None:
        last = self.samples[-1]
        print(
            f"{seconds:6.0f} s: {self.n_calls} calls, {self.n_calls / seconds:.0f} a second, {last.memory:.0f} MiB "
            f"in use, {last.kernels:.0f} of them came with kernels, {resident():.0f} resident; "
            f"{last.living} of Numba's arrays",
            flush=True,
        )

    def check_memory(self, *, needed: bool) -> None:
        """Judge how memory went in the second half of the calls; `needed` where too few of them are a failure."""
        later = [sample for sample in self.samples if sample.number >= self.n_calls / 2]
        if len(later) < 2:
            if needed:
                self.failures.append(f"memory could not be judged: {self.n_calls} calls")
            return
        growth, arrays = slope(later), later[-1].living - later[0].living
        new = later[-1].kernels - later[0].kernels
        print(f"memory {later[0].memory:.0f} -> {later[-1].memory:.0f} MiB, {new:.0f} of it with kernels", end="")
        print(f", the rest {growth:+.3f} MiB in 1000 calls", end="")
        if self.n_calls < ENOUGH:
            print(f" (not judged: fewer than {ENOUGH} calls)", end="")
            if needed:
                self.failures.append(f"memory could not be judged: {self.n_calls} calls, {ENOUGH} are needed")
        elif growth >= MOST_GROWTH:
            self.failures.append(f"memory grows by {growth:.2f} MiB in 1000 calls, {MOST_GROWTH} are allowed")
        print(f"; Numba's arrays {arrays:+d}", flush=True)
        if arrays > 0:
            self.failures.append(f"{arrays} of Numba's arrays were not freed")

    def check_digests(self) -> None:
        """Have a fresh process make the calls again whose digests were kept."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digests.txt"
            file.write_text("".join(f"{number} {digest}\n" for number, digest in self.digests.items()))
            words = [sys.executable, "-m", "benchmarks.soak", "--seed", str(self.seed), "--again", str(file)]
            code = subprocess.run(words, check=False).returncode
        if code:
            self.failures.append("a fresh process gives other results")


def again(seed: int, file: Path) -> int:
    """Make the calls of a file again, alone and with one thread; the exit code says whether all digests agree."""
    numrnn.set_num_threads(1)
    lines = [line.split() for line in file.read_text().splitlines()]
    other = [int(number) for number, digest in lines if run_call(seed, int(number), Setting(1, True)) != digest]
    for number in other:
        print(f"call {number} ({kind_of_call(seed, number).__name__}) gives another result in a fresh process")
    print(f"{len(lines) - len(other)} of {len(lines)} results are those of a fresh process", flush=True)
    return 1 if other else 0


def main(words: list[str] | None = None) -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--calls", type=int, help="stop after so many calls, where that is sooner")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check-every", type=int, default=20, help="a fresh process repeats every so many-th call")
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.again is not None:
        return again(asked.seed, asked.again)
    soak = Soak(asked.seed, asked.check_every)
    soak.run(60.0 * asked.minutes, asked.calls)
    print(f"{soak.n_calls} calls of {len(CALLS)} kinds", flush=True)
    soak.check_memory(needed=asked.calls is None)
    soak.check_digests()
    for failure in soak.failures:
        print(f"FAILED: {failure}")
    print("FAILED" if soak.failures else "passed", flush=True)
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
