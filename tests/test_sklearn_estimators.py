"""What the estimators promise beyond scikit-learn's own checks."""

import os
import pickle
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import numrnn
from numrnn.sklearn import RecurrentClassifier, RecurrentFeatures, RecurrentForecaster, RecurrentRegressor

Rng = np.random.Generator

ALL = [RecurrentClassifier, RecurrentRegressor, RecurrentForecaster, RecurrentFeatures]
SMALL = {"hidden_size": 6, "max_epochs": 3, "batch_size": 4, "random_state": 0}

every_estimator = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def ragged(rng: Rng, n_cases: int, n_features: int = 2, dtype: str = "float64") -> list[np.ndarray]:
    lengths = rng.integers(4, 9, n_cases)
    return [rng.standard_normal((length, n_features)).astype(dtype) for length in lengths]


def answer(estimator: Any, x: Any) -> np.ndarray:
    """What an estimator says of x, as numbers."""
    for method in ("predict_proba", "transform", "predict"):
        if hasattr(estimator, method):
            return np.asarray(getattr(estimator, method)(x))
    raise AssertionError


def test_digits_are_read_with_the_defaults() -> None:
    digits = load_digits()
    x, x_test, y, y_test = train_test_split(digits.images / 16.0, digits.target, random_state=0, stratify=digits.target)
    for cell, least in (("lstm", 0.95), ("gru", 0.95), ("rnn", 0.90)):
        assert RecurrentClassifier(cell=cell, random_state=0).fit(x, y).score(x_test, y_test) >= least


@every_estimator
@pytest.mark.parametrize("listed", [False, True], ids=["array", "list"])
def test_a_weight_of_k_is_k_copies(kind: Any, listed: bool, rng: Rng) -> None:
    """For any data and batches, not in one batch alone; 0 is none, and the order of cases does not matter."""
    x: Any = ragged(rng, 30) if listed else rng.standard_normal((30, 7, 2))
    y = rng.integers(0, 3, 30)
    weight = rng.integers(0, 4, 30)
    copies = rng.permutation(np.repeat(np.arange(30), weight))
    repeated = [x[n] for n in copies] if listed else x[copies]
    options = SMALL if kind is not RecurrentFeatures else SMALL | {"max_epochs": 2}
    weighted = kind(**options).fit(x, y, sample_weight=weight.astype(float))
    copied = kind(**options).fit(repeated, y[copies])
    np.testing.assert_array_equal(answer(weighted, x), answer(copied, x))
    unweighted = kind(**options).fit(x, y)
    assert not np.array_equal(answer(unweighted, x), answer(copied, x))


@pytest.mark.parametrize("kind", [RecurrentClassifier, RecurrentRegressor])
def test_copies_and_weights_are_alike_in_early_stopping(kind: Any, rng: Rng) -> None:
    x, y, weight = rng.standard_normal((40, 5)), rng.integers(0, 2, 40), rng.integers(1, 4, 40)
    options = SMALL | {"early_stopping": True, "max_epochs": 30, "n_iter_no_change": 2}
    weighted = kind(**options).fit(x, y, sample_weight=weight)
    copied = kind(**options).fit(np.repeat(x, weight, axis=0), np.repeat(y, weight))
    assert weighted.history_["val_loss"] == copied.history_["val_loss"]
    np.testing.assert_array_equal(answer(weighted, x), answer(copied, x))


def test_only_ratios_of_weights_matter(rng: Rng) -> None:
    x, y, weight = rng.standard_normal((20, 5)), rng.standard_normal(20), rng.uniform(0.5, 2.0, 20)
    first = RecurrentRegressor(**SMALL).fit(x, y, sample_weight=weight).predict(x)
    np.testing.assert_allclose(RecurrentRegressor(**SMALL).fit(x, y, sample_weight=1e-200 * weight).predict(x), first)


