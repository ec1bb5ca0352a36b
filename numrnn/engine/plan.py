"""The plan of a call: every check of its arguments, made once for each signature and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numrnn import _threads
from numrnn._types import Array, Shape
from numrnn.cellspec import CELLS, CellSpec
from numrnn.engine import memory
from numrnn.engine.arrays import is_ready, ready
from numrnn.engine.inputs import read_input, refuse_shape
from numrnn.engine.signature import HasSignature, Signature
from numrnn.engine.states import read_state

__all__ = ["Plan", "Purpose", "kept_plan", "plan_call", "plan_shape"]

Purpose: TypeAlias = Literal["output", "last", "training"]
"""What a call must hold in memory: the output, the last states alone, or everything that backward needs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One call, checked: shapes, element type, layout and threads. Kernels trust it."""

    spec: CellSpec
    dtype: np.dtype[Any]
    seq_len: int
    batch_size: int
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    n_threads: int
    num_directions: int
    output_size: int
    flat: bool
    output_shape: Shape = field(init=False)
    state_shape: Shape = field(init=False)
    cell_shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        """Derive the shapes of the results: output in the user's layout, states never batch-first."""
        steps_and_rows = (self.batch_size, self.seq_len) if self.batch_first else (self.seq_len, self.batch_size)
        states = (self.num_layers * self.num_directions, self.batch_size)
        object.__setattr__(self, "output_shape", (*steps_and_rows, self.num_directions * self.output_size))
        object.__setattr__(self, "state_shape", (*states, self.output_size))
        object.__setattr__(self, "cell_shape", (*states, self.hidden_size))

    def positions(self, lengths: NDArray[np.int64] | None) -> int:
        """Rows of x in the user's memory, one for each step of each sequence; padding counts where x has it."""
        return int(np.sum(lengths)) if self.flat and lengths is not None else self.seq_len * self.batch_size

    def bytes_for(self, purpose: Purpose, positions: int | None = None) -> int:
        """Bytes that a call allocates for its results, and for backward where that follows.

        `positions` is the number of steps of all sequences together; without it every sequence has `seq_len`.
        """
        if positions is None:
            positions = self.seq_len * self.batch_size
        tracks, cell = self.num_layers * self.num_directions, self.spec.has_cell_state
        states = tracks * self.batch_size * (self.output_size + cell * self.hidden_size)
        steps = 0
        if purpose == "output":
            steps = self.num_directions * self.output_size
        if purpose == "training":
            steps = tracks * (self.output_size + (len(self.spec.saved) + cell) * self.hidden_size)
        return (states + positions * steps) * self.dtype.itemsize


def plan_shape(signature: Signature, shape: Shape, n_threads: int) -> Plan:
    """Check the shape of x and derive the plan."""
    if len(shape) != 3 or shape[2] != signature.input_size:
        refuse_shape(signature, shape)
    seq_len, batch_size = (shape[1], shape[0]) if signature.batch_first else (shape[0], shape[1])
    return Plan(
        CELLS[signature.cell],
        signature.dtype,
        seq_len,
        batch_size,
        signature.input_size,
        signature.hidden_size,
        signature.num_layers,
        signature.bias,
        signature.batch_first,
        n_threads,
        signature.num_directions,
        signature.output_size,
        flat=False,
    )


@lru_cache(maxsize=64)
def kept_plan(signature: Signature, shape: Shape, n_threads: int, purpose: Purpose) -> Plan:
    """The plan of a shape whose results this machine can hold; what raises is not kept."""
    plan = plan_shape(signature, shape, n_threads)
    memory.require(
        plan.bytes_for(purpose),
        signature.head,
        f"{'training on' if purpose == 'training' else 'the result of'} x of shape {shape}",
        "Split the batch, or split time and carry `result.state` over.",
    )
    return plan


def plan_call(
    layer: HasSignature, x: object, state: object, *, n_threads: int | None, purpose: Purpose = "output"
) -> tuple[Plan, Array, Array | None, Array | None]:
    """Check the arguments of a call.

    Parameters
    ----------
    layer
        The layer that is called.
    x
        What the user passed: anything that reads as an array of real numbers.
    state
        h_0, (h_0, c_0), or None.
    n_threads
        The call's own setting: None, an int of 1 or more, or -1.
    purpose
        What the call is going to allocate.

    Returns
    -------
    plan, x, h_0, c_0
        The arrays have the layer's dtype and are C-contiguous in the user's layout, the states full (L*D, N, ...), or None
        where not given. Copies only where needed; the user's arrays are never written.
    """
    signature = layer.signature
    dtype = signature.dtype
    threads = _threads.resolve(n_threads)
    if is_ready(x, dtype):
        array, plan = x, kept_plan(signature, x.shape, threads, purpose)
    else:
        given = read_input(signature, x)
        plan = kept_plan(signature, given.shape, threads, purpose)
        array = ready(given, dtype, signature.head, "x")
    if state is None:
        return plan, array, None, None
    # a state that comes from the call before needs no second look: small calls are counted in microseconds
    if type(state) is tuple and len(state) == 2 and plan.spec.has_cell_state:
        h_0, c_0 = state
        if is_ready(h_0, dtype) and h_0.shape == plan.state_shape:
            if is_ready(c_0, dtype) and c_0.shape == plan.cell_shape:
                return plan, array, h_0, c_0
    elif is_ready(state, dtype) and state.shape == plan.state_shape and not plan.spec.has_cell_state:
        return plan, array, state, None
    return plan, array, *read_state(signature, plan.seq_len, plan.batch_size, state)
