"""The arguments of `predict`, read or refused when it is called: no task fails for what could be seen before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from numrnn import _threads
from numrnn._errors import explain, kind_of
from numrnn._types import Shape
from numrnn.dask.program import Model, layers_of
from numrnn.engine.arrays import real_array
from numrnn.engine.forms import OneSequence
from numrnn.engine.inputs import refuse_own_lengths
from numrnn.engine.packed import Integers
from numrnn.engine.plan import plan_shape
from numrnn.engine.raggedness import read_lengths
from numrnn.engine.signature import Signature
from numrnn.engine.states import read_state
from numrnn.nn.model import SequenceModel
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.reversed import Reversed

__all__ = ["HEAD", "Layout", "read_input", "read_model", "read_n_threads", "read_row_lengths", "read_states"]

HEAD = "numrnn.dask.predict"


@dataclass(frozen=True)
class Layout:
    """How x is cut: where its axes are, and the chunks of time and of the batch; one sequence has no batch axis."""

    time_axis: int
    batch_axis: int | None
    times: Shape
    batches: Shape

    @property
    def seq_len(self) -> int:
        """Steps of all chunks."""
        return sum(self.times)

    @property
    def batch_size(self) -> int:
        """Rows of all chunks."""
        return sum(self.batches)

    @property
    def rows(self) -> tuple[Shape, ...]:
        """The chunks of an array's batch axis, none of one sequence."""
        return () if self.batch_axis is None else (self.batches,)

    def places(self, t: int, n: int) -> tuple[int, ...]:
        """The number of a block of x, but for its features."""
        if self.batch_axis is None:
            return (t,)
        return (t, n) if self.time_axis == 0 else (n, t)


def read_model(model: object) -> Model:
    """A layer or a model of layers."""
    if isinstance(model, Recurrent | Reversed | SequenceModel):
        return model
    advice = "A single cell or a Linear has no time to be cut: use dask.array.map_blocks."
    problem = f"`model` should be an RNN, LSTM, GRU, Reversed or SequenceModel, got {kind_of(model)}."
    raise TypeError(explain(HEAD, problem, advice))


def read_input(model: Model, x: object) -> Layout:
    """Check x, and return how it is cut."""
    if not isinstance(x, da.Array):
        advice = "Cut it: x = dask.array.from_array(x, chunks=...); or call the model itself: model(x)."
        raise TypeError(explain(HEAD, f"`x` should be a Dask array, got {type(x).__name__}.", advice))
    layers = layers_of(model)
    signature = layers[0].signature
    refuse_unknown(x, "x")
    real_array(da.utils.meta_from_array(x), HEAD, "x")
    plan_shape(signature, x.shape, 1)
    if x.numblocks[-1] != 1:
        problem = (
            f"`x` has its {x.shape[-1]} features in {x.numblocks[-1]} chunks, expected one: a step reads them all."
        )
        advice = "Pass x.rechunk({-1: -1}); its chunks are larger then, so choose those of time and batch with it."
        raise ValueError(explain(HEAD, problem, f"x.chunks = {_shown(x.chunks)}.", advice))
    time_axis = 1 if x.ndim == 3 and signature.batch_first else 0
    batch_axis = 1 - time_axis if x.ndim == 3 else None
    batches = (1,) if batch_axis is None else x.chunks[batch_axis]
    layout = Layout(time_axis, batch_axis, x.chunks[time_axis], batches)
    if len(layout.times) > 1:
        _refuse_backwards(layers, layout)
    return layout


def refuse_unknown(array: Any, name: str) -> None:
    """Raise for an array whose shape is only known when it is computed."""
    if any(math.isnan(size) for size in array.shape):
        advice = f"Call {name}.compute_chunk_sizes() first."
        raise ValueError(explain(HEAD, f"`{name}` has chunks of unknown size: its shape is {array.shape}.", advice))


