"""Roll-out: a stack of layers and its head fed with their own predictions, many steps in a launch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numrnn import _jit
from numrnn.engine import dense
from numrnn.engine.buffers import reset_flags
from numrnn.engine.geometry import FLOPS_A_LAUNCH, layer_sizes
from numrnn.engine.plan import FLOPS_A_THREAD, Plan, kept_plan
from numrnn.engine.rollout_plan import Assembly, Request, Stack
from numrnn.engine.signature import Signature
from numrnn.engine.steps import Steps
from numrnn.kernels import launch
from numrnn.kernels import rollout as kernels

__all__ = ["Request", "Stack", "plan_of", "run"]

_ROWS_A_TASK = 96  # their states stay in L2 while the weights pass by; from 24 to 1000 the speed is the same


def plan_of(signature: Signature, n_rows: int) -> Plan:
    """The plan of two steps, each of which reads what the other wrote."""
    signature = signature._replace(batch_first=False)
    return kept_plan(signature, (2, n_rows, signature.input_size), 1, "output")


def run(stacks: Sequence[Stack], head: dense.DensePanels, request: Request, n_threads: int) -> None:
    """Write the predictions of all steps, at least one number, into `request.result`."""
    if _jit.DISABLED:
        _run_by_reference(stacks, head, request)
        return
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


def _run_by_reference(stacks: Sequence[Stack], head: dense.DensePanels, request: Request) -> None:
    """Step by step through the reference."""
    if any(stack.dropout is not None for stack in stacks):
        raise NotImplementedError("dropout needs the compiled kernels: unset NUMBA_DISABLE_JIT.")
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
                    row_key = np.uint64(kernels.noise_key(request.key, path, n))
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
