"""The second half of a model's `vjp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from numrnn._types import Array, Shape
from numrnn.nn.arguments import flag
from numrnn.nn.gradients import Gradients
from numrnn.nn.initial_state import InitialState
from numrnn.nn.linear import LinearPullback
from numrnn.nn.pullback import Pullback
from numrnn.nn.selection import Selection

__all__ = ["LearnedStart", "ModelPullback"]


class LearnedStart(NamedTuple):
    """The learned initial state of a layer: its prefix, and whether the call began from it."""

    prefix: str
    initial: InitialState
    used: bool

    def gradients(self, of_layer: Gradients) -> dict[str, Array]:
        """Return its gradients, summed over the batch; zero where a state was given."""
        found = {"h_0": of_layer.h_0, "c_0": of_layer.c_0}
        return {
            self.prefix + name: np.array(found[name]).reshape(zeros.shape) if self.used else zeros
            for name, zeros in self.initial.zeros().items()
        }


@final
class ModelPullback:
    """Back-propagation through one call of a model; may be called again.

    It keeps the weights it was made with, whatever becomes of the model.
    """

    __slots__ = ("_dtype", "_head", "_initial", "_prefixes", "_pullbacks", "_readout", "_selected", "_shape")

    def __init__(
        self,
        head: str,
        dtype: np.dtype[Any],
        shape: Shape,
        prefixes: Sequence[str],
        pullbacks: Sequence[Pullback],
        readout: LinearPullback | None,
        selected: Selection,
        initial: Sequence[LearnedStart],
    ) -> None:
        self._head = head
        self._dtype = dtype
        self._shape = shape
        self._prefixes = prefixes
        self._pullbacks = pullbacks
        self._readout = readout
        self._selected = selected
        self._initial = initial

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
            `.x`, `.parameters`, and `.h_0`, `.c_0` of the state; of a learned initial state they have its shape. For a
            list of layers `.h_0` and `.c_0` are None.

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
        parameters: dict[str, Array] = {}
        if self._readout is not None:
            gradients = self._readout(cotangent)
            parameters = {"readout." + name: value for name, value in gradients.parameters.items()}
            assert gradients.x is not None
            cotangent = gradients.x
        layers: dict[str, Array] = {}
        starts: dict[str, Array] = {}
        top = len(self._pullbacks) - 1
        for k in range(top, -1, -1):
            wanted = x_gradient or k > 0
            cotangents = self._selected.cotangents(cotangent) if k == top else {"d_output": cotangent}
            gradients = self._pullbacks[k](**cotangents, x_gradient=wanted)
            own = {self._prefixes[k] + name: value for name, value in gradients.parameters.items()}
            if self._initial:
                starts = self._initial[k].gradients(gradients) | starts
            layers = own | layers
            if gradients.x is not None:
                cotangent = gradients.x
        parameters = layers | starts | parameters
        if top == 0:
            return Gradients(gradients.x, gradients.h_0, gradients.c_0, parameters)
        return Gradients(gradients.x, None, None, parameters)

    def __repr__(self) -> str:
        return f"<pullback of {self._head}: call it with d_prediction>"
