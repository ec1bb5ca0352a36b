"""The arguments that say where sequences end and where their states begin anew: `lengths` and `reset`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Shape
from numrnn.engine.arrays import real_array
from numrnn.engine.packed import Integers, integers
from numrnn.engine.signature import Signature

__all__ = ["read_lengths", "read_reset"]


def read_lengths(signature: Signature, lengths: object, seq_len: int, batch_size: int) -> Integers | None:
    """Read the number of steps of each row, a copy; None where no row is shorter than x."""
    given = integers(lengths, signature.head, "lengths")
    if given.shape != (batch_size,):
        read = f"x is read as {signature.axes}: one length for each of its {batch_size} rows."
        advice = "Lengths are numbers of steps, in any order."
        if given.ndim == 2 and set(given.shape) == {seq_len, batch_size}:
            axis = 0 if given.shape[0] == seq_len else 1
            advice = f"If it is a mask of valid steps, which come first, pass lengths.sum(axis={axis})."
        elif given.shape == (seq_len,):
            advice = f"If x has {seq_len} rows, make the layer with batch_first={not signature.batch_first}."
        problem = f"`lengths` has shape {given.shape}, expected ({batch_size},)."
        raise ValueError(explain(signature.head, problem, read, advice))
    wrong = np.flatnonzero((given < 0) | (given > seq_len))
    if len(wrong):
        n = int(wrong[0])
        problem = f"`lengths[{n}]` is {given[n]}, expected 0 to {seq_len}, the steps of x."
        raise ValueError(explain(signature.head, problem, f"x is read as {signature.axes}."))
    return None if bool(np.all(given == seq_len)) else np.array(given)


def read_reset(signature: Signature, reset: object, expected: Shape) -> NDArray[np.uint8] | None:
    """Read where states begin anew, a copy in x's layout; None where they nowhere do."""
    if signature.num_directions == 2:
        problem = "`reset` is not available with bidirectional=True: a reverse direction comes from later steps, and a "
        problem += "reset cuts what comes from earlier ones."
        advice = "Cut the sequences where the state is reset, and pass the pieces as a list."
        raise NotImplementedError(explain(signature.head, problem, advice))
    array: NDArray[Any] = real_array(reset, signature.head, "reset")
    if array.dtype != np.bool_:
        advice = "Pass reset.astype(bool); True at a step cuts the state before it."
        raise TypeError(explain(signature.head, f"`reset` should be of type bool, got {array.dtype}.", advice))
    if array.shape != expected:
        read = "It has the shape of x without its features."
        advice = "A step's reset is one for all features and layers."
        if array.shape == expected[::-1]:
            advice = "Its axes are swapped: pass reset.T."
        raise ValueError(
            explain(signature.head, f"`reset` has shape {array.shape}, expected {expected}.", read, advice)
        )
    return np.array(array, np.uint8, order="C") if array.any() else None
