"""S: Ctrl-C, memory, which kernel runs, and the machine's other threads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Case

import numrnn
from numrnn.kernels import launch

from .rows import CannotRunError, row, shown_by
from .work import ONE_ROW, SHARED, SMALL, Job

PATIENCE = 2.0  # seconds from Ctrl-C to the end of a call


def _interrupted(run: Callable[[], Any], after: float = 0.7) -> tuple[Any, float]:
    """Press Ctrl-C in the middle of a run; what it returned, and the seconds that it went on."""
    pressed = [0.0]

    def press() -> None:
        pressed[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, press)
    timer.start()
    try:
        found = run()
    except KeyboardInterrupt as error:
        found = error
    finally:
        ended = time.perf_counter()
        timer.cancel()
    assert pressed[0], "the run was over before Ctrl-C"
    return found, ended - pressed[0]


@row("S-01", "Ctrl-C in a long call, pullback, stream, roll-out, fit", seconds=300)
def ctrl_c() -> None:
    rng = np.random.default_rng(0)
    wide = numrnn.LSTM(16, 1024, seed=0)
    x = rng.standard_normal((3000, 32, 16)).astype("float32")
    alone = numrnn.LSTM(16, 2048, seed=0)
    one = rng.standard_normal((4000, 1, 16)).astype("float32")
    deep = numrnn.GRU(16, 512, 2, seed=0)
    long = rng.standard_normal((6000, 16, 16)).astype("float32")
    result, pullback = deep.vjp(long)
    d_output = np.ones_like(result.output)
    forecaster = numrnn.SequenceModel(numrnn.GRU(1, 1024, seed=0), numrnn.Linear(1024, 1))
    check = Job(SHARED[0])
    runs: dict[str, tuple[Callable[[int], Any], int, int]] = {
        "call": (lambda n: wide(x[:n]), 100, 3000),
        "call of one row": (lambda n: alone(one[:n]), 100, 4000),
        "last": (lambda n: wide.last(x[:n], n_threads=1), 100, 3000),
        "pullback": (lambda n: [pullback(d_output) for _ in range(n)], 1, 20),
        "stream": (lambda n: wide.stream(32).run(x[:n]), 100, 3000),
        "roll-out": (lambda n: forecaster.rollout(x[:10, :, :1], n), 100, 100_000),
    }
    for name, (run, few, many) in runs.items():
        run(few)  # all kernels are there: LLVM hears Ctrl-C when it is ready, which may take longer
        found, seconds = _interrupted(partial(run, many))
        assert isinstance(found, KeyboardInterrupt), f"{name} returned"
        assert seconds < PATIENCE, f"{name}: {seconds:.1f} s"
        check.check(2)
    missing = numrnn.RNN(16, 1024, nonlinearity="relu", dtype="float64", seed=0)  # compiled or loaded meanwhile
    found, seconds = _interrupted(lambda: missing(x), after=0.1)
    assert isinstance(found, KeyboardInterrupt), "the call that began with compiling returned"
    model = numrnn.SequenceModel(numrnn.LSTM(16, 128, seed=0), numrnn.Linear(128, 1))
    optimizer = numrnn.optim.Adam(model, lr=1e-3)
    before = model.state_dict()
    x, y = rng.standard_normal((64, 512, 16)).astype("float32"), rng.standard_normal((512, 1))
    model.vjp(x[:, :32])[1](np.ones((32, 1), np.float32))
    history, seconds = _interrupted(
        lambda: numrnn.fit(
            model, x, y, loss=numrnn.losses.mse, optimizer=optimizer, epochs=10_000, batch_size=32, progress=False
        )
    )
    assert history.stopped == "interrupted"
    assert seconds < PATIENCE, f"fit: {seconds:.1f} s"
    assert np.isfinite(model(x)).all()
    assert not np.array_equal(model.state_dict()["readout.weight"], before["readout.weight"])


def _resident() -> int:
    """Bytes of memory in use."""
    if not Path("/proc/self/statm").is_file():
        raise CannotRunError("memory is read from /proc, which is not there")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _growth(run: Callable[[int], None], times: int, warm: int) -> float:
    """MiB by which memory grows in `times` runs: the slope of a line through what was measured on the way."""
    from numba.core.runtime import rtsys

    for k in range(warm):
        run(k)
    allocated = rtsys.get_allocation_stats()
    seen = []
    for k in range(times):
        run(k)
        if k % 25 == 0:
            seen.append((k, _resident()))
    now = rtsys.get_allocation_stats()
    assert now.alloc - allocated.alloc == now.free - allocated.free, "Numba has not freed what it allocated"
    assert now.mi_alloc - allocated.mi_alloc == now.mi_free - allocated.mi_free
    slope = np.polyfit(*np.array(seen, float).T, 1)[0]
    return float(slope * times / 2**20)


# Numba counts its allocations only where it is asked to
@row("S-02", "5,000 times forward and backward: memory", environment={"NUMBA_NRT_STATS": "1"}, seconds=300)
def memory_of_calls() -> None:
    cases = (*SHARED, ONE_ROW, SMALL, Case("gru", 6, 30, 8, 32, 2, dtype="float32", lengths="ragged"))
    jobs = [Job(case) for case in cases]

    def run(k: int) -> None:
        jobs[k % len(jobs)].answers(1 + k % 2)

    growth = _growth(run, 5000, 600)
    assert growth < 1.0, f"{growth:.2f} MiB more"


@row("S-03", "1,000 calls that fail: memory", environment={"NUMBA_NRT_STATS": "1"}, fast=True)
def memory_of_errors() -> None:
    layer = numrnn.LSTM(8, 16, seed=0)
    x = np.zeros((5, 3, 8), "float32")
    result, pullback = layer.vjp(x)
    stream, linear = layer.stream(3), numrnn.Linear(8, 2)
    wrong: tuple[Callable[[], Any], ...] = (
        lambda: layer(np.zeros((5, 3, 9))),
        lambda: layer(np.ma.masked_less(x, 1)),
        lambda: layer(x, np.zeros((1, 3, 16))),
        lambda: layer(x, lengths=[1, 2]),
        lambda: layer(x, n_threads=0),
        lambda: layer.vjp(np.zeros((5, 3, 8, 1))),
        lambda: pullback(np.zeros((5, 3, 17))),
        lambda: stream.step(np.zeros((2, 8))),
        lambda: stream.step(x[0], out=np.zeros((3, 15), "float32")),
        lambda: linear(np.zeros((3, 7))),
        lambda: layer.set_parameters({"weight_ih_l0": np.zeros((2, 2))}),
        lambda: numrnn.LSTM(8, -1),
        lambda: layer(np.broadcast_to(np.float32(0), (10**9, 10**6, 8))),
    )

    def run(k: int) -> None:
        with pytest.raises((ValueError, TypeError, MemoryError)):
            wrong[k % len(wrong)]()

    growth = _growth(run, 1000, 300)
    assert growth < 1.0, f"{growth:.2f} MiB more"
    np.testing.assert_array_equal(layer(x).output, result.output)


@row("S-04", "much work runs the parallel kernels, little work the serial ones", fast=True)
def path_spy() -> None:
    seen: list[str] = []

    def spied(name: str, kernel: Callable[..., None]) -> Callable[..., None]:
        def spy(*arguments: Any) -> None:
            seen.append(name)
            kernel(*arguments)

        return spy

    for direction, table in (("forward", launch.FORWARD), ("backward", launch.BACKWARD)):
        for cell, (serial, parallel) in list(table.items()):
            table[cell] = (spied(f"{direction} serial", serial), spied(f"{direction} parallel", parallel))
    for case in SHARED:
        job = Job(case)
        assert set(seen) == {"forward serial", "backward serial"}, f"one thread: {set(seen)}"
        seen.clear()
        job.check(2)
        assert set(seen) == {"forward parallel", "backward parallel"}, f"{case}: {set(seen)}"
        seen.clear()
        small = Job(Case(case.cell, SMALL.N, SMALL.T, SMALL.I, SMALL.H, dtype="float32"))
        small.check(2)
        small.check()
        assert set(seen) == {"forward serial", "backward serial"}, f"little work: {set(seen)}"
        seen.clear()


shown_by(
    "S-05",
    "scikit-learn's checks of estimators",
    "tests/test_sklearn_checks.py::test_all_of_scikit_learns_checks_pass",
    seconds=1800,
)


@row("S-06", "OpenBLAS with all its threads, in turn with our kernels", optional=True, seconds=240)
def beside_openblas() -> None:
    try:
        from threadpoolctl import threadpool_info, threadpool_limits
    except ImportError as error:
        raise CannotRunError("threadpoolctl is not installed") from error
    cores = os.cpu_count() or 1
    a = np.random.default_rng(0).standard_normal((1000, 1000)).astype("float32")
    job = Job(Case("lstm", 64, 60, 64, 128, dtype="float32"))

    def fastest(run: Callable[[], Any]) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    def ours(n: int = 5) -> None:
        for _ in range(n):
            job.layer(job.problem.x, n_threads=min(cores, 2))

    def both() -> None:
        for _ in range(5):
            a @ a
            ours(1)

    with threadpool_limits(cores, user_api="blas"):
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        if not pools:
            raise CannotRunError("NumPy's linear algebra has no threads here")
        ours(), both()
        products = fastest(lambda: [a @ a for _ in range(5)])
        apart, together = products + fastest(partial(ours)), fastest(both)
        tasks = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").is_dir() else 0
    most = sum(pool["num_threads"] for pool in pools) + numrnn.get_num_threads() + 4
    assert tasks <= most, f"{tasks} threads, expected {most} at most"
    assert together <= 1.5 * apart, f"{together / apart:.2f} x the time that both take apart"
    job.check(2)
