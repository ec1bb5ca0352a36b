"""Regression on whole series."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from numrnn import losses
from numrnn._errors import explain
from numrnn._types import Array
from numrnn.sklearn.scale import Scale
from numrnn.sklearn.supervised import Numbers, RecurrentPredictor
from numrnn.sklearn.targets import read_numbers

__all__ = ["RecurrentRegressor"]


class RecurrentRegressor(RegressorMixin, RecurrentPredictor):
    """Predicts one number of each series, or several: a recurrent network, and a dense layer on its last state.

    Parameters
    ----------
    cell, hidden_size, num_layers, bidirectional, dropout, max_epochs, batch_size, lr, optimizer
        As in `RecurrentClassifier`.
    early_stopping, validation_fraction, n_iter_no_change
        As in `RecurrentClassifier`; the cases that are held out are drawn from all.
    random_state, n_jobs, verbose, warm_start, X_layout
        As in `RecurrentClassifier`.

    Attributes
    ----------
    model_, history_, n_iter_, n_features_in_, feature_names_in_
        As in `RecurrentClassifier`.

    Notes
    -----
    Each target is standardised by its weighted mean and deviation over the cases, those of the first call, and
    predictions are scaled back; the loss is the mean squared error of standardised targets, so that several targets
    count alike. A constant target is predicted as it is. X, weights and copies of cases are treated as
    `RecurrentClassifier` treats them.

    Examples
    --------
    >>> import numpy as np
    >>> from numrnn.sklearn import RecurrentRegressor
    >>> x = np.random.default_rng(0).standard_normal((400, 10))
    >>> y = 100.0 + 20.0 * x[:, -3:].mean(axis=1)
    >>> regressor = RecurrentRegressor(hidden_size=16, random_state=0).fit(x[:300], y[:300])
    >>> regressor.score(x[300:], y[300:]) > 0.9
    True
    """

    _loss = staticmethod(losses.mse)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Learn numbers from series.

        Parameters
        ----------
        X, sample_weight, lengths
            As in `RecurrentClassifier.fit`.
        y : array (cases,) or (cases, targets)
            Finite real numbers.

        Returns
        -------
        RecurrentRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            An argument, of this call or of the constructor, that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentRegressor
        >>> x = np.random.default_rng(0).standard_normal((50, 10, 2))
        >>> RecurrentRegressor(max_epochs=2).fit(x, x[:, -1]).predict(x).shape
        (50, 2)
        """
        return self._learn(X, y, sample_weight, lengths, again=self.warm_start and hasattr(self, "model_"))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Go on learning, for one epoch over these cases.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        Returns
        -------
        RecurrentRegressor
            Itself.

        Raises
        ------
        ValueError, TypeError
            As in `fit`; another number of targets than before; `early_stopping`.

        Notes
        -----
        Features and targets are standardised by the cases of the first call.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentRegressor
        >>> x = np.random.default_rng(0).standard_normal((64, 10))
        >>> regressor = RecurrentRegressor(hidden_size=8, random_state=0)
        >>> for part in (slice(0, 32), slice(32, 64)):
        ...     regressor = regressor.partial_fit(x[part], x[part].sum(axis=1))
        >>> regressor.n_iter_
        2
        """
        return self._learn_once(X, y, sample_weight, lengths)

    def predict(self, X: Any, lengths: Any = None) -> Array:
        """Return the numbers of each series.

        Parameters
        ----------
        X, lengths
            As in `fit`; series may have other lengths, but a 2-D X has as many columns.

        Returns
        -------
        array (cases,) or (cases, targets)
            As y was.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            Before `fit`; X as in `fit`, or with other features.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentRegressor
        >>> x = np.random.default_rng(0).standard_normal((50, 10))
        >>> RecurrentRegressor(max_epochs=2).fit(x, x[:, 0]).predict(x).shape
        (50,)
        """
        outputs = self._outputs(X, lengths)
        prediction = self._target_scale.undo(outputs)
        return prediction[:, 0] if self._one_target else prediction

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """Return the coefficient of determination R^2; of several targets the mean.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        Returns
        -------
        float
            1 is perfect; 0 is what the mean of y would reach.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As in `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentRegressor
        >>> x = np.random.default_rng(0).standard_normal((64, 10))
        >>> RecurrentRegressor(hidden_size=8, random_state=0).fit(x, x[:, -1]).score(x, x[:, -1]) > 0.9
        True
        """
        return float(r2_score(y, self.predict(X, lengths), sample_weight=sample_weight))

    def _read_target(self, y: object, weight: Numbers, again: bool) -> Numbers:
        """Read y as (cases, targets)."""
        head = type(self).__name__
        target = read_numbers(head, y, len(weight))
        if not again or not hasattr(self, "model_"):
            self._one_target = target.ndim == 1
        target = target.reshape(len(target), -1)
        if again and hasattr(self, "model_") and target.shape[1] != len(self._target_scale.mean):
            problem = (
                f"`y` has {target.shape[1]} targets, but it had {len(self._target_scale.mean)} in an earlier call."
            )
            raise ValueError(explain(head, problem, "Their number stays; make a new estimator for others."))
        return target

    def _new_outputs(self, target: NDArray[Any], weight: Numbers) -> int:
        self._target_scale = Scale.of(target, weight)
        return int(target.shape[1])

    def _as_learnt(self, target: NDArray[Any]) -> Array:
        return self._target_scale.apply(target)

    def _groups(self, target: NDArray[Any]) -> NDArray[np.int64]:
        return np.zeros(len(target), np.int64)
