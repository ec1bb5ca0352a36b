"""Forward through a stack of layers: for each layer, time block by time block, one launch over groups of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import by_reference, plans
from numrnn.engine.buffers import aligned, clear_padding, flat, reset_flags
from numrnn.engine.dropout import Dropout
from numrnn.engine.geometry import Batch, Integers, forward_steps, layer_sizes
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Plan
from numrnn.kernels import launch

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """What backward needs: every layer's input, output and workspace, and the weights of the time."""

    plan: Plan
    panels: Panels
    batch: Batch
    inputs: tuple[Array, ...]
    h_0: Array
    resets: Array | None
    dropout: Dropout | None
    outputs: tuple[Array, ...]
    workspaces: tuple[Array, ...]

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
        cells = plans.Workspace.of(self.plan, keep=True).cells(self.workspaces[layer], d)
        return self._readable(cells[:-1] if d else cells[1:])

    def gate(self, name: str, layer: int, d: int) -> Array:
        """One gate of one layer and direction: (T, N, H)."""
        steps = plans.Workspace.of(self.plan, keep=True).gates(self.workspaces[layer], d)
        return self._readable(steps[:, :, self.plan.spec.saved.index(name)])

    def _readable(self, steps: Array) -> Array:
        """Read-only, with zeros where a row has no step."""
        if self.batch.ragged:
            steps = np.where((np.arange(len(steps))[:, None] < self.batch.lengths)[..., None], steps, 0)
        view = steps.view()
        view.flags.writeable = False
        return view


@dataclass(frozen=True, slots=True)
class Run:
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
) -> Run:
    """Run a stack of layers over a validated input; `last` builds no output. Dropout acts between layers."""
    if _jit.DISABLED:
        if dropout is not None:
            raise NotImplementedError("dropout needs the compiled kernels: unset NUMBA_DISABLE_JIT.")
        return by_reference.run(plan, panels, x, h_0, c_0, keep=keep, last=last, lengths=lengths, resets=resets)
    batch = Batch.of(plan, lengths)
    n_states = plan.num_layers * plan.num_directions
    if h_0 is None:
        h_0 = np.zeros((n_states, plan.batch_size, plan.output_size), plan.dtype)
    elif keep:
        h_0 = h_0.copy()  # the user may go on with the array
    h_n = np.empty((n_states, plan.batch_size, plan.output_size), plan.dtype)
    c_n = np.empty((n_states, plan.batch_size, plan.hidden_size), plan.dtype) if plan.spec.has_cell_state else None
    inputs, outputs, workspaces, output = [], [], [], x
    space = plans.Workspace.of(plan, keep=keep)
    for layer in range(plan.num_layers):
        rows = slice(layer * plan.num_directions, (layer + 1) * plan.num_directions)
        stack = _Layer(plan, panels, batch, layer, space, last)
        below = output if dropout is None or layer == 0 else dropout(output, layer - 1, plan.n_threads)
        output, workspace = stack.run(below, h_0[rows], None if c_0 is None else c_0[rows], resets)
        for d in range(plan.num_directions):
            h_n[rows][d] = stack.final_hidden(output, h_0[rows][d], d)
            if c_n is not None:
                c_n[rows][d] = stack.final_cell(workspace, d)
        if keep:
            inputs.append(below)
            outputs.append(output)
            workspaces.append(workspace)
    saved = None
    if keep:
        saved = Saved(plan, panels, batch, tuple(inputs), h_0, resets, dropout, tuple(outputs), tuple(workspaces))
    return Run(None if last else output, h_n, c_n, saved)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's part of a forward pass."""

    plan: Plan
    panels: Panels
    batch: Batch
    layer: int
    space: plans.Workspace
    last: bool

    @property
    def top(self) -> bool:
        return self.layer == self.plan.num_layers - 1

    @property
    def ring(self) -> bool:
        """Whether only two steps of the output are kept."""
        return self.last and self.top

    def run(self, x: Array, h_0: Array, c_0: Array | None, resets: Array | None) -> tuple[Array, Array]:
        """Run the layer; returns its output and the workspace with its cell states."""
        plan = self.plan
        output, workspace = self._output(), self._workspace(c_0)
        if self.batch.steps == 0:
            return output, workspace
        planned = plans.forward(
            plan, self.layer, self.batch, keep=self.space.keep, last=self.last, resets=resets is not None
        )
        scratch = aligned(planned.scratch, plan.dtype)
        arrays = (flat(x), self.panels.forward(self.layer), flat(h_0), flat(output), workspace, scratch)
        block = forward_steps(plan, layer_sizes(plan, self.layer))
        for begin in range(0, self.batch.steps, block):
            request = planned.between(begin, min(begin + block, self.batch.steps))
            launch.run(launch.FORWARD[plan.spec.name], planned.n_threads, request, *arrays, reset_flags(resets))
        return output, workspace

    def _output(self) -> Array:
        """The array that the layer writes: zeros where padding will show, as little as two steps where nothing will."""
        plan = self.plan
        features = plan.num_directions * plan.output_size
        if self.ring:
            return np.empty((min(2, plan.seq_len), plan.batch_size, features), plan.dtype)
        if not self.top:
            return np.empty((plan.seq_len, plan.batch_size, features), plan.dtype)
        if plan.flat:
            return np.empty((int(self.batch.lengths.sum()), features), plan.dtype)
        output = np.empty(plan.output_shape, plan.dtype)
        if self.batch.ragged:
            clear_padding(output, self.batch.lengths, batch_first=plan.batch_first)
        return output

    def _ends(self, steps: int) -> Any:
        """Index of each row's own end among so many steps or slots, for arrays (steps, N, ...)."""
        if not self.batch.ragged:
            return steps - 1
        return self.batch.lengths - self.plan.seq_len + steps - 1, np.arange(self.plan.batch_size)

    def _workspace(self, c_0: Array | None) -> Array:
        plan, space = self.plan, self.space
        workspace = aligned(plan.num_directions * space.size, plan.dtype)
        if space.has_c:
            for d in range(plan.num_directions):
                cells = self.space.cells(workspace, d)
                # the reverse direction begins at each row's own end
                cells[self._ends(space.slots) if d and space.keep else 0] = 0 if c_0 is None else c_0[d]
        return workspace

    def final_cell(self, workspace: Array, d: int) -> Array:
        """The cell state after each row's own last step."""
        cells = self.space.cells(workspace, d)
        final: Array = cells[0 if d or not self.space.keep else self._ends(self.space.slots)]
        return final

    def final_hidden(self, output: Array, h_0: Array, d: int) -> Array:
        """h_t after each row's own last step; for an empty row the state given."""
        plan, batch, size = self.plan, self.batch, self.plan.output_size
        if batch.steps == 0:
            return h_0
        own = output[..., d * size : (d + 1) * size]
        if not batch.ragged:
            steps = own.swapaxes(0, 1) if plan.batch_first and self.top and not self.ring else own
            whole: Array = steps[(plan.seq_len - 1) % 2 if self.ring else 0 if d else -1]
            return whole
        if self.ring:
            found = own[(batch.lengths - 1) % 2 % len(output), np.arange(plan.batch_size)]
        else:
            placed = plans.placements(plan, self.layer, batch)[1]
            at = placed.start if d else placed.start + (batch.lengths - 1) * placed.step
            rows = own.reshape(-1, size)
            found = rows[np.clip(at, 0, len(rows) - 1)]  # an empty row has none
        return np.where((batch.lengths > 0)[:, None], found, h_0)
