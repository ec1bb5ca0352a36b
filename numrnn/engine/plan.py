"""The plan of a call: every check of its arguments, made once for each signature and kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numrnn import _threads
from numrnn._types import Array, Shape
from numrnn.cellspec import CELLS, CellSpec
from numrnn.engine import memory
from numrnn.engine.arrays import is_ready, ready, real_array
from numrnn.engine.forms import Form, OneSequence, PackedRows, Rows, joined, packed_form, read_rows, rows_form
from numrnn.engine.inputs import is_several, refuse_own_lengths, refuse_packed, refuse_reset_of, refuse_shape
from numrnn.engine.packed import Integers
from numrnn.engine.raggedness import read_lengths, read_reset
from numrnn.engine.signature import HasSignature, Signature
from numrnn.engine.states import read_state

__all__ = ["Call", "Plan", "Purpose", "forget_plans", "kept_plan", "plan_call", "plan_shape"]

FLOPS_A_THREAD = 4e5
"""Below this much work a thread costs more than it gives (launch: some microseconds)."""

Purpose: TypeAlias = Literal["output", "last", "training", "recomputed"]
"""What a call must hold: the output, the last states alone, all that backward needs, or every layer's output."""


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
    prepared: dict[Any, Any] = field(init=False, default_factory=dict, compare=False, repr=False)
    """What forward and backward derive from the plan once and keep with it."""

    def __post_init__(self) -> None:
        """Derive the shapes of the results: output in the user's layout, states never batch-first."""
        steps_and_rows = (self.batch_size, self.seq_len) if self.batch_first else (self.seq_len, self.batch_size)
        states = (self.num_layers * self.num_directions, self.batch_size)
        object.__setattr__(self, "output_shape", (*steps_and_rows, self.num_directions * self.output_size))
        object.__setattr__(self, "state_shape", (*states, self.output_size))
        object.__setattr__(self, "cell_shape", (*states, self.hidden_size))

    def states_of(self, layer: int) -> slice:
        """The rows of a state that belong to one layer: one for each direction."""
        return slice(layer * self.num_directions, (layer + 1) * self.num_directions)

    def state_of(self, layer: int, size: int) -> slice:
        """The same of a flat state, whose rows have `size` numbers."""
        rows, a_row = self.states_of(layer), self.batch_size * size
        return slice(rows.start * a_row, rows.stop * a_row)

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
        if purpose == "recomputed":
            steps = tracks * self.output_size
        return (states + positions * steps) * self.dtype.itemsize


class Call(NamedTuple):
    """A call, checked: what the engine runs.

    x has the layer's dtype and is C-contiguous, (T, N, I) or (N, T, I) as the plan says, rows one after the other where
    the plan is flat. The states are full (L*D, N, ...), or None where not given. `form` is how the user has what the
    engine has as three axes; None: the same way.
    """

    plan: Plan
    x: Array
    h_0: Array | None
    c_0: Array | None
    lengths: Integers | None = None
    resets: NDArray[np.uint8] | None = None
    form: Form | None = None


def plan_shape(signature: Signature, shape: Shape, n_threads: int, *, flat: bool = False) -> Plan:
    """Check the shape of x and derive the plan; one sequence (T, I) is a batch of one."""
    if len(shape) == 2 and shape[1] == signature.input_size:
        shape = (1, *shape) if signature.batch_first else (shape[0], 1, shape[1])
    if len(shape) != 3 or shape[2] != signature.input_size:
        refuse_shape(signature, shape)
    batch_first = signature.batch_first
    seq_len, batch_size = (shape[1], shape[0]) if batch_first else (shape[0], shape[1])
    return Plan(
        CELLS[signature.cell],
        signature.dtype,
        seq_len,
        batch_size,
        signature.input_size,
        signature.hidden_size,
        signature.num_layers,
        signature.bias,
        batch_first,
        n_threads,
        signature.num_directions,
        signature.output_size,
        flat,
    )


@lru_cache(maxsize=64)
def _kept(signature: Signature, shape: Shape, n_threads: int, purpose: Purpose) -> Plan:
    """The plan of a shape whose results this machine can hold; what raises is not kept."""
    plan = plan_shape(signature, shape, n_threads)
    _require(signature, plan, purpose, f"x of shape {shape}")
    return plan


@lru_cache(maxsize=64)
def _small(signature: Signature, shape: Shape, purpose: Purpose) -> Plan | None:
    """The plan of work too little for two threads, whatever the setting: to ask for that takes a microsecond."""
    weights = CELLS[signature.cell].num_gates * signature.hidden_size * (signature.input_size + signature.output_size)
    tracks = signature.num_layers * signature.num_directions**2
    is_small = 2.0 * tracks * weights * math.prod(shape[:-1]) < FLOPS_A_THREAD
    return _kept(signature, shape, 1, purpose) if is_small else None


def kept_plan(signature: Signature, shape: Shape, n_threads: int | None, purpose: Purpose) -> Plan:
    """The plan of a call on one array, made when it is first needed."""
    plan = _small(signature, shape, purpose) if n_threads is None else None
    return _kept(signature, shape, _threads.resolve(n_threads), purpose) if plan is None else plan


