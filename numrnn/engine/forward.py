"""Forward through a stack of layers: for each layer, time block by time block, one launch over groups of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn._types import Shape
from numrnn.engine import by_reference, forward_plans, plans
from numrnn.engine.buffers import SCRATCHES, Scratches, aligned, flat, reset_flags
from numrnn.engine.dropout import Dropout
from numrnn.engine.geometry import Batch, Integers, forward_steps, layer_sizes
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Call, Plan
from numrnn.engine.segments import Segments
from numrnn.engine.workspace import Workspace
from numrnn.kernels import launch

Array = NDArray[Any]


class Saved(NamedTuple):
    """What backward needs: every layer's input, output and workspace, and the weights of the time.

    With `segments` there are no workspaces but, for each layer, the cell states at the begin of every segment; and of
    inputs that are masked outputs, which `input` makes again, nothing.
    """

    plan: Plan
    panels: Panels
    batch: Batch
    inputs: tuple[Array | None, ...]
    h_0: Array  # flat
    resets: Array | None
    dropout: Dropout | None
    outputs: tuple[Array, ...]
    workspaces: tuple[Array, ...]
    segments: Segments | None

    def input(self, layer: int) -> Array:
        """What the layer read."""
        kept = self.inputs[layer]
        if kept is None:
            assert self.dropout is not None
            return self.dropout(self.outputs[layer - 1], layer - 1, self.plan.n_threads)
        return kept

    def start(self, layer: int) -> Array:
        """The layer's part of the initial hidden states, flat."""
        return self.h_0[self.plan.state_of(layer, self.plan.output_size)]

    def rebuild(self, layer: int, x: Array, k: int, workspace: Array) -> None:
        """Write what forward did not keep of one segment: its cell states and gates."""
        assert self.segments is not None
        plan, space, (begin, end) = self.plan, self.segments.space, self.segments.bounds[k]
        key = ("again", layer, space.steps, self.resets is not None)
        planned: plans.Launch | None = None if self.batch.ragged else plan.prepared.get(key)
        if planned is None:
            planned = forward_plans.forward(plan, layer, self.batch, space, last=False, resets=self.resets is not None)
            if plans.kept(plan, self.batch):
                plan.prepared[key] = planned
        if space.has_c:
            for d, c in enumerate(self.workspaces[layer][k].reshape(plan.num_directions, plan.batch_size, -1)):
                space.cells(workspace, d)[0] = c
        scratch = SCRATCHES[plan.dtype].borrow(planned.scratch)
        arrays = (
            flat(x),
            self.panels.forward(layer),
            self.start(layer),
            flat(self.outputs[layer]),
            workspace,
            scratch,
            reset_flags(self.resets),
        )
        block = forward_steps(plan, layer_sizes(plan, layer))
        planned.run_steps(begin, end, block, launch.FORWARD[plan.spec.name], scratch, arrays, since=begin)
        SCRATCHES[plan.dtype].give_back(scratch)

    def hidden(self, layer: int, d: int) -> Array:
        """h_t of one layer and direction: (T, N, H_out), in order of time; zeros where a row has no step."""
        size = self.plan.output_size
        output = self.outputs[layer]
        if layer == self.plan.num_layers - 1:
            if self.plan.flat:
                padded = np.zeros((self.plan.seq_len, self.plan.batch_size, output.shape[-1]), output.dtype)
                valid = np.arange(self.plan.seq_len)[:, None] < self.batch.lengths
                padded.swapaxes(0, 1)[valid.T] = output
                output = padded
            elif self.plan.batch_first:
                output = output.swapaxes(0, 1)
        return self._readable(output[..., d * size : (d + 1) * size])

    def cell(self, layer: int, d: int) -> Array:
        """c_t of one layer and direction: (T, N, H)."""
        cells = Workspace.of(self.plan, keep=True).cells(self.workspaces[layer], d)
        return self._readable(cells[:-1] if d else cells[1:])

    def gate(self, name: str, layer: int, d: int) -> Array:
        """One gate of one layer and direction: (T, N, H)."""
        steps = Workspace.of(self.plan, keep=True).gates(self.workspaces[layer], d)
        return self._readable(steps[:, :, self.plan.spec.saved.index(name)])

    def _readable(self, steps: Array) -> Array:
        """Read-only, with zeros where a row has no step."""
        if self.batch.ragged:
            steps = np.where((np.arange(len(steps))[:, None] < self.batch.lengths)[..., None], steps, 0)
        view = steps.view()
        view.flags.writeable = False
        return view


