"""What cannot be shared out, measured: a launch, a meeting of tasks, a multiply-add that waits for the one before.

And what a result of an activation costs, so that a table can say how much of a case they are.
"""

import time

import numpy as np

from numrnn._jit import entry_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels import launch
from numrnn.kernels.activations import tanh
from numrnn.kernels.meeting import MEETING, all_arrived, meet
from numrnn.kernels.simd import LANES_NUMPY, fma, lanes, load, store

ACTIVATED = 512  # numbers that a thread activates again and again, in its nearest cache
TASK = 1024  # numbers between two tasks' data


@kernel
def _nothing(a, b, c, d, e, f, g, task):
    """What a launch of a layer is without its work: a task that reads one number of each array."""
    g[task] = a[0] + b[0] + c[0] + d[0] + e[0] + f[0]


@entry_kernel
def nothing_serial(a, b, c, d, e, f, g, n_tasks):
    """Tasks without work on this thread; as many arrays as a forward launch has."""
    for task in range(n_tasks):
        _nothing(a, b, c, d, e, f, g, task)


@parallel_kernel
def nothing_parallel(a, b, c, d, e, f, g, n_tasks):
    """The parallel twin."""
    for task in prange(n_tasks):
        _nothing(a, b, c, d, e, f, g, task)


@kernel
def _meet_often(memory, task, n_tasks, times):
    """Meet the other tasks `times` times, if they come at all."""
    if all_arrived(memory, 0, n_tasks):
        for k in range(times):
            meet(memory, 0, n_tasks, k + 1)


@entry_kernel
def meetings_serial(memory, n_tasks, times):
    """One task has nobody to wait for."""
    for _ in range(n_tasks):
        _meet_often(memory, 0, 1, times)


@parallel_kernel
def meetings_parallel(memory, n_tasks, times):
    """Tasks that meet again and again."""
    for task in prange(n_tasks):
        _meet_often(memory, int64(task), n_tasks, times)


@entry_kernel
def one_chain(data, steps):
    """`steps` multiply-adds, each of which waits for the one before."""
    x = load(data, 0)
    a = x
    for _ in range(steps):
        a = fma(a, x, x)
    store(data, 0, a)


@kernel
def _activate(data, at, times):
    """tanh of ACTIVATED numbers, in place, `times` times."""
    for _ in range(times):
        for k in range(at, at + ACTIVATED, lanes(data)):
            store(data, k, tanh(load(data, k)))


@entry_kernel
def activations_serial(data, times, n_tasks):
    """Activations on this thread."""
    for task in range(n_tasks):
        _activate(data, task * TASK, times)


@parallel_kernel
def activations_parallel(data, times, n_tasks):
    """Activations on as many threads as tasks."""
    for task in prange(n_tasks):
        _activate(data, task * TASK, times)


def _fastest(bursts, number, run):
    """Seconds of one of `number` things that `run()` does; the first run, which compiles, does not count."""
    best = np.inf
    for burst in range(bursts + 1):
        begin = time.perf_counter()
        run()
        if burst:
            best = min(best, time.perf_counter() - begin)
    return float(best / number)


def launch_seconds(threads, dtype="float32", bursts=5, number=100):
    """Return what one launch from Python costs, without work."""
    arrays = [np.zeros(max(threads, 1), dtype) for _ in range(7)]

    def run():
        for _ in range(number):
            launch.run((nothing_serial, nothing_parallel), threads, *arrays, threads)

    return _fastest(bursts, number, run)


def meeting_seconds(threads, bursts=5, number=2000):
    """Return what one meeting of so many tasks costs; 0 for one task, and where tasks do not run at once."""
    memory = np.zeros(2 * MEETING, np.float32)
    met = []

    def run():
        twins = meetings_serial, meetings_parallel
        met.append(launch.run_meeting(twins, threads, memory[:MEETING], memory, threads, number))

    seconds = _fastest(bursts, number, run) if threads > 1 else 0.0
    return seconds if all(met) else 0.0


def multiply_add_seconds(dtype="float32", bursts=5, steps=50_000):
    """Return how long a multiply-add waits for the one before."""
    data = np.full(64, 0.5, dtype)
    return _fastest(bursts, steps, lambda: one_chain(data, steps))


def activation_seconds(threads, dtype="float32", bursts=5, times=200):
    """Return what one number's tanh costs all threads together; sigmoid costs a little less."""
    data = np.full(threads * TASK + LANES_NUMPY[np.dtype(dtype)], 0.5, dtype)
    twins = activations_serial, activations_parallel
    number = times * ACTIVATED * threads
    return _fastest(bursts, number, lambda: launch.run(twins, threads, data, times, threads))
