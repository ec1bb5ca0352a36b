"""One step of one layer: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeAlias, final

from numpy.typing import DTypeLike

from numrnn._errors import explain
from numrnn._types import Array, ArrayLike, Shape, State, StateLike
from numrnn.engine import backward, forward
from numrnn.engine.one_step import read_cell_states, read_part, read_step
from numrnn.engine.plan import Call, Purpose, kept_plan
from numrnn.engine.signature import Signature
from numrnn.nn.arguments import choice, flag, forget_gate_bias
from numrnn.nn.gradients import Gradients
from numrnn.nn.recurrent_weights import RecurrentWeights

__all__ = ["CellPullback", "GRUCell", "LSTMCell", "RNNCell"]

_Shared: TypeAlias = tuple[bool, bool]
"""Whether h and c were given as one row for the whole batch."""


class Cell(RecurrentWeights):
    """One step of one layer of one direction; abstract."""

    _kind: ClassVar[str] = "cell"

    @abstractmethod
    def __init__(self) -> None: ...

    def __call__(self, x: ArrayLike, hx: StateLike | None = None, *, n_threads: int | None = None) -> State:
        """Return the state after one step.

        Parameters
        ----------
        x : array (N, input_size), or (input_size,) for one row
            Real numbers of any kind; cast to the cell's dtype, never changed.
        hx : array h (N, hidden_size), for LSTMCell a pair (h, c), optional
            The state before the step, without axis N where x has none. A batch axis of 1 stands for every row; None is
            zero.
        n_threads : int, optional
            1 or more, or -1 for all; None is the package's setting. Results do not depend on it.

        Returns
        -------
        array (N, hidden_size), or a pair of them
            h, for LSTMCell (h, c): what the next step takes as `hx`. The bits of a layer with these weights.

        Raises
        ------
        ValueError
            A wrong shape.
        TypeError
            Something that is no array of real numbers; a state of the wrong kind.
        MemoryError
            The result would not fit into this machine.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> cell = numrnn.LSTMCell(4, 8)
        >>> h, c = cell(np.zeros((3, 4)))
        >>> h, c = cell(np.ones((3, 4)), (h, c))
        >>> h.shape, c.shape
        ((3, 8), (3, 8))
        """
        call, rows, _ = self._read(x, hx, n_threads, "last")
        run = forward.run(call, self._panels(), last=True)
        return _states(run, rows)

    def vjp(
        self, x: ArrayLike, hx: StateLike | None = None, *, n_threads: int | None = None
    ) -> tuple[State, CellPullback]:
        """Run one step and keep what backward needs: the vector-Jacobian product.

        Parameters
        ----------
        x, hx, n_threads
            As in a plain call. x is kept by reference: do not change it before the last pullback.

        Returns
        -------
        state : array h, or (h, c)
            As a plain call returns it.
        pullback : CellPullback
            `pullback(d_h, d_c)` returns `Gradients`.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As in a plain call.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> h, pullback = numrnn.GRUCell(4, 8).vjp(np.zeros((3, 4)))
        >>> gradients = pullback(np.ones_like(h))
        >>> gradients.x.shape, gradients.parameters["weight_hh"].shape
        ((3, 4), (24, 8))
        """
        call, rows, shared = self._read(x, hx, n_threads, "training")
        run = forward.run(call, self._panels(), keep=True)
        return _states(run, rows), CellPullback(self.signature, run.saved, rows, shared)

    def _read(self, x: object, hx: object, n_threads: int | None, purpose: Purpose) -> tuple[Call, Shape, _Shared]:
        """The call as the engine takes it, the axes of x before its features, and which states were one row."""
        of = self.signature
        several = "A cell runs one step: for a sequence use a layer."
        step = read_step(of, x, "x", "(batch, features), or (features,) for one row", several=several)
        rows = step.shape[:-1]
        steps = step.reshape(1, -1, of.input_size)
        plan = kept_plan(of, steps.shape, n_threads, purpose)
        if hx is None:
            return Call(plan, steps, None, None), rows, (False, False)
        (h_0, c_0), shared = read_cell_states(of, rows, hx)
        return Call(plan, steps, h_0, c_0), rows, shared

    def _draw(self) -> dict[str, Array]:
        return _of_cell(super()._draw())

    def _stack_parameters(self) -> dict[str, Array]:
        return {f"{name}_l0": value for name, value in self._parameters.items()}


class CellPullback:
    """Back-propagation through one step of a cell; may be called again.

    It keeps the weights it was made with, whatever becomes of the cell.
    """

    __slots__ = ("_rows", "_saved", "_shared", "_signature")

    def __init__(self, signature: Signature, saved: Any, rows: Shape, shared: _Shared) -> None:
        self._signature = signature
        self._saved = saved
        self._rows = rows
        self._shared = shared

    def __call__(
        self, d_h: ArrayLike | None = None, d_c: ArrayLike | None = None, *, x_gradient: bool = True
    ) -> Gradients:
        """Return the gradients of sum(d_h * h) + sum(d_c * c).

        Parameters
        ----------
        d_h, d_c : array, optional
            Cotangents in the shapes of h and c; None means zero. LSTMCell has c.
        x_gradient : bool
            Whether the gradient of x is wanted; without it the call is faster.

        Returns
        -------
        Gradients
            `.x`, `.parameters`, and `.h_0`, `.c_0` of the state before the step.

        Raises
        ------
        ValueError
            A wrong shape, or `d_c` where there is no cell state.
        TypeError
            Something that is no array of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> (h, c), pullback = numrnn.LSTMCell(2, 3).vjp(np.zeros((5, 2)))
        >>> pullback(d_c=np.ones_like(c)).c_0.shape
        (5, 3)
        """
        of, plan = self._signature, self._saved.plan
        x_gradient = flag(of.head, "x_gradient", x_gradient)
        if d_c is not None and not plan.spec.has_cell_state:
            problem = "`d_c` was given, but this cell has no cell state."
            raise ValueError(
                explain(of.head, problem, "Leave it out; c is of cells with a cell state, such as LSTMCell.")
            )
        shape = (*self._rows, of.hidden_size)
        given = [read_part(of, shape, value, name) for value, name in ((d_h, "d_h"), (d_c, "d_c"))]
        d_states = [None if value is None else value.reshape(plan.state_shape) for value in given]
        d_x, d_h_0, d_c_0, parameters = backward.run(self._saved, None, *d_states, x_gradient=x_gradient)
        return Gradients(
            None if d_x is None else d_x.reshape(*self._rows, of.input_size),
            self._state(d_h_0, self._shared[0]),
            None if d_c_0 is None else self._state(d_c_0, self._shared[1]),
            _of_cell(parameters),
        )

    def _state(self, gradient: Array, shared: bool) -> Array:
        """The gradient of a state in the shape in which it was given."""
        own: Array = gradient.sum(axis=1) if shared else gradient.reshape(*self._rows, gradient.shape[-1])
        return own

    def __repr__(self) -> str:
        cell = " and d_c" if self._saved.plan.spec.has_cell_state else ""
        return f"<pullback of {self._signature.head}: call it with d_h{cell}>"


def _states(run: forward.Run, rows: Shape) -> State:
    h = run.h_n.reshape(*rows, run.h_n.shape[-1])
    return h if run.c_n is None else (h, run.c_n.reshape(h.shape))


def _of_cell(parameters: dict[str, Array]) -> dict[str, Array]:
    """The same under a cell's names."""
    return {name.removesuffix("_l0"): value for name, value in parameters.items()}


