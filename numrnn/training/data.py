"""Sequences and targets, read once, and cut into batches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Shape
from numrnn.engine.arrays import real_array
from numrnn.engine.packed import as_packed
from numrnn.nn.model import SequenceModel
from numrnn.nn.packed import unpack_sequence
from numrnn.nn.reversed import AnyLayer

__all__ = ["Batch", "Data", "batches_of", "layers_of"]

_POOL = 32  # batches whose rows are sorted by length together: enough for little padding, few enough to stay shuffled


class Batch(NamedTuple):
    """Some rows. Axes stand as the model has them; what is padded is 0."""

    x: NDArray[Any]
    y: NDArray[Any]
    lengths: NDArray[np.int64] | None
    weight: NDArray[np.float64] | None
    """One for each prediction, 0 at padded steps; None: all count alike."""

    total: float
    """Sum of weights, or the number of predictions."""


class Data:
    """All rows of a data set with their targets, lengths and weights; `take` makes a batch of some."""

    def __init__(self, head: str, model: SequenceModel, given: Sequence[Any], names: Sequence[str]) -> None:
        x, y, lengths, weight = given
        self._head = head
        self._every = model.readout_on == "every"
        self.time_axis = self._time = 1 if layers_of(model)[0].batch_first else 0
        x, y = (unpack_sequence(as_packed(part)) if hasattr(part, "batch_sizes") else part for part in (x, y))
        self._listed = isinstance(x, list | tuple) and any(getattr(row, "ndim", 0) == 2 for row in x)
        if self._listed:
            self._read_list(x, y, lengths, names)
        else:
            self._read_array(x, y, lengths, names)
        if self.n_rows == 0:
            raise ValueError(explain(head, f"`{names[0]}` has no rows.", "There is nothing to learn from."))
        self._weight = None if weight is None else self._read_weight(weight, names[3])
        if self._every and not np.any(self.lengths if self._weight is None else self.lengths * self._weight):
            counting = "" if self._weight is None else f" in rows whose `{names[3]}` is more than 0"
            raise ValueError(explain(head, f"`{names[0]}` has no steps{counting}.", "There is nothing to learn from."))

    def _read_list(self, x: Any, y: Any, lengths: object, names: Sequence[str]) -> None:
        if lengths is not None:
            problem = f"`{names[2]}` was given with a list of sequences, each of which has its own length."
            raise ValueError(explain(self._head, problem, "Leave it out."))
        self._x: Any = [self._row(row, f"{names[0]}[{k}]") for k, row in enumerate(x)]
        sizes = {row.shape[1] for row in self._x}
        if len(sizes) > 1:
            problem = f"the sequences of `{names[0]}` differ in their number of features: {sorted(sizes)}."
            raise ValueError(explain(self._head, problem, "Features are the last axis: each is (T_n, features)."))
        self.n_rows = len(self._x)
        self.lengths = np.array([len(row) for row in self._x], np.int64)
        self.ragged = bool(np.any(self.lengths != self.lengths[0]))
        if not self._every:
            self._y: Any = self._target(y, names[1])
            self._check_rows(len(self._y), names)
            return
        if not isinstance(y, list | tuple):
            problem = f"`{names[1]}` should be a list of targets, an array for each sequence of `{names[0]}`."
            raise TypeError(
                explain(self._head, f"{problem} It is a {type(y).__name__}.", "The model predicts every step.")
            )
        self._y = [real_array(row, self._head, f"{names[1]}[{k}]") for k, row in enumerate(y)]
        self._check_rows(len(self._y), names)
        for k, (row, target) in enumerate(zip(self._x, self._y, strict=True)):
            if target.ndim == 0 or len(target) != len(row):
                problem = f"`{names[1]}[{k}]` has shape {target.shape}, expected {len(row)} steps."
                raise ValueError(explain(self._head, problem, f"{names[0]}[{k}].shape = {row.shape}."))
            if target.shape[1:] != self._y[0].shape[1:]:
                problem = f"`{names[1]}[{k}]` has shape {target.shape}, and `{names[1]}[0]` {self._y[0].shape}."
                raise ValueError(explain(self._head, problem, "Beside their steps all targets have the same axes."))

    def _row(self, row: Any, name: str) -> NDArray[Any]:
        array = real_array(row, self._head, name)
        if array.ndim != 2:
            problem = f"`{name}` has {array.ndim} axes, expected 2: (time, features)."
            raise ValueError(explain(self._head, problem, f"{name}.shape = {array.shape}."))
        return array

    def _read_array(self, x: Any, y: Any, lengths: Any, names: Sequence[str]) -> None:
        x, y = real_array(x, self._head, names[0]), self._target(y, names[1])
        axes = "(batch, time, features)" if self._time else "(time, batch, features)"
        if x.ndim == 2:  # one sequence
            x, y = np.expand_dims(x, 1 - self._time), np.expand_dims(y, 1 - self._time if self._every else 0)
        if x.ndim != 3:
            problem = f"`{names[0]}` has {x.ndim} axes, expected 3, or 2 of one sequence."
            advice = f"Pass {axes}, one sequence (time, features), or a list of sequences."
            raise ValueError(explain(self._head, problem, f"{names[0]}.shape = {x.shape}.", advice))
        steps = x.shape[self._time]
        self._x, self._y, self.n_rows = x, y, x.shape[1 - self._time]
        if self._every and y.shape[:2] != x.shape[:2]:
            problem = f"`{names[1]}` has shape {y.shape}, expected {x.shape[:2]} and the axes of one target."
            read = f"{names[0]}.shape = {x.shape} read as {axes}: the model predicts every step."
            raise ValueError(explain(self._head, problem, read))
        if not self._every:
            self._check_rows(y.shape[0] if y.ndim else -1, names, f"{names[0]}.shape = {x.shape} read as {axes}.")
        self.lengths = np.full(self.n_rows, steps, np.int64)
        self.ragged = False
        if lengths is not None:
            self.lengths = self._read_lengths(lengths, steps, names[2], f"{names[0]}.shape = {x.shape} read as {axes}.")
            self.ragged = bool(np.any(self.lengths != self.lengths[0])) if self.n_rows else False

    def _read_lengths(self, lengths: Any, steps: int, name: str, read: str) -> NDArray[np.int64]:
        array = real_array(lengths, self._head, name)
        if array.shape != (self.n_rows,) or array.dtype.kind not in "iu":
            problem = f"`{name}` has dtype {array.dtype} and shape {array.shape}, expected integers ({self.n_rows},)."
            raise ValueError(explain(self._head, problem, read, "One length for each row."))
        wrong = (array < 0) | (array > steps)
        if wrong.any():
            row = int(np.argmax(wrong))
            problem = f"`{name}[{row}]` is {array[row]}, expected 0 to {steps}."
            raise ValueError(explain(self._head, problem, read))
        return array.astype(np.int64)

    def _target(self, y: Any, name: str) -> NDArray[Any]:
        if getattr(np.asarray(y) if isinstance(y, list | tuple) else y, "dtype", np.dtype(float)).kind in "USO":
            advice = f"Labels are integers from 0: np.unique({name}, return_inverse=True)[1] makes them of names."
            raise TypeError(explain(self._head, f"`{name}` does not hold numbers.", advice))
        array = real_array(y, self._head, name)
        return array.astype(np.int64) if array.dtype.kind == "b" else array

    def _check_rows(self, rows: int, names: Sequence[str], *read: str) -> None:
        if rows != self.n_rows:
            counted = "no axis" if rows < 0 else f"{rows} rows"
            problem = f"`{names[1]}` has {counted}, `{names[0]}` {self.n_rows}."
            raise ValueError(explain(self._head, problem, *read, "One target for each row."))

    def _read_weight(self, weight: Any, name: str) -> NDArray[np.float64]:
        array = real_array(weight, self._head, name)
        if array.shape != (self.n_rows,):
            problem = f"`{name}` has shape {array.shape}, expected ({self.n_rows},): one for each row."
            raise ValueError(explain(self._head, problem))
        weights = array.astype(np.float64)
        if not np.all((weights >= 0.0) & (weights < np.inf)):
            raise ValueError(explain(self._head, f"`{name}` has entries that are negative, infinite or NaN."))
        if not weights.any():
            raise ValueError(explain(self._head, f"all of `{name}` is 0.", "There is nothing to learn from."))
        return weights

    @property
    def n_features(self) -> int:
        """Features of x."""
        return int(self._x[0].shape[-1] if self._listed else self._x.shape[-1])

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """The rows named, padded to the longest of them."""
        lengths = self.lengths[rows]
        steps = int(lengths.max()) if self.ragged else int(self.lengths[0])
        ragged = self.ragged and bool(np.any(lengths != steps))
        x = self._steps(self._x, rows, lengths if ragged else None, steps)
        y = self._steps(self._y, rows, lengths if ragged else None, steps) if self._every else self._y[rows]
        weight = None if self._weight is None else self._weight[rows]
        total = float(len(rows)) if weight is None else float(weight.sum())
        if self._every:
            valid = self._valid(lengths, steps) if ragged else None
            total = float(np.sum(lengths if weight is None else lengths * weight))
            if weight is not None:
                weight = np.broadcast_to(np.expand_dims(weight, self._time), x.shape[:2])
                weight = weight if valid is None else weight * valid
            elif valid is not None:
                weight = valid.astype(np.float64)
        return Batch(x, y, lengths if ragged else None, weight, total)

    def part(self, batch: Batch, begin: int, end: int, *, y: bool = True) -> Batch:
        """Steps `begin` to before `end` of a batch; `y`: whether targets and weights have steps too."""
        cut = (slice(None),) * self._time + (slice(begin, end),)
        x = batch.x[cut]
        if not y:
            return batch._replace(x=x)
        weight = None if batch.weight is None else batch.weight[cut]
        lengths = None if batch.lengths is None else np.clip(batch.lengths - begin, 0, x.shape[self._time])
        total = float(x.shape[0] * x.shape[1]) if weight is None else float(weight.sum())
        return Batch(x, batch.y[cut], lengths, weight, total)

    def digest(self) -> int:
        """A number that follows from all rows, targets, lengths and weights."""
        held = [*self._x, *self._y] if self._listed else [self._x, self._y]
        crc = zlib.crc32(self.lengths.data)
        for array in [*held, self._weight]:
            if array is not None:
                crc = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, crc)
        return crc

    def n_steps(self, batch: Batch) -> int:
        """Steps of a batch, padding included."""
        return int(batch.x.shape[self._time])

    def _valid(self, lengths: NDArray[np.int64], steps: int) -> NDArray[np.bool_]:
        valid = np.arange(steps)[:, None] < lengths
        return valid.T if self._time else valid

    def _steps(
        self, values: Any, rows: NDArray[np.int64], lengths: NDArray[np.int64] | None, steps: int
    ) -> NDArray[Any]:
        """Rows with an axis of time, cut to `steps`, and 0 from their `lengths` on."""
        if self._listed:
            first = values[rows[0]]
            shape: Shape = (len(rows), steps) if self._time else (steps, len(rows))
            padded = np.zeros(shape + first.shape[1:], np.result_type(*(values[k] for k in rows)))
            by_row = padded if self._time else padded.swapaxes(0, 1)
            for place, k in enumerate(rows):
                by_row[place, : len(values[k])] = values[k]
            return padded
        taken: NDArray[Any] = values[:, :steps] if self._time else values[:steps]
        if len(rows) < self.n_rows:  # a batch of all rows has them in order
            taken = taken.take(rows, axis=1 - self._time)
        if lengths is None:
            return taken
        valid = self._valid(lengths, steps)
        return np.where(valid.reshape(valid.shape + (1,) * (taken.ndim - 2)), taken, taken.dtype.type(0))


def batches_of(data: Data, batch_size: int, order: np.random.Generator | None) -> Iterator[NDArray[np.int64]]:
    """Cut all rows into batches; shuffled by `order`, rows of like length together.

    Rows stand in their own order inside a batch, so that a batch of all rows is the data as they are.
    """
    rows = np.arange(data.n_rows)
    if order is None or batch_size >= data.n_rows:
        yield from np.split(rows, range(batch_size, data.n_rows, batch_size))
        return
    rows = order.permutation(rows)
    if data.ragged:
        pool = _POOL * batch_size
        pools = np.split(rows, range(pool, data.n_rows, pool))
        rows = np.concatenate([part[np.argsort(data.lengths[part], kind="stable")] for part in pools])
    batches = np.split(rows, range(batch_size, data.n_rows, batch_size))
    if data.ragged:
        batches = [batches[k] for k in order.permutation(len(batches))]
    for batch in batches:
        yield np.sort(batch)


def layers_of(model: SequenceModel) -> tuple[AnyLayer, ...]:
    """The recurrent layers of a model, from the first."""
    return model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)
