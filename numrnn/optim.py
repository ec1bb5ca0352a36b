"""Optimisers: from gradients to new weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NoReturn, final

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import Array
from numrnn.engine.arrays import real_array
from numrnn.nn.arguments import number
from numrnn.nn.gradients import Gradients
from numrnn.nn.parameters import HasParameters

__all__ = ["Adam", "clip_by_global_norm"]


@final
class Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1), step for step as PyTorch's.

    Parameters
    ----------
    model : SequenceModel, a layer or a Linear
        Its weights are changed by `step`, through `set_parameters`.
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

    def __init__(
        self,
        model: HasParameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        freeze: Iterable[str] = (),
    ) -> None:
        if not isinstance(model, HasParameters):
            advice = "Pass the model, not its parameters: they are changed by model.set_parameters."
            raise TypeError(explain("Adam", f"`model` should be a model or a layer, got {kind_of(model)}.", advice))
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(explain("Adam", f"`betas` should be a pair of numbers, got {kind_of(betas)}."))
        self.model = model
        self.lr = lr
        self.betas = (number("Adam", "betas[0]", betas[0]), number("Adam", "betas[1]", betas[1]))
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(explain("Adam", f"`betas` should be from 0 to less than 1, got {self.betas}."))
        self.eps = number("Adam", "eps", eps)
        if self.eps < 0.0:
            raise ValueError(explain("Adam", f"`eps` should be 0 or more, got {self.eps}."))
        self.freeze = tuple([freeze] if isinstance(freeze, str) else freeze)
        trained = _not_frozen("Adam", model.parameters, self.freeze)
        self._steps = 0
        self._means = {name: np.zeros_like(value) for name, value in trained.items()}
        self._squares = {name: np.zeros_like(value) for name, value in trained.items()}

    @property
    def lr(self) -> float:
        """Learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        rate = number("Adam", "lr", value)
        if rate < 0.0:
            raise ValueError(explain("Adam", f"`lr` should be 0 or more, got {rate}."))
        self._lr = rate

    def step(self, gradients: Gradients | Mapping[str, Array]) -> None:
        """Change the model's weights once.

        Parameters
        ----------
        gradients : Gradients, or a mapping of names to arrays
            What the model's pullback returned.

        Raises
        ------
        ValueError
            Names or shapes that are not the model's; a gradient that is NaN or infinite, or so large that the running
            means or the new weights would be. Nothing is changed then.
        TypeError
            Something that is no gradient. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> layer = numrnn.Linear(2, 1, bias=False)
        >>> before = layer.parameters["weight"]
        >>> numrnn.optim.Adam(layer, lr=0.1).step({"weight": np.array([[3.0, -0.5]])})
        >>> np.round(layer.parameters["weight"] - before, 6)
        array([[-0.1,  0.1]], dtype=float32)
        """
        parameters = self.model.parameters
        given = _read_gradients("Adam.step", parameters, gradients, self._means)
        steps = self._steps + 1
        first, second = self.betas
        step_size = self._lr / (1.0 - first**steps)
        root = math.sqrt(1.0 - second**steps)
        means: dict[str, Array] = {}
        squares: dict[str, Array] = {}
        fresh: dict[str, Array] = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for name, gradient in given.items():
                old = self._means[name]
                mean = means[name] = old + (1.0 - first) * (gradient - old)
                square = squares[name] = self._squares[name] * second + (1.0 - second) * gradient * gradient
                fresh[name] = parameters[name] - step_size * mean / (np.sqrt(square) / root + self.eps)
                if not (np.isfinite(square).all() and np.isfinite(fresh[name]).all()):
                    _refuse_overflow(name, gradient)
        self.model.set_parameters(fresh)
        self._steps, self._means, self._squares = steps, means, squares

    def __repr__(self) -> str:
        freeze = f", freeze={self.freeze!r}" if self.freeze else ""
        model = type(self.model).__name__
        return f"Adam(<{model}>, lr={self.lr!r}, betas={self.betas!r}, eps={self.eps!r}{freeze})"