@every_estimator
def test_lists_padding_and_layouts_are_the_same_data(kind: Any, rng: Rng) -> None:
    x, y = ragged(rng, 12), rng.integers(0, 2, 12)
    lengths = np.array([len(series) for series in x])
    padded = np.full((12, lengths.max(), 2), np.nan)
    for n, series in enumerate(x):
        padded[n, : lengths[n]] = series
    as_list = kind(**SMALL).fit(x, y)
    as_array = kind(**SMALL).fit(padded, y, lengths=lengths)
    turned = kind(**SMALL, X_layout="cases_features_time").fit([series.T for series in x], y)
    method = "predict" if hasattr(kind, "predict") else "transform"
    expected = getattr(as_list, method)(x)
    np.testing.assert_array_equal(getattr(as_array, method)(padded, lengths=lengths), expected)
    np.testing.assert_array_equal(getattr(turned, method)(padded.swapaxes(1, 2), lengths=lengths), expected)
    if kind is not RecurrentFeatures:
        assert as_list.score(x, y) == as_array.score(padded, y, lengths=lengths)
    else:
        np.testing.assert_array_equal(kind(**SMALL).fit_transform(padded, lengths=lengths), expected)


@every_estimator
def test_rows_of_flat_steps_are_steps(kind: Any, rng: Rng) -> None:
    x, y = rng.standard_normal((12, 6, 3)), rng.integers(0, 2, 12)
    flat = kind(**SMALL, X_layout=3).fit(x.reshape(12, 18), y)
    assert flat.n_features_in_ == 18
    np.testing.assert_array_equal(answer(flat, x.reshape(12, 18)), answer(kind(**SMALL).fit(x, y), x))


@every_estimator
def test_one_feature_needs_no_axis(kind: Any, rng: Rng) -> None:
    x, y = rng.standard_normal((12, 6)), rng.integers(0, 2, 12)
    expected = answer(kind(**SMALL).fit(x, y), x)
    for same in (x[:, :, None], list(x), list(x[:, :, None]), x.tolist(), pd.DataFrame(x, columns=list("abcdef"))):
        estimator = kind(**SMALL).fit(same, y)
        np.testing.assert_array_equal(answer(estimator, same), expected)
    assert list(estimator.feature_names_in_) == list("abcdef")
    assert estimator.n_features_in_ == 6


@every_estimator
@pytest.mark.parametrize(("given", "computed"), [("float32", "float32"), ("float64", "float64"), ("int16", "float64")])
def test_the_dtype_of_x_is_that_of_the_network(kind: Any, given: str, computed: str, rng: Rng) -> None:
    x, y = (10 * rng.standard_normal((12, 6))).astype(given), rng.integers(0, 2, 12)
    estimator = kind(**SMALL).fit(x, y)
    assert {value.dtype.name for value in estimator.model_.parameters.values()} == {computed}
    assert answer(estimator, x).dtype == computed
    assert answer(estimator, x.astype("float64")).dtype == computed


@every_estimator
def test_threads_do_not_change_a_bit(kind: Any, rng: Rng) -> None:
    x, y = rng.standard_normal((40, 9, 3)), rng.integers(0, 2, 40)
    options = {"hidden_size": 48, "max_epochs": 2, "random_state": 3}
    one, all_of_them, too_many = (kind(**options, n_jobs=n_jobs).fit(x, y) for n_jobs in (1, -1, 1000))
    np.testing.assert_array_equal(answer(one, x), answer(all_of_them, x))
    np.testing.assert_array_equal(answer(one, x), answer(too_many, x))


@every_estimator
def test_the_state_of_random_numbers_decides(kind: Any, rng: Rng) -> None:
    x, y = rng.standard_normal((12, 6)), rng.integers(0, 2, 12)
    first = answer(kind(**SMALL).fit(x, y), x)
    again = kind(**SMALL | {"random_state": np.random.RandomState(0)}).fit(x, y)
    np.testing.assert_array_equal(answer(again, x), first)
    for other in (1, None):
        assert not np.array_equal(answer(kind(**SMALL | {"random_state": other}).fit(x, y), x), first)


