"""Recurrent layers and a dense head as one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final, overload

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import Array, ArrayLike, State, StateLike
from numrnn.nn.arguments import choice, count, flag, seed_number
from numrnn.nn.initial_state import InitialState, is_one_sequence
from numrnn.nn.linear import Linear
from numrnn.nn.model_parts import check_parts
from numrnn.nn.model_pullback import LearnedStart, ModelPullback
from numrnn.nn.parameters import HasParameters
from numrnn.nn.pullback import Pullback
from numrnn.nn.results import Result
from numrnn.nn.reversed import AnyLayer
from numrnn.nn.rollout_arguments import check_rollout
from numrnn.nn.selection import select

__all__ = ["ModelPullback", "SequenceModel"]

_READOUT_ON = ("last", "every", "mean", "max")


@final
class SequenceModel(HasParameters):
    """Recurrent layers, then a dense layer on the last state, on every state, or on their mean or maximum.

    Parameters
    ----------
    recurrent : RNN, LSTM, GRU or Reversed, or a list of them
        Of a list, each layer reads the outputs of the one before.
    readout : Linear or None
        The head. None: the model predicts the states themselves.
    readout_on : {"last", "every", "mean", "max"}
        What the head reads: the top layer's output after each row's last step, at every step, or the mean or maximum of
        each feature over the row's steps. The gradient of a maximum goes to the first step that attains it.
    learn_initial_state : bool
        Whether the state that a call begins with, where none is given, is a parameter: one row that stands for every
        row of the batch, zero at the start.

    Raises
    ------
    TypeError, ValueError
        Parts of the wrong kind, or that do not fit together; options of the wrong kind or value.

    Notes
    -----
    Parameters are those of the parts, prefixed: "recurrent.weight_ih_l0", "readout.weight"; of a list of layers
    "recurrent.0.weight_ih_l0". The parts are not copied: `model.recurrent` and `model.readout` are the objects given.
    A learned initial state is "initial_state.h_0" (L*D, 1, H_out) and for LSTM "initial_state.c_0" (L*D, 1, H); of a
    list of layers "initial_state.0.h_0".

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

    recurrent: AnyLayer | tuple[AnyLayer, ...]
    readout: Linear | None
    readout_on: str
    learn_initial_state: bool
    _initial: tuple[InitialState, ...]

    def __init__(
        self,
        recurrent: AnyLayer | Sequence[AnyLayer],
        readout: Linear | None,
        *,
        readout_on: str = "last",
        learn_initial_state: bool = False,
    ) -> None:
        head = type(self).__name__
        layers = tuple(recurrent) if isinstance(recurrent, list | tuple) else (recurrent,)
        check_parts(head, layers, readout)
        choice(head, "readout_on", readout_on, _READOUT_ON)
        learn = flag(head, "learn_initial_state", learn_initial_state)
        self.__dict__.update(
            recurrent=layers if isinstance(recurrent, list | tuple) else recurrent,
            readout=readout,
            readout_on=readout_on,
            learn_initial_state=learn,
            _initial=tuple(InitialState.of(layer) for layer in layers) if learn else (),
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
            Or one sequence (T, I), a list of sequences, or a packed sequence, as the layers take them.
        state : optional
            As the recurrent layer takes it; of a list of layers, a list with a state or None for each. None is the
            learned initial state where there is one, otherwise zero.
        lengths : array of int (N,), optional
            Steps of each row; the rest is padding. "last" then reads each row's own last state, "mean" and "max" its
            own steps, and zeros where it has none; on every state the prediction is 0 at padded steps, whatever the
            head's bias, and its cotangent there is ignored.
        return_state : bool
            Whether the state after the last step is returned too.
        n_threads : int, optional
            1 or more, or -1 for all; None is the package's setting. Results do not depend on it.

        Returns
        -------
        prediction : array
            (N, out_features); on every state (T, N, out_features), or (N, T, out_features) if batch_first, or a list or
            packed sequence where x is one. Without a head what it would read.
        state
            Only if `return_state`: what continues the sequence; of a list of layers a list.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As in a call of the layers.

        Notes
        -----
        On the last state, the top layer's outputs are never built. A mean is summed in float64, step by step.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> model = numrnn.SequenceModel(numrnn.GRU(4, 8), numrnn.Linear(8, 2), readout_on="every")
        >>> prediction, state = model(np.zeros((10, 3, 4)), return_state=True)
        >>> prediction.shape, state.shape
        ((10, 3, 2), (1, 3, 8))
        """
        return_state, given_states = self._read_arguments(state, return_state)
        states = self._starts(x, given_states)
        results: list[Result] = []
        for layer, given in zip(self._layers[:-1], states, strict=False):
            results.append(layer(x, given, lengths=lengths, n_threads=n_threads))
            x = results[-1].output
        top = self._layers[-1]
        run = top.last if self.readout_on == "last" else top
        results.append(run(x, states[-1], lengths=lengths, n_threads=n_threads))
        selected = select(results[-1], self.readout_on, top, lengths)
        y = selected.rows if self.readout is None else self.readout(selected.rows, n_threads=n_threads)
        prediction = selected.prediction(y)
        return (prediction, self._state(results)) if return_state else prediction

    @overload
    def vjp(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: Literal[False] = False,
        seed: int | None = None,
        t0: int = 0,
        row0: int = 0,
        recompute: bool | int | None = None,
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
        seed: int | None = None,
        t0: int = 0,
        row0: int = 0,
        recompute: bool | int | None = None,
        n_threads: int | None = None,
    ) -> tuple[tuple[Array, State | list[State]], ModelPullback]: ...

    def vjp(
        self,
        x: ArrayLike,
        state: StateLike | Sequence[StateLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_state: bool = False,
        seed: int | None = None,
        t0: int = 0,
        row0: int = 0,
        recompute: bool | int | None = None,
        n_threads: int | None = None,
    ) -> tuple[Array | tuple[Array, State | list[State]], ModelPullback]:
        """Predict and keep what backward needs: the vector-Jacobian product.

        Parameters
        ----------
        x, state, lengths, return_state, n_threads
            As in a plain call. x is kept by reference: do not change it before the last pullback.
        seed, t0, row0 : int
            Dropout masks are a function of (seed, layer, direction, t0 + t, row0 + n, unit), as in the layer's `vjp`: a
            piece of a larger batch or sequence that passes its offsets gets the masks of the whole. The layers of a
            list have masks of their own, from the seeds that `numpy.random.SeedSequence(seed)` spawns for them. Without
            a seed each layer draws one from its own stream.
        recompute : bool or int, optional
            As in the layers' `vjp`: less memory for about a third more time.

        Returns
        -------
        prediction : array, or (prediction, state) if `return_state`
            The bits of a plain call, but for dropout, which a plain call never has.
        pullback : ModelPullback
            `pullback(d_prediction)` returns `Gradients`; the returned state is taken as constant.

        Raises
        ------
        ValueError, TypeError, NotImplementedError, MemoryError
            As in `vjp` of the layers.

        Notes
        -----
        `dropout` of a layer acts inside it, between the layers of its own stack: not between the layers of a list, and
        not before the head.

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
        return_state, given_states = self._read_arguments(state, return_state)
        states = self._starts(x, given_states)
        results: list[Result] = []
        pullbacks: list[Pullback] = []
        for layer, given, own_seed in zip(self._layers, states, self._seeds(seed), strict=True):
            result, pullback = layer.vjp(
                x,
                given,
                lengths=lengths,
                seed=own_seed,
                t0=t0,
                row0=row0,
                recompute=recompute,
                n_threads=n_threads,
            )
            results.append(result)
            pullbacks.append(pullback)
            x = result.output
        selected = select(results[-1], self.readout_on, self._layers[-1], lengths)
        y, head_pullback = selected.rows, None
        if self.readout is not None:
            y, head_pullback = self.readout.vjp(y, n_threads=n_threads)
        prediction = selected.prediction(y)
        initial = [
            LearnedStart(prefix, own, given is None)
            for prefix, own, given in zip(self._prefixes_of("initial_state"), self._initial, given_states, strict=False)
        ]
        model_pullback = ModelPullback(
            self._head, y.dtype, y.shape, self._prefixes_of("recurrent"), pullbacks, head_pullback, selected, initial
        )
        return (prediction, self._state(results)) if return_state else prediction, model_pullback

    def rollout(
        self,
        x: ArrayLike,
        steps: int,
        *,
        state: StateLike | Sequence[StateLike | None] | None = None,
        known: ArrayLike | None = None,
        noise: ArrayLike | None = None,
        n_paths: int = 1,
        seed: int | None = None,
        lengths: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> Array:
        """Forecast: run over a history, then feed each prediction back as the next input.

        The first prediction is that of the state after x. What is predicted is the first `out_features` of the inputs;
        the K other inputs, if there are any, are known in advance.

        Parameters
        ----------
        x, state, lengths, n_threads
            The history, as in a plain call; each row goes on from its own last step.
        steps : int
            How many steps to forecast, 1 or more.
        known : array (steps, N, K), (N, steps, K) if batch_first, (steps, K) of one sequence
            The other inputs at the steps of the forecast; those of the last step are not read and may be left out. Or a
            list of (steps, K), one a sequence.
        noise : float or array (out_features,), optional
            Standard deviation of Gaussian noise that is added to each prediction, the one returned and fed back.
        n_paths : int
            Sample paths. More than one need `noise` or layers with dropout.
        seed : int, optional
            Of noise and dropout masks; None takes one from the operating system.

        Returns
        -------
        array (steps, N, out_features), (N, steps, out_features) if batch_first, (steps, out_features) of one sequence
            With n_paths > 1 behind a leading axis of paths.

        Raises
        ------
        ValueError
            A model whose predictions cannot be its inputs; paths that would all be the same; a wrong shape or value.
        NotImplementedError
            A bidirectional or reversed layer.
        TypeError, MemoryError
            As in a plain call.

        Notes
        -----
        With one path and no noise the forecast is the deterministic one. Otherwise it is sampled, and layers with
        dropout have their masks, those of `vjp` for the same seed, over the history too: a path is a row of the batch,
        number path * N + n. Noise is a function of (seed, path, step, row, feature): more paths, more steps or other
        threads change nothing of what is there. Its source is Box & Muller 1958 over a counter-based generator.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> model = numrnn.SequenceModel(numrnn.LSTM(1, 8), numrnn.Linear(8, 1))
        >>> history = np.sin(np.arange(50.0)).reshape(50, 1)
        >>> model.rollout(history, 12).shape
        (12, 1)
        >>> model.rollout(history, 12, noise=0.1, n_paths=100, seed=0).shape
        (100, 12, 1)
        """
        from numrnn.nn.rollout import forecast  # its kernels cost an import that most programs do not need

        layers, readout = check_rollout(self._head, self._layers, self.readout, self.readout_on)
        steps = count(self._head, "steps", steps)
        n_paths = count(self._head, "n_paths", n_paths)
        seed = seed_number(self._head, seed)
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        _, states = self._read_arguments(state, False)
        return forecast(
            self._head,
            layers,
            readout,
            x,
            self._starts(x, states),
            self._seeds(seed),
            steps=steps,
            known=known,
            noise=noise,
            n_paths=n_paths,
            seed=seed,
            lengths=lengths,
            n_threads=n_threads,
        )

    @property
    def _layers(self) -> tuple[AnyLayer, ...]:
        return self.recurrent if isinstance(self.recurrent, tuple) else (self.recurrent,)

    def _prefixes_of(self, name: str) -> list[str]:
        """One for each layer, in order."""
        if isinstance(self.recurrent, tuple):
            return [f"{name}.{k}." for k in range(len(self.recurrent))]
        return [f"{name}."]

    @property
    def _parts(self) -> list[tuple[str, HasParameters]]:
        parts: list[tuple[str, HasParameters]] = list(zip(self._prefixes_of("recurrent"), self._layers, strict=True))
        parts += zip(self._prefixes_of("initial_state"), self._initial, strict=False)
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

    def _read_arguments(self, state: Any, return_state: object) -> tuple[bool, Sequence[Any]]:
        """Return `return_state`, and a state or None for each layer."""
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

    def _starts(self, x: Any, states: Sequence[Any]) -> Sequence[Any]:
        """The states that the layers begin with: those given, otherwise those learned."""
        if not self._initial or all(state is not None for state in states):
            return states
        unbatched = is_one_sequence(x, self._layers[0].signature.head)
        return [
            own.state(unbatched=unbatched) if given is None else given
            for own, given in zip(self._initial, states, strict=True)
        ]

    def _seeds(self, seed: object) -> list[int | None]:
        """One for each layer's masks: the seed given, or what it spawns for the layers of a list."""
        given = seed_number(self._head, seed)
        if given is None or not isinstance(self.recurrent, tuple):
            return [given] * len(self._layers)
        spawned = np.random.SeedSequence(given).spawn(len(self.recurrent))
        return [int(one.generate_state(1, np.uint64)[0]) for one in spawned]

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
        learned = ", learn_initial_state=True" if self.learn_initial_state else ""
        return f"{type(self).__name__}({layers}, {self.readout!r}{readout_on}{learned})"