def clip_by_global_norm(gradients: Gradients, max_norm: float) -> tuple[Gradients, float]:
    """Scale gradients down where the norm of all parameters' gradients together exceeds `max_norm`.

    Parameters
    ----------
    gradients : Gradients
        What a pullback returned; not changed.
    max_norm : float
        More than 0.

    Returns
    -------
    gradients : Gradients
        The same object where nothing had to be done; otherwise all of it scaled by one factor, x and the states
        included. A norm that is NaN or infinite cannot be scaled away: the gradients come back as they are.
    norm : float
        Before clipping: `gradients.norm()`.

    Raises
    ------
    TypeError
        Something that is no `Gradients`.
    ValueError
        `max_norm` is not a positive number.

    Notes
    -----
    Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> result, pullback = numrnn.GRU(2, 3).vjp(np.ones((5, 1, 2)))
    >>> clipped, norm = numrnn.optim.clip_by_global_norm(pullback(np.ones_like(result.output)), 0.1)
    >>> norm > 0.1, round(clipped.norm(), 6)
    (True, 0.1)
    """
    head = "clip_by_global_norm"
    if not isinstance(gradients, Gradients):
        advice = "Pass what a pullback returned."
        raise TypeError(explain(head, f"`gradients` should be a Gradients, got {type(gradients).__name__}.", advice))
    limit = number(head, "max_norm", max_norm)
    if limit <= 0.0:
        raise ValueError(explain(head, f"`max_norm` should be more than 0, got {limit}."))
    norm = gradients.norm()
    if norm <= limit or not math.isfinite(norm):
        return gradients, norm
    return gradients * (limit / norm), norm


def _not_frozen(head: str, parameters: Mapping[str, Array], freeze: tuple[str, ...]) -> dict[str, Array]:
    """Return the parameters that no entry of `freeze` names."""
    frozen: set[str] = set()
    for entry in freeze:
        if not isinstance(entry, str):
            raise TypeError(explain(head, f"`freeze` should hold names, got {kind_of(entry)}."))
        named = {name for name in parameters if name == entry or name.startswith(f"{entry}.")}
        if not named:
            names = f"Names: {', '.join(parameters)}."
            raise ValueError(explain(head, f"`freeze` has {entry!r}, which the model does not have.", names))
        frozen |= named
    return {name: value for name, value in parameters.items() if name not in frozen}


def _read_gradients(
    head: str, parameters: Mapping[str, Array], gradients: object, trained: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the gradient of every trained parameter, checked against the model."""
    given = gradients.parameters if isinstance(gradients, Gradients) else gradients
    if not isinstance(given, Mapping):
        advice = "Pass what the model's pullback returned."
        raise TypeError(explain(head, f"`gradients` should be a Gradients, got {type(gradients).__name__}.", advice))
    missing = [name for name in trained if name not in given]
    unexpected = [name for name in given if name not in parameters]
    if missing or unexpected:
        wrong = [f"missing {', '.join(missing)}"] if missing else []
        wrong += [f"unexpected {', '.join(map(str, unexpected))}"] if unexpected else []
        advice = "These are gradients of another model."
        raise ValueError(explain(head, f"the names do not match the model's: {'; '.join(wrong)}.", advice))
    found = {}
    for name, value in trained.items():
        gradient = real_array(given[name], head, f"gradient of {name}")
        if gradient.shape != value.shape:
            problem = f"the gradient of `{name}` has shape {gradient.shape}, expected {value.shape}."
            raise ValueError(explain(head, problem, "These are gradients of another model."))
        if gradient.dtype.kind != "f":
            raise TypeError(explain(head, f"the gradient of `{name}` has dtype {gradient.dtype}, expected floats."))
        with np.errstate(over="ignore"):
            found[name] = gradient.astype(value.dtype, copy=False)
    return found


def _refuse_overflow(name: str, gradient: Array) -> NoReturn:
    """Say why a step cannot be taken."""
    problem = f"the step would make the running means or the values of `{name}` NaN or infinite."
    seen = "Its gradient is NaN or infinite."
    if np.isfinite(gradient).all():
        seen = f"The largest number of its gradient is {np.abs(gradient).max():.1e}."
    advice = "Nothing was changed. Leave the step out, clip the gradients, or lower `lr`."
    raise ValueError(explain("Adam.step", problem, seen, advice))
