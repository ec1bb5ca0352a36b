"""Where a call's numbers stand: the plans that kernels walk, as one int64 array each, and the cut into tasks and
blocks.

The cut of time depends on shapes alone, never on threads or caches, so that results do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from numrnn.engine.plan import Plan
from numrnn.engine.weight_gradient import Right, WeightGradient, ceil
from numrnn.kernels import recurrence as fields
from numrnn.kernels.products import K_BLOCK
from numrnn.kernels.simd import LANES_NUMPY
from numrnn.kernels.tile import (
    ROW_C,
    ROW_D_OUTPUT,
    ROW_D_X,
    ROW_FIELDS,
    ROW_GATES,
    ROW_H,
    ROW_H_0,
    ROW_LENGTH,
    ROW_SLAB,
    ROW_STATE,
    ROW_X,
    ROWS,
    VECTORS,
)

Plans = NDArray[np.int64]

# A launch stays well below the time after which a user would wait for Ctrl-C: about 0.2 s on one slow thread.
_FLOPS_A_LAUNCH = 4e9
# Below this much work a thread costs more than it gives (launch: some microseconds).
FLOPS_A_THREAD = 4e5


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the tile makes of a layer's sizes: lanes, panels, padded widths."""

    lanes: int
    line: int  # numbers in a panel's line: 4 vectors
    input_size: int
    hidden_size: int
    n_gates: int
    panel_units: int  # hidden units a panel covers
    n_panels: int
    slab_width: int  # adjoints of pre-activations a row
    hidden_begin: int  # where the hidden side's adjoints begin among them

    @property
    def width(self) -> int:
        """Rows of each weight: gates times hidden size."""
        return self.n_gates * self.hidden_size

    @property
    def panel_size(self) -> int:
        """Numbers in a forward panel: biases, input lines, hidden lines."""
        return self.line + (self.input_size + self.hidden_size) * self.n_gates * self.panel_units

    @property
    def state_stride(self) -> int:
        """A state adjoint's row, padded to whole panels."""
        return ceil(self.hidden_size, self.line)

    @property
    def slab_stride(self) -> int:
        """A slab's row; one vector of padding keeps rows from falling on the same cache sets."""
        return ceil(self.slab_width, self.lanes) + self.lanes

    def flops(self, rows: int) -> float:
        """Multiplications and additions of `rows` rows and steps."""
        return 2.0 * self.width * (self.input_size + self.hidden_size) * rows


