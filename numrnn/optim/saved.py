"""What optimisers and schedules save, read back: names of arrays, and single numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn.engine.arrays import real_array

__all__ = ["check_names", "one_integer", "one_number"]


def check_names(head: str, state_dict: object, expected: Iterable[str]) -> Mapping[str, Any]:
    """Return the mapping, whose names must be those expected."""
    if not isinstance(state_dict, Mapping):
        problem = f"`state_dict` should be a mapping of names to arrays, got {type(state_dict).__name__}."
        raise TypeError(explain(head, problem, "Pass what state_dict() returned."))
    names = list(expected)
    missing = [name for name in names if name not in state_dict]
    unexpected = [name for name in state_dict if name not in names]
    if missing or unexpected:
        wrong = [f"missing {', '.join(missing)}"] if missing else []
        wrong += [f"unexpected {', '.join(map(str, unexpected))}"] if unexpected else []
        advice = "It was saved by another kind, or with other arguments. Nothing was changed."
        raise ValueError(explain(head, f"the names do not match: {'; '.join(wrong)}.", advice))
    return state_dict


def one_number(head: str, name: str, value: object, *, least: float = 0.0, finite: bool = True) -> float:
    """A real number of `least` or more, of no axes."""
    array: NDArray[Any] = real_array(value, head, name)
    if array.shape != ():
        problem = f"`{name}` has shape {array.shape}, expected one number, without an axis."
        raise ValueError(explain(head, problem, "Nothing was changed."))
    found = float(array)
    if math.isnan(found) or found < least or (finite and math.isinf(found)):
        problem = f"`{name}` is {found}, which it cannot have been when it was saved."
        raise ValueError(explain(head, problem, "Nothing was changed."))
    return found


def one_integer(head: str, name: str, value: object) -> int:
    """An integer of 0 or more, of no axes."""
    found = one_number(head, name, value)
    if np.asarray(value).dtype.kind not in "iu":
        problem = f"`{name}` should be an integer, got {np.asarray(value).dtype}."
        raise TypeError(explain(head, problem, "Nothing was changed."))
    return int(found)
