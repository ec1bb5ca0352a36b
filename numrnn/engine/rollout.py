"""Roll-out: a stack of layers and its head fed with their own predictions, many steps in a launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine import dense
from numrnn.engine.buffers import reset_flags
from numrnn.engine.dropout import Dropout
from numrnn.engine.geometry import FLOPS_A_LAUNCH, layer_sizes
from numrnn.engine.panels import Panels
from numrnn.engine.plan import FLOPS_A_THREAD, kept_plan
from numrnn.engine.rollout_plan import Assembly, Request, Stack
from numrnn.engine.signature import Signature
from numrnn.engine.steps import Steps
from numrnn.kernels import launch
from numrnn.kernels import rollout as kernels

__all__ = ["Past", "Request", "run"]

Array = NDArray[Any]

_ROWS_A_TASK = 96  # their states stay in L2 while the weights pass by; from 24 to 1000 the speed is the same
_ROWS_AT_ONCE = 4096  # of all tasks: what a row needs beside its result is there for so many


class Past(NamedTuple):
    """A recurrent layer after the history: states of the batch, or of the batch of each path, one after the other."""

    signature: Signature
    panels: Panels
    h: Array  # (L, N, H_out) or (L, paths * N, H_out)
    c: Array | None
    dropout: Dropout | None

    def stack(self, request: Request, all_paths: int) -> Stack:
        """The layer with the rows of the request's paths."""
        rows = slice(request.first_path * request.batch_size, None)
        dropout = None if self.dropout is None else replace(self.dropout, row_0=rows.start)
        n_rows = request.n_paths * request.batch_size

        def own(state: Array) -> Array:
            if all_paths > 1 and state.shape[1] == request.batch_size:
                return np.tile(state, (1, request.n_paths, 1))
            return state[:, rows][:, :n_rows]

        # two steps, each of which reads what the other wrote
        signature = self.signature._replace(batch_first=False)
        plan = kept_plan(signature, (2, n_rows, signature.input_size), 1, "output")
        return Stack(plan, self.panels, own(self.h), None if self.c is None else own(self.c), dropout)


def run(pasts: Sequence[Past], head: dense.DensePanels, request: Request, n_threads: int) -> None:
    """Write the predictions of all steps, at least one number, into `request.result`."""
    some, all_paths = max(1, _ROWS_AT_ONCE // request.batch_size), request.n_paths
    for first in range(0, all_paths, some):
        result = request.result[first * request.path_step :]
        part = request._replace(first_path=first, n_paths=min(some, all_paths - first), result=result)
        stacks = [past.stack(part, all_paths) for past in pasts]
        if _jit.DISABLED or any(stack.plan.spec.name not in kernels.CELL_NUMBERS for stack in stacks):
            _run_by_steps(stacks, head, part)
        else:
            _run(stacks, head, part, n_threads)


def _run(stacks: Sequence[Stack], head: dense.DensePanels, request: Request, n_threads: int) -> None:
    rows, flops = stacks[0].plan.batch_size, 2.0 * stacks[0].plan.batch_size * head.weight.size
    for stack in stacks:
        flops += sum(layer_sizes(stack.plan, layer).flops(rows) for layer in range(stack.plan.num_layers))
    n_threads = max(1, min(n_threads, rows, int(flops * request.steps / FLOPS_A_THREAD)))
    rounds = max(1, -(-rows // (_ROWS_A_TASK * n_threads)))
    made = Assembly(stacks, head, request, min(rows, rounds * n_threads))
    cells = {stack.plan.spec.name for stack in stacks}
    twins = kernels.ROLLOUT[cells.pop() if len(cells) == 1 else None]
    noise = np.zeros(1) if request.noise is None else request.noise
    arrays = (made.keys, noise, request.known, made.memory, made.panels, made.scratch, request.result)
    block = max(1, int(FLOPS_A_LAUNCH / flops))
    for begin in range(0, request.steps, block):
        made.plan[kernels.ROLL_BEGIN] = begin
        made.plan[kernels.ROLL_END] = min(begin + block, request.steps)
        launch.run(twins, n_threads, made.plan, *arrays, reset_flags(None))


def _run_by_steps(stacks: Sequence[Stack], head: dense.DensePanels, request: Request) -> None:
    """Step by step from Python: through the reference, or with cells of a user's own."""
    if any(stack.dropout is not None for stack in stacks):
        if _jit.DISABLED:
            raise NotImplementedError("dropout needs the compiled kernels: unset NUMBA_DISABLE_JIT.")
        raise NotImplementedError("a roll-out with dropout knows the cells of the package alone: RNN, LSTM and GRU.")
    rows, columns = stacks[0].plan.batch_size, len(head.weight)
    steppers = [Steps(stack.plan, stack.panels, stack.h, stack.c) for stack in stacks]
    top = steppers[-1].h[-1]
    for s in range(request.steps):
        y = dense.forward(head, np.ascontiguousarray(top), n_threads=1)
        x = np.empty((rows, columns + request.n_known), y.dtype)
        for r in range(rows):
            path, n = divmod(r, request.batch_size)
            if request.noise is not None:
                with np.errstate(over="ignore"):  # the mixing counts modulo 2^64
                    row_key = np.uint64(kernels.noise_key(request.key, request.first_path + path, n))
                    normal = [kernels.noise_at(row_key, s, k) for k in range(columns)]
                y[r] = y[r] + request.noise * normal
            to = path * request.path_step + s * request.result_step + n * request.result_row
            request.result[to : to + columns] = x[r, :columns] = y[r]
            if s + 1 < request.steps:
                known_at = s * request.known_step + n * request.known_row
                x[r, columns:] = request.known[known_at : known_at + request.n_known]
        if s + 1 < request.steps:
            top = x
            for stepper in steppers:
                top = np.ascontiguousarray(stepper.step(top))