def forget_plans() -> None:
    """Make the plans of later calls anew."""
    _kept.cache_clear()
    _small.cache_clear()


def _require(signature: Signature, plan: Plan, purpose: Purpose, what: str, positions: int | None = None) -> None:
    memory.require(
        plan.bytes_for(purpose, positions),
        signature.head,
        f"{'training on' if purpose in ('training', 'recomputed') else 'the result of'} {what}",
        "Split the batch, or split time and carry `result.state` over.",
    )


def plan_call(
    layer: HasSignature,
    x: object,
    state: object,
    *,
    lengths: object = None,
    reset: object = None,
    n_threads: int | None,
    purpose: Purpose = "output",
) -> Call:
    """Check the arguments of a call.

    Parameters
    ----------
    layer
        The layer that is called.
    x
        What the user passed: anything that reads as an array of real numbers, a list of sequences, a packed sequence.
    state
        h_0, (h_0, c_0), or None.
    lengths, reset
        Numbers of steps, and where states begin anew; or None.
    n_threads
        The call's own setting: None, an int of 1 or more, or -1.
    purpose
        What the call is going to allocate.

    Returns
    -------
    Call
        Copies only where needed; the user's arrays are never written.
    """
    signature = layer.signature
    dtype = signature.dtype
    form: Form | None = None
    resets: NDArray[np.uint8] | None = None
    steps: Integers | None = None
    if is_ready(x, dtype) and x.ndim == 3:
        array, plan = x, kept_plan(signature, x.shape, n_threads, purpose)
        if state is None and lengths is None and reset is None:
            return tuple.__new__(Call, (plan, x, None, None, None, None, None))  # half the time of Call(...)
    elif hasattr(x, "batch_sizes"):
        form = packed_form(x)
        data = real_array(form.packed.data, signature.head, "x.data")
        if data.shape[1:] != (signature.input_size,):
            refuse_packed(signature, data.shape)
        flat = ready(data, dtype, signature.head, "x.data")[form.places]
        array, plan, steps = _rows(signature, flat, form.lengths, n_threads, purpose, "a packed sequence")
    elif is_several(x, signature.head):
        arrays = read_rows(signature, x)
        form = rows_form(arrays)
        flat = joined(arrays, signature.input_size, dtype, signature.head, "x")
        array, plan, steps = _rows(signature, flat, form.lengths, n_threads, purpose, f"a list of {len(x)} arrays")
    else:
        given = real_array(x, signature.head, "x")
        plan = kept_plan(signature, given.shape, n_threads, purpose)
        array = ready(given, dtype, signature.head, "x")
        if array.ndim == 2:
            form = OneSequence(plan.seq_len)
            array = array.reshape(*plan.output_shape[:2], plan.input_size)
    if lengths is not None:
        if form is not None:
            refuse_own_lengths(signature, form)
        steps = read_lengths(signature, lengths, plan.seq_len, plan.batch_size)
    if reset is not None:
        if isinstance(form, Rows | PackedRows):
            refuse_reset_of(signature, form)
        shape = (plan.seq_len,) if form is not None else plan.output_shape[:2]
        resets = read_reset(signature, reset, shape)
        resets = None if resets is None else resets.reshape(plan.output_shape[:2])
    h_0, c_0 = (None, None) if state is None else _state(signature, plan, state, form)
    return Call(plan, array, h_0, c_0, steps, resets, form)


def _rows(
    signature: Signature, flat: Array, lengths: Integers, n_threads: int | None, purpose: Purpose, what: str
) -> tuple[Array, Plan, Integers | None]:
    """x, the plan and the lengths of rows that stand one after the other."""
    longest, batch_size = int(lengths.max(initial=0)), len(lengths)
    equal = longest * batch_size == len(flat)
    plan = plan_shape(
        signature._replace(batch_first=equal),
        (batch_size, longest, signature.input_size) if equal else (longest, batch_size, signature.input_size),
        _threads.resolve(n_threads),
        flat=not equal,
    )
    _require(signature, plan, purpose, what, len(flat))
    if equal:  # an ordinary batch, batch first
        return flat.reshape(batch_size, longest, signature.input_size), plan, None
    return flat, plan, lengths


def _state(signature: Signature, plan: Plan, state: object, form: Form | None) -> tuple[Array, Array | None]:
    # a state that comes from the call before needs no second look: small calls are counted in microseconds
    dtype, unbatched = plan.dtype, isinstance(form, OneSequence)
    if unbatched:
        pass
    elif type(state) is tuple and len(state) == 2 and plan.spec.has_cell_state:
        h_0, c_0 = state
        whole = is_ready(h_0, dtype) and h_0.shape == plan.state_shape
        if whole and is_ready(c_0, dtype) and c_0.shape == plan.cell_shape:
            return h_0, c_0
    elif is_ready(state, dtype) and state.shape == plan.state_shape and not plan.spec.has_cell_state:
        return state, None
    seq_len = None if isinstance(form, Rows | PackedRows) else plan.seq_len
    return read_state(signature, seq_len, plan.batch_size, state, unbatched=unbatched)