@lru_cache(maxsize=64)
def sizes(cell_gates: int, saved: int, dtype: np.dtype[np.floating], input_size: int, hidden_size: int) -> Sizes:
    """Derive a layer's sizes. A cell that saves one value more than it has gates splits its candidate (the GRU)."""
    lanes = LANES_NUMPY[dtype]
    units = lanes if cell_gates > 1 else VECTORS * lanes
    split = saved > cell_gates
    return Sizes(
        lanes=lanes,
        line=VECTORS * lanes,
        input_size=input_size,
        hidden_size=hidden_size,
        n_gates=cell_gates,
        panel_units=units,
        n_panels=-(-hidden_size // units),
        slab_width=(cell_gates + split) * hidden_size,
        hidden_begin=hidden_size if split else 0,
    )


def layer_sizes(plan: Plan, layer: int) -> Sizes:
    """Sizes of one layer of the stack."""
    input_size = plan.input_size if layer == 0 else plan.hidden_size
    return sizes(plan.spec.num_gates, len(plan.spec.saved), plan.dtype, input_size, plan.hidden_size)


def tasks(plan: Plan, size: Sizes, steps: int) -> int:
    """Threads worth using for a launch of that many steps."""
    worth = int(size.flops(plan.batch_size) * steps / FLOPS_A_THREAD)
    return max(1, min(plan.n_threads, plan.batch_size, worth))


def forward_steps(plan: Plan, size: Sizes) -> int:
    """Steps of a forward launch."""
    return max(1, int(_FLOPS_A_LAUNCH / size.flops(plan.batch_size)))


def backward_steps(plan: Plan) -> int:
    """Steps of a backward block: about K_BLOCK rows."""
    return max(1, int(K_BLOCK) // max(1, plan.batch_size))


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets of a (time, batch, features) array: from one row to the next and from one step to the next."""

    row: int
    step: int


def layout(plan: Plan, features: int, *, batch_first: bool) -> Layout:
    """Layout of an array as the user passes it, or (T, N, features)."""
    if batch_first:
        return Layout(plan.seq_len * features, features)
    return Layout(features, plan.batch_size * features)


def cells_size(plan: Plan, *, keep: bool) -> int:
    """Numbers of the cell states in `saved`: one slot more than steps where backward follows, else one."""
    slots = (plan.seq_len + 1 if keep else 1) if plan.spec.has_cell_state else 0
    return slots * plan.batch_size * plan.hidden_size


def saved_size(plan: Plan, *, keep: bool) -> int:
    """Numbers of `saved`: cell states, then the gates of each step."""
    gates = plan.seq_len * plan.batch_size * len(plan.spec.saved) * plan.hidden_size if keep else 0
    return cells_size(plan, keep=keep) + gates


def _assemble(header: dict[int, int], plan: Plan, n_tasks: int, columns: dict[int, NDArray[np.int64]]) -> Plans:
    """Header, task boundaries and table of rows in one array."""
    n, tasks_at = plan.batch_size, fields.HEADER_FIELDS
    table_at = tasks_at + n_tasks + 1
    plans = np.zeros(table_at + n * ROW_FIELDS, np.int64)
    for field, value in header.items():
        plans[field] = value
    plans[fields.N_TASKS], plans[fields.TASKS_AT], plans[fields.TABLE_AT] = n_tasks, tasks_at, table_at
    plans[tasks_at:table_at] = [n * task // n_tasks for task in range(n_tasks + 1)]
    table = plans[table_at:].reshape(n, ROW_FIELDS)
    for field, values in columns.items():
        table[:, field] = values
    return plans


def _common(
    plan: Plan, size: Sizes, x: Layout, h: Layout, *, keep: bool
) -> tuple[dict[int, int], dict[int, NDArray[np.int64]]]:
    """What forward and backward plans share: states, workspace, lengths."""
    row = np.arange(plan.batch_size)
    a_step = plan.batch_size * plan.hidden_size
    gates = len(plan.spec.saved) * plan.hidden_size
    header = {
        fields.INPUT_SIZE: size.input_size,
        fields.HIDDEN_SIZE: size.hidden_size,
        fields.X_STEP: x.step,
        fields.H_STEP: h.step,
        fields.C_STEP: a_step if keep else 0,
        fields.GATES_STEP: plan.batch_size * gates,
        fields.KEEP: int(keep),
    }
    columns = {
        ROW_X: row * x.row,
        ROW_H: row * h.row,
        ROW_H_0: row * plan.hidden_size,
        ROW_C: row * plan.hidden_size,
        ROW_GATES: cells_size(plan, keep=keep) + row * gates,
        ROW_LENGTH: np.full(plan.batch_size, plan.seq_len),
        ROW_STATE: row,
    }
    return header, columns


@lru_cache(maxsize=64)
def forward_plan(plan: Plan, layer: int, *, keep: bool, last: bool) -> Plans:
    """The plan of one layer's forward pass; `last` keeps two steps of output."""
    size = layer_sizes(plan, layer)
    top = layer == plan.num_layers - 1
    x = layout(plan, size.input_size, batch_first=plan.batch_first and layer == 0)
    ring = last and top
    h = layout(plan, plan.hidden_size, batch_first=plan.batch_first and top and not ring)
    header, columns = _common(plan, size, x, h, keep=keep)
    header |= {
        fields.PANEL_UNITS: size.panel_units,
        fields.N_PANELS: size.n_panels,
        fields.PANEL_SIZE: size.panel_size,
        fields.H_RING: 2 if ring else max(1, plan.seq_len),
    }
    n_tasks = tasks(plan, size, min(plan.seq_len, forward_steps(plan, size)))
    return _assemble(header, plan, n_tasks, columns)


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets into the scratch of one layer's backward pass. Everything before `fresh` must be zero at the start."""

    d_h: int
    d_c: int
    zeros: int
    weights: WeightGradient
    fresh: int
    pre: int
    slab: int
    size: int


@lru_cache(maxsize=64)
def arena(plan: Plan, layer: int) -> Arena:
    """Lay out a backward pass's scratch: the states' adjoints, the weights' gradients, a tile a task, the slab."""
    size = layer_sizes(plan, layer)
    rows = backward_steps(plan) * plan.batch_size
    states = ceil(plan.batch_size * size.state_stride, 64)
    d_c = states
    zeros = d_c + states * plan.spec.has_cell_state
    rights = (
        Right(size.input_size, 0, size.width),
        Right(size.hidden_size, size.hidden_begin, size.hidden_begin + size.width),
    )
    n_tasks = min(tasks(plan, size, backward_steps(plan)), -(-size.slab_width // ROWS))
    at = zeros + ceil(size.line, 64)
    weights = WeightGradient.place(at, size.lanes, size.slab_width, rows, rights, n_tasks)
    slab = weights.end + ceil(plan.n_threads * ROWS * size.line, 64)
    return Arena(
        d_h=0,
        d_c=d_c,
        zeros=zeros,
        weights=weights,
        fresh=weights.end_of_zeros,
        pre=weights.end,
        slab=slab,
        size=slab + rows * size.slab_stride,
    )


@lru_cache(maxsize=64)
def backward_plan(plan: Plan, layer: int, *, has_d_output: bool, has_d_x: bool) -> Plans:
    """The plan of one layer's backward pass; d_output and d_x have the layouts of output and x."""
    size, places = layer_sizes(plan, layer), arena(plan, layer)
    top = layer == plan.num_layers - 1
    x = layout(plan, size.input_size, batch_first=plan.batch_first and layer == 0)
    h = layout(plan, plan.hidden_size, batch_first=plan.batch_first and top)
    header, columns = _common(plan, size, x, h, keep=True)
    header |= {
        fields.HAS_D_OUTPUT: int(has_d_output),
        fields.D_OUTPUT_STEP: h.step,
        fields.HAS_D_X: int(has_d_x),
        fields.D_X_STEP: x.step,
        fields.SLAB_STEP: plan.batch_size * size.slab_stride,
        fields.SLAB_WIDTH: size.slab_width,
        fields.HIDDEN_BEGIN: size.hidden_begin,
        fields.HIDDEN_WIDTH: size.width,
        fields.INPUT_WIDTH: size.width,
        fields.D_H_AT: places.d_h,
        fields.D_C_AT: places.d_c,
        fields.STATE_STRIDE: size.state_stride,
        fields.SLAB_AT: places.slab,
        fields.X_PANELS_AT: size.width * size.state_stride,
        fields.PRE_AT: places.pre,
        fields.RIGHT_AT: places.weights.operands[0],
        fields.RIGHT_H_AT: places.weights.operands[1],
        fields.TABLE_ROWS: plan.batch_size,
        fields.ZEROS_AT: places.zeros,
    }
    columns |= {
        ROW_D_OUTPUT: columns[ROW_H],
        ROW_D_X: columns[ROW_X],
        ROW_SLAB: np.arange(plan.batch_size) * size.slab_stride,
    }
    n_tasks = tasks(plan, size, min(plan.seq_len, backward_steps(plan)))
    return _assemble(header, plan, n_tasks, columns)
