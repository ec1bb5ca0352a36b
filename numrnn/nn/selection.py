"""What a model's head reads of a run, as one array, and the way of its cotangent back to the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Array, Shape
from numrnn.engine.arrays import ready, real_array
from numrnn.engine.forms import Form, packed_form, rows_form
from numrnn.engine.packed import PackedSequence
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.results import Result

__all__ = ["Every", "Last", "Selection", "select"]


@dataclass(frozen=True, slots=True)
class Last:
    """The top layer after each row's last step, directions side by side."""

    rows: Array
    state_shape: Shape
    num_directions: int

    def prediction(self, y: Array) -> Array:
        """Return the head's answer, one a row of the batch."""
        return y

    def read(self, d_prediction: object, shape: Shape, dtype: np.dtype[Any], head: str) -> Array:
        """Read a cotangent of the prediction."""
        return _read(d_prediction, shape, dtype, head)

    def cotangents(self, d_rows: Array) -> dict[str, Array]:
        """Return what the top layer's pullback takes."""
        d_h_n = np.zeros(self.state_shape, d_rows.dtype)
        halves = np.split(d_rows, self.num_directions, axis=-1)
        d_h_n[-self.num_directions :] = halves
        return {"d_h_n": d_h_n}


@dataclass(frozen=True, slots=True)
class Every:
    """The top layer at every step; `form` where the output is not one array, `valid` where some of it is padding."""

    rows: Array
    form: Form | None
    valid: NDArray[np.bool_] | None

    def prediction(self, y: Array) -> Any:
        """Return the head's answer to every step, in the form of the output; 0 at padded steps, as the output is."""
        if self.form is not None:
            return self.form.steps(y)
        return y if self.valid is None or y is self.rows else np.where(self.valid, y, y.dtype.type(0))

    def read(self, d_prediction: object, shape: Shape, dtype: np.dtype[Any], head: str) -> Array:
        """Read a cotangent of the prediction; what it holds at padded steps is ignored."""
        if self.form is not None:
            return self.form.read_steps(d_prediction, shape[-1], dtype, head, "d_prediction")
        array = _read(d_prediction, shape, dtype, head)
        return array if self.valid is None else np.where(self.valid, array, dtype.type(0))

    def cotangents(self, d_rows: Array) -> dict[str, Any]:
        """Return what the top layer's pullback takes."""
        return {"d_output": d_rows if self.form is None else self.form.steps(d_rows)}


Selection: TypeAlias = Last | Every


def select(result: Result, readout_on: str, layer: Recurrent, lengths: Any) -> Selection:
    """What the head reads of the top layer's result; `lengths` are those of the call."""
    if readout_on == "last":
        return Last(result.last_output, result.h_n.shape, layer.signature.num_directions)
    output = result.output
    form: Form | None = None
    if isinstance(output, list):
        form = rows_form(output)
    elif isinstance(output, PackedSequence):
        form = packed_form(output)
    if form is not None:
        features = layer.signature.num_directions * layer.signature.output_size
        return Every(form.read_steps(output, features, layer.dtype, "SequenceModel", "output"), form, None)
    if lengths is None:
        return Every(output, None, None)
    steps = np.arange(output.shape[1 if layer.batch_first else 0])
    valid = steps < np.asarray(lengths, np.int64)[:, None]
    return Every(output, None, (valid if layer.batch_first else valid.T)[..., None])


def _read(d_prediction: object, shape: Shape, dtype: np.dtype[Any], head: str) -> Array:
    array = real_array(d_prediction, head, "d_prediction")
    if array.shape != shape:
        problem = f"`d_prediction` has shape {array.shape}, expected {shape}."
        advice = "It has the shape of the prediction: one number for each number; nothing is broadcast."
        raise ValueError(explain(head, problem, advice))
    return ready(array, dtype, head, "d_prediction")
