"""The plans that kernels walk: where a call's numbers stand, as one int64 array for each launch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from numrnn.engine.buffers import Array
from numrnn.engine.geometry import (
    Batch,
    Integers,
    Placement,
    Sizes,
    forward_steps,
    layer_sizes,
    threads,
    time_first,
    users_placement,
)
from numrnn.engine.plan import Plan
from numrnn.engine.weight_gradient import Right, WeightGradient, ceil
from numrnn.kernels import recurrence as fields
from numrnn.kernels.products import K_BLOCK
from numrnn.kernels.tile import (
    ROW_C,
    ROW_D_OUTPUT,
    ROW_D_X,
    ROW_FIELDS,
    ROW_GATES,
    ROW_H,
    ROW_H_0,
    ROW_LENGTH,
    ROW_LOCAL,
    ROW_RANK,
    ROW_RESET,
    ROW_SLAB,
    ROW_SLAB_2,
    ROW_STATE,
    ROW_X,
    ROWS,
)

Columns = dict[int, Integers]
_MOST_ROWS_KEPT = 4096  # a plan holds 128 bytes a row: those of larger batches are made anew
_REGIONS = 5  # of a task's scratch: h and c kept over a reset, three values of a second stage


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one layer keeps cell states and gates, directions one after the other.

    Cell states of a direction are (steps + 1, N, H), gates (steps, N, saved * H), both in order of time; without `keep`
    there is one slot of cell states and nothing else.
    """

    steps: int
    batch_size: int
    hidden_size: int
    n_saved: int
    has_c: bool
    keep: bool

    @classmethod
    def of(cls, plan: Plan, *, keep: bool) -> Workspace:
        """The workspace of each layer of a call."""
        spec = plan.spec
        return cls(plan.seq_len, plan.batch_size, plan.hidden_size, len(spec.saved), spec.has_cell_state, keep)

    @property
    def slots(self) -> int:
        """Slots of cell states: one more than steps where all are kept."""
        return (self.steps + 1 if self.keep else 1) if self.has_c else 0

    @property
    def cells_size(self) -> int:
        """Numbers of a direction's cell states."""
        return self.slots * self.batch_size * self.hidden_size

    @property
    def size(self) -> int:
        """Numbers of a direction."""
        gates = self.steps * self.batch_size * self.n_saved * self.hidden_size if self.keep else 0
        return self.cells_size + gates

    def cells(self, workspace: Array, d: int) -> Array:
        """A direction's cell states: (slots, N, H), a view."""
        at = d * self.size
        return workspace[at : at + self.cells_size].reshape(self.slots, self.batch_size, self.hidden_size)

    def gates(self, workspace: Array, d: int) -> Array:
        """A direction's gates: (steps, N, saved, H), a view."""
        at = d * self.size
        kept = workspace[at + self.cells_size : at + self.size]
        return kept.reshape(self.steps, self.batch_size, self.n_saved, self.hidden_size)


@dataclass(frozen=True, slots=True)
class Launch:
    """A plan and how many threads it is worth."""

    request: Integers
    n_threads: int
    scratch: int  # numbers of scratch for all tasks
    steps: int = 0
    whole: Integers | None = None  # the plan for all steps in one block

    def between(self, begin: int, end: int, running: Integers | None = None) -> Integers:
        """The plan for the steps of one block; backward tells the rows running at each of them."""
        if running is None and self.whole is not None and (begin, end) == (0, self.steps):
            return self.whole
        request = self.request.copy()
        for header in self._headers():
            request[header + fields.T_BEGIN], request[header + fields.T_END] = begin, end
            if running is not None:
                lines = request[header + fields.LINES_AT]
                request[lines] = 0
                np.cumsum(running[begin:end], out=request[lines + 1 : lines + 1 + end - begin])
                request[header + fields.BLOCK_LINES] = request[lines + end - begin]
        return request

    def _headers(self) -> set[int]:
        n = int(self.request[fields.N_TASKS])
        return set(
            self.request[fields.TASKS_AT : fields.TASKS_AT + n * fields.TASK_FIELDS : fields.TASK_FIELDS].tolist()
        )


