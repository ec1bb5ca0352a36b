"""The loss of predicted quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import ArrayLike
from numrnn.kernels import losses as kernels
from numrnn.losses.pairs import read_pair
from numrnn.nn.arguments import number

__all__ = ["quantile"]


def quantile(
    prediction: Any,
    target: Any,
    *,
    levels: ArrayLike = (0.5,),
    lengths: ArrayLike | None = None,
    weight: Any = None,
    batch_first: bool | None = None,
) -> tuple[float, Any]:
    """Pinball loss, weighted mean over targets and levels: least where a share of `level` of targets is below.

    Parameters
    ----------
    prediction : array (..., Q), list of arrays (T_n, ..., Q), or PackedSequence
        The quantiles of each target, along the last axis in the order of `levels`.
    target : array (...) or (..., 1), in the form of the prediction
        One number for each position.
    levels : sequence of Q numbers between 0 and 1
        0.5 is the median, whose loss is half the absolute error.
    lengths, batch_first
        As in `mse`.
    weight : array, optional
        As in `mse`, for each target: in the shape of the prediction without its last axis, or without its last two.

    Returns
    -------
    value : float
        Mean of max(level * d, (level - 1) * d) for d = target - prediction. Computed in float64.
    d_prediction : in the form and shape of the prediction
        Its gradient; 0 where prediction and target are equal.

    Raises
    ------
    ValueError
        As `mse` does, levels that are not between 0 and 1, or a last axis that is not one of levels.
    TypeError
        As `mse` does.

    Notes
    -----
    Koenker & Bassett 1978, "Regression quantiles", Econometrica 46(1). Nothing keeps the quantiles of a position in
    order.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn import losses
    >>> losses.quantile(np.array([[1.0, 4.0]]), np.array([2.0]), levels=(0.25, 0.75))
    (0.375, array([[-0.125,  0.125]]))
    """
    head = "losses.quantile"
    wanted = _read_levels(head, levels)
    pair = read_pair(head, prediction, target, lengths, batch_first)
    shape, count = pair.prediction.shape, len(wanted)
    if not shape or shape[-1] != count:
        problem = f"`prediction` has shape {shape}, expected (..., {count}): one number for each of the {count} levels."
        advice = "For one level add an axis: prediction[..., None]."
        raise ValueError(explain(head, problem, advice if count == 1 else f"levels = {tuple(map(float, wanted))}."))
    if pair.target.shape not in (shape[:-1], (*shape[:-1], 1)):
        problem = f"`target` has shape {pair.target.shape}, expected {shape[:-1]} or {(*shape[:-1], 1)}."
        read = (
            f"prediction.shape = {shape}: the last axis holds the levels, which share a target; nothing is broadcast."
        )
        raise ValueError(explain(head, problem, read))
    weights, total = pair.weights(weight, shape[:-1])
    flat, d_prediction = pair.floats()
    numbers = pair.numbers(d_prediction.dtype)
    with np.errstate(all="ignore"):  # without the compiler these are NumPy's numbers
        value = kernels.quantile(wanted, flat, numbers, weights, total * count, d_prediction.reshape(-1))
    return float(value), pair.given_back(d_prediction)


def _read_levels(head: str, levels: Any) -> Any:
    if isinstance(levels, str) or not hasattr(levels, "__len__") or np.ndim(levels) != 1:
        advice = "For one level pass levels=(0.5,)."
        raise TypeError(explain(head, f"`levels` should be a sequence of numbers, got {kind_of(levels)}.", advice))
    found = [number(head, f"levels[{k}]", level) for k, level in enumerate(levels)]
    if not found:
        raise ValueError(explain(head, "`levels` is empty.", "Pass at least one, such as levels=(0.5,)."))
    for k, level in enumerate(found):
        if not 0.0 < level < 1.0:
            raise ValueError(explain(head, f"`levels[{k}]` should be between 0 and 1, got {level}."))
    return np.array(found)
