"""What a user passes for X and `lengths`, read as cases or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from numrnn._errors import explain, kind_of
from numrnn._types import Array
from numrnn.engine.arrays import real_array
from numrnn.nn.arguments import count
from numrnn.sklearn.cases import Cases

__all__ = ["read_cases", "read_layout"]

_LAYOUTS = ("auto", "cases_time_features", "cases_features_time")


def read_layout(head: str, value: object) -> str | int:
    """Read `X_layout`: a word, or the number of features of a step."""
    if isinstance(value, str):
        if value in _LAYOUTS:
            return value
        words = " or ".join(f'"{word}"' for word in _LAYOUTS)
        raise ValueError(explain(head, f"`X_layout` should be {words}, or a number of features, got {kind_of(value)}."))
    return count(head, "X_layout", value)


def read_cases(
    estimator: Any,
    X: object,
    lengths: object,
    layout: str | int,
    *,
    reset: bool,
    least_columns: int = 1,
    same_columns: bool = True,
) -> Cases:
    """Read X as cases.

    Parameters
    ----------
    estimator : object
        Whose X it is. With `reset` it learns `n_features_in_`, `feature_names_in_` and what a later X is checked
        against; otherwise X is checked against these.
    X, lengths : object
        As the user gave them.
    layout : str or int
        As `read_layout` returned it.
    reset : bool
        Whether X is the first of its estimator.
    least_columns : int
        Steps that the rows of a 2-D X need.
    same_columns : bool
        Whether a later 2-D X has as many columns as the first, or merely `least_columns`.
    """
    head = type(estimator).__name__
    columns = None
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = X.tolist()
    if isinstance(X, list | tuple) and any(getattr(item, "ndim", 0) > 0 for item in X):
        if lengths is not None:
            problem = "`lengths` was given, but X is a list of arrays, which have their own."
            raise ValueError(explain(head, problem, "Leave `lengths` out, or pass one padded array."))
        cases = _read_list(head, X, layout)
    else:
        if isinstance(X, np.ma.MaskedArray):
            real_array(X, head, "X")  # which refuses it: scikit-learn would not read the mask
        known = None if reset else estimator._columns
        array = check_array(
            X,
            dtype=(np.float64, np.float32),
            allow_nd=True,
            ensure_all_finite=lengths is None,
            ensure_min_features=least_columns if known is None else 1,
            estimator=estimator,
            input_name="X",
        )
        if array.ndim == 2:
            columns = array.shape[1]
            another = not same_columns and least_columns <= columns != known
            if reset or (known is not None and not another):
                validate_data(estimator, X, reset=reset, skip_check_array=True)
        cases = _read_array(head, array, lengths, layout)
    if reset:
        estimator._columns, estimator._step_features = columns, cases.n_features
        if columns is None:
            estimator.n_features_in_ = cases.n_features
            if hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_
    elif cases.n_features != estimator._step_features:
        problem = f"X has {cases.n_features} features a step, but {head} is expecting {estimator._step_features}."
        raise ValueError(explain(head, problem, "They are counted as in `fit`, by `X_layout`."))
    return cases


def _read_array(head: str, array: Array, lengths: object, layout: str | int) -> Cases:
    """Read (cases, time), (cases, time, features) or what else `layout` says."""
    shape = array.shape
    if array.ndim == 2:
        if layout == "cases_time_features":
            advice = 'Pass X[:, :, None] for series of one feature, or X_layout="auto".'
            raise ValueError(explain(head, f"X has 2 axes, {shape}, but X_layout={layout!r} has 3.", advice))
        step = layout if isinstance(layout, int) else 1
        if shape[1] % step:
            problem = f"X has {shape[1]} columns, which are no steps of X_layout={step} features."
            raise ValueError(
                explain(head, problem, "A row holds one step after the other, so their product is needed.")
            )
        array = array.reshape(shape[0], -1, step)
    elif array.ndim != 3:
        problem = f"X has {array.ndim} axes, expected 2 or 3: (cases, time) or (cases, time, features)."
        raise ValueError(
            explain(head, problem, f"X.shape = {shape}. Join what are features: X.reshape(cases, time, -1).")
        )
    elif isinstance(layout, int):
        problem = f"X has 3 axes, {shape}, but X_layout={layout} reads rows of a 2-D X."
        raise ValueError(explain(head, problem, 'Pass X_layout="auto".'))
    elif layout == "cases_features_time":
        array = array.swapaxes(1, 2)
    n_cases, n_steps, n_features = array.shape
    if not n_steps or not n_features:
        problem = f"X has {n_steps} steps of {n_features} features, expected 1 or more of both."
        raise ValueError(explain(head, problem, f"X.shape = {shape}."))
    if lengths is None:
        return Cases.of_array(array)
    return _cut(head, array, _read_lengths(head, lengths, n_cases, n_steps))


def _read_lengths(head: str, lengths: object, n_cases: int, n_steps: int) -> NDArray[np.int64]:
    array = real_array(lengths, head, "lengths")
    if array.shape != (n_cases,):
        problem = f"`lengths` has shape {array.shape}, expected ({n_cases},): one number of steps for each case of X."
        raise ValueError(explain(head, problem))
    if array.dtype.kind not in "iu" and not np.array_equal(array, np.round(array)):
        raise ValueError(explain(head, "`lengths` should hold whole numbers.", f"lengths = {array}"))
    found = array.astype(np.int64)
    if np.any((array < 1) | (array > n_steps)):
        n = int(np.flatnonzero((array < 1) | (array > n_steps))[0])
        problem = f"`lengths[{n}]` is {array[n]}, expected 1 to {n_steps}, the steps of X."
        raise ValueError(explain(head, problem, "Leave out cases without steps."))
    return found


def _cut(head: str, array: Array, lengths: NDArray[np.int64]) -> Cases:
    """Leave the padding out; what remains is finite."""
    valid = np.arange(array.shape[1]) < lengths[:, None]
    steps = np.ascontiguousarray(array[valid])
    if not np.isfinite(steps).all():
        n = int(np.flatnonzero((~np.isfinite(array) & valid[:, :, None]).any(axis=(1, 2)))[0])
        _refuse_infinite(head, f"X[{n}], in its first {lengths[n]} steps,")
    return Cases(steps, lengths)


def _read_list(head: str, X: Sequence[object], layout: str | int) -> Cases:
    """Read one array a case: (time, features), or (time,) for one feature."""
    arrays = [_one_series(head, f"X[{n}]", item, layout) for n, item in enumerate(X)]
    n_features = arrays[0].shape[1]
    for n, array in enumerate(arrays):
        if array.shape[1] != n_features:
            problem = f"X[{n}] has {array.shape[1]} features, but X[0] has {n_features}."
            shapes = f"They have {len(array)} and {len(arrays[0])} steps."
            if layout == "auto" and len(array) == len(arrays[0]):
                shapes += ' If features are the first axis: X_layout="cases_features_time".'
            raise ValueError(explain(head, problem, shapes))
        if not array.size:
            problem = f"X[{n}] has {len(array)} steps of {n_features} features, expected 1 or more of both."
            raise ValueError(explain(head, problem, "Leave out cases without steps."))
    dtype = np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64
    with np.errstate(over="ignore"):
        steps: Array = np.ascontiguousarray(np.concatenate(arrays, dtype=dtype, casting="unsafe"))
    cases = Cases(steps, np.array([len(array) for array in arrays], np.int64))
    finite = np.isfinite(steps).all(axis=1)
    if not finite.all():
        _refuse_infinite(head, f"X[{np.searchsorted(cases.ends, np.argmin(finite), side='right')}]")
    return cases


def _one_series(head: str, name: str, item: object, layout: str | int) -> NDArray[Any]:
    array = real_array(item, head, name)
    if array.ndim == 1:
        step = layout if isinstance(layout, int) else 1
        if array.size % step:
            raise ValueError(explain(head, f"{name} has {array.size} numbers, no steps of X_layout={step} features."))
        return array.reshape(-1, step)
    if array.ndim != 2 or isinstance(layout, int):
        expected = "(time * features,)" if isinstance(layout, int) else "(time, features) or (time,)"
        problem = f"{name} has shape {array.shape}, expected {expected}."
        raise ValueError(explain(head, problem, "X is a list: each of its arrays is the series of one case."))
    return array.T if layout == "cases_features_time" else array


def _refuse_infinite(head: str, where: str) -> NoReturn:
    advice = "Fill it, for example with sklearn.impute, or leave it out; only padding beyond `lengths` is not read."
    raise ValueError(explain(head, f"{where} contains NaN or infinity.", advice))
