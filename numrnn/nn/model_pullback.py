"""The second half of a model's `vjp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from numrnn._types import Array, Shape
from numrnn.nn.arguments import flag
from numrnn.nn.gradients import Gradients
from numrnn.nn.linear import LinearPullback
from numrnn.nn.pullback import Pullback
from numrnn.nn.selection import Selection

__all__ = ["ModelPullback"]


@final
class ModelPullback:
    """Back-propagation through one call of a model; may be called again.

    It keeps the weights it was made with, whatever becomes of the model.
    """

    __slots__ = ("_dtype", "_head", "_prefixes", "_pullbacks", "_readout", "_selected", "_shape")

    def __init__(
        self,
        head: str,
        dtype: np.dtype[Any],
        shape: Shape,
        prefixes: Sequence[str],
        pullbacks: Sequence[Pullback],
        readout: LinearPullback | None,
        selected: Selection,
    ) -> None:
        self._head = head
        self._dtype = dtype
        self._shape = shape
        self._prefixes = prefixes
        self._pullbacks = pullbacks
        self._readout = readout
        self._selected = selected

    def __call__(self, d_prediction: Any, *, x_gradient: bool = True) -> Gradients:
        """Return the gradients of sum(d_prediction * prediction).

        Parameters
        ----------
        d_prediction : array, in the shape and form of the prediction
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
        cotangent: Any = self._selected.read(d_prediction, self._shape, self._dtype, self._head)
        found: list[tuple[str, dict[str, Array]]] = []
        if self._readout is not None:
            gradients = self._readout(cotangent)
            found.append(("readout.", gradients.parameters))
            assert gradients.x is not None
            cotangent = gradients.x
        top = len(self._pullbacks) - 1
        for k in range(top, -1, -1):
            wanted = x_gradient or k > 0
            cotangents = self._selected.cotangents(cotangent) if k == top else {"d_output": cotangent}
            gradients = self._pullbacks[k](**cotangents, x_gradient=wanted)
            found.append((self._prefixes[k], gradients.parameters))
            if gradients.x is not None:
                cotangent = gradients.x
        order = [*found[:0:-1], found[0]] if self._readout is not None else found[::-1]
        parameters = {prefix + name: value for prefix, values in order for name, value in values.items()}
        if top == 0:
            return Gradients(gradients.x, gradients.h_0, gradients.c_0, parameters)
        return Gradients(gradients.x, None, None, parameters)

    def __repr__(self) -> str:
        return f"<pullback of {self._head}: call it with d_prediction>"
