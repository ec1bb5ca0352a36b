"""The loss of predicted classes, and probabilities from logits."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._types import Array, ArrayLike, Shape
from numrnn.engine.arrays import real_array
from numrnn.kernels import losses as kernels
from numrnn.losses.pairs import Pair, read_pair

__all__ = ["cross_entropy", "log_softmax", "softmax"]


def cross_entropy(
    prediction: Any,
    target: Any,
    *,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    lengths: ArrayLike | None = None,
    weight: Any = None,
    batch_first: bool | None = None,
) -> tuple[float, Any]:
    """Cross-entropy of classes from logits: the weighted mean of -log softmax(prediction) at the labels.

    Parameters
    ----------
    prediction : array (..., C), list of arrays (T_n, ..., C), or PackedSequence
        Logits, not probabilities; classes along the last axis.
    target : array of int (...), in the form of the prediction
        Labels 0 to C - 1, or `ignore_index`.
    class_weight : array (C,), optional
        Numbers of 0 or more; a target's weight is multiplied by that of its label.
    ignore_index : int
        Targets with this label do not count.
    lengths, batch_first
        As in `mse`.
    weight : array, optional
        As in `mse`, for each target: in the target's shape, or without its last axis.

    Returns
    -------
    value : float
        sum(w * loss) / sum(w), w being `weight` times the label's `class_weight`. Computed in float64.
    d_prediction : in the form and shape of the prediction
        Its gradient; exactly 0 at targets that do not count.

    Raises
    ------
    ValueError
        As `mse` does, and a label that counts and is out of range.
    TypeError
        As `mse` does, and labels that are no integers.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> value, d_prediction = losses.cross_entropy(np.zeros((2, 4)), np.array([1, 3]))
    >>> round(value, 6), d_prediction[0]
    (1.386294, array([ 0.125, -0.375,  0.125,  0.125]))
    """
    head = "losses.cross_entropy"
    ignored = _read_index(head, ignore_index)
    pair = read_pair(head, prediction, target, lengths, batch_first)
    shape = pair.prediction.shape
    if not shape or pair.target.shape != shape[:-1]:
        _refuse_labels(head, shape, pair.target.shape)
    if pair.target.dtype.kind not in "iub" and pair.target.size:
        problem = f"`target` should hold labels, which are integers, got {pair.target.dtype}."
        advice = "Pass target.astype(int); numpy.unique(names, return_inverse=True)[1] makes labels of names."
        raise TypeError(explain(head, problem, advice))
    weights, _ = pair.weights(weight, shape[:-1])
    by_class = _read_class_weight(head, class_weight, shape[-1])
    labels = np.ascontiguousarray(pair.target, np.int64).reshape(-1)
    flat, d_prediction = pair.floats()
    with np.errstate(all="ignore"):  # without the compiler these are NumPy's numbers
        value, total, wrong = kernels.cross_entropy(ignored, flat, labels, weights, by_class, d_prediction.reshape(-1))
    if wrong >= 0:
        _refuse_label(pair, int(wrong), ignored)
    pair.require(float(total))
    return float(value), pair.given_back(d_prediction)


def counted(
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
) -> float:
    """What `cross_entropy` of these labels divides by: the sum of weights that count."""
    labels = np.asarray(target)
    weights = np.ones(labels.shape) if weight is None else np.broadcast_to(np.asarray(weight, np.float64), labels.shape)
    if class_weight is not None and labels.size:
        weights = weights * np.asarray(class_weight, np.float64).take(labels.astype(np.int64), mode="clip")
    return float(np.sum(weights, where=labels != ignore_index))


def softmax(x: ArrayLike) -> Array:
    """Probabilities from logits: exp(x) / sum(exp(x)) along the last axis, without overflow.

    Parameters
    ----------
    x : array (..., C)
        Logits.

    Returns
    -------
    array (..., C)
        In the dtype of x, float64 if that is not a float type of ours; sums along the last axis are 1.

    Raises
    ------
    ValueError, TypeError
        Something that is no array of real numbers with at least one axis and class.

    Examples
    --------
    >>> from numrnn import losses
    >>> losses.softmax([[0.0, 0.0], [1e4, -1e4]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    shifted = _shifted("losses.softmax", x)
    with np.errstate(under="ignore"):
        exponentials = np.exp(shifted)
        result: Array = exponentials / np.sum(exponentials, axis=-1, keepdims=True)
    return result


def log_softmax(x: ArrayLike) -> Array:
    """Logarithms of probabilities from logits: x - log(sum(exp(x))) along the last axis, without overflow.

    Parameters
    ----------
    x : array (..., C)
        Logits.

    Returns
    -------
    array (..., C)
        In the dtype of x, float64 if that is not a float type of ours.

    Raises
    ------
    ValueError, TypeError
        Something that is no array of real numbers with at least one axis and class.

    Examples
    --------
    >>> from numrnn import losses
    >>> losses.log_softmax([[1e4, -1e4]])
    array([[     0., -20000.]])
    """
    shifted = _shifted("losses.log_softmax", x)
    with np.errstate(under="ignore"):
        result: Array = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return result


def _shifted(head: str, x: object) -> Array:
    """x minus its largest number along the last axis."""
    array: NDArray[Any] = real_array(x, head, "x")
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(explain(head, f"`x` has shape {array.shape}, expected (..., C): an axis of classes."))
    if array.dtype.name not in ("float32", "float64"):
        array = array.astype(np.float64)
    with np.errstate(invalid="ignore"):  # an infinite largest number gives NaN
        shifted: Array = array - np.max(array, axis=-1, keepdims=True)
    return shifted


def _read_index(head: str, value: Any) -> int:
    problem = f"`ignore_index` should be an int, got {kind_of(value)}."
    if isinstance(value, bool | np.bool_):
        raise TypeError(explain(head, problem))
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(explain(head, problem)) from error


def _read_class_weight(head: str, class_weight: object, classes: int) -> NDArray[np.float64]:
    if class_weight is None:
        return np.ones(classes)
    array: NDArray[Any] = real_array(class_weight, head, "class_weight")
    if array.shape != (classes,):
        problem = f"`class_weight` has shape {array.shape}, expected ({classes},): one for each class."
        raise ValueError(explain(head, problem))
    weights = array.astype(np.float64)
    if not np.all((weights >= 0.0) & (weights < np.inf)):
        problem = "`class_weight` has entries that are negative, infinite or NaN."
        raise ValueError(explain(head, problem, "Weights are finite and 0 or more."))
    return weights


def _refuse_labels(head: str, prediction: Shape, target: Shape) -> None:
    advice = "Pass one label for each vector of logits."
    if target == prediction:
        advice = "If they are one-hot vectors or probabilities, pass target.argmax(axis=-1)."
    elif target == (*prediction[:-1], 1):
        advice = "Pass target[..., 0]."
    elif len(prediction) >= 3 and target == (prediction[0], *prediction[2:]):
        advice = "Classes are the last axis here, not the second: pass numpy.moveaxis(prediction, 1, -1)."
    elif len(prediction) == 3 and target == prediction[1::-1]:
        advice = "Its axes of time and batch are swapped: pass target.swapaxes(0, 1)."
    problem = f"`target` has shape {target}, expected {prediction[:-1]}; nothing is broadcast."
    raise ValueError(explain(head, problem, f"prediction.shape = {prediction} read as (..., classes).", advice))


def _refuse_label(pair: Pair, k: int, ignored: int) -> None:
    classes = pair.prediction.shape[-1]
    found = pair.target.reshape(-1)[k]
    problem = f"`{pair.place(k, pair.target.shape)}` is {found}, expected 0 to {classes - 1}, or {ignored}."
    advice = f"Labels count from 0; `prediction` has {classes} classes; ignore_index={ignored} does not count."
    raise ValueError(explain(pair.head, problem, advice))
