"""Cotangents of a call's results: read, and refused with the reading that would be right."""

from __future__ import annotations

from typing import NoReturn

from numrnn._errors import explain
from numrnn._types import Array, Shape
from numrnn.engine.arrays import ready, real_array
from numrnn.engine.forms import Form, OneSequence
from numrnn.engine.plan import Plan
from numrnn.engine.signature import Signature

__all__ = ["read_cotangents"]


def read_cotangents(
    signature: Signature, plan: Plan, form: Form | None, d_output: object, d_h_n: object, d_c_n: object
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the cotangents in the layer's dtype, contiguous; None stays None and means zero."""
    if d_c_n is not None and not plan.spec.has_cell_state:
        raise ValueError(
            explain(
                signature.head,
                "`d_c_n` was given, but this cell has no cell state.",
                "Leave it out; c_n is of cells with a cell state, such as LSTM.",
            )
        )
    if form is not None:
        return _read_forms(signature, plan, form, d_output, d_h_n, d_c_n)
    return (
        _read(signature, plan, d_output, plan.output_shape, "d_output"),
        _read(signature, plan, d_h_n, plan.state_shape, "d_h_n"),
        _read(signature, plan, d_c_n, plan.cell_shape, "d_c_n"),
    )


def _read_forms(
    signature: Signature, plan: Plan, form: Form, d_output: object, d_h_n: object, d_c_n: object
) -> tuple[Array | None, Array | None, Array | None]:
    """Read cotangents of results that are not three axes."""
    steps: Array | None = None
    if d_output is not None:
        features = plan.output_shape[-1]
        steps = form.read_steps(d_output, features, signature.dtype, signature.head, "d_output")
        if not plan.flat:
            steps = steps.reshape(plan.output_shape)
    states: list[Array | None] = []
    for value, shape, name in ((d_h_n, plan.state_shape, "d_h_n"), (d_c_n, plan.cell_shape, "d_c_n")):
        if not isinstance(form, OneSequence) or value is None:
            states.append(_read(signature, plan, value, shape, name))
            continue
        array = real_array(value, signature.head, name)
        if array.shape != (shape[0], shape[2]):
            axes = signature.state_axes(name[2:]).replace(" batch,", "")
            raise ValueError(
                explain(
                    signature.head,
                    f"`{name}` has shape {array.shape}, expected {(shape[0], shape[2])}.",
                    f"x is one sequence (time, features): `{name}` takes the shape of `{name[2:]}` {axes}.",
                )
            )
        states.append(ready(array, signature.dtype, signature.head, name).reshape(shape))
    return steps, states[0], states[1]


def _read(signature: Signature, plan: Plan, value: object, expected: Shape, name: str) -> Array | None:
    if value is None:
        return None
    array = real_array(value, signature.head, name)
    if array.shape != expected:
        _refuse_shape(signature, plan, array.shape, expected, name)
    return ready(array, signature.dtype, signature.head, name)


def _refuse_shape(signature: Signature, plan: Plan, shape: Shape, expected: Shape, name: str) -> NoReturn:
    layers, batch_size, hidden = plan.state_shape if name == "d_output" else expected
    if name == "d_output":
        read = f"It takes the shape of `output` {signature.axes.replace('features', signature.output_features)}."
        if shape == (expected[1], expected[0], expected[2]):
            advice = f"Its axes are swapped: pass {name}.swapaxes(0, 1)."
        elif shape == (batch_size, expected[2]):
            advice = "For a loss of `last_output` pass d_h_n instead, zero but for d_h_n[-1]."
            if signature.num_directions == 2:
                advice = (
                    "For a loss of `last_output` pass d_h_n instead, zero but for d_h_n[-2], the forward half of this, "
                    "and d_h_n[-1], the reverse half."
                )
        else:
            advice = "A cotangent is one number for each number of the result; nothing is broadcast."
    else:
        read = f"It takes the shape of `{name[2:]}` {signature.state_axes(name[2:])}, whatever batch_first is."
        if shape == (batch_size, layers, hidden):
            advice = f"It looks batch-first: pass {name}.swapaxes(0, 1)."
        elif shape == (batch_size, hidden) and layers == 1:
            advice = f"The axis of layers is missing: pass {name}[None]."
        elif shape == (batch_size, hidden):
            advice = f"For the top layer alone pass zeros but for {name}[-1]."
        else:
            advice = "A cotangent is one number for each number of the result; nothing is broadcast."
    raise ValueError(explain(signature.head, f"`{name}` has shape {shape}, expected {expected}.", read, advice))
