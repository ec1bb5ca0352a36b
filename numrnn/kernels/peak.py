"""The machine's rate of fused multiply-adds, measured: what every kernel's rate is a share of."""

import time

import numpy as np

from numrnn._jit import entry_kernel, kernel, parallel_kernel, prange
from numrnn.kernels import launch
from numrnn.kernels.simd import LANES_NUMPY, fma, load, store

CHAINS = 12  # enough to hide the latency on every CPU so far: 4 or 5 cycles, two units


@kernel
def _chains(data, at, steps):
    """CHAINS independent chains of `steps` multiply-adds each, nothing read in between."""
    x, y = load(data, at), load(data, at)
    a, b, c, d = load(data, at), load(data, at), load(data, at), load(data, at)
    e, f, g, h = load(data, at), load(data, at), load(data, at), load(data, at)
    i, j, k, m = load(data, at), load(data, at), load(data, at), load(data, at)
    for _ in range(steps):
        a, b, c, d = fma(a, x, y), fma(b, x, y), fma(c, x, y), fma(d, x, y)
        e, f, g, h = fma(e, x, y), fma(f, x, y), fma(g, x, y), fma(h, x, y)
        i, j, k, m = fma(i, x, y), fma(j, x, y), fma(k, x, y), fma(m, x, y)
    store(data, at, (a + b + c + d) + (e + f + g + h) + (i + j + k + m))


@entry_kernel
def peak_serial(data, at, steps, n_tasks):
    """Run the chains on this thread."""
    for task in range(n_tasks):
        _chains(data, task * at, steps)


@parallel_kernel
def peak_parallel(data, at, steps, n_tasks):
    """Run the chains on as many threads as tasks."""
    for task in prange(n_tasks):
        _chains(data, task * at, steps)


def measure(threads, dtype="float32", bursts=20, steps=200_000):
    """Return the fastest of several bursts, in GFLOP/s (a multiply-add counts two)."""
    dtype = np.dtype(dtype)
    data = np.full(threads * 64, 0.5, dtype)
    flops = 2.0 * CHAINS * LANES_NUMPY[dtype] * steps * threads
    best = np.inf
    for burst in range(bursts + 1):
        begin = time.perf_counter()
        launch.run((peak_serial, peak_parallel), threads, data, 64, steps, threads)
        if burst:  # the first one compiles
            best = min(best, time.perf_counter() - begin)
    return float(flops / best / 1e9)
