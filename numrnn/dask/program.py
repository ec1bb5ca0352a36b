"""What one task does: run a model over one chunk, from the state that the chunk before left."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from dask.sizeof import sizeof
from dask.tokenize import normalize_token
from numpy.typing import NDArray

from numrnn import _threads
from numrnn._types import Array
from numrnn.engine.packed import Integers
from numrnn.nn.model import SequenceModel
from numrnn.nn.parameters import HasParameters
from numrnn.nn.reversed import AnyLayer

__all__ = ["Carry", "Model", "Piece", "Program", "initial_states", "layers_of", "run_piece"]

Model = AnyLayer | SequenceModel


class Carry(NamedTuple):
    """What one chunk hands to the next: a state or None for each layer; sums or maxima of the steps so far."""

    states: Sequence[Any]
    pooled: NDArray[Any] | None = None


class Piece(NamedTuple):
    """What running over one chunk gives; `output` only where the whole result has a part there."""

    output: Array | None
    carry: Carry


@dataclass(frozen=True)
class Program:
    """A model as tasks have it, sent to a worker once.

    `body` is what runs over a chunk: the model, or, where a mean or maximum over steps is put together from several
    chunks, its layers alone.
    """

    model: Model
    n_threads: int | None
    pooled_over_chunks: bool
    body: Model = field(init=False)

    def __post_init__(self) -> None:
        """Derive the body, which shares the model's parts."""
        body = self.model
        if self.pooled_over_chunks and isinstance(body, SequenceModel):
            recurrent = list(body.recurrent) if isinstance(body.recurrent, tuple) else body.recurrent
            body = SequenceModel(recurrent, None, readout_on="max" if body.readout_on == "max" else "every")
        object.__setattr__(self, "body", body)

    def __dask_tokenize__(self) -> Any:
        return normalize_token((type(self).__name__, self.model, self.n_threads, self.pooled_over_chunks))


@normalize_token.register(HasParameters)  # type: ignore[untyped-decorator, unused-ignore]
def _named_by_its_weights(model: HasParameters) -> Any:
    """What Dask names a model by: the call that makes it, and its weights."""
    return normalize_token((type(model).__qualname__, repr(model), model.parameters))


@sizeof.register(HasParameters)  # type: ignore[untyped-decorator, unused-ignore]
def _bytes_of_weights(model: HasParameters) -> int:
    return sum(int(value.nbytes) for value in model.parameters.values())


@sizeof.register(Program)  # type: ignore[untyped-decorator, unused-ignore]
def _bytes_of_program(program: Program) -> int:
    return 2 * _bytes_of_weights(program.model)  # and once more, packed


def layers_of(model: Model) -> tuple[AnyLayer, ...]:
    """The recurrent layers, in order."""
    if not isinstance(model, SequenceModel):
        return (model,)
    return model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)


def initial_states(model: Model, *, unbatched: bool) -> list[Any]:
    """A state or None for each layer: what the model begins with where no state is given."""
    if not (isinstance(model, SequenceModel) and model.learn_initial_state):
        return [None] * len(layers_of(model))
    parameters, states = model.parameters, []
    for k in range(len(layers_of(model))):
        prefix = f"initial_state.{k}." if isinstance(model.recurrent, tuple) else "initial_state."
        parts = [parameters[prefix + name] for name in ("h_0", "c_0") if prefix + name in parameters]
        parts = [part[:, 0] if unbatched else part for part in parts]
        states.append(tuple(parts) if len(parts) == 2 else parts[0])
    return states


def run_piece(
    program: Program, x: Any, carry: Carry | Sequence[Any], lengths: Integers | None, begin: int, *, end: bool
) -> Piece:
    """Run over one chunk of time.

    `carry` is what the chunk before gave; for the first chunk a list with the parts of each layer's given state, or
    None. `lengths` are those of the whole rows, `begin` is the step that the chunk begins with, `end` whether it is the
    last one.
    """
    model, body = program.model, program.body
    first = not isinstance(carry, Carry)
    if not isinstance(carry, Carry):
        starts = initial_states(model, unbatched=x.ndim == 2)
        given = [None if parts is None else (parts[0] if len(parts) == 1 else tuple(parts)) for parts in carry]
        carry = Carry([start if state is None else state for start, state in zip(starts, given, strict=True)])
    axis = 1 if x.ndim == 3 and body_is_batch_first(body) else 0
    own = None if lengths is None else np.clip(lengths - begin, 0, x.shape[axis])
    n_threads = _threads_here(program.n_threads)
    output, states = _call(body, x, carry.states, own, n_threads)
    if not (program.pooled_over_chunks and isinstance(model, SequenceModel)):
        needed = end or not isinstance(model, SequenceModel) or model.readout_on == "every"
        return Piece(output if needed else None, Carry(states))
    if model.readout_on == "max":
        pooled = output if first else _larger(carry.pooled, output, lengths, own, begin, x.shape[axis])
    else:
        pooled = _summed(carry.pooled, np.moveaxis(output, axis, 0), own)
    if not end:
        return Piece(None, Carry(states, pooled))
    rows = pooled
    if model.readout_on == "mean":
        n_steps = begin + x.shape[axis] if lengths is None else lengths[:, None]
        rows = (pooled / np.maximum(n_steps, 1)).astype(output.dtype)
    return Piece(rows if model.readout is None else model.readout(rows, n_threads=n_threads), Carry(states))


def body_is_batch_first(body: Model) -> bool:
    """Whether the layers read (batch, time, features)."""
    return layers_of(body)[0].batch_first


def _call(
    body: Model, x: Any, states: Sequence[Any], lengths: Integers | None, n_threads: int | None
) -> tuple[Array, list[Any]]:
    """What the model predicts, and the state of each layer."""
    if not isinstance(body, SequenceModel):
        result = body(x, states[0], lengths=lengths, n_threads=n_threads)
        return result.output, [result.state]
    if isinstance(body.recurrent, tuple):
        prediction, many = body(x, list(states), lengths=lengths, return_state=True, n_threads=n_threads)
        return prediction, list(many)
    prediction, one = body(x, states[0], lengths=lengths, return_state=True, n_threads=n_threads)
    return prediction, [one]


def _summed(sums: NDArray[Any] | None, steps: Array, lengths: Integers | None) -> NDArray[np.float64]:
    """The float64 sums of each row's steps, continued step by step: the additions of the undivided mean, in order."""
    total = np.zeros(steps.shape[1:]) if sums is None else sums.copy()
    for t, step in enumerate(steps):
        if lengths is None:
            total += step
        else:
            np.add(total, step, out=total, where=(t < lengths)[:, None])
    return total


def _larger(
    before: Any, here: Array, lengths: Integers | None, own: Integers | None, begin: int, n_steps: int
) -> Array:
    """The maximum of what came before and of this chunk, NaN where there is one; the earlier one of equals."""
    higher = (here > before) | (np.isnan(here) & ~np.isnan(before))
    if lengths is None or own is None:
        chosen = higher if begin else np.ones_like(higher)
        return np.where(chosen & (n_steps > 0), here, before)
    some_before, some_here = (begin > 0) & (lengths > 0), own > 0
    return np.where((higher | ~some_before[:, None]) & some_here[:, None], here, before)


def _threads_here(n_threads: int | None) -> int | None:
    """How many threads a call inside this task takes.

    A scheduler's threads run tasks side by side already. Only where tasks run one after the other, in a program's main
    thread, may each have what the package is set to.
    """
    if n_threads is not None:
        everything = _threads.resolve(-1)
        return everything if n_threads == -1 else min(n_threads, everything)
    alone = threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is None
    return None if alone else 1
