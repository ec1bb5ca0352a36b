"""A row in a fresh process with a time limit, and what became of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .case import PASSED
from .rows import LAYERS, Row

ROOT = Path(__file__).parents[2]
THREADS = 4  # of Numba's pool: more than many machines have processors, so that threads really get in each other's way

_ASK_FOR_LAYER = "import numba; numba.set_num_threads(1); print(numba.threading_layer())"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row on a layer: "passed", "failed" or "skipped", and why."""

    row: Row
    layer: str | None
    result: str
    seconds: float
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.row.id} {self.layer}" if self.layer else self.row.id


def environment(layer: str | None = None) -> dict[str, str]:
    """Variables of a row's process."""
    here = os.environ | {"NUMBA_NUM_THREADS": str(THREADS)}
    here["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *filter(None, [here.get("PYTHONPATH")])])
    libraries = Path(sys.prefix, "lib")
    if any(libraries.glob("libtbb.so*")):  # where pip puts it, and the loader does not look
        here["LD_LIBRARY_PATH"] = os.pathsep.join([str(libraries), *filter(None, [here.get("LD_LIBRARY_PATH")])])
    if layer:
        here["NUMBA_THREADING_LAYER"] = layer
    return here


@lru_cache(maxsize=1)
def layers() -> dict[str, str]:
    """Each threading layer, and why it cannot be had: an empty text where it can."""
    reasons = {}
    for layer in LAYERS:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_FOR_LAYER],
            env=environment(layer),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        found = asked.stdout.strip()
        told = [line for line in asked.stderr.splitlines() if line.strip()]
        reasons[layer] = "" if found == layer else f"Numba has no layer {layer} here: {(told or [found])[-1]}"
    return reasons


@contextmanager
def shared_cache() -> Iterator[None]:
    """Have the processes of one run share compiled kernels."""
    if os.environ.get("NUMRNN_CACHE_DIR"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="numrnn-scorecard-", ignore_cleanup_errors=True) as folder:
        os.environ["NUMRNN_CACHE_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["NUMRNN_CACHE_DIR"]


def run(row: Row, layer: str | None = None) -> Outcome:
    """Run a row in a process group of its own, of which nothing is left behind."""
    missing = layers()[layer] if layer else ""
    if missing:
        return Outcome(row, layer, "skipped", 0.0, missing)
    start = time.monotonic()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as out,
        tempfile.TemporaryFile("w+", errors="replace") as err,
        tempfile.TemporaryDirectory(prefix="numrnn-row-", ignore_cleanup_errors=True) as folder,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.scorecard.case", row.id],
            env=environment(layer) | dict(row.environment) | ({"NUMRNN_CACHE_DIR": folder} if row.own_cache else {}),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        timed_out = False
        try:
            code = process.wait(row.seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            with suppress(ProcessLookupError):  # it, and whatever it started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        seconds = time.monotonic() - start
        out.seek(0)
        err.seek(0)
        said = [line for line in err.read().splitlines() if line.strip()] or ["nothing was said on stderr"]
        done = PASSED in out.read().splitlines()
    if timed_out:
        return Outcome(row, layer, "failed", seconds, f"still running after {row.seconds} s; {said[-1]}")
    if code == 77:
        return Outcome(row, layer, "skipped", seconds, said[-1])
    if code == 0 and done:
        return Outcome(row, layer, "passed", seconds)
    ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Outcome(row, layer, "failed", seconds, f"{ended}: {said[-1]}")


def run_on_layers(row: Row, wanted: tuple[str, ...] = LAYERS) -> Iterator[Outcome]:
    """Run a row once, or once on each layer that is wanted and that it is for."""
    if not row.layers:
        yield run(row)
    for layer in row.layers:
        if layer in wanted:
            yield run(row, layer)
