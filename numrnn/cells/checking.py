"""`check`: a cell's `backward` against finite differences, and its compiled functions against themselves in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from numrnn import _jit
from numrnn._errors import explain, kind_of
from numrnn.cells.compiled import check_result, compile_functions, points
from numrnn.cells.definition import OwnCell, made
from numrnn.cells.steps import OwnStep
from numrnn.reference_cells import Array, Arrays

__all__ = ["check"]

_ROWS, _UNITS = 4, 6
_STEP, _SLOPES = 1e-5, 1e-6  # a central difference of float64 numbers is good to about 1e-10
_TOLERANCES = {"float64": 1e-12, "float32": 1e-4}  # activations to a few units in the last place, and what they cancel


def check(cell: type[OwnCell]) -> None:
    """Check a cell that `define` made; says nothing where all is well.

    On random numbers, some hidden units at once: each adjoint of `backward` is compared with the central difference of
    `forward`, both run by Python in float64; then the functions compiled, for float64 and for float32, with the same
    functions run by Python. That takes some seconds, and is done once, when a cell is written.

    Parameters
    ----------
    cell : class
        What `define` returned.

    Raises
    ------
    ValueError
        Adjoints that differ, each with an example of what came and what was expected.
    TypeError
        Something that `define` did not make; a function that does not compile or returns something else.

    Examples
    --------
    >>> from numrnn import cells
    >>> def forward(sums, states, vectors):
    ...     return (cells.tanh(sums[0]),), ()
    >>> def backward(d_states, kept, before, after, vectors):
    ...     return (d_states[0] * (1.0 - after[0]),), (0.0,), ()
    >>> Elman = cells.define("Elman", gates=("n",), forward=forward, backward=backward)
    >>> cells.check(Elman)
    Traceback (most recent call last):
        ...
    ValueError: Elman: `backward` is wrong.
      The adjoint of the sum of n is ..., a finite difference of `forward` gives ...
    """
    if not (isinstance(cell, type) and issubclass(cell, OwnCell) and cell is not OwnCell):
        raise TypeError(explain("check", f"`cell` should be a class that `define` made, got {kind_of(cell)}."))
    rng = np.random.default_rng(0)
    if not _jit.DISABLED:
        for dtype in _TOLERANCES:
            compile_functions(cell._spec_given, made(cell).compiled, dtype)
    wrong = _wrong_adjoints(made(cell).step, rng)
    if wrong:
        raise ValueError(explain(cell.__name__, "`backward` is wrong.", *wrong))
    if not _jit.DISABLED:
        _compare_compiled(cell, rng)


class _Points:
    """A step of some hidden units that have no neighbours: a late candidate's product is one with a number for each."""

    def __init__(self, step: OwnStep, rng: np.random.Generator) -> None:
        spec = step.spec
        self.step = step
        n_sums = spec.num_gates + (spec.candidate == "split")
        self.shape = (_ROWS, _UNITS)
        self.sums, self.states, self.vectors, self.d_states = (
            tuple(rng.standard_normal(self.shape) for _ in range(n))
            for n in (n_sums, len(spec.states), len(spec.vectors), len(spec.states))
        )
        self.late = spec.candidate == "late"
        self.weight = rng.standard_normal(self.shape)

    def forward(self, sums: Arrays, states: Arrays, vectors: Arrays) -> tuple[Arrays, Arrays]:
        """The states after the step, and what is kept."""
        functions = self.step.functions
        if self.late:
            operand = functions["operand"](sums[:-1], states, vectors)
            sums = (*sums[:-1], sums[-1] + self.weight * operand)
        found = functions["forward"](sums, states, vectors)
        check_result(self.step.spec, "forward", _form(found))
        after, kept = (tuple(np.broadcast_to(value, self.shape) for value in part) for part in found)
        return after, kept

    def backward(self) -> list[Array]:
        """The adjoints of sums, states and vectors, one after the other."""
        functions, (after, kept) = self.step.functions, self.forward(self.sums, self.states, self.vectors)
        found = functions["backward"](self.d_states, kept, self.states, after, self.vectors)
        check_result(self.step.spec, "backward", _form(found))
        d_sums, *others = found
        if self.late:
            more = functions["operand_backward"](self.weight * d_sums[-1], kept, self.states, self.vectors)
            check_result(self.step.spec, "operand_backward", _form(more))
            parts = zip((d_sums[:-1], *others), more, strict=True)
            d_gates, *others = [tuple(a + b for a, b in zip(first, then, strict=True)) for first, then in parts]
            d_sums = (*d_gates, d_sums[-1])
        return [np.broadcast_to(value, self.shape) for part in (d_sums, *others) for value in part]

    def names(self) -> list[str]:
        """What the adjoints are of."""
        spec = self.step.spec
        gates = [f"the sum of {gate}" for gate in spec.gates]
        if spec.candidate == "split":
            gates[-1:] = [f"the {side} side of {spec.gates[-1]}" for side in ("input", "recurrent")]
        return [
            *gates,
            *(f"{name} before the step" for name in spec.states),
            *(f"the vector {v}" for v in spec.vectors),
        ]

    def differences(self) -> list[Array]:
        """The same by central differences: no unit knows another, so all of an array are moved at once."""
        inputs = [*self.sums, *self.states, *self.vectors]
        n, m = len(self.sums), len(self.sums) + len(self.states)

        def value(k: int, step: float) -> Array:
            moved = [array + step if k == at else array for at, array in enumerate(inputs)]
            after, _ = self.forward(tuple(moved[:n]), tuple(moved[n:m]), tuple(moved[m:]))
            return sum((w * state for w, state in zip(self.d_states, after, strict=True)), np.zeros(self.shape))

        return [(value(k, _STEP) - value(k, -_STEP)) / (2 * _STEP) for k in range(len(inputs))]


