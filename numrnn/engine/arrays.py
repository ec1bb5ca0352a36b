"""Any array that a user may pass, read as the array that a kernel takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Array
from numrnn.engine import memory

__all__ = ["ready", "real_array"]

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
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(
            explain(head, f"`{name}` is a sparse array ({type(value).__name__}).", f"Pass {name}.toarray(), reshaped.")
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            explain(head, f"`{name}` is not one array: its nested rows differ in length.", f"NumPy says: {error}")
        ) from error
    except Exception as error:
        raise TypeError(
            explain(head, f"`{name}` ({type(value).__name__}) cannot be read as an array.", f"It says: {error}")
        ) from error
    if array.dtype.kind in "fiub" or np.can_cast(array.dtype, np.float64):  # the latter: bfloat16 and its kin
        return array
    if value is None or (array.dtype.kind == "O" and array.ndim == 0):
        raise TypeError(
            explain(
                head, f"`{name}` should be an array of real numbers, got {type(value).__name__}.", "Pass a NumPy array."
            )
        )
    held = _KINDS.get(array.dtype.kind, "values that are not real numbers")
    raise TypeError(
        explain(
            head,
            f"`{name}` holds {held} (dtype {array.dtype}), expected real numbers.",
            "Pass its real and imaginary parts as two features."
            if array.dtype.kind == "c"
            else f"Convert it first, for example {name}.astype('float64').",
        )
    )


def ready(array: NDArray[Any], dtype: np.dtype[Any], head: str, name: str) -> Array:
    """`array` itself where a kernel can read it, otherwise a copy: `dtype`, native, aligned, C-contiguous, no subclass.

    The copy is refused with MemoryError where this machine cannot hold it.
    """
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned and type(array) is np.ndarray:
        return array
    memory.require(array.size * dtype.itemsize, head, f"a copy of `{name}`")
    copy = np.asarray(array, dtype=dtype, order="C")
    return copy if copy.flags.aligned else copy.copy()
