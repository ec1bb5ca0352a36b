"""Adam, and Adam with weight decay apart from the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

from numrnn._errors import explain, kind_of
from numrnn.kernels import optimizers as kernels
from numrnn.nn.arguments import number
from numrnn.nn.parameters import HasParameters
from numrnn.optim.base import Optimizer, Rule, not_negative

__all__ = ["Adam", "AdamW"]


class _Moments(Optimizer):
    """What Adam and AdamW share."""

    betas: tuple[float, float]
    eps: float

    def __init__(
        self, model: HasParameters, lr: float, betas: tuple[float, float], eps: float, freeze: Iterable[str]
    ) -> None:
        head = self._head
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(explain(head, f"`betas` should be a pair of numbers, got {kind_of(betas)}."))
        self.betas = (number(head, "betas[0]", betas[0]), number(head, "betas[1]", betas[1]))
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(explain(head, f"`betas` should be from 0 to less than 1, got {self.betas}."))
        self.eps = not_negative(head, "eps", eps)
        super().__init__(model, lr, freeze, ("mean", "square"))

    @property
    def _rule(self) -> Rule:
        return kernels.adam, kernels.adam_rule

    def _decayed(self, steps: int, decay: float) -> tuple[float, ...]:
        """The rule's settings, with the factor that weights are multiplied by."""
        first, second = self.betas
        step = self.lr / (1.0 - first**steps)
        return step, decay, 1.0 - first, second, 1.0 - second, math.sqrt(1.0 - second**steps), self.eps


@final
class Adam(_Moments):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1), step for step as PyTorch's.

    Parameters
    ----------
    model : SequenceModel, a layer or a Linear
        Its weights are changed by `step`.
    lr : float
        Learning rate; the attribute may be set between steps.
    betas : pair of float
        Decay of the running means of the gradient and of its square.
    eps : float
        Added to the root in the denominator.
    freeze : iterable of str
        Weights that stay as they are: names, or what stands before a dot, such as "recurrent" or "recurrent.0".

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value, or a name that the model does not have.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> model = numrnn.SequenceModel(numrnn.GRU(1, 8, seed=0), numrnn.Linear(8, 1, seed=0))
    >>> optimizer = numrnn.optim.Adam(model, lr=0.01)
    >>> x, target = np.ones((5, 2, 1)), np.zeros((2, 1))
    >>> values = []
    >>> for _ in range(20):
    ...     prediction, pullback = model.vjp(x)
    ...     value, d_prediction = numrnn.losses.mse(prediction, target)
    ...     optimizer.step(pullback(d_prediction, x_gradient=False))
    ...     values.append(value)
    >>> values[-1] < values[0]
    True
    """

    _shown = ("betas", "eps")

    def __init__(
        self,
        model: HasParameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        freeze: Iterable[str] = (),
    ) -> None:
        super().__init__(model, lr, betas, eps, freeze)

    def _settings(self, steps: int) -> tuple[float, ...]:
        return self._decayed(steps, 1.0)


@final
class AdamW(_Moments):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2).

    Parameters
    ----------
    model : SequenceModel, a layer or a Linear
        Its weights are changed by `step`.
    lr : float
        Learning rate; the attribute may be set between steps.
    betas : pair of float
        Decay of the running means of the gradient and of its square.
    eps : float
        Added to the root in the denominator.
    weight_decay : float
        Each step multiplies weights, biases too, by 1 - lr * weight_decay, as PyTorch's does.
    freeze : iterable of str
        Weights that stay as they are: names, or what stands before a dot, such as "recurrent" or "recurrent.0".

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value, or a name that the model does not have.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> layer = numrnn.Linear(2, 1, bias=False)
    >>> layer.set_parameters({"weight": np.array([[1.0, 1.0]])})
    >>> numrnn.optim.AdamW(layer, lr=0.1, weight_decay=0.5).step({"weight": np.array([[3.0, 0.0]])})
    >>> np.round(layer.parameters["weight"], 6)
    array([[0.85, 0.95]], dtype=float32)
    """

    weight_decay: float
    _shown = ("betas", "eps", "weight_decay")

    def __init__(
        self,
        model: HasParameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        freeze: Iterable[str] = (),
    ) -> None:
        self.weight_decay = not_negative(self._head, "weight_decay", weight_decay)
        super().__init__(model, lr, betas, eps, freeze)

    def _settings(self, steps: int) -> tuple[float, ...]:
        return self._decayed(steps, 1.0 - self.lr * self.weight_decay)