@every_estimator
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_every_option_reaches_the_network(kind: Any, cell: str, optimizer: str, rng: Rng) -> None:
    x, y = rng.standard_normal((8, 6)), rng.integers(0, 2, 8)
    options = SMALL | {"cell": cell, "optimizer": optimizer, "num_layers": 2, "dropout": 0.3, "lr": 0.5}
    if kind is not RecurrentFeatures:
        options["bidirectional"] = True
    estimator = kind(**options).fit(x, y)
    layer = estimator.model_.recurrent
    assert type(layer).__name__.lower() == cell
    assert (layer.hidden_size, layer.num_layers, layer.dropout) == (6, 2, 0.3)
    assert layer.bidirectional is (kind is not RecurrentFeatures)
    assert type(estimator._optimizer).__name__.lower() == optimizer
    assert estimator.history_["lr"] == [0.5] * 3
    assert estimator.n_iter_ == len(estimator.history_["loss"]) == 3
    assert not np.array_equal(answer(estimator, x), answer(kind(**options | {"dropout": 0.0}).fit(x, y), x))


@every_estimator
def test_warm_start_goes_on(kind: Any, rng: Rng) -> None:
    x, y = rng.standard_normal((12, 6)), rng.integers(0, 2, 12)
    estimator = kind(**SMALL, warm_start=True).fit(x, y)
    model, losses = estimator.model_, list(estimator.history_["loss"])
    estimator.fit(x, y)
    assert estimator.model_ is model
    assert estimator.n_iter_ == 6
    assert estimator.history_["loss"][:3] == losses
    assert estimator.history_["loss"][3] < losses[0]
    assert kind(**SMALL).fit(x, y).fit(x, y).n_iter_ == 3


def test_partial_fit_learns_from_one_part_after_the_other(rng: Rng) -> None:
    x = rng.standard_normal((64, 6))
    y = (x.sum(axis=1) > 0).astype(int)
    options = {"hidden_size": 16, "random_state": 0, "lr": 0.02}
    classifier, regressor = RecurrentClassifier(**options), RecurrentRegressor(**options)
    for _ in range(25):
        for part in (slice(0, 32), slice(32, 64)):
            classifier.partial_fit(x[part], y[part], classes=[0, 1, 7])
            regressor.partial_fit(x[part], 1000.0 + x[part].sum(axis=1))
    assert classifier.n_iter_ == regressor.n_iter_ == 50
    assert list(classifier.classes_) == [0, 1, 7]
    assert classifier.score(x, y) > 0.9
    assert regressor.score(x, 1000.0 + x.sum(axis=1)) > 0.9
    assert classifier.partial_fit(x[:3], np.zeros(3)).predict_proba(x).shape == (64, 3)


@pytest.mark.parametrize("kind", [RecurrentClassifier, RecurrentRegressor, RecurrentForecaster, RecurrentFeatures])
def test_early_stopping_goes_back_to_the_best_weights(kind: Any, rng: Rng) -> None:
    x, y = rng.standard_normal((60, 8)), rng.integers(0, 2, 60)
    options = {"hidden_size": 16, "random_state": 0, "early_stopping": True, "lr": 0.02, "validation_fraction": 0.3}
    estimator = kind(**options, max_epochs=200, n_iter_no_change=3).fit(x, y)
    best = int(np.argmin(estimator.history_["val_loss"]))
    assert estimator.n_iter_ == best + 1 + 4 < 200
    shorter = kind(**options, max_epochs=best + 1, n_iter_no_change=200).fit(x, y)
    np.testing.assert_array_equal(answer(estimator, x), answer(shorter, x))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array(["no", "yes"], object),
        np.array([False, True]),
        np.array([-7, 3]),
        np.array([0.0, 1.0]),
        pd.Categorical(["no", "yes"]),
    ],
    ids=["str", "object", "bool", "int", "float", "categorical"],
)
def test_labels_of_any_type_come_back(labels: Any, rng: Rng) -> None:
    x = np.concatenate([rng.standard_normal((20, 5)) + 2.0, rng.standard_normal((20, 5)) - 2.0])
    y = labels[np.repeat([0, 1], 20)]
    classifier = RecurrentClassifier(hidden_size=8, max_epochs=20, random_state=0).fit(x, y)
    predicted = classifier.predict(x)
    assert predicted.dtype == np.asarray(y).dtype
    np.testing.assert_array_equal(predicted, np.asarray(y))
    np.testing.assert_array_equal(classifier.classes_, np.asarray(labels))