def _assemble(
    batch: Batch, size: Sizes, n_groups: int, block_steps: int, directions: list[tuple[dict[int, int], Columns]]
) -> Integers:
    """Tasks, headers, lines of a block and tables in one array."""
    groups = batch.groups(n_groups)
    arranged = np.concatenate(groups) if groups else batch.order
    ends = np.cumsum([len(group) for group in groups])
    n_rows, n_tasks = len(arranged), len(directions) * n_groups
    headers_at = fields.TASKS_AT + n_tasks * fields.TASK_FIELDS
    lines_at = headers_at + len(directions) * fields.HEADER_FIELDS
    tables_at = lines_at + block_steps + 1
    request = np.zeros(tables_at + len(directions) * n_rows * ROW_FIELDS, np.int64)
    request[fields.N_TASKS] = n_tasks
    local = np.concatenate([np.arange(len(group)) for group in groups]) * size.local_stride
    for d, (header, columns) in enumerate(directions):
        header_at, table_at = headers_at + d * fields.HEADER_FIELDS, tables_at + d * n_rows * ROW_FIELDS
        for field, value in header.items():
            request[header_at + field] = value
        request[header_at + fields.TABLE_AT], request[header_at + fields.LINES_AT] = table_at, lines_at
        table = request[table_at : table_at + n_rows * ROW_FIELDS].reshape(n_rows, ROW_FIELDS)
        for field, values in columns.items():
            table[:, field] = values[arranged]
        table[:, ROW_LOCAL] = local
        for g in range(n_groups):
            at = fields.TASKS_AT + (d * n_groups + g) * fields.TASK_FIELDS
            request[at : at + fields.TASK_FIELDS] = header_at, ends[g] - len(groups[g]), ends[g]
    return request


def _rank(batch: Batch) -> Integers:
    rank = np.empty(len(batch.order), np.int64)
    rank[batch.order] = np.arange(len(batch.order))
    return rank


def _direction(
    plan: Plan, size: Sizes, batch: Batch, d: int, x: Placement, h: Placement, workspace: Workspace, *, resets: bool
) -> tuple[dict[int, int], Columns]:
    """What forward and backward plans share of one direction: sequences, states, workspace."""
    row, lengths = np.arange(plan.batch_size), batch.lengths
    users = users_placement(plan, lengths)  # resets have the layout of x in every layer
    slots = gates = time_first(plan)
    if d:
        x, h, gates = x.reversed(lengths), h.reversed(lengths), gates.reversed(lengths)
        slots = slots.reversed(lengths + 1)
    if not workspace.keep:
        slots = Placement(row, 0)
    a_state, a_gate = plan.hidden_size, workspace.n_saved * plan.hidden_size
    output_row = plan.num_directions * plan.output_size
    base = d * workspace.size
    header = {
        fields.INPUT_SIZE: size.input_size,
        fields.HIDDEN_SIZE: size.hidden_size,
        fields.OUTPUT_SIZE: size.output_size,
        fields.SECOND_COLUMNS: size.second_columns,
        fields.SECOND_STEPS: size.hidden_size if size.second_columns else 0,
        fields.X_STEP: x.step * size.input_size,
        fields.H_STEP: h.step * output_row,
        fields.C_STEP: slots.step * a_state,
        fields.GATES_STEP: gates.step * a_gate,
        fields.KEEP: int(workspace.keep),
        fields.HAS_RESETS: int(resets),
        fields.RESETS_STEP: users.step,
    }
    columns = {
        ROW_X: x.start * size.input_size,
        ROW_H: h.start * output_row + d * plan.output_size,
        ROW_H_0: (d * plan.batch_size + row) * plan.output_size,
        ROW_C: base + slots.start * a_state,
        ROW_GATES: base + workspace.cells_size + gates.start * a_gate,
        ROW_LENGTH: lengths,
        ROW_RANK: _rank(batch),
        ROW_STATE: row,
        ROW_RESET: users.start,
    }
    return header, columns


def placements(plan: Plan, layer: int, batch: Batch) -> tuple[Placement, Placement]:
    """Layouts of a layer's input and output: the user's at both ends of the stack, time-first inside."""
    users = users_placement(plan, batch.lengths)
    return (
        users if layer == 0 else time_first(plan),
        users if layer == plan.num_layers - 1 else time_first(plan),
    )


