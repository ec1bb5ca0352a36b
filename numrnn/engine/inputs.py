"""The input of a recurrent layer: read, and refused with the reading that would be right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn, TypeGuard

from numrnn._errors import explain
from numrnn._types import Shape
from numrnn.engine.forms import Form, PackedRows, Rows
from numrnn.engine.signature import Signature

__all__ = ["is_several", "refuse_own_lengths", "refuse_packed", "refuse_reset_of", "refuse_shape"]


def refuse_shape(signature: Signature, shape: Shape) -> NoReturn:
    """Say what is wrong with the shape of x, how it was read and what to do."""
    head, wanted = signature.head, signature.input_size
    because = f"because batch_first={signature.batch_first}."
    if len(shape) == 2:
        advice = f"Features are the last axis: pass {wanted} of them, or make the layer with input_size={shape[1]}."
        if wanted == 1:
            advice = f"If x is sequences of one feature: pass x[:, :, None], then read as {signature.axes}."
        elif shape[0] == wanted:
            advice = f"Axis 0 has {wanted} entries: if these are the features, pass x.T."
        problem = f"`x` has {shape[1]} features, expected {wanted}."
        raise ValueError(explain(head, problem, f"x.shape = {shape} read as one sequence (time, features).", advice))
    if len(shape) != 3:
        raise ValueError(
            explain(
                head,
                f"`x` has {len(shape)} axes, expected 3, or 2 for one sequence.",
                f"x.shape = {shape}, expected {signature.axes} {because}",
                _other_axes(signature, shape),
            )
        )
    matching = [axis for axis in (0, 1) if shape[axis] == wanted]
    if matching:
        axis = matching[-1]
        advice = f"Axis {axis} has {wanted} entries: if these are the features, pass np.moveaxis(x, {axis}, -1)."
    else:
        advice = f"Features are the last axis: pass {wanted} of them, or make the layer with input_size={shape[2]}."
    raise ValueError(
        explain(
            head,
            f"`x` has {shape[2]} features, expected {wanted}.",
            f"x.shape = {shape} read as {signature.axes} {because}",
            advice,
        )
    )


def _other_axes(signature: Signature, shape: Shape) -> str:
    """What to do with an x of neither 2 nor 3 axes."""
    wanted = signature.input_size
    if len(shape) == 1 and wanted == 1:
        return "If x is one sequence of one feature: pass x[:, None]."
    if shape == (wanted,):
        return "If x is one step of one sequence: pass x[None]."
    if len(shape) == 1:
        return "If x is one sequence of one feature: pass x[:, None], and make the layer with input_size=1."
    if len(shape) > 3 and math.prod(shape[2:]) == wanted:
        return f"If the last {len(shape) - 2} axes are all features: pass x.reshape({shape[0]}, {shape[1]}, -1)."
    if len(shape) > 3 and shape[-1] == wanted:
        at = f"-1, {shape[-2]}" if signature.batch_first else f"{shape[0]}, -1"
        return f"If the other axes are all of the batch: pass x.reshape({at}, {wanted})."
    return "Pass an array with these three axes."


def is_several(x: object, head: str) -> TypeGuard[Sequence[object]]:
    """Whether x is a list of sequences; a nested list of numbers is one array."""
    if hasattr(x, "last_output"):
        raise TypeError(explain(head, "`x` is a whole result.", "Pass its output: `layer(result.output)`."))
    if isinstance(x, list | tuple) and not x:
        advice = "For a batch of none pass an array that has its axes, such as np.empty((0, 0, features))."
        raise ValueError(explain(head, f"`x` is an empty {type(x).__name__}: it holds no sequence.", advice))
    return isinstance(x, list | tuple) and any(getattr(item, "ndim", 0) > 0 for item in x)


def refuse_packed(signature: Signature, shape: Shape) -> NoReturn:
    """Raise for a packed sequence whose data are not (steps, features)."""
    raise ValueError(
        explain(
            signature.head,
            f"`x.data` has shape {shape}, expected (sum of lengths, {signature.input_size}).",
            "x is a packed sequence: its data hold the features of every step of every sequence.",
        )
    )


def refuse_own_lengths(signature: Signature, form: Form) -> NoReturn:
    """Raise for lengths of what has its own."""
    if isinstance(form, Rows):
        what, advice = "a list of arrays, which have their own", "Pass x[n][:length] in the list."
    elif isinstance(form, PackedRows):
        what, advice = "a packed sequence, which has its own", "Leave `lengths` out."
    else:
        what, advice = "one sequence (time, features)", "Pass x[:length]."
    raise ValueError(explain(signature.head, f"`lengths` was given, but x is {what}.", advice))


def refuse_reset_of(signature: Signature, form: Form) -> NoReturn:
    """Raise for resets of what is not one array."""
    if isinstance(form, Rows):
        what, advice = (
            "a list of arrays",
            "Cut the arrays where the state is reset, or pass one padded array and lengths.",
        )
    else:
        what, advice = "a packed sequence", "Pass pad_packed_sequence(x), which gives one array and lengths."
    raise NotImplementedError(
        explain(signature.head, f"`reset` is available for arrays only, and x is {what}.", advice)
    )
