"""What the estimators refuse, and the whole text of each refusal."""

from typing import Any

import numpy as np
import pytest
from refusals import Refusal, refusal
from scipy import sparse

from numrnn.sklearn import RecurrentClassifier, RecurrentFeatures, RecurrentForecaster, RecurrentRegressor

SMALL = {"hidden_size": 3, "max_epochs": 1, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 8, 2))
Y = np.array([0, 1, 0, 1, 0, 1])
NAN = np.where(np.arange(8)[:, None] == 5, np.nan, X)


def fit(x: Any = X, y: Any = Y, *, kind: Any = RecurrentClassifier, **options: Any) -> Any:
    call = {name: options.pop(name) for name in ("sample_weight", "lengths") if name in options}
    return kind(**SMALL | options).fit(x, y, **call)


def twice(kind: Any, change: dict[str, Any], x: Any = X, y: Any = Y, **options: Any) -> object:
    """A second fit of a warm start, with other arguments."""
    estimator = kind(**SMALL | options, warm_start=True).fit(X, Y)
    return estimator.set_params(**change).fit(x, y)


def parts(kind: Any, *calls: dict[str, Any], **options: Any) -> None:
    estimator = kind(**SMALL | options)
    for call in calls:
        estimator.partial_fit(**call)


HEAD = "RecurrentClassifier: "

