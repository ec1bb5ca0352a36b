"""Classes, answers of yes or no, and quantiles: labels, extreme logits, levels, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import losses

Rng = np.random.Generator


def test_ignored_labels_do_not_count(rng: Rng) -> None:
    logits, labels = rng.standard_normal((7, 3)), rng.integers(0, 3, 7)
    counts = np.array([1, 1, 0, 1, 0, 1, 1], bool)
    for ignored in (-100, -1, 3, 99):
        marked = np.where(counts, labels, ignored)
        value, d_prediction = losses.cross_entropy(logits, marked, ignore_index=ignored)
        kept = losses.cross_entropy(logits[counts], labels[counts])
        assert value == kept[0]
        np.testing.assert_array_equal(d_prediction[counts], kept[1])
        assert not d_prediction[~counts].any()
    value, _ = losses.cross_entropy(logits, labels, ignore_index=1)
    assert value == losses.cross_entropy(logits[labels != 1], labels[labels != 1])[0]


def test_class_weights_enter_the_mean(rng: Rng) -> None:
    logits, labels = rng.standard_normal((9, 4)), rng.integers(0, 4, 9)
    labels[:4] = range(4)
    by_class, weight = np.array([0.5, 2.0, 0.0, 1.0]), rng.random(9)
    value, d_prediction = losses.cross_entropy(logits, labels, class_weight=by_class, weight=weight)
    expected = losses.cross_entropy(logits, labels, weight=weight * by_class[labels])
    assert value == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(d_prediction, expected[1], rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64, bool])
def test_labels_are_integers_of_any_kind(rng: Rng, dtype: Any) -> None:
    logits, labels = rng.standard_normal((9, 2)), rng.integers(0, 2, 9)
    assert losses.cross_entropy(logits, labels.astype(dtype))[0] == losses.cross_entropy(logits, labels)[0]


def test_the_gradient_of_a_position_sums_to_zero(rng: Rng) -> None:
    logits = 30.0 * rng.standard_normal((50, 5))
    _, d_prediction = losses.cross_entropy(logits, rng.integers(0, 5, 50))
    np.testing.assert_allclose(d_prediction.sum(axis=-1), 0.0, atol=1e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_give_the_limits(dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-np.inf, 0.0, 0.0]], dtype)
    value, d_prediction = losses.cross_entropy(logits, np.array([0, 1, 2]))
    assert value == pytest.approx((0.0 + 2e4 + math.log(2.0)) / 3, rel=1e-12)
    expected = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.5, -0.5]]) / 3
    np.testing.assert_allclose(d_prediction, expected, rtol=1e-6)
    value, d_prediction = losses.binary_cross_entropy(np.array([1e4, -1e4, 1e4, -1e4], dtype), [1.0, 0.0, 0.0, 1.0])
    assert value == 5e3
    np.testing.assert_array_equal(d_prediction, np.array([0.0, 0.0, 0.25, -0.25], dtype))


def test_a_confident_right_answer_keeps_a_gradient() -> None:
    """Where a probability minus 1 would have cancelled to nothing, or to its last bits."""
    _, d_prediction = losses.binary_cross_entropy(np.array([40.0, -40.0]), [1, 0])
    np.testing.assert_allclose(d_prediction, [-0.5 * math.exp(-40.0), 0.5 * math.exp(-40.0)], rtol=1e-12)
    _, d_prediction = losses.cross_entropy(np.array([[40.0, 0.0]]), [0])
    np.testing.assert_allclose(d_prediction, [[-math.exp(-40.0), math.exp(-40.0)]], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_and_its_logarithm(rng: Rng, dtype: str) -> None:
    x = (3.0 * rng.standard_normal((4, 5, 6))).astype(dtype)
    wide = np.exp(x.astype(np.float64))
    expected = wide / wide.sum(axis=-1, keepdims=True)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(losses.softmax(x), expected, rtol=tolerance)
    np.testing.assert_allclose(losses.log_softmax(x), np.log(expected), rtol=tolerance, atol=tolerance)
    assert losses.softmax(x).dtype == losses.log_softmax(x).dtype == dtype
    moved = (x + dtype_of(dtype)(1e4)).astype(np.float64)
    np.testing.assert_allclose(losses.softmax(moved).sum(axis=-1), 1.0, rtol=1e-14)
    extreme = np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4], [0.0, -np.inf, 0.0]], dtype)
    np.testing.assert_allclose(losses.softmax(extreme), [[0.5, 0, 0.5], [1 / 3] * 3, [0.5, 0, 0.5]], rtol=1e-6)
    log = losses.log_softmax(extreme)
    np.testing.assert_allclose(log[0], [-math.log(2), -2e4 - math.log(2), -math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(log[2], [-math.log(2), -np.inf, -math.log(2)], rtol=1e-6)
    assert losses.softmax([1, 1]).dtype == np.float64


def dtype_of(name: str) -> Any:
    return np.dtype(name).type


def test_nan_and_infinite_logits_stay_quiet_and_visible() -> None:
    assert np.isnan(losses.softmax([[np.nan, 0.0]])).all()
    assert np.isnan(losses.log_softmax([[np.inf, 0.0]])[0, 0])


@pytest.mark.parametrize("shape", [(6, 1), (3, 2, 1)], ids=str)
def test_one_logit_a_target_needs_no_axis_in_the_target(rng: Rng, shape: tuple[int, ...]) -> None:
    logits, target = rng.standard_normal(shape), rng.random(shape)
    weight = rng.random(shape[:-1])
    with_axis = losses.binary_cross_entropy(logits, target, weight=weight)
    without = losses.binary_cross_entropy(logits, target[..., 0], weight=weight)
    assert without[0] == with_axis[0]
    np.testing.assert_array_equal(without[1], with_axis[1])
    levels = losses.quantile(logits, target, weight=weight)
    np.testing.assert_array_equal(losses.quantile(logits, target[..., 0], weight=weight)[1], levels[1])
    half = losses.mae(logits, target, weight=weight)
    assert levels[0] == pytest.approx(0.5 * half[0], rel=1e-14)
    np.testing.assert_allclose(levels[1], 0.5 * half[1], rtol=1e-14)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.75])
def test_the_pinball_loss_is_least_at_the_quantile(rng: Rng, level: float) -> None:
    target = rng.standard_normal(401)

    def loss(guess: float) -> float:
        return losses.quantile(np.full((401, 1), guess), target, levels=[level])[0]

    best = float(np.quantile(target, level))
    assert all(loss(best) <= loss(best + shift) + 1e-15 for shift in (-0.5, -0.01, 0.01, 0.5))


def test_a_target_that_is_met_pulls_nowhere() -> None:
    assert not losses.quantile(np.array([[1.0, 1.0]]), np.array([1.0]), levels=(0.2, 0.9))[1].any()
    assert not losses.mae(np.ones(3), np.ones(3))[1].any()


@pytest.mark.parametrize(
    ("prediction", "target", "words"),
    [
        ((5, 4), (5, 4), "target.argmax(axis=-1)"),
        ((5, 4), (5, 1), "Pass target[..., 0]"),
        ((5, 4, 9), (5, 9), "numpy.moveaxis(prediction, 1, -1)"),
        ((9, 5, 4), (5, 9), "target.swapaxes(0, 1)"),
        ((5, 4), (6,), "Pass one label for each vector of logits"),
        ((), (), "prediction.shape = () read as (..., classes)"),
    ],
    ids=str,
)
def test_labels_that_do_not_fit(prediction: tuple[int, ...], target: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=r"losses\.cross_entropy: `target` has shape") as caught:
        losses.cross_entropy(np.zeros(prediction), np.zeros(target, int))
    assert words in str(caught.value)


def test_the_first_label_out_of_range_is_named() -> None:
    labels = np.zeros((3, 2), int)
    labels[1, 1], labels[2, 0] = 4, -1
    with pytest.raises(ValueError, match=r"`target\[1, 1\]` is 4, expected 0 to 3, or -100") as caught:
        losses.cross_entropy(np.zeros((3, 2, 4)), labels)
    assert "Labels count from 0" in str(caught.value)
    losses.cross_entropy(np.zeros((3, 2, 4)), labels, weight=[[1, 1], [1, 0], [0, 1]])
    rows = [np.zeros((2, 4)), np.zeros((3, 4))]
    with pytest.raises(ValueError, match=r"`target\[1\]\[2\]` is 7"):
        losses.cross_entropy(rows, [np.zeros(2, int), np.array([0, 1, 7])])
    packed = numrnn.pack_sequence(rows[::-1]), numrnn.pack_sequence([np.zeros(3, int), np.array([0, 9])])
    with pytest.raises(ValueError, match=r"`target.data\[3\]` is 9"):
        losses.cross_entropy(*packed)


def test_the_first_share_out_of_range_is_named() -> None:
    target = np.array([[0.0, 1.0], [0.5, -0.5]])
    with pytest.raises(ValueError, match=r"`target\[1, 1\]` is -0.5, expected a number from 0 to 1") as caught:
        losses.binary_cross_entropy(np.zeros((2, 2)), target)
    assert "use cross_entropy" in str(caught.value)
    losses.binary_cross_entropy(np.zeros((2, 2)), target, weight=[[1, 1], [1, 0]])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: losses.cross_entropy(np.zeros((2, 3)), np.zeros(2)), TypeError, "which are integers, got float64"),
        (lambda: losses.cross_entropy(np.zeros((2, 3)), [0, 1], class_weight=[1.0]), ValueError, "expected (3,)"),
        (
            lambda: losses.cross_entropy(np.zeros((2, 3)), [0, 1], class_weight=[1.0, -1.0, 1.0]),
            ValueError,
            "`class_weight` has entries that are negative",
        ),
        (
            lambda: losses.cross_entropy(np.zeros((2, 3)), [0, 1], class_weight=[0.0, 0.0, 1.0]),
            ValueError,
            "nothing to average",
        ),
        (
            lambda: losses.cross_entropy(np.zeros((2, 3)), [0, 1], weight=[1e200, 1.0], class_weight=[1e200, 1.0, 1.0]),
            ValueError,
            "sum of `weight` overflows",
        ),
        (lambda: losses.cross_entropy(np.zeros((2, 3)), [-100, -100]), ValueError, "nothing to average"),
        (lambda: losses.cross_entropy(np.zeros((2, 3)), [0, 1], ignore_index=1.5), TypeError, "`ignore_index` should"),
        (lambda: losses.cross_entropy(np.zeros((2, 3)), [0, 1], ignore_index=True), TypeError, "`ignore_index` should"),
        (lambda: losses.huber(np.zeros(2), np.zeros(2), delta=0.0), ValueError, "`delta` should be more than 0"),
        (lambda: losses.huber(np.zeros(2), np.zeros(2), delta="1"), TypeError, "`delta` should be a real number"),
        (lambda: losses.quantile(np.zeros(2), np.zeros(2)), ValueError, "add an axis: prediction[..., None]"),
        (
            lambda: losses.quantile(np.zeros((2, 3)), np.zeros((2, 3)), levels=(0.1, 0.5, 0.9)),
            ValueError,
            "share a target",
        ),
        (
            lambda: losses.quantile(np.zeros((2, 3)), np.zeros(2), levels=(0.1, 0.9)),
            ValueError,
            "expected (..., 2): one number for each of the 2 levels",
        ),
        (lambda: losses.quantile(np.zeros((2, 1)), np.zeros(2), levels=0.5), TypeError, "pass levels=(0.5,)"),
        (lambda: losses.quantile(np.zeros((2, 1)), np.zeros(2), levels=(1.0,)), ValueError, "`levels[0]` should be"),
        (lambda: losses.quantile(np.zeros((2, 1)), np.zeros(2), levels=("a",)), TypeError, "`levels[0]` should be"),
        (lambda: losses.quantile(np.zeros((2, 0)), np.zeros(2), levels=()), ValueError, "`levels` is empty"),
        (lambda: losses.binary_cross_entropy(np.zeros(3), np.zeros((3, 1))), ValueError, "Pass target[..., 0]"),
        (lambda: losses.softmax(1.0), ValueError, "an axis of classes"),
        (lambda: losses.log_softmax(np.zeros((2, 0))), ValueError, "losses.log_softmax: `x` has shape (2, 0)"),
        (lambda: losses.softmax(["a"]), TypeError, "holds text"),
    ],
)
def test_wrong_arguments_are_explained(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert str(caught.value).startswith("losses.")
