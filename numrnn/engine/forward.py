"""Forward through a stack of layers: for each layer, time block by time block, one launch over groups of rows."""

from __future__ import annotations

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
from numrnn.engine.plan import Plan
from numrnn.engine.segments import Segments
from numrnn.engine.workspace import Workspace
from numrnn.kernels import launch

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """What backward needs: every layer's input, output and workspace, and the weights of the time.

    With `segments` there are no workspaces but, for each layer, the cell states at the begin of every segment; and of
    inputs that are masked outputs, which `input` makes again, nothing.
    """

    plan: Plan
    panels: Panels
    batch: Batch
    inputs: tuple[Array | None, ...]
    h_0: Array
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
            flat(self.h_0[plan.states_of(layer)]),
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
    plan: Plan,
    panels: Panels,
    x: Array,
    h_0: Array | None,
    c_0: Array | None,
    *,
    keep: bool,
    last: bool = False,
    lengths: Integers | None = None,
    resets: Array | None = None,
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
        return by_reference.run(plan, panels, x, h_0, c_0, keep=keep, last=last, lengths=lengths, resets=resets)
    recompute = recompute and bool(plan.spec.saved)  # of a plain recurrent layer outputs are all that is kept anyway
    keep_all = keep and not recompute
    stages = _stages(plan, lengths, keep=keep_all, last=last, resets=resets is not None)
    segments = Segments.of(plan, stages[0].batch, recompute) if recompute else None
    if h_0 is None:
        h_0 = stages[0].zeros
    elif keep:
        h_0 = h_0.copy()  # the user may go on with the array
    h_n = np.empty(plan.state_shape, plan.dtype)
    c_n: Array | None = None
    if plan.spec.has_cell_state:  # without `keep` kernels take it from the initial state to the last in place
        c_n = np.zeros(plan.cell_shape, plan.dtype) if c_0 is None else c_0.copy()
    inputs, outputs, workspaces, output = [], [], [], x
    for layer, stage in enumerate(stages):
        below = output if dropout is None or layer == 0 else dropout(output, layer - 1, plan.n_threads)
        c = None if c_n is None else c_n[stage.rows]
        workspace = stage.workspace(c) if keep_all else _NOTHING[plan.dtype] if c is None else c.reshape(-1)
        checkpoints = None if segments is None else np.empty((len(segments.bounds), workspace.size), plan.dtype)
        output = stage.run(below, panels, h_0, workspace, resets, segments, checkpoints)
        stage.read_final_hidden(output, h_0, h_n)
        if keep:
            if c is not None and keep_all:
                stage.read_final_cells(workspace, c)
            inputs.append(None if segments is not None and dropout is not None and layer else below)
            outputs.append(output)
            workspaces.append(workspace if checkpoints is None else checkpoints)
    saved = None
    if keep:
        batch = stages[0].batch
        arrays = (tuple(inputs), h_0, resets, dropout, tuple(outputs), tuple(workspaces))
        saved = Saved(plan, panels, batch, *arrays, segments)
    return Run(None if last else output, h_n, c_n, saved)


_NOTHING = {np.dtype(name): np.zeros(1, name) for name in ("float32", "float64")}


def _stages(plan: Plan, lengths: Integers | None, *, keep: bool, last: bool, resets: bool) -> tuple[_Stage, ...]:
    """What a call of these shapes does, layer by layer; kept with the plan where it is worth it."""
    stages: tuple[_Stage, ...] | None = plan.prepared.get((keep, last, resets)) if lengths is None else None
    if stages is None:
        batch, zeros = Batch.of(plan, lengths), np.zeros(plan.state_shape, plan.dtype)
        stages = tuple(
            _Stage.of(plan, batch, layer, zeros, keep=keep, last=last, resets=resets)
            for layer in range(plan.num_layers)
        )
        if plans.kept(plan, batch):
            plan.prepared[keep, last, resets] = stages
    return stages


@dataclass(frozen=True, slots=True)
class _Stage:
    """One layer's part of a forward pass."""

    plan: Plan
    batch: Batch
    layer: int
    space: Workspace
    ring: bool  # only two steps of the output are kept
    planned: plans.Launch | None  # None: no step
    twins: tuple[Any, Any]
    block: int  # steps of a launch
    rows: slice  # of a state: this layer's
    output_shape: Shape
    ends: tuple[Any, ...]  # where the output holds each direction's last state, unless rows differ
    zeros: Array  # a state of the whole stack
    flat_zeros: Array
    scratches: Scratches

    @classmethod
    def of(cls, plan: Plan, batch: Batch, layer: int, zeros: Array, *, keep: bool, last: bool, resets: bool) -> _Stage:
        """Prepare a layer of a call."""
        top, features = layer == plan.num_layers - 1, plan.num_directions * plan.output_size
        ring, space = last and top, Workspace.of(plan, keep=keep)
        planned = None
        if batch.steps:
            planned = forward_plans.forward(plan, layer, batch, space, last=last, resets=resets)
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
        rows = plan.states_of(layer)
        return cls(
            plan,
            batch,
            layer,
            space,
            ring,
            planned,
            launch.FORWARD[plan.spec.name],
            forward_steps(plan, layer_sizes(plan, layer)),
            rows,
            shape,
            tuple(ends),
            zeros,
            flat(zeros[rows]),
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
        if self.planned is None:
            return np.zeros(self.output_shape, self.plan.dtype)
        output = np.empty(self.output_shape, self.plan.dtype)
        scratch = self.scratches.borrow(self.planned.scratch)
        start = self.flat_zeros if h_0 is self.zeros else flat(h_0[self.rows])
        arrays = (
            flat(x),
            panels.forward(self.layer),
            start,
            output.reshape(-1),
            workspace,
            scratch,
            reset_flags(resets),
        )
        if segments is None or checkpoints is None:
            self.planned.run_steps(0, self.batch.steps, self.block, self.twins, scratch, arrays)
        else:
            for (begin, end), checkpoint in zip(segments.bounds, checkpoints, strict=True):
                checkpoint[:] = workspace
                self.planned.run_steps(begin, end, self.block, self.twins, scratch, arrays)
        self.scratches.give_back(scratch)
        return output

    def _own_ends(self) -> Any:
        """Index of each row's own end among all slots of cell states."""
        if not self.batch.ragged:
            return self.space.slots - 1
        return self.batch.lengths - self.plan.seq_len + self.space.slots - 1, np.arange(self.plan.batch_size)

    def workspace(self, c_0: Array | None) -> Array:
        """Memory for all that backward needs, with the initial cell states in their places."""
        workspace = aligned(self.plan.num_directions * self.space.size, self.plan.dtype)
        if c_0 is not None:
            for d in range(self.plan.num_directions):  # the reverse direction begins at each row's own end
                self.space.cells(workspace, d)[self._own_ends() if d else 0] = c_0[d]
        return workspace

    def read_final_cells(self, workspace: Array, c_n: Array) -> None:
        """Copy the cell state after each row's own last step."""
        for d in range(self.plan.num_directions):
            c_n[d] = self.space.cells(workspace, d)[0 if d else self._own_ends()]

    def read_final_hidden(self, output: Array, h_0: Array, h_n: Array) -> None:
        """Copy h_t after each row's own last step; of an empty row the state given."""
        first = self.layer * self.plan.num_directions
        for d, end in enumerate(self.ends):
            if self.planned is None:
                h_n[first + d] = h_0[first + d]
            elif self.batch.ragged:
                h_n[first + d] = self._final_hidden(output, h_0[first + d], d)
            else:
                h_n[first + d] = output[end]

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
