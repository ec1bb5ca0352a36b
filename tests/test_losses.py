"""The mean squared error: value, gradient, weights, and shapes that are no pair."""

from typing import Any

import numpy as np
import pytest

from numrnn import losses

Rng = np.random.Generator


def numbers(rng: Rng, shape: tuple[int, ...], dtype: str = "float64") -> tuple[Any, Any]:
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(), (7,), (7, 1), (4, 7, 3)], ids=str)
def test_it_is_the_mean_of_squares(rng: Rng, shape: tuple[int, ...]) -> None:
    prediction, target = numbers(rng, shape)
    value, d_prediction = losses.mse(prediction, target)
    assert type(value) is float
    assert value == pytest.approx(float(np.mean((prediction - target) ** 2)), rel=1e-14)
    assert d_prediction.shape == np.shape(prediction)


@pytest.mark.parametrize("weighted", ["no weight", "a weight a number", "a weight a vector"])
def test_the_gradient_matches_finite_differences(rng: Rng, weighted: str) -> None:
    prediction, target = numbers(rng, (4, 7, 3))
    weight = {"no weight": None, "a weight a number": rng.random((4, 7, 3)), "a weight a vector": rng.random((4, 7))}
    _, d_prediction = losses.mse(prediction, target, weight=weight[weighted])
    direction, step = rng.standard_normal(prediction.shape), 1e-6
    ends = [losses.mse(prediction + s * step * direction, target, weight=weight[weighted])[0] for s in (1, -1)]
    assert np.sum(d_prediction * direction) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)


def test_the_gradient_has_the_dtype_of_the_prediction(rng: Rng) -> None:
    prediction, target = numbers(rng, (7, 2))
    assert losses.mse(prediction.astype(np.float32), target)[1].dtype == np.float32
    assert losses.mse(prediction, target.astype(np.float32))[1].dtype == np.float64
    assert losses.mse([1, 2], [3, 4])[1].dtype == np.float64
    assert losses.mse(prediction.astype(">f4"), target)[1].dtype == np.float32
    assert losses.mse(prediction.astype(">f4"), target)[1].dtype.isnative


def test_the_value_is_summed_in_float64() -> None:
    """Numbers whose float32 sum would stop growing at 2**24."""
    prediction = np.ones(2**25, np.float32)
    assert losses.mse(prediction, np.zeros_like(prediction))[0] == 1.0


def test_weights_are_a_weighted_mean(rng: Rng) -> None:
    prediction, target = numbers(rng, (5, 3))
    weight = rng.random((5, 3))
    value, d_prediction = losses.mse(prediction, target, weight=weight)
    assert value == pytest.approx(float(np.average((prediction - target) ** 2, weights=weight)), rel=1e-14)
    scaled = losses.mse(prediction, target, weight=7.0 * weight)
    assert scaled[0] == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(scaled[1], d_prediction, rtol=1e-13)
    ones = losses.mse(prediction, target, weight=np.ones((5, 3)))
    assert ones[0] == losses.mse(prediction, target)[0]
    per_vector = losses.mse(prediction, target, weight=weight[:, 0])
    spread = losses.mse(prediction, target, weight=np.repeat(weight[:, :1], 3, axis=1))
    assert per_vector[0] == pytest.approx(spread[0], rel=1e-14)
    np.testing.assert_allclose(per_vector[1], spread[1], rtol=1e-13)


def test_where_the_weight_is_zero_nothing_counts(rng: Rng) -> None:
    prediction, target = numbers(rng, (5, 3))
    weight = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    holes = target.copy()
    holes[weight == 0.0] = np.nan
    value, d_prediction = losses.mse(prediction, holes, weight=weight)
    kept = losses.mse(prediction[weight > 0], target[weight > 0])
    assert value == pytest.approx(kept[0], rel=1e-14)
    np.testing.assert_allclose(d_prediction[weight > 0], kept[1], rtol=1e-14)
    assert not d_prediction[weight == 0].any()


def test_a_nan_that_counts_is_seen() -> None:
    value, d_prediction = losses.mse([1.0, 2.0], [1.0, np.nan])
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(d_prediction), [False, True])


def test_arguments_are_not_changed(rng: Rng) -> None:
    prediction, target = numbers(rng, (5, 3))
    weight = rng.random(5)
    copies = prediction.copy(), target.copy(), weight.copy()
    for array in (prediction, target, weight):
        array.flags.writeable = False
    losses.mse(prediction, target, weight=weight)
    for array, copy in zip((prediction, target, weight), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("prediction", "target", "advice"),
    [
        ((5, 1), (5,), "target[..., None]"),
        ((5,), (5, 1), "target[..., 0]"),
        ((9, 5, 2), (5, 9, 2), "target.swapaxes(0, 1)"),
        ((5, 2), (9, 5, 2), 'readout_on="every"'),
        ((9, 5, 2), (5, 2), 'readout_on="last"'),
        ((5, 2), (5, 3), "Pass one target for each number"),
        ((5, 2), (), "Pass one target for each number"),
    ],
    ids=str,
)
def test_nothing_is_broadcast(prediction: tuple[int, ...], target: tuple[int, ...], advice: str) -> None:
    with pytest.raises(ValueError, match=r"losses.mse: `target` has shape") as caught:
        losses.mse(np.zeros(prediction), np.zeros(target))
    text = str(caught.value)
    assert all(part in text for part in (str(prediction), str(target), "nothing is broadcast", advice)), text


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"weight": np.ones(3)}, ValueError, "`weight` has shape"),
        ({"weight": 1.0}, ValueError, "`weight` has shape"),
        ({"weight": np.array([1.0, -1.0, 1.0, 1.0, 1.0])}, ValueError, "negative, infinite or NaN"),
        ({"weight": np.array([1.0, np.inf, 1.0, 1.0, 1.0])}, ValueError, "negative, infinite or NaN"),
        ({"weight": np.full(5, 1e308)}, ValueError, "sum of `weight` overflows"),
        ({"weight": np.array([1.0, np.nan, 1.0, 1.0, 1.0])}, ValueError, "negative, infinite or NaN"),
        ({"weight": np.zeros(5)}, ValueError, "nothing to average"),
        ({"weight": np.array(["a"] * 5)}, TypeError, "text"),
        ({"target": np.ma.zeros((5, 3))}, TypeError, "masked"),
        ({"prediction": np.zeros((5, 3), complex)}, TypeError, "complex"),
        ({"prediction": np.zeros((0, 3)), "target": np.zeros((0, 3))}, ValueError, "nothing to average"),
    ],
)
def test_wrong_arguments_are_explained(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        losses.mse(**({"prediction": np.zeros((5, 3)), "target": np.zeros((5, 3))} | arguments))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_agrees_with_pytorch(rng: Rng, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    prediction, target = numbers(rng, (4, 7, 3), dtype)
    theirs = torch.tensor(prediction, requires_grad=True)
    loss = torch.nn.functional.mse_loss(theirs, torch.tensor(target))
    loss.backward()
    value, d_prediction = losses.mse(prediction, target)
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    assert value == pytest.approx(float(loss.detach()), rel=tolerance)
    np.testing.assert_allclose(d_prediction, theirs.grad.numpy(), rtol=tolerance, atol=tolerance)
