"""Classification of whole series."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from numrnn import losses
from numrnn._errors import explain
from numrnn._types import Array
from numrnn.sklearn.supervised import Numbers, RecurrentPredictor
from numrnn.sklearn.targets import read_labels

__all__ = ["RecurrentClassifier"]


class RecurrentClassifier(ClassifierMixin, RecurrentPredictor):
    """Tells which class a series belongs to: a recurrent network, and a softmax on its last state.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn"}
        Kind of the recurrent layers; "rnn" is the plain one, with tanh.
    hidden_size, num_layers : int
        Size of a state; layers in the stack.
    bidirectional : bool
        Whether series are read from both ends.
    dropout : float
        Probability of a zero between the layers of the stack, while fitting.
    max_epochs : int
        Passes over the cases.
    batch_size : int
        Different cases in a batch.
    lr : float
        Learning rate.
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}
        Of `numrnn.optim`, with its defaults but for `lr`. Gradients are clipped to a norm of 1.
    early_stopping : bool
        Whether to hold out `validation_fraction` of the cases, of each class alike, stop when their loss has not
        improved for `n_iter_no_change` epochs, and go back to the best weights.
    validation_fraction : float
    n_iter_no_change : int
    random_state : int, RandomState or None
        Of the initial weights, the order of cases and dropout. An int makes fits repeatable, bit for bit, whatever
        `n_jobs` is.
    n_jobs : int, optional
        Threads, -1 for all; None is 1, or what `joblib.parallel_config` says. Results do not depend on it.
    verbose : bool or int
        Whether to tell on stderr how it goes.
    warm_start : bool
        Whether another `fit` continues with the present network, for `max_epochs` more.
    X_layout : str or int
        How X is read. "auto": (cases, time) of one feature, or (cases, time, features). "cases_time_features": the
        latter alone. "cases_features_time": the last two axes swapped, in lists too, as sktime and aeon have them. An
        int: the rows of a 2-D X hold steps of so many features, one after the other.

    Attributes
    ----------
    classes_ : array
        The labels, in order.
    model_ : SequenceModel
        The network; it takes standardised series.
    history_ : dict
        Lists with one number an epoch: "loss", "val_loss" with early stopping, and what else `numrnn.fit` records.
    n_iter_ : int
        Epochs.
    n_features_in_ : int
        Columns of a 2-D X, otherwise features of a step.
    feature_names_in_ : array of str
        Names of the columns of a data frame.

    Notes
    -----
    X is one array, or a list of arrays (T_n, features) or (T_n,) that may differ in length; a padded 3-D X comes with
    `lengths`, and what lies beyond them is not read. float32 stays float32, everything else is computed in float64, and
    later calls in the dtype of the first.

    Each feature is standardised by its mean and deviation over all steps of all cases; a constant one becomes 0. Copies
    of a case are one case with the sum of their weights, and cases are brought into an order that follows from their
    numbers before they are shuffled. So a weight of k equals k copies, a weight of 0 equals leaving the case out, and
    the order of cases does not matter, bit for bit as far as sums of weights are exact. A batch's loss is a weighted
    mean.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from numrnn.sklearn import RecurrentClassifier
    >>> x, y = load_digits().images / 16.0, load_digits().target  # 8 steps of 8 features
    >>> classifier = RecurrentClassifier(cell="gru", random_state=0).fit(x[:300], y[:300])
    >>> classifier.score(x[300:400], y[300:400]) > 0.8
    True
    """

    classes_: NDArray[Any]

    _loss = staticmethod(losses.cross_entropy)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Learn the classes of series.

        Parameters
        ----------
        X : array (cases, time), (cases, time, features), or a list of arrays (T_n, features)
            Finite real numbers.
        y : array (cases,)
            Labels of any kind that can be compared.
        sample_weight : array (cases,), optional
            0 or more; a weight of k equals k copies.
        lengths : array of int (cases,), optional
            Steps of each case of a padded array; the rest is not read and may be NaN.

        Returns
        -------
        RecurrentClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            An argument, of this call or of the constructor, that cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentClassifier
        >>> series = [np.full(5, 1.0), np.full(3, -1.0), np.full(4, 2.0), np.full(6, -2.0)]
        >>> classifier = RecurrentClassifier(hidden_size=8, random_state=0).fit(series, ["up", "down", "up", "down"])
        >>> classifier.predict([np.full(4, 1.5)])
        array(['up'], dtype='<U4')
        """
        return self._learn(X, y, sample_weight, lengths, again=self.warm_start and hasattr(self, "model_"))

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Go on learning, for one epoch over these cases.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.
        classes : array, optional
            All labels that may ever come; needed in the first call.

        Returns
        -------
        RecurrentClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            As in `fit`; `classes` missing in the first call or changed later; `early_stopping`.

        Notes
        -----
        Features are standardised by the cases of the first call.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentClassifier
        >>> x, y = np.random.default_rng(0).standard_normal((64, 10)), np.arange(64) % 2
        >>> classifier = RecurrentClassifier(hidden_size=8, random_state=0)
        >>> for part in (slice(0, 32), slice(32, 64)):
        ...     classifier = classifier.partial_fit(x[part], y[part], classes=[0, 1])
        >>> classifier.n_iter_
        2
        """
        head, first = type(self).__name__, not hasattr(self, "model_")
        if classes is None and first:
            advice = "Pass every label that may come; later calls need not have them all."
            raise ValueError(explain(head, "`classes` is needed in the first call of `partial_fit`.", advice))
        if classes is not None:
            given = np.unique(np.asarray(classes))
            if not first and not np.array_equal(given, self.classes_):
                problem = f"`classes` is {given}, but it was {self.classes_} in an earlier call."
                raise ValueError(explain(head, problem, "Classes stay; make a new estimator for others."))
            self.classes_ = given
        return self._learn_once(X, y, sample_weight, lengths)

    def predict(self, X: Any, lengths: Any = None) -> NDArray[Any]:
        """Return the most probable class of each series.

        Parameters
        ----------
        X, lengths
            As in `fit`; series may have other lengths, but a 2-D X has as many columns.

        Returns
        -------
        array (cases,)
            Labels, of the dtype of `classes_`.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            Before `fit`; X as in `fit`, or with other features.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentClassifier
        >>> x, y = np.random.default_rng(0).standard_normal((64, 10)), np.arange(64) % 2
        >>> RecurrentClassifier(hidden_size=8, max_epochs=2).fit(x, y).predict(x).shape
        (64,)
        """
        places = np.argmax(self.predict_proba(X, lengths), axis=1)
        labels: NDArray[Any] = self.classes_[places]
        return labels

    def predict_proba(self, X: Any, lengths: Any = None) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X, lengths
            As in `predict`.

        Returns
        -------
        array (cases, classes)
            In the order of `classes_`.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As in `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentClassifier
        >>> x, y = np.random.default_rng(0).standard_normal((64, 10)), np.arange(64) % 2
        >>> RecurrentClassifier(hidden_size=8, max_epochs=2).fit(x, y).predict_proba(x).shape
        (64, 2)
        """
        return losses.softmax(self._outputs(X, lengths))

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """Return the accuracy: the part of cases whose class is found.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As in `fit`.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As in `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from numrnn.sklearn import RecurrentClassifier
        >>> x = np.random.default_rng(0).standard_normal((64, 10))
        >>> y = np.where(x[:, -1] > 0.0, "up", "down")
        >>> RecurrentClassifier(hidden_size=8, random_state=0).fit(x, y).score(x, y) > 0.9
        True
        """
        return float(accuracy_score(y, self.predict(X, lengths), sample_weight=sample_weight))

    def _read_target(self, y: object, weight: Numbers, again: bool) -> NDArray[np.int64]:
        """Read labels as places in `classes_`."""
        head = type(self).__name__
        labels = read_labels(head, y, len(weight))
        if not again:
            self.classes_ = np.unique(labels[weight > 0.0])
        known = np.isin(labels, self.classes_)
        if not known[weight > 0.0].all():
            new = np.unique(labels[~known & (weight > 0.0)])
            problem = f"`y` has {new}, which are not among the classes {self.classes_} of earlier calls."
            raise ValueError(explain(head, problem, "Classes stay; make a new estimator for others."))
        return np.searchsorted(self.classes_, np.where(known, labels, self.classes_[0])).astype(np.int64)

    def _new_outputs(self, target: NDArray[Any], weight: Numbers) -> int:
        return len(self.classes_)

    def _as_learnt(self, target: NDArray[Any]) -> NDArray[Any]:
        return target

    def _groups(self, target: NDArray[Any]) -> NDArray[np.int64]:
        return target
