"""What is measured: a cell, its sizes, a direction of computation; and the numbers that every library is given."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CELLS, CellSpec, parameter_shapes

__all__ = ["CELL_NAMES", "GRID", "MODES", "RAGGED", "Case", "Problem", "make_problem", "read_shape"]

CELL_NAMES = {"lstm": "lstm", "gru": "gru", "rnn": "rnn_tanh"}
MODES = ("forward", "training")

# N,T,I,H of one layer, as the command line has them: from a single step of one sequence to what no cache holds.
RAGGED = ("64,10..200,64,128", "64,10..200,256,256")
GRID = (
    "1,1,16,32",
    "1,100,32,64",
    "1,256,256,256",
    "1,100,512,512",
    "32,100,32,32",
    "32,100,64,128",
    "64,100,256,256",
    "64,50,512,512",
    "128,50,1024,1024",
    "256,100,64,64",
    *RAGGED,
)


def read_shape(text: str) -> tuple[tuple[int, int, int, int], int | None]:
    """Read `N,T,I,H`, where T may be a range of lengths; returns the shape, T the longest, and the shortest length.

    Examples
    --------
    >>> read_shape("32,100,64,128")
    ((32, 100, 64, 128), None)
    >>> read_shape("64,10..200,64,128")
    ((64, 200, 64, 128), 10)
    """
    try:
        n, times, i, h = text.split(",")
        first, dots, last = times.partition("..")
        shape, shortest = (int(n), int(last if dots else first), int(i), int(h)), int(first) if dots else None
    except ValueError:
        raise ValueError(
            f"{text}: expected four integers N,T,I,H, where T may be a range of lengths such as 10..200"
        ) from None
    if min(*shape, shape[1] if shortest is None else shortest) < 1:
        raise ValueError(f"{text}: every size is 1 or more")
    if shortest is not None and shortest > shape[1]:
        raise ValueError(f"{text}: a range of lengths begins with the shortest")
    return shape, shortest


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: `cell` is a key of `CELL_NAMES`, `shape` is (N, T, I, H), `mode` one of `MODES`.

    With `shortest` the sequences differ in length: uniformly drawn from `shortest` to T, at least one has T.
    """

    cell: str
    shape: tuple[int, int, int, int]
    mode: str = "forward"
    dtype: str = "float32"
    shortest: int | None = None

    @property
    def spec(self) -> CellSpec:
        """The cell's row in the table of cells."""
        return CELLS[CELL_NAMES[self.cell]]

    @property
    def training(self) -> bool:
        """Whether a call is forward and backward."""
        return self.mode == "training"

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """(N,), the length of each sequence; the same ones in every process, None where all have T."""
        if self.shortest is None:
            return None
        n, t = self.shape[:2]
        rng = np.random.default_rng(2_025)
        lengths = rng.integers(self.shortest, t, n, endpoint=True)
        lengths[rng.integers(n)] = t
        return lengths

    @property
    def steps(self) -> int:
        """The sum of lengths."""
        n, t = self.shape[:2]
        lengths = self.lengths
        return n * t if lengths is None else int(lengths.sum())

    @property
    def flops(self) -> int:
        """Operations of the products of one call; neither activations nor padding are counted."""
        _, _, i, h = self.shape
        return 2 * self.spec.num_gates * h * (i + h) * self.steps * (3 if self.training else 1)

    @property
    def dense_twin(self) -> Case:
        """The same case, but every sequence has length T."""
        return replace(self, shortest=None)

    @property
    def sizes(self) -> tuple[str, str, str, str]:
        """N, T, I and H as they are written; T may be a range."""
        n, t, i, h = map(str, self.shape)
        return n, t if self.shortest is None else f"{self.shortest}..{t}", i, h

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in a form that JSON can carry."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Case:
        """Inverse of `as_dict`."""
        return cls(fields["cell"], tuple(fields["shape"]), fields["mode"], fields["dtype"], fields["shortest"])

    def __str__(self) -> str:
        return f"{self.cell} {','.join(self.sizes)} {self.mode} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Problem:
    """The arrays of a case: parameters under PyTorch's names, `x` (T, N, I), `d_output` (T, N, H), `lengths` (N,).

    Padding holds numbers as any other step does; who reads it computes something else.
    """

    case: Case
    parameters: dict[str, NDArray[Any]]
    x: NDArray[Any]
    d_output: NDArray[Any]
    lengths: NDArray[np.int64] | None


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
        case.lengths,
    )
