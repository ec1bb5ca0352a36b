"""Forecasts of a model that reads its own predictions: arguments, the history, and what the engine rolls out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from numrnn import _threads
from numrnn._errors import explain
from numrnn._types import Array, Shape
from numrnn.engine import forward, memory, rollout
from numrnn.engine.arrays import ready, real_array
from numrnn.engine.buffers import flat
from numrnn.engine.dropout import Dropout
from numrnn.engine.forms import OneSequence
from numrnn.engine.plan import Call, plan_call
from numrnn.nn.linear import Linear
from numrnn.nn.recurrent import Recurrent

__all__ = ["check_rollout", "forecast"]

_NOISE = 2**64 - 1  # beside the seed: the stream of the noise, apart from those of the layers' masks

Noise = NDArray[np.float64]


def check_rollout(head: str, layers: Sequence[Recurrent], readout: Linear | None, readout_on: str) -> Linear:
    """Raise unless a model's predictions can be its next inputs; returns its readout."""
    if readout is None:
        advice = "Make the model with a Linear that predicts the next inputs."
        raise ValueError(
            explain(head, "a roll-out feeds back what `readout` predicts, and this model has none.", advice)
        )
    if readout_on not in ("last", "every"):
        problem = f'a roll-out predicts from the state after each step, and readout_on="{readout_on}" from many.'
        raise ValueError(explain(head, problem, 'Make the model with readout_on="last" or "every".'))
    for layer in layers:
        if layer.bidirectional:
            problem = "a bidirectional layer has no roll-out: its reverse half begins at the end of the sequence."
            raise NotImplementedError(explain(head, problem, "Make the layers with bidirectional=False."))
    if readout.out_features > layers[0].input_size:
        problem = f"the readout predicts {readout.out_features} features, and the model reads {layers[0].input_size}."
        advice = "What is predicted is the first of the inputs; the other inputs are passed as `known`."
        raise ValueError(explain(head, problem, advice))
    return readout


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
    deviations = _read_noise(head, noise, readout.out_features)
    sampled = n_paths > 1 or deviations is not None
    has_masks = sampled and any(layer.dropout and layer.num_layers > 1 for layer in layers)
    if n_paths > 1 and not has_masks and (deviations is None or not deviations.any()):
        problem = f"n_paths={n_paths} with neither `noise` nor dropout: all paths would be the same."
        advice = "Pass noise=, the standard deviation of the residuals, or make the layers with dropout."
        raise ValueError(explain(head, problem, advice))
    top = len(layers) - 1
    call = plan_call(layers[0], x, states[0], lengths=lengths, n_threads=n_threads, purpose="output" if top else "last")
    n_rows, dtype, unbatched = call.plan.batch_size, layers[0].dtype, isinstance(call.form, OneSequence)
    batch_first = layers[0].batch_first and not unbatched
    n_known = layers[0].input_size - readout.out_features
    given = _read_known(head, known, steps, n_rows, n_known, dtype, unbatched, batch_first)
    shape: Shape = (n_rows, steps) if batch_first else (steps, n_rows)
    a_path = steps * n_rows * readout.out_features
    memory.require(n_paths * a_path * dtype.itemsize, head, f"{n_paths} x {n_rows} forecasts of {steps} steps")
    result = np.empty(n_paths * a_path, dtype)

    def masks(path: int) -> list[Dropout | None]:
        if not has_masks:
            return [None] * len(layers)
        return [layer._masks(head, own, 0, path * n_rows) for layer, own in zip(layers, seeds, strict=True)]

    ends = [
        _history(layers, call, states, masks(path), lengths, n_threads) for path in range(n_paths if has_masks else 1)
    ]
    stacks = []
    for k, (layer, dropout) in enumerate(zip(layers, masks(0), strict=True)):
        parts: list[Array | None] = []
        for part in (0, 1):
            of_paths = [end[k][part] for end in ends]
            repeated = of_paths * (1 if has_masks else n_paths)
            parts.append(None if of_paths[0] is None else np.concatenate(repeated, axis=1))
        h, c = parts
        assert h is not None
        stacks.append(rollout.Stack(layer.signature, layer._panels(), h, c, dropout))
    steps_of = np.full(n_rows, call.plan.seq_len) if call.lengths is None else call.lengths
    columns = readout.out_features
    request = rollout.Request(
        steps=steps,
        batch_size=n_rows,
        begin=steps_of,
        known=given,
        n_known=n_known,
        known_step=n_known if batch_first else n_known * n_rows,
        known_row=len(given) // max(1, n_rows) if batch_first else n_known,
        result=result,
        path_step=a_path,
        result_step=columns if batch_first else columns * n_rows,
        result_row=columns * steps if batch_first else columns,
        noise=deviations,
        key=np.random.SeedSequence([seed, _NOISE]).generate_state(1, np.uint64)[0],
    )
    rollout.run(stacks, readout._panels(), request, _threads.resolve(n_threads))
    paths = (n_paths,) if n_paths > 1 else ()
    return result.reshape(*paths, *((steps,) if unbatched else shape), columns)


