"""The input of a recurrent layer: read, and refused with the reading that would be right."""

from __future__ import annotations

from typing import Any, NoReturn

from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Shape
from numrnn.engine.arrays import real_array
from numrnn.engine.signature import Signature

__all__ = ["read_input", "refuse_shape"]


def read_input(signature: Signature, x: object) -> NDArray[Any]:
    """Read x as one array of real numbers of any precision and layout."""
    _refuse_several(signature.head, x)
    return real_array(x, signature.head, "x")


def refuse_shape(signature: Signature, shape: Shape) -> NoReturn:
    """Say what is wrong with the shape of x, how it was read and what to do."""
    head, wanted = signature.head, signature.input_size
    because = f"because batch_first={signature.batch_first}."
    if len(shape) == 2:
        advice = (
            "one sequence (time, features): pass x[None]"
            if signature.batch_first
            else ("one sequence (time, features): pass x[:, None, :]")
        )
        if wanted == 1 and shape[1] != 1:
            advice = f"sequences of one feature: pass x[:, :, None], then read as {signature.axes}"
        raise NotImplementedError(
            explain(
                head,
                "`x` has 2 axes; unbatched input is not implemented in this version.",
                f"x.shape = {shape}, expected 3 axes {signature.axes} {because}",
                f"If x is {advice}.",
            )
        )
    if len(shape) != 3:
        merge = (
            f"If the last {len(shape) - 2} axes are all features: pass x.reshape({shape[0]}, {shape[1]}, -1)."
            if (len(shape) > 3)
            else "If x is one sequence of one feature: pass x.reshape(1, -1, 1) to a layer with batch_first=True."
        )
        raise ValueError(
            explain(
                head,
                f"`x` has {len(shape)} axes, expected 3.",
                f"x.shape = {shape}, expected {signature.axes} {because}",
                merge if shape else "Pass an array with these three axes.",
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


def _refuse_several(head: str, x: object) -> None:
    """Refuse what is not one array of sequences; a nested list of numbers is one."""
    if hasattr(x, "last_output"):
        raise TypeError(explain(head, "`x` is a whole result.", "Pass its output: `layer(result.output)`."))
    if hasattr(x, "batch_sizes"):
        raise NotImplementedError(
            explain(
                head, "`x` is a packed sequence, which is not implemented in this version.", "Pass one padded array."
            )
        )
    if isinstance(x, list | tuple) and any(getattr(item, "ndim", 0) > 0 for item in x):
        raise NotImplementedError(
            explain(
                head,
                f"`x` is a {type(x).__name__} of {len(x)} arrays; sequences of different lengths are not "
                "implemented in this version.",
                "If they have one length, pass np.stack(x, axis=1), or np.stack(x) to a layer with batch_first=True.",
            )
        )