def _form(found: Any) -> Any:
    """What a function of Python returned, as `compiled.check_result` reads it."""
    if isinstance(found, tuple):
        return tuple(_form(part) for part in found)
    return None if isinstance(found, np.ndarray | np.generic | float | int) else type(found).__name__


def _wrong_adjoints(step: OwnStep, rng: np.random.Generator) -> list[str]:
    points = _Points(step, rng)
    lines = []
    for name, found, expected in zip(points.names(), points.backward(), points.differences(), strict=True):
        error = np.abs(found - expected)
        if not np.all(error <= _SLOPES * max(1.0, float(np.abs(expected).max()))):
            at = np.unravel_index(np.argmax(error), error.shape)  # the first NaN, if there is one
            lines.append(
                f"The adjoint of {name} is {found[at]:.6g}, a finite difference of `forward` gives {expected[at]:.6g}."
            )
    return lines


def _compare_compiled(cell: type[OwnCell], rng: np.random.Generator) -> None:
    """Raise where the compiled functions and the same run by Python differ."""
    at = _Points(made(cell).step, rng)
    after, kept = at.forward(at.sums, at.states, at.vectors)
    expected = (*after, *kept), tuple(at.backward())
    rests = (*at.vectors, at.weight)
    given = (*at.sums, *at.states, *rests), (*at.d_states, *kept, *at.states, *after, *rests)
    for dtype, tolerance in _TOLERANCES.items():
        for name, kernel, inputs, results in zip(
            ("forward", "backward"), points(made(cell).tag, on_disk=cell._on_disk), given, expected, strict=True
        ):
            read = np.stack(inputs).reshape(len(inputs), -1).astype(dtype)
            found = np.empty((len(results), read.shape[1]), dtype)
            kernel(read.shape[1], read.ravel(), found.ravel())
            right = np.stack(results).reshape(found.shape)
            if not np.allclose(found, right, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(right).max()))):
                problem = f"`{name}` gives other numbers when it is compiled for {dtype} than in Python."
                raise ValueError(explain(cell.__name__, problem, "Does it read what changes between calls?"))
