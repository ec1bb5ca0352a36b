"""What a user may pass for x beside one padded array, and how results go back into the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._types import Array
from numrnn.engine import memory
from numrnn.engine.arrays import ready, real_array
from numrnn.engine.packed import Integers, PackedSequence, as_packed, lengths_of, places
from numrnn.engine.signature import Signature

__all__ = ["Form", "OneSequence", "PackedRows", "Rows", "packed_form", "read_rows", "rows_form"]


class Form(Protocol):
    """The user's form of steps and states, where it is not the engine's."""

    def steps(self, array: Array) -> Any:
        """Return the engine's steps, those of x, `output` or their gradients, as the user has them."""

    def state(self, array: Array) -> Array:
        """Return a state (L*D, N, ...) as the user has it."""

    def read_steps(self, value: object, features: int, dtype: np.dtype[Any], head: str, name: str) -> Array:
        """Read a cotangent in the user's form; rows one after the other."""


@dataclass(frozen=True, slots=True)
class OneSequence:
    """x is (time, features): no array has an axis of sequences."""

    seq_len: int

    def steps(self, array: Array) -> Array:
        """Return (T, features)."""
        return array.reshape(self.seq_len, array.shape[-1])

    def state(self, array: Array) -> Array:
        """Return (L*D, features)."""
        return array[:, 0]

    def read_steps(self, value: object, features: int, dtype: np.dtype[Any], head: str, name: str) -> Array:
        """Read (T, features)."""
        array = real_array(value, head, name)
        expected = (self.seq_len, features)
        if array.shape != expected:
            read = "x is one sequence (time, features), and so is what belongs to its steps."
            raise ValueError(explain(head, f"`{name}` has shape {array.shape}, expected {expected}.", read))
        return ready(array, dtype, head, name)


@dataclass(frozen=True, slots=True)
class Rows:
    """x is a list of arrays (T_n, features)."""

    lengths: Integers

    def steps(self, array: Array) -> list[Array]:
        """Return one array for each sequence."""
        flat = array.reshape(int(self.lengths.sum()), array.shape[-1])
        return np.split(flat, np.cumsum(self.lengths)[:-1])

    def state(self, array: Array) -> Array:
        """Return it as it is: rows in the order of the list."""
        return array

    def read_steps(self, value: object, features: int, dtype: np.dtype[Any], head: str, name: str) -> Array:
        """Read a list of arrays (T_n, features)."""
        if not isinstance(value, list | tuple) or len(value) != len(self.lengths):
            got = f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else kind_of(value)
            problem = f"`{name}` should be a list of {len(self.lengths)} arrays, as x is one, got {got}."
            raise ValueError(explain(head, problem))
        arrays = [real_array(item, head, f"{name}[{n}]") for n, item in enumerate(value)]
        for n, (array, length) in enumerate(zip(arrays, self.lengths, strict=True)):
            if array.shape != (length, features):
                problem = f"`{name}[{n}]` has shape {array.shape}, expected {(int(length), features)}."
                raise ValueError(explain(head, problem, f"Its sequence x[{n}] has {length} steps."))
        return joined(arrays, features, dtype, head, name)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """x is a packed sequence; `places` are those of its rows, one after the other, in the user's order."""

    packed: PackedSequence
    lengths: Integers
    places: Integers

    def steps(self, array: Array) -> PackedSequence:
        """Return a packed sequence like x."""
        data = np.empty((len(self.places), array.shape[-1]), array.dtype)
        data[self.places] = array.reshape(data.shape)
        return self.packed._replace(data=data)

    def state(self, array: Array) -> Array:
        """Return it as it is: rows in the user's order, not in that of the packing."""
        return array

    def read_steps(self, value: object, features: int, dtype: np.dtype[Any], head: str, name: str) -> Array:
        """Read a packed sequence like x, or its data."""
        if hasattr(value, "batch_sizes"):
            packed = as_packed(value)
            if not self._like(packed):
                raise ValueError(explain(head, f"`{name}` is packed otherwise than x.", "Pack it in the same order."))
            value = packed.data
        array = real_array(value, head, name)
        expected = (len(self.places), features)
        if array.shape != expected:
            read = "It is a packed sequence like x, or the data of one."
            raise ValueError(explain(head, f"`{name}` has data of shape {array.shape}, expected {expected}.", read))
        return ready(array, dtype, head, name)[self.places]

    def _like(self, packed: PackedSequence) -> bool:
        return np.array_equal(packed.batch_sizes, self.packed.batch_sizes) and np.array_equal(
            lengths_of(packed), self.lengths
        )


def rows_form(arrays: Sequence[NDArray[Any]]) -> Rows:
    """The form of a list whose arrays were read."""
    return Rows(np.array([len(array) for array in arrays], np.int64))


def packed_form(x: object) -> PackedRows:
    """The form of a packed sequence, ours or PyTorch's."""
    packed = as_packed(x)
    lengths = lengths_of(packed)
    return PackedRows(packed, lengths, places(packed, lengths))


def read_rows(signature: Signature, x: Sequence[object]) -> list[NDArray[Any]]:
    """Read a list of sequences, each (time, features)."""
    arrays = [real_array(item, signature.head, f"x[{n}]") for n, item in enumerate(x)]
    for n, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1] != signature.input_size:
            _refuse_row(signature, type(x).__name__, len(x), n, array.shape)
    return arrays


def joined(arrays: Sequence[NDArray[Any]], features: int, dtype: np.dtype[Any], head: str, name: str) -> Array:
    """Copy the arrays' rows, one after the other, into one array."""
    total = sum(len(array) for array in arrays)
    memory.require(total * features * dtype.itemsize, head, f"a copy of `{name}`")
    return np.concatenate(arrays, dtype=dtype, casting="unsafe")


def _refuse_row(signature: Signature, kind: str, count: int, n: int, shape: tuple[int, ...]) -> NoReturn:
    wanted = signature.input_size
    read = f"x is a {kind} of {count} arrays, read as one sequence (time, features) each, whatever batch_first is."
    if len(shape) == 3:
        advice = f"To run one padded batch pass it alone: layer(x[{n}])."
    elif len(shape) != 2:
        advice = "For sequences of one feature pass arrays (time, 1)." if wanted == 1 else "Each array needs two axes."
    elif shape[0] == wanted:
        advice = f"It looks like (features, time): pass x[{n}].T."
    else:
        advice = f"Pass {wanted} features, or make the layer with input_size={shape[1]}."
    problem = f"`x[{n}]` has shape {shape}, expected (time, {wanted})."
    raise ValueError(explain(signature.head, problem, read, advice))