READING = [
    refusal(
        "a layout that there is not",
        lambda: fit(X_layout="features_first"),
        ValueError,
        HEAD
        + '`X_layout` should be "auto" or "cases_time_features" or "cases_features_time", or a number of features, '
        "got str 'features_first'.",
    ),
    refusal(
        "a layout of another kind",
        lambda: fit(X_layout=None),
        TypeError,
        HEAD + "`X_layout` should be an int of 1 or more, got NoneType None.",
    ),
    refusal(
        "four axes",
        lambda: fit(X[None]),
        ValueError,
        HEAD + "X has 4 axes, expected 2 or 3: (cases, time) or (cases, time, features).",
        "X.shape = (1, 6, 8, 2). Join what are features: X.reshape(cases, time, -1).",
    ),
    refusal(
        "two axes where three are said",
        lambda: fit(X[:, :, 0], X_layout="cases_time_features"),
        ValueError,
        HEAD + "X has 2 axes, (6, 8), but X_layout='cases_time_features' has 3.",
        'Pass X[:, :, None] for series of one feature, or X_layout="auto".',
    ),
    refusal(
        "three axes where rows of steps are said",
        lambda: fit(X_layout=2),
        ValueError,
        HEAD + "X has 3 axes, (6, 8, 2), but X_layout=2 reads rows of a 2-D X.",
        'Pass X_layout="auto".',
    ),
    refusal(
        "columns that are no whole steps",
        lambda: fit(X[:, :, 0], X_layout=3),
        ValueError,
        HEAD + "X has 8 columns, which are no steps of X_layout=3 features.",
        "A row holds one step after the other, so their product is needed.",
    ),
    refusal(
        "no steps",
        lambda: fit(X[:, :0]),
        ValueError,
        HEAD + "X has 0 steps of 2 features, expected 1 or more of both.",
        "X.shape = (6, 0, 2).",
    ),
    refusal(
        "lengths of a list",
        lambda: fit(list(X), lengths=[8] * 6),
        ValueError,
        HEAD + "`lengths` was given, but X is a list of arrays, which have their own.",
        "Leave `lengths` out, or pass one padded array.",
    ),
    refusal(
        "too few lengths",
        lambda: fit(lengths=[8] * 5),
        ValueError,
        HEAD + "`lengths` has shape (5,), expected (6,): one number of steps for each case of X.",
    ),
    refusal(
        "broken lengths",
        lambda: fit(lengths=[8.0, 8.0, 7.5, 8.0, 8.0, 8.0]),
        ValueError,
        HEAD + "`lengths` should hold whole numbers.",
        "lengths = [8.  8.  7.5 8.  8.  8. ]",
    ),
    refusal(
        "lengths beyond the steps",
        lambda: fit(lengths=[8, 8, 9, 8, 8, 8]),
        ValueError,
        HEAD + "`lengths[2]` is 9, expected 1 to 8, the steps of X.",
        "Leave out cases without steps.",
    ),
    refusal(
        "a length of 0",
        lambda: fit(lengths=[8, 0, 8, 8, 8, 8]),
        ValueError,
        HEAD + "`lengths[1]` is 0, expected 1 to 8, the steps of X.",
        "Leave out cases without steps.",
    ),
    refusal(
        "NaN before the end of a series",
        lambda: fit(NAN, lengths=[5, 5, 5, 6, 5, 5]),
        ValueError,
        HEAD + "X[3], in its first 6 steps, contains NaN or infinity.",
        "Fill it, for example with sklearn.impute, or leave it out; only padding beyond `lengths` is not read.",
    ),
    refusal(
        "NaN in a list",
        lambda: fit([*X[:5], NAN[5]]),
        ValueError,
        HEAD + "X[5] contains NaN or infinity.",
        "Fill it, for example with sklearn.impute, or leave it out; only padding beyond `lengths` is not read.",
    ),
    refusal(
        "a list with different features",
        lambda: fit([*X[:5], X[5][:7, :1]]),
        ValueError,
        HEAD + "X[5] has 1 features, but X[0] has 2.",
        "They have 7 and 8 steps.",
    ),
    refusal(
        "a list with features first",
        lambda: fit([X[0].T, X[1].T[:, :5]]),
        ValueError,
        HEAD + "X[1] has 5 features, but X[0] has 8.",
        'They have 2 and 2 steps. If features are the first axis: X_layout="cases_features_time".',
    ),
    refusal(
        "a list with an empty series",
        lambda: fit([*X[:5], X[5][:0]]),
        ValueError,
        HEAD + "X[5] has 0 steps of 2 features, expected 1 or more of both.",
        "Leave out cases without steps.",
    ),
    refusal(
        "a list of batches",
        lambda: fit([X, X]),
        ValueError,
        HEAD + "X[0] has shape (6, 8, 2), expected (time, features) or (time,).",
        "X is a list: each of its arrays is the series of one case.",
    ),
    refusal(
        "a list of series where rows of steps are said",
        lambda: fit(list(X), X_layout=2),
        ValueError,
        HEAD + "X[0] has shape (8, 2), expected (time * features,).",
        "X is a list: each of its arrays is the series of one case.",
    ),
    refusal(
        "a list of rows that are no whole steps",
        lambda: fit([np.zeros(6), np.zeros(7)], X_layout=3),
        ValueError,
        HEAD + "X[1] has 7 numbers, no steps of X_layout=3 features.",
    ),
    refusal(
        "a list of texts",
        lambda: fit([np.array(["a"]), np.array(["b", "c"])]),
        TypeError,
        HEAD + "`X[0]` holds text (dtype <U1), expected real numbers.",
        "Convert it first, for example X[0].astype('float64').",
    ),
    refusal(
        "other features at predict",
        lambda: fit().predict(X[:, :, :1]),
        ValueError,
        HEAD + "X has 1 features a step, but RecurrentClassifier is expecting 2.",
        "They are counted as in `fit`, by `X_layout`.",
    ),
    refusal(
        "a column too few",
        lambda: fit(X[:, :, 0]).predict(X[:, :7, 0]),
        ValueError,
        "X has 7 features, but RecurrentClassifier is expecting 8 features as input.",
    ),
]

