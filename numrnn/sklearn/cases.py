"""The series that an estimator is given, in one form whatever they came in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._types import Array

__all__ = ["Cases", "distinct"]

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Cases:
    """One series a case, their steps one after the other."""

    steps: Array  # (sum of lengths, I), C-contiguous
    lengths: Integers  # (N,), 1 or more each

    @classmethod
    def of_array(cls, array: Array) -> Cases:
        """From (N, T, I)."""
        n_cases, n_steps, n_features = array.shape
        return cls(np.ascontiguousarray(array).reshape(-1, n_features), np.full(n_cases, n_steps, np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_features(self) -> int:
        """Features of a step."""
        return int(self.steps.shape[1])

    @cached_property
    def ends(self) -> Integers:
        """Where each series ends in `steps`."""
        return np.cumsum(self.lengths)

    @cached_property
    def alike(self) -> bool:
        """Whether all series have one length."""
        return bool(np.all(self.lengths == self.lengths[0]))

    def series(self) -> Array | list[Array]:
        """Return what a layer takes: (N, T, I), or a list of (T_n, I) where lengths differ."""
        if self.alike:
            return self.steps.reshape(len(self), -1, self.n_features)
        return np.split(self.steps, self.ends[:-1])

    def each(self) -> list[Array]:
        """Return the series one by one."""
        return np.split(self.steps, self.ends[:-1])

    def take(self, rows: Integers) -> Cases:
        """Return the cases at these places."""
        if self.alike:
            return Cases.of_array(self.steps.reshape(len(self), -1, self.n_features)[rows])
        starts = self.ends - self.lengths
        chosen = [self.steps[starts[n] : self.ends[n]] for n in rows]
        return Cases(np.concatenate(chosen) if chosen else self.steps[:0], self.lengths[rows])

    def with_steps(self, steps: Array) -> Cases:
        """Return the same cases with other numbers."""
        return Cases(steps, self.lengths)


def distinct(cases: Cases, target: NDArray[Any] | None, weight: Numbers) -> tuple[Integers, Numbers]:
    """Find the cases that differ, in series or target, and add up the weights of copies.

    Returns
    -------
    rows : array of int
        Places of the cases that differ, in an order that follows from what they hold alone. Those without weight are
        left out.
    weight : array
        One number for each of these: the sum over its copies.
    """
    starts = cases.ends - cases.lengths
    present = np.flatnonzero(weight > 0.0)
    digests = bytearray()
    for n in present:
        digest = hashlib.blake2b(cases.steps[starts[n] : cases.ends[n]].data, digest_size=16)
        if target is not None:
            digest.update(target[n].tobytes())
        digests += digest.digest()
    keys = np.frombuffer(bytes(digests), ">u8").reshape(-1, 2)
    _, first, copy_of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    total: Numbers = np.bincount(copy_of.reshape(-1), weights=weight[present]).astype(np.float64)
    return present[first].astype(np.int64), total
