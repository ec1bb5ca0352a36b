"""Roll-out: a stack of layers and its head fed with their own predictions, many steps in a launch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import dense, forward_plans
from numrnn.engine.buffers import aligned, reset_flags
from numrnn.engine.dropout import Dropout
from numrnn.engine.geometry import FLOPS_A_LAUNCH, Batch, Integers, layer_sizes
from numrnn.engine.panels import Panels
from numrnn.engine.plan import FLOPS_A_THREAD, Plan, kept_plan, plan_shape
from numrnn.engine.plans import kept
from numrnn.engine.signature import Signature
from numrnn.engine.steps import Steps
from numrnn.kernels import dense as dense_kernels
from numrnn.kernels import dropout as dropout_kernels
from numrnn.kernels import launch
from numrnn.kernels import rollout as kernels
from numrnn.kernels import tasks as fields
from numrnn.kernels.tile import ROW_FIELDS, ROW_X, ROWS

__all__ = ["Request", "Stack", "run"]

Array = NDArray[Any]

_ROWS_A_TASK = 96  # their states stay in L2 while the weights pass by


class Stack(NamedTuple):
    """A recurrent layer at the end of the history: rows of all paths, one path after the other."""

    signature: Signature
    panels: Panels
    h: Array  # (L, rows, H_out)
    c: Array | None  # (L, rows, H)
    dropout: Dropout | None


class Request(NamedTuple):
    """What is to be predicted: `known` and `result` are flat, their steps and rows `*_step`, `*_row` numbers apart."""

    steps: int
    batch_size: int
    begin: Integers  # steps of the history of each row of the batch
    known: Array
    n_known: int
    known_step: int
    known_row: int
    result: Array
    path_step: int
    result_step: int
    result_row: int
    noise: NDArray[np.float64] | None  # standard deviations (columns,)
    key: np.uint64


def run(stacks: Sequence[Stack], head: dense.DensePanels, request: Request, n_threads: int) -> None:
    """Write the predictions of all steps into `request.result`."""
    if request.result.size == 0:
        return
    if _jit.DISABLED:
        _run_by_reference(stacks, head, request)
        return
    plans = [_plan(stack) for stack in stacks]
    rows, columns = stacks[0].h.shape[1], len(head.weight)
    sizes = [
        (stack, plan, layer) for stack, plan in zip(stacks, plans, strict=True) for layer in range(plan.num_layers)
    ]
    flops = 2.0 * rows * head.weight.size + sum(layer_sizes(plan, layer).flops(rows) for _, plan, layer in sizes)
    n_threads = max(1, min(n_threads, rows, int(flops * request.steps / FLOPS_A_THREAD)))
    n_groups = min(rows, -(-max(n_threads, -(-rows // _ROWS_A_TASK)) // n_threads) * n_threads)
    made = _Assembly(stacks, plans, head, request, rows, columns, n_groups)
    names = {plan.spec.name for plan in plans}
    twins = kernels.ROLLOUT[names.pop() if len(names) == 1 else None]
    block = max(1, int(FLOPS_A_LAUNCH / flops))
    noise = np.zeros(1) if request.noise is None else request.noise
    arrays = (made.keys, noise, request.known, made.memory, made.panels, made.scratch, request.result)
    for begin in range(0, request.steps, block):
        made.plan[kernels.ROLL_BEGIN] = begin
        made.plan[kernels.ROLL_END] = min(begin + block, request.steps)
        launch.run(twins, n_threads, made.plan, *arrays, reset_flags(None))


def _plan(stack: Stack) -> Plan:
    """The plan of two steps of all rows."""
    of = stack.signature._replace(batch_first=False)
    return kept_plan(of, (2, stack.h.shape[1], of.input_size), 1, "output")


def _steps_in_turn(plan: Plan, layer: int, n_groups: int) -> tuple[Integers, Integers, int]:
    """The plans of even and odd steps of a layer, and where their header is; kept with the plan."""
    key = ("roll-out", layer, n_groups)
    found: tuple[Integers, Integers, int] | None = plan.prepared.get(key)
    if found is None:
        planned = forward_plans.two_steps(plan, layer, n_groups)
        found = planned.between(0, 1), planned.between(1, 2), planned.headers[0]
        if kept(plan, Batch.of(plan, None)):
            plan.prepared[key] = found
    return found


class _Assembly:
    """One int64 plan for the whole roll-out, and the arrays that it tells of."""

    def __init__(
        self,
        stacks: Sequence[Stack],
        plans: Sequence[Plan],
        head: dense.DensePanels,
        request: Request,
        rows: int,
        columns: int,
        n_groups: int,
    ) -> None:
        dtype = plans[0].dtype
        ends = np.cumsum([0, *(len(group) for group in Batch.of(plans[0], None).groups(n_groups))])
        n_layers = sum(plan.num_layers for plan in plans)
        plan = np.zeros(kernels.ROLL_FIELDS + n_layers * kernels.LAYER_FIELDS, np.int64)
        lines = plan[kernels.ROLL_FIELDS :].reshape(n_layers, kernels.LAYER_FIELDS)
        self._parts, self._end = [plan], len(plan)
        self._numbers = 0
        x_at = self._take(2 * rows * plans[0].input_size)
        y_at = self._take(rows * columns)
        scale_at = self._take(len(stacks))
        panels, panels_at = [], 0
        keys = np.zeros(1 + n_layers, np.uint64)
        keys[0] = request.key
        starts: list[tuple[int, Array]] = []
        below, line, a_task = x_at, 0, 0
        launches = []
        for number, (stack, of) in enumerate(zip(stacks, plans, strict=True)):
            if stack.dropout is not None:
                starts.append((scale_at + number, np.array([stack.dropout.scale], dtype)))
            for layer in range(of.num_layers):
                launches.append(_steps_in_turn(of, layer, n_groups))
                own = lines[line]
                own[kernels.CELL] = kernels.CELL_NUMBERS[of.spec.name]
                own[kernels.LAYER_X_AT] = below
                own[kernels.LAYER_H_STEP] = rows * of.output_size
                own[kernels.LAYER_H_AT] = below = self._take(2 * rows * of.output_size)
                starts.append((below + rows * of.output_size, stack.h[layer]))
                if stack.c is not None:
                    own[kernels.LAYER_C_AT] = self._take(rows * of.hidden_size)
                    starts.append((int(own[kernels.LAYER_C_AT]), stack.c[layer]))
                packed = stack.panels.forward(layer)
                own[kernels.LAYER_PANELS_AT] = panels_at
                panels.append(packed)
                panels_at += len(packed)
                a_task = max(a_task, int(launches[-1][0][launches[-1][2] + fields.SCRATCH_SIZE]))
                if stack.dropout is not None and layer + 1 < of.num_layers:
                    keys[1 + line] = stack.dropout.key(layer)
                    own[kernels.MASKS_AT] = self._append(self._masks(stack.dropout, of, request, rows, ends))
                    own[kernels.MASK_THRESHOLD] = stack.dropout.threshold
                    own[kernels.MASK_SCALE_AT] = scale_at + number
                    own[kernels.MASKED_AT] = below = self._take(2 * rows * of.output_size)
                line += 1
        for own, (even, odd, _) in zip(lines, launches, strict=True):
            own[kernels.EVEN_AT], own[kernels.ODD_AT] = self._append(even), self._append(odd)
        top = plans[-1]
        dense_plans = np.concatenate(
            [_dense_plan(end - begin, top.output_size, columns) for begin, end in pairwise(ends)]
        )
        values = {
            kernels.ROLL_N_TASKS: n_groups,
            kernels.ROLL_STEPS: request.steps,
            kernels.ROLL_ROWS: rows,
            kernels.ROLL_BATCH: request.batch_size,
            kernels.ROLL_N_LAYERS: n_layers,
            kernels.ROLL_INPUT: plans[0].input_size,
            kernels.ROLL_COLUMNS: columns,
            kernels.ROLL_KNOWN: request.n_known,
            kernels.ROLL_HAS_NOISE: request.noise is not None,
            kernels.ROLL_X_AT: x_at,
            kernels.ROLL_Y_AT: y_at,
            kernels.ROLL_TOP_AT: lines[-1, kernels.LAYER_H_AT],
            kernels.ROLL_TOP_SIZE: top.output_size,
            kernels.ROLL_HEAD_AT: panels_at,
            kernels.ROLL_KNOWN_STEP: request.known_step,
            kernels.ROLL_KNOWN_ROW: request.known_row,
            kernels.ROLL_PATH_STEP: request.path_step,
            kernels.ROLL_RESULT_STEP: request.result_step,
            kernels.ROLL_RESULT_ROW: request.result_row,
            kernels.ROLL_DENSE_AT: self._append(dense_plans),
            kernels.ROLL_DENSE_SIZE: len(dense_plans) // n_groups,
            kernels.ROLL_SCRATCH_SIZE: a_task,
        }
        for field, value in values.items():
            plan[field] = value
        self.plan: Integers = np.concatenate(self._parts)
        for own, (_, _, header) in zip(lines, launches, strict=True):  # no two tasks share scratch in any two layers
            self.plan[own[[kernels.EVEN_AT, kernels.ODD_AT]] + header + fields.SCRATCH_SIZE] = a_task
        self.keys = keys
        self.panels = np.concatenate([*panels, head.forward()])
        self.scratch = aligned(n_groups * a_task, dtype)
        self.memory = aligned(self._numbers, dtype)
        for at, value in starts:
            self.memory[at : at + value.size] = value.ravel()

    def _take(self, size: int) -> int:
        """Set numbers of the memory aside; returns where they begin."""
        at = self._numbers
        self._numbers += size
        return at

    def _append(self, part: Integers) -> int:
        """Append to the plan; returns where it begins."""
        at = self._end
        self._parts.append(part)
        self._end += len(part)
        return at

    @staticmethod
    def _masks(dropout: Dropout, plan: Plan, request: Request, rows: int, ends: Integers) -> Integers:
        """A request for one step of each task's masks, one after the other."""
        t = dropout.t_0 + np.tile(request.begin, rows // request.batch_size)
        parts = []
        for begin, end in pairwise(ends):
            own = np.empty(dropout_kernels.DROPOUT_FIELDS, np.int64)
            own[:] = 1, 1, end - begin, plan.output_size, dropout.row_0 + begin, 1
            parts += [own, t[begin:end]]
        return np.concatenate(parts)


def _dense_plan(rows: int, steps: int, columns: int) -> Integers:
    """The head's plan for one task."""
    plan = np.zeros(dense_kernels.DENSE_FIELDS + ROWS * ROW_FIELDS, np.int64)
    plan[dense_kernels.DENSE_N_TASKS] = 1
    plan[dense_kernels.DENSE_ROWS] = rows
    plan[dense_kernels.DENSE_STEPS] = steps
    plan[dense_kernels.DENSE_COLUMNS] = columns
    plan[dense_kernels.DENSE_FIELDS + ROW_X :: ROW_FIELDS] = np.arange(ROWS) * steps
    return plan


def _run_by_reference(stacks: Sequence[Stack], head: dense.DensePanels, request: Request) -> None:
    """Step by step through the reference."""
    if any(stack.dropout is not None for stack in stacks):
        raise NotImplementedError("dropout needs the compiled kernels: unset NUMBA_DISABLE_JIT.")
    rows, columns = stacks[0].h.shape[1], len(head.weight)
    steppers = []
    for stack in stacks:
        of = stack.signature._replace(batch_first=False)
        steppers.append(Steps(plan_shape(of, (1, rows, of.input_size), 1), stack.panels, stack.h, stack.c))
    top = steppers[-1].h[-1]
    for s in range(request.steps):
        y = dense.forward(head, np.ascontiguousarray(top), n_threads=1)
        x = np.empty((rows, columns + request.n_known), y.dtype)
        for r in range(rows):
            path, n = divmod(r, request.batch_size)
            to = path * request.path_step + s * request.result_step + n * request.result_row
            if request.noise is not None:
                with np.errstate(over="ignore"):  # the mixing counts modulo 2^64
                    row_key = np.uint64(kernels.noise_key(request.key, path, n))
                    normal = [kernels.noise_at(row_key, s, k) for k in range(columns)]
                y[r] = y[r] + request.noise * normal
            request.result[to : to + columns] = x[r, :columns] = y[r]
            known_at = s * request.known_step + n * request.known_row
            if s + 1 < request.steps:
                x[r, columns:] = request.known[known_at : known_at + request.n_known]
        if s + 1 < request.steps:
            below = x
            for stepper in steppers:
                below = np.ascontiguousarray(stepper.step(below))
            top = below
