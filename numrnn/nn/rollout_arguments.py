"""The arguments of a roll-out: whether the model can feed itself, the noise, what is known in advance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Array, Shape
from numrnn.engine.arrays import ready, real_array
from numrnn.nn.linear import Linear
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.reversed import AnyLayer, Reversed

__all__ = ["Noise", "check_rollout", "read_known", "read_noise"]

Noise = NDArray[np.float64]


def check_rollout(
    head: str, layers: Sequence[AnyLayer], readout: Linear | None, readout_on: str
) -> tuple[list[Recurrent], Linear]:
    """Return a model's layers and its readout, once its predictions are found to be possible next inputs."""
    if readout is None:
        advice = "Make the model with a Linear that predicts the next inputs."
        raise ValueError(
            explain(head, "a roll-out feeds back what `readout` predicts, and this model has none.", advice)
        )
    if readout_on not in ("last", "every"):
        problem = f'a roll-out predicts from the state after each step, and readout_on="{readout_on}" from many.'
        raise ValueError(explain(head, problem, 'Make the model with readout_on="last" or "every".'))
    forward: list[Recurrent] = []
    for layer in layers:
        if isinstance(layer, Reversed):
            problem = "a reversed layer has no roll-out: it begins at the end of the sequence."
            raise NotImplementedError(explain(head, problem, "Make the model of layers that run forwards."))
        if layer.bidirectional:
            problem = "a bidirectional layer has no roll-out: its reverse half begins at the end of the sequence."
            raise NotImplementedError(explain(head, problem, "Make the layers with bidirectional=False."))
        forward.append(layer)
    if readout.out_features > layers[0].input_size:
        problem = f"the readout predicts {readout.out_features} features, and the model reads {layers[0].input_size}."
        advice = "What is predicted is the first of the inputs; the other inputs are passed as `known`."
        raise ValueError(explain(head, problem, advice))
    return forward, readout


def read_noise(head: str, noise: object, columns: int) -> Noise | None:
    """Read the standard deviation of each predicted feature."""
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


def read_known(
    head: str,
    known: object,
    steps: int,
    n_rows: int,
    n_known: int,
    dtype: np.dtype[Any],
    unbatched: bool,
    batch_first: bool,
) -> Array:
    """Read the covariates of the forecast's steps, with three axes; the last step is never needed."""
    if known is None or n_known == 0:
        if known is not None or (n_known and steps > 1):
            _refuse_known(head, known, steps, n_known)
        return np.zeros((1, 1, 1), dtype)
    if isinstance(known, list | tuple) and len({getattr(row, "shape", ()) for row in known}) == 1:
        rows = [real_array(row, head, "known") for row in known]
        known = np.stack(rows, axis=1 if rows[0].ndim == 2 and not batch_first else 0)  # of 2 axes: one a sequence
    array = real_array(known, head, "known")
    batch: Shape = () if unbatched else (n_rows,)
    wanted = [(*batch, n, n_known) if batch_first else (n, *batch, n_known) for n in (steps, steps - 1)]
    if array.shape not in wanted:
        axes = "(batch, time, features)" if batch_first else "(time, batch, features)"
        problem = f"`known` has shape {array.shape}, expected {wanted[0]}, or {wanted[1]} without the last step."
        read = f"It is read as {'(time, features)' if unbatched else axes}; its features are the last {n_known} of the "
        raise ValueError(explain(head, problem, read + "inputs, those that are not predicted."))
    given = ready(array, dtype, head, "known")
    return given[:, None] if unbatched else given


def _refuse_known(head: str, known: object, steps: int, n_known: int) -> NoReturn:
    if n_known == 0:
        problem = "`known` was given, but every input of the model is predicted."
        raise ValueError(explain(head, problem, "Leave it out."))
    problem = f"`known` is missing: {n_known} of the inputs are not predicted."
    advice = f"Pass their values at the {steps} steps of the forecast; those of the last step are not read."
    raise ValueError(explain(head, problem, advice))
