"""Forecasts of series."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from numrnn import losses
from numrnn._errors import explain
from numrnn._types import Array
from numrnn.nn.arguments import count
from numrnn.sklearn.base import Lesson, RecurrentEstimator
from numrnn.sklearn.cases import Cases, distinct
from numrnn.sklearn.reading import read_cases
from numrnn.sklearn.scale import Scale
from numrnn.sklearn.settings import Settings
from numrnn.sklearn.targets import read_weight

__all__ = ["RecurrentForecaster"]

_LONGEST_WINDOW = 64


class RecurrentForecaster(RecurrentEstimator):
    """Forecasts how series go on: a recurrent network reads their last steps and says the next ones, all at once.

    Parameters
    ----------
    horizon : int
        Steps that are forecast.
    window : int, optional
        Steps that are read for a forecast. None: half of what the shortest series has before the horizon, 64 at most.
    cell, hidden_size, num_layers, bidirectional, dropout, max_epochs, lr, optimizer
        As in `RecurrentClassifier`.
    batch_size : int
        Windows in a batch.
    early_stopping, validation_fraction, n_iter_no_change
        As in `RecurrentClassifier`; what is held out are the last windows of each series.
    random_state, n_jobs, verbose, warm_start, X_layout
        As in `RecurrentClassifier`.

    Attributes
    ----------
    window_ : int
        Steps that are read.
    model_, history_, n_iter_, n_features_in_, feature_names_in_
        As in `RecurrentClassifier`.

    Notes
    -----
    `fit` needs no y: every stretch of `window_` steps in every series is a sample, and the `horizon` steps after it are
    its target. Series with several features are forecast in all of them. One long series is X of shape (1, time).

    What the network reads and says are differences from the window's last step (Zeng et al. 2023, arXiv:2205.13504,
    NLinear), so that a drifting level does no harm; of each feature they are standardised by their mean and deviation
    over all windows. The loss is the mean squared error. Weights and copies of series are treated as
    `RecurrentClassifier` treats those of cases: a series' weight is that of each of its windows. `fit` holds all
    windows in memory, `window_` times the size of X.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn.sklearn import RecurrentForecaster
    >>> series = np.sin(0.3 * np.arange(300))[None]
    >>> forecaster = RecurrentForecaster(horizon=5, window=20, random_state=0).fit(series[:, :250])
    >>> forecast = forecaster.predict(series[:, :250])
    >>> forecast.shape, bool(np.abs(forecast - series[:, 250:255]).max() < 0.1)
    ((1, 5), True)
    """

    window_: int

    def __init__(
        self,
        *,
        horizon: int = 1,
        window: int | None = None,
        cell: str = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        max_epochs: int = 50,
        batch_size: int = 32,
        lr: float = 5e-3,
        optimizer: str = "adam",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
        warm_start: bool = False,
        X_layout: str | int = "auto",
    ) -> None:
        super().__init__(
            cell=cell,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            optimizer=optimizer,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
            warm_start=warm_start,
            X_layout=X_layout,
        )
        self.horizon = horizon
        self.window = window

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Learn how series go on.

        Parameters
        ----------
        X : array (cases, time), (cases, time, features), or a list of arrays (T_n, features)
            Finite real numbers; each series has `window + horizon` steps at least.
        y : None
            Not read; it is here because pipelines pass one.
        sample_weight : array (cases,), optional
            0 or more; a weight of k equals k copies of the series.
        lengths : array of int (cases,), optional
            Steps of each series of a padded array; the rest is not read and may be NaN.

        Returns
        -------
        RecurrentForecaster
            Itself.

        Raises
        ------
        ValueError, TypeError
            An argument, of this call or of the constructor, that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentForecaster
        >>> series = np.random.default_rng(0).standard_normal((3, 100))
        >>> RecurrentForecaster(horizon=4, max_epochs=2).fit(series).window_
        48
        """
        settings, head = Settings.of(self), type(self).__name__
        horizon = count(head, "horizon", self.horizon)
        window = None if self.window is None else count(head, "window", self.window)
        again = settings.warm_start and hasattr(self, "model_")
        if again:
            if (horizon, window or self.window_) != (self._steps_ahead, self.window_):
                problem = f"`horizon` and `window` are {horizon} and {window}, but were {self._steps_ahead} and "
                problem += f"{self.window_}, and warm_start=True goes on with that network."
                raise ValueError(explain(head, problem, "Leave them, or pass warm_start=False."))
            cases = self._read(X, lengths, settings, **self._columns_needed(settings, horizon))
        else:
            least = _step(settings) * (1 + horizon)
            cases = read_cases(self, X, lengths, settings.layout, reset=True, least_columns=least)
        weight = read_weight(head, sample_weight, len(cases))
        shortest = int(cases.lengths[weight > 0.0].min())
        if again:
            window = self.window_
        elif window is None:
            window = min(_LONGEST_WINDOW, max(1, (shortest - horizon + 1) // 2))
        self._require_steps(cases, weight, window, horizon)
        rows, weight = distinct(cases, None, weight)
        cases = cases.take(rows)
        changes, counts = _changes(cases, window, horizon)
        each = np.repeat(weight, counts)
        if not again:
            self.window_ = window
            self._scale = Scale.of(changes.reshape(-1, cases.n_features), np.repeat(each, window + horizon))
            self._begin(settings, cases.n_features, changes.dtype, horizon * cases.n_features, "last")
        changes = self._scale.apply(changes)
        lesson = Lesson(changes[:, :window], changes[:, window:].reshape(len(changes), -1), each)
        held_out = self._last_windows(counts, settings.validation_fraction) if settings.early_stopping else None
        self._train(lesson, losses.mse, settings, settings.max_epochs, held_out)
        return self

    def predict(self, X: Any, lengths: Any = None) -> Array:
        """Forecast the `horizon` steps after the end of each series.

        Parameters
        ----------
        X, lengths
            As in `fit`; each series has `window_` steps at least, and only its last `window_` are read.

        Returns
        -------
        array (cases, horizon), or (cases, horizon, features) of several features

        Raises
        ------
        NotFittedError, ValueError, TypeError
            Before `fit`; X as in `fit`, or with other features.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentForecaster
        >>> series = np.random.default_rng(0).standard_normal((3, 100, 2))
        >>> RecurrentForecaster(horizon=4, max_epochs=2).fit(series).predict(series).shape
        (3, 4, 2)
        """
        check_is_fitted(self, "model_")
        settings = Settings.of(self)
        cases = self._read(X, lengths, settings, **self._columns_needed(settings, 0))
        self._require_steps(cases, np.ones(len(cases)), self.window_, 0)
        return self._forecast(cases, cases.lengths, settings)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, lengths: Any = None) -> float:
        """Return R^2 of forecasts of the last `horizon` steps of each series from those before.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        Returns
        -------
        float
            1 is perfect; 0 is what the mean of all these steps would reach. Of several features the mean.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As in `predict`; each series has `window_ + horizon` steps at least.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentForecaster
        >>> series = np.sin(0.3 * np.arange(300) + np.arange(4)[:, None])
        >>> RecurrentForecaster(horizon=5, max_epochs=10, random_state=0).fit(series[:3]).score(series) > 0.9
        True
        """
        check_is_fitted(self, "model_")
        settings, horizon = Settings.of(self), self._steps_ahead
        cases = self._read(X, lengths, settings, **self._columns_needed(settings, horizon))
        weight = read_weight(type(self).__name__, sample_weight, len(cases))
        self._require_steps(cases, np.ones(len(cases)), self.window_, horizon)
        forecast = self._forecast(cases, cases.lengths - horizon, settings)
        truth = _last(cases, cases.lengths, horizon)
        features = cases.n_features
        weights = np.repeat(weight, horizon)
        return float(r2_score(truth.reshape(-1, features), forecast.reshape(-1, features), sample_weight=weights))

    @property
    def _steps_ahead(self) -> int:
        """The horizon that the network was made for."""
        assert self.model_.readout is not None
        return self.model_.readout.out_features // self._layer.input_size

    def _columns_needed(self, settings: Settings, beyond: int) -> dict[str, Any]:
        return {"least_columns": _step(settings) * (self.window_ + beyond), "same_columns": False}

    def _forecast(self, cases: Cases, ends: NDArray[np.int64], settings: Settings) -> Array:
        """Forecast what follows after `ends` steps of each series."""
        windows = _last(cases, ends, self.window_)
        present = windows[:, -1:]
        outputs = self.model_(self._scale.apply(windows - present), n_threads=settings.n_threads)
        forecast = self._scale.undo(outputs.reshape(len(cases), -1, cases.n_features)) + present
        return forecast[:, :, 0] if cases.n_features == 1 else forecast

    def _last_windows(self, counts: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
        """Choose the last windows of each series, this fraction of them but not all, to decide when to stop."""
        chosen = np.minimum(counts - 1, np.maximum(1, np.round(fraction * counts)))
        late: NDArray[np.bool_] = _places(counts) >= np.repeat(counts - chosen, counts)
        if not late.any():
            problem = "early_stopping=True needs windows to stop by, but there is only one of each series."
            raise ValueError(explain(type(self).__name__, problem, "Pass early_stopping=False, or a shorter `window`."))
        return late

    def _require_steps(self, cases: Cases, weight: NDArray[np.float64], window: int, horizon: int) -> None:
        """Raise for a series that is too short."""
        short = np.flatnonzero((cases.lengths < window + horizon) & (weight > 0.0))
        if len(short):
            needed = f"{window + horizon}: a window of {window}"
            needed += f" and a horizon of {horizon}." if horizon else "."
            problem = f"series {short[0]} of X has {cases.lengths[short[0]]} steps, needed are {needed}"
            raise ValueError(explain(type(self).__name__, problem, "Fit with a shorter `window`, or leave it out."))


def _step(settings: Settings) -> int:
    """Columns that a step takes in a 2-D X."""
    return settings.layout if isinstance(settings.layout, int) else 1


def _last(cases: Cases, ends: NDArray[np.int64], n_steps: int) -> Array:
    """The `n_steps` steps of each series that come before its end: (N, n_steps, I)."""
    first = cases.ends - cases.lengths + ends - n_steps
    steps: Array = cases.steps[first[:, None] + np.arange(n_steps)]
    return steps


def _places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... for each series up to its count, one series after the other."""
    places: NDArray[np.int64] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return places


def _changes(cases: Cases, window: int, horizon: int) -> tuple[Array, NDArray[np.int64]]:
    """Every window with the steps after it, as differences from the window's last step; and how many a series has."""
    counts = cases.lengths - (window + horizon - 1)
    stretches = np.lib.stride_tricks.sliding_window_view(cases.steps, window + horizon, axis=0).swapaxes(1, 2)
    chosen = stretches[np.repeat(cases.ends - cases.lengths, counts) + _places(counts)]
    changes: Array = chosen - chosen[:, window - 1 : window]
    return changes, counts
