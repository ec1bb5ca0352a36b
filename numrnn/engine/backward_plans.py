"""The plans of backward launches, and where a backward pass has its scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from numrnn.engine.geometry import Batch, Cut, Integers, Sizes, backward_cut_of, layer_sizes, threads
from numrnn.engine.plan import Plan
from numrnn.engine.plans import Launch, assemble, direction_of, kept, placements, scratch_of
from numrnn.engine.weight_gradient import Right, WeightGradient, ceil
from numrnn.engine.workspace import Workspace
from numrnn.kernels import products
from numrnn.kernels import tasks as fields
from numrnn.kernels.meeting import MEETING
from numrnn.kernels.products import K_BLOCK
from numrnn.kernels.tile import ROW_D_OUTPUT, ROW_D_X, ROW_H, ROW_RANK, ROW_SLAB, ROW_SLAB_2, ROW_X, ROWS


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
    """A backward plan, where each direction's scratch stands in the arena, and the time blocks from the last."""

    size: Sizes
    launch: Launch
    arenas: tuple[Arena, ...]
    blocks: tuple[tuple[int, int, int], ...]  # first step, the step behind the last, lines
    sums: tuple[tuple[int, Integers], ...]  # tasks and request of each launch over weight gradients

    def sums_of(self, lines: int) -> list[tuple[int, Integers]]:
        """The launches over weight gradients for a block of so many lines."""
        requests = [(n_tasks, request.copy()) for n_tasks, request in self.sums]
        for _, request in requests:
            request[products.WG_LINES] = lines
        return requests


def backward(
    plan: Plan, layer: int, batch: Batch, workspace: Workspace, *, has_d_output: bool, has_d_x: bool, resets: bool
) -> BackwardLaunch:
    """The plan of one layer's backward pass; d_output and d_x have the layouts of output and x."""
    key = ("backward", layer, workspace.steps, workspace.is_segment, has_d_output, has_d_x, resets)
    planned: BackwardLaunch | None = None if batch.ragged else plan.prepared.get(key)
    if planned is None:
        planned = _backward(plan, layer, batch, workspace, has_d_output=has_d_output, has_d_x=has_d_x, resets=resets)
        if kept(plan, batch):
            plan.prepared[key] = planned
    return planned


def _backward(
    plan: Plan, layer: int, batch: Batch, workspace: Workspace, *, has_d_output: bool, has_d_x: bool, resets: bool
) -> BackwardLaunch:
    size = layer_sizes(plan, layer)
    n_threads = threads(plan, size, batch.most_lines)
    arenas = tuple(arena(plan, layer, batch, d, n_threads) for d in range(plan.num_directions))
    options = {"has_d_output": has_d_output, "has_d_x": has_d_x, "resets": resets}
    cut = backward_cut_of(plan, size, n_threads)
    planned = _backward_cut(plan, layer, batch, workspace, cut, arenas, **options)
    if cut.n_columns > 1:
        alone = _backward_cut(plan, layer, batch, workspace, Cut(1, 1, 0), arenas, **options)
        planned = replace(planned, alone=alone, scratch=max(planned.scratch, alone.scratch))
    blocks = tuple((begin, end, int(batch.running[begin:end].sum())) for begin, end in batch.backward_blocks())
    if len(blocks) == 1 and not workspace.is_segment:
        planned = replace(planned, steps=batch.steps, whole=planned.between(0, batch.steps, batch.running))
    sums = []
    for places in arenas:
        sums.append((places.weights.n_tasks, places.weights.request(places.slab, size.slab_stride)))
        if places.projection is not None:
            request = places.projection.request(places.slab_2, size.slab_2_stride)
            sums.append((places.projection.n_tasks, request))
    return BackwardLaunch(size, planned, arenas, blocks[::-1], tuple(sums))


def _backward_cut(
    plan: Plan,
    layer: int,
    batch: Batch,
    workspace: Workspace,
    cut: Cut,
    arenas: tuple[Arena, ...],
    *,
    has_d_output: bool,
    has_d_x: bool,
    resets: bool,
) -> Launch:
    size = layer_sizes(plan, layer)
    x, h = placements(plan, layer, batch)
    region, a_task = scratch_of(size, plan, cut.n_groups)
    n_tasks = plan.num_directions * cut.n_groups * cut.n_columns
    meetings = arenas[-1].size + n_tasks * a_task
    hidden_panels = size.hidden_width * ceil(size.output_size, size.line)
    input_panels = size.width * ceil(size.input_size, size.line)
    second = size.second_columns * ceil(size.hidden_size, size.line)
    directions = []
    for d, places in enumerate(arenas):
        header, columns = direction_of(plan, size, batch, d, x, h, workspace, resets=resets)
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
            fields.PADDED_STEPS: plan.seq_len if batch.ragged and (layer > 0 or not plan.flat) else 0,
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
    request = assemble(batch, size, cut, strips, K_BLOCK, directions)
    end = meetings + plan.num_directions * MEETING
    return Launch(request, n_tasks, end, slice(meetings, end), plan.batch_size)
