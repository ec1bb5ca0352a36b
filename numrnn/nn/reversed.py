"""A layer that reads every sequence from its end."""

from __future__ import annotations

from typing import Any, TypeAlias, final

import numpy as np

from numrnn._errors import explain, kind_of
from numrnn._types import Array, ArrayLike, StateLike
from numrnn.engine import forward
from numrnn.engine.dropout import Dropout
from numrnn.engine.plan import Call, Plan, Purpose, plan_call
from numrnn.engine.signature import Signature
from numrnn.nn.arguments import flag, recomputation
from numrnn.nn.parameters import HasParameters
from numrnn.nn.pullback import Pullback
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.results import Result

__all__ = ["AnyLayer", "Reversed"]


class Turn:
    """The steps of each row in the opposite order, padding where it was; its own inverse."""

    def __init__(self, plan: Plan, lengths: Any) -> None:
        self._plan = plan
        self._lengths = lengths

    def __call__(self, array: Any) -> Any:
        """Turn steps in the engine's layout, with features or without."""
        if self._plan.flat:
            ends = np.cumsum(self._lengths)
            steps = np.arange(len(array)) - np.repeat(ends - self._lengths, self._lengths)
            return array[np.repeat(ends, self._lengths) - 1 - steps]
        return self._padded(array, 1 if self._plan.batch_first else 0)

    def time_first(self, array: Array) -> Array:
        """Turn (T, N, features), or (T, features) of one sequence."""
        turned: Array = self._padded(array, 0)
        turned.flags.writeable = False
        return turned

    def _padded(self, array: Any, axis: int) -> Any:
        if self._lengths is None:
            return np.ascontiguousarray(np.flip(array, axis))
        steps = np.arange(array.shape[axis])[:, None]
        index = np.where(steps < self._lengths, self._lengths - 1 - steps, steps)
        index = index.T if axis else index
        return np.take_along_axis(array, index.reshape(*index.shape, *[1] * (array.ndim - 2)), axis)


