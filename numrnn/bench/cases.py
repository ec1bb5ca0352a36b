"""What is measured: a cell, its sizes, a direction of computation; and the numbers that every library is given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CELLS, CellSpec, parameter_shapes

__all__ = ["CELL_NAMES", "GRID", "MODES", "Case", "Problem", "make_problem"]

CELL_NAMES = {"lstm": "lstm", "gru": "gru", "rnn": "rnn_tanh"}
MODES = ("forward", "training")

# (N, T, I, H) of one layer: from a single step of one sequence to what no cache holds.
GRID: tuple[tuple[int, int, int, int], ...] = (
    (1, 1, 16, 32),
    (1, 100, 32, 64),
    (1, 256, 256, 256),
    (1, 100, 512, 512),
    (32, 100, 32, 32),
    (32, 100, 64, 128),
    (64, 100, 256, 256),
    (64, 50, 512, 512),
    (128, 50, 1024, 1024),
    (256, 100, 64, 64),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: `cell` is a key of `CELL_NAMES`, `shape` is (N, T, I, H), `mode` one of `MODES`."""

    cell: str
    shape: tuple[int, int, int, int]
    mode: str = "forward"
    dtype: str = "float32"

    @property
    def spec(self) -> CellSpec:
        """The cell's row in the table of cells."""
        return CELLS[CELL_NAMES[self.cell]]

    @property
    def training(self) -> bool:
        """Whether a call is forward and backward."""
        return self.mode == "training"

    @property
    def flops(self) -> int:
        """Operations of the products of one call; the activations are not counted."""
        n, t, i, h = self.shape
        return 2 * self.spec.num_gates * h * (i + h) * n * t * (3 if self.training else 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can carry."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Case:
        """Inverse of `as_dict`."""
        return cls(fields["cell"], tuple(fields["shape"]), fields["mode"], fields["dtype"])

    def __str__(self) -> str:
        return f"{self.cell} {','.join(map(str, self.shape))} {self.mode} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Problem:
    """The arrays of a case: parameters under PyTorch's names, `x` (T, N, I), and `d_output` (T, N, H)."""

    case: Case
    parameters: dict[str, NDArray[Any]]
    x: NDArray[Any]
    d_output: NDArray[Any]


def make_problem(case: Case) -> Problem:
    """Draw the arrays of a case; the same ones in every process."""
    n, t, i, h = case.shape
    rng = np.random.default_rng(2_024)
    bound = 1 / np.sqrt(h)
    parameters = {
        name: rng.uniform(-bound, bound, shape).astype(case.dtype)
        for name, shape in parameter_shapes(case.spec, i, h, 1, True).items()
    }
    return Problem(
        case,
        parameters,
        rng.standard_normal((t, n, i)).astype(case.dtype),
        rng.standard_normal((t, n, h)).astype(case.dtype),
    )