class Run(NamedTuple):
    """What a forward pass gives: `saved` is for `backward.run` and None where nothing was kept."""

    output: Array | None
    h_n: Array
    c_n: Array | None
    saved: Any


def run(
    call: Call,
    panels: Panels,
    *,
    keep: bool = False,
    last: bool = False,
    dropout: Dropout | None = None,
    recompute: bool | int = False,
) -> Run:
    """Run a stack of layers over a validated input; `last` builds no output. Dropout acts between layers.

    With `recompute`, True or a number of steps, what backward needs is kept for it to rebuild the rest.
    """
    if _jit.DISABLED:
        if dropout is not None or recompute:
            what = "dropout" if dropout is not None else "recompute"
            raise NotImplementedError(f"{what} needs the compiled kernels: unset NUMBA_DISABLE_JIT.")
        return by_reference.run(call, panels, keep=keep, last=last)
    plan, x, h_0, c_0, lengths, resets, _ = call
    if recompute and not plan.spec.saved:
        recompute = False  # of a plain recurrent layer outputs are all that is kept anyway
    keep_all = keep and not recompute
    stages: tuple[_Stage, ...] | None = None
    if lengths is None:
        stages = plan.prepared.get((keep_all, last, resets is not None))
    if stages is None:
        stages = _stages(plan, lengths, keep=keep_all, last=last, resets=resets is not None)
    segments = Segments.of(plan, stages[0].batch, recompute) if recompute else None
    if h_0 is not None and keep:
        h_0 = h_0.copy()  # the user may go on with the array
    start = stages[0].zeros if h_0 is None else flat(h_0)
    dtype, h_n = plan.dtype, None
    c_n = c = None
    if plan.spec.has_cell_state:  # without `keep` kernels take it from the initial state to the last in place
        c_n = np.zeros(plan.cell_shape, dtype) if c_0 is None else c_0.copy()
        c = c_n.ravel()
    inputs, outputs, workspaces, output = [], [], [], x
    for stage in stages:
        below = output
        if dropout is not None and stage.layer:
            below = dropout(output, stage.layer - 1, plan.n_threads)
        own_c = c if c is None or stage.cells is None else c[stage.cells]
        workspace = stage.workspace(own_c) if keep_all else stage.nothing if own_c is None else own_c
        checkpoints = None if segments is None else np.empty((len(segments.bounds), workspace.size), dtype)
        own_h = start if stage.hidden is None else start[stage.hidden]
        output = stage.run(below, panels, own_h, workspace, resets, segments, checkpoints)
        if stage.final is not None:
            h_n = (output if stage.is_last_state else output[stage.final]).copy()
        else:
            h_n = np.empty(plan.state_shape, dtype) if h_n is None else h_n
            stage.read_final_hidden(output, own_h, h_n)
        if keep:
            if own_c is not None and keep_all:
                stage.read_final_cells(workspace, own_c)
            inputs.append(None if segments is not None and dropout is not None and stage.layer else below)
            outputs.append(output)
            workspaces.append(workspace if checkpoints is None else checkpoints)
    assert h_n is not None
    saved = None
    if keep:
        arrays = (tuple(inputs), start, resets, dropout, tuple(outputs), tuple(workspaces))
        saved = Saved(plan, panels, stages[0].batch, *arrays, segments)
    return tuple.__new__(Run, (None if last else output, h_n, c_n, saved))  # half the time of Run(...)


