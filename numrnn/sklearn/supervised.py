"""What classifier and regressor have in common: they learn from cases with targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn.sklearn.base import Lesson, RecurrentEstimator
from numrnn.sklearn.cases import distinct
from numrnn.sklearn.reading import read_cases
from numrnn.sklearn.settings import Settings
from numrnn.sklearn.targets import read_weight

__all__ = ["RecurrentPredictor"]

Numbers = NDArray[np.float64]


class RecurrentPredictor(RecurrentEstimator):
    """An estimator that predicts a target of each case; abstract."""

    _loss: ClassVar[Callable[..., tuple[float, Any]]]

    @abstractmethod
    def _read_target(self, y: object, weight: Numbers, again: bool) -> NDArray[Any]:
        """Read y as numbers; `again` holds it against what was learnt from an earlier one."""

    @abstractmethod
    def _new_outputs(self, target: NDArray[Any], weight: Numbers) -> int:
        """Return how many outputs a new network has, and note how targets are scaled."""

    @abstractmethod
    def _as_learnt(self, target: NDArray[Any]) -> NDArray[Any]:
        """Return targets as the loss compares them with outputs."""

    @abstractmethod
    def _groups(self, target: NDArray[Any]) -> NDArray[np.int64]:
        """Return a number for each target; of each group as large a part is held out."""

    def _learn(
        self, X: object, y: object, sample_weight: object, lengths: object, *, again: bool, epochs: int | None = None
    ) -> Self:
        """Learn from the cases that differ; `again` continues with the network that there is."""
        settings = Settings.of(self)
        head, new = type(self).__name__, not hasattr(self, "model_") or not again
        if new:
            cases = read_cases(self, X, lengths, settings.layout, reset=True)
        else:
            cases = self._read(X, lengths, settings)
        weight = read_weight(head, sample_weight, len(cases))
        target = self._read_target(y, weight, again)
        rows, weight = distinct(cases, target, weight)
        cases, target = cases.take(rows), target[rows]
        if new:
            self._begin_with(cases, weight, settings, self._new_outputs(target, weight), "last")
        held_out = None
        if settings.early_stopping:
            held_out = self._hold_out(self._groups(target), settings.validation_fraction)
        lesson = Lesson(self._scaled(cases), self._as_learnt(target), weight)
        self._train(lesson, type(self)._loss, settings, settings.max_epochs if epochs is None else epochs, held_out)
        return self

    def _learn_once(self, X: object, y: object, sample_weight: object, lengths: object) -> Self:
        """Learn for one epoch; continue where there is a network."""
        if self.early_stopping is not False:
            problem = "`partial_fit` makes one pass, but early_stopping=True."
            raise ValueError(explain(type(self).__name__, problem, "Pass early_stopping=False, or call `fit`."))
        return self._learn(X, y, sample_weight, lengths, again=True, epochs=1)
