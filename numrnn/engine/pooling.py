"""The mean or the maximum over each row's steps: one vector a row, whatever the layout of the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.engine.buffers import flat
from numrnn.engine.geometry import Integers
from numrnn.kernels import pooling as kernels

__all__ = ["Pool"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pool:
    """Where the steps of each row stand: at position starts[n] + t * step, for t below lengths[n]."""

    starts: Integers
    step: int
    lengths: Integers
    steps_shape: tuple[int, ...]

    def mean(self, steps: Array) -> Array:
        """Return (N, features)."""
        out = np.empty((len(self.starts), self.steps_shape[-1]), steps.dtype)
        if out.size:
            kernels.mean_forward(self._plan(), flat(steps), flat(out), np.empty(out.shape[1]))
        return out

    def mean_backward(self, d_out: Array) -> Array:
        """Return the steps' gradient; 0 at padding."""
        d_steps = np.zeros(self.steps_shape, d_out.dtype)
        if d_steps.size:
            kernels.mean_backward(self._plan(), flat(d_out), flat(d_steps))
        return d_steps

    def max(self, steps: Array) -> tuple[Array, Integers]:
        """Return (N, features), and the position that each number is from."""
        out = np.empty((len(self.starts), self.steps_shape[-1]), steps.dtype)
        where = np.empty(out.shape, np.int64)
        if out.size:
            kernels.max_forward(self._plan(), flat(steps), flat(out), where.ravel())
        return out, where

    def max_backward(self, d_out: Array, where: Integers) -> Array:
        """Return the steps' gradient; 0 at padding."""
        d_steps = np.zeros(self.steps_shape, d_out.dtype)
        if d_steps.size:
            kernels.max_backward(self._plan(), where.ravel(), flat(d_out), flat(d_steps))
        return d_steps

    def _plan(self) -> Integers:
        sizes = [len(self.starts), self.steps_shape[-1], self.step]
        return np.concatenate([sizes, self.starts, self.lengths]).astype(np.int64)
