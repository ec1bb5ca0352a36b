"""Errors of the float32 activations over every float32 number: python -m benchmarks.activation_accuracy

Minutes on one core, so it is no part of the test run; `--every 64` looks at one block of 2**18 numbers in 64.
Reports the largest error of normal results in ulp and where, the range of the results, where they fall as x grows and
by how many ulp, and whether NaN stays NaN. NUMBA_CPU_NAME chooses the vectors' width, as everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from numrnn.kernels import activations, simd

BLOCK = 1 << 18
INFINITY = 0x7F800000  # the bits above are NaN

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]


def sigmoid(x: Double) -> Double:
    """Sigmoid without loss at either side."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def ascending(every: int) -> Iterator[Single]:
    """All numbers from -inf to inf in blocks, neighbouring blocks sharing nothing."""
    starts = range(0, INFINITY + 1, BLOCK * every)
    for start in reversed(starts):
        bits = np.arange(start, min(start + BLOCK, INFINITY + 1), dtype=np.int32)
        yield -bits[::-1].view(np.float32)
    for start in starts:
        yield np.arange(start, min(start + BLOCK, INFINITY + 1), dtype=np.int32).view(np.float32)


def ordinal(y: Single) -> npt.NDArray[np.int64]:
    """Numbers counted in order, so that neighbours differ by one."""
    bits = y.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def examine(
    name: str, kernel: Callable[[Single, Single], None], reference: Callable[[Double], Double], every: int
) -> None:
    """Report on one function."""
    worst, worst_at, low, high, fall, falls, before = 0.0, 0.0, np.inf, -np.inf, 0, 0, None
    for x in ascending(every):
        y = np.empty_like(x)
        kernel(x, y)
        expected = reference(x.astype(np.float64))
        exponent = np.maximum(np.frexp(expected)[1], -125)
        error = np.where(np.abs(expected) < 2.0**-126, 0.0, np.abs(y - expected) * np.ldexp(1.0, 24 - exponent))
        k = int(error.argmax())
        if error[k] > worst:
            worst, worst_at = float(error[k]), float(x[k])
        low, high = min(low, float(y.min())), max(high, float(y.max()))
        order = ordinal(y)
        steps = np.diff(order, prepend=order[0] if before is None else before)
        fall, falls, before = max(fall, -int(steps.min())), falls + int((steps < 0).sum()), order[-1]
    nan = (np.arange(1, 1 << 23, dtype=np.int32) + INFINITY).view(np.float32)
    y = np.empty_like(nan)
    kernel(nan, y)
    sys.stdout.write(
        f"{name}: {worst:.3f} ulp at {worst_at!r}; results in [{low!r}, {high!r}]; "
        f"{falls} falls, the largest {fall} ulp; NaN kept: {bool(np.isnan(y).all())}\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    sys.stdout.write(f"{simd.VECTOR_BYTES}-byte vectors, FMA: {simd.HAS_FMA}\n")
    examine("sigmoid", activations.sigmoid_array, sigmoid, every)
    examine("tanh", activations.tanh_array, np.tanh, every)
