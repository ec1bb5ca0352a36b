"""Gradients as a pullback returns them."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numrnn._errors import explain
from numrnn._types import Array
from numrnn.engine.packed import PackedSequence

__all__ = ["Gradients", "shape_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients of one scalar with respect to everything that a call was given.

    Attributes
    ----------
    x : in the form of the input: an array, a list of arrays or a packed sequence; None if it was not asked for
        0 at padded steps.
    h_0 : array, in the shape of the state given, or of `h_n`; None where there is no state
    c_0 : the same; None where the cell has no cell state
    parameters : dict of str to array
        The keys and shapes of the layer's own `parameters`.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> layer = numrnn.GRU(2, 3, seed=0)
    >>> result, pullback = layer.vjp(np.ones((5, 1, 2)))
    >>> gradients = pullback(np.ones_like(result.output))
    >>> twice = gradients + gradients
    >>> bool(np.isclose(twice.norm(), (gradients * 2.0).norm()))
    True
    """

    __array_ufunc__: ClassVar[None] = None  # or an array would multiply element by element

    x: Any
    h_0: Array | None
    c_0: Array | None
    parameters: dict[str, Array]

    def __add__(self, other: object) -> Gradients:
        """Accumulate, for example over the parts of a batch.

        `x`, `h_0`, `c_0` are added where both have them in one shape; otherwise the sum has no meaning and is None.
        """
        if not isinstance(other, Gradients):
            return NotImplemented
        if _shapes(self.parameters) != _shapes(other.parameters):
            raise ValueError(
                explain(
                    "Gradients",
                    "the sum of gradients of different models.",
                    f"Left: {_shapes(self.parameters)}.",
                    f"Right: {_shapes(other.parameters)}.",
                )
            )
        return Gradients(
            _sum_of_steps(self.x, other.x),
            _sum(self.h_0, other.h_0),
            _sum(self.c_0, other.c_0),
            {name: value + other.parameters[name] for name, value in self.parameters.items()},
        )

    def __mul__(self, scalar: object) -> Gradients:
        if not isinstance(scalar, numbers.Real):
            return NotImplemented
        factor = float(scalar)  # a Python float leaves float32 arrays as they are, a NumPy float64 would not
        return Gradients(
            _scaled(self.x, factor),
            None if self.h_0 is None else self.h_0 * factor,
            None if self.c_0 is None else self.c_0 * factor,
            {name: value * factor for name, value in self.parameters.items()},
        )

    __rmul__ = __mul__

    def norm(self) -> float:
        """Return the Euclidean norm of all parameters' gradients together, computed in float64.

        Returns
        -------
        float
            What `clip_by_global_norm` compares; `x`, `h_0` and `c_0` do not enter.
        """
        return math.hypot(*(_norm(value) for value in self.parameters.values()))

    def __repr__(self) -> str:
        parts = [
            f"{name} {shape_of(value)}"
            for name, value in (("x", self.x), ("h_0", self.h_0), ("c_0", self.c_0))
            if value is not None
        ]
        return f"Gradients({', '.join([*parts, f'{len(self.parameters)} parameters'])})"


def shape_of(steps: Any) -> str:
    """The shape of an array, or what stands for it in a list or a packed sequence."""
    if isinstance(steps, list):
        return f"of {len(steps)} sequences"
    return f"packed {steps.data.shape}" if isinstance(steps, PackedSequence) else str(steps.shape)


def _sum_of_steps(left: Any, right: Any) -> Any:
    """The sum of gradients of x in any form, None where they do not match."""
    if isinstance(left, list) and isinstance(right, list):
        sums = [_sum(one, other) for one, other in zip(left, right, strict=False)]
        return sums if len(left) == len(right) and all(part is not None for part in sums) else None
    if isinstance(left, PackedSequence) and isinstance(right, PackedSequence):
        alike = all(_equal(one, other) for one, other in zip(left[1:], right[1:], strict=True))
        return left._replace(data=left.data + right.data) if alike else None
    return _sum(left, right) if isinstance(left, np.ndarray) and isinstance(right, np.ndarray) else None


def _equal(left: Any, right: Any) -> bool:
    return np.array_equal(left, right) if left is not None and right is not None else left is right


def _scaled(steps: Any, factor: float) -> Any:
    if isinstance(steps, list):
        return [array * factor for array in steps]
    if isinstance(steps, PackedSequence):
        return steps._replace(data=steps.data * factor)
    return None if steps is None else steps * factor


def _shapes(parameters: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in parameters.items()}


def _sum(left: Array | None, right: Array | None) -> Array | None:
    return left + right if left is not None and right is not None and left.shape == right.shape else None


def _norm(array: Array) -> float:
    """Euclidean norm that does not overflow where its value does not."""
    largest = float(np.max(np.abs(array), initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    scaled = array.astype(np.float64).ravel() / largest
    return largest * math.sqrt(float(np.sum(scaled * scaled)))