def _groups(plan: Plan, n_threads: int) -> int:
    """Groups of rows of each direction, so that there is a task for each thread."""
    return max(1, min(plan.batch_size, -(-n_threads // plan.num_directions)))


def _scratch(size: Sizes, plan: Plan, n_groups: int) -> tuple[int, int]:
    """Numbers of a scratch region and of a task's scratch: a tile and the regions."""
    region = (-(-plan.batch_size // n_groups) + 1) * size.local_stride
    return region, ROWS * size.line + _REGIONS * region


def _kept(plan: Plan, batch: Batch) -> bool:
    """Whether the plans of such a call are worth keeping."""
    return not batch.ragged and plan.batch_size <= _MOST_ROWS_KEPT


def forward(plan: Plan, layer: int, batch: Batch, *, keep: bool, last: bool, resets: bool) -> Launch:
    """The plan of one layer's forward pass; `last` keeps two steps of output."""
    if _kept(plan, batch):
        return _forward_whole(plan, layer, keep=keep, last=last, resets=resets)
    return _forward(plan, layer, batch, keep=keep, last=last, resets=resets)


@lru_cache(maxsize=64)
def _forward_whole(plan: Plan, layer: int, *, keep: bool, last: bool, resets: bool) -> Launch:
    return _forward(plan, layer, Batch.of(plan, None), keep=keep, last=last, resets=resets)


def _forward(plan: Plan, layer: int, batch: Batch, *, keep: bool, last: bool, resets: bool) -> Launch:
    size, workspace = layer_sizes(plan, layer), Workspace.of(plan, keep=keep)
    x, h = placements(plan, layer, batch)
    ring = last and layer == plan.num_layers - 1
    steps = min(batch.steps, forward_steps(plan, size))
    n_threads = threads(plan, size, int(batch.running[:steps].sum()))
    n_groups = _groups(plan, n_threads)
    region, a_task = _scratch(size, plan, n_groups)
    directions = []
    for d in range(plan.num_directions):
        header, columns = _direction(plan, size, batch, d, x, time_first(plan) if ring else h, workspace, resets=resets)
        if ring:  # steps alternate between two slots, in both directions alike
            header[fields.H_STEP] = plan.batch_size * plan.num_directions * plan.output_size
            columns[ROW_H] = np.arange(plan.batch_size) * plan.num_directions * plan.output_size + d * plan.output_size
        directions.append(
            (
                header
                | {
                    fields.PANEL_UNITS: size.panel_units,
                    fields.N_PANELS: size.n_panels,
                    fields.PANEL_SIZE: size.panel_size,
                    fields.PANELS_AT: d * (size.n_panels * size.panel_size + size.second_size),
                    fields.SECOND_AT: d * size.second_size + (d + 1) * size.n_panels * size.panel_size,
                    fields.H_RING: 2 if ring else max(1, plan.seq_len),
                    fields.SCRATCH_SIZE: a_task,
                    fields.REGION: region,
                },
                columns,
            )
        )
    n_tasks = plan.num_directions * n_groups
    launch = Launch(_assemble(batch, size, n_groups, 0, directions), min(n_threads, n_tasks), n_tasks * a_task)
    return replace(launch, steps=batch.steps, whole=launch.between(0, batch.steps))


def in_turn(plan: Plan, layer: int) -> tuple[Launch, Launch]:
    """The plans of one step of one direction whose cell states have two slots: from the first to the second, and back.

    `saved` is then (2, N, H).
    """
    there = _forward(plan, layer, Batch.of(plan, None), keep=False, last=False, resets=False)
    forth, back = there.between(0, 1).copy(), there.between(0, 1).copy()
    slot = plan.batch_size * plan.hidden_size
    for request, first, step in ((forth, 0, slot), (back, slot, -slot)):
        for header in there._headers():
            request[header + fields.C_STEP] = step
            table = request[request[header + fields.TABLE_AT] :].reshape(-1, ROW_FIELDS)
            table[:, ROW_C] += first
    return replace(there, request=forth, whole=forth), replace(there, request=back, whole=back)


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets into the scratch of one direction's backward pass. Everything before `fresh` is zero at the start."""

    d_h: int
    d_c: int
    zeros: int
    weights: WeightGradient
    projection: WeightGradient | None
    fresh: int
    d_operand: int
    slab: int
    slab_2: int
    size: int


def arena(plan: Plan, layer: int, batch: Batch, d: int, n_threads: int) -> Arena:
    """Lay out a direction's scratch: adjoints of the states, weight gradients, slabs."""
    size = layer_sizes(plan, layer)
    lines = batch.most_lines
    states = ceil(plan.batch_size * size.state_stride, 64)
    rights = [
        Right(size.input_size, 0, size.width),
        Right(size.output_size, size.hidden_begin, size.hidden_begin + size.hidden_width),
    ]
    if size.reset_before:
        rights.append(Right(size.hidden_size, 0, size.hidden_size))
    zeros = 2 * states
    at = zeros + ceil(size.line, 64)
    n_tasks = min(n_threads, -(-size.slab_width // ROWS))
    weights = WeightGradient.place(at, size.lanes, size.slab_width, lines, tuple(rights), n_tasks)
    projection, end = None, weights.end
    if size.projected:
        right = (Right(size.hidden_size, 0, size.output_size),)
        n_tasks = min(n_threads, -(-size.output_size // ROWS))
        projection = WeightGradient.place(end, size.lanes, size.output_size, lines, right, n_tasks)
        end = projection.end
    slab = end + states
    slab_2 = slab + ceil(lines * size.slab_stride, 64)
    total = slab_2 + ceil(lines * size.slab_2_stride, 64)
    shift = d * total

    def move(weights: WeightGradient | None) -> WeightGradient | None:
        return None if weights is None else weights.moved(shift)

    return Arena(
        shift,
        shift + states,
        shift + zeros,
        weights.moved(shift),
        move(projection),
        shift + (projection.end_of_zeros if projection else weights.end_of_zeros),
        shift + end,
        shift + slab,
        shift + slab_2,
        shift + total,
    )


@dataclass(frozen=True, slots=True)
class BackwardLaunch:
    """A backward plan, and where each direction's scratch stands in an arena of `size` numbers."""

    launch: Launch
    arenas: tuple[Arena, ...]
    size: int


def backward(
    plan: Plan, layer: int, batch: Batch, *, has_d_output: bool, has_d_x: bool, resets: bool
) -> BackwardLaunch:
    """The plan of one layer's backward pass; d_output and d_x have the layouts of output and x."""
    if _kept(plan, batch):
        return _backward_whole(plan, layer, has_d_output=has_d_output, has_d_x=has_d_x, resets=resets)
    return _backward(plan, layer, batch, has_d_output=has_d_output, has_d_x=has_d_x, resets=resets)


@lru_cache(maxsize=64)
def _backward_whole(plan: Plan, layer: int, *, has_d_output: bool, has_d_x: bool, resets: bool) -> BackwardLaunch:
    whole = Batch.of(plan, None)
    return _backward(plan, layer, whole, has_d_output=has_d_output, has_d_x=has_d_x, resets=resets)


def _backward(
    plan: Plan, layer: int, batch: Batch, *, has_d_output: bool, has_d_x: bool, resets: bool
) -> BackwardLaunch:
    size, workspace = layer_sizes(plan, layer), Workspace.of(plan, keep=True)
    x, h = placements(plan, layer, batch)
    n_threads = threads(plan, size, batch.most_lines)
    n_groups = _groups(plan, n_threads)
    region, a_task = _scratch(size, plan, n_groups)
    arenas = tuple(arena(plan, layer, batch, d, n_threads) for d in range(plan.num_directions))
    hidden_panels = size.hidden_width * ceil(size.output_size, size.line)
    input_panels = size.width * ceil(size.input_size, size.line)
    second = size.second_columns * ceil(size.hidden_size, size.line)
    directions = []
    for d, places in enumerate(arenas):
        header, columns = _direction(plan, size, batch, d, x, h, workspace, resets=resets)
        panels_at = d * (hidden_panels + input_panels + second)
        header |= {
            fields.PANELS_AT: panels_at,
            fields.X_PANELS_AT: panels_at + hidden_panels,
            fields.SECOND_AT: panels_at + hidden_panels + input_panels,
            fields.SCRATCH_AT: arenas[-1].size,
            fields.SCRATCH_SIZE: a_task,
            fields.REGION: region,
            fields.HAS_D_OUTPUT: int(has_d_output),
            fields.D_OUTPUT_STEP: header[fields.H_STEP],
            fields.HAS_D_X: int(has_d_x),
            fields.D_X_STEP: header[fields.X_STEP],
            fields.SLAB_STRIDE: size.slab_stride,
            fields.HIDDEN_BEGIN: size.hidden_begin,
            fields.HIDDEN_WIDTH: size.hidden_width,
            fields.INPUT_WIDTH: size.width,
            fields.D_H_AT: places.d_h,
            fields.D_C_AT: places.d_c,
            fields.D_OPERAND_AT: places.d_operand,
            fields.STATE_STRIDE: size.state_stride,
            fields.SLAB_AT: places.slab,
            fields.SLAB_2_AT: places.slab_2,
            fields.SLAB_2_STRIDE: size.slab_2_stride,
            fields.RIGHT_AT: places.weights.operands[0],
            fields.RIGHT_H_AT: places.weights.operands[1],
            fields.RIGHT_2_AT: places.projection.operands[0]
            if places.projection
            else places.weights.operands[2]
            if size.reset_before
            else 0,
            fields.ZEROS_AT: places.zeros,
        }
        positions = plan.positions(batch.lengths) if layer == 0 else plan.seq_len * plan.batch_size
        columns |= {
            ROW_D_OUTPUT: columns[ROW_H],
            ROW_D_X: columns[ROW_X] + d * positions * size.input_size,
            ROW_SLAB: columns[ROW_RANK] * size.slab_stride,
            ROW_SLAB_2: columns[ROW_RANK] * size.slab_2_stride,
        }
        directions.append((header, columns))
    request = _assemble(batch, size, n_groups, K_BLOCK, directions)
    n_tasks = plan.num_directions * n_groups
    total = arenas[-1].size + n_tasks * a_task
    return BackwardLaunch(Launch(request, min(n_threads, n_tasks), n_tasks * a_task), arenas, total)
