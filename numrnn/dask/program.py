"""What one task does: run a model over one chunk, from the state that the chunk before left."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from dask.sizeof import sizeof
from dask.tokenize import normalize_token
from numpy.typing import NDArray

from numrnn import _threads
from numrnn._types import Array
from numrnn.dask.pooling import larger, mean_of, summed
from numrnn.engine.packed import Integers
from numrnn.nn.model import SequenceModel
from numrnn.nn.parameters import HasParameters
from numrnn.nn.reversed import AnyLayer

__all__ = ["Carry", "Model", "Piece", "Program", "begin", "layers_of", "run_piece"]

Model: TypeAlias = AnyLayer | SequenceModel


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

    `pools` says that a mean or maximum over steps is put together from several chunks. Over a chunk runs `body`: the
    model, or then its layers alone.
    """

    model: Model
    n_threads: int | None
    pools: bool
    body: Model = field(init=False)

    def __post_init__(self) -> None:
        """Derive the body, which shares the model's parts."""
        body = self.model
        if self.pools and isinstance(body, SequenceModel):
            recurrent = list(body.recurrent) if isinstance(body.recurrent, tuple) else body.recurrent
            body = SequenceModel(recurrent, None, readout_on="max" if body.readout_on == "max" else "every")
        object.__setattr__(self, "body", body)

    def __dask_tokenize__(self) -> Any:
        return normalize_token((type(self).__name__, self.model, self.n_threads, self.pools))


@normalize_token.register(HasParameters)  # type: ignore[untyped-decorator, unused-ignore]
def _named_by_its_weights(model: HasParameters) -> Any:
    """What Dask names a model by: the call that makes it, its layers' cells, and its weights.

    Two cells that users defined under one name differ in their keys alone.
    """
    layers = layers_of(model) if isinstance(model, AnyLayer | SequenceModel) else ()
    cells = [layer.signature.cell for layer in layers]
    return normalize_token((type(model).__qualname__, repr(model), cells, model.parameters))


@sizeof.register(Program)  # type: ignore[untyped-decorator, unused-ignore]
def _bytes_of(program: Program) -> int:
    """What Dask counts a program as."""
    return 2 * int(sum(value.nbytes for value in program.model.parameters.values()))  # and once more, packed


def layers_of(model: Model) -> tuple[AnyLayer, ...]:
    """The recurrent layers, in order."""
    if not isinstance(model, SequenceModel):
        return (model,)
    return model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)


def begin(program: Program, given: Sequence[Any], unbatched: bool) -> Carry:
    """Return what the first chunk starts from: the states given, as a list of parts or None for each layer.

    None is the learned initial state where there is one, and is left to the layer otherwise.
    """
    model = program.model
    states: list[Any] = [None if parts is None else _state_of(parts) for parts in given]
    if not (isinstance(model, SequenceModel) and model.learn_initial_state):
        return Carry(states)
    for k, own in enumerate(model._initial):
        if states[k] is None:
            states[k] = own.state(unbatched=unbatched)
    return Carry(states)


def run_piece(
    program: Program, x: Any, carry: Carry, lengths: Integers | None, first_step: int, *, is_last: bool
) -> Piece:
    """Run over one chunk of time.

    `lengths` are those of the whole rows; `first_step` is the step of the whole that the chunk begins with.
    """
    model, n_threads = program.model, _threads_here(program.n_threads)
    axis = 1 if x.ndim == 3 and layers_of(model)[0].batch_first else 0
    n_steps = x.shape[axis]
    own = None if lengths is None else np.clip(lengths - first_step, 0, n_steps)
    output, states = _call(program.body, x, carry.states, own, n_threads)
    if not isinstance(model, SequenceModel) or model.readout_on == "every":
        return Piece(output, Carry(states))
    if not program.pools:
        return Piece(output if is_last else None, Carry(states))
    pooled: NDArray[Any]
    if model.readout_on == "mean":
        pooled = summed(carry.pooled, np.moveaxis(output, axis, 0), own)
    elif carry.pooled is None:
        pooled = output
    else:
        here, before = (np.array(n_steps), np.array(first_step)) if own is None or lengths is None else (own, lengths)
        pooled = larger(carry.pooled, output, (before > 0) & (first_step > 0), here > 0)
    if not is_last:
        return Piece(None, Carry(states, pooled))
    rows = pooled
    if model.readout_on == "mean":
        rows = mean_of(pooled, first_step + n_steps if lengths is None else lengths, output.dtype)
    return Piece(rows if model.readout is None else model.readout(rows, n_threads=n_threads), Carry(states))


def _call(
    body: Model, x: Any, states: Sequence[Any], lengths: Integers | None, n_threads: int | None
) -> tuple[Array, list[Any]]:
    """What the model predicts, and the state of each layer."""
    if not isinstance(body, SequenceModel):
        result = body(x, states[0], lengths=lengths, n_threads=n_threads)
        return result.output, [result.state]
    several = isinstance(body.recurrent, tuple)
    state = list(states) if several else states[0]
    prediction, after = body(x, state, lengths=lengths, return_state=True, n_threads=n_threads)
    return prediction, list(after) if several else [after]


def _state_of(parts: Sequence[Array]) -> Any:
    """The state of these parts: h, or (h, c)."""
    return parts[0] if len(parts) == 1 else tuple(parts)


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
