"""The tasks of a prediction: a chain over the chunks of time for each chunk of the batch."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph
from dask.task_spec import DataNode, List, Task, TaskRef
from dask.tokenize import tokenize

from numrnn._types import Shape
from numrnn.dask.arguments import Layout
from numrnn.dask.fusing import Sources
from numrnn.dask.program import Carry, Program, begin, run_piece
from numrnn.engine.packed import Integers

__all__ = ["Prediction"]


class Prediction:
    """The graph of a prediction, and its results as arrays."""

    def __init__(
        self,
        program: Program,
        x: Any,
        layout: Layout,
        states: Sequence[list[Any] | None],
        lengths: Integers | None,
    ) -> None:
        self._layout = layout
        self._token = tokenize(program, x, states, lengths)
        self._pieces = f"numrnn-pieces-{self._token}"
        self._carries = f"numrnn-carry-{self._token}"
        self._model = f"numrnn-model-{tokenize(program)}"
        self._tasks: dict[Hashable, Any] = {self._model: DataNode(self._model, program)}
        sources = Sources(x) if len(layout.times) > 1 else None
        taken = sources is not None and not sources.held
        if sources is not None and taken:
            self._tasks.update(sources.shared)
        first_rows = [0, *accumulate(layout.batches)]
        for n, n_rows in enumerate(layout.batches):
            own = None if lengths is None else lengths[first_rows[n] : first_rows[n] + n_rows]
            self._chain(n, x.name, states, own, sources.own if sources is not None and taken else {})
        needs = [part for parts in states if parts is not None for part in parts]
        self._graph = HighLevelGraph.from_collections(self._pieces, self._tasks, [*needs, *([] if taken else [x])])

    def _chain(
        self,
        n: int,
        x: str,
        states: Sequence[list[Any] | None],
        lengths: Integers | None,
        sources: Mapping[Hashable, list[Any]],
    ) -> None:
        """Add the tasks of one chunk of the batch: one for each chunk of time, which takes in what makes its x."""
        layout, model = self._layout, TaskRef(self._model)
        rows: Any = None
        if lengths is not None:
            name = (f"numrnn-lengths-{self._token}", n)
            self._tasks[name] = DataNode(name, lengths)
            rows = TaskRef(name)
        start: tuple[Hashable, ...] = (self._carries, n)
        given = List(
            *[None if parts is None else List(*[TaskRef(_block(part, n)) for part in parts]) for parts in states]
        )
        self._tasks[start] = Task(start, begin, model, given, layout.batch_axis is None)
        carry, first_step, last = start, 0, len(layout.times) - 1
        for t, n_steps in enumerate(layout.times):
            block, key = (x, *layout.places(t, n), 0), (self._pieces, t, n)
            task = Task(key, run_piece, model, TaskRef(block), TaskRef(carry), rows, first_step, is_last=t == last)
            self._tasks[key] = Task.fuse(*sources[block], task, key=key) if sources.get(block) else task
            carry, first_step = (self._carries, t, n), first_step + n_steps
            self._tasks[carry] = Task(carry, operator.itemgetter(1), TaskRef(key))

    def steps(self, features: int, dtype: np.dtype[Any]) -> Any:
        """An output at every step, cut as x is."""
        layout = self._layout
        chunks = [layout.times] if layout.batch_axis is None else [layout.times, layout.batches]
        name = f"numrnn-output-{self._token}"
        tasks = {
            (name, *layout.places(t, n), 0): (self._pieces, t, n)
            for t in range(len(layout.times))
            for n in range(len(layout.batches))
        }
        ordered = chunks if layout.time_axis == 0 else chunks[::-1]
        return self._array(
            name,
            {key: Task(key, operator.itemgetter(0), TaskRef(piece)) for key, piece in tasks.items()},
            (*ordered, (features,)),
            dtype,
        )

    def rows(self, features: int, dtype: np.dtype[Any]) -> Any:
        """One vector a row of the batch, which the last chunk of time gives."""
        name, last = f"numrnn-prediction-{self._token}", len(self._layout.times) - 1
        tasks = {}
        for n in range(len(self._layout.batches)):
            key = (name, 0) if self._layout.batch_axis is None else (name, n, 0)
            tasks[key] = Task(key, operator.itemgetter(0), TaskRef((self._pieces, last, n)))
        return self._array(name, tasks, (*self._layout.rows, (features,)), dtype)

    def state(self, layer: int, part: int, tracks: int, features: int, dtype: np.dtype[Any]) -> Any:
        """A part of a layer's last state."""
        name, last = f"numrnn-state-{layer}-{part}-{self._token}", len(self._layout.times) - 1
        tasks = {}
        for n in range(len(self._layout.batches)):
            key = (name, 0, 0) if self._layout.batch_axis is None else (name, 0, n, 0)
            tasks[key] = Task(key, _part_of, TaskRef((self._carries, last, n)), layer, part)
        return self._array(name, tasks, ((tracks,), *self._layout.rows, (features,)), dtype)

    def _array(self, name: str, tasks: dict[Any, Any], chunks: tuple[Shape, ...], dtype: np.dtype[Any]) -> Any:
        """A result as an array, over the graph that all results share."""
        graph = HighLevelGraph({**self._graph.layers, name: tasks}, {**self._graph.dependencies, name: {self._pieces}})
        return da.Array(graph, name, chunks, meta=np.empty((0,) * len(chunks), dtype))


def _part_of(carry: Carry, layer: int, part: int) -> Any:
    """h or c of one layer."""
    state = carry.states[layer]
    return state[part] if isinstance(state, tuple) else state


def _block(part: Any, n: int) -> tuple[Any, ...]:
    """The block of a given state that belongs to a chunk of the batch; one block may stand for all."""
    if part.ndim == 2:
        return (part.name, 0, 0)
    return (part.name, 0, n if part.numblocks[1] > 1 else 0, 0)
