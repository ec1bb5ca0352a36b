"""T: several Python threads, and other users of Numba's pool."""

from __future__ import annotations

import _thread
import asyncio
import shutil
import subprocess
import threading
import warnings
from functools import partial

import numba
import numpy as np
import pytest
from cases import (
    Answers,
    assert_close,
    assert_same_bits,
    layer_answers,
    make_layer,
    make_parameters,
    make_problem,
    reference_answers,
)

import numrnn
from numrnn import _jit
from numrnn.kernels import launch

from .rows import LAYERS, CannotRunError, row
from .running import ROOT
from .work import ONE_ROW, SHARED, Job, assert_shared, at_once, mixed_jobs, parallel_launches


def pool() -> int:
    """How many threads Numba's pool has."""
    return int(numba.config.NUMBA_NUM_THREADS)


@row("T-01", "two threads call forward at once, 200 times", fast="workqueue", layers=LAYERS)
def two_threads() -> None:
    jobs = [Job(SHARED[0]), Job(SHARED[0])]

    def often(job: Job) -> None:
        for _ in range(200):
            job.check_forward(2)

    with parallel_launches() as launches:
        at_once([partial(often, job) for job in jobs])
    assert_shared(launches)
    with parallel_launches() as launches:
        jobs[0].check(2)
    assert launches, "alone again, and nothing runs in parallel"


@row("T-02", "eight threads, three cells, forward and backward, random shapes", layers=LAYERS)
def eight_threads() -> None:
    jobs = [*mixed_jobs(40), Job(ONE_ROW)]

    def some(seed: int) -> None:
        for k in np.random.default_rng(seed).permutation(len(jobs)):
            jobs[k].check(2)

    with parallel_launches() as launches:
        at_once([partial(some, seed) for seed in range(8)])
    assert_shared(launches)


@row("T-03", "16 blocks under Dask's threaded scheduler", layers=LAYERS)
def dask_threads() -> None:
    import dask.array as da

    layer = numrnn.LSTM(48, 64, batch_first=True, seed=0)
    x = np.random.default_rng(0).standard_normal((16 * 32, 20, 48)).astype("float32")
    chunked = da.from_array(x, chunks=(32, -1, -1))
    output = chunked.map_blocks(lambda block: layer(block).output, chunks=(32, 20, 64), dtype="float32")
    with parallel_launches() as launches:
        found = output.compute(scheduler="threads", num_workers=4)
    assert_shared(launches)
    np.testing.assert_array_equal(found, layer(x, n_threads=1).output)


@row("T-04", "joblib's threads", fast="workqueue", layers=LAYERS)
def joblib_threads() -> None:
    from joblib import Parallel, delayed

    jobs = mixed_jobs(12)
    with parallel_launches() as launches:
        Parallel(n_jobs=4, backend="threading")(delayed(job.check)(2) for job in jobs * 3)
    assert_shared(launches)


@row("T-05", "eight threads make the first call together, nothing compiled", layers=LAYERS, own_cache=True, seconds=300)
def first_calls_together() -> None:
    case = SHARED[0]
    problem, layers = make_problem(case), [make_layer(case) for _ in range(8)]
    assert not any(_jit.is_cached(twin) for twin in launch.FORWARD["lstm"]), "it is compiled already"
    found: list[Answers] = []
    at_once([lambda layer=layer: found.append(layer_answers(layer, problem)) for layer in layers])
    for answers in found:
        assert_same_bits(answers, found[0])
    assert_close(found[0], reference_answers(case, problem, make_parameters(case)), 1e-4)


@row("T-06", "n_threads of one thread leaves every other alone", fast="omp", layers=LAYERS)
def masks_are_ones_own() -> None:
    job = Job(SHARED[0])
    turns = {1: threading.Semaphore(1), 2: threading.Semaphore(0)}

    def calls(mask: int, n_threads: int) -> None:
        numba.set_num_threads(mask)
        for _ in range(25):
            assert turns[n_threads].acquire(timeout=60), "the other thread has failed"
            assert numba.get_num_threads() == mask
            job.check(n_threads)
            assert numba.get_num_threads() == mask
            turns[3 - n_threads].release()

    numba.set_num_threads(pool())
    with parallel_launches() as launches:
        at_once([lambda: calls(3, 1), lambda: calls(pool(), 2)])
    assert_shared(launches)
    assert set(launches) <= {2}
    assert numba.get_num_threads() == pool()


