"""Any array that a user may pass, read as the array that a kernel takes."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Array
from numrnn.engine import memory

__all__ = ["is_ready", "ready", "real_array"]

_KINDS = {
    "c": "complex numbers",
    "M": "dates",
    "m": "time differences",
    "O": "Python objects",
    "S": "bytes",
    "T": "text",
    "U": "text",
    "V": "records",
}
_ADVICE = {
    "c": "Pass real and imaginary parts as two features.",
    "V": "Pass one field, or stack the fields along the last axis.",
}


def real_array(value: object, head: str, name: str) -> NDArray[Any]:
    """Read `value` as an array of real numbers, whatever their precision; nothing is copied that is an array already.

    Raises
    ------
    TypeError
        Masked, sparse, complex, object, text, date and record arrays, and what is no array at all.
    ValueError
        Nested lists of unequal lengths.
    """
    if type(value) is np.ndarray and value.dtype.kind == "f":
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            explain(
                head,
                f"`{name}` is a masked array, and a mask is not read.",
                f"Pass {name}.filled(0.0), or the valid part.",
            )
        )
    if hasattr(value, "batch_sizes"):
        advice = f"Pass {name}.data, or pad_packed_sequence({name})[0]."
        raise TypeError(explain(head, f"`{name}` is a packed sequence, and an array is expected here.", advice))
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(
            explain(head, f"`{name}` is a sparse array ({type(value).__name__}).", f"Pass {name}.toarray(), reshaped.")
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            explain(head, f"`{name}` is not one array: its nested rows differ in length.", "Pad them to one length.")
        ) from error
    except Exception as error:
        raise TypeError(
            explain(head, f"`{name}` ({type(value).__name__}) cannot be read as an array.", f"It says: {error}")
        ) from error
    if array.dtype.kind in "fiub" or np.can_cast(array.dtype, np.float64):
        return array  # can_cast speaks for bfloat16 and its kin
    if value is None or (array.dtype.kind == "O" and array.ndim == 0):
        raise TypeError(
            explain(
                head, f"`{name}` should be an array of real numbers, got {type(value).__name__}.", "Pass a NumPy array."
            )
        )
    held = _KINDS.get(array.dtype.kind, "values that are not real numbers")
    advice = _ADVICE.get(array.dtype.kind, f"Convert it first, for example {name}.astype('float64').")
    raise TypeError(explain(head, f"`{name}` holds {held} (dtype {array.dtype}), expected real numbers.", advice))


def is_ready(value: object, dtype: np.dtype[Any]) -> TypeGuard[Array]:
    """Whether a kernel can read `value` where it stands: `dtype`, native, aligned, C-contiguous, no subclass."""
    if type(value) is not np.ndarray or value.dtype != dtype:
        return False
    flags = value.flags
    return flags.c_contiguous and flags.aligned


def ready(array: NDArray[Any], dtype: np.dtype[Any], head: str, name: str) -> Array:
    """`array` itself where it `is_ready`, otherwise a copy that is.

    The copy is refused with MemoryError where this machine cannot hold it. A number beyond the range of `dtype` becomes
    Inf there, as the numbers of the result would.
    """
    if is_ready(array, dtype):
        return array
    memory.require(array.size * dtype.itemsize, head, f"a copy of `{name}`")
    with np.errstate(over="ignore", invalid="ignore"):
        copy = np.asarray(array, dtype=dtype, order="C")
    return copy if copy.flags.aligned else copy.copy()