def test_one_class_one_case_and_constants_give_the_right_answer() -> None:
    one = RecurrentClassifier(**SMALL).fit([[1.0, 2.0, 3.0]], ["only"])
    assert list(one.predict([[5.0, 5.0, 5.0]])) == ["only"]
    np.testing.assert_array_equal(one.predict_proba([[5.0, 5.0, 5.0]]), [[1.0]])
    constant = RecurrentRegressor(**SMALL | {"max_epochs": 60, "lr": 0.02}).fit(np.full((5, 3), 4.0), np.full(5, 1e6))
    np.testing.assert_allclose(constant.predict(np.full((2, 3), 4.0)), 1e6, rtol=1e-6)
    flat = np.full((3, 20), 7.5)
    np.testing.assert_allclose(
        RecurrentForecaster(**SMALL | {"max_epochs": 60}, horizon=2).fit(flat).predict(flat), 7.5, atol=0.1
    )


def test_a_constant_feature_changes_nothing(rng: Rng) -> None:
    """Also where its mean is rounded: standardised, it is 0 and not noise."""
    x, y = rng.standard_normal((30, 5, 2)).astype("float32"), rng.standard_normal(30)
    x[:, :, 1] = np.float32(0.1)
    regressor = RecurrentRegressor(**SMALL).fit(x, y)
    np.testing.assert_allclose(regressor._scale.apply(x[:, :, 1:] * [1.0, 1.0]).reshape(-1, 2)[:, 1], 0.0, atol=1e-6)


@pytest.mark.parametrize("offset", [1e-30, 1.0, 1e30])
def test_the_scale_of_numbers_does_not_matter(offset: float, rng: Rng) -> None:
    """One batch, since other numbers are shuffled otherwise; powers of two, so that scaling does not round."""
    factor = 2.0 ** round(np.log2(offset))
    x, y = rng.standard_normal((30, 6)), rng.standard_normal((30, 2))
    first, scaled = (RecurrentRegressor(**SMALL | {"batch_size": 30}) for _ in range(2))
    found = scaled.fit(factor * x, y / factor).predict(factor * x) * factor
    np.testing.assert_allclose(found, first.fit(x, y).predict(x), rtol=1e-6)


def test_targets_are_standardised_by_weight(rng: Rng) -> None:
    x, y, weight = rng.standard_normal((25, 4)), rng.standard_normal((25, 2)) * [1.0, 1e4], rng.uniform(0, 3, 25)
    scale = RecurrentRegressor(**SMALL).fit(x, y, sample_weight=weight)._target_scale
    mean = np.average(y, axis=0, weights=weight)
    np.testing.assert_allclose(scale.mean, mean)
    np.testing.assert_allclose(scale.deviation, np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight)))


def test_probabilities_are_the_softmax_of_the_network(rng: Rng) -> None:
    x, y = rng.standard_normal((30, 6, 2)), rng.integers(0, 3, 30)
    classifier = RecurrentClassifier(**SMALL).fit(x, y)
    logits = classifier.model_((x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1)))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.predict_proba(x), expected, rtol=1e-9)


def test_a_fresh_process_gives_the_same_bits(rng: Rng, tmp_path: Path) -> None:
    x, y = rng.standard_normal((20, 7, 2)), rng.integers(0, 2, 20)
    estimators = [kind(**SMALL).fit(x, y) for kind in ALL]
    (tmp_path / "pickled").write_bytes(pickle.dumps((estimators, x)))
    code = f"""
import pathlib, pickle, numpy as np
folder = pathlib.Path({str(tmp_path)!r})
estimators, x = pickle.loads((folder / "pickled").read_bytes())
for n, estimator in enumerate(estimators):
    np.save(folder / f"{{n}}.npy", (estimator.predict if hasattr(estimator, "predict") else estimator.transform)(x))
"""
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_NUM_THREADS": "1"}, check=True)
    for n, estimator in enumerate(estimators):
        here = (estimator.predict if hasattr(estimator, "predict") else estimator.transform)(x)
        np.testing.assert_array_equal(np.load(tmp_path / f"{n}.npy"), here)