@row("T-07", "after an error the mask is restored and the lock is free", fast="omp", layers=LAYERS)
def errors_leave_nothing() -> None:
    job = Job(SHARED[0])
    numba.set_num_threads(3)
    for n_threads in (1, 2):
        with pytest.raises(ValueError, match="features"):
            job.layer(np.zeros((20, 64, 47), "float32"), n_threads=n_threads)
        assert numba.get_num_threads() == 3

    def interrupted(*_: object) -> None:
        assert numba.get_num_threads() == 2
        raise KeyboardInterrupt

    serial, parallel = launch.FORWARD["lstm"]
    launch.FORWARD["lstm"] = (serial, interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.layer(job.problem.x, n_threads=2)
    launch.FORWARD["lstm"] = (serial, parallel)
    assert numba.get_num_threads() == 3
    with parallel_launches() as launches:
        job.check(2)
    assert launches == [2] * len(launches) != [], "the lock is held"


@row("T-08", "numbers of threads that are none", fast=True)
def numbers_of_threads() -> None:
    job = Job(SHARED[2])
    x = job.problem.x
    linear = numrnn.Linear(48, 3)
    ways = (
        lambda n: job.layer(x, n_threads=n),
        lambda n: job.layer.last(x, n_threads=n),
        lambda n: job.layer.vjp(x, n_threads=n),
        lambda n: numrnn.GRUCell(48, 3)(x[0], n_threads=n),
        lambda n: linear(x, n_threads=n),
        lambda n: linear.vjp(x, n_threads=n),
        lambda n: numrnn.Reversed(job.layer)(x, n_threads=n),
        numrnn.set_num_threads,
    )
    for way in ways:
        for n in (0, -3, pool() + 1):
            with pytest.raises(ValueError, match=f"= {n}, expected 1 to {pool()}, or -1 for all"):
                way(n)
        for n in (2.5, "2", True, np.ones(1)):
            with pytest.raises(TypeError, match="should be an int"):
                way(n)
        way(-1)
    assert numrnn.get_num_threads() == pool()
    with parallel_launches() as launches:
        Job(SHARED[0]).check(-1)
    assert pool() in launches, "-1 is not all"


INSIDE: list[Job] = []


def check_inside(number: int) -> None:
    """What compiled code of the user's calls in its parallel loop."""
    INSIDE[number % len(INSIDE)].check(2)


@row("T-09", "the user's own parallel function runs meanwhile, and calls us itself", fast="workqueue", layers=LAYERS)
def users_own_parallel_code() -> None:
    @numba.njit(parallel=True, nogil=True)
    def own(values: np.ndarray, rounds: int) -> None:
        for _ in range(rounds):
            for k in numba.prange(len(values)):
                values[k] = np.sin(values[k]) + 1.0

    values = np.zeros(4096)
    own(values, 1)
    jobs = [Job(case) for case in (*SHARED, ONE_ROW)]
    for job in jobs:
        job.check(2)  # compiled before the user's threads take the processors
    stop, begun, ended = threading.Event(), threading.Event(), threading.Event()
    rounds = [0]

    def users() -> None:
        begun.set()
        while not stop.is_set():
            own(values, 20)
            rounds[0] += 1
        ended.set()

    def ours(times: int) -> None:
        try:
            for _ in range(times):
                for job in jobs:
                    job.check(2)
        finally:
            stop.set()

    at_once([users, partial(ours, 30)])
    assert rounds[0] > 30, "the user's code did not run meanwhile"
    for event in (stop, begun, ended):
        event.clear()
    rounds[0] = 0
    _thread.start_new_thread(users, ())  # which `threading` does not list
    assert begun.wait(60)
    ours(5)
    assert ended.wait(60)
    assert rounds[0] > 5, "the user's code did not run meanwhile"

    @numba.njit(parallel=True, nogil=True)
    def calling(n: int) -> int:
        found = 0
        for k in numba.prange(n):
            if k % 3:  # the other iterations stay in compiled code, where the interpreter does not see them
                with numba.objmode():
                    check_inside(k)
            else:
                own_part = 0.0
                for i in range(1_000_000):
                    own_part += np.sin(i + k)
                found += int(own_part < n)
        return found

    INSIDE.extend(jobs)
    with warnings.catch_warnings(action="ignore", category=numba.NumbaWarning):  # interpreted parts are not parallel
        calling(12)


@row("T-10", "asyncio.to_thread, 20 calls", fast="workqueue", layers=LAYERS)
def asyncio_threads() -> None:
    jobs = mixed_jobs(20)

    async def gather() -> None:
        await asyncio.gather(*(asyncio.to_thread(job.check, 2) for job in jobs))

    with parallel_launches() as launches:
        asyncio.run(gather())
    assert_shared(launches)


@row("T-11", "the free-threaded interpreter, eight threads", optional=True, seconds=1200)
def free_threading() -> None:
    python = next(filter(None, map(shutil.which, ("python3.15t", "python3.14t"))), None)
    if python is None:
        raise CannotRunError("no free-threaded interpreter (python3.14t) on PATH")
    tests = [str(ROOT / "tests" / name) for name in ("test_layers.py", "test_invariance.py")]
    asked = subprocess.run(
        [python, "-c", "import numba, pytest, pytest_run_parallel"], check=False, capture_output=True
    )
    if asked.returncode:
        raise CannotRunError(f"{python} has not numba, pytest and pytest-run-parallel")
    command = [python, "-m", "pytest", "-q", "--parallel-threads=8", *tests]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-600:]
