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
from numrnn.engine.packed import Integers, PackedSequence
from numrnn.engine.pooling import Pool
from numrnn.nn.results import Result
from numrnn.nn.reversed import AnyLayer

__all__ = ["Every", "Last", "Pooled", "Selection", "select"]


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
        width = self.state_shape[-1]
        for direction in range(self.num_directions):
            d_h_n[direction - self.num_directions] = d_rows[..., direction * width : (direction + 1) * width]
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


@dataclass(frozen=True, slots=True)
class Pooled:
    """The mean of the top layer over each row's steps; with `where`, the step each number is from, the maximum."""

    rows: Array
    form: Form | None
    pool: Pool
    where: Integers | None

    def prediction(self, y: Array) -> Array:
        """Return the head's answer, one a row of the batch."""
        return y

    def read(self, d_prediction: object, shape: Shape, dtype: np.dtype[Any], head: str) -> Array:
        """Read a cotangent of the prediction."""
        return _read(d_prediction, shape, dtype, head)

    def cotangents(self, d_rows: Array) -> dict[str, Any]:
        """Return what the top layer's pullback takes."""
        if self.where is None:
            d_steps = self.pool.mean_backward(d_rows)
        else:
            d_steps = self.pool.max_backward(d_rows, self.where)
        return {"d_output": d_steps if self.form is None else self.form.steps(d_steps)}


Selection: TypeAlias = Last | Every | Pooled


def select(result: Result, readout_on: str, layer: AnyLayer, lengths: Any) -> Selection:
    """What the head reads of the top layer's result; `lengths` are those of the call."""
    if readout_on == "last":
        return Last(result.last_output, result.h_n.shape, layer.signature.num_directions)
    output = result.output
    form: Form | None = None
    own_lengths: Integers | None = None
    if isinstance(output, list):
        form = rows = rows_form(output)
        own_lengths = rows.lengths
    elif isinstance(output, PackedSequence):
        form = packed = packed_form(output)
        own_lengths = packed.lengths
    if form is not None:
        features = layer.signature.num_directions * layer.signature.output_size
        output = form.read_steps(output, features, layer.dtype, "SequenceModel", "output")
    if readout_on != "every":
        return _pooled(output, readout_on, form, _pool(output, layer.batch_first, own_lengths, lengths))
    if form is not None or lengths is None:
        return Every(output, form, None)
    steps = np.arange(output.shape[1 if layer.batch_first else 0])
    valid = steps < np.asarray(lengths, np.int64)[:, None]
    return Every(output, None, (valid if layer.batch_first else valid.T)[..., None])


def _pool(output: Array, batch_first: bool, own_lengths: Integers | None, lengths: Any) -> Pool:
    """Where the rows' steps stand in an output; `own_lengths` are those of rows one after the other."""
    if own_lengths is not None:
        return Pool(np.cumsum(own_lengths) - own_lengths, 1, own_lengths, output.shape)
    if output.ndim == 2:
        return Pool(np.zeros(1, np.int64), 1, np.array([len(output)]), output.shape)
    n_rows, seq_len = output.shape[:2] if batch_first else output.shape[1::-1]
    valid = np.full(n_rows, seq_len) if lengths is None else np.asarray(lengths, np.int64)
    starts, step = (np.arange(n_rows) * seq_len, 1) if batch_first else (np.arange(n_rows), n_rows)
    return Pool(starts, step, valid, output.shape)


def _pooled(output: Array, readout_on: str, form: Form | None, pool: Pool) -> Pooled:
    rows, where = (pool.mean(output), None) if readout_on == "mean" else pool.max(output)
    # of one sequence (T, features) the result has no axis of rows, as its last state has none
    return Pooled(rows if form is not None or output.ndim == 3 else rows[0], form, pool, where)


def _read(d_prediction: object, shape: Shape, dtype: np.dtype[Any], head: str) -> Array:
    array = real_array(d_prediction, head, "d_prediction")
    if array.shape != shape:
        problem = f"`d_prediction` has shape {array.shape}, expected {shape}."
        advice = "It has the shape of the prediction: one number for each number; nothing is broadcast."
        raise ValueError(explain(head, problem, advice))
    return ready(array, dtype, head, "d_prediction")