TARGETS = [
    refusal(
        "no y",
        lambda: fit(y=None),
        ValueError,
        "This RecurrentClassifier estimator requires y to be passed, but the target y is None.",
    ),
    refusal(
        "y of three axes",
        lambda: fit(y=X, kind=RecurrentRegressor),
        ValueError,
        "RecurrentRegressor: `y` has shape (6, 8, 2), expected (6,) or (6, outputs).",
    ),
    refusal(
        "too few weights",
        lambda: fit(sample_weight=np.ones(5)),
        ValueError,
        HEAD + "`sample_weight` has shape (5,), expected (6,): one number for each case of X.",
    ),
    refusal(
        "a negative weight",
        lambda: fit(sample_weight=[1, 1, -2, 1, 1, 1]),
        ValueError,
        HEAD + "`sample_weight[2]` is -2.0, expected 0 or more.",
    ),
    refusal(
        "no weight",
        lambda: fit(sample_weight=np.zeros(6)),
        ValueError,
        HEAD + "every sample weight is zero.",
        "Give at least one case a weight above 0.",
    ),
    refusal(
        "a new label in a warm start",
        lambda: twice(RecurrentClassifier, {}, y=[0, 1, 0, 1, 0, 5]),
        ValueError,
        HEAD + "`y` has [5], which are not among the classes [0 1] of earlier calls.",
        "Classes stay; make a new estimator for others.",
    ),
    refusal(
        "a label that was not announced",
        lambda: parts(RecurrentClassifier, {"X": X, "y": Y, "classes": [0, 2]}),
        ValueError,
        HEAD + "`y` has [1], which are not among the classes [0 2] of earlier calls.",
        "Classes stay; make a new estimator for others.",
    ),
    refusal(
        "no classes",
        lambda: parts(RecurrentClassifier, {"X": X, "y": Y}),
        ValueError,
        HEAD + "`classes` is needed in the first call of `partial_fit`.",
        "Pass every label that may come; later calls need not have them all.",
    ),
    refusal(
        "other classes",
        lambda: parts(RecurrentClassifier, {"X": X, "y": Y, "classes": [0, 1]}, {"X": X, "y": Y, "classes": [0, 2]}),
        ValueError,
        HEAD + "`classes` is [0 2], but it was [0 1] in an earlier call.",
        "Classes stay; make a new estimator for others.",
    ),
    refusal(
        "other targets",
        lambda: parts(RecurrentRegressor, {"X": X, "y": Y}, {"X": X, "y": X[:, 0]}),
        ValueError,
        "RecurrentRegressor: `y` has 2 targets, but it had 1 in an earlier call.",
        "Their number stays; make a new estimator for others.",
    ),
    refusal(
        "early stopping of a part",
        lambda: parts(RecurrentRegressor, {"X": X, "y": Y}, early_stopping=True),
        ValueError,
        "RecurrentRegressor: `partial_fit` makes one pass, but early_stopping=True.",
        "Pass early_stopping=False, or call `fit`.",
    ),
    refusal(
        "early stopping by nothing",
        lambda: fit(X[[0, 0, 0]], Y[[0, 0, 0]], early_stopping=True),
        ValueError,
        HEAD + "early_stopping=True needs cases to stop by, but X holds 1 sample, copies counted once.",
        "Pass early_stopping=False.",
    ),
]

OTHERS = [
    refusal(
        "a fraction of 1",
        lambda: fit(validation_fraction=1.0),
        ValueError,
        HEAD + "`validation_fraction` should be between 0 and 1, got 1.0.",
    ),
    refusal("no learning rate", lambda: fit(lr=0), ValueError, HEAD + "`lr` should be more than 0, got 0.0."),
    refusal(
        "no jobs",
        lambda: fit(n_jobs=0),
        ValueError,
        HEAD + "`n_jobs` is 0.",
        "Pass 1 or more, -1 for all, or None for scikit-learn's.",
    ),
    refusal(
        "a series that is too short",
        lambda: fit([X[0], X[1][:5]], kind=RecurrentForecaster, horizon=2, window=4),
        ValueError,
        "RecurrentForecaster: series 1 of X has 5 steps, needed are 6: a window of 4 and a horizon of 2.",
        "Fit with a shorter `window`, or leave it out.",
    ),
    refusal(
        "a series that is too short to be forecast",
        lambda: fit(kind=RecurrentForecaster, horizon=2, window=4).predict(X[:, :3]),
        ValueError,
        "RecurrentForecaster: series 0 of X has 3 steps, needed are 4: a window of 4.",
        "Fit with a shorter `window`, or leave it out.",
    ),
    refusal(
        "another horizon in a warm start",
        lambda: twice(RecurrentForecaster, {"horizon": 3}, horizon=2, window=4),
        ValueError,
        "RecurrentForecaster: `horizon` and `window` are 3 and 4, but were 2 and 4, and warm_start=True goes on with "
        "that network.",
        "Leave them, or pass warm_start=False.",
    ),
    refusal(
        "early stopping by one window",
        lambda: fit(kind=RecurrentForecaster, window=7, early_stopping=True),
        ValueError,
        "RecurrentForecaster: early_stopping=True needs windows to stop by, but there is only one of each series.",
        "Pass early_stopping=False, or a shorter `window`.",
    ),
    refusal(
        "features that learn from both ends",
        lambda: fit(kind=RecurrentFeatures, bidirectional=True),
        ValueError,
        "RecurrentFeatures: bidirectional=True with max_epochs > 0: the reverse half has seen the step that is to be "
        "said.",
        "Pass max_epochs=0, or bidirectional=False.",
    ),
    refusal(
        "features that learn from single steps",
        lambda: fit(X[:, :1], kind=RecurrentFeatures),
        ValueError,
        "RecurrentFeatures: max_epochs > 0, but every series has 1 step: there is no next one to learn.",
        "Pass max_epochs=0.",
    ),
    refusal(
        "names of other features",
        lambda: fit(kind=RecurrentFeatures).get_feature_names_out(["a"]),
        ValueError,
        "RecurrentFeatures: `input_features` should be the 2 names of the X that was fitted.",
        "Leave it out.",
    ),
]


