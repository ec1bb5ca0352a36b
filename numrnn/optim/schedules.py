"""Schedules: what the learning rate is when."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import Array
from numrnn.nn.arguments import count
from numrnn.optim.base import Optimizer, fraction, not_negative
from numrnn.optim.saved import check_names, one_integer, one_number

__all__ = ["ReduceOnPlateau", "WarmupCosine"]


class _Schedule(ABC):
    """What both schedules share: the optimiser, the lowest rate, and their state as numbers."""

    def __init__(self, optimizer: Optimizer, lr_min: float) -> None:
        head = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(explain(head, f"`optimizer` should be an optimiser, got {kind_of(optimizer)}."))
        self.optimizer = optimizer
        self.lr_min = not_negative(head, "lr_min", lr_min)
        if self.lr_min > optimizer.lr:
            problem = f"`lr_min` is {self.lr_min}, more than the optimiser's lr, {optimizer.lr}."
            raise ValueError(explain(head, problem, "Rates only fall from there."))

    @abstractmethod
    def state_dict(self) -> dict[str, Array]:
        """Return everything that the next steps depend on, but for the constructor's arguments."""


@final
class WarmupCosine(_Schedule):
    """A learning rate that rises linearly, then falls along half a cosine.

    Parameters
    ----------
    optimizer : SGD, RMSprop, Adam or AdamW
        Its `lr` is the highest rate; it is set for the first batch at once.
    warmup_steps : int
        Batches of the rise, 0 or more: the rate of batch k, the first being 1, is lr * k / warmup_steps.
    total_steps : int
        Batches of rise and fall together, more than `warmup_steps`.
    lr_min : float
        Where the fall ends; batches after `total_steps` have it.

    Attributes
    ----------
    every : "batch"
        When to call `step`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.

    Notes
    -----
    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts: the first batch after the rise still has
    the highest rate. With PyTorch this is LinearLR and CosineAnnealingLR in a SequentialLR.

    Examples
    --------
    >>> import numrnn
    >>> optimizer = numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)
    >>> schedule = numrnn.optim.WarmupCosine(optimizer, warmup_steps=2, total_steps=6)
    >>> rates = []
    >>> for _ in range(8):
    ...     rates.append(round(optimizer.lr, 3))  # the batch would come here
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    every: ClassVar[Literal["batch"]] = "batch"

    def __init__(self, optimizer: Optimizer, warmup_steps: int, total_steps: int, lr_min: float = 0.0) -> None:
        super().__init__(optimizer, lr_min)
        self.warmup_steps = count("WarmupCosine", "warmup_steps", warmup_steps, least=0)
        self.total_steps = count("WarmupCosine", "total_steps", total_steps)
        if self.total_steps <= self.warmup_steps:
            problem = f"`total_steps` is {self.total_steps}, expected more than `warmup_steps`, {self.warmup_steps}."
            raise ValueError(
                explain("WarmupCosine", problem, "It counts the batches of all epochs, the rise included.")
            )
        self._lr = optimizer.lr
        self._set(0)

    def step(self) -> None:
        """Set the learning rate of the next batch; to be called after each step of the optimiser.

        Examples
        --------
        >>> import numrnn
        >>> optimizer = numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)
        >>> schedule = numrnn.optim.WarmupCosine(optimizer, warmup_steps=4, total_steps=10)
        >>> schedule.step()
        >>> optimizer.lr
        0.5
        """
        self._set(self._steps + 1)

    def _set(self, steps: int) -> None:
        self._steps = steps
        if steps < self.warmup_steps:
            self.optimizer.lr = self._lr * (steps + 1) / self.warmup_steps
        else:
            done = min(1.0, (steps - self.warmup_steps) / (self.total_steps - self.warmup_steps))
            self.optimizer.lr = self.lr_min + (self._lr - self.lr_min) * 0.5 * (1.0 + math.cos(math.pi * done))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps depend on, but for the constructor's arguments.

        Returns
        -------
        dict of str to array
            "steps" (int64), the batches done, and "lr" (float64), the highest rate; they have no axes.

        Examples
        --------
        >>> import numrnn
        >>> optimizer = numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)
        >>> numrnn.optim.WarmupCosine(optimizer, 4, 10).state_dict()
        {'steps': array(0), 'lr': array(1.)}
        """
        return {"steps": np.array(self._steps, np.int64), "lr": np.array(self._lr, np.float64)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where another schedule of this kind stood, and set the learning rate.

        Parameters
        ----------
        state_dict : mapping of str to array
            What `state_dict` returned.

        Raises
        ------
        ValueError, TypeError
            Names or numbers that were not saved so. Nothing is changed then.

        Examples
        --------
        >>> import numrnn
        >>> first, second = (numrnn.optim.SGD(numrnn.Linear(2, 1), lr=lr) for lr in (1.0, 0.5))
        >>> done, fresh = (numrnn.optim.WarmupCosine(optimizer, 4, 10) for optimizer in (first, second))
        >>> done.step()
        >>> fresh.load_state_dict(done.state_dict())
        >>> second.lr
        0.5
        """
        head = "WarmupCosine.load_state_dict"
        given = check_names(head, state_dict, ("steps", "lr"))
        steps, lr = one_integer(head, "steps", given["steps"]), one_number(head, "lr", given["lr"], least=self.lr_min)
        self._lr = lr
        self._set(steps)


@final
class ReduceOnPlateau(_Schedule):
    """A learning rate that falls when a value, such as the validation loss, no longer does.

    Parameters
    ----------
    optimizer : SGD, RMSprop, Adam or AdamW
        Its `lr` is where the rate begins.
    factor : float
        What the rate is multiplied by, from 0 to less than 1.
    patience : int
        Epochs without a better value that are borne; the rate falls after one more.
    threshold : float
        A value is better if it is below the best one by this part of it.
    lr_min : float
        The rate does not fall below.

    Attributes
    ----------
    every : "epoch"
        When to call `step`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.

    Notes
    -----
    As PyTorch's with mode="min" and eps=0, but that a negative value must be better by the threshold too.

    Examples
    --------
    >>> import numrnn
    >>> optimizer = numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)
    >>> schedule = numrnn.optim.ReduceOnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.5):
    ...     schedule.step(loss)
    >>> optimizer.lr
    0.5
    """

    every: ClassVar[Literal["epoch"]] = "epoch"

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.5,
        patience: int = 5,
        threshold: float = 1e-4,
        lr_min: float = 0.0,
    ) -> None:
        super().__init__(optimizer, lr_min)
        self.factor = fraction("ReduceOnPlateau", "factor", factor)
        self.patience = count("ReduceOnPlateau", "patience", patience, least=0)
        self.threshold = fraction("ReduceOnPlateau", "threshold", threshold)
        self._best = math.inf
        self._waited = 0

    def step(self, value: float) -> None:
        """Take note of a value, and lower the learning rate if it is time; to be called after each epoch.

        Parameters
        ----------
        value : float
            Lower is better; NaN and infinity count as no better.

        Raises
        ------
        TypeError
            Something that is no real number. Nothing is changed then.

        Examples
        --------
        >>> import numrnn
        >>> optimizer = numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)
        >>> schedule = numrnn.optim.ReduceOnPlateau(optimizer, factor=0.1, patience=0)
        >>> schedule.step(2.0)
        >>> schedule.step(2.0)
        >>> optimizer.lr
        0.1
        """
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            raise TypeError(explain("ReduceOnPlateau.step", f"`value` should be a real number, got {kind_of(value)}."))
        found = float(value)
        margin = self.threshold * abs(self._best) if math.isfinite(self._best) else 0.0
        if found < self._best - margin:
            self._best, self._waited = found, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self._waited = 0
            self.optimizer.lr = min(self.optimizer.lr, max(self.factor * self.optimizer.lr, self.lr_min))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps depend on, but for the constructor's arguments and the present rate.

        Returns
        -------
        dict of str to array
            "best" (float64), the best value so far, and "waited" (int64), the epochs since; they have no axes.

        Examples
        --------
        >>> import numrnn
        >>> numrnn.optim.ReduceOnPlateau(numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)).state_dict()
        {'best': array(inf), 'waited': array(0)}
        """
        return {"best": np.array(self._best, np.float64), "waited": np.array(self._waited, np.int64)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where another schedule of this kind stood; the rate is loaded with the optimiser.

        Parameters
        ----------
        state_dict : mapping of str to array
            What `state_dict` returned.

        Raises
        ------
        ValueError, TypeError
            Names or numbers that were not saved so. Nothing is changed then.

        Examples
        --------
        >>> import numrnn
        >>> optimizer = numrnn.optim.SGD(numrnn.Linear(2, 1), lr=1.0)
        >>> done, fresh = (numrnn.optim.ReduceOnPlateau(optimizer) for _ in range(2))
        >>> done.step(3.0)
        >>> fresh.load_state_dict(done.state_dict())
        >>> float(fresh.state_dict()["best"])
        3.0
        """
        head = "ReduceOnPlateau.load_state_dict"
        given = check_names(head, state_dict, ("best", "waited"))
        waited = one_integer(head, "waited", given["waited"])
        self._best = one_number(head, "best", given["best"], least=-math.inf, finite=False)
        self._waited = waited
