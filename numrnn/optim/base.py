"""What optimisers share: frozen weights, the check of gradients, a step that happens wholly or not at all, states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np

from numrnn import _jit
from numrnn._errors import explain, kind_of
from numrnn._types import Array
from numrnn.engine.arrays import is_ready, ready, real_array
from numrnn.engine.buffers import flat
from numrnn.kernels.optimizers import SETTINGS
from numrnn.nn.arguments import number
from numrnn.nn.gradients import Gradients
from numrnn.nn.parameters import HasParameters
from numrnn.optim.saved import check_names, one_integer, one_number

__all__ = ["Optimizer", "Rule", "fraction", "not_negative"]

Rule: TypeAlias = tuple[Callable[..., bool], Callable[..., Any]]
"""A kernel, and the same for NumPy's arrays."""


class Optimizer(ABC):
    """What SGD, RMSprop, Adam and AdamW have in common; `lr` may be set between steps, all else is fixed.

    Parameters
    ----------
    model : SequenceModel, a layer or a Linear
        Its weights are changed by `step`.
    lr : float
        Learning rate, 0 or more.
    freeze : iterable of str
        Weights that stay as they are: names, or what stands before a dot, such as "recurrent" or "recurrent.0".
    running : sequence of str
        Names of the running values that the rule keeps for each weight.
    """

    model: HasParameters
    freeze: tuple[str, ...]
    _shown: tuple[str, ...] = ()  # arguments in `repr`, beside lr and freeze

    def __init__(self, model: HasParameters, lr: float, freeze: Iterable[str], running: tuple[str, ...]) -> None:
        head = self._head
        if not isinstance(model, HasParameters):
            advice = "Pass the model, not its parameters: the optimiser puts new ones in their place."
            raise TypeError(explain(head, f"`model` should be a model or a layer, got {kind_of(model)}.", advice))
        self.model = model
        self.lr = lr
        self.freeze = _names_to_freeze(head, freeze)
        self._running = running
        trained = _not_frozen(head, model.parameters, self.freeze)
        self._steps = 0
        self._slots = {name: np.zeros((len(running), value.size), value.dtype) for name, value in trained.items()}
        self._spare: dict[str, Array] = {}  # where the next step writes; what it reads stays until all is written
        self._made: dict[str, Array] = {}  # the weights of the last step, flat: `flat` takes as long as a small kernel

    @property
    def lr(self) -> float:
        """Learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = not_negative(self._head, "lr", value)

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the weights that `step` changes."""
        return tuple(self._slots)

    @property
    @abstractmethod
    def _rule(self) -> Rule:
        """What computes a step."""

    @abstractmethod
    def _settings(self, steps: int) -> tuple[float, ...]:
        """The rule's settings in the step of this number, the first being 1."""

    @property
    def _head(self) -> str:
        return type(self).__name__

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
            values or the new weights would be. Nothing is changed then.
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
        weights = self.model._parameters
        given = _read_gradients(f"{self._head}.step", weights, gradients, self._slots)
        settings = self._settings(self._steps + 1)
        by_dtype: dict[np.dtype[Any], Array] = {}
        spare = self._spare or {name: np.empty_like(slots) for name, slots in self._slots.items()}
        fresh: dict[str, Array] = {}
        made: dict[str, Array] = {}
        for name, gradient in given.items():
            weight = weights[name]
            constants = by_dtype.get(weight.dtype)
            if constants is None:
                constants = by_dtype[weight.dtype] = _as_array(settings, weight.dtype)
            fresh[name] = np.empty_like(weight)
            made[name] = fresh[name].ravel()
            own = self._made.get(name)
            before = own if own is not None and weight.base is own.base else flat(weight)
            if not _take(self._rule, constants, before, flat(gradient), self._slots[name], made[name], spare[name]):
                self._refuse_overflow(name, gradient)
        self.model._adopt(fresh)
        self._steps += 1
        self._slots, self._spare, self._made = spare, self._slots, made

    def state_dict(self) -> dict[str, Array]:
        """Return copies of everything that the next steps depend on, but for the model's weights.

        Returns
        -------
        dict of str to array
            "steps" (int64) and "lr" (float64), which have no axes; and the running values of each trained weight in its
            shape, such as "mean.readout.weight".

        Examples
        --------
        >>> import numrnn
        >>> optimizer = numrnn.optim.Adam(numrnn.Linear(2, 1, bias=False), lr=0.5)
        >>> {name: value.shape for name, value in optimizer.state_dict().items()}
        {'steps': (), 'lr': (), 'mean.weight': (1, 2), 'square.weight': (1, 2)}
        """
        state: dict[str, Any] = {"steps": np.array(self._steps, np.int64), "lr": np.array(self._lr, np.float64)}
        shapes = self.model.parameters
        for k, kind in enumerate(self._running):
            for name, slots in self._slots.items():
                state[f"{kind}.{name}"] = slots[k].reshape(shapes[name].shape).copy()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where another optimiser of this kind stood.

        Parameters
        ----------
        state_dict : mapping of str to array
            What `state_dict` returned; cast to the dtypes of the weights and copied. The learning rate is loaded too.

        Raises
        ------
        ValueError
            Missing or unexpected names, all of them named; a wrong shape, or numbers that no optimiser has saved.
            Nothing is changed then.
        TypeError
            Something that is no array of real numbers. Nothing is changed then.

        Examples
        --------
        >>> import numrnn
        >>> first, second = (numrnn.optim.SGD(numrnn.Linear(2, 1), lr=lr) for lr in (0.5, 0.1))
        >>> second.load_state_dict(first.state_dict())
        >>> second.lr
        0.5
        """
        head = f"{self._head}.load_state_dict"
        expected = [f"{kind}.{name}" for kind in self._running for name in self._slots]
        given = check_names(head, state_dict, ["steps", "lr", *expected])
        steps, lr = one_integer(head, "steps", given["steps"]), one_number(head, "lr", given["lr"])
        fresh = {name: np.empty_like(slots) for name, slots in self._slots.items()}
        weights = self.model.parameters
        for k, kind in enumerate(self._running):
            for name, slots in fresh.items():
                slots[k] = _read_running(head, kind, f"{kind}.{name}", given[f"{kind}.{name}"], weights[name])
        self._steps, self._lr, self._slots = steps, lr, fresh

    def _refuse_overflow(self, name: str, gradient: Array) -> NoReturn:
        """Say why a step cannot be taken."""
        problem = f"the step would make the running values or the weights of `{name}` NaN or infinite."
        seen = "Its gradient is NaN or infinite."
        if np.isfinite(gradient).all():
            seen = f"The largest number of its gradient is {np.abs(gradient).max():.1e}."
        advice = "Nothing was changed. Leave the step out, clip the gradients, or lower `lr`."
        raise ValueError(explain(f"{self._head}.step", problem, seen, advice))

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ and not name.startswith("_"):
            advice = "Make a new one; load_state_dict moves its state."
            raise AttributeError(explain(self._head, f"`{name}` is fixed when the optimiser is made.", advice))
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        # a copy has running values of its own: the two arrays of a weight change places at each step
        return self.__dict__ | {
            "_slots": {name: slots.copy() for name, slots in self._slots.items()},
            "_spare": {},
            "_made": {},
        }

    def __repr__(self) -> str:
        shown = ["lr", *self._shown, *(["freeze"] if self.freeze else [])]
        values = "".join(f", {name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}(<{type(self.model).__name__}>{values})"


def not_negative(head: str, name: str, value: object) -> float:
    """A finite number of 0 or more."""
    found = number(head, name, value)
    if found < 0.0:
        raise ValueError(explain(head, f"`{name}` should be 0 or more, got {found}."))
    return found


def fraction(head: str, name: str, value: object) -> float:
    """A number from 0 to less than 1."""
    found = number(head, name, value)
    if not 0.0 <= found < 1.0:
        raise ValueError(explain(head, f"`{name}` should be from 0 to less than 1, got {found}."))
    return found


def _as_array(settings: tuple[float, ...], dtype: np.dtype[Any]) -> Array:
    constants = np.zeros(SETTINGS, dtype)
    with np.errstate(over="ignore"):  # the step is refused then
        constants[: len(settings)] = settings
    return constants


def _take(
    rule: Rule, settings: Array, weight: Array, gradient: Array, slots: Array, fresh: Array, fresh_slots: Array
) -> bool:
    """Compute one step of one weight; whether it is finite."""
    kernel, by_arrays = rule
    if not _jit.DISABLED:
        return bool(kernel(settings, weight, gradient, slots, fresh, fresh_slots))
    with np.errstate(all="ignore"):
        found = by_arrays(tuple(settings), weight, gradient, *slots)
    fresh[:], *running = found if len(slots) else (found,)
    for k, values in enumerate(running):
        fresh_slots[k] = values
    return bool(np.isfinite(fresh).all() and np.isfinite(fresh_slots).all())


def _names_to_freeze(head: str, freeze: object) -> tuple[str, ...]:
    if isinstance(freeze, str):
        return (freeze,)
    if not isinstance(freeze, Iterable):
        raise TypeError(explain(head, f"`freeze` should hold names, got {kind_of(freeze)}."))
    return tuple(freeze)


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
    head: str, parameters: Mapping[str, Array], gradients: object, trained: Mapping[str, Any]
) -> dict[str, Array]:
    """Return the gradient of every trained parameter, checked against the model, as a kernel takes it."""
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
    for name in trained:
        weight, value = parameters[name], given[name]
        if is_ready(value, weight.dtype) and value.shape == weight.shape:
            found[name] = value
            continue
        gradient = real_array(value, head, f"gradient of {name}")
        if gradient.shape != weight.shape:
            problem = f"the gradient of `{name}` has shape {gradient.shape}, expected {weight.shape}."
            raise ValueError(explain(head, problem, "These are gradients of another model."))
        if gradient.dtype.kind != "f":
            raise TypeError(explain(head, f"the gradient of `{name}` has dtype {gradient.dtype}, expected floats."))
        found[name] = ready(gradient, weight.dtype, head, f"gradient of {name}")
    return found


def _read_running(head: str, kind: str, name: str, value: object, weight: Array) -> Array:
    """Read the saved running values of one weight."""
    array = real_array(value, head, name)
    if array.shape != weight.shape:
        problem = f"`{name}` has shape {array.shape}, expected {weight.shape}."
        raise ValueError(explain(head, problem, "It was saved for another model. Nothing was changed."))
    found = ready(array, weight.dtype, head, name)
    if not np.isfinite(found).all() or (kind == "square" and (found < 0.0).any()):
        wrong = "NaN, infinite or negative" if kind == "square" else "NaN or infinite"
        raise ValueError(explain(head, f"`{name}` has numbers that are {wrong}.", "Nothing was changed."))
    return found.reshape(-1)
