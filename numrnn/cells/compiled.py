"""A cell's functions compiled, and its entry kernels, whose errors name the function that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn

from numrnn import _jit
from numrnn._errors import explain
from numrnn.cells.source import compilable
from numrnn.cellspec import CellSpec
from numrnn.kernels import own_cell
from numrnn.kernels.several import result_of

__all__ = ["check_result", "compile_functions", "entries", "jit_step", "points", "pointwise"]


def pointwise(function: FunctionType, cell: str) -> Any:
    """A user's function as kernels call it, and those that it calls, with the package's options.

    They stand in the package, under a name of their cell's: compiled code is told from other code by names, and a
    process that finds it on disk need not have the user's module.
    """

    def compiled(twin: FunctionType) -> Any:
        twin.__module__ = twin.__globals__["__name__"] = own_cell.__name__
        twin.__qualname__ = f"{cell}.{twin.__qualname__}"
        return _jit.kernel(twin)

    return compiled(compilable(function, compiled))


def entries(spec: CellSpec, tag: _jit.CellTag, functions: dict[str, Any], *, on_disk: bool) -> tuple[Any, Any]:
    """The serial and the parallel twin, forward and backward."""
    made = [
        _Entry(_jit.entry_of_cell(template, tag, parallel=parallel, on_disk=on_disk), spec, functions)
        for template, parallel in (
            (own_cell.forward_serial, False),
            (own_cell.forward_parallel, True),
            (own_cell.backward_serial, False),
            (own_cell.backward_parallel, True),
        )
    ]
    return (made[0], made[1]), (made[2], made[3])


def jit_step(tag: _jit.CellTag, *, on_disk: bool) -> Any:
    """One step of a stack, for `numrnn.jit`."""
    return _jit.entry_of_cell(own_cell.step, tag, parallel=False, on_disk=on_disk)


def points(tag: _jit.CellTag, *, on_disk: bool) -> tuple[Any, Any]:
    """One step of some units, forward and backward."""
    forward, backward = (
        _jit.entry_of_cell(template, tag, parallel=False, on_disk=on_disk)
        for template in (own_cell.points_forward, own_cell.points_backward)
    )
    return forward, backward


class _Entry:
    """An entry kernel that says, where it cannot be compiled, which of the user's functions is the reason."""

    __slots__ = ("_functions", "_kernel", "_spec")

    def __init__(self, kernel: Callable[..., Any], spec: CellSpec, functions: dict[str, Any]) -> None:
        self._kernel = kernel
        self._spec = spec
        self._functions = functions

    def __call__(self, *arguments: Any) -> None:
        try:
            self._kernel(*arguments)
        except _jit.CompileError:
            compile_functions(self._spec, self._functions, arguments[1].dtype.name)
            raise  # none of them is: an error of ours

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)


def compile_functions(spec: CellSpec, functions: dict[str, Any], dtype: str) -> None:
    """Compile each function alone, for vectors of a dtype; raises TypeError for what is wrong with it."""
    n_sums, n_states = spec.num_gates + (spec.candidate == "split"), len(spec.states)
    n_kept, n_vectors = len(spec.saved), len(spec.vectors)
    given: dict[str, tuple[int | None, ...]] = {
        "forward": (n_sums, n_states, n_vectors),
        "backward": (n_states, n_kept, n_states, n_states, n_vectors),
        "operand": (spec.num_gates - 1, 1, n_vectors),
        "operand_backward": (None, n_kept, 1, n_vectors),
    }
    for name, function in functions.items():
        try:
            found = result_of(function, dtype, given[name])
        except _jit.CompileError as error:
            problem = f"`{name}` does not compile for vectors of {dtype}."
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise TypeError(explain(spec.name, problem, *lines)) from error
        check_result(spec, name, found)


def check_result(spec: CellSpec, function: str, found: Any) -> None:
    """Refuse what a function returned if it has another form than it should; None is a vector or a number."""
    n_sums = spec.num_gates + (spec.candidate == "split")
    d_inputs = ("d_before", len(spec.states)), ("d_vectors", len(spec.vectors))
    parts: tuple[tuple[str, int], ...] = {
        "forward": (("states", len(spec.states)), ("kept", len(spec.saved))),
        "backward": (("d_sums", n_sums), *d_inputs),
        "operand": (),
        "operand_backward": (("d_gates", spec.num_gates - 1), *d_inputs),
    }[function]
    if not parts:
        if found is not None:
            _refuse(spec.name, function, "one vector", found)
        return
    wanted = ", ".join(f"{name} of {n}" for name, n in parts)
    if not isinstance(found, tuple) or len(found) != len(parts):
        _refuse(spec.name, function, f"a tuple of the tuples {wanted}", found)
    for (name, n), part in zip(parts, found, strict=True):
        if not isinstance(part, tuple) or part != (None,) * n:
            _refuse(spec.name, function, f"a tuple of the tuples {wanted}", found, f"Not as expected: {name}.")


def _refuse(head: str, function: str, expected: str, found: Any, *lines: str) -> NoReturn:
    raise TypeError(explain(head, f"`{function}` returns {_shown(found)}, expected {expected}.", *lines))


def _shown(found: Any) -> str:
    if found is None:
        return "a vector"
    if isinstance(found, str):
        return found
    return f"({', '.join(_shown(part) for part in found)}{',' * (len(found) == 1)})"
