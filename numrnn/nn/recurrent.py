"""What RNN, LSTM and GRU have in common: everything but their constructors."""

from __future__ import annotations

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from numrnn._errors import explain
from numrnn._types import ArrayLike, StateLike
from numrnn.engine import forward, network
from numrnn.engine.dropout import Dropout
from numrnn.engine.packed import Integers, PackedSequence
from numrnn.engine.plan import Call, Purpose, plan_call
from numrnn.engine.states import state_parts
from numrnn.kernels.network import Network
from numrnn.nn.arguments import count, dropout_rate, flag, recomputation, seed_number
from numrnn.nn.describe import describe
from numrnn.nn.fixed import arguments
from numrnn.nn.internals import read_internals
from numrnn.nn.pullback import Pullback
from numrnn.nn.recurrent_weights import RecurrentWeights
from numrnn.nn.results import Result
from numrnn.nn.stream import Stream

__all__ = ["Recurrent"]


class Recurrent(RecurrentWeights):
    """A stack of recurrent layers over time; abstract."""

    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool
    _mask_seeds: np.random.Generator

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Say why RNN and GRU have no `proj_size`, before their constructors merely call it unknown."""
        if "proj_size" in options and "proj_size" not in inspect.signature(cls.__init__).parameters:
            problem = "`proj_size` is for LSTM alone: RNN and GRU have no projection."
            raise ValueError(explain(cls.__name__, problem, "For another output size put a Linear on top."))
        return super().__new__(cls)

    @abstractmethod
    def __init__(self) -> None: ...

    def _build(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
        seed: int | None,
        init: str,
        **own: object,
    ) -> None:
        """Check what all layers' constructors share, keep it and `own` as attributes, and draw the weights."""
        head = type(self).__name__
        order = [name for name, kind in arguments(type(self)) if kind.kind is not kind.KEYWORD_ONLY]
        num_layers, dropout = count(head, "num_layers", num_layers), dropout_rate(head, dropout)
        if dropout and num_layers == 1:
            warnings.warn(
                f"{head}: dropout acts between layers, on the output of all but the last, and num_layers=1 has none: "
                f"dropout={dropout} does nothing.",
                UserWarning,
                stacklevel=4,
            )
        self._make(
            cell,
            input_size,
            hidden_size,
            bias=bias,
            dtype=dtype,
            seed=seed,
            init=init,
            num_layers=num_layers,
            batch_first=flag(head, "batch_first", batch_first, order),
            dropout=dropout,
            bidirectional=flag(head, "bidirectional", bidirectional, order),
            **own,
        )
        # the stream that masks take their seeds from when a call gives none; apart from the weights' own
        self._mask_seeds = np.random.default_rng(None if self.seed is None else [self.seed, 1])

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
        """Run over a batch of sequences; nothing is kept for backward.

        Parameters
        ----------
        x : array (T, N, input_size), or (N, T, input_size) if batch_first
            Real numbers of any kind; cast to the layer's dtype, never changed. T=0 and N=0 are legal. Also one sequence
            (T, input_size), whose results have no batch axis; a list of sequences of any lengths, whose `output` is a
            list; or a `PackedSequence`, whose `output` is one.
        state : array h_0, for LSTM a pair (h_0, c_0), optional
            (L*D, N, H_out) and (L*D, N, H), never batch-first, rows in the user's order; a batch axis of 1 stands for
            every row; None is zero.
        lengths : array of int (N,), optional
            Steps of each row, 0 to T, in any order; the rest of the row is padding, which is not read: it may be NaN.
            There `output` is 0; `h_n` is each row's state after its own last step, without any the initial one.
        reset : array of bool, shaped like x without its features, optional
            True at a step: the row's state is zero before it, also at the first, where it cuts the given one. For
            arrays only, and not with bidirectional.
        internals : bool
            Whether `result.internals` holds the states and gates of every step; all arrays are read-only then.
        n_threads : int, optional
            1 or more, or -1 for all; None is the package's setting. Results do not depend on it.

        Returns
        -------
        Result
            `output`, `h_n`, `c_n` (LSTM), `state`, `last_output`, ...

        Raises
        ------
        ValueError
            A wrong shape.
        TypeError
            Something that is no array of real numbers; a state of the wrong kind.
        NotImplementedError
            `reset` where it has no meaning.
        MemoryError
            The result would not fit into this machine.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> lstm = numrnn.LSTM(4, 8)
        >>> output, (h_n, c_n) = lstm(np.zeros((10, 3, 4)))
        >>> output.shape, h_n.shape, c_n.shape
        ((10, 3, 8), (1, 3, 8), (1, 3, 8))
        """
        keep = internals is not False and flag(self._head, "internals", internals)
        purpose: Purpose = "training" if keep else "output"
        call = plan_call(self, x, state, lengths=lengths, reset=reset, n_threads=n_threads, purpose=purpose)
        run = forward.run(call, self._panels(), keep=keep)
        if keep or call.form is not None:
            return self._result(call, run, kept=keep, internals=keep)
        return Result(run.output, run.h_n, run.c_n, call.plan.num_directions)

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

        Parameters
        ----------
        x, state, lengths, reset, n_threads
            As in a plain call.

        Returns
        -------
        Result
            The same, with `output` None.

        Raises
        ------
        ValueError, TypeError, NotImplementedError, MemoryError
            As in a plain call.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> numrnn.GRU(4, 8).last(np.zeros((10, 3, 4))).last_output.shape
        (3, 8)
        """
        call = plan_call(self, x, state, lengths=lengths, reset=reset, n_threads=n_threads, purpose="last")
        return self._result(call, forward.run(call, self._panels(), last=True))

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
        """Run and keep what backward needs: the vector-Jacobian product.

        Parameters
        ----------
        x, state, lengths, reset, internals, n_threads
            As in a plain call. x is kept by reference: do not change it before the last pullback.
        seed, t0, row0 : int
            Dropout masks are a function of (seed, layer, direction, t0 + t, row0 + n, unit): a piece of a larger batch
            or sequence that passes its offsets gets the masks of the whole. Without a seed each call draws one from the
            layer's own stream. Without dropout they change nothing.
        recompute : bool or int, optional
            None keeps the gates of every step for backward. True keeps outputs, and the cell states of some steps; the
            pullback rebuilds the rest piece by piece: the same bits, less memory, about a third more time. An int is
            the number of steps of a piece, rounded up to what backward takes at a time. Not with `internals`.

        Returns
        -------
        result : Result
            The bits of a plain call, but for dropout, which a plain call never has; its arrays are read-only.
        pullback : Pullback
            `pullback(d_output, d_h_n, d_c_n)` returns `Gradients`.

        Raises
        ------
        ValueError, TypeError, NotImplementedError, MemoryError
            As in a plain call.

        Examples
        --------
        The gradient of the sum of all outputs:

        >>> import numpy as np
        >>> import numrnn
        >>> result, pullback = numrnn.LSTM(4, 8).vjp(np.zeros((10, 3, 4)))
        >>> gradients = pullback(np.ones_like(result.output))
        >>> gradients.x.shape, gradients.parameters["weight_hh_l0"].shape
        ((10, 3, 4), (32, 8))
        """
        internals = flag(self._head, "internals", internals)
        again = recomputation(self._head, recompute, internals)
        purpose: Purpose = "recomputed" if again else "training"
        call = plan_call(self, x, state, lengths=lengths, reset=reset, n_threads=n_threads, purpose=purpose)
        dropout = self._masks(self._head, seed, t0, row0)
        run = forward.run(call, self._panels(), keep=True, dropout=dropout, recompute=again)
        result = self._result(call, run, kept=True, internals=internals)
        shared = self._shared(state, call.plan.batch_size)
        return result, Pullback(self.signature, call.plan, run.saved, shared, call.form)

    def stream(self, batch_size: int | None = None, state: StateLike | None = None) -> Stream:
        """Return the layer as a stream, which is fed step by step and keeps its states.

        Parameters
        ----------
        batch_size : int, optional
            Rows that move together; None for one sequence, whose steps are (input_size,).
        state : optional
            As in a call; None is zero.

        Returns
        -------
        Stream
            `.step(x_t)`, `.run(x_chunk)`, `.state`, `.reset()`, `.fork()`; with the present weights, also when the
            layer's change later.

        Raises
        ------
        NotImplementedError
            A bidirectional layer.
        ValueError
            A batch_size below 1; a wrong shape of `state`.
        TypeError
            A state of the wrong kind.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> stream = numrnn.LSTM(4, 8).stream(batch_size=3)
        >>> stream.step(np.zeros((3, 4))).shape
        (3, 8)
        """
        return Stream(self._snapshot(), batch_size, state)

    def jit(self) -> Network:
        """Return the layer as a value that functions compiled by Numba take, for `numrnn.jit`.

        Returns
        -------
        Network
            A named tuple of arrays with the present weights, also when the layer's change later.

        Raises
        ------
        NotImplementedError
            A bidirectional layer.

        Notes
        -----
        Pass it as an argument. As a global of a compiled function it is frozen when that is compiled, which Numba's
        `cache=True` does not see: never combine the two. Weights are packed for this machine and this version:
        store layers, not networks.

        Examples
        --------
        >>> import numba
        >>> import numpy as np
        >>> import numrnn
        >>> @numba.njit
        ... def last(net, x):
        ...     state = numrnn.jit.new_state(net, x.shape[1])
        ...     out = np.empty((x.shape[1], state.h.shape[2]), np.float32)
        ...     for t in range(x.shape[0]):
        ...         numrnn.jit.step(net, x[t], state, out)
        ...     return out
        >>> lstm, x = numrnn.LSTM(4, 8), np.ones((10, 3, 4))
        >>> bool(np.array_equal(last(lstm.jit(), x), lstm(x).last_output))
        True
        """
        of = self.signature
        if of.num_directions == 2:
            advice = "Run the layer over the whole sequence, or make it with bidirectional=False."
            problem = "a bidirectional layer has no step: its reverse half begins at the end of the sequence."
            raise NotImplementedError(explain(of.head, problem, advice))
        return network.make(of, self._panels())

    def _snapshot(self) -> Self:
        """The layer with its present weights, which do not change any more."""
        self._panels()  # packed once, for the layer and all its streams
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def describe(self, shape: Sequence[int]) -> str:
        """Return a text that names the axes of every input and output, how they are tied, and the memory needed.

        Parameters
        ----------
        shape : sequence of int
            Shape of x, in the layer's own layout; (T, input_size) for one sequence.

        Returns
        -------
        str
            Several lines, to be printed.

        Raises
        ------
        ValueError
            A shape that the layer would refuse.

        Examples
        --------
        >>> import numrnn
        >>> print(numrnn.GRU(4, 8).describe((10, 3, 4)).splitlines()[0])
        GRU(input_size=4, hidden_size=8)
        """
        return describe(self, shape)

    def _masks(
        self, head: str, seed: object, t0: object, row0: object, turned: Integers | int | None = None
    ) -> Dropout | None:
        """The dropout of a call of `vjp`, from its arguments; None where there is none."""
        seed = seed_number(head, seed)
        t0 = count(head, "t0", t0, least=0, most=2**62)
        row0 = count(head, "row0", row0, least=0, most=2**62)
        if not self.dropout or self.num_layers == 1:
            return None
        seed = int(self._mask_seeds.integers(2**63)) if seed is None else seed
        return Dropout(self.dropout, seed, t0, row0, turned)

    @staticmethod
    def _result(call: Call, run: forward.Run, *, kept: bool = False, internals: bool = False) -> Result:
        """The run's arrays in the user's form; read-only where something is kept for backward or `internals`."""
        plan, form = call.plan, call.form
        output, h_n, c_n, saved = run
        found = None
        if kept:
            found = read_internals(plan, saved, form) if internals else None
            output = None if output is None else output.view()  # the array itself is backward's
            for array in (output, h_n, c_n):
                if array is not None:
                    array.setflags(write=False)
        if form is None:
            return Result(output, h_n, c_n, plan.num_directions, found)
        steps = None if output is None else form.steps(output)
        if kept and isinstance(steps, PackedSequence):
            steps.data.flags.writeable = False  # a copy, and as read-only as the rest
        c_n = None if c_n is None else form.state(c_n)
        return Result(steps, form.state(h_n), c_n, plan.num_directions, found)

    def _shared(self, state: object, batch_size: int) -> tuple[bool, bool]:
        """Whether h_0 and c_0 were given as one row for the whole batch."""
        if state is None or batch_size == 1:
            return False, False
        shared = [np.asarray(part).shape[1] != batch_size for part in state_parts(self.signature, state)]
        return shared[0], shared[-1]
