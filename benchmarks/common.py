"""What the benchmarks share: sizes, libraries, and calls that are set up, checked and warm.

Lists are only appended to: a changed entry would continue another one's history.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

_USABLE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = min(2, _USABLE)
for _pool in ("NUMBA", "OMP", "MKL", "OPENBLAS"):  # NumPy and Numba read them when they are imported
    os.environ[f"{_pool}_NUM_THREADS"] = str(THREADS)

import numpy as np

from numrnn import reference
from numrnn.bench.cases import CELL_NAMES, MODES, Case, Problem, make_problem, read_shape
from numrnn.bench.measure import TOLERANCE, largest_difference
from numrnn.bench.peers import PEERS, Job, PeerMissingError, load, thread_environment

__all__ = ["BACKENDS", "CELLS", "MODES", "RAGGED", "SHAPES", "THREADS", "expected", "prepared", "ready"]

BACKENDS = list(PEERS)
CELLS = list(CELL_NAMES)
SHAPES = ["1,1,16,32", "1,100,32,64", "32,100,64,128", "64,100,256,256", "64,50,512,512"]  # N,T,I,H
RAGGED = ["64,10..200,64,128", "64,200,64,128"]  # lengths drawn from a range, and beside them all the longest

os.environ.update(thread_environment(THREADS))  # the rest, read by each peer when it starts its threads


def prepared(
    backend: str,
    cell: str,
    shape: str,
    mode: str,
    *,
    dtype: str = "float32",
    threads: int = THREADS,
    change: Callable[[Problem], Problem] | None = None,
) -> tuple[Job, Problem]:
    """Set a case up in a library; NotImplementedError, which asv reads as "skip", if it is absent or cannot do it.

    `change` may replace arrays of the problem. A library keeps the threads that its first problem in a process had.
    """
    sizes, shortest = read_shape(shape)
    problem = make_problem(Case(cell, sizes, mode, dtype, shortest))
    if change is not None:
        problem = change(problem)
    if threads != THREADS:
        os.environ.update(thread_environment(threads))
    try:
        return load(backend, threads).prepare(problem), problem
    except PeerMissingError as error:
        raise NotImplementedError(str(error)) from error


@cache
def ready(backend: str, cell: str, shape: str, mode: str, **options: Any) -> Callable[[], Any]:
    """Return a warm call whose results agree with the reference; made once a process, though `setup` runs often."""
    job, problem = prepared(backend, cell, shape, mode, **options)
    difference, where = largest_difference(job.arrays(job.call()), expected(problem))
    if not difference <= TOLERANCE[problem.case.dtype]:
        raise AssertionError(f"{backend}: {problem.case}: `{where}` is off by {difference:.1e} of its scale")
    for _ in range(3):
        job.call()
    return job.call


def expected(problem: Problem) -> dict[str, Any]:
    """Compute a problem by the reference, in float64."""
    case = problem.case
    zero = np.zeros((1, case.shape[0], case.shape[3]))
    states = [zero] * len(case.spec.states)
    trace = reference.forward(case.spec, problem.parameters, problem.x, *states, lengths=problem.lengths)
    arrays = {"output": trace.output, "h_n": trace.h_n}
    if trace.c_n is not None:
        arrays["c_n"] = trace.c_n
    if case.training:
        d_x, _, _, d_parameters = reference.backward(trace, problem.d_output)
        arrays |= {"x": d_x} | d_parameters
    return arrays
