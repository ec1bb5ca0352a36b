"""The arguments of an estimator's constructor, checked when it is fitted, and the network that they describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs

import numrnn
from numrnn import _threads
from numrnn._errors import explain
from numrnn.nn.arguments import choice, count, dropout_rate, flag, number
from numrnn.nn.recurrent import Recurrent
from numrnn.sklearn.reading import read_layout

__all__ = ["Settings", "new_seed"]

_CELLS: dict[str, Callable[..., Recurrent]] = {"lstm": numrnn.LSTM, "gru": numrnn.GRU, "rnn": numrnn.RNN}
_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The constructor's arguments, of the right kind and value."""

    cell: str
    hidden_size: int
    num_layers: int
    bidirectional: bool
    dropout: float
    max_epochs: int
    batch_size: int
    lr: float
    optimizer: str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    n_threads: int
    verbose: bool
    warm_start: bool
    layout: str | int

    @classmethod
    def of(cls, estimator: Any, *, least_epochs: int = 1) -> Self:
        """Check an estimator's arguments."""
        head = type(estimator).__name__
        fraction = number(head, "validation_fraction", estimator.validation_fraction)
        if not 0.0 < fraction < 1.0:
            raise ValueError(explain(head, f"`validation_fraction` should be between 0 and 1, got {fraction}."))
        lr = number(head, "lr", estimator.lr)
        if lr <= 0.0:
            raise ValueError(explain(head, f"`lr` should be more than 0, got {lr}."))
        verbose = estimator.verbose
        if not isinstance(verbose, bool | np.bool_):
            verbose = count(head, "verbose", verbose, least=0)
        return cls(
            cell=choice(head, "cell", estimator.cell, tuple(_CELLS)),
            hidden_size=count(head, "hidden_size", estimator.hidden_size),
            num_layers=count(head, "num_layers", estimator.num_layers),
            bidirectional=flag(head, "bidirectional", estimator.bidirectional),
            dropout=dropout_rate(head, estimator.dropout),
            max_epochs=count(head, "max_epochs", estimator.max_epochs, least=least_epochs),
            batch_size=count(head, "batch_size", estimator.batch_size),
            lr=lr,
            optimizer=choice(head, "optimizer", estimator.optimizer, tuple(_OPTIMIZERS)),
            early_stopping=flag(head, "early_stopping", estimator.early_stopping),
            validation_fraction=fraction,
            n_iter_no_change=count(head, "n_iter_no_change", estimator.n_iter_no_change),
            n_threads=_read_jobs(head, estimator.n_jobs),
            verbose=bool(verbose),
            warm_start=flag(head, "warm_start", estimator.warm_start),
            layout=read_layout(head, estimator.X_layout),
        )

    def model(
        self,
        input_size: int,
        outputs: int | None,
        dtype: np.dtype[Any],
        random: np.random.RandomState,
        readout_on: str,
        init: str,
    ) -> numrnn.SequenceModel:
        """Return a new network; `outputs` None is one without a head."""
        recurrent = _CELLS[self.cell](
            input_size,
            self.hidden_size,
            self.num_layers,
            batch_first=True,
            dropout=self.dropout,
            bidirectional=self.bidirectional,
            dtype=dtype,
            seed=new_seed(random),
            init=init,
        )
        features = self.hidden_size * (2 if self.bidirectional else 1)
        head = None if outputs is None else numrnn.Linear(features, outputs, dtype=dtype, seed=new_seed(random))
        return numrnn.SequenceModel(recurrent, head, readout_on=readout_on)

    def new_optimizer(self, model: numrnn.SequenceModel) -> Any:
        """Return the optimiser of a model's weights."""
        return getattr(numrnn.optim, _OPTIMIZERS[self.optimizer])(model, lr=self.lr)


def new_seed(random: np.random.RandomState) -> int:
    """Draw a seed."""
    return int(random.randint(2**31 - 1))


def _read_jobs(head: str, n_jobs: object) -> int:
    """Read scikit-learn's count of jobs as a number of threads.

    Results do not depend on threads, so more than there are is all of them.
    """
    if n_jobs is not None:
        jobs = count(head, "n_jobs", n_jobs, least=-(2**31))
        if not jobs:
            raise ValueError(explain(head, "`n_jobs` is 0.", "Pass 1 or more, -1 for all, or None for scikit-learn's."))
    return min(int(effective_n_jobs(n_jobs)), _threads.resolve(-1))