@final
class Reversed(HasParameters):
    """A layer of one direction, run from each sequence's own end to its beginning.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
        Not bidirectional. It is not copied: `reversed.layer` is the object given, and its weights are these.
    keep_order : bool
        Whether `output` and `internals` are in order of time, as x is. False leaves them as they were processed, the
        last step of x first, as Keras does under `go_backwards`.

    Raises
    ------
    TypeError
        No layer.
    NotImplementedError
        A bidirectional layer.

    Notes
    -----
    `h_n`, `c_n` and `last_output` are the states after the last step processed, which is the first in time. A `reset`
    at a step makes the state zero before that step is processed.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> backwards = numrnn.Reversed(numrnn.GRU(4, 8))
    >>> result = backwards(np.ones((10, 3, 4)), lengths=[10, 4, 7])
    >>> bool(np.array_equal(result.output[0], result.last_output))
    True
    """

    layer: Recurrent
    keep_order: bool

    def __init__(self, layer: Recurrent, keep_order: bool = True) -> None:
        head = type(self).__name__
        if not isinstance(layer, Recurrent):
            raise TypeError(explain(head, f"`layer` should be an RNN, LSTM or GRU, got {kind_of(layer)}."))
        if layer.bidirectional:
            advice = "Its `output` has the reverse direction as second half."
            raise NotImplementedError(explain(head, "`layer` is bidirectional: it reads both ways already.", advice))
        self.__dict__.update(layer=layer, keep_order=flag(head, "keep_order", keep_order))

    def __call__(
        self,
        x: ArrayLike,
        state: StateLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        internals: bool = False,
        n_threads: int | None = None,
    ) -> Result:
        """Run over a batch of sequences, each from its end; arguments and result are those of the layer.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> numrnn.Reversed(numrnn.LSTM(4, 8))(np.zeros((10, 3, 4))).output.shape
        (10, 3, 8)
        """
        keep = flag(self._head, "internals", internals)
        purpose: Purpose = "training" if keep else "output"
        call = plan_call(self, x, state, lengths=lengths, reset=reset, n_threads=n_threads, purpose=purpose)
        return self._run(call, keep=keep, internals=keep)[0]

    def last(
        self,
        x: ArrayLike,
        state: StateLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> Result:
        """Run as a plain call does, without building `output`.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> numrnn.Reversed(numrnn.LSTM(4, 8)).last(np.zeros((10, 3, 4))).last_output.shape
        (3, 8)
        """
        call = plan_call(self, x, state, lengths=lengths, reset=reset, n_threads=n_threads, purpose="last")
        return self._run(call, last=True)[0]

    def vjp(
        self,
        x: ArrayLike,
        state: StateLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        seed: int | None = None,
        t0: int = 0,
        row0: int = 0,
        recompute: bool | int | None = None,
        internals: bool = False,
        n_threads: int | None = None,
    ) -> tuple[Result, Pullback]:
        """Run and keep what backward needs; cotangents of `output` and the gradient of x are as these are.

        Parameters
        ----------
        x, state, lengths, reset, recompute, internals, n_threads
            As in the layer's `vjp`.
        seed, t0, row0 : int
            As in the layer's `vjp`. Dropout masks are a function of t in x, whichever step is processed first: a piece
            of a longer sequence passes where it begins in time, though it runs after the piece that follows it.

        Returns
        -------
        result : Result
            The bits of a plain call, but for dropout; its arrays are read-only.
        pullback : Pullback
            `pullback(d_output, d_h_n, d_c_n)` returns `Gradients`.

        Raises
        ------
        ValueError, TypeError, NotImplementedError, MemoryError
            As in the layer's `vjp`.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> result, pullback = numrnn.Reversed(numrnn.RNN(4, 8)).vjp(np.zeros((10, 3, 4)))
        >>> pullback(np.ones_like(result.output)).x.shape
        (10, 3, 4)
        """
        internals = flag(self._head, "internals", internals)
        again = recomputation(self._head, recompute, internals)
        purpose: Purpose = "recomputed" if again else "training"
        call = plan_call(self, x, state, lengths=lengths, reset=reset, n_threads=n_threads, purpose=purpose)
        ends = call.plan.seq_len if call.lengths is None else call.lengths
        dropout = self.layer._masks(self._head, seed, t0, row0, turned=ends)
        result, saved, turn = self._run(call, keep=True, internals=internals, dropout=dropout, recompute=again)
        shared = self.layer._shared(state, call.plan.batch_size)
        turns = (turn if self.keep_order else None, turn)
        return result, Pullback(self.signature, call.plan, saved, shared, call.form, turns)

    def _run(
        self,
        call: Call,
        *,
        keep: bool = False,
        last: bool = False,
        internals: bool = False,
        dropout: Dropout | None = None,
        recompute: bool | int = False,
    ) -> tuple[Result, Any, Turn]:
        """Run the layer over turned steps, and turn its steps back."""
        turn = Turn(call.plan, call.lengths)
        resets = None if call.resets is None else turn(call.resets)
        turned = call._replace(x=turn(call.x), resets=resets)
        run = forward.run(turned, self.layer._panels(), keep=keep, last=last, dropout=dropout, recompute=recompute)
        saved = run.saved
        if self.keep_order and run.output is not None:
            run = type(run)(turn(run.output), run.h_n, run.c_n, saved)
        result = self.layer._result(call, run, kept=keep, internals=internals)
        if self.keep_order and result.internals is not None:
            result.internals = result.internals.each(turn.time_first)
        return result, saved, turn

    @property
    def input_size(self) -> int:
        """Features of x."""
        return self.layer.input_size

    @property
    def hidden_size(self) -> int:
        """Features of the state."""
        return self.layer.hidden_size

    @property
    def num_layers(self) -> int:
        """Layers in the stack, all of which read from the end."""
        return self.layer.num_layers

    @property
    def dropout(self) -> float:
        """The layer's own, between those of its stack."""
        return self.layer.dropout

    @property
    def batch_first(self) -> bool:
        """Whether x and output are (batch, time, features)."""
        return self.layer.batch_first

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of weights, computation and results."""
        return self.layer.dtype

    @property
    def signature(self) -> Signature:
        """What plans depend on; the layer's own, but for the name in errors."""
        return self.layer.signature._replace(head=self._head)

    @property
    def _head(self) -> str:
        return f"Reversed({self.layer.signature.head})"

    @property
    def _parameters(self) -> dict[str, Array]:
        return self.layer._parameters

    @_parameters.setter
    def _parameters(self, parameters: dict[str, Array]) -> None:
        self.layer._parameters = parameters

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            advice = "Make a new one; load_state_dict moves weights."
            raise AttributeError(explain(self._head, f"`{name}` is fixed when it is made.", advice))
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"Reversed({self.layer!r}{'' if self.keep_order else ', keep_order=False'})"


AnyLayer: TypeAlias = Recurrent | Reversed
"""What a model is built of."""