@pytest.mark.parametrize("case", [*READING, *TARGETS, *OTHERS], ids=str)
def test_a_refusal_says_what_is_wrong(case: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    case.check(monkeypatch)


@pytest.mark.parametrize("kind", [RecurrentClassifier, RecurrentRegressor, RecurrentForecaster, RecurrentFeatures])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cell", "elman"), ("hidden_size", 0), ("hidden_size", 2.0), ("num_layers", 0), ("bidirectional", 1),
        ("dropout", 1.5), ("max_epochs", -1), ("batch_size", 0), ("lr", "fast"), ("lr", np.nan), ("optimizer", "lbfgs"),
        ("early_stopping", "yes"), ("validation_fraction", 0), ("n_iter_no_change", 0), ("random_state", "x"),
        ("n_jobs", 1.5), ("verbose", -1), ("verbose", "loud"), ("warm_start", 1), ("X_layout", 0), ("X_layout", True),
    ],
)  # fmt: skip
def test_arguments_of_the_constructor_are_checked_by_fit(kind: Any, name: str, value: object) -> None:
    estimator = kind(**SMALL | {name: value})
    with pytest.raises((ValueError, TypeError), match="cannot be used to seed" if name == "random_state" else name):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "model_")


@pytest.mark.parametrize("name", ["horizon", "window"])
@pytest.mark.parametrize("value", [0, 1.5, "2"])
def test_arguments_of_the_forecaster_are_checked_by_fit(name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        RecurrentForecaster(**SMALL | {name: value}).fit(X)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (X + 1j, ValueError, "Complex data not supported"),
        (np.ma.masked_greater(X, 1.0), TypeError, "a mask is not read"),
        (NAN, ValueError, "Input X contains NaN"),
        (np.where(X > 1, np.inf, X), ValueError, "Input X contains infinity"),
        (sparse.csr_array(X[:, :, 0]), TypeError, "Sparse data was passed"),
        (X[0, 0], ValueError, "Reshape your data"),
        (X[:0], ValueError, r"0 sample\(s\)"),
        (X[:, :0, 0], ValueError, r"0 feature\(s\)"),
        ([], ValueError, "Expected 2D array"),
        ([["a", "b"]] * 6, ValueError, "could not convert string to float"),
        ([[1.0], [1.0, 2.0]], ValueError, "sequence"),
        (None, ValueError, "Expected 2D array"),
    ],
    ids=[
        "complex",
        "masked",
        "nan",
        "inf",
        "sparse",
        "one axis",
        "no cases",
        "no columns",
        "no list",
        "text",
        "ragged",
        "none",
    ],
)
@pytest.mark.parametrize("kind", [RecurrentClassifier, RecurrentRegressor, RecurrentForecaster, RecurrentFeatures])
def test_what_is_no_data_is_refused_in_scikit_learns_words(kind: Any, x: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        kind(**SMALL).fit(x, Y)


@pytest.mark.parametrize(
    ("kind", "y", "error", "match"),
    [
        (RecurrentClassifier, Y[:4], ValueError, "inconsistent numbers of samples"),
        (RecurrentRegressor, Y[:4], ValueError, "inconsistent numbers of samples"),
        (RecurrentClassifier, Y + 0.5, ValueError, "continuous"),
        (RecurrentClassifier, [0, 1, np.nan, 1, 0, 1], ValueError, "NaN"),
        (RecurrentRegressor, [0, 1, np.inf, 1, 0, 1], ValueError, "infinity"),
        (RecurrentRegressor, list("abcdef"), ValueError, "could not convert string"),
        (RecurrentClassifier, np.eye(6), ValueError, "1d array"),
        (RecurrentClassifier, np.array(list("abcdef"), "S1"), TypeError, "bytes"),
    ],
    ids=str,
)
def test_what_is_no_target_is_refused_in_scikit_learns_words(kind: Any, y: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        kind(**SMALL).fit(X, y)
