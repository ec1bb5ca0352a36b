"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from numrnn.kernels import optimizers as kernels
from numrnn.nn.parameters import HasParameters
from numrnn.optim.base import Optimizer, Rule, fraction, not_negative

__all__ = ["RMSprop"]


@final
class RMSprop(Optimizer):
    """RMSprop, step for step as PyTorch's: steps are divided by the root of a running mean of squared gradients.

    Parameters
    ----------
    model : SequenceModel, a layer or a Linear
        Its weights are changed by `step`.
    lr : float
        Learning rate; the attribute may be set between steps.
    alpha : float
        Decay of the running mean of squares.
    eps : float
        Added to the root in the denominator.
    momentum : float
        What is kept of the running step; 0: there is none.
    weight_decay : float
        This times the weight is added to its gradient.
    freeze : iterable of str
        Weights that stay as they are: names, or what stands before a dot, such as "recurrent" or "recurrent.0".

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value, or a name that the model does not have.

    Notes
    -----
    Tieleman & Hinton 2012, "Neural networks for machine learning", lecture 6.5.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> layer = numrnn.Linear(2, 1, bias=False)
    >>> before = layer.parameters["weight"]
    >>> numrnn.optim.RMSprop(layer, lr=0.1, alpha=0.75).step({"weight": np.array([[3.0, -0.5]])})
    >>> np.round(layer.parameters["weight"] - before, 6)
    array([[-0.2,  0.2]], dtype=float32)
    """

    alpha: float
    eps: float
    momentum: float
    weight_decay: float
    _shown = ("alpha", "eps", "momentum", "weight_decay")

    def __init__(
        self,
        model: HasParameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        freeze: Iterable[str] = (),
    ) -> None:
        self.alpha = fraction(self._head, "alpha", alpha)
        self.eps = not_negative(self._head, "eps", eps)
        self.momentum = not_negative(self._head, "momentum", momentum)
        self.weight_decay = not_negative(self._head, "weight_decay", weight_decay)
        super().__init__(model, lr, freeze, ("square", "momentum") if self.momentum else ("square",))

    @property
    def _rule(self) -> Rule:
        if self.momentum:
            return kernels.rmsprop_momentum, kernels.rmsprop_momentum_rule
        return kernels.rmsprop, kernels.rmsprop_rule

    def _settings(self, _steps: int) -> tuple[float, ...]:
        return self.lr, self.weight_decay, self.alpha, 1.0 - self.alpha, self.eps, self.momentum
