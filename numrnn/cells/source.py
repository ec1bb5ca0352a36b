"""What a user's function depends on: its source, that of the functions it calls, and the values it reads."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from enum import Enum, EnumType
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

__all__ = ["compilable", "digest_of", "plain"]

_KNOWN = {"numrnn", "numpy", "math", "numba"}
"""Packages whose functions are told by their names: a digest of the compiled code has their versions."""


class _NoSourceError(Exception):
    """Something that has no source."""


def digest_of(functions: dict[str, FunctionType]) -> str | None:
    """A digest of functions by name, with all that they reach; None where something has no source to be read."""
    try:
        parts = [f"{name}\0{part}" for name, function in functions.items() for part in _parts(function, set())]
    except _NoSourceError:
        return None
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _names(code: CodeType) -> set[str]:
    """Global names and attributes that a function's code and the functions inside it use."""
    inner = (_names(part) for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*inner)


def _constants(code: CodeType) -> Iterator[str]:
    """What a function's code and the functions inside it are, beside their text: two lambdas may share a line."""
    yield code.co_code.hex()
    yield repr(code.co_names)
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _constants(value)
        else:
            yield repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The values that a function reads by name, from outside."""
    names = _names(function.__code__)
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        yield name, value
        yield from _inside(name, value, names, set())
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _inside(path: str, value: Any, names: set[str], seen: set[str]) -> Iterator[tuple[str, Any]]:
    """What is read of a user's module, and of the modules in it."""
    if not isinstance(value, ModuleType) or value.__name__.partition(".")[0] in _KNOWN or value.__name__ in seen:
        return
    seen.add(value.__name__)
    for name in sorted(names):
        if hasattr(value, name):
            inner = getattr(value, name)
            yield f"{path}.{name}", inner
            yield from _inside(f"{path}.{name}", inner, names, seen)


def _is_known(value: Any) -> bool:
    """Whether a function or an object is of a package whose version says enough."""
    return str(getattr(value, "__module__", None) or "").partition(".")[0] in _KNOWN


def _is_builtin(value: Any) -> bool:
    """Whether a class is one of Python's own."""
    return isinstance(value, type) and value.__module__ == "builtins"


def _parts(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    if function in seen:
        return
    seen.add(function)
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise _NoSourceError from error
    yield from _constants(function.__code__)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _value(default, seen)
    for name, value in _reached(function):
        yield from (f"{name}={part}" for part in _value(value, seen))


def _value(value: Any, seen: set[FunctionType]) -> Iterator[str]:
    value = getattr(value, "py_func", value)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        yield repr(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, tuple):
        for part in value:
            yield from _value(part, seen)
    elif _is_known(value):
        yield f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}"
    elif isinstance(value, FunctionType):
        yield from _parts(value, seen)
    elif isinstance(value, EnumType):
        members: dict[str, Enum] = dict(value.__members__)
        yield from _value(tuple((name, member.value) for name, member in members.items()), seen)
    elif isinstance(value, ModuleType | BuiltinFunctionType | np.ufunc) or _is_builtin(value):
        yield value.__name__
    else:
        raise _NoSourceError


def plain(function: FunctionType) -> FunctionType:
    """The function as Python runs it: compiled functions that it calls are run by Python too."""
    return _rebuilt(function, lambda value: getattr(value, "py_func", value), lambda value: value)


def compilable(function: FunctionType, compiled: Callable[[FunctionType], Any]) -> FunctionType:
    """The function as it can be compiled: plain functions that it calls are `compiled`."""
    return _rebuilt(function, lambda value: value, compiled)


def _rebuilt(
    function: FunctionType,
    before: Callable[[Any], Any],
    after: Callable[[FunctionType], Any],
    outer: tuple[FunctionType, ...] = (),
) -> FunctionType:
    """The same code where the functions that it calls by name, and those that they call, are changed."""

    def change(value: Any) -> Any:
        inner = before(value)
        if not isinstance(inner, FunctionType) or _is_known(inner) or inner in (function, *outer):
            return value
        return after(_rebuilt(inner, before, after, (function, *outer)))

    # only what it reads, or a cell would keep all that its module has, such as a notebook's arrays
    names = _names(function.__code__) | {"__builtins__", "__name__"}
    read = {name: change(function.__globals__[name]) for name in names & function.__globals__.keys()}
    closure = tuple(CellType(change(cell.cell_contents)) for cell in function.__closure__ or ())
    twin = FunctionType(function.__code__, read, function.__name__, function.__defaults__, closure)
    twin.__kwdefaults__, twin.__qualname__ = function.__kwdefaults__, function.__qualname__
    return twin
