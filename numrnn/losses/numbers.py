"""Losses that compare number by number: squared, absolute, Huber's, and binary cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from numrnn import _jit
from numrnn._errors import explain
from numrnn._types import Array, ArrayLike, Shape
from numrnn.kernels import losses as kernels
from numrnn.losses.pairs import Pair, read_pair
from numrnn.nn.arguments import number

__all__ = ["binary_cross_entropy", "huber", "mae", "mse"]


def mse(
    prediction: Any,
    target: Any,
    *,
    lengths: ArrayLike | None = None,
    weight: Any = None,
    batch_first: bool | None = None,
) -> tuple[float, Any]:
    """Mean squared error, weighted: sum(weight * (prediction - target)^2) / sum(weight).

    Parameters
    ----------
    prediction : array of any shape, list of arrays (T_n, ...), or PackedSequence
        Of a list or a packed sequence all steps count alike.
    target : in the form and shape of the prediction
        Nothing is broadcast.
    lengths : array of int (N,), optional
        Steps of each sequence; later ones do not count and may be anything, NaN included. The first two axes of the
        prediction are time and batch. Arrays only.
    weight : array, optional
        One number, 0 or more, for each number of the prediction; or for each vector along its last axis; or, where the
        axis of sequences is known, (N,), one a sequence. Where it is 0 the target may be anything, NaN included. None:
        all count alike. For a list or a packed sequence in the same form, or (N,).
    batch_first : bool, optional
        Whether the axes are (batch, time), not (time, batch). None: the axis that has as many entries as `lengths`.

    Returns
    -------
    value : float
        Computed in float64.
    d_prediction : in the form of the prediction
        The gradient of the value, in the prediction's shape and dtype (float64 if that is not a float type of ours);
        exactly 0 at what does not count.

    Raises
    ------
    ValueError
        Shapes that differ, lengths that do not fit or fit either axis, a weight that is negative, infinite or NaN, a
        sum of weights that is infinite, or nothing that counts.
    TypeError
        Something that is no array of real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> value, d_prediction = losses.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> value, d_prediction
    (2.0, array([ 0., -2.]))
    >>> losses.mse([1.0, 2.0], [np.nan, 4.0], weight=[0.0, 1.0])[0]
    4.0
    >>> losses.mse(np.ones((3, 2)), np.zeros((3, 2)), lengths=[3, 1])[1]
    array([[0.5, 0.5],
           [0.5, 0. ],
           [0.5, 0. ]])
    """
    pair = _read("losses.mse", prediction, target, lengths, batch_first)
    return _number_by_number(pair, weight, 0.0, kernels.mse, kernels.mse_rule)


def mae(
    prediction: Any,
    target: Any,
    *,
    lengths: ArrayLike | None = None,
    weight: Any = None,
    batch_first: bool | None = None,
) -> tuple[float, Any]:
    """Mean absolute error, weighted: sum(weight * |prediction - target|) / sum(weight).

    Parameters
    ----------
    prediction, target, lengths, weight, batch_first
        As in `mse`.

    Returns
    -------
    value : float
        Computed in float64.
    d_prediction : in the form of the prediction
        Its gradient; 0 where prediction and target are equal.

    Raises
    ------
    ValueError, TypeError
        As `mse` does.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> losses.mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (1.0, array([ 0. , -0.5]))
    """
    pair = _read("losses.mae", prediction, target, lengths, batch_first)
    return _number_by_number(pair, weight, 0.0, kernels.mae, kernels.mae_rule)


def huber(
    prediction: Any,
    target: Any,
    *,
    delta: float = 1.0,
    lengths: ArrayLike | None = None,
    weight: Any = None,
    batch_first: bool | None = None,
) -> tuple[float, Any]:
    """Huber's loss, weighted mean: half the squared difference up to `delta`, and a line from there on.

    Parameters
    ----------
    prediction, target, lengths, weight, batch_first
        As in `mse`.
    delta : float
        More than 0. Larger differences d cost delta * (d - delta / 2).

    Returns
    -------
    value : float
        Computed in float64.
    d_prediction : in the form of the prediction
        Its gradient.

    Raises
    ------
    ValueError, TypeError
        As `mse` does, and `delta` that is no positive number.

    Notes
    -----
    Huber 1964, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1).

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> losses.huber(np.array([1.0, 2.0]), np.array([0.5, 5.0]))
    (1.3125, array([ 0.25, -0.5 ]))
    """
    head = "losses.huber"
    limit = number(head, "delta", delta)
    if limit <= 0.0:
        raise ValueError(explain(head, f"`delta` should be more than 0, got {limit}."))
    pair = _read(head, prediction, target, lengths, batch_first)
    return _number_by_number(pair, weight, limit, kernels.huber, kernels.huber_rule)


def binary_cross_entropy(
    prediction: Any,
    target: Any,
    *,
    lengths: ArrayLike | None = None,
    weight: Any = None,
    batch_first: bool | None = None,
) -> tuple[float, Any]:
    """Cross-entropy of yes-or-no answers from logits, weighted mean of log(1 + exp(x)) - target * x.

    Parameters
    ----------
    prediction : array of any shape, list of arrays (T_n, ...), or PackedSequence
        Logits x, not probabilities: the probability of 1 is sigmoid(x).
    target : in the form and shape of the prediction, or without its last axis if that has one entry
        Numbers from 0 to 1, the probability of 1; classes as 0 and 1, or False and True.
    lengths, batch_first
        As in `mse`.
    weight : array, optional
        As in `mse`, for each number of the target.

    Returns
    -------
    value : float
        Computed in float64.
    d_prediction : in the form and shape of the prediction
        Its gradient.

    Raises
    ------
    ValueError
        As `mse` does, and a target that counts and is not from 0 to 1.
    TypeError
        As `mse` does.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> losses.binary_cross_entropy(np.array([[0.0], [1e4]]), np.array([1, 1]))[1]
    array([[-0.25],
           [ 0.  ]])
    """
    head = "losses.binary_cross_entropy"
    pair = read_pair(head, prediction, target, lengths, batch_first)
    if pair.prediction.shape != (*pair.target.shape, 1):
        _check_target(head, pair.prediction.shape, pair.target.shape)
    weights, total = pair.weights(weight, pair.target.shape)
    outside = (pair.target < 0) | (pair.target > 1)
    if weights.size:
        outside &= weights.reshape(outside.shape) > 0.0
    if outside.any():
        k = int(np.argmax(outside))
        found = pair.target.reshape(-1)[k]
        problem = f"`{pair.place(k, pair.target.shape)}` is {found}, expected a number from 0 to 1."
        advice = "Pass the probability of class 1; for several classes use cross_entropy."
        raise ValueError(explain(head, problem, advice))
    return _compute(pair, weights, total, 0.0, kernels.binary_cross_entropy, kernels.binary_cross_entropy_rule)


def _read(head: str, prediction: object, target: object, lengths: object, batch_first: object) -> Pair:
    pair = read_pair(head, prediction, target, lengths, batch_first)
    _check_target(head, pair.prediction.shape, pair.target.shape)
    return pair


def _number_by_number(
    pair: Pair, weight: object, setting: float, kernel: Callable[..., float], rule: Callable[..., Any]
) -> tuple[float, Any]:
    weights, total = pair.weights(weight, pair.prediction.shape)
    return _compute(pair, weights, total, setting, kernel, rule)


def _compute(
    pair: Pair, weights: Array, total: float, setting: float, kernel: Callable[..., float], rule: Callable[..., Any]
) -> tuple[float, Any]:
    prediction, d_prediction = pair.floats()
    target = pair.numbers(d_prediction.dtype)
    if _jit.DISABLED:
        value = _by_arrays(rule, setting, prediction, target, weights, total, d_prediction.reshape(-1))
    else:
        sums = np.empty(kernels.LANES)
        value = kernel(setting, prediction, target, weights, total, sums, d_prediction.reshape(-1))
    return float(value), pair.given_back(d_prediction)


def _by_arrays(
    rule: Callable[..., Any],
    setting: float,
    prediction: Array,
    target: Array,
    weights: Array,
    total: float,
    d_prediction: Array,
) -> float:
    """Compute what the kernels do, by NumPy."""
    weights = weights if weights.size else np.ones(prediction.size)
    with np.errstate(all="ignore"):
        loss, slope = rule(prediction.astype(np.float64), target.astype(np.float64), setting)
        d_prediction[:] = np.where(weights > 0.0, weights / total * slope, 0.0)
        return float(np.sum(np.where(weights > 0.0, weights * loss, 0.0))) / total


def _check_target(head: str, prediction: Shape, target: Shape) -> None:
    if prediction != target:
        _refuse_target(head, prediction, target)


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
