"""The plans of forward launches."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np

from numrnn.engine.geometry import Batch, Cut, Sizes, cut_of, forward_steps, groups_of, layer_sizes, threads, time_first
from numrnn.engine.plan import Plan
from numrnn.engine.plans import Launch, assemble, direction_of, headers_of, placements, scratch_of
from numrnn.engine.workspace import Workspace
from numrnn.kernels import tasks as fields
from numrnn.kernels.meeting import MEETING
from numrnn.kernels.tile import ROW_C, ROW_FIELDS, ROW_H


def _slab(size: Sizes, plan: Plan, cut: Cut) -> int:
    """Numbers of a task's hoisted slab."""
    return -(-size.n_panels // cut.n_columns) * -(-plan.batch_size // cut.n_groups) * cut.hoisted * size.line


def _scratch(plan: Plan, size: Sizes, cut: Cut) -> tuple[int, int, int]:
    """Numbers of scratch of a cut: where tasks meet, behind all of them; the end; and those of one task."""
    n_tasks = plan.num_directions * cut.n_groups * cut.n_columns
    a_task = scratch_of(size, plan, cut.n_groups)[1] + _slab(size, plan, cut)
    return n_tasks * a_task, n_tasks * a_task + plan.num_directions * int(MEETING), a_task


def forward(plan: Plan, layer: int, batch: Batch, workspace: Workspace, *, last: bool, resets: bool) -> Launch:
    """The plan of one layer's forward pass; `last` keeps two steps of output."""
    size = layer_sizes(plan, layer)
    steps = min(batch.steps, forward_steps(plan, size))
    n_threads = threads(plan, size, int(batch.running[:steps].sum()))
    cut = cut_of(plan, size, steps, n_threads)
    make = partial(_forward_cut, plan, layer, batch, workspace, last=last, resets=resets)
    planned = make(cut, n_threads)
    if cut.n_columns == 1:
        return planned
    alone = cut_of(plan, size, steps, 1)
    scratch = max(planned.scratch, _scratch(plan, size, alone)[1])
    return replace(planned, alone=cache(partial(make, alone, 1)), scratch=scratch)


def _forward_cut(
    plan: Plan, layer: int, batch: Batch, workspace: Workspace, cut: Cut, n_threads: int, *, last: bool, resets: bool
) -> Launch:
    size = layer_sizes(plan, layer)
    x, h = placements(plan, layer, batch)
    ring = last and layer == plan.num_layers - 1
    n_tasks = plan.num_directions * cut.n_groups * cut.n_columns
    region, without_slab = scratch_of(size, plan, cut.n_groups)
    meetings, end, a_task = _scratch(plan, size, cut)
    padded = batch.ragged and not plan.flat and not ring and layer == plan.num_layers - 1
    directions = []
    for d in range(plan.num_directions):
        header, columns = direction_of(
            plan, size, batch, d, x, time_first(plan) if ring else h, workspace, resets=resets
        )
        panels_at = d * (size.n_panels * size.panel_size + size.second_size + size.vectors_size)
        second_at = panels_at + size.n_panels * size.panel_size
        if ring:  # steps alternate between two slots, in both directions alike
            header[fields.H_STEP] = plan.batch_size * plan.num_directions * plan.output_size
            columns[ROW_H] = np.arange(plan.batch_size) * plan.num_directions * plan.output_size + d * plan.output_size
        directions.append(
            (
                header
                | {
                    fields.PANEL_UNITS: size.panel_units,
                    fields.PANEL_SIZE: size.panel_size,
                    fields.PANELS_AT: panels_at,
                    fields.HIDDEN_LINES_AT: size.line + size.input_lines,
                    fields.SECOND_AT: second_at,
                    fields.VECTORS_AT: second_at + size.second_size,
                    fields.PADDED_STEPS: plan.seq_len if padded else 0,
                    fields.H_RING: 2 if ring else max(1, plan.seq_len),
                    fields.SCRATCH_SIZE: a_task,
                    fields.REGION: region,
                    fields.SLAB_IN_SCRATCH: without_slab,
                    fields.ARRIVAL_AT: meetings,
                    fields.MEETING_AT: meetings + d * MEETING,
                    fields.N_MEETING: cut.n_columns,
                },
                columns,
            )
        )
    strips = (size.n_panels, size.n_second_panels, 0)
    request = assemble(batch, size, cut, strips, 0, directions)
    n_threads = min(n_threads, n_tasks)
    planned = Launch(request, n_threads, end, slice(meetings, end), plan.batch_size, headers_of(request))
    return replace(planned, steps=batch.steps, whole=planned.between(0, batch.steps))


def in_turn(plan: Plan, layer: int) -> tuple[Launch, Launch]:
    """The plans of one step of one direction whose cell states have two slots: from the first to the second, and back.

    `saved` is then (2, N, H).
    """
    n_threads = threads(plan, layer_sizes(plan, layer), plan.batch_size)
    rows = Cut(groups_of(plan, n_threads), 1, 0)
    space = Workspace.of(plan, keep=False)
    there = _forward_cut(plan, layer, Batch.of(plan, None), space, rows, n_threads, last=False, resets=False)
    forth, back = there.between(0, 1).copy(), there.between(0, 1).copy()
    slot = plan.batch_size * plan.hidden_size
    for request, first, step in ((forth, 0, slot), (back, slot, -slot)):
        for header in there.headers:
            request[header + fields.C_STEP] = step
            table = request[request[header + fields.TABLE_AT] :].reshape(-1, ROW_FIELDS)
            table[:, ROW_C] += first
    return replace(there, request=forth, whole=forth), replace(there, request=back, whole=back)


def two_steps(plan: Plan, layer: int, n_groups: int) -> Launch:
    """The plan of two steps of one direction, to be run one at a time and in turn, each reading what the other wrote.

    The layers' outputs are (2, N, H_out); h_0 is then the second step's part of the layer's own. Cell states have one
    place.
    """
    space, batch = Workspace.of(plan, keep=False), Batch.of(plan, None)
    return _forward_cut(plan, layer, batch, space, Cut(n_groups, 1, 0), 1, last=False, resets=False)
