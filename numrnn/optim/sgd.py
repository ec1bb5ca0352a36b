"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from numrnn._errors import explain
from numrnn.kernels import optimizers as kernels
from numrnn.nn.arguments import flag
from numrnn.nn.parameters import HasParameters
from numrnn.optim.base import Optimizer, Rule, not_negative

__all__ = ["SGD"]


@final
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, step for step as PyTorch's.

    Parameters
    ----------
    model : SequenceModel, a layer or a Linear
        Its weights are changed by `step`.
    lr : float
        Learning rate; the attribute may be set between steps.
    momentum : float
        What is kept of the running step; 0: there is none.
    nesterov : bool
        Whether the step looks ahead by the momentum, which must be more than 0 then.
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
    The running step is momentum * before + gradient, and begins as the first gradient. Nesterov's form: Sutskever et
    al. 2013, "On the importance of initialization and momentum in deep learning".

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> layer = numrnn.Linear(2, 1, bias=False)
    >>> before = layer.parameters["weight"]
    >>> numrnn.optim.SGD(layer, lr=0.1).step({"weight": np.array([[3.0, -0.5]])})
    >>> np.round(layer.parameters["weight"] - before, 6)
    array([[-0.3 ,  0.05]], dtype=float32)
    """

    momentum: float
    nesterov: bool
    weight_decay: float
    _shown = ("momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        model: HasParameters,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        freeze: Iterable[str] = (),
    ) -> None:
        self.momentum = not_negative(self._head, "momentum", momentum)
        self.nesterov = flag(self._head, "nesterov", nesterov)
        self.weight_decay = not_negative(self._head, "weight_decay", weight_decay)
        if self.nesterov and not self.momentum:
            problem = "`nesterov` is True, but there is no momentum to look ahead by."
            raise ValueError(explain(self._head, problem, "Pass momentum=0.9 too, or leave `nesterov` out."))
        super().__init__(model, lr, freeze, ("momentum",) if self.momentum else ())

    @property
    def _rule(self) -> Rule:
        if self.momentum:
            return kernels.sgd_momentum, kernels.sgd_momentum_rule
        return kernels.sgd, kernels.sgd_rule

    def _settings(self, _steps: int) -> tuple[float, ...]:
        return self.lr, self.weight_decay, self.momentum, float(self.nesterov)
