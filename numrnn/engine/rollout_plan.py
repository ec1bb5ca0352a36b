"""The plan of a roll-out, and the arrays that it tells of: one int64 array for a whole stack and its head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn.engine import dense, forward_plans
from numrnn.engine.buffers import aligned
from numrnn.engine.dropout import Dropout
from numrnn.engine.geometry import Batch, Integers
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Plan
from numrnn.engine.plans import kept
from numrnn.kernels import dense as dense_kernels
from numrnn.kernels import dropout as dropout_kernels
from numrnn.kernels import rollout as kernels
from numrnn.kernels import tasks as fields
from numrnn.kernels.tile import ROW_FIELDS, ROW_X, ROWS

__all__ = ["Assembly", "Request", "Stack"]

Array = NDArray[Any]


class Stack(NamedTuple):
    """A recurrent layer where its roll-out begins: the rows of some paths, one path after the other."""

    plan: Plan  # of two steps
    panels: Panels
    h: Array  # (L, rows, H_out)
    c: Array | None  # (L, rows, H)
    dropout: Dropout | None


class Request(NamedTuple):
    """What is to be predicted: `known` and `result` are flat, their steps and rows `*_step`, `*_row` numbers apart."""

    steps: int
    first_path: int
    n_paths: int
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


class _Steps(NamedTuple):
    """A layer's plans of even and odd steps, and where the header of each is."""

    even: Integers
    odd: Integers
    header: int

    @classmethod
    def of(cls, plan: Plan, layer: int, n_groups: int) -> _Steps:
        """The plans, kept with that of the shapes."""
        key = ("roll-out", layer, n_groups)
        found: _Steps | None = plan.prepared.get(key)
        if found is None:
            planned = forward_plans.two_steps(plan, layer, n_groups)
            found = cls(planned.between(0, 1), planned.between(1, 2), planned.headers[0])
            if kept(plan, Batch.of(plan, None)):
                plan.prepared[key] = found
        return found


