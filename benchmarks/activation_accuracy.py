"""Errors of the float32 activations over every float32 number: python -m benchmarks.activation_accuracy

Minutes on one core, so it is no part of the test run; `--every 64` looks at one block of 2**18 numbers in 64.
Reports the largest error of normal results in ulp and where, the range of the results, where they fall as x grows and
by how many ulp, and whether NaN stays NaN. NUMBA_CPU_NAME chooses the vectors' width, as everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import benchmarks.common  # isort: skip  # noqa: F401  # sets the environment before numrnn is imported
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


@dataclass(slots=True)
class Findings:
    """The largest error in ulp and where; the range of results; where they fall, and the largest fall in ulp."""

    worst: float = 0.0
    worst_at: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    falls: int = 0
    fall: int = 0


def examine(kernel: Callable[[Single, Single], None], exact: Callable[[Double], Double], every: int) -> Findings:
    """Compare a kernel with the exact function on one block in `every`."""
    found, before = Findings(), None
    for x in ascending(every):
        y = np.empty_like(x)
        kernel(x, y)
        expected = exact(x.astype(np.float64))
        exponent = np.maximum(np.frexp(expected)[1], -125)
        error = np.where(np.abs(expected) < 2.0**-126, 0.0, np.abs(y - expected) * np.ldexp(1.0, 24 - exponent))
        k = int(error.argmax())
        if error[k] > found.worst:
            found.worst, found.worst_at = float(error[k]), float(x[k])
        found.low, found.high = min(found.low, float(y.min())), max(found.high, float(y.max()))
        order = ordinal(y)
        steps = np.diff(order, prepend=order[0] if before is None else before)
        found.fall, before = max(found.fall, -int(steps.min())), order[-1]
        found.falls += int((steps < 0).sum())
    return found


def keeps_nan(kernel: Callable[[Single, Single], None]) -> bool:
    """Whether every NaN stays one."""
    nan = (np.arange(1, 1 << 23, dtype=np.int32) + INFINITY).view(np.float32)
    y = np.empty_like(nan)
    kernel(nan, y)
    return bool(np.isnan(y).all())


FUNCTIONS = {"sigmoid": (activations.sigmoid_array, sigmoid), "tanh": (activations.tanh_array, np.tanh)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    sys.stdout.write(f"{simd.VECTOR_BYTES}-byte vectors, FMA: {simd.HAS_FMA}\n")
    for name, (kernel, exact) in FUNCTIONS.items():
        found = examine(kernel, exact, every)
        sys.stdout.write(
            f"{name}: {found.worst:.3f} ulp at {found.worst_at!r}; results in [{found.low!r}, {found.high!r}]; "
            f"{found.falls} falls, the largest {found.fall} ulp; NaN kept: {keeps_nan(kernel)}\n"
        )
