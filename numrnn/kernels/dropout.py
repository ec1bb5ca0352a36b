"""Dropout between layers: a mask that is a function of where a number stands, so that nothing of it is stored.

Threads, chunks of time and pieces of a batch do not change it, and backward makes it again.
Source of the mixing: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64).
"""

import numpy as np

from numrnn._jit import entry_kernel, int64, kernel, parallel_kernel, prange

DROPOUT_N_TASKS, DROPOUT_STEPS, DROPOUT_ROWS, DROPOUT_FEATURES, DROPOUT_ROW_0, DROPOUT_WAY, DROPOUT_FIELDS = range(7)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)


@kernel
def mix(value):
    """A 64-bit number, well stirred."""
    value = value + _GOLDEN
    value = (value ^ (value >> _SHIFT_30)) * _MIX_1
    value = (value ^ (value >> _SHIFT_27)) * _MIX_2
    return value ^ (value >> _SHIFT_31)


@kernel
def dropout_task(task, plan, key, threshold, scale, x, out):
    """One task's share of the rows of out = x * mask * scale.

    plan        n_tasks | sizes | number of the first row | 1, or -1 where steps run back in time | for each row: t of
                its first step
    key         stream of the seed and the layer (uint64)
    threshold   a number is dropped where 24 random bits are below it
    x, out      (steps, rows, features)   read; written, may be the same memory
    """
    steps, rows, features = plan[DROPOUT_STEPS], plan[DROPOUT_ROWS], plan[DROPOUT_FEATURES]
    zero = scale - scale
    for row in range(rows * task // plan[DROPOUT_N_TASKS], rows * (task + 1) // plan[DROPOUT_N_TASKS]):
        row_key = mix(key ^ np.uint64(plan[DROPOUT_ROW_0] + row))
        for step in range(steps):
            t = plan[DROPOUT_FIELDS + row] + plan[DROPOUT_WAY] * step
            step_key = mix(row_key ^ np.uint64(t))  # t < 0 is padding, which nobody reads
            at = (step * rows + row) * features
            for unit in range(features):
                dropped = (mix(step_key ^ np.uint64(unit)) >> _SHIFT_40) < threshold
                out[at + unit] = zero if dropped else x[at + unit] * scale


@entry_kernel
def dropout_serial(plan, key, threshold, scale, x, out):
    """Contract: `dropout_task`, for all tasks."""
    for task in range(plan[DROPOUT_N_TASKS]):
        dropout_task(task, plan, key, threshold, scale, x, out)


@parallel_kernel
def dropout_parallel(plan, key, threshold, scale, x, out):
    """The parallel twin."""
    for task in prange(plan[DROPOUT_N_TASKS]):
        dropout_task(int64(task), plan, key, threshold, scale, x, out)
