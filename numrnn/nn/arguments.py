"""The arguments of constructors and calls, checked one by one."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from numrnn._errors import explain, kind_of

__all__ = [
    "choice",
    "count",
    "dropout_rate",
    "element_type",
    "flag",
    "forget_gate_bias",
    "not_yet",
    "number",
    "recomputation",
    "seed_number",
]


def not_yet(head: str, argument: str, reason: str, *advice: str) -> NotImplementedError:
    """Return the error for a feature that this version does not have."""
    return NotImplementedError(explain(head, f"`{argument}` is not implemented in this version: {reason}.", *advice))


def count(head: str, name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """An integer of `least` or more, and `most` at most; any integer type except bool."""
    if type(value) is int and value >= least and (most is None or value <= most):
        return value
    problem = f"`{name}` should be an int of {least} or more, got {kind_of(value)}."
    if isinstance(value, bool | np.bool_):
        raise TypeError(explain(head, problem))
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:  # also of an array, which has the method whatever it holds
        raise TypeError(explain(head, problem)) from error
    if number < least:
        raise ValueError(explain(head, f"`{name}` should be an int of {least} or more, got {number}."))
    if most is not None and number > most:
        raise ValueError(explain(head, f"`{name}` should be an int of {most} at most, got {number}."))
    return number


def flag(head: str, name: str, value: object, order: Sequence[str] = ()) -> bool:
    """True or False, and nothing that merely could be read so: a number here is a misplaced argument."""
    if value is True or value is False:
        return value
    if not isinstance(value, bool | np.bool_):
        hint = [f"Arguments in order: {', '.join(order)}."] if order else []
        raise TypeError(explain(head, f"`{name}` should be True or False, got {kind_of(value)}.", *hint))
    return bool(value)


def number(head: str, name: str, value: object) -> float:
    """A finite real number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(explain(head, f"`{name}` should be a real number, got {kind_of(value)}."))
    if not math.isfinite(value):
        raise ValueError(explain(head, f"`{name}` should be finite, got {value}."))
    return float(value)


def forget_gate_bias(head: str, value: object, bias: object) -> float | None:
    """The initial bias of forget gates, which need biases; None leaves it to `init`."""
    if value is None:
        return None
    start = number(head, "forget_bias", value)
    if not flag(head, "bias", bias):
        raise ValueError(explain(head, "`forget_bias` was given, but bias=False.", "Leave one of the two out."))
    return start


def choice(head: str, name: str, value: object, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        words = " or ".join(f'"{word}"' for word in allowed)
        raise ValueError(explain(head, f"`{name}` should be {words}, got {kind_of(value)}."))
    return value


def dropout_rate(head: str, value: object) -> float:
    """A probability; the error is always a ValueError, as in PyTorch."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ValueError(
            explain(head, f"`dropout` should be a number from 0 to 1, the probability of a zero, got {kind_of(value)}.")
        )
    return float(value)


def element_type(head: str, value: object) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        if value is None:
            raise TypeError("None is no dtype")
        dtype: np.dtype[Any] = np.dtype(value)  # type: ignore[call-overload]
    except TypeError as error:
        raise TypeError(explain(head, f'`dtype` should be "float32" or "float64", got {kind_of(value)}.')) from error
    if dtype not in (np.dtype("float32"), np.dtype("float64")):
        shown = dtype.name if dtype.isnative else f"{dtype.str}, in foreign byte order"
        raise ValueError(explain(head, f'`dtype` should be "float32" or "float64", got {shown}.'))
    return np.dtype(dtype.name)


def recomputation(head: str, value: object, internals: bool) -> bool | int:
    """Whether backward rebuilds what forward did not keep, or in pieces of how many steps; False where it does not."""
    if value is None or value is False:
        return False
    if value is not True:
        value = count(head, "recompute", value)
    if internals:
        reason = "`internals` are read from what forward keeps, and with recompute it keeps less."
        raise NotImplementedError(explain(head, reason, "Leave one of the two out."))
    return value


def seed_number(head: str, value: object) -> int | None:
    """An integer of 0 or more, or None for a seed from the operating system."""
    return None if value is None else count(head, "seed", value, least=0)