def test_a_pickled_estimator_goes_on_learning_with_the_same_bits(rng: Rng) -> None:
    x, y = rng.standard_normal((20, 7)), rng.integers(0, 2, 20)
    estimator = RecurrentClassifier(**SMALL, warm_start=True).fit(x, y)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.fit(x, y).predict_proba(x), estimator.fit(x, y).predict_proba(x))


def test_a_grid_search_in_processes_finds_what_one_process_finds(rng: Rng) -> None:
    x, y = rng.standard_normal((30, 6, 2)), rng.integers(0, 2, 30)
    grid = {"lr": [1e-3, 1e-1]}
    searches = [
        GridSearchCV(RecurrentClassifier(**SMALL, n_jobs=2), grid, cv=2, n_jobs=n_jobs).fit(x, y) for n_jobs in (1, 2)
    ]
    for name in ("mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(searches[0].cv_results_[name], searches[1].cv_results_[name])
    np.testing.assert_array_equal(searches[0].predict_proba(x), searches[1].predict_proba(x))
    alone = clone(searches[0].best_estimator_).fit(x, y)
    np.testing.assert_array_equal(alone.predict_proba(x), searches[1].predict_proba(x))


def test_lists_of_series_can_be_cross_validated(rng: Rng) -> None:
    scores = cross_val_score(RecurrentClassifier(**SMALL), ragged(rng, 12), rng.integers(0, 2, 12), cv=3)
    assert np.isfinite(scores).all()


def test_pipelines_give_what_their_steps_give(rng: Rng) -> None:
    x, y = rng.standard_normal((30, 6)), rng.integers(0, 2, 30)
    scaled = StandardScaler().fit_transform(x)
    pipeline = make_pipeline(StandardScaler(), RecurrentClassifier(**SMALL)).fit(x, y)
    np.testing.assert_array_equal(
        pipeline.predict_proba(x), RecurrentClassifier(**SMALL).fit(scaled, y).predict_proba(scaled)
    )
    features = make_pipeline(RecurrentFeatures(hidden_size=8, random_state=0), LogisticRegression()).fit(x, y)
    states = RecurrentFeatures(hidden_size=8, random_state=0).fit_transform(x)
    np.testing.assert_array_equal(features.predict(x), LogisticRegression().fit(states, y).predict(states))


def test_lengths_and_weights_are_routed_as_metadata(rng: Rng) -> None:
    x, y = rng.standard_normal((12, 6, 2)), rng.integers(0, 2, 12)
    lengths, weight = rng.integers(1, 7, 12), rng.integers(1, 3, 12)
    expected = RecurrentClassifier(**SMALL).fit(x, y, sample_weight=weight, lengths=lengths)
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = RecurrentClassifier(**SMALL).set_fit_request(lengths=True, sample_weight=True)
        pipeline = make_pipeline(FunctionTransformer(), classifier.set_predict_request(lengths=True))
        pipeline.fit(x, y, lengths=lengths, sample_weight=weight)
        predicted = pipeline.predict(x, lengths=lengths)
        search = GridSearchCV(classifier.set_score_request(lengths=True, sample_weight=False), {"lr": [0.01]}, cv=2)
        search.fit(x, y, lengths=lengths, sample_weight=weight)
    np.testing.assert_array_equal(predicted, expected.predict(x, lengths=lengths))
    assert search.best_score_ >= 0.0


def test_progress_is_told_on_stderr_and_only_if_wanted(rng: Rng, capfd: pytest.CaptureFixture[str]) -> None:
    x, y = rng.standard_normal((12, 6)), rng.integers(0, 2, 12)
    RecurrentClassifier(**SMALL).fit(x, y)
    assert capfd.readouterr() == ("", "")
    RecurrentClassifier(**SMALL, verbose=1).fit(x, y)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch" in err


@pytest.mark.parametrize("batches", [2, 7])
def test_after_ctrl_c_the_estimator_is_usable(batches: int, rng: Rng) -> None:
    """Also where not even one epoch was whole."""
    calls = []

    class Interrupted(RecurrentClassifier):
        @staticmethod
        def _loss(*arguments: Any, **options: Any) -> Any:
            calls.append(arguments)
            if len(calls) == batches:
                signal.raise_signal(signal.SIGINT)
            return numrnn.losses.cross_entropy(*arguments, **options)

    x, y = rng.standard_normal((20, 6)), rng.integers(0, 2, 20)
    classifier = Interrupted(**SMALL).fit(x, y)
    assert len(calls) == batches
    assert classifier.n_iter_ == batches // 5
    assert classifier.predict(x).shape == (20,)
    assert classifier.partial_fit(x, y).n_iter_ == batches // 5 + 1


def test_features_have_names_and_pandas(rng: Rng) -> None:
    x = pd.DataFrame(rng.standard_normal((5, 4)), columns=list("abcd"))
    features = RecurrentFeatures(cell="gru", hidden_size=2, bidirectional=True, random_state=0)
    frame = features.set_output(transform="pandas").fit_transform(x)
    assert list(frame.columns) == ["gru_forward0", "gru_forward1", "gru_reverse0", "gru_reverse1"]
    assert list(features.get_feature_names_out(list("abcd"))) == list(frame.columns)
    np.testing.assert_array_equal(frame.to_numpy(), features.set_output(transform="default").transform(x))


def test_features_are_last_states(rng: Rng) -> None:
    x = rng.standard_normal((9, 6, 2))
    features = RecurrentFeatures(num_layers=2, dropout=0.5, bidirectional=True, random_state=0).fit(x)
    states = features.model_.recurrent((x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1))).last_output
    np.testing.assert_allclose(features.transform(x), states, rtol=1e-9)
    assert features.n_iter_ == 0


