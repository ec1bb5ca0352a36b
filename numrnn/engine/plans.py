"""The plans that kernels walk: where a call's numbers stand, as one int64 array for each launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numrnn.engine.buffers import Array
from numrnn.engine.geometry import Batch, Cut, Integers, Placement, Sizes, time_first, users_placement
from numrnn.engine.plan import Plan
from numrnn.engine.workspace import Workspace
from numrnn.kernels import launch, products
from numrnn.kernels import tasks as fields
from numrnn.kernels.tile import (
    ROW_C,
    ROW_FIELDS,
    ROW_GATES,
    ROW_H,
    ROW_H_0,
    ROW_LENGTH,
    ROW_LOCAL,
    ROW_RANK,
    ROW_RESET,
    ROW_SLAB,
    ROW_STATE,
    ROW_X,
    ROWS,
)

Columns = dict[int, Integers]
_MOST_ROWS_KEPT = 4096  # a plan holds 128 bytes a row: those of larger batches are made anew


@dataclass(frozen=True, slots=True)
class Launch:
    """A plan and how many threads it is worth."""

    request: Integers
    n_threads: int
    scratch: int  # numbers of scratch for all tasks
    meeting: slice  # where in the scratch tasks that meet do so
    rows: int  # of a direction
    headers: tuple[int, ...]  # where in the request they begin
    sums: tuple[int, ...] = ()  # and the weight gradients of a backward block
    steps: int = 0
    whole: Integers | None = None  # the plan for all steps in one block
    alone: Callable[[], Launch] | None = None  # the same work as one task, where the tasks of this plan meet

    def run_steps(
        self,
        begin: int,
        end: int,
        block: int,
        twins: Any,
        scratch: Array,
        arrays: tuple[Array, ...],
        since: int = 0,
    ) -> None:
        """Run some steps forward, at most `block` of them in a launch."""
        for first in range(begin, end, block):
            self.run(twins, first, min(first + block, end), scratch, arrays, since=since)

    def run(
        self,
        twins: Any,
        begin: int,
        end: int,
        scratch: Array,
        arrays: tuple[Array, ...],
        running: Integers | None = None,
        since: int = 0,
    ) -> Integers:
        """Run the steps of one block, where tasks cannot meet as one task; `scratch` is one of the arrays.

        Returns the request that was run.
        """
        request = self.between(begin, end, running, since)
        if self.alone is None:
            launch.run(twins, self.n_threads, request, *arrays)
        elif not launch.run_meeting(twins, self.n_threads, scratch[self.meeting], request, *arrays):
            return self.alone().run(twins, begin, end, scratch, arrays, running, since)
        return request

    def between(self, begin: int, end: int, running: Integers | None = None, since: int = 0) -> Integers:
        """The plan for the steps of one block; backward tells the rows running at each of them.

        `since` is the step whose cell states and gates come first in the workspace.
        """
        if self.whole is not None and begin == 0 and end == self.steps:
            return self.whole
        request = self.request.copy()
        for header in self.headers:
            if since:
                table = request[request[header + fields.TABLE_AT] :][: self.rows * ROW_FIELDS].reshape(-1, ROW_FIELDS)
                table[:, ROW_C] -= since * request[header + fields.C_STEP]
                table[:, ROW_GATES] -= since * request[header + fields.GATES_STEP]
            request[header + fields.T_BEGIN], request[header + fields.T_END] = begin, end
            if running is not None:
                lines = request[header + fields.LINES_AT]
                request[lines] = 0
                np.cumsum(running[begin:end], out=request[lines + 1 : lines + 1 + end - begin])
                request[header + fields.BLOCK_LINES] = request[lines + end - begin]
        for at in self.sums:
            header = self.headers[0]
            request[at + products.WG_LINES] = request[header + fields.BLOCK_LINES]
            request[at + products.WG_ADD] = end < request[header + fields.LONGEST]
        return request


def headers_of(request: Integers) -> tuple[int, ...]:
    """Where the headers of a plan's directions begin."""
    tasks = request[fields.TASKS_AT :][: int(request[fields.N_TASKS]) * fields.TASK_FIELDS]
    return tuple(sorted(set(tasks[fields.HEADER :: fields.TASK_FIELDS].tolist())))


