"""What a user passes for y and `sample_weight`, read or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from numrnn._errors import explain

__all__ = ["read_labels", "read_numbers", "read_weight"]

Numbers = NDArray[np.float64]


def read_labels(head: str, y: object, n_cases: int) -> NDArray[Any]:
    """Read labels of any kind that can be compared, one a case."""
    _require(head, y)
    labels: NDArray[Any] = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    check_consistent_length(range(n_cases), labels)
    return labels


def read_numbers(head: str, y: object, n_cases: int) -> Numbers:
    """Read one number a case, or several: (N,) or (N, K)."""
    _require(head, y)
    numbers: Numbers = check_array(y, ensure_2d=False, dtype=np.float64, allow_nd=True, input_name="y")
    if numbers.ndim > 2 or not numbers.ndim or not numbers.shape[-1]:
        problem = f"`y` has shape {numbers.shape}, expected ({n_cases},) or ({n_cases}, outputs)."
        raise ValueError(explain(head, problem))
    check_consistent_length(range(n_cases), numbers)
    return numbers


def read_weight(head: str, sample_weight: object, n_cases: int) -> Numbers:
    """Read one weight a case, 0 or more; None is 1 for each."""
    if sample_weight is None:
        return np.ones(n_cases)
    weight: Numbers = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (n_cases,):
        problem = f"`sample_weight` has shape {weight.shape}, expected ({n_cases},): one number for each case of X."
        raise ValueError(explain(head, problem))
    if np.any(weight < 0.0):
        n = int(np.argmin(weight))
        raise ValueError(explain(head, f"`sample_weight[{n}]` is {weight[n]}, expected 0 or more."))
    if not np.any(weight):
        raise ValueError(explain(head, "every sample weight is zero.", "Give at least one case a weight above 0."))
    return weight


def _require(head: str, y: object) -> None:
    if y is None:
        raise ValueError(f"This {head} estimator requires y to be passed, but the target y is None.")
