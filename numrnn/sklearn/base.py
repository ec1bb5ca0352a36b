"""What the estimators have in common: their arguments, and learning from distinct cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

import numrnn
from numrnn._errors import explain
from numrnn._types import Array
from numrnn.nn.recurrent import Recurrent
from numrnn.sklearn.cases import Cases
from numrnn.sklearn.reading import read_cases
from numrnn.sklearn.scale import Scale
from numrnn.sklearn.settings import Settings, new_seed

__all__ = ["Lesson", "RecurrentEstimator"]

_MAX_NORM = 1.0  # of gradients: enough for what is standardised, and no batch can throw the weights far


class Lesson(NamedTuple):
    """Series as a model takes them, what it should say, and one weight each."""

    x: Array | list[Array]
    y: Any
    weight: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> Lesson:
        """Return some of them."""

        def chosen(values: Any) -> Any:
            return [values[n] for n in rows] if isinstance(values, list) else values[rows]

        return Lesson(chosen(self.x), chosen(self.y), self.weight[rows])


class RecurrentEstimator(BaseEstimator):
    """An estimator around a recurrent network; abstract."""

    _init: ClassVar[str] = "pytorch"

    model_: numrnn.SequenceModel
    history_: dict[str, list[float]]
    n_iter_: int

    def __init__(
        self,
        *,
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
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.warm_start = warm_start
        self.X_layout = X_layout

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _layer(self) -> Recurrent:
        """The network's recurrent layers."""
        layer = self.model_.recurrent
        assert isinstance(layer, Recurrent)
        return layer

    def _read(self, X: object, lengths: object, settings: Settings, **columns: Any) -> Cases:
        """Read X of a fitted estimator, in the dtype of its network."""
        cases = read_cases(self, X, lengths, settings.layout, reset=False, **columns)
        with np.errstate(over="ignore"):
            return cases.with_steps(cases.steps.astype(self._layer.dtype, copy=False))

    def _begin(
        self, settings: Settings, n_features: int, dtype: np.dtype[Any], outputs: int | None, readout_on: str
    ) -> None:
        """Make a new network; `outputs` None is one without a head."""
        self._random = np.random.RandomState(check_random_state(self.random_state).randint(2**31 - 1))
        self.model_ = settings.model(n_features, outputs, dtype, self._random, readout_on, self._init)
        self._optimizer = settings.new_optimizer(self.model_)
        self.n_iter_ = 0
        self.history_ = {}

    def _begin_with(
        self, cases: Cases, weight: NDArray[np.float64], settings: Settings, outputs: int | None, readout_on: str
    ) -> None:
        """Make a new network for these cases, and the scale of its input: a case counts with each of its steps."""
        self._scale = Scale.of(cases.steps, np.repeat(weight, cases.lengths))
        self._begin(settings, cases.n_features, cases.steps.dtype, outputs, readout_on)

    def _train(
        self,
        lesson: Lesson,
        loss: Callable[..., tuple[float, Any]],
        settings: Settings,
        epochs: int,
        held_out: NDArray[np.bool_] | None = None,
    ) -> None:
        """Train the network; `held_out` are rows that decide when to stop."""
        options: dict[str, Any] = {}
        if held_out is not None:
            judged = lesson.take(np.flatnonzero(held_out))
            lesson = lesson.take(np.flatnonzero(~held_out))
            options["validation"] = (judged.x, judged.y, None, _uneven(judged.weight))
            options["callbacks"] = [numrnn.callbacks.EarlyStopping(settings.n_iter_no_change)]
        history = numrnn.fit(
            self.model_,
            lesson.x,
            lesson.y,
            loss=loss,
            optimizer=self._optimizer,
            epochs=epochs,
            batch_size=settings.batch_size,
            sample_weight=_uneven(lesson.weight),
            progress="auto" if settings.verbose else False,
            seed=new_seed(self._random),
            max_norm=_MAX_NORM,
            n_threads=settings.n_threads,
            **options,
        )
        self.n_iter_ += len(history)
        for name, values in dict(history).items():
            self.history_.setdefault(name, []).extend(values)

    def _hold_out(self, groups: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
        """Choose rows that decide when to stop: this fraction, spread over the groups."""
        if len(groups) < 2:
            problem = "early_stopping=True needs cases to stop by, but X holds 1 sample, copies counted once."
            raise ValueError(explain(type(self).__name__, problem, "Pass early_stopping=False."))
        order = self._random.permutation(len(groups))
        order = order[np.argsort(groups[order], kind="stable")]
        spare = order[1:][groups[order[1:]] == groups[order[:-1]]]  # one of each group is left to learn from
        pool = spare if len(spare) else order
        most = min(len(pool), len(groups) - 1, max(1, round(fraction * len(groups))))
        held_out = np.zeros(len(groups), bool)
        held_out[pool[(np.arange(most) * len(pool) + len(pool) // 2) // most]] = True
        return held_out

    def _scaled(self, cases: Cases) -> Array | list[Array]:
        """Return cases as the network takes them."""
        return cases.with_steps(self._scale.apply(cases.steps)).series()

    def _outputs(self, X: object, lengths: object) -> Array:
        """Return what the fitted network says of each case."""
        check_is_fitted(self, "model_")
        settings = Settings.of(self)
        return self.model_(self._scaled(self._read(X, lengths, settings)), n_threads=settings.n_threads)


def _uneven(weight: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the weights, their largest being 1; None where all are alike."""
    return None if np.all(weight == weight[0]) else weight / weight.max()
