"""The plans of backward launches, and where a backward pass has its scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from numrnn._types import Shape
from numrnn.cellspec import parameter_shapes
from numrnn.engine.buffers import Array
from numrnn.engine.geometry import Batch, Cut, Integers, Sizes, backward_cut_of, layer_sizes, threads
from numrnn.engine.plan import Plan
from numrnn.engine.plans import Launch, assemble, direction_of, headers_of, kept, placements, scratch_of
from numrnn.engine.weight_gradient import Found, Right, WeightGradient, ceil
from numrnn.engine.workspace import Workspace
from numrnn.kernels import launch, products
from numrnn.kernels import tasks as fields
from numrnn.kernels.meeting import MEETING
from numrnn.kernels.products import K_BLOCK
from numrnn.kernels.tile import ROW_D_OUTPUT, ROW_D_X, ROW_H, ROW_RANK, ROW_SLAB, ROW_SLAB_2, ROW_X, ROWS


@dataclass(frozen=True, slots=True)
class Results:
    """Where a pass's gradients stand in one array: parameters by name, in PyTorch's order, and initial states."""

    size: int
    parameters: dict[str, tuple[slice, Shape]]
    h_0: slice
    c_0: slice

    @classmethod
    def of(cls, plan: Plan) -> Results:
        """Lay them out, 16 numbers apart or a multiple of it."""
        shapes = parameter_shapes(
            plan.spec,
            plan.input_size,
            plan.hidden_size,
            plan.num_layers,
            plan.bias,
            plan.num_directions,
            plan.output_size if plan.output_size != plan.hidden_size else 0,
        )
        places, end = {}, 0
        for name, shape in shapes.items():
            begin, numbers = end, math.prod(shape)
            places[name] = slice(begin, begin + numbers), shape
            end = ceil(begin + numbers, 16)
        h_0 = slice(end, end + math.prod(plan.state_shape))
        at = ceil(h_0.stop, 16)
        c_0 = slice(at, at + plan.spec.has_cell_state * math.prod(plan.cell_shape))
        return cls(c_0.stop, places, h_0, c_0)


def results(plan: Plan) -> Results:
    """The results of a backward pass; kept with the plan."""
    places: Results | None = plan.prepared.get("results")
    if places is None:
        plan.prepared["results"] = places = Results.of(plan)
    return places


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets into the scratch of one direction's backward pass."""

    d_h: int
    d_c: int
    weights: WeightGradient
    projection: WeightGradient | None
    d_operand: int
    slab: int
    slab_2: int
    size: int


