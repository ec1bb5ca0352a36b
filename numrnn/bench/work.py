"""What a case makes the machine do, phase by phase: operations, bytes read and written, launches, meetings.

It follows the cut that the engine chooses for the case's shape and threads; `roofline` says what becomes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numrnn.bench.cases import Case
from numrnn.engine.geometry import (
    Batch,
    Cut,
    Integers,
    Sizes,
    backward_cut_of,
    cut_of,
    forward_steps,
    layer_sizes,
    threads,
)
from numrnn.engine.plan import Plan, plan_shape
from numrnn.engine.signature import Signature
from numrnn.engine.weight_gradient import ceil
from numrnn.kernels.products import K_BLOCK
from numrnn.kernels.tile import ROWS

__all__ = ["Phase", "Stream", "activations_of", "phases_of"]

_ACTIVATIONS = {"lstm": 5, "gru": 3, "rnn": 1}  # of a hidden unit and step; backward makes the LSTM's tanh(c) again


@dataclass(frozen=True, slots=True)
class Stream:
    """Numbers of one kind that a phase reads or writes.

    Attributes
    ----------
    what
        "weights", "operands" (of a product, other than weights) or "data" (the call's arrays and what it keeps).
    n_bytes
        Of all tasks together.
    own
        Bytes that one task touches before it comes back to the same number: what its caches would have to hold.
    every
        The same of all tasks together, for a cache that they share; what several read counts once.
    """

    what: str
    n_bytes: float
    own: float
    every: float


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a call that begins when the one before has ended.

    `chain` counts multiply-adds that wait for each other whatever the number of threads.
    """

    name: str
    threads: int
    flops: float
    streams: tuple[Stream, ...]
    chain: int = 0
    launches: int = 0
    meetings: int = 0


def activations_of(case: Case) -> int:
    """Sigmoids and tanhs of one call."""
    return (_ACTIVATIONS[case.cell] + (case.training and case.cell == "lstm")) * case.steps * case.shape[3]


def phases_of(case: Case, n_threads: int) -> tuple[Phase, ...]:
    """The phases of one call that may use `n_threads` threads, in order."""
    return tuple(_Layer.of(case, n_threads).phases())


@dataclass(frozen=True, slots=True)
class _Layer:
    """A case as the engine sees it: one layer, one direction."""

    case: Case
    plan: Plan
    size: Sizes
    batch: Batch

    @classmethod
    def of(cls, case: Case, n_threads: int) -> _Layer:
        n, t, i, h = case.shape
        signature = Signature(case.cell, case.spec.name, np.dtype(case.dtype), i, h, 1, True, False)
        plan = plan_shape(signature, (t, n, i), n_threads)
        return cls(case, plan, layer_sizes(plan, 0), Batch.of(plan, case.lengths))

    @property
    def item(self) -> int:
        """Bytes of a number."""
        return self.plan.dtype.itemsize

    @property
    def kept(self) -> int:
        """Numbers that forward keeps of a row and step, beside h."""
        spec = self.plan.spec
        return (len(spec.saved) + spec.has_cell_state) * self.size.hidden_size if self.case.training else 0

    def phases(self) -> Iterator[Phase]:
        """Forward, and where training backward."""
        yield from self._forward()
        if self.case.training:
            yield from self._backward()

    def _data(self, numbers: int, tasks: int) -> Stream:
        """So many numbers a row and step of the call's own arrays, which a call touches all before the next one."""
        size = self.size
        a_step = size.input_size + size.output_size + self.kept
        a_step += (size.input_size + size.output_size) * self.case.training  # d_x, d_output
        every = float(a_step * self.case.steps * self.item)
        return Stream("data", float(numbers * self.case.steps * self.item), every / tasks, every)

    def _tiles(self, cut: Cut) -> tuple[list[Integers], int, int]:
        """Rows of each group by falling length; steps of the groups' longest rows, and tiles of their steps, added."""
        groups = [np.sort(self.batch.lengths[rows])[::-1] for rows in self.batch.groups(cut.n_groups)]
        return groups, sum(int(rows[0]) for rows in groups), sum(int(rows[:: int(ROWS)].sum()) for rows in groups)

    def _streams(
        self, cut: Cut, panel: float, n_panels: int, width: int, passes: int, tiles: int, rows: float
    ) -> Iterator[Stream]:
        """A product of rows of `width` numbers with panels of `panel` bytes, the panels in the outer loop.

        passes   times that all panels are read, all groups added; `rows` of a task take part in one
        tiles    tiles of rows in all passes: those behind a pass's first read the panel that the first one read
        """
        tasks, a_row = cut.n_groups * cut.n_columns, float(width * self.item)
        share, all_rows = -(-n_panels // cut.n_columns) * panel, rows * a_row
        yield Stream(
            "weights",
            passes * n_panels * panel,
            share + all_rows,
            n_panels * panel + cut.n_groups * all_rows,
        )
        again = panel + min(int(ROWS), rows) * a_row
        yield Stream("weights", (tiles - passes) * n_panels * panel, again, again * tasks)
        between = panel + all_rows
        yield Stream("operands", self.case.steps * n_panels * a_row, between, between * tasks)

    def _forward(self) -> Iterator[Phase]:
        plan, size, item, steps = self.plan, self.size, self.item, self.case.steps
        block = min(self.batch.steps, forward_steps(plan, size))
        n_threads = threads(plan, size, int(self.batch.running[:block].sum()))
        cut = cut_of(plan, size, block, n_threads)
        tasks = cut.n_groups * cut.n_columns
        groups, passes, tiles = self._tiles(cut)
        a_group = max(len(rows) for rows in groups)
        flops_x, flops_h = (
            2.0 * size.width * size.input_size * steps,
            2.0 * size.hidden_width * size.output_size * steps,
        )
        launches = -(-self.batch.steps // block)
        chain = self.batch.steps * size.output_size
        meetings = self.batch.steps if cut.n_columns > 1 else 0
        results = size.output_size + self.kept
        if not cut.hoisted:
            streams = self._streams(
                cut,
                float(size.panel_size * item),
                size.n_panels,
                size.input_size + size.output_size,
                passes,
                tiles,
                a_group,
            )
            data = self._data(size.input_size + results, tasks)
            yield Phase("forward", tasks, flops_x + flops_h, (*streams, data), chain, launches, meetings)
            return
        slab_bytes = float(steps * size.n_panels * size.line * item)
        in_use = float(-(-size.n_panels // cut.n_columns) * a_group * cut.hoisted * size.line * item)
        slab = Stream("operands", slab_bytes, in_use, in_use * tasks)
        slabs = sum(-(-int(rows[0]) // cut.hoisted) for rows in groups)
        ahead = sum(_tiles_ahead(int(length), cut.hoisted) for rows in groups for length in rows)
        streams = self._streams(
            cut,
            float((size.input_lines + size.line) * item),
            size.n_panels,
            size.input_size,
            slabs,
            ahead,
            a_group * min(cut.hoisted, self.batch.steps),
        )
        yield Phase("x side", tasks, flops_x, (*streams, slab, self._data(size.input_size, tasks)), 0, launches)
        panel = float((size.panel_size - size.input_lines) * item)
        streams = self._streams(cut, panel, size.n_panels, size.output_size, passes, tiles, a_group)
        yield Phase("steps", tasks, flops_h, (*streams, slab, self._data(results, tasks)), chain, 0, meetings)

    def _backward(self) -> Iterator[Phase]:
        plan, size, item, steps = self.plan, self.size, self.item, self.case.steps
        n_threads = threads(plan, size, self.batch.most_lines)
        cut = backward_cut_of(plan, size, n_threads)
        tasks = cut.n_groups * cut.n_columns
        groups, passes, tiles = self._tiles(cut)
        a_group = max(len(rows) for rows in groups)
        blocks = [int(self.batch.running[begin:end].sum()) for begin, end in self.batch.backward_blocks()]
        arena = float(self.batch.most_lines * (size.slab_stride + size.input_size + size.output_size) * item)

        def of_block(numbers: int) -> Stream:
            """So many numbers a row and step of the slab and the packed operands, which a block uses again."""
            return Stream("operands", float(numbers * steps * item), arena / tasks, arena)

        streams = self._streams(
            cut,
            float(size.hidden_width * size.line * item),
            ceil(size.output_size, size.line) // size.line,
            size.hidden_width,
            passes,
            tiles,
            a_group,
        )
        written = of_block(size.slab_width + size.input_size + size.output_size)
        data = self._data(size.input_size + 2 * size.output_size + self.kept, tasks)
        meetings = self.batch.steps + len(blocks) if cut.n_columns > 1 else 0
        yield Phase(
            "backward",
            tasks,
            2.0 * size.hidden_width * size.output_size * steps,
            (*streams, written, data),
            self.batch.steps * size.hidden_width,
            len(blocks),
            meetings,
        )
        if cut.n_groups == 1:
            tiles = sum(-(-lines // int(ROWS)) for lines in blocks)
        streams = self._streams(
            cut,
            float(size.width * size.line * item),
            ceil(size.input_size, size.line) // size.line,
            size.width,
            len(blocks) * cut.n_groups,
            tiles,
            self.batch.most_lines / cut.n_groups,
        )
        flops = 2.0 * size.width * size.input_size * steps
        yield Phase("d_x", tasks, flops, (*streams, self._data(size.input_size, tasks)))
        tasks = min(n_threads, -(-size.slab_width // int(ROWS)))
        flops = 2.0 * (size.width * size.input_size + size.hidden_width * size.output_size) * steps
        gradient = tuple(self._weight_gradient(blocks, tasks))
        yield Phase("dW", tasks, flops, (*gradient, of_block(2 * size.slab_width)), 0, len(blocks))

    def _weight_gradient(self, blocks: list[int], tasks: int) -> Iterator[Stream]:
        """Both packed operands of the products of each block, and the sums that they are added to."""
        size, item = self.size, self.item
        counts: Counter[int] = Counter()
        for lines in blocks:
            counts[int(K_BLOCK)] += lines // int(K_BLOCK)
            counts[lines % int(K_BLOCK)] += 1
        left_tiles = -(-size.slab_width // int(ROWS))
        for columns, width in ((size.input_size, size.width), (size.output_size, size.hidden_width)):
            stride, met = ceil(columns, size.lanes), -(-width // int(ROWS))
            sums = float(width * columns * item)
            first = (blocks[-1] if blocks else 0) % int(K_BLOCK) or int(K_BLOCK)  # summed first: stored, not added
            for lines, times in counts.items():
                if not lines * times:
                    continue
                panel, left = float(lines * min(size.line, stride) * item), float(lines * int(ROWS) * item)
                between = panel + left
                yield Stream("operands", times * met * lines * float(stride * item), between, between * tasks)
                packed = panel + left * left_tiles / tasks
                n_panels = -(-stride // size.line)
                yield Stream("operands", times * n_panels * met * left, packed, packed * tasks)
                yield Stream(
                    "gradients", (2.0 * times - (lines == first)) * sums, sums / tasks + packed, sums + packed * tasks
                )


def _tiles_ahead(length: int, hoisted: int) -> int:
    """Tiles of a row's steps where `hoisted` of them are computed at a time."""
    whole, rest = divmod(length, hoisted)
    return whole * -(-hoisted // int(ROWS)) + -(-rest // int(ROWS))