def _stages(plan: Plan, lengths: Integers | None, *, keep: bool, last: bool, resets: bool) -> tuple[_Stage, ...]:
    """What a call of these shapes does, layer by layer; kept with the plan where it is worth it."""
    batch = Batch.of(plan, lengths)
    stages = tuple(
        _Stage.of(plan, batch, layer, keep=keep, last=last, resets=resets) for layer in range(plan.num_layers)
    )
    if plans.kept(plan, batch):
        plan.prepared[keep, last, resets] = stages
    return stages


_NOTHING = {np.dtype(name): np.zeros(1, name) for name in ("float32", "float64")}


@dataclass(frozen=True, slots=True)
class _Stage:
    """One layer's part of a forward pass."""

    plan: Plan
    batch: Batch
    layer: int
    space: Workspace
    ring: bool  # only two steps of the output are kept
    planned: plans.Launch | None  # None: no step
    at_once: Integers | None  # the request for all steps in one launch on one thread, where that is what is planned
    twins: tuple[Any, Any]
    block: int  # steps of a launch
    hidden: slice | None  # of the stack's flat hidden states, which are this layer's; None: all
    cells: slice | None  # of its cell states
    output_shape: Shape
    ends: tuple[Any, ...]  # where the output holds each direction's last state, unless rows differ
    final: Any  # where it holds them all, (1, N, H_out), if there is but one
    is_last_state: bool  # output is as large and holds nothing else
    workspace_size: int
    cell_places: tuple[tuple[slice, slice, slice], ...]  # of each direction: in a state, before and after a full row
    zeros: Array  # a flat hidden state of the whole stack
    nothing: Array
    scratches: Scratches

    @classmethod
    def of(cls, plan: Plan, batch: Batch, layer: int, *, keep: bool, last: bool, resets: bool) -> _Stage:
        """Prepare a layer of a call."""
        top, features = layer == plan.num_layers - 1, plan.num_directions * plan.output_size
        ring, space = last and top, Workspace.of(plan, keep=keep)
        planned = at_once = None
        block = forward_steps(plan, layer_sizes(plan, layer))
        if batch.steps:
            planned = forward_plans.forward(plan, layer, batch, space, last=last, resets=resets)
            at_once = planned.whole if planned.n_threads == 1 and batch.steps <= block else None
        if ring:
            shape: Shape = (min(2, plan.seq_len), plan.batch_size, features)
        elif not top:
            shape = (plan.seq_len, plan.batch_size, features)
        else:
            shape = (int(batch.lengths.sum()), features) if plan.flat else plan.output_shape
        ends = []
        for d in range(plan.num_directions):
            step = (plan.seq_len - 1) % 2 if ring else 0 if d else -1
            own = slice(d * plan.output_size, (d + 1) * plan.output_size)
            ends.append((slice(None), step, own) if plan.batch_first and top and not ring else (step, slice(None), own))
        final = None
        if plan.num_layers * plan.num_directions == 1 and planned is not None and not batch.ragged:
            final = (None, *ends[0])
        cell_places = []
        for d in range(plan.num_directions if plan.spec.has_cell_state else 0):
            first = slice(d * space.size, d * space.size + space.a_state)
            end = d * space.size + space.cells_size
            last_slot = slice(end - space.a_state, end)
            own = slice(d * space.a_state, (d + 1) * space.a_state)
            cell_places.append((own, last_slot, first) if d else (own, first, last_slot))
        of_hidden, of_cells = (
            plan.state_of(layer, size) if plan.num_layers > 1 else None for size in (plan.output_size, plan.hidden_size)
        )
        return cls(
            plan,
            batch,
            layer,
            space,
            ring,
            planned,
            at_once,
            launch.FORWARD[plan.spec.name],
            block,
            of_hidden,
            of_cells,
            shape,
            tuple(ends),
            final,
            final is not None and shape == plan.state_shape,
            plan.num_directions * space.size,
            tuple(cell_places),
            np.zeros(max(1, math.prod(plan.state_shape)), plan.dtype),
            _NOTHING[plan.dtype],
            SCRATCHES[plan.dtype],
        )

    def run(
        self,
        x: Array,
        panels: Panels,
        h_0: Array,
        workspace: Array,
        resets: Array | None,
        segments: Segments | None = None,
        checkpoints: Array | None = None,
    ) -> Array:
        """Run the layer; returns its output. Of segments the workspace at the begin of each goes to `checkpoints`."""
        planned = self.planned
        if planned is None:
            return np.zeros(self.output_shape, self.plan.dtype)
        output = np.empty(self.output_shape, self.plan.dtype)
        scratch = self.scratches.borrow(planned.scratch)
        arrays = (
            flat(x),
            panels.forward(self.layer),
            h_0,
            output.ravel(),
            workspace,
            scratch,
            reset_flags(resets),
        )
        if self.at_once is not None and segments is None:
            self.twins[0](self.at_once, *arrays)
        elif segments is None or checkpoints is None:
            planned.run_steps(0, self.batch.steps, self.block, self.twins, scratch, arrays)
        else:
            for (begin, end), checkpoint in zip(segments.bounds, checkpoints, strict=True):
                checkpoint[:] = workspace
                planned.run_steps(begin, end, self.block, self.twins, scratch, arrays)
        self.scratches.give_back(scratch)
        return output

    def workspace(self, c_0: Array | None) -> Array:
        """Memory for all that backward needs, with the initial cell states in their places."""
        workspace = aligned(self.workspace_size, self.plan.dtype)
        if c_0 is not None:
            for d, (own, first, _) in enumerate(self.cell_places):
                if d and self.batch.ragged:  # the reverse direction begins at each row's own end
                    self.space.cells(workspace, d)[self._own_ends()] = c_0[own].reshape(-1, self.plan.hidden_size)
                else:
                    workspace[first] = c_0[own]
        return workspace

    def read_final_cells(self, workspace: Array, c_n: Array) -> None:
        """Copy the cell state after each row's own last step."""
        for d, (own, _, last) in enumerate(self.cell_places):
            if not d and self.batch.ragged:
                c_n[own].reshape(-1, self.plan.hidden_size)[:] = self.space.cells(workspace, d)[self._own_ends()]
            else:
                c_n[own] = workspace[last]

    def _own_ends(self) -> Any:
        """Index of each row's own end among all slots of cell states."""
        return self.batch.lengths - self.plan.seq_len + self.space.slots - 1, np.arange(self.plan.batch_size)

    def read_final_hidden(self, output: Array, h_0: Array, h_n: Array) -> None:
        """Copy h_t after each row's own last step; of an empty row the state given."""
        own = h_n[self.plan.states_of(self.layer)]
        if self.planned is not None and not self.batch.ragged:
            for h, end in zip(own, self.ends, strict=True):
                h[:] = output[end]
            return
        own[:] = h_0[: own.size].reshape(own.shape)
        if self.planned is not None:
            for d, h in enumerate(own):
                h[:] = self._final_hidden(output, h, d)

    def _final_hidden(self, output: Array, h_0: Array, d: int) -> Array:
        plan, batch, size = self.plan, self.batch, self.plan.output_size
        own = output[..., d * size : (d + 1) * size]
        if self.ring:
            found = own[(batch.lengths - 1) % 2 % len(output), np.arange(plan.batch_size)]
        else:
            placed = plans.placements(plan, self.layer, batch)[1]
            at = placed.start if d else placed.start + (batch.lengths - 1) * placed.step
            rows = own.reshape(-1, size)
            found = rows[np.clip(at, 0, len(rows) - 1)]  # an empty row has none
        return np.where((batch.lengths > 0)[:, None], found, h_0)