def test_features_that_learn_say_the_next_step(rng: Rng) -> None:
    phase = rng.uniform(0.0, 6.0, (40, 1))
    x = np.sin(phase + 0.7 * np.arange(12))
    features = RecurrentFeatures(max_epochs=40, random_state=0).fit(x)
    said = features.model_(features._scale.apply(x[:, :-1, None]))
    assert np.mean((features._scale.undo(said)[:, 3:, 0] - x[:, 4:]) ** 2) < 0.05 * x.var()
    series = [row[: rng.integers(1, 13)] for row in x]
    assert RecurrentFeatures(**SMALL).fit(series).n_iter_ == 3


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["sklearn"] = None
import numrnn
try:
    numrnn.sklearn
except ImportError as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == 'The estimators need scikit-learn: pip install "numrnn[sklearn]"\n'


def test_numrnn_has_it_on_first_use() -> None:
    assert numrnn.sklearn.RecurrentClassifier is RecurrentClassifier


def test_dropout_of_one_layer_is_said_to_do_nothing(rng: Rng) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RecurrentClassifier(**SMALL, dropout=0.5).fit(rng.standard_normal((4, 3)), [0, 1, 0, 1])
    assert "does nothing" in str(caught[0].message)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9])
def test_what_is_held_out_is_of_every_class_alike(fraction: float, rng: Rng) -> None:
    """And of each class something is left."""
    groups = rng.permutation(np.repeat([0, 1, 2, 3], [100, 60, 40, 1]))
    classifier = RecurrentClassifier()
    classifier._random = np.random.RandomState(0)
    held_out = classifier._hold_out(groups, fraction)
    assert held_out.sum() == round(fraction * 201)
    for group, size in enumerate((100, 60, 40, 1)):
        count = held_out[groups == group].sum()
        assert count < size
        assert abs(count - fraction * size) <= 1
