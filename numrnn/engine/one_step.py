"""The input and the states of a single step: read, and refused with the reading that would be right."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import Array, Shape
from numrnn.cellspec import CELLS
from numrnn.engine.arrays import is_ready, ready, real_array
from numrnn.engine.signature import Signature

__all__ = ["read_cell_states", "read_part", "read_step"]


def read_step(
    signature: Signature, value: object, name: str, axes: str, rank: int | None = None, several: str = ""
) -> Array:
    """Read (N, input_size) or (input_size,), of `rank` axes if that is given.

    `axes` says in words which are meant, and `several` where more than one step would go.
    """
    wanted = signature.input_size
    if is_ready(value, signature.dtype) and value.ndim in (1, 2) and value.shape[-1] == wanted:
        return value
    if hasattr(value, "last_output"):
        raise TypeError(explain(signature.head, f"`{name}` is a whole result.", f"Pass one step: {name}.output[t]."))
    array = real_array(value, signature.head, name)
    shape = array.shape
    read = f"{name}.shape = {shape}, expected {axes}: one step has no axis of time."
    if array.ndim not in ((1, 2) if rank is None else (rank,)):
        problem = f"`{name}` has {array.ndim} axes, expected {rank or '1 or 2'}."
        advice = several if array.ndim > (rank or 2) else "Pass an array with these axes."
        raise ValueError(explain(signature.head, problem, read, advice))
    if shape[-1] != wanted:
        if shape[0] == wanted:
            advice = f"Axis 0 has {wanted} entries: if these are the features, pass {name}.T."
        elif array.ndim == 1 and wanted == 1:
            advice = f"For a batch of rows of one feature pass {name}[:, None]."
        else:
            advice = f"Features are the last axis: pass {wanted} of them."
        raise ValueError(
            explain(signature.head, f"`{name}` has {shape[-1]} features, expected {wanted}.", read, advice)
        )
    return ready(array, signature.dtype, signature.head, name)


def read_cell_states(
    signature: Signature, rows: Shape, hx: object
) -> tuple[tuple[Array, Array | None], tuple[bool, bool]]:
    """Return (1, N, H) of h and of c, and whether each was given as one row for the whole batch.

    `rows` is () or (N,), the axes of x before its features.
    """
    if hasattr(hx, "last_output"):
        parts = "(result.h_n[-1], result.c_n[-1])" if CELLS[signature.cell].has_cell_state else "result.h_n[-1]"
        raise TypeError(explain(signature.head, "`hx` is a whole result.", f"Pass {parts}."))
    given: tuple[object, ...] = (hx,)
    names: tuple[str, ...] = ("hx",)
    if CELLS[signature.cell].has_cell_state:
        if not isinstance(hx, tuple | list) or len(hx) != 2:
            got = f"an array of shape {hx.shape}" if isinstance(hx, np.ndarray) else kind_of(hx)
            got = f"a {type(hx).__name__} of {len(hx)}" if isinstance(hx, tuple | list) else got
            advice = "Pass what the last step returned; for one half of the pair pass zeros."
            raise TypeError(explain(signature.head, f"`hx` should be a pair (h, c), got {got}.", advice))
        given, names = tuple(hx), ("hx[0]", "hx[1]")
    elif isinstance(hx, tuple) and any(getattr(part, "ndim", 0) > 0 for part in hx):
        problem = f"`hx` is a tuple of {len(hx)}, expected one array h."
        raise TypeError(
            explain(signature.head, problem, "Pass h alone; (h, c) is for cells with a cell state, such as LSTMCell.")
        )
    read = [_read_state(signature, rows, part, name) for part, name in zip(given, names, strict=True)]
    states, shared = [array for array, _ in read], [alone for _, alone in read]
    return (states[0], states[1] if len(states) == 2 else None), (shared[0], shared[-1])


def _read_state(signature: Signature, rows: Shape, part: object, name: str) -> tuple[Array, bool]:
    array = real_array(part, signature.head, name)
    expected = (*rows, signature.hidden_size)
    shared = False
    if array.shape != expected:
        shared = len(rows) == 1 and array.shape == (1, signature.hidden_size)
        if not shared:
            _refuse_state(signature, rows, array.shape, name)
        array = np.broadcast_to(array, expected)
    return ready(array, signature.dtype, signature.head, name).reshape(1, -1, signature.hidden_size), shared


def _refuse_state(signature: Signature, rows: Shape, shape: Shape, name: str) -> NoReturn:
    expected = (*rows, signature.hidden_size)
    read = "x is (batch, features), so a state is (batch, hidden_size)." if rows else "x is one row, and so is a state."
    if len(shape) == 3:
        advice = f"A cell has no axis of layers: pass {name}[0]."
    elif rows and shape == expected[1:]:
        advice = f"For one state that stands for every row pass {name}[None]."
    elif rows and shape == expected[::-1]:
        advice = f"Its axes look swapped: pass {name}.T."
    elif not rows and shape == (1, *expected):
        advice = f"Pass {name}[0], or give x its batch axis."
    elif shape[-1:] != expected[-1:]:
        advice = f"Pass hidden_size={signature.hidden_size} features."
    else:
        advice = "Pass a state for each row of x, or one row that stands for all."
    raise ValueError(explain(signature.head, f"`{name}` has shape {shape}, expected {expected}.", read, advice))


def read_part(signature: Signature, shape: Shape, value: object, name: str) -> Array | None:
    """Read the cotangent of a step's result, which has `shape`."""
    if value is None:
        return None
    array = real_array(value, signature.head, name)
    if array.shape != shape:
        read = f"It takes the shape of `{name.removeprefix('d_')}`; nothing is broadcast."
        raise ValueError(explain(signature.head, f"`{name}` has shape {array.shape}, expected {shape}.", read))
    return ready(array, signature.dtype, signature.head, name)
