"""A prediction and its target in any form, read as two arrays; and the weights of what is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._types import Array, Shape
from numrnn.engine.arrays import ready, real_array
from numrnn.engine.buffers import flat
from numrnn.engine.packed import Integers, PackedSequence, as_packed, integers, lengths_of, places
from numrnn.nn.arguments import flag

__all__ = ["Pair", "read_pair"]

_NO_WEIGHTS = np.zeros(0)


class _Ragged(NamedTuple):
    """What belongs to steps of sequences without padding: how many each has, whose each line is, and the packing."""

    lengths: Integers
    rows: Integers
    packed: PackedSequence | None


class Pair(NamedTuple):
    """A prediction and its target; of lists and packed sequences all steps, one after the other."""

    head: str
    prediction: NDArray[Any]
    target: NDArray[Any]
    ragged: _Ragged | None
    lengths: Integers | None
    batch_first: bool | None

    def weights(self, weight: object, shape: Shape) -> tuple[NDArray[np.float64], float]:
        """Read the weights of an array of `shape`: flat, 0 where nothing counts, or none; and their sum."""
        given = None if weight is None else self._read(weight)
        batch, valid = self._axes(given is not None and given.ndim == 1, shape)
        if given is None and valid is None:
            weights, total = _NO_WEIGHTS, float(math.prod(shape))
        else:
            spread = np.ones(shape) if given is None else self._spread(given, shape, batch)
            if valid is not None:
                spread = np.where(valid.reshape(valid.shape + (1,) * (len(shape) - 2)), spread, 0.0)
            if not np.all((spread >= 0.0) & (spread < np.inf)):
                problem = "`weight` has entries that are negative, infinite or NaN."
                raise ValueError(explain(self.head, problem, "Weights are finite and 0 or more."))
            weights = np.ascontiguousarray(spread).reshape(-1)
            with np.errstate(over="ignore"):
                total = float(np.sum(weights))
        self.require(total)
        return weights, total

    def require(self, total: float) -> None:
        """Refuse a sum of weights that nothing can be divided by."""
        if not total:
            problem = "there is nothing to average: `prediction` is empty or all weights are 0."
            raise ValueError(explain(self.head, problem, f"prediction.shape = {self.prediction.shape}."))
        if total == math.inf:
            problem = "the sum of `weight` overflows float64."
            raise ValueError(explain(self.head, problem, "Pass weight / weight.max()."))

    def floats(self) -> tuple[Array, Array]:
        """Return the prediction, flat, in its own float type or float64; and room for its gradient, in its shape."""
        own = self.prediction.dtype.name in ("float32", "float64")
        dtype = self.prediction.dtype.newbyteorder("=") if own else np.dtype(np.float64)
        prediction = ready(self.prediction, dtype, self.head, "prediction")
        return flat(prediction), np.empty(prediction.shape, dtype)

    def numbers(self, dtype: np.dtype[Any]) -> Array:
        """Return the target, flat, in float32 where it and `dtype` are that, otherwise in float64."""
        alike = self.target.dtype == dtype
        return flat(ready(self.target, dtype if alike else np.dtype(np.float64), self.head, "target"))

    def given_back(self, d_prediction: Array) -> Any:
        """Return the gradient in the form of the prediction."""
        if self.ragged is None:
            return d_prediction
        if self.ragged.packed is not None:
            return self.ragged.packed._replace(data=d_prediction)
        return np.split(d_prediction, np.cumsum(self.ragged.lengths)[:-1])

    def place(self, k: int, shape: Shape) -> str:
        """How the user reaches number k of the target, whose flat form has `shape`."""
        found = [int(index) for index in np.unravel_index(k, shape)]
        name = "target"
        if self.ragged is not None and self.ragged.packed is not None:
            name = "target.data"
        elif self.ragged is not None:
            row = int(self.ragged.rows[found[0]])
            name, found[0] = f"target[{row}]", found[0] - int(self.ragged.lengths[:row].sum())
        return f"{name}[{', '.join(map(str, found))}]" if found else name

    def _spread(self, array: NDArray[Any], shape: Shape, batch: int | None) -> NDArray[np.float64]:
        """Return the weights in `shape`."""
        if batch is not None and array.shape == (shape[batch],):
            array = np.expand_dims(array, 1 - batch)
            array = np.broadcast_to(array.reshape(array.shape + (1,) * (len(shape) - 2)), shape)
        if array.shape not in (shape, shape[:-1]):
            problem = (
                f"`weight` has shape {array.shape}, expected {shape} or {shape[:-1]}, which is without the last axis."
            )
            advice = "For one weight a sequence pass its lengths too, or batch_first=True or False."
            if batch is not None:
                advice = f"Or ({shape[batch]},): one weight a sequence."
            raise ValueError(explain(self.head, problem, advice))
        array = array.astype(np.float64)
        return np.broadcast_to(array if array.shape == shape else array[..., None], shape)

    def _read(self, weight: object) -> NDArray[Any]:
        """Read weights; of lists and packed sequences in the form of the target, or one a sequence."""
        ragged = self.ragged
        if ragged is None:
            return real_array(weight, self.head, "weight")
        if ragged.packed is not None and hasattr(weight, "batch_sizes"):
            packed = as_packed(weight)
            _check_packing(self.head, "weight", ragged.packed, packed)
            return packed.data
        if ragged.packed is None and isinstance(weight, list | tuple) and _is_list_of_arrays(weight):
            arrays = [real_array(item, self.head, f"weight[{n}]") for n, item in enumerate(weight)]
            _check_lengths(self.head, "weight", arrays, ragged.lengths)
            return _joined(self.head, "weight", arrays)
        array = real_array(weight, self.head, "weight")
        if array.shape != ragged.lengths.shape:
            problem = f"`weight` has shape {array.shape}, expected {ragged.lengths.shape}: one a sequence."
            raise ValueError(explain(self.head, problem, "For one a step pass it in the form of `prediction`."))
        return array[ragged.rows]

    def _axes(self, one_each: bool, shape: Shape) -> tuple[int | None, NDArray[np.bool_] | None]:
        """Return which axis is that of sequences, and the steps that count; None where that is not known, or all do."""
        if self.lengths is None and self.batch_first is None:
            return None, None
        if len(shape) < 2:
            problem = f"`{'batch_first' if self.lengths is None else 'lengths'}` needs axes of time and batch."
            raise ValueError(explain(self.head, problem, f"What is compared has shape {shape}."))
        if self.lengths is None:
            return 0 if self.batch_first else 1, None
        batch = self._batch_axis(self.lengths, one_each, shape)
        steps = shape[1 - batch]
        wrong = np.flatnonzero((self.lengths < 0) | (self.lengths > steps))
        if len(wrong):
            n = int(wrong[0])
            read = "(batch, time, ...)" if batch == 0 else "(time, batch, ...)"
            problem = f"`lengths[{n}]` is {self.lengths[n]}, expected 0 to {steps}, the number of steps."
            raise ValueError(explain(self.head, problem, f"What is compared has shape {shape}, read as {read}."))
        if np.all(self.lengths == steps):
            return batch, None
        valid = np.arange(steps) < self.lengths[:, None]
        return batch, valid if batch == 0 else valid.T

    def _batch_axis(self, lengths: Integers, one_each: bool, shape: Shape) -> int:
        """Find the axis of sequences: as `batch_first` says, or the one that has as many entries as `lengths`."""
        wanted = (0, 1) if self.batch_first is None else (0,) if self.batch_first else (1,)
        fits = [axis for axis in wanted if lengths.shape == (shape[axis],)]
        if not fits:
            axes = " or ".join(str(shape[axis]) for axis in wanted)
            problem = f"`lengths` has shape {lengths.shape}, but there are {axes} sequences."
            read = f"What is compared has shape {shape}; its first two axes are time and batch."
            raise ValueError(explain(self.head, problem, read, "Pass one length for each sequence."))
        if len(fits) == 2 and (one_each or not np.all(lengths == shape[0])):
            problem = f"either of the first two axes of {shape} could be that of the {len(lengths)} sequences."
            raise ValueError(explain(self.head, problem, "Pass batch_first=True for (batch, time, ...), or False."))
        return fits[0]


def read_pair(head: str, prediction: object, target: object, lengths: object, batch_first: object) -> Pair:
    """Read what is compared."""
    first = None if batch_first is None else flag(head, "batch_first", batch_first)
    if hasattr(prediction, "batch_sizes"):
        _refuse_layout(head, "a packed sequence", lengths, first)
        return _read_packed(head, prediction, target)
    if _is_list_of_arrays(prediction):
        _refuse_layout(head, "a list", lengths, first)
        return _read_list(head, prediction, target)
    predicted, wanted = real_array(prediction, head, "prediction"), real_array(target, head, "target")
    given = None if lengths is None else integers(lengths, head, "lengths")
    return Pair(head, predicted, wanted, None, given, first)


def _is_list_of_arrays(value: object) -> bool:
    return isinstance(value, list | tuple) and any(getattr(item, "ndim", 0) > 0 for item in value)


def _refuse_layout(head: str, form: str, lengths: object, batch_first: object) -> None:
    name = "lengths" if lengths is not None else "batch_first" if batch_first is not None else None
    if name is not None:
        problem = f"`{name}` was given with {form} of sequences, each of which has its own length."
        raise ValueError(explain(head, problem, "Leave it out."))


def _read_list(head: str, prediction: Any, target: Any) -> Pair:
    count = len(prediction)
    if not isinstance(target, list | tuple):
        problem = f"`target` should be a list of {count} arrays, as `prediction` is one, got {kind_of(target)}."
        raise TypeError(explain(head, problem, "One array of targets for each sequence."))
    predicted = [real_array(item, head, f"prediction[{n}]") for n, item in enumerate(prediction)]
    lengths = np.array([len(item) if item.ndim else -1 for item in predicted], np.int64)
    _check_lengths(head, "prediction", predicted, lengths)
    wanted = [real_array(item, head, f"target[{n}]") for n, item in enumerate(target)]
    _check_lengths(head, "target", wanted, lengths)
    ragged = _Ragged(lengths, np.repeat(np.arange(count), lengths), None)
    joined = _joined(head, "prediction", predicted), _joined(head, "target", wanted)
    return Pair(head, *joined, ragged, None, None)


def _read_packed(head: str, prediction: Any, target: Any) -> Pair:
    if not hasattr(target, "batch_sizes"):
        problem = f"`target` should be a packed sequence, as `prediction` is one, got {type(target).__name__}."
        raise TypeError(explain(head, problem, "Pack it in the same order: pack_padded_sequence or pack_sequence."))
    predicted, wanted = as_packed(prediction), as_packed(target)
    _check_packing(head, "target", predicted, wanted)
    lengths = lengths_of(predicted)
    rows = np.empty(int(lengths.sum()), np.int64)
    rows[places(predicted, lengths)] = np.repeat(np.arange(len(lengths)), lengths)
    return Pair(head, predicted.data, wanted.data, _Ragged(lengths, rows, predicted), None, None)


def _check_packing(head: str, name: str, packed: PackedSequence, other: PackedSequence) -> None:
    alike = np.array_equal(packed.batch_sizes, other.batch_sizes)
    if not alike or not np.array_equal(places(packed, lengths_of(packed)), places(other, lengths_of(other))):
        raise ValueError(
            explain(head, f"`{name}` is packed otherwise than `prediction`.", "Pack it in the same order.")
        )


def _check_lengths(head: str, name: str, arrays: Sequence[NDArray[Any]], lengths: Integers) -> None:
    for n, (array, length) in enumerate(zip(arrays, lengths, strict=False)):
        if array.ndim == 0:
            raise ValueError(explain(head, f"`{name}[{n}]` has no axis of steps.", "Each is an array (T_n, ...)."))
        if len(array) != length:
            problem = f"`{name}[{n}]` has shape {array.shape}, expected {int(length)} steps."
            raise ValueError(explain(head, problem, "It has as many as `prediction` of that sequence."))
        if array.shape[1:] != arrays[0].shape[1:]:
            problem = f"`{name}[{n}]` has shape {array.shape}, but `{name}[0]` {arrays[0].shape}."
            raise ValueError(explain(head, problem, "They may differ in their first axis only."))
    if len(arrays) != len(lengths):
        raise ValueError(explain(head, f"`{name}` has {len(arrays)} arrays, expected {len(lengths)}."))


def _joined(head: str, name: str, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    joined: NDArray[Any] = real_array(np.concatenate(arrays), head, name)
    return joined
