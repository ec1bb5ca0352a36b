"""The second half of `vjp`: from cotangents of the results to gradients of everything given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from numrnn._types import Array, ArrayLike
from numrnn.engine import backward
from numrnn.engine.cotangents import read_cotangents
from numrnn.engine.forms import Form
from numrnn.engine.plan import Plan
from numrnn.engine.signature import Signature
from numrnn.nn.arguments import flag
from numrnn.nn.gradients import Gradients

__all__ = ["Pullback"]


Turned: TypeAlias = Callable[[Array], Array]
"""Steps in another order."""


class Pullback:
    """Back-propagation through one call of a recurrent layer; may be called again.

    It keeps the weights it was made with, whatever becomes of the layer.
    """

    __slots__ = ("_form", "_plan", "_saved", "_shared_states", "_signature", "_turns")

    def __init__(
        self,
        signature: Signature,
        plan: Plan,
        saved: Any,
        shared_states: tuple[bool, bool],
        form: Form | None,
        turns: tuple[Turned | None, Turned | None] = (None, None),
    ) -> None:
        self._signature = signature
        self._plan = plan
        self._saved = saved
        self._form = form
        self._turns = turns  # of d_output on its way in and of d_x on its way out, where steps ran in another order
        self._shared_states = shared_states  # h_0, c_0 were given as one row for the whole batch

    def __call__(
        self,
        d_output: ArrayLike | None = None,
        d_h_n: ArrayLike | None = None,
        d_c_n: ArrayLike | None = None,
        *,
        x_gradient: bool = True,
    ) -> Gradients:
        """Return the gradients of sum(d_output * output) + sum(d_h_n * h_n) + sum(d_c_n * c_n).

        Parameters
        ----------
        d_output, d_h_n, d_c_n : array, optional
            Cotangents in the shapes and form of `output`, `h_n`, `c_n`; None means zero. What they hold at padded steps
            is ignored.
        x_gradient : bool
            Whether the gradient of x is wanted; without it the call is faster.

        Returns
        -------
        Gradients
            `.x`, `.h_0`, `.c_0`, `.parameters`.

        Raises
        ------
        ValueError
            A wrong shape, or `d_c_n` where there is no cell state.
        TypeError
            Something that is no array of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> result, pullback = numrnn.LSTM(2, 3).vjp(np.zeros((4, 1, 2)))
        >>> pullback(d_h_n=np.ones_like(result.h_n)).x.shape
        (4, 1, 2)
        """
        x_gradient = flag(self._signature.head, "x_gradient", x_gradient)
        d_steps, *d_states = read_cotangents(self._signature, self._plan, self._form, d_output, d_h_n, d_c_n)
        turn_in, turn_out = self._turns
        if turn_in is not None and d_steps is not None:
            d_steps = turn_in(d_steps)
        d_x, d_h_0, d_c_0, d_parameters = backward.run(self._saved, d_steps, *d_states, x_gradient=x_gradient)
        if turn_out is not None and d_x is not None:
            d_x = turn_out(d_x)
        form, (shared_h, shared_c) = self._form, self._shared_states
        if form is not None:
            d_x = None if d_x is None else form.steps(d_x)
            d_h_0 = form.state(d_h_0)
            d_c_0 = None if d_c_0 is None else form.state(d_c_0)
        return Gradients(d_x, _over_rows(d_h_0, shared_h), _over_rows(d_c_0, shared_c), d_parameters)

    def __repr__(self) -> str:
        cell = ", d_c_n" if self._plan.spec.has_cell_state else ""
        return f"<pullback of {self._signature.head}: call it with any of d_output, d_h_n{cell}>"


def _over_rows(d_state: Array | None, shared: bool) -> Array | None:
    """The gradient of a state that stood for every row."""
    return np.sum(d_state, axis=1, keepdims=True) if shared and d_state is not None else d_state
