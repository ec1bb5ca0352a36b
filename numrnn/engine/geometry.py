"""Sizes of a layer as the tile sees them, and the cut of its work into tasks and time blocks.

The cut of time depends on shapes and lengths alone, never on threads or caches, so that results do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CellSpec
from numrnn.engine.plan import FLOPS_A_THREAD, Plan
from numrnn.engine.weight_gradient import ceil
from numrnn.kernels.products import K_BLOCK
from numrnn.kernels.simd import LANES_NUMPY
from numrnn.kernels.tile import ROWS, VECTORS

Integers = NDArray[np.int64]

# A launch stays well below the time after which a user would wait for Ctrl-C: about 0.2 s on one slow thread.
FLOPS_A_LAUNCH = 4e9
# Fewer rows a thread than this are bound by the weights' way through the caches; more, where weights of so many numbers
# come from the last cache or from memory at every step.
FEW_ROWS = 3
STREAMED_NUMBERS, STREAMED_ROWS = 1 << 22, 12
# Tasks that meet at every step need at least this much work in between.
FLOPS_A_MEETING = 1e4
# Up to so many rows the x side is computed ahead, for steps whose slab stays in L2.
ROWS_TO_HOIST = 3
SLAB_NUMBERS = 1 << 16
FEW_STEPS = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the tile makes of a layer's sizes: lanes, panels, padded widths."""

    lanes: int
    line: int  # numbers in a panel's line: 4 vectors
    input_size: int
    hidden_size: int
    output_size: int  # of h_t: the projection's size, or the hidden size
    n_gates: int
    panel_units: int  # hidden units a panel covers
    n_panels: int
    slab_width: int  # adjoints of pre-activations a row
    hidden_begin: int  # where the adjoints that meet h_{t-1} begin among them
    hidden_width: int  # and how many they are
    projected: bool
    reset_before: bool
    n_vectors: int

    @property
    def width(self) -> int:
        """Rows of the input weight: gates times hidden size."""
        return self.n_gates * self.hidden_size

    @property
    def input_lines(self) -> int:
        """Numbers of a panel's input side."""
        return self.input_size * self.n_gates * self.panel_units

    @property
    def hidden_lines(self) -> int:
        """Numbers of a panel's hidden side; where the reset comes before, the candidate has none."""
        return self.output_size * (self.n_gates - self.reset_before) * self.panel_units

    @property
    def panel_size(self) -> int:
        """Numbers in a forward panel: biases, input lines, hidden lines."""
        return self.line + self.input_lines + self.hidden_lines

    @property
    def second_columns(self) -> int:
        """Columns of the second stage's product; 0 where there is none."""
        return self.output_size if self.projected else self.hidden_size if self.reset_before else 0

    @property
    def n_second_panels(self) -> int:
        """Strips of 4 vectors of the second stage's columns."""
        return -(-self.second_columns // self.line)

    @property
    def second_size(self) -> int:
        """Numbers in the second stage's forward panels: a line to start from, hidden lines."""
        return self.n_second_panels * (self.hidden_size + 1) * self.line

    @property
    def vectors_size(self) -> int:
        """Numbers of the cell's vectors, padded so that what follows is aligned."""
        return ceil(self.n_vectors * self.hidden_size, 64)

    @property
    def left_width(self) -> int:
        """Adjoints in a slab's row: of the pre-activations, then of the vectors."""
        return self.slab_width + self.n_vectors * self.hidden_size

    @property
    def state_stride(self) -> int:
        """A state adjoint's row, padded to whole panels."""
        return ceil(self.hidden_size, self.line)

    @property
    def slab_stride(self) -> int:
        """A slab's row; one vector of padding keeps rows from falling on the same cache sets."""
        return ceil(self.left_width, self.lanes) + self.lanes

    @property
    def slab_2_stride(self) -> int:
        """A row of the projection's slab; 0 without one."""
        return ceil(self.output_size, self.lanes) + self.lanes if self.projected else 0

    @property
    def local_stride(self) -> int:
        """A row of a task's scratch regions."""
        return ceil(self.hidden_size, self.lanes)

    @property
    def n_regions(self) -> int:
        """A task's scratch regions: h and c kept over a reset; of a late candidate its operand and the gates' sums."""
        return 2 + (1 + self.n_gates if self.reset_before else 3)

    def flops(self, rows: int) -> float:
        """Multiplications and additions of `rows` rows and steps."""
        second = self.second_columns * self.hidden_size
        return 2.0 * (self.width * (self.input_size + self.output_size) + second) * rows


@lru_cache(maxsize=64)
def sizes(spec: CellSpec, dtype: np.dtype[np.floating], input_size: int, hidden: int, output: int) -> Sizes:
    """Derive a layer's sizes. A slab begins with a candidate that meets the hidden side in its own way."""
    lanes, n_gates = LANES_NUMPY[dtype], spec.num_gates
    split, before = spec.candidate == "split", spec.candidate == "late"
    units = VECTORS // (n_gates + split) * lanes
    return Sizes(
        lanes=lanes,
        line=VECTORS * lanes,
        input_size=input_size,
        hidden_size=hidden,
        output_size=output,
        n_gates=n_gates,
        panel_units=units,
        n_panels=-(-hidden // units),
        slab_width=(n_gates + split) * hidden,
        hidden_begin=hidden if split or before else 0,
        hidden_width=(n_gates - before) * hidden,
        projected=output != hidden,
        reset_before=before,
        n_vectors=len(spec.vectors),
    )


def layer_sizes(plan: Plan, layer: int) -> Sizes:
    """Sizes of one layer of the stack."""
    input_size = plan.input_size if layer == 0 else plan.num_directions * plan.output_size
    return sizes(plan.spec, plan.dtype, input_size, plan.hidden_size, plan.output_size)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a (time, batch, features) array holds step t of row n: at (start[n] + t * step) * features."""

    start: Integers
    step: int

    def reversed(self, lengths: Integers) -> Placement:
        """The same from each row's own end backwards."""
        return Placement(self.start + (lengths - 1) * self.step, -self.step)


def time_first(plan: Plan) -> Placement:
    """(T, N, features)."""
    return Placement(np.arange(plan.batch_size), plan.batch_size)


def users_placement(plan: Plan, lengths: Integers) -> Placement:
    """The layout of x and output: time-first, batch-first, or rows of their own lengths one after the other."""
    if plan.flat:
        return Placement(np.cumsum(lengths) - lengths, 1)
    if plan.batch_first:
        return Placement(np.arange(plan.batch_size) * plan.seq_len, 1)
    return time_first(plan)


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a call: their lengths, their ranks by falling length, and the steps that each time block takes."""

    lengths: Integers
    order: Integers  # row numbers by falling length
    running: Integers  # rows that have a step t
    ragged: bool

    @classmethod
    def of(cls, plan: Plan, lengths: Integers | None) -> Batch:
        """Describe a call's rows; None means that all have the length of x."""
        if lengths is None:
            return _whole(plan.seq_len, plan.batch_size)
        order = np.argsort(-lengths, kind="stable")
        longest = int(lengths.max(initial=0))
        running = np.searchsorted(np.sort(lengths), np.arange(longest), side="right")
        return cls(lengths, order, len(lengths) - running, True)

    @property
    def steps(self) -> int:
        """Steps of the longest row."""
        return len(self.running)

    def groups(self, n: int) -> list[Integers]:
        """Deal the rows to `n` tasks, each sorted by falling length, with sums of lengths near each other."""
        if not self.ragged:
            return np.array_split(self.order, n)
        turn = np.arange(len(self.order)) % (2 * n)
        owner = np.where(turn < n, turn, 2 * n - 1 - turn)
        return [self.order[owner == group] for group in range(n)]

    def backward_blocks(self) -> Iterator[tuple[int, int]]:
        """Time blocks of at most K_BLOCK lines, or of one step, from the first."""
        begin, lines = 0, 0
        for t, rows in enumerate(self.running.tolist()):
            if t > begin and lines + rows > K_BLOCK:
                yield begin, t
                begin, lines = t, 0
            lines += rows
        if self.steps:
            yield begin, self.steps

    @property
    def most_lines(self) -> int:
        """Lines of the largest block."""
        return min(max(int(K_BLOCK), len(self.order)), int(self.running.sum()))


@lru_cache(maxsize=64)
def _whole(seq_len: int, batch_size: int) -> Batch:
    rows = np.arange(batch_size)
    running = np.full(seq_len if batch_size else 0, batch_size)
    return Batch(np.full(batch_size, seq_len), rows, running, False)


def threads(plan: Plan, size: Sizes, lines: int) -> int:
    """Threads worth using for a launch over so many rows and steps."""
    worth = int(plan.num_directions * size.flops(lines) / FLOPS_A_THREAD)
    return max(1, min(plan.n_threads, worth))


@dataclass(frozen=True, slots=True)
class Cut:
    """How the work of each direction is dealt to tasks."""

    n_groups: int  # groups of rows
    n_columns: int  # tasks that share the rows of a group, each with hidden units of its own
    hoisted: int  # steps whose x side is computed ahead; 0 means none


def groups_of(plan: Plan, n_threads: int) -> int:
    """Groups of rows of each direction, so that there is a task for each thread."""
    return max(1, min(plan.batch_size, -(-n_threads // plan.num_directions)))


def cut_of(plan: Plan, size: Sizes, steps: int, n_threads: int) -> Cut:
    """Choose the cut of a launch over `steps` steps.

    Rows are dealt to threads while each gets enough of them to be bound by arithmetic. Fewer rows are bound by the way
    of the weights through the caches: then each thread takes a part of the weights, and the x side, which does not wait
    for h, is hoisted. Measured on two cores for 1 to 24 rows and hidden sizes from 32 to 1024.
    """
    a_direction, rows = n_threads // plan.num_directions, max(1, plan.batch_size)  # all tasks that meet run at once
    n_columns = 1
    few = STREAMED_ROWS if size.n_panels * size.panel_size >= STREAMED_NUMBERS else FEW_ROWS
    if rows < a_direction * few and steps >= FEW_STEPS:
        n_columns = max(1, min(a_direction, size.n_panels, int(size.flops(rows) / FLOPS_A_MEETING)))
    n_groups = 1 if n_columns > 1 else groups_of(plan, n_threads)
    a_group = -(-rows // n_groups)
    hoisted = 0
    if a_group <= ROWS_TO_HOIST and steps >= FEW_STEPS:
        a_step = -(-size.n_panels // n_columns) * a_group * size.line
        hoisted = min(steps, SLAB_NUMBERS // a_step)
        hoisted = hoisted // ROWS * ROWS if hoisted > ROWS else 0 if hoisted < FEW_STEPS else hoisted
    return Cut(n_groups, n_columns, hoisted)


def backward_cut_of(plan: Plan, size: Sizes, n_threads: int) -> Cut:
    """Choose the cut of a backward launch: as forward, but what is computed ahead there is computed afterwards here."""
    cut = cut_of(plan, size, FEW_STEPS, n_threads)
    strips = min(ceil(size.hidden_size, size.line), ceil(size.output_size, size.line)) // size.line
    if min(cut.n_columns, strips) > 1:
        return Cut(1, min(cut.n_columns, strips), 0)
    return Cut(groups_of(plan, n_threads), 1, 0)


def forward_steps(plan: Plan, size: Sizes) -> int:
    """Steps of a forward launch."""
    return max(1, int(FLOPS_A_LAUNCH / (plan.num_directions * size.flops(max(1, plan.batch_size)))))
