"""A stack of layers fed step by step or chunk by chunk, its states kept between the calls."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._types import Array, ArrayLike, State, StateLike
from numrnn.engine import forward, memory
from numrnn.engine.arrays import is_ready, real_array
from numrnn.engine.one_step import read_step
from numrnn.engine.plan import kept_plan, plan_call
from numrnn.engine.states import read_state
from numrnn.engine.steps import Steps
from numrnn.nn.arguments import count

if TYPE_CHECKING:
    from numrnn.nn.recurrent import Recurrent

__all__ = ["Stream"]


@final
class Stream:
    """A layer and its states, moved forward by `step` and `run`; made by `layer.stream`.

    What a step needs is made ready with the stream, for the layer's weights of that moment: later changes of the layer
    are not seen, and `step` with `out` allocates nothing. Steps, chunks and whole sequences give the same bits. One
    stream is for one thread at a time; forks are independent.

    Attributes
    ----------
    batch_size : int or None
        Rows that move together; None for one sequence without an axis of rows.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> x = np.random.default_rng(0).standard_normal((10, 3, 4))
    >>> lstm = numrnn.LSTM(4, 8, num_layers=2)
    >>> stream = lstm.stream(batch_size=3)
    >>> steps = [stream.step(x_t) for x_t in x[:5]]
    >>> bool(np.array_equal(np.concatenate([steps, stream.run(x[5:])]), lstm(x).output))
    True
    """

    __slots__ = ("_batch_size", "_layer", "_rows", "_shapes", "_steps")

    def __init__(self, layer: Recurrent, batch_size: int | None, state: StateLike | None) -> None:
        of = layer.signature
        if of.num_directions == 2:
            advice = "Run the layer over the whole sequence, or make it with bidirectional=False."
            problem = "a bidirectional layer has no stream: its reverse half begins at the end of the sequence."
            raise NotImplementedError(explain(of.head, problem, advice))
        self._batch_size = None if batch_size is None else count(of.head, "batch_size", batch_size)
        self._rows = () if self._batch_size is None else (self._batch_size,)
        n_rows = self._n_rows
        most = 2 * of.num_layers * n_rows * (of.output_size + of.hidden_size) * of.dtype.itemsize
        memory.require(most, of.head, f"the states of batch_size={n_rows}")
        h_0, c_0 = None, None
        if state is not None:
            h_0, c_0 = read_state(of, 1, n_rows, state, unbatched=not self._rows, stream=True)
        self._layer = layer
        self._shapes = (*self._rows, of.input_size), (*self._rows, of.output_size)
        plan = kept_plan(of._replace(batch_first=False), (1, n_rows, of.input_size), None, "output")
        self._steps = Steps(plan, layer._panels(), h_0, c_0)

    @property
    def batch_size(self) -> int | None:
        """Rows that move together; None for one sequence."""
        return self._batch_size

    def step(self, x_t: ArrayLike, out: Array | None = None) -> Array:
        """Move one step forward.

        Parameters
        ----------
        x_t : array (N, input_size), or (input_size,) where batch_size is None
            Real numbers of any kind; cast to the layer's dtype, never changed.
        out : array (N, H_out) or (H_out,), optional
            Where the result goes, in the layer's dtype; of any strides, also a memory map.

        Returns
        -------
        array (N, H_out) or (H_out,)
            The top layer's h_t: `out`, or a fresh array.

        Raises
        ------
        ValueError
            A wrong shape or dtype. The stream has not moved then.
        TypeError
            Something that is no array of real numbers. The stream has not moved then.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> stream = numrnn.GRU(4, 8).stream()
        >>> stream.step(np.zeros(4)).shape
        (8,)
        """
        given, gives = self._shapes
        of = self._layer.signature
        if not (is_ready(x_t, of.dtype) and x_t.shape == given):
            x_t = self._read(x_t)
        if out is None:
            out = np.empty(gives, of.dtype)
        elif not (isinstance(out, np.ndarray) and out.shape == gives and out.dtype == of.dtype and out.flags.writeable):
            self._refuse_out(out)
        out[...] = self._steps.step(x_t).reshape(gives)
        return out

    def run(self, x_chunk: ArrayLike) -> Array:
        """Move over several steps.

        Parameters
        ----------
        x_chunk : array (T, N, input_size), (N, T, input_size) if the layer is batch_first, or (T, input_size)
            T may differ from chunk to chunk; 0 is legal.

        Returns
        -------
        array
            `output` of these steps, in the same layout.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As in a call of the layer. The stream has not moved then.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> numrnn.GRU(4, 8).stream(batch_size=3).run(np.zeros((5, 3, 4))).shape
        (5, 3, 8)
        """
        call = plan_call(self._layer, self._read_chunk(x_chunk), None, n_threads=None)
        run = forward.run(call._replace(h_0=self._steps.h, c_0=self._steps.c), self._layer._panels())
        output = self._layer._result(call, run).output
        self._steps.put(run.h_n, run.c_n)
        return np.asarray(output)

    @property
    def state(self) -> State:
        """The states after the last step, as `result.state` has them: copies."""
        h, c = self._steps.h, self._steps.c
        if not self._rows:
            h, c = h[:, 0], None if c is None else c[:, 0]
        return h.copy() if c is None else (h.copy(), c.copy())

    def reset(self, rows: Any = None) -> None:
        """Make the states zero, as before the first step of a stream made without a state.

        Parameters
        ----------
        rows : int, sequence of int, or array of bool (N,), optional
            Rows of the batch; None means all.

        Raises
        ------
        ValueError, TypeError
            Rows that the stream does not have. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> stream = numrnn.GRU(4, 8).stream(batch_size=3)
        >>> h = stream.step(np.ones((3, 4)))
        >>> stream.reset([0, 2])
        >>> [bool(row.any()) for row in stream.state[0]]
        [False, True, False]
        """
        self._steps.clear(slice(None) if rows is None else self._read_rows(rows))

    def fork(self) -> Stream:
        """Return an independent stream with the same weights and states.

        Returns
        -------
        Stream

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> stream = numrnn.GRU(4, 8).stream()
        >>> twin = stream.fork()
        >>> bool(np.array_equal(stream.step(np.ones(4)), twin.step(np.ones(4))))
        True
        """
        return Stream(self._layer, self.batch_size, self.state)

    @property
    def _n_rows(self) -> int:
        return self._rows[0] if self._rows else 1

    def _read(self, x_t: object) -> Array:
        of, (given, _) = self._layer.signature, self._shapes
        axes = "(features,)" if not self._rows else f"(batch, features) with batch {self.batch_size}"
        made = f"The stream was made with batch_size={self.batch_size}: x_t is {axes}."
        array = read_step(of, x_t, "x_t", axes, len(given), "Several steps go to `run`.")
        if array.shape != given:
            raise ValueError(explain(of.head, f"`x_t` has shape {array.shape}, expected {given}.", made))
        return array

    def _read_chunk(self, x_chunk: object) -> NDArray[Any]:
        """An array with the axes of a chunk of this stream."""
        of = self._layer.signature
        if hasattr(x_chunk, "last_output"):
            raise TypeError(explain(of.head, "`x_chunk` is a whole result.", "Pass its output: result.output."))
        if isinstance(x_chunk, list | tuple) and any(getattr(item, "ndim", 0) > 0 for item in x_chunk):
            problem = f"`x_chunk` is a {type(x_chunk).__name__} of arrays, expected one array."
            raise ValueError(explain(of.head, problem, "Rows of a stream move together: stack them."))
        array = real_array(x_chunk, of.head, "x_chunk")
        shape, batch_axis = array.shape, 0 if of.batch_first else 1
        rank, features = 2 + len(self._rows), of.input_size
        if len(shape) == rank and shape[-1] == features and (not self._rows or shape[batch_axis] == self.batch_size):
            return array
        axes = "(time, features) with" if not self._rows else f"{of.axes} with batch {self.batch_size} and"
        advice = f"The stream was made with batch_size={self.batch_size}."
        if shape == self._shapes[0]:
            advice = "One step goes to `step`."
        elif len(shape) == rank and shape[-1] != features:
            advice = f"Features are the last axis: pass {features} of them."
        elif self._rows and len(shape) == 3 and self.batch_size in shape[:2]:
            advice = "Its axes look swapped: pass x_chunk.swapaxes(0, 1)."
        problem = f"`x_chunk` has shape {shape}, expected {axes} {features} features."
        raise ValueError(explain(of.head, problem, advice))

    def _refuse_out(self, out: object) -> NoReturn:
        of, (_, gives) = self._layer.signature, self._shapes
        wanted = f"a writable array of shape {gives} and dtype {of.dtype.name}"
        if not isinstance(out, np.ndarray):
            raise TypeError(explain(of.head, f"`out` should be {wanted}, got {kind_of(out)}."))
        got = f"shape {out.shape}, dtype {out.dtype}{'' if out.flags.writeable else ', read-only'}"
        raise ValueError(explain(of.head, f"`out` should be {wanted}, got {got}.", "Without `out` the array is fresh."))

    def _read_rows(self, rows: object) -> NDArray[Any]:
        of = self._layer.signature
        if not self._rows:
            raise ValueError(explain(of.head, "`rows` was given, but the stream has no batch.", "Call reset()."))
        array = np.asarray(rows)
        if array.dtype.kind == "b" and array.ndim == 1:
            if array.shape != self._rows:
                problem = f"`rows` has {len(array)} bools, expected {self.batch_size}: one for each row."
                raise ValueError(explain(of.head, problem))
            return array
        if array.size == 0:
            return np.empty(0, np.intp)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            problem = f"`rows` should be an int, a sequence of ints or {self.batch_size} bools, got {kind_of(rows)}."
            raise TypeError(explain(of.head, problem))
        wrong = [row for row in map(operator.index, np.atleast_1d(array)) if not -self._n_rows <= row < self._n_rows]
        if wrong:
            raise ValueError(explain(of.head, f"`rows` has {wrong[0]}, but the stream has {self._n_rows} rows."))
        return np.atleast_1d(array)

    def __reduce__(self) -> tuple[Any, ...]:
        # copies and pickles are made anew: what a stream has ready are views of its own states
        return Stream, (self._layer, self._batch_size, self.state)

    def __repr__(self) -> str:
        batch = "" if self.batch_size is None else f"batch_size={self.batch_size}"
        return f"<stream of {self._layer!r}: {batch or 'one sequence'}>"