def assemble(
    batch: Batch,
    size: Sizes,
    cut: Cut,
    strips: Sequence[int],
    block_steps: int,
    directions: list[tuple[dict[int, int], Columns]],
) -> Integers:
    """Tasks, headers, lines of a block and tables in one array; `strips` are shared out where tasks share rows."""
    groups = batch.groups(cut.n_groups)
    arranged = np.concatenate(groups) if groups else batch.order
    ends = np.cumsum([len(group) for group in groups])
    n_rows, n_tasks = len(arranged), len(directions) * cut.n_groups * cut.n_columns
    headers_at = fields.TASKS_AT + n_tasks * fields.TASK_FIELDS
    lines_at = headers_at + len(directions) * fields.HEADER_FIELDS
    tables_at = lines_at + block_steps + 1
    steps_at = tables_at + len(directions) * n_rows * ROW_FIELDS
    n_steps = max(cut.hoisted, int(ROWS))
    request = np.zeros(steps_at + len(directions) * n_steps * ROW_FIELDS, np.int64)
    request[fields.N_TASKS] = n_tasks
    local = np.concatenate([np.arange(len(group)) for group in groups]) * size.local_stride
    tasks = request[fields.TASKS_AT : headers_at].reshape(n_tasks, fields.TASK_FIELDS)
    for d, (header, columns) in enumerate(directions):
        header_at, table_at = headers_at + d * fields.HEADER_FIELDS, tables_at + d * n_rows * ROW_FIELDS
        each_step_at = steps_at + d * n_steps * ROW_FIELDS
        for field, value in header.items():
            request[header_at + field] = value
        request[header_at + fields.TABLE_AT], request[header_at + fields.LINES_AT] = table_at, lines_at
        request[header_at + fields.HOISTED], request[header_at + fields.STEPS_AT] = cut.hoisted, each_step_at
        each_step = request[each_step_at : each_step_at + n_steps * ROW_FIELDS].reshape(n_steps, ROW_FIELDS)
        each_step[:, ROW_X] = np.arange(n_steps) * header[fields.X_STEP]
        each_step[:, ROW_SLAB] = np.arange(n_steps) * header.get(fields.SLAB_STRIDE, 0)
        table = request[table_at : table_at + n_rows * ROW_FIELDS].reshape(n_rows, ROW_FIELDS)
        for field, values in columns.items():
            table[:, field] = values[arranged]
        table[:, ROW_LOCAL] = local
        for g in range(cut.n_groups):
            first = (d * cut.n_groups + g) * cut.n_columns
            for part in range(cut.n_columns):
                own = [part_of * n // cut.n_columns for n in strips for part_of in (part, part + 1)]
                operand_of = first if cut.n_columns > 1 else first + part
                tasks[first + part] = header_at, ends[g] - len(groups[g]), ends[g], *own, operand_of
    return request


def _rank(batch: Batch) -> Integers:
    rank = np.empty(len(batch.order), np.int64)
    rank[batch.order] = np.arange(len(batch.order))
    return rank


def direction_of(
    plan: Plan, size: Sizes, batch: Batch, d: int, x: Placement, h: Placement, workspace: Workspace, *, resets: bool
) -> tuple[dict[int, int], Columns]:
    """What forward and backward plans share of one direction: sequences, states, workspace."""
    row, lengths = np.arange(plan.batch_size), batch.lengths
    users = users_placement(plan, lengths)  # resets have the layout of x in every layer
    slots = gates = time_first(plan)
    if d:
        x, h = x.reversed(lengths), h.reversed(lengths)
        if not workspace.is_segment:
            gates, slots = gates.reversed(lengths), slots.reversed(lengths + 1)
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


def scratch_of(size: Sizes, plan: Plan, n_groups: int) -> tuple[int, int]:
    """Numbers of a scratch region and of a task's scratch: a tile and the regions; backward adds a line of zeros."""
    region = (-(-plan.batch_size // n_groups) + 1) * size.local_stride
    return region, ROWS * size.line + size.n_regions * region


def kept(plan: Plan, batch: Batch) -> bool:
    """Whether the plans of such a call are worth keeping."""
    return not batch.ragged and plan.batch_size <= _MOST_ROWS_KEPT
