"""Initial states: read, broadcast over the batch, and refused with the reading that would be right."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._types import Array, Shape
from numrnn.cellspec import CELLS
from numrnn.engine.arrays import ready, real_array
from numrnn.engine.signature import Signature

__all__ = ["read_state", "state_parts"]


def state_parts(signature: Signature, state: object) -> tuple[object, ...]:
    """Split a state into (h_0,) or (h_0, c_0), as the cell has them."""
    if not CELLS[signature.cell].has_cell_state:
        if isinstance(state, tuple) and any(getattr(part, "ndim", 0) > 0 for part in state):
            raise TypeError(
                explain(
                    signature.head,
                    f"`state` is a tuple of {len(state)}, expected one array h_0.",
                    "Pass h_0 alone; (h_0, c_0) is for cells with a cell state, such as LSTM.",
                )
            )
        return (state,)
    if isinstance(state, tuple | list) and len(state) == 2:
        return tuple(state)
    got = f"a {type(state).__name__} of {len(state)}" if isinstance(state, tuple | list) else kind_of(state)
    if isinstance(state, np.ndarray):
        got = f"an array of shape {state.shape}"
    raise TypeError(
        explain(
            signature.head,
            f"`state` should be a pair (h_0, c_0), got {got}.",
            "To continue a sequence pass `result.state`; for one half of the pair pass zeros.",
        )
    )


def read_state(
    signature: Signature,
    seq_len: int | None,
    batch_size: int,
    state: object,
    *,
    unbatched: bool = False,
    stream: bool = False,
) -> tuple[Array, Array | None]:
    """Return h_0 and, where the cell has one, c_0: in the shapes that the plan has for them.

    A batch axis of 1 stands for every row. The states of one sequence, `unbatched`, have no batch axis. `seq_len` is
    None where x has no axis that could be taken for another: a list, a packed sequence. Of a `stream` there is no x.
    """
    if hasattr(state, "last_output") and hasattr(state, "state"):
        raise TypeError(
            explain(signature.head, "`state` is a whole result.", "Pass its state: `layer(x, result.state)`.")
        )
    parts = state_parts(signature, state)
    arrays = [
        _read(signature, seq_len, batch_size, part, name, unbatched, stream)
        for part, name in zip(parts, ("h_0", "c_0"), strict=False)
    ]
    return arrays[0], arrays[1] if len(arrays) == 2 else None


def _read(
    signature: Signature, seq_len: int | None, batch_size: int, part: object, name: str, unbatched: bool, stream: bool
) -> Array:
    array: NDArray[Any] = real_array(part, signature.head, name)
    hidden = signature.output_size if name == "h_0" else signature.hidden_size
    shape = (signature.num_layers * signature.num_directions, batch_size, hidden)
    if unbatched:
        if array.shape != (shape[0], hidden):
            _refuse_unbatched(signature, shape, array.shape, name, stream)
        array = array[:, None]
    if array.shape != shape:
        if array.shape != (shape[0], 1, hidden):
            _refuse_shape(signature, seq_len, shape, array.shape, name)
        array = np.broadcast_to(array, shape)
    return ready(array, signature.dtype, signature.head, name)


def _refuse_unbatched(signature: Signature, full: Shape, shape: Shape, name: str, stream: bool) -> NoReturn:
    expected = (full[0], full[2])
    axes = signature.state_axes(name).replace(" batch,", "")
    read = f"x is one sequence (time, features), so its state has no batch axis either: {axes}."
    give = "give x its batch axis"
    if stream:
        read = f"The stream is one sequence (batch_size=None), whose state has no batch axis: {axes}."
        give = "make the stream with batch_size=1"
    advice = "To continue a sequence pass `result.state`; to start one pass nothing."
    if shape == full:
        advice = f"Pass {name}[:, 0], or {give}."
    elif shape == (1, *expected):
        advice = f"Pass {name}[0], or {give} and the state its own behind the layers."
    elif shape == expected[1:]:
        advice = _missing_layers(signature, name, expected[0])
    elif shape == expected[::-1]:
        advice = f"Its axes look swapped: pass {name}.T."
    elif len(shape) == 2 and shape[1] == expected[1]:
        advice = _other_layers(signature)
    elif signature.proj_size and shape[-1:] in ((signature.hidden_size,), (signature.proj_size,)):
        advice = _projected(signature)
    raise ValueError(explain(signature.head, f"`{name}` has shape {shape}, expected {expected}.", read, advice))


def _refuse_shape(signature: Signature, seq_len: int | None, expected: Shape, shape: Shape, name: str) -> NoReturn:
    layers, batch_size, hidden = expected
    read = f"{name}.shape = {shape} read as {signature.state_axes(name)}, whatever batch_first is."
    if shape in ((batch_size, layers, hidden), (1, layers, hidden)):
        advice = f"It looks batch-first. States are never batch-first: pass {name}.swapaxes(0, 1)."
    elif shape in (expected[1:], (1, hidden)) and layers == 1:
        advice = _missing_layers(signature, name, layers)
    elif shape == (layers, hidden):
        advice = f"The batch axis is missing: pass {name}[:, None, :], which stands for every row."
    elif shape == expected[1:]:
        advice = _missing_layers(signature, name, layers)
    elif shape == (layers, hidden, batch_size):
        advice = f"Its last two axes look swapped: pass {name}.swapaxes(1, 2)."
    elif seq_len is not None and shape == (layers, seq_len, hidden):
        other = not signature.batch_first
        advice = (
            f"x was read as {signature.axes} with batch {batch_size} and time {seq_len}: if its batch is {seq_len}, "
            f"x has these axes swapped; make the layer with batch_first={other}."
        )
    elif len(shape) == 3 and shape[1:] == expected[1:]:
        advice = _other_layers(signature)
    elif signature.proj_size and shape[-1:] in ((signature.hidden_size,), (signature.proj_size,)):
        advice = _projected(signature)
    elif len(shape) == 3 and (shape[0], shape[2]) == (layers, hidden):
        advice = f"x has a batch of {batch_size}: pass a state for each row, or one row that stands for all."
    else:
        advice = "To continue a sequence pass `result.state`; to start one pass nothing."
    raise ValueError(explain(signature.head, f"`{name}` has shape {shape}, expected {expected}.", read, advice))


def _missing_layers(signature: Signature, name: str, layers: int) -> str:
    if layers == 1:
        return f"The axis of layers is missing: pass {name}[None]."
    return f"The axis of layers is missing. {_other_layers(signature)}"


def _other_layers(signature: Signature) -> str:
    both = " and two directions" if signature.num_directions == 2 else ""
    each = ", layer by layer, forward before reverse" if both else ""
    return f"The layer has num_layers={signature.num_layers}{both}: pass one state for each{each}."


def _projected(signature: Signature) -> str:
    return f"With proj_size={signature.proj_size} h_0 has proj_size features, c_0 has hidden_size."
