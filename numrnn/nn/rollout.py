"""Forecasts of a model that reads its own predictions: over the history, then through the engine's roll-out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numrnn import _threads
from numrnn._errors import explain
from numrnn._types import Array
from numrnn.engine import forward, memory, rollout
from numrnn.engine.buffers import flat
from numrnn.engine.dropout import Dropout
from numrnn.engine.forms import OneSequence
from numrnn.engine.plan import Call, Plan, kept_plan, plan_call, plan_shape
from numrnn.engine.signature import Signature
from numrnn.engine.states import read_state
from numrnn.nn.linear import Linear
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.rollout_arguments import read_known, read_noise

__all__ = ["forecast"]

_NOISE = 2**64 - 1  # beside the seed: the stream of the noise, apart from those of the layers' masks
_ROWS_AT_ONCE = 512  # of the history, where each path has masks of its own

Start = tuple[Array | None, Array | None]
End = tuple[Array, Array | None]


def forecast(
    head: str,
    layers: Sequence[Recurrent],
    readout: Linear,
    x: Any,
    states: Sequence[Any],
    seeds: Sequence[int | None],
    *,
    steps: int,
    known: object,
    noise: object,
    n_paths: int,
    seed: int,
    lengths: Any,
    n_threads: int | None,
) -> Array:
    """Run over the history x, then feed predictions back; `seeds` are those of the layers' masks."""
    columns, n_known = readout.out_features, layers[0].input_size - readout.out_features
    deviations = read_noise(head, noise, columns)
    sampled = n_paths > 1 or deviations is not None
    masked = sampled and any(layer.dropout and layer.num_layers > 1 for layer in layers)
    if n_paths > 1 and not masked and (deviations is None or not deviations.any()):
        problem = f"n_paths={n_paths} with neither `noise` nor dropout: all paths would be the same."
        advice = "Pass noise=, the standard deviation of the residuals, or make the layers with dropout."
        raise ValueError(explain(head, problem, advice))
    purpose: Any = "last" if len(layers) == 1 else "output"
    call = plan_call(layers[0], x, states[0], lengths=lengths, n_threads=n_threads, purpose=purpose)
    plan, unbatched = call.plan, isinstance(call.form, OneSequence)
    n_rows, batch_first = plan.batch_size, layers[0].batch_first and not unbatched
    given = read_known(head, known, steps, n_rows, n_known, plan.dtype, unbatched, batch_first)
    result_shape = (n_paths, n_rows, steps, columns) if batch_first else (n_paths, steps, n_rows, columns)
    n_bytes = math.prod(result_shape) * plan.dtype.itemsize
    memory.require(n_bytes, head, f"{n_paths} x {n_rows} forecasts of {steps} steps")
    starts: list[Start] = [(call.h_0, call.c_0)]
    for layer, state in zip(layers[1:], states[1:], strict=True):
        read = None if state is None else read_state(layer.signature, None, n_rows, state, unbatched=unbatched)
        starts.append((None, None) if read is None else read)
    masks = [layer._masks(head, own, 0, 0) if masked else None for layer, own in zip(layers, seeds, strict=True)]
    ends = _sampled_history(layers, call, starts, masks, n_paths if masked else 1)
    pasts = [
        rollout.Past(layer.signature, layer._panels(), h, c, dropout)
        for layer, (h, c), dropout in zip(layers, ends, masks, strict=True)
    ]
    result = np.empty(result_shape, plan.dtype)
    known_step, known_row = _apart(given, batch_first)
    result_step, result_row = _apart(result[0], batch_first)
    request = rollout.Request(
        steps=steps,
        first_path=0,
        n_paths=n_paths,
        batch_size=n_rows,
        begin=np.full(n_rows, plan.seq_len) if call.lengths is None else call.lengths,
        known=flat(given),
        n_known=n_known,
        known_step=known_step,
        known_row=known_row,
        result=flat(result),
        path_step=steps * n_rows * columns,
        result_step=result_step,
        result_row=result_row,
        noise=deviations,
        key=np.random.SeedSequence([seed, _NOISE]).generate_state(1, np.uint64)[0] if sampled else np.uint64(0),
    )
    if result.size:
        rollout.run(pasts, readout._panels(), request, _threads.resolve(n_threads))
    if unbatched:
        result = result[:, :, 0]
    return result if n_paths > 1 else result[0]


def _apart(array: Array, batch_first: bool) -> tuple[int, int]:
    """How many numbers steps and rows of (time, batch, features), or (batch, time, features), are apart."""
    first, second = (stride // array.itemsize for stride in array.strides[:2])
    return (second, first) if batch_first else (first, second)


def _history(
    layers: Sequence[Recurrent],
    call: Call,
    starts: Sequence[Start],
    masks: Sequence[Dropout | None],
    path: int,
    n_paths: int,
) -> list[End]:
    """The states (L, paths * N, ...) of each layer after x, the first layer's call, for some paths from `path` on."""
    of = call.plan
    x: Any = call.x
    n_rows = n_paths * of.batch_size
    lengths = call.lengths if call.lengths is None or n_paths == 1 else np.tile(call.lengths, n_paths)
    if n_paths > 1:
        x = np.tile(x, (n_paths, *[1] * (x.ndim - 1)) if of.flat or of.batch_first else (1, n_paths, 1))
    found: list[End] = []
    for k, (layer, start, dropout) in enumerate(zip(layers, starts, masks, strict=True)):
        plan = of if k == 0 and n_paths == 1 else _plan_like(of, layer.signature, n_rows)
        own = None if dropout is None else replace(dropout, row_0=path * of.batch_size)
        h_0, c_0 = (_repeated(part, n_paths) for part in start)
        own_call, last = Call(plan, x, h_0, c_0, lengths), k == len(layers) - 1
        run = forward.run(own_call, layer._panels(), last=last, dropout=own)
        found.append((run.h_n, run.c_n))
        x = run.output
    return found


def _plan_like(of: Plan, signature: Signature, n_rows: int) -> Plan:
    """The plan of a layer over as many steps in the same layout."""
    signature = signature._replace(batch_first=of.batch_first)
    rows_and_steps = (n_rows, of.seq_len) if of.batch_first else (of.seq_len, n_rows)
    shape = (*rows_and_steps, signature.input_size)
    if of.flat:
        return plan_shape(signature, shape, of.n_threads, flat=True)
    return kept_plan(signature, shape, of.n_threads, "output")


def _sampled_history(
    layers: Sequence[Recurrent],
    call: Call,
    starts: Sequence[Start],
    masks: Sequence[Dropout | None],
    n_paths: int,
) -> list[End]:
    """`_history` of all paths, each of which has masks of its own: some at a time."""
    some = max(1, _ROWS_AT_ONCE // max(1, call.plan.batch_size))
    parts = [_history(layers, call, starts, masks, path, min(some, n_paths - path)) for path in range(0, n_paths, some)]
    return [
        (np.concatenate([h for h, _ in ends], axis=1), _joined([c for _, c in ends]))
        for ends in zip(*parts, strict=True)
    ]


def _joined(parts: Sequence[Array | None]) -> Array | None:
    """States of some rows each as one."""
    given = [part for part in parts if part is not None]
    return np.concatenate(given, axis=1) if given else None


def _repeated(part: Array | None, times: int) -> Array | None:
    """The rows of a state (L, N, ...), all of them so many times."""
    return part if part is None or times == 1 else np.tile(part, (1, times, 1))
