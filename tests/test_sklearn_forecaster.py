"""The forecaster: what it reads, and what its forecasts are worth."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score

from numrnn.data import sunspots
from numrnn.sklearn import RecurrentForecaster

Rng = np.random.Generator

SMALL = {"hidden_size": 6, "max_epochs": 3, "random_state": 0}


def windows_of(series: np.ndarray, window: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of a series, and what follows it; one after the other, by hand."""
    starts = range(len(series) - window - horizon + 1)
    before = np.array([series[k : k + window] for k in starts])
    return before, np.array([series[k + window : k + window + horizon] for k in starts])


def errors(forecast: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def autoregression(train: np.ndarray, before: np.ndarray, window: int, horizon: int) -> np.ndarray:
    """Forecasts of a linear model of the same windows, by least squares."""
    x, y = windows_of(train, window, horizon)
    weights = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    return np.column_stack([before, np.ones(len(before))]) @ weights


def test_sunspots_are_forecast_better_than_by_persistence_and_autoregression() -> None:
    years, numbers = sunspots()
    train = numbers[years < 1959]
    before, after = windows_of(numbers[len(train) - 9 :], 9, 1)
    forecast = RecurrentForecaster(window=9, random_state=0).fit(train[None]).predict(before)
    assert errors(forecast, after) < 0.95 * errors(autoregression(train, before, 9, 1), after)
    assert errors(forecast, after) < 0.6 * errors(before[:, -1:], after)


def test_a_trend_is_followed_beyond_what_was_seen(rng: Rng) -> None:
    """The level of the last step is far outside of the training data."""
    t = np.arange(400)
    series = 100.0 + 0.5 * t + 20.0 * np.sin(2 * np.pi * t / 12) + rng.standard_normal(400)
    before, after = windows_of(series[276:], 24, 6)
    forecast = RecurrentForecaster(horizon=6, window=24, max_epochs=20, random_state=0).fit(series[None, :300])
    assert errors(forecast.predict(before), after) < 2.0  # the noise is 1, and 20 is the size of the season


@pytest.mark.parametrize("listed", [False, True], ids=["array", "list"])
@pytest.mark.parametrize("features", [1, 3])
def test_it_learns_from_every_window_of_every_series(listed: bool, features: int, rng: Rng) -> None:
    """The same forecasts as a network that is trained on windows cut by hand, each as a series of its own."""
    lengths = [9, 12, 10] if listed else [10] * 3
    series: Any = [rng.standard_normal((length, features)) for length in lengths]
    cut = [windows_of(each, 5, 2) for each in series]
    by_hand = np.concatenate([np.concatenate(pair, axis=1) for pair in cut])
    options = SMALL | {"horizon": 2, "window": 5, "batch_size": 100}  # one batch, since the order differs
    x = np.array([each[-6:-1] for each in series])
    found = RecurrentForecaster(**options).fit(series if listed else np.array(series)).predict(x)
    expected = RecurrentForecaster(**options).fit(by_hand).predict(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found.shape == ((3, 2) if features == 1 else (3, 2, 3))


def test_a_forecast_reads_the_last_window_alone(rng: Rng) -> None:
    series = rng.standard_normal((4, 30))
    forecaster = RecurrentForecaster(**SMALL, horizon=3, window=8).fit(series)
    expected = forecaster.predict(series)
    np.testing.assert_array_equal(forecaster.predict(series[:, -8:]), expected)
    np.testing.assert_array_equal(forecaster.predict(np.concatenate([series, series], axis=1)), expected)
    np.testing.assert_array_equal(forecaster.predict(list(series[:, -9:])), expected)
    lengths = [30, 20, 9, 8]
    cut = [row[:length] for row, length in zip(series, lengths, strict=True)]
    np.testing.assert_array_equal(forecaster.predict(series, lengths=lengths), forecaster.predict(cut))


def test_a_level_is_carried_over(rng: Rng) -> None:
    """To the bits that the sum leaves: powers of two are exact."""
    series = np.round(rng.standard_normal((3, 20)) * 256) / 256
    forecaster = RecurrentForecaster(**SMALL, horizon=2, window=5).fit(series)
    np.testing.assert_allclose(forecaster.predict(series + 1024.0) - 1024.0, forecaster.predict(series), atol=1e-12)


def test_the_score_judges_the_last_steps(rng: Rng) -> None:
    series = rng.standard_normal((5, 20, 2))
    forecaster = RecurrentForecaster(**SMALL, horizon=3, window=6).fit(series)
    weight = rng.uniform(0.5, 2.0, 5)
    truth, forecast = series[:, -3:].reshape(-1, 2), forecaster.predict(series[:, :-3]).reshape(-1, 2)
    expected = r2_score(truth, forecast, sample_weight=np.repeat(weight, 3))
    assert forecaster.score(series, sample_weight=weight) == pytest.approx(expected)


@pytest.mark.parametrize(("steps", "horizon", "window"), [(2, 1, 1), (20, 1, 10), (21, 4, 9), (500, 7, 64)])
def test_without_a_window_half_of_the_shortest_series_is_read(steps: int, horizon: int, window: int, rng: Rng) -> None:
    series = [rng.standard_normal(steps), rng.standard_normal(steps + 30)]
    assert RecurrentForecaster(**SMALL | {"max_epochs": 1}, horizon=horizon).fit(series).window_ == window


def test_series_without_weight_may_be_short(rng: Rng) -> None:
    series = [rng.standard_normal(12), rng.standard_normal(2)]
    assert RecurrentForecaster(**SMALL, window=6).fit(series, sample_weight=[1, 0]).window_ == 6


@pytest.mark.parametrize(("fraction", "held_out"), [(0.2, [0, 1, 2]), (0.9, [0, 4, 9])])
def test_something_of_each_series_is_left_to_learn_from(fraction: float, held_out: list[int]) -> None:
    late = RecurrentForecaster()._last_windows(np.array([1, 5, 10]), fraction)
    for part, count in zip(np.split(late, [1, 6]), held_out, strict=True):
        np.testing.assert_array_equal(part, np.arange(len(part)) >= len(part) - count)


def test_what_is_held_out_comes_last(rng: Rng) -> None:
    """Series whose end is far off have a validation loss that is too."""
    series = rng.standard_normal((2, 40))
    series[:, 36:] *= 100.0
    options = {"hidden_size": 6, "random_state": 0, "max_epochs": 2}
    forecaster = RecurrentForecaster(**options, window=4, early_stopping=True, validation_fraction=0.12).fit(series)
    assert forecaster.history_["val_loss"][0] > 100 * forecaster.history_["loss"][0]