def _history(
    layers: Sequence[Recurrent],
    call: Call,
    states: Sequence[Any],
    masks: Sequence[Dropout | None],
    lengths: Any,
    n_threads: int | None,
) -> list[tuple[Array, Array | None]]:
    """The states (L, N, ...) of each layer after x; `call` is that of the first layer."""
    top = len(layers) - 1
    output: Any = None
    found: list[tuple[Array, Array | None]] = []
    for k, layer in enumerate(layers):
        if k:
            purpose: Any = "last" if k == top else "output"
            call = plan_call(layer, output, states[k], lengths=lengths, n_threads=n_threads, purpose=purpose)
        run = forward.run(call, layer._panels(), last=k == top, dropout=masks[k])
        found.append((run.h_n, run.c_n))
        output = layer._result(call, run).output
    return found


def _read_noise(head: str, noise: object, columns: int) -> Noise | None:
    if noise is None:
        return None
    array = real_array(noise, head, "noise")
    if array.dtype.kind == "b":
        raise TypeError(explain(head, "`noise` should be a standard deviation, got bool.", "Pass a number."))
    if array.shape not in ((), (columns,)):
        problem = f"`noise` has shape {array.shape}, expected one number, or ({columns},)."
        raise ValueError(explain(head, problem, "It is a standard deviation for each predicted feature."))
    deviations = np.array(np.broadcast_to(array, columns), np.float64)
    if not np.all(np.isfinite(deviations) & (deviations >= 0)):
        raise ValueError(explain(head, f"`noise` should be finite and not negative, got {noise!r}."))
    return deviations


def _read_known(
    head: str,
    known: object,
    steps: int,
    n_rows: int,
    n_known: int,
    dtype: np.dtype[Any],
    unbatched: bool,
    batch_first: bool,
) -> Array:
    """Read the covariates of the forecast's steps, flat; the last step is never needed."""
    if known is None or n_known == 0:
        if known is not None or (n_known and steps > 1):
            _refuse_known(head, known, steps, n_known)
        return np.zeros(1, dtype)
    array = real_array(known, head, "known")
    batch: Shape = () if unbatched else (n_rows,)
    wanted = [(*batch, n, n_known) if batch_first else (n, *batch, n_known) for n in (steps, steps - 1)]
    if array.shape not in wanted:
        axes = (
            "(time, features)" if unbatched else "(batch, time, features)" if batch_first else "(time, batch, features)"
        )
        problem = f"`known` has shape {array.shape}, expected {wanted[0]}, or {wanted[1]} without the last step."
        read = f"It is read as {axes}; its features are the last {n_known} of the inputs, those not predicted."
        raise ValueError(explain(head, problem, read))
    return flat(ready(array, dtype, head, "known"))


def _refuse_known(head: str, known: object, steps: int, n_known: int) -> NoReturn:
    if n_known == 0:
        problem = "`known` was given, but every input of the model is predicted."
        raise ValueError(explain(head, problem, "Leave it out."))
    problem = f"`known` is missing: {n_known} of the inputs are not predicted."
    advice = f"Pass their values at the {steps} steps of the forecast; those of the last step are not read."
    raise ValueError(explain(head, problem, advice))
