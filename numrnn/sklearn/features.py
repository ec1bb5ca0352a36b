"""Features of series."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from numrnn import losses
from numrnn._errors import explain
from numrnn._types import Array
from numrnn.sklearn.base import Lesson, RecurrentEstimator
from numrnn.sklearn.cases import Cases, distinct
from numrnn.sklearn.reading import read_cases
from numrnn.sklearn.settings import Settings
from numrnn.sklearn.targets import read_weight

__all__ = ["RecurrentFeatures"]


class RecurrentFeatures(TransformerMixin, RecurrentEstimator):
    """Turns each series into a row of features: the last state of a recurrent network that read it.

    Parameters
    ----------
    max_epochs : int
        0 leaves the network's weights as they were drawn. With more it learns, without labels, to say each step of the
        series from those before.
    cell, hidden_size, num_layers, bidirectional, dropout, batch_size, lr, optimizer
        As in `RecurrentClassifier`; a network that learns cannot be bidirectional, since it would see what it is to
        say.
    early_stopping, validation_fraction, n_iter_no_change
        As in `RecurrentClassifier`.
    random_state, n_jobs, verbose, warm_start, X_layout
        As in `RecurrentClassifier`.

    Attributes
    ----------
    model_ : SequenceModel
        The network; its head, if it has learnt, says the next step.
    history_, n_iter_, n_features_in_, feature_names_in_
        As in `RecurrentClassifier`.

    Notes
    -----
    Random weights make a reservoir, a fixed and nonlinear map of series into `hidden_size` numbers (Jaeger 2001, GMD
    report 148), which a linear model then reads; only the scale of X is taken from the data. Recurrent weights are
    orthogonal and those of the input Glorot's, so that early steps are still seen in the last state; a plain cell,
    which has no gates that would have to be learnt, is the default. Each feature is standardised, and weights and
    copies of cases are treated, as in `RecurrentClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from numrnn.sklearn import RecurrentFeatures
    >>> x, y = load_digits(return_X_y=True)
    >>> rows = RecurrentFeatures(hidden_size=256, X_layout=8, random_state=0)  # of 64 pixels: 8 steps of 8
    >>> pipeline = make_pipeline(rows, RidgeClassifier()).fit(x[:1400], y[:1400])
    >>> pipeline.score(x[1400:], y[1400:]) > 0.85
    True
    """

    _init = "keras"

    def __init__(
        self,
        *,
        cell: str = "rnn",
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        max_epochs: int = 0,
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Take the scale of X, draw a network and, with `max_epochs`, train it.

        Parameters
        ----------
        X, sample_weight, lengths
            As in `RecurrentClassifier.fit`.
        y : None
            Not read; it is here because pipelines pass one.

        Returns
        -------
        RecurrentFeatures
            Itself.

        Raises
        ------
        ValueError, TypeError
            An argument, of this call or of the constructor, that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentFeatures
        >>> x = np.random.default_rng(0).standard_normal((50, 10, 2))
        >>> RecurrentFeatures(hidden_size=8, max_epochs=2).fit(x).n_iter_
        2
        """
        settings, head = Settings.of(self, least_epochs=0), type(self).__name__
        if settings.max_epochs and settings.bidirectional:
            problem = "bidirectional=True with max_epochs > 0: the reverse half has seen the step that is to be said."
            raise ValueError(explain(head, problem, "Pass max_epochs=0, or bidirectional=False."))
        again = settings.warm_start and hasattr(self, "model_")
        if again:
            cases = self._read(X, lengths, settings)
        else:
            cases = read_cases(self, X, lengths, settings.layout, reset=True)
        weight = read_weight(head, sample_weight, len(cases))
        rows, weight = distinct(cases, None, weight)
        cases = cases.take(rows)
        if not again:
            self._begin_with(cases, weight, settings, cases.n_features if settings.max_epochs else None, "every")
        if settings.max_epochs:
            self._learn_next_steps(cases, weight, settings)
        return self

    def transform(self, X: Any, lengths: Any = None) -> Array:
        """Return the network's last state of each series.

        Parameters
        ----------
        X, lengths
            As in `fit`; series may have other lengths, but a 2-D X has as many columns.

        Returns
        -------
        array (cases, hidden_size), or (cases, 2 * hidden_size) if bidirectional
            Of the top layer, in the dtype of the X that was fitted.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            Before `fit`; X as in `fit`, or with other features.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentFeatures
        >>> x = np.random.default_rng(0).standard_normal((50, 10))
        >>> RecurrentFeatures(hidden_size=8).fit(x).transform(x).shape
        (50, 8)
        """
        check_is_fitted(self, "model_")
        settings = Settings.of(self, least_epochs=0)
        series = self._scaled(self._read(X, lengths, settings))
        states: Array = self._layer.last(series, n_threads=settings.n_threads).last_output
        return states

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None, lengths: Any = None) -> Array:
        """`fit`, then `transform` of the same series.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        Returns
        -------
        array (cases, features)

        Raises
        ------
        ValueError, TypeError
            As in `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentFeatures
        >>> x = [np.zeros((4, 2)), np.ones((7, 2))]
        >>> RecurrentFeatures(hidden_size=8).fit_transform(x).shape
        (2, 8)
        """
        return self.fit(X, y, sample_weight, lengths).transform(X, lengths)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of what `transform` returns.

        Parameters
        ----------
        input_features : array of str, optional
            Checked against `feature_names_in_`, and not used: each unit reads all features.

        Returns
        -------
        array of str
            "lstm0", "lstm1", ...; if bidirectional "lstm_forward0", ..., "lstm_reverse0", ...

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; names that are not those of `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentFeatures
        >>> RecurrentFeatures(cell="gru", hidden_size=3).fit(np.zeros((5, 10))).get_feature_names_out()
        array(['gru0', 'gru1', 'gru2'], dtype=object)
        """
        check_is_fitted(self, "model_")
        if input_features is not None:
            given = np.asarray(input_features, dtype=object)
            known = getattr(self, "feature_names_in_", given)
            if len(given) != self.n_features_in_ or not np.array_equal(given, known):
                problem = f"`input_features` should be the {self.n_features_in_} names of the X that was fitted."
                raise ValueError(explain(type(self).__name__, problem, "Leave it out."))
        layer = self._layer
        halves = ("_forward", "_reverse") if layer.bidirectional else ("",)
        cell = type(layer).__name__.lower()
        names = [f"{cell}{half}{k}" for half in halves for k in range(layer.hidden_size)]
        return np.array(names, dtype=np.object_)

    def _learn_next_steps(self, cases: Cases, weight: NDArray[np.float64], settings: Settings) -> None:
        """Train the network to say each step from those before; a case counts with each of its steps."""
        longer = np.flatnonzero(cases.lengths > 1)
        if not len(longer):
            problem = "max_epochs > 0, but every series has 1 step: there is no next one to learn."
            raise ValueError(explain(type(self).__name__, problem, "Pass max_epochs=0."))
        series = self._scaled(cases.take(longer))
        if isinstance(series, list):
            lesson = Lesson([each[:-1] for each in series], [each[1:] for each in series], weight[longer])
        else:
            lesson = Lesson(series[:, :-1], series[:, 1:], weight[longer])
        held_out = None
        if settings.early_stopping:
            held_out = self._hold_out(np.zeros(len(longer), np.int64), settings.validation_fraction)
        self._train(lesson, losses.mse, settings, settings.max_epochs, held_out)
