"""Compile the kernels that most tests need, in a process for each processor: pytest compiles in one alone.

`python tests/compile_kernels.py`, with the NUMRNN_CACHE_DIR of the tests that follow. What is not here is compiled by
the first test that needs it, so this changes how long tests take and nothing else.
"""

import multiprocessing
import os
from itertools import product

import numba
import numpy as np
from cases import Case, make_layer
from known_cells import CoupledLSTM, LateGRU, SplitGRU
from literature import own_cells

import numrnn
from numrnn.cellspec import BUILT_IN

DTYPES = ("float32", "float64")
SINGLE_ROLLOUTS = ("lstm", "gru")  # the cells that tests roll out in single precision
OWN = {kind.__name__: kind for kind in (own_cells.MGU, own_cells.PeepholeLSTM, SplitGRU, LateGRU, CoupledLSTM)}
THREADS = sorted({1, min(2, numba.config.NUMBA_NUM_THREADS)})  # the pool may hold one alone


def compile_cell(job: tuple[str, str]) -> None:
    """The entry kernels of a cell, on one thread and on several."""
    dtype, cell = job
    for case in (Case(cell, N=1, T=3, I=5, H=8, dtype=dtype), Case(cell, N=64, T=20, I=48, H=64, dtype=dtype)):
        layer = make_layer(case)
        for n_threads in THREADS:
            result, pullback = layer.vjp(np.zeros((case.T, case.N, case.I), dtype), n_threads=n_threads)
            pullback(result.output)
    net = layer.jit()
    numrnn.jit.run(net, np.zeros((1, 2, 48), dtype), numrnn.jit.new_state(net, 2), np.empty((1, 2, 64), dtype))
    if dtype == "float64" or cell in SINGLE_ROLLOUTS:
        layer = make_layer(Case(cell, N=200, T=4, I=3, H=33, dtype=dtype))
        model = numrnn.SequenceModel(layer, numrnn.Linear(33, 3, dtype=dtype))
        for n_threads in THREADS:
            model.rollout(np.zeros((4, 200, 3), dtype), 40, n_threads=n_threads)


def compile_own_cell(name: str) -> None:
    """The entry kernels of a user's cell that tests run on one thread; each is tested in one type."""
    dtype = "float64" if name == "PeepholeLSTM" else "float32"
    layer = OWN[name](5, 8, dtype=dtype)
    result, pullback = layer.vjp(np.zeros((3, 2, 5), dtype), n_threads=1)
    pullback(result.output)
    net = layer.jit()
    numrnn.jit.run(net, np.zeros((1, 2, 5), dtype), numrnn.jit.new_state(net, 2), np.empty((1, 2, 8), dtype))


def compile_one(job: tuple[str, str] | str) -> None:
    """What one process does at a time."""
    compile_own_cell(job) if isinstance(job, str) else compile_cell(job)


if __name__ == "__main__":
    # a cell's two types are far apart: their kernels share a file of the cache
    jobs = [*product(DTYPES, BUILT_IN), *OWN]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.map(compile_one, jobs, chunksize=1)