def _refuse_backwards(layers: Sequence[Any], layout: Layout) -> None:
    """Raise for layers that read from the end."""
    for layer in layers:
        if layer.signature.num_directions == 1 and not isinstance(layer, Reversed):
            continue
        name = layer.signature.head
        reads = f"{name} is bidirectional and begins" if layer.signature.num_directions == 2 else f"{name} begins"
        problem = f"{reads} at the end of a sequence, and x is in {len(layout.times)} chunks of time."
        advice = f"Pass x.rechunk({{{layout.time_axis}: -1}}), one chunk of time; cut the batch instead."
        raise NotImplementedError(explain(HEAD, problem, advice))


def read_row_lengths(signature: Signature, lengths: object, layout: Layout) -> Integers | None:
    """The number of steps of each row; None where no row is shorter than x."""
    if lengths is None:
        return None
    if isinstance(lengths, da.Array):
        advice = "They say what each task does: pass lengths.compute()."
        raise TypeError(explain(HEAD, "`lengths` is a Dask array, expected integers that are known.", advice))
    if layout.batch_axis is None:
        refuse_own_lengths(signature, OneSequence(layout.seq_len))
    return read_lengths(signature, lengths, layout.seq_len, layout.batch_size)


def read_n_threads(n_threads: object) -> int | None:
    """How many threads a task takes: None, -1, or an int whose limit each worker has for itself."""
    if n_threads is None:
        return None
    n = _threads.as_number(n_threads, "n_threads", f"{HEAD}: ")
    if n < 1 and n != -1:
        raise ValueError(explain(HEAD, f"`n_threads` = {n}, expected 1 or more, or -1 for all."))
    return n


def read_states(model: Model, state: object, layout: Layout) -> list[list[Any] | None]:
    """For each layer the parts of its state as Dask arrays, cut as the batch is; None where none is given."""
    layers = layers_of(model)
    given: Sequence[Any] = (state,)
    if isinstance(model, SequenceModel):
        _, given = model._read_arguments(state, False)
    return [None if one is None else _state(layer, one, layout) for layer, one in zip(layers, given, strict=True)]


def _state(layer: Any, state: object, layout: Layout) -> list[Any]:
    """The parts of one layer's state; lazy ones are checked by their shape and dtype."""
    unbatched = layout.batch_axis is None
    lazy = state if isinstance(state, tuple | list) else (state,)
    if any(isinstance(part, da.Array) for part in lazy):
        head = layer.signature.head
        stand_ins = tuple(_stand_in(part, head, "c_0" if k else "h_0") for k, part in enumerate(lazy))
        state = stand_ins if isinstance(state, tuple | list) else stand_ins[0]
    else:
        lazy = (None, None)
    read = read_state(layer.signature, layout.seq_len, layout.batch_size, state, unbatched=unbatched)
    parts = []
    for given, array in zip(lazy, read, strict=False):
        if array is None:
            continue
        part = given
        if not isinstance(given, da.Array):
            part = da.from_array(array[:, 0] if unbatched else array, chunks=-1)
        rows = layout.batches if not unbatched and part.shape[1] == layout.batch_size else -1
        parts.append(part.rechunk(-1 if unbatched else (-1, rows, -1)))
    return parts


def _stand_in(part: object, head: str, name: str) -> object:
    """An array of the same shape and dtype that takes no memory, for a lazy one whose chunks can be read."""
    if not isinstance(part, da.Array):
        return part
    refuse_unknown(part, "state")
    real_array(da.utils.meta_from_array(part), head, name)
    return np.broadcast_to(np.zeros((), part.dtype), part.shape)


def _shown(chunks: tuple[Shape, ...]) -> str:
    """Chunks as a short text."""
    each = [str(sizes) if len(sizes) <= 4 else f"({sizes[0]}, {sizes[1]}, ... {len(sizes)} chunks)" for sizes in chunks]
    return f"({', '.join(each)})"