@final
class RNNCell(Cell):
    """One step of a plain recurrent layer: h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state.
    bias : bool
        Whether `bias_ih` and `bias_hh` exist.
    nonlinearity : {"tanh", "relu"}
    dtype, seed, init
        As of `RNN`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Parameters: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, as in PyTorch. For steps of a whole stack use
    `layer.stream`, whose `step` with `out=` allocates nothing.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> numrnn.RNNCell(4, 8)(np.zeros((3, 4))).shape
    (3, 8)
    """

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
    ) -> None:
        nonlinearity = choice("RNNCell", "nonlinearity", nonlinearity, ("tanh", "relu"))
        cell = f"rnn_{nonlinearity}"
        own = {"nonlinearity": nonlinearity}
        self._make(cell, input_size, hidden_size, bias=bias, dtype=dtype, seed=seed, init=init, **own)


@final
class LSTMCell(Cell):
    """One step of a long short-term memory layer; the equations are those of `LSTM`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of each state.
    bias : bool
        Whether `bias_ih` and `bias_hh` exist.
    dtype, seed, init, forget_bias
        As of `LSTM`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Parameters: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, as in PyTorch. For steps of a whole stack use
    `layer.stream`, whose `step` with `out=` allocates nothing.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> h, c = numrnn.LSTMCell(4, 8)(np.zeros((3, 4)))
    >>> h.shape, c.shape
    ((3, 8), (3, 8))
    """

    forget_bias: float | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
        forget_bias: float | None = None,
    ) -> None:
        forget_bias = forget_gate_bias("LSTMCell", forget_bias, bias)
        own = {"forget_bias": forget_bias}
        self._make("lstm", input_size, hidden_size, bias=bias, dtype=dtype, seed=seed, init=init, **own)


@final
class GRUCell(Cell):
    """One step of a layer of gated recurrent units; the equations are those of `GRU`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x and of the state.
    bias : bool
        Whether `bias_ih` and `bias_hh` exist.
    reset_after, dtype, seed, init
        As of `GRU`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Parameters: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, as in PyTorch. For steps of a whole stack use
    `layer.stream`, whose `step` with `out=` allocates nothing.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> numrnn.GRUCell(4, 8)(np.zeros(4)).shape
    (8,)
    """

    reset_after: bool

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        init: str = "pytorch",
    ) -> None:
        own = {"reset_after": flag("GRUCell", "reset_after", reset_after)}
        cell = "gru" if reset_after else "gru_reset_before"
        self._make(cell, input_size, hidden_size, bias=bias, dtype=dtype, seed=seed, init=init, **own)
