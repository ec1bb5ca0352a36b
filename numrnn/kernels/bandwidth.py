"""How fast vectors are read, measured: the limit of every kernel whose weights come from a cache or from memory."""

import time

import numpy as np

from numrnn._jit import entry_kernel, kernel, parallel_kernel, prange
from numrnn.kernels import launch
from numrnn.kernels.simd import lanes, load, splat, store

VECTORS = 16  # of one turn of the loop; the 8 sums are enough to hide the latency of additions
CACHE_LINE = 64  # bytes
HUGE_PAGE = 1 << 21  # bytes; a set of 16 KiB that lay across 2**24 was read from L1 at 0.7 of the rate
LINES = 64  # numbers between two tasks' results, so that they share no cache line


@kernel
def _read(data, begin, size, times, sums, at):
    """Add up `size` numbers of `data`, a multiple of VECTORS vectors, `times` times; the sums keep the loads alive.

    data   read      from `begin` on
    sums   written   one vector, from `at` on
    """
    step = lanes(data)
    zero = splat(data, 0.0)
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for _ in range(times):
        for k in range(begin, begin + size, VECTORS * step):
            a, b = a + load(data, k), b + load(data, k + step)
            c, d = c + load(data, k + 2 * step), d + load(data, k + 3 * step)
            e, f = e + load(data, k + 4 * step), f + load(data, k + 5 * step)
            g, h = g + load(data, k + 6 * step), h + load(data, k + 7 * step)
            a, b = a + load(data, k + 8 * step), b + load(data, k + 9 * step)
            c, d = c + load(data, k + 10 * step), d + load(data, k + 11 * step)
            e, f = e + load(data, k + 12 * step), f + load(data, k + 13 * step)
            g, h = g + load(data, k + 14 * step), h + load(data, k + 15 * step)
    store(sums, at, (a + b + c + d) + (e + f + g + h))


@entry_kernel
def read_serial(data, size, times, sums, n_tasks):
    """Read each task's own part on this thread."""
    for task in range(n_tasks):
        _read(data, task * size, size, times, sums, task * LINES)


@parallel_kernel
def read_parallel(data, size, times, sums, n_tasks):
    """Read on as many threads as tasks."""
    for task in prange(n_tasks):
        _read(data, task * size, size, times, sums, task * LINES)


def buffer(n_bytes):
    """Memory of so many bytes, every page of it touched, which begins where a huge page may."""
    memory = np.empty(n_bytes + HUGE_PAGE, np.uint8)
    skip = -memory.__array_interface__["data"][0] % HUGE_PAGE
    data = memory[skip : skip + n_bytes // 4 * 4].view(np.float32)
    data[:] = 0.5
    return data


def _rate(data, threads, size, times):
    """Bytes a second of one launch that reads `size` numbers for each thread, `times` times."""
    sums = np.zeros(threads * LINES, data.dtype)
    begin = time.perf_counter()
    launch.run((read_serial, read_parallel), threads, data, size, times, sums, threads)
    return float(data.itemsize * size * times * threads / (time.perf_counter() - begin))


def _whole(data, threads, n_bytes):
    """Numbers of each thread: at most so many bytes, in whole turns of the loop for vectors of every width."""
    step = VECTORS * CACHE_LINE // data.itemsize
    return max(step, min(n_bytes // data.itemsize, len(data) // threads) // step * step)


def measure(data, threads, bytes_a_thread, bursts=12, bytes_a_burst=1 << 25):
    """Return the fastest of several bursts over the first `bytes_a_thread` of `data` for each thread, in bytes/s.

    A burst is short, so that some are left alone where other programs run.
    """
    size = _whole(data, threads, bytes_a_thread)
    times = max(1, bytes_a_burst // (data.itemsize * size))
    _rate(data, threads, size, 1)  # compiles, and brings the numbers to where they are read from
    return max(_rate(data, threads, size, times) for _ in range(bursts))


def measure_memory(data, threads, parts=8):
    """Return the rate of the fastest of `parts` parts of `data`, which together no cache holds, each read once.

    The first part is left out: it may be in a cache, from `measure`.
    """
    size = len(data) // parts
    _rate(data, threads, _whole(data, threads, 1), 1)  # compiles
    return max(
        _rate(data[part * size : (part + 1) * size], threads, _whole(data[:size], threads, data.nbytes), 1)
        for part in range(1, parts)
    )
