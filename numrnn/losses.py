"""Losses: a value, and its gradient with respect to the prediction."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Array, ArrayLike, Shape
from numrnn.engine.arrays import real_array

__all__ = ["mse"]


def mse(
    prediction: ArrayLike, target: ArrayLike, *, lengths: ArrayLike | None = None, weight: ArrayLike | None = None
) -> tuple[float, Array]:
    """Mean squared error, weighted: sum(weight * (prediction - target)^2) / sum(weight).

    Parameters
    ----------
    prediction : array
        Of any shape.
    target : array
        In the shape of the prediction; nothing is broadcast.
    lengths
        Not implemented in this version.
    weight : array, optional
        One number, 0 or more, for each number of the prediction; or for each vector along its last axis. Where it is 0
        the target may be anything, NaN included. None: all count alike.

    Returns
    -------
    value : float
        Computed in float64.
    d_prediction : array
        The gradient of the value, in the prediction's shape and dtype (float64 if that is not a float type of ours).

    Raises
    ------
    ValueError
        Shapes that differ, a weight that is negative, infinite or NaN, a sum of weights that is infinite, or nothing
        that counts.
    TypeError
        Something that is no array of real numbers.
    NotImplementedError
        `lengths`.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> value, d_prediction = losses.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> value, d_prediction
    (2.0, array([ 0., -2.]))
    >>> losses.mse([1.0, 2.0], [np.nan, 4.0], weight=[0.0, 1.0])[0]
    4.0
    """
    head = "losses.mse"
    if lengths is not None:
        raise NotImplementedError(
            explain(
                head,
                "`lengths` is not implemented in this version: all rows have one length.",
                "Pass a `weight` that is 0 at padded steps.",
            )
        )
    predicted, wanted = real_array(prediction, head, "prediction"), real_array(target, head, "target")
    if predicted.shape != wanted.shape:
        _refuse_target(head, predicted.shape, wanted.shape)
    difference = predicted.astype(np.float64) - wanted
    if weight is None:
        total = float(predicted.size)
        weighted = difference
    else:
        weights = _read_weight(head, weight, predicted.shape)
        with np.errstate(over="ignore"):
            total = float(np.sum(np.broadcast_to(weights, predicted.shape)))
        if total == np.inf:
            raise ValueError(explain(head, "the sum of `weight` overflows float64.", "Pass weight / weight.max()."))
        difference = np.where(weights > 0.0, difference, 0.0)
        weighted = weights * difference
    if not total:
        raise ValueError(
            explain(
                head,
                "there is nothing to average: `prediction` is empty or all weights are 0.",
                f"prediction.shape = {predicted.shape}.",
            )
        )
    value = float(np.sum(weighted * difference)) / total
    dtype = predicted.dtype.newbyteorder("=") if predicted.dtype.name in ("float32", "float64") else np.float64
    return value, (weighted * (2.0 / total)).astype(dtype)


def _read_weight(head: str, weight: object, shape: Shape) -> NDArray[np.float64]:
    """Return the weights in float64, in a shape that broadcasts over `shape`."""
    array: NDArray[Any] = real_array(weight, head, "weight")
    if array.shape != shape and array.shape != shape[:-1]:
        raise ValueError(
            explain(
                head,
                f"`weight` has shape {array.shape}, expected {shape} or {shape[:-1]}, which is without the last axis.",
                "For one weight a sequence spread it: np.broadcast_to(weight, ...) with a step axis.",
            )
        )
    weights = array.astype(np.float64)
    if not np.all((weights >= 0.0) & (weights < np.inf)):
        problem = "`weight` has entries that are negative, infinite or NaN."
        raise ValueError(explain(head, problem, "Weights are finite and 0 or more."))
    return weights if weights.shape == shape else weights[..., None]


def _refuse_target(head: str, prediction: Shape, target: Shape) -> NoReturn:
    """Say why shapes that NumPy would broadcast are no pair."""
    advice = "Pass one target for each number of the prediction."
    if prediction == (*target, 1):
        advice = "Pass target[..., None]."
    elif target == (*prediction, 1):
        advice = "Pass target[..., 0]."
    elif len(prediction) == len(target) == 3 and prediction == (target[1], target[0], target[2]):
        advice = "Its axes of time and batch are swapped: pass target.swapaxes(0, 1)."
    elif len(target) == 3 and prediction in ((target[0], target[2]), (target[1], target[2])):
        advice = 'The model predicts on the last state, the target has steps: make it with readout_on="every".'
    elif len(prediction) == 3 and target in (prediction[::2], prediction[1:]):
        advice = 'The model predicts on every state, the target has no steps: make it with readout_on="last".'
    problem = f"`target` has shape {target}, expected the prediction's {prediction}; nothing is broadcast."
    raise ValueError(explain(head, problem, advice))