def arena(plan: Plan, layer: int, batch: Batch, d: int, n_threads: int, begin: int) -> Arena:
    """Lay out a direction's scratch from `begin` on: adjoints of the states, operands, slabs."""
    size, found = layer_sizes(plan, layer), results(plan).parameters
    lines = batch.most_lines
    states = ceil(plan.batch_size * size.state_stride, 64)
    suffix = f"_l{layer}_reverse" if d else f"_l{layer}"

    def of(name: str, left_begin: int, left_end: int, left_first: int = 0, rows: int = 0) -> Found:
        place, shape = found[f"{name}{suffix}"]
        return Found(place.start + rows * math.prod(shape[1:]), left_begin, left_end, left_first)

    hidden = size.hidden_begin, size.hidden_begin + size.hidden_width
    inputs = 0, size.width, (size.width - size.hidden_begin) % size.width
    rights = [Right(size.input_size, of("weight_ih", *inputs)), Right(size.output_size, of("weight_hh", *hidden))]
    if size.reset_before:
        rights.append(Right(size.hidden_size, of("weight_hh", 0, size.hidden_size, rows=size.hidden_width)))
    biases: tuple[Found, ...] = ()
    if plan.bias:
        split = size.slab_width > size.width
        biases = of("bias_ih", *inputs), of("bias_hh", *hidden) if split else of("bias_hh", *inputs)
    for k, name in enumerate(plan.spec.vectors):  # sums of columns too
        column = size.slab_width + k * size.hidden_size
        biases += (of(f"weight_{name}", column, column + size.hidden_size),)
    n_tasks = min(n_threads, -(-size.left_width // ROWS))
    at = begin + 2 * states
    weights = WeightGradient.place(at, size.lanes, size.left_width, lines, tuple(rights), biases, n_tasks)
    projection, end = None, weights.end
    if size.projected:
        right = (Right(size.hidden_size, of("weight_hr", 0, size.output_size)),)
        n_tasks = min(n_threads, -(-size.output_size // ROWS))
        projection = WeightGradient.place(end, size.lanes, size.output_size, lines, right, (), n_tasks)
        end = projection.end
    slab = end + states
    slab_2 = slab + ceil(lines * size.slab_stride, 64)
    total = slab_2 + ceil(lines * size.slab_2_stride, 64)
    return Arena(begin, begin + states, weights, projection, end, slab, slab_2, total)


@dataclass(frozen=True, slots=True)
class BackwardLaunch:
    """A backward plan, where each direction's scratch stands in the arena, and the time blocks from the last."""

    size: Sizes
    launch: Launch
    arenas: tuple[Arena, ...]
    blocks: tuple[tuple[int, int], ...]  # first step, the step behind the last

    def run(
        self,
        twins: Any,
        begin: int,
        end: int,
        scratch: Array,
        arrays: tuple[Array, ...],
        found: Array,
        running: Integers,
        since: int,
    ) -> None:
        """Run one block, and then its weight gradients, unless the launch does that too."""
        whole = self.launch.whole
        if whole is not None and whole[fields.N_SUMS]:
            twins[0](whole, *arrays)
            return
        request = self.launch.run(twins, begin, end, scratch, arrays, running, since)
        if request[fields.N_SUMS]:
            return
        at = request[fields.SUMS_AT]
        for _ in self.launch.sums:
            launch.run(
                launch.WEIGHT_GRADIENT, int(request[at + products.WG_N_TASKS]), request[at:], scratch, scratch, found
            )
            at += request[at + products.WG_SIZE]


class Has(NamedTuple):
    """Which of the arrays that may be absent a backward pass has."""

    d_output: bool
    d_h_n: bool
    d_c_n: bool
    d_x: bool
    resets: bool


def backward(plan: Plan, layer: int, batch: Batch, segment: Workspace | None, has: Has) -> BackwardLaunch:
    """The plan of one layer's backward pass; d_output and d_x have the layouts of output and x."""
    key = ("backward", layer, has, segment)
    planned: BackwardLaunch | None = None if batch.ragged else plan.prepared.get(key)
    if planned is None:
        planned = _backward(plan, layer, batch, segment or Workspace.of(plan, keep=True), has)
        if kept(plan, batch):
            plan.prepared[key] = planned
    return planned


def _backward(plan: Plan, layer: int, batch: Batch, workspace: Workspace, has: Has) -> BackwardLaunch:
    size = layer_sizes(plan, layer)
    n_threads = threads(plan, size, batch.most_lines)
    arenas: list[Arena] = []
    for d in range(plan.num_directions):
        arenas.append(arena(plan, layer, batch, d, n_threads, arenas[-1].size if arenas else 0))
    make = partial(_backward_cut, plan, layer, batch, workspace, arenas=arenas, has=has)
    cut = backward_cut_of(plan, size, n_threads)
    planned = make(cut, n_threads)
    if cut.n_columns > 1:
        alone = Cut(1, 1, 0)
        scratch = max(planned.scratch, _scratch(plan, size, alone, arenas)[1])
        planned = replace(planned, alone=cache(partial(make, alone, 1)), scratch=scratch)
    blocks = tuple(batch.backward_blocks())
    if len(blocks) == 1 and not workspace.is_segment:
        planned = replace(planned, steps=batch.steps, whole=planned.between(0, batch.steps, batch.running))
    return BackwardLaunch(size, planned, tuple(arenas), blocks[::-1])


def _scratch(plan: Plan, size: Sizes, cut: Cut, arenas: list[Arena]) -> tuple[int, int, int]:
    """Numbers of scratch of a cut: where tasks meet, behind arenas and tasks; the end; and those of one task."""
    n_tasks = plan.num_directions * cut.n_groups * cut.n_columns
    a_task = scratch_of(size, plan, cut.n_groups)[1] + size.line
    meetings = arenas[-1].size + n_tasks * a_task
    return meetings, meetings + plan.num_directions * int(MEETING), a_task


def _backward_cut(
    plan: Plan,
    layer: int,
    batch: Batch,
    workspace: Workspace,
    cut: Cut,
    n_threads: int,
    *,
    arenas: list[Arena],
    has: Has,
) -> Launch:
    size = layer_sizes(plan, layer)
    x, h = placements(plan, layer, batch)
    region, _ = scratch_of(size, plan, cut.n_groups)
    n_tasks = plan.num_directions * cut.n_groups * cut.n_columns
    meetings, end, a_task = _scratch(plan, size, cut, arenas)
    found = results(plan)
    hidden_panels = size.hidden_width * ceil(size.output_size, size.line)
    input_panels = size.width * ceil(size.input_size, size.line)
    second = size.second_columns * ceil(size.hidden_size, size.line)
    directions = []
    for d, places in enumerate(arenas):
        header, columns = direction_of(plan, size, batch, d, x, h, workspace, resets=has.resets)
        panels_at = d * (hidden_panels + input_panels + second + size.vectors_size)
        first = (layer * plan.num_directions + d) * plan.batch_size
        header |= {
            fields.PANELS_AT: panels_at,
            fields.X_PANELS_AT: panels_at + hidden_panels,
            fields.SECOND_AT: panels_at + hidden_panels + input_panels,
            fields.VECTORS_AT: panels_at + hidden_panels + input_panels + second,
            fields.SCRATCH_AT: arenas[-1].size,
            fields.SCRATCH_SIZE: a_task,
            fields.REGION: region,
            fields.HAS_D_OUTPUT: int(has.d_output),
            fields.D_OUTPUT_STEP: header[fields.H_STEP],
            fields.PADDED_STEPS: plan.seq_len if batch.ragged and (layer > 0 or not plan.flat) else 0,
            fields.HAS_D_X: int(has.d_x),
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
            fields.LONGEST: batch.steps,
            fields.CLEAR_H: int(not has.d_h_n),
            fields.CLEAR_C: int(plan.spec.has_cell_state and not has.d_c_n),
            fields.D_H_0_AT: found.h_0.start + first * plan.output_size,
            fields.D_C_0_AT: found.c_0.start + first * plan.hidden_size,
            fields.ONE_GROUP: int(cut.n_groups == 1),
            fields.ARRIVAL_AT: meetings,
            fields.MEETING_AT: meetings + d * MEETING,
            fields.N_MEETING: cut.n_columns,
        }
        positions = plan.positions(batch.lengths) if layer == 0 else plan.seq_len * plan.batch_size
        columns |= {
            ROW_D_OUTPUT: columns[ROW_H],
            ROW_D_X: columns[ROW_X] + d * positions * size.input_size,
            ROW_SLAB: columns[ROW_RANK] * size.slab_stride,
            ROW_SLAB_2: columns[ROW_RANK] * size.slab_2_stride,
        }
        directions.append((header, columns))
    strips = [ceil(n, size.line) // size.line for n in (size.hidden_size, size.output_size, size.input_size)]
    plan_of_steps = assemble(batch, size, cut, strips, K_BLOCK, directions)
    sums = []
    for places in arenas:
        sums.append(places.weights.request(places.slab, size.slab_stride))
        if places.projection is not None:
            sums.append(places.projection.request(places.slab_2, size.slab_2_stride))
    request = np.concatenate([plan_of_steps, *sums])
    n_threads = min(n_threads, n_tasks)
    alone = n_threads == 1 and all(int(request_of[products.WG_N_TASKS]) == 1 for request_of in sums)
    request[fields.N_SUMS] = len(sums) if alone else 0
    request[fields.SUMS_AT] = len(plan_of_steps)
    sums_at = np.cumsum([len(plan_of_steps), *map(len, sums)])[:-1]
    return Launch(
        request, n_threads, end, slice(meetings, end), plan.batch_size, headers_of(request), tuple(sums_at.tolist())
    )
