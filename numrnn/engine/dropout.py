"""Dropout on what one layer hands to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.engine.buffers import flat
from numrnn.engine.geometry import Integers
from numrnn.kernels import dropout as kernels
from numrnn.kernels import launch

Array = NDArray[Any]

_POSITIONS_A_THREAD = 20_000


@dataclass(frozen=True, slots=True)
class Dropout:
    """A dropout mask of a call, as a function of (seed, layer, t, row, unit); a unit's number tells its direction.

    `t_0` and `row_0` say where this call stands in a larger whole. t is time, also where steps run back in it: `turned`
    then has the length of each row, whose last step comes first.
    """

    probability: float
    seed: int
    t_0: int = 0
    row_0: int = 0
    turned: Integers | int | None = None

    def __call__(self, x: Array, layer: int, n_threads: int) -> Array:
        """Return x (T, N, features), the output of `layer` or its adjoint, masked and scaled by 1 / (1 - p)."""
        if self.probability >= 1:
            return np.zeros_like(x)
        out = np.empty_like(x)
        if x.size == 0:
            return out
        steps, rows, features = x.shape
        n_tasks = max(1, min(n_threads, rows, x.size // _POSITIONS_A_THREAD))
        way, first = (1, 0) if self.turned is None else (-1, np.subtract(self.turned, 1))
        request = np.empty(kernels.DROPOUT_FIELDS + rows, np.int64)
        request[: kernels.DROPOUT_FIELDS] = n_tasks, steps, rows, features, self.row_0, way
        request[kernels.DROPOUT_FIELDS :] = self.t_0 + first
        threshold, scale = np.uint64(self.threshold), x.dtype.type(self.scale)
        launch.run(launch.DROPOUT, n_tasks, request, self.key(layer), threshold, scale, flat(x), flat(out))
        return out

    def key(self, layer: int) -> np.uint64:
        """The stream of a layer's masks."""
        key: np.uint64 = np.random.SeedSequence([self.seed, layer]).generate_state(1, np.uint64)[0]
        return key

    @property
    def threshold(self) -> int:
        """A number is dropped where 24 random bits are below it."""
        return round(self.probability * 2**24)

    @property
    def scale(self) -> float:
        """What the numbers that are kept are multiplied with; 0 where none is."""
        return 1 / (1 - self.probability) if self.probability < 1 else 0.0