class Assembly:
    """What the kernel of a roll-out takes: `plan`, `keys`, `memory`, `panels`, `scratch`."""

    plan: Integers
    keys: NDArray[np.uint64]
    memory: Array
    panels: Array
    scratch: Array

    def __init__(self, stacks: Sequence[Stack], head: dense.DensePanels, request: Request, n_groups: int) -> None:
        bottom, top = stacks[0].plan, stacks[-1].plan
        self._request, self._n_rows = request, bottom.batch_size
        self._ends = np.cumsum([0, *(len(group) for group in Batch.of(bottom, None).groups(n_groups))]).tolist()
        n_layers = sum(stack.plan.num_layers for stack in stacks)
        first = np.zeros(kernels.ROLL_FIELDS + n_layers * kernels.LAYER_FIELDS, np.int64)
        lines = first[kernels.ROLL_FIELDS :].reshape(n_layers, kernels.LAYER_FIELDS)
        self._parts, self._end = [first], len(first)
        self._numbers = 0
        self._starts: list[tuple[int, Array]] = []
        self.keys = np.zeros(1 + n_layers, np.uint64)
        self.keys[0] = request.key
        columns = len(head.weight)
        x_at, y_at = self._take(2 * self._n_rows * bottom.input_size), self._take(self._n_rows * columns)

        below, number = x_at, 0
        panels: list[Array] = []
        launches: list[_Steps] = []
        for stack in stacks:
            scale_at = 0 if stack.dropout is None else self._take(1, np.array([stack.dropout.scale], bottom.dtype))
            for layer in range(stack.plan.num_layers):
                line, planned = lines[number], _Steps.of(stack.plan, layer, n_groups)
                line[kernels.LAYER_PANELS_AT] = sum(map(len, panels))
                panels.append(stack.panels.forward(layer))
                launches.append(planned)
                line[kernels.EVEN_AT], line[kernels.ODD_AT] = self._append(planned.even), self._append(planned.odd)
                line[kernels.LAYER_X_AT] = below
                below = self._place_states(line, stack, layer)
                if stack.dropout is not None and layer + 1 < stack.plan.num_layers:
                    self.keys[1 + number] = stack.dropout.key(layer)
                    line[kernels.MASK_SCALE_AT] = scale_at
                    below = self._place_masks(line, stack.plan, stack.dropout)
                number += 1
        # one size of scratch for all: tasks may be in different layers at a time
        a_task = max(int(planned.even[planned.header + fields.SCRATCH_SIZE]) for planned in launches)
        head_plans = [_head_plan(end - begin, top.output_size, columns) for begin, end in pairwise(self._ends)]
        values = {
            kernels.ROLL_N_TASKS: n_groups,
            kernels.ROLL_STEPS: request.steps,
            kernels.ROLL_ROWS: self._n_rows,
            kernels.ROLL_BATCH: request.batch_size,
            kernels.ROLL_FIRST_PATH: request.first_path,
            kernels.ROLL_N_LAYERS: n_layers,
            kernels.ROLL_INPUT: bottom.input_size,
            kernels.ROLL_COLUMNS: columns,
            kernels.ROLL_KNOWN: request.n_known,
            kernels.ROLL_HAS_NOISE: request.noise is not None,
            kernels.ROLL_X_AT: x_at,
            kernels.ROLL_Y_AT: y_at,
            kernels.ROLL_TOP_AT: lines[-1, kernels.LAYER_H_AT],
            kernels.ROLL_TOP_SIZE: top.output_size,
            kernels.ROLL_HEAD_AT: sum(map(len, panels)),
            kernels.ROLL_KNOWN_STEP: request.known_step,
            kernels.ROLL_KNOWN_ROW: request.known_row,
            kernels.ROLL_PATH_STEP: request.path_step,
            kernels.ROLL_RESULT_STEP: request.result_step,
            kernels.ROLL_RESULT_ROW: request.result_row,
            kernels.ROLL_DENSE_AT: self._append(np.concatenate(head_plans)),
            kernels.ROLL_DENSE_SIZE: len(head_plans[0]),
            kernels.ROLL_SCRATCH_SIZE: a_task,
        }
        for field, value in values.items():
            first[field] = value
        self.plan = np.concatenate(self._parts)
        for line, planned in zip(lines, launches, strict=True):
            self.plan[line[[kernels.EVEN_AT, kernels.ODD_AT]] + planned.header + fields.SCRATCH_SIZE] = a_task
        self.panels = np.concatenate([*panels, head.forward()])
        self.scratch = aligned(n_groups * a_task, bottom.dtype)
        self.memory = aligned(self._numbers, bottom.dtype)
        for at, start in self._starts:
            self.memory[at : at + start.size] = start.ravel()

    def _take(self, size: int, start: Array | None = None) -> int:
        """Set numbers of the memory aside, and what they begin as; returns where they are."""
        at = self._numbers
        self._numbers += size
        if start is not None:
            self._starts.append((at, start))
        return at

    def _append(self, part: Integers) -> int:
        """Append to the plan; returns where it begins."""
        at = self._end
        self._parts.append(part)
        self._end += len(part)
        return at

    def _place_states(self, line: Integers, stack: Stack, layer: int) -> int:
        """Find memory for a layer's states, whose first values stand in the second place; returns where h is."""
        of = stack.plan
        line[kernels.CELL] = kernels.CELL_NUMBERS[of.spec.name]
        line[kernels.LAYER_H_STEP] = a_place = self._n_rows * of.output_size
        h_at = line[kernels.LAYER_H_AT] = self._take(a_place)
        self._take(a_place, stack.h[layer])
        if stack.c is not None:
            line[kernels.LAYER_C_AT] = self._take(self._n_rows * of.hidden_size, stack.c[layer])
        return int(h_at)

    def _place_masks(self, line: Integers, plan: Plan, dropout: Dropout) -> int:
        """Make each task's request for one step of a layer's masks; returns where the masked output is."""
        t = dropout.t_0 + np.tile(self._request.begin, self._request.n_paths)
        parts = []
        for begin, end in pairwise(self._ends):
            own = np.empty(dropout_kernels.DROPOUT_FIELDS, np.int64)
            own[:] = 1, 1, end - begin, plan.output_size, dropout.row_0 + begin, 1
            parts += [own, t[begin:end]]
        line[kernels.MASKS_AT] = self._append(np.concatenate(parts))
        line[kernels.MASK_THRESHOLD] = dropout.threshold
        line[kernels.MASKED_AT] = at = self._take(2 * self._n_rows * plan.output_size)
        return at


def _head_plan(rows: int, steps: int, columns: int) -> Integers:
    """The head's plan for one task."""
    plan = np.zeros(dense_kernels.DENSE_FIELDS + ROWS * ROW_FIELDS, np.int64)
    plan[dense_kernels.DENSE_N_TASKS] = 1
    plan[dense_kernels.DENSE_ROWS] = rows
    plan[dense_kernels.DENSE_STEPS] = steps
    plan[dense_kernels.DENSE_COLUMNS] = columns
    plan[dense_kernels.DENSE_FIELDS + ROW_X :: ROW_FIELDS] = np.arange(ROWS) * steps
    return plan
