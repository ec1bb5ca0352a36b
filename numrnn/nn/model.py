"""Recurrent layers and a dense head as one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final, overload

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import Array, ArrayLike, Shape, State, StateLike
from numrnn.engine.arrays import ready, real_array
from numrnn.nn.arguments import choice, flag, not_yet
from numrnn.nn.gradients import Gradients
from numrnn.nn.linear import Linear, LinearPullback
from numrnn.nn.parameters import HasParameters
from numrnn.nn.pullback import Pullback
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.results import Result

__all__ = ["ModelPullback", "SequenceModel"]

_READOUT_ON = ("last", "every", "mean", "max")


@final
class SequenceModel(HasParameters):
    """Recurrent layers, then a dense layer on the last state or on every state.

    Parameters
    ----------
    recurrent : RNN, LSTM or GRU, or a list of them
        Of a list, each layer reads the outputs of the one before.
    readout : Linear or None
        The head. None: the model predicts the states themselves.
    readout_on : {"last", "every"}
        What the head reads: the top layer's state after the last step, or at every step. "mean" and "max" are not
        implemented in this version.
    learn_initial_state : bool
        False; True is not implemented in this version.

    Raises
    ------
    TypeError, ValueError
        Parts of the wrong kind, or that do not fit together.
    NotImplementedError
        A feature that this version does not have.

    Notes
    -----
    Parameters are those of the parts, prefixed: "recurrent.weight_ih_l0", "readout.weight"; of a list of layers
    "recurrent.0.weight_ih_l0". The parts are not copied: `model.recurrent` and `model.readout` are the objects given.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> model = numrnn.SequenceModel(numrnn.LSTM(4, 8), numrnn.Linear(8, 2))
    >>> model(np.zeros((10, 3, 4))).shape
    (3, 2)
    >>> list(model.parameters)[-2:]
    ['readout.weight', 'readout.bias']
    """

    recurrent: Recurrent | tuple[Recurrent, ...]
    readout: Linear | None
    readout_on: str
    learn_initial_state: bool

    def __init__(
        self,
        recurrent: Recurrent | Sequence[Recurrent],
        readout: Linear | None,
        *,
        readout_on: str = "last",
        learn_initial_state: bool = False,
    ) -> None:
        head = type(self).__name__
        layers = tuple(recurrent) if isinstance(recurrent, list | tuple) else (recurrent,)
        _check_parts(head, layers, readout)
        choice(head, "readout_on", readout_on, _READOUT_ON)
        if readout_on not in ("last", "every"):
            reason = 'the head reads the "last" state or "every" one'
            raise not_yet(head, f'readout_on="{readout_on}"', reason, 'Pass readout_on="last" or "every".')
        if flag(head, "learn_initial_state", learn_initial_state):
            reason = "the initial state is zero or the one given"
            raise not_yet(head, "learn_initial_state", reason, "The pullback gives its gradient as `.h_0` and `.c_0`.")
        self.__dict__.update(
            recurrent=layers if isinstance(recurrent, list | tuple) else recurrent,
            readout=readout,
            readout_on=readout_on,
            learn_initial_state=False,
        )

    @overload
    def __call__(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: Literal[False] = False,
        n_threads: int | None = None,
    ) -> Array: ...

    @overload
    def __call__(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: Literal[True],
        n_threads: int | None = None,
    ) -> tuple[Array, State | list[State]]: ...

    def __call__(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: bool = False,
        n_threads: int | None = None,
    ) -> Array | tuple[Array, State | list[State]]:
        """Predict.

        Parameters
        ----------
        x : array (T, N, I), or (N, T, I) if the layers are batch_first
        state : optional
            As the recurrent layer takes it; of a list of layers, a list with a state or None for each. None is zero.
        lengths
            Not implemented in this version.
        return_state : bool
            Whether the state after the last step is returned too.
        n_threads : int, optional
            1 or more, or -1 for all; None is the package's setting. Results do not depend on it.

        Returns
        -------
        prediction : array
            (N, out_features) on the last state; (T, N, out_features), or (N, T, out_features) if batch_first, on every
            state. Without a head the states themselves.
        state
            Only if `return_state`: what continues the sequence; of a list of layers a list.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As in a call of the layers.

        Notes
        -----
        On the last state, the top layer's outputs are never built.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> model = numrnn.SequenceModel(numrnn.GRU(4, 8), numrnn.Linear(8, 2), readout_on="every")
        >>> prediction, state = model(np.zeros((10, 3, 4)), return_state=True)
        >>> prediction.shape, state.shape
        ((10, 3, 2), (1, 3, 8))
        """
        return_state, states = self._read_arguments(state, lengths, return_state)
        results: list[Result] = []
        for layer, given in zip(self._layers[:-1], states, strict=False):
            results.append(layer(x, given, n_threads=n_threads))
            x = _output(results[-1])
        top = self._layers[-1]
        run = top.last if self.readout_on == "last" else top
        results.append(run(x, states[-1], n_threads=n_threads))
        selected = self._selected(results[-1])
        prediction = selected if self.readout is None else self.readout(selected, n_threads=n_threads)
        return (prediction, self._state(results)) if return_state else prediction

    @overload
    def vjp(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: Literal[False] = False,
        n_threads: int | None = None,
    ) -> tuple[Array, ModelPullback]: ...

    @overload
    def vjp(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: Literal[True],
        n_threads: int | None = None,
    ) -> tuple[tuple[Array, State | list[State]], ModelPullback]: ...

    def vjp(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: bool = False,
        n_threads: int | None = None,
    ) -> tuple[Array | tuple[Array, State | list[State]], ModelPullback]:
        """Predict and keep what backward needs: the vector-Jacobian product.

        Parameters
        ----------
        x, state, lengths, return_state, n_threads
            As in a plain call. x is kept by reference: do not change it before the last pullback.

        Returns
        -------
        prediction : array, or (prediction, state) if `return_state`
            The bits of a plain call.
        pullback : ModelPullback
            `pullback(d_prediction)` returns `Gradients`; the returned state is taken as constant.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As in a call of the layers.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> model = numrnn.SequenceModel(numrnn.LSTM(4, 8), numrnn.Linear(8, 2))
        >>> prediction, pullback = model.vjp(np.zeros((10, 3, 4)))
        >>> value, d_prediction = numrnn.losses.mse(prediction, np.ones((3, 2)))
        >>> gradients = pullback(d_prediction)
        >>> gradients.x.shape, gradients.parameters["readout.weight"].shape
        ((10, 3, 4), (2, 8))
        """
        return_state, states = self._read_arguments(state, lengths, return_state)
        results: list[Result] = []
        pullbacks: list[Pullback] = []
        for layer, given in zip(self._layers, states, strict=True):
            result, pullback = layer.vjp(x, given, n_threads=n_threads)
            results.append(result)
            pullbacks.append(pullback)
            x = _output(result)
        prediction = self._selected(results[-1])
        head_pullback: LinearPullback | None = None
        if self.readout is not None:
            prediction, head_pullback = self.readout.vjp(prediction, n_threads=n_threads)
        top_shape = results[-1].h_n.shape if self.readout_on == "last" else None
        model_pullback = ModelPullback(
            self._head, prediction.dtype, prediction.shape, self._prefixes, pullbacks, head_pullback, top_shape
        )
        return (prediction, self._state(results)) if return_state else prediction, model_pullback

    @property
    def _layers(self) -> tuple[Recurrent, ...]:
        return self.recurrent if isinstance(self.recurrent, tuple) else (self.recurrent,)

    @property
    def _prefixes(self) -> list[str]:
        """One for each layer, in order."""
        if isinstance(self.recurrent, tuple):
            return [f"recurrent.{k}." for k in range(len(self.recurrent))]
        return ["recurrent."]

    @property
    def _parts(self) -> list[tuple[str, HasParameters]]:
        parts: list[tuple[str, HasParameters]] = list(zip(self._prefixes, self._layers, strict=True))
        return parts if self.readout is None else [*parts, ("readout.", self.readout)]

    @property
    def _parameters(self) -> dict[str, Array]:
        return {prefix + name: value for prefix, part in self._parts for name, value in part._parameters.items()}

    @_parameters.setter
    def _parameters(self, parameters: dict[str, Array]) -> None:
        for prefix, part in self._parts:
            fresh = {name: parameters[prefix + name] for name in part._parameters}
            if any(fresh[name] is not value for name, value in part._parameters.items()):
                part._parameters = fresh

    def _read_arguments(self, state: Any, lengths: object, return_state: object) -> tuple[bool, Sequence[Any]]:
        """Return `return_state`, and a state or None for each layer."""
        if lengths is not None:
            advice = "Group sequences of one length into one call."
            raise not_yet(self._head, "lengths", "all rows have the length of x", advice)
        keep = flag(self._head, "return_state", return_state)
        if not isinstance(self.recurrent, tuple):
            return keep, (state,)
        if state is None:
            return keep, (None,) * len(self.recurrent)
        if not isinstance(state, list | tuple) or len(state) != len(self.recurrent):
            got = f"{type(state).__name__} of {len(state)}" if isinstance(state, list | tuple) else kind_of(state)
            raise ValueError(
                explain(
                    self._head,
                    f"`state` should be a list of {len(self.recurrent)} states, one for each layer, got {got}.",
                    "To continue a sequence pass what return_state=True gave; None in the list is zero.",
                )
            )
        return keep, state

    def _selected(self, result: Result) -> Array:
        return result.last_output if self.readout_on == "last" else _output(result)

    def _state(self, results: Sequence[Result]) -> State | list[State]:
        return [result.state for result in results] if isinstance(self.recurrent, tuple) else results[0].state

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            advice = "Make a new model of the same parts."
            raise AttributeError(explain(self._head, f"`{name}` is fixed when the model is made.", advice))
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        layers = repr(self.recurrent)
        if isinstance(self.recurrent, tuple):
            layers = repr(list(self.recurrent))
        readout_on = "" if self.readout_on == "last" else f", readout_on={self.readout_on!r}"
        return f"{type(self).__name__}({layers}, {self.readout!r}{readout_on})"


@final
class ModelPullback:
    """Back-propagation through one call of a model; may be called again.

    It keeps the weights it was made with, whatever becomes of the model.
    """

    __slots__ = ("_dtype", "_head", "_prefixes", "_pullbacks", "_readout", "_shape", "_top_shape")

    def __init__(
        self,
        head: str,
        dtype: np.dtype[Any],
        shape: Shape,
        prefixes: Sequence[str],
        pullbacks: Sequence[Pullback],
        readout: LinearPullback | None,
        top_shape: Shape | None,
    ) -> None:
        self._head = head
        self._dtype = dtype
        self._shape = shape
        self._prefixes = prefixes
        self._pullbacks = pullbacks
        self._readout = readout
        self._top_shape = top_shape  # of the top layer's h_n, where the head reads its last row alone

    def __call__(self, d_prediction: ArrayLike, *, x_gradient: bool = True) -> Gradients:
        """Return the gradients of sum(d_prediction * prediction).

        Parameters
        ----------
        d_prediction : array, in the shape of the prediction
            What a loss returns beside its value.
        x_gradient : bool
            Whether the gradient of x is wanted; without it the call is faster.

        Returns
        -------
        Gradients
            `.x`, `.parameters`, and `.h_0`, `.c_0` of the state. For a list of layers `.h_0` and `.c_0` are None.

        Raises
        ------
        ValueError
            A wrong shape.
        TypeError
            Something that is no array of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> model = numrnn.SequenceModel(numrnn.RNN(2, 3), numrnn.Linear(3, 1))
        >>> prediction, pullback = model.vjp(np.zeros((4, 5, 2)))
        >>> pullback(np.ones_like(prediction), x_gradient=False)
        Gradients(h_0 (1, 5, 3), 6 parameters)
        """
        x_gradient = flag(self._head, "x_gradient", x_gradient)
        cotangent = self._read(d_prediction)
        found: list[tuple[str, dict[str, Array]]] = []
        if self._readout is not None:
            gradients = self._readout(cotangent)
            found.append(("readout.", gradients.parameters))
            assert gradients.x is not None
            cotangent = gradients.x
        top = len(self._pullbacks) - 1
        for k in range(top, -1, -1):
            wanted = x_gradient or k > 0
            if k == top and self._top_shape is not None:
                d_h_n = np.zeros(self._top_shape, self._dtype)
                d_h_n[-1] = cotangent
                gradients = self._pullbacks[k](d_h_n=d_h_n, x_gradient=wanted)
            else:
                gradients = self._pullbacks[k](cotangent, x_gradient=wanted)
            found.append((self._prefixes[k], gradients.parameters))
            if gradients.x is not None:
                cotangent = gradients.x
        order = [*found[:0:-1], found[0]] if self._readout is not None else found[::-1]
        parameters = {prefix + name: value for prefix, values in order for name, value in values.items()}
        if top == 0:
            return Gradients(gradients.x, gradients.h_0, gradients.c_0, parameters)
        return Gradients(gradients.x, None, None, parameters)

    def _read(self, d_prediction: object) -> Array:
        array = real_array(d_prediction, self._head, "d_prediction")
        if array.shape != self._shape:
            raise ValueError(
                explain(
                    self._head,
                    f"`d_prediction` has shape {array.shape}, expected {self._shape}.",
                    "It has the shape of the prediction: one number for each number; nothing is broadcast.",
                )
            )
        return ready(array, self._dtype, self._head, "d_prediction")

    def __repr__(self) -> str:
        return f"<pullback of {self._head}: call it with d_prediction>"


def _output(result: Result) -> Array:
    assert result.output is not None  # only `last` leaves it out
    return result.output


def _check_parts(head: str, layers: Sequence[object], readout: object) -> None:
    """Raise unless the parts are layers that fit together."""
    if not layers:
        raise ValueError(explain(head, "`recurrent` is an empty list.", "Pass an RNN, LSTM or GRU, or a list of them."))
    names = ["recurrent"] if len(layers) == 1 else [f"recurrent[{k}]" for k in range(len(layers))]
    checked: list[Recurrent] = []
    for name, layer in zip(names, layers, strict=True):
        if not isinstance(layer, Recurrent):
            got = kind_of(layer)
            advice = "Pass the recurrent layer first, then the head: SequenceModel(LSTM(...), Linear(...))."
            raise TypeError(explain(head, f"`{name}` should be an RNN, LSTM or GRU, got {got}.", advice))
        checked.append(layer)
    if readout is not None and not isinstance(readout, Linear):
        raise TypeError(explain(head, f"`readout` should be a Linear or None, got {kind_of(readout)}."))
    first = checked[0]
    for k, layer in enumerate(checked[1:], start=1):
        below = checked[k - 1]
        pair = f"{names[k - 1]} is {below!r}, {names[k]} is {layer!r}."
        if any(layer is other for other in checked[:k]):
            advice = "Shared weights are not supported: make a second layer."
            raise ValueError(explain(head, f"`{names[k]}` is the same object as a layer below.", advice))
        if layer.input_size != below.hidden_size:
            problem = f"`{names[k]}` has input_size={layer.input_size}, expected {below.hidden_size}."
            raise ValueError(explain(head, problem, pair, "Each layer reads the outputs of the one before."))
        if (layer.dtype, layer.batch_first) != (first.dtype, first.batch_first):
            raise ValueError(explain(head, "the layers differ in `dtype` or `batch_first`.", pair, "Make them alike."))
    if isinstance(readout, Linear):
        top = checked[-1]
        pair = f"The top layer is {top!r}, the head {readout!r}."
        if readout.in_features != top.hidden_size:
            problem = f"`readout` has in_features={readout.in_features}, expected {top.hidden_size}, the hidden size."
            raise ValueError(explain(head, problem, pair))
        if readout.dtype != top.dtype:
            problem = f"`readout` has dtype {readout.dtype}, the layers {top.dtype}."
            raise ValueError(explain(head, problem, pair, "Make them alike."))
