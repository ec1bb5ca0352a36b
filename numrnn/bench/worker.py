"""One library in a process of its own: `python -m numrnn.bench.worker NAME THREADS`, a JSON object a line on its pipes.

    {"command": "load"}                                     -> {"version": "2.13.0"}
    {"command": "prepare", "case": {...}, "path": "a.npz"}  -> {"seconds": 0.0039}  one call's results saved, then warm
    {"command": "burst", "number": 1, "length": 0.1}        -> {"seconds": [...]}   a call; a sample is `number` calls
    {"command": "peak", "dtype": "float32"}                 -> {"gflops": 214.1}    of fused multiply-adds
    {"command": "ceilings", "threads": 2, "dtype": "float32"} -> {"read": {...}, ...}  the fields of `Ceilings`

Whatever goes wrong is answered by {"error": "...", "kind": "missing" | "refused" | "failed"}. A reply is sent when the
process has come to rest, so that threads that still spin do not disturb the library whose turn is next.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from numrnn.bench.caches import levels
from numrnn.bench.cases import Case, make_problem
from numrnn.bench.ceilings import Meter
from numrnn.bench.peers import Job, Peer, PeerMissingError, load
from numrnn.kernels import peak

__all__ = ["Session", "main"]

WARM_SECONDS = 0.2  # a call is repeated that long, and at least three times, before any is timed
REST_SECONDS = 0.3  # a library whose threads spin longer than this is not waited for


class Session:
    """What the worker holds between commands: the library and the problem that is set up in it."""

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._threads = name, threads
        self._peer: Peer | None = None
        self._job: Job | None = None
        self._meter: Meter | None = None
        self._commands: dict[str, Callable[..., dict[str, Any]]] = {
            "load": self.load,
            "prepare": self.prepare,
            "burst": self.burst,
            "peak": self.peak,
            "ceilings": self.ceilings,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; the reply always exists."""
        arguments = dict(request)
        try:
            return self._commands[arguments.pop("command")](**arguments)
        except PeerMissingError as error:
            return {"error": str(error), "kind": "missing"}
        except NotImplementedError as error:
            return {"error": str(error), "kind": "refused"}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}", "kind": "failed"}

    def load(self) -> dict[str, Any]:
        """Import the library."""
        self._peer = load(self._name, self._threads)
        return {"version": self._peer.version}

    def prepare(self, case: dict[str, Any], path: str) -> dict[str, Any]:
        """Set up a case, save one call's results to `path`, warm up, and say how long a call takes."""
        if self._peer is None:
            raise RuntimeError("`prepare` came before `load`")
        self._job = None  # frees the previous problem first
        job = self._peer.prepare(make_problem(Case.from_dict(case)))
        arrays: dict[str, Any] = dict(job.arrays(job.call()))
        np.savez(path, **arrays)
        seconds: list[float] = []
        while len(seconds) < 3 or sum(seconds) < WARM_SECONDS:
            seconds.append(_timed(job.call, 1))
        self._job = job
        return {"seconds": min(seconds)}

    def burst(self, number: int, length: float) -> dict[str, Any]:
        """Time `number` calls again and again, back to back, for `length` seconds."""
        if self._job is None:
            raise RuntimeError("`burst` came before `prepare`")
        call = self._job.call
        gc.collect()
        gc.disable()
        try:
            call()  # brings weights and code back into the caches that the other libraries used meanwhile
            end = time.perf_counter() + length
            seconds = [_timed(call, number) / number]
            while time.perf_counter() < end:
                seconds.append(_timed(call, number) / number)
            return {"seconds": seconds}
        finally:
            gc.enable()

    def peak(self, dtype: str) -> dict[str, Any]:
        """Measure the machine's rate of fused multiply-adds, on as many threads."""
        return {"gflops": peak.measure(self._threads, dtype)}

    def ceilings(self, threads: int, dtype: str) -> dict[str, Any]:
        """Measure what this machine can do at most on so many threads."""
        if self._meter is None:
            self._meter = Meter(levels()[0])
        return self._meter.measure(threads, dtype).as_dict()


def _timed(call: Callable[[], Any], number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return time.perf_counter() - start


def come_to_rest() -> None:
    """Wait until this process's threads use no more processor time."""
    deadline = time.perf_counter() + REST_SECONDS
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(0.005)
        if time.process_time() - before < 0.001:
            return


def _take_stdout() -> IO[str]:
    """Keep the pipe for replies, and send whatever a library prints to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main(arguments: list[str]) -> int:
    """Serve commands until standard input ends."""
    name, threads = arguments
    replies, session = _take_stdout(), Session(name, int(threads))
    for line in sys.stdin:
        reply = session.answer(json.loads(line))
        come_to_rest()
        print(json.dumps(reply), file=replies, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
