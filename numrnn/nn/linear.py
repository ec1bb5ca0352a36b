"""The dense layer: what turns states into predictions."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NoReturn, final

import numpy as np
from numpy.typing import DTypeLike

from numrnn import _threads
from numrnn._errors import explain
from numrnn._types import Array, ArrayLike, Shape
from numrnn.engine import dense, memory
from numrnn.engine.arrays import ready, real_array
from numrnn.nn.arguments import count, element_type, flag, seed_number
from numrnn.nn.fixed import Fixed
from numrnn.nn.gradients import Gradients
from numrnn.nn.parameters import freeze, placeholders

__all__ = ["Linear", "LinearPullback"]


@final
class Linear(Fixed):
    """A dense layer, y = x W^T + b over the last axis of x.

    Parameters
    ----------
    in_features, out_features : int
        Size of the last axis of x and of y.
    bias : bool
        Whether `bias` exists.
    dtype : {"float32", "float64"}
        Of weights, computation and results.
    seed : int, optional
        Of the initial weights, U(-1/sqrt(in_features), 1/sqrt(in_features)); None takes one from the operating system.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value.
    MemoryError
        Weights that this machine cannot hold.

    Notes
    -----
    Parameters: `weight` (out_features, in_features) and `bias` (out_features,), as in PyTorch.

    Examples
    --------
    A head on the last state of a recurrent layer, and on every state:

    >>> import numpy as np
    >>> import numrnn
    >>> result = numrnn.LSTM(4, 8)(np.zeros((10, 3, 4)))
    >>> head = numrnn.Linear(8, 2)
    >>> head(result.last_output).shape, head(result.output).shape
    ((3, 2), (10, 3, 2))
    """

    in_features: int
    out_features: int
    bias: bool
    dtype: np.dtype[Any]
    seed: int | None
    _packed: tuple[dict[str, Array], dense.DensePanels] | None

    _derived: ClassVar[tuple[str, ...]] = ("_packed",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
    ) -> None:
        head = type(self).__name__
        self.__dict__.update(
            in_features=count(head, "in_features", in_features),
            out_features=count(head, "out_features", out_features),
            bias=flag(head, "bias", bias, ("in_features", "out_features", "bias")),
            dtype=element_type(head, dtype),
            seed=seed_number(head, seed),
        )
        n_bytes = (self.in_features + self.bias) * self.out_features * self.dtype.itemsize
        memory.require(n_bytes, self._head, "the weights")
        shapes: dict[str, Shape] = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            shapes["bias"] = (self.out_features,)
        self._parameters = placeholders(shapes, self.dtype) if self._is_blank else self._draw(shapes)
        self._connect()

    def _draw(self, shapes: dict[str, Shape]) -> dict[str, Array]:
        rng, bound = np.random.default_rng(self.seed), 1.0 / math.sqrt(self.in_features)
        return {name: freeze(rng.uniform(-bound, bound, shape).astype(self.dtype)) for name, shape in shapes.items()}

    def _connect(self) -> None:
        self._packed = None

    def __call__(self, x: ArrayLike, *, n_threads: int | None = None) -> Array:
        """Return x W^T + b.

        Parameters
        ----------
        x : array (..., in_features)
            Any real numbers, in any layout; cast to the layer's dtype.
        n_threads : int, optional
            1 or more, or -1 for all; None is the package's setting. Results do not depend on it.

        Returns
        -------
        array (..., out_features)

        Raises
        ------
        ValueError
            A wrong shape.
        TypeError
            Something that is no array of real numbers.
        MemoryError
            The result would not fit into this machine.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> numrnn.Linear(8, 2)(np.zeros((5, 8))).shape
        (5, 2)
        """
        rows, shape = self._rows(x)
        y: Array = dense.forward(self._panels(), rows, n_threads=_threads.resolve(n_threads))
        return y.reshape(shape)

    def vjp(self, x: ArrayLike, *, n_threads: int | None = None) -> tuple[Array, LinearPullback]:
        """Run and keep what backward needs: the vector-Jacobian product.

        Parameters
        ----------
        x, n_threads
            As in a plain call. x is kept by reference: do not change it before the last pullback.

        Returns
        -------
        y : array (..., out_features)
            The bits of a plain call.
        pullback : LinearPullback
            `pullback(d_y)` returns `Gradients`.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As in a plain call.

        Examples
        --------
        >>> import numpy as np
        >>> import numrnn
        >>> y, pullback = numrnn.Linear(8, 2).vjp(np.zeros((5, 8)))
        >>> gradients = pullback(np.ones_like(y))
        >>> gradients.x.shape, gradients.parameters["weight"].shape
        ((5, 8), (2, 8))
        """
        threads = _threads.resolve(n_threads)
        rows, shape = self._rows(x)
        panels = self._panels()
        y: Array = dense.forward(panels, rows, n_threads=threads)
        return y.reshape(shape), LinearPullback(self._head, panels, rows, shape, threads)

    @property
    def _head(self) -> str:
        return f"{type(self).__name__}(in_features={self.in_features}, out_features={self.out_features})"

    def _rows(self, x: object) -> tuple[Array, Shape]:
        """Return x with its leading axes merged, and the shape of y."""
        if hasattr(x, "last_output"):
            raise TypeError(
                explain(
                    self._head,
                    "`x` is a whole result.",
                    "Pass its `last_output` for a head on the last state, its `output` for one on every state.",
                )
            )
        array = real_array(x, self._head, "x")
        if not array.ndim or array.shape[-1] != self.in_features:
            self._refuse_shape(array.shape)
        n_rows = math.prod(array.shape[:-1])
        memory.require(n_rows * self.out_features * self.dtype.itemsize, self._head, f"the result of x {array.shape}")
        rows = ready(array, self.dtype, self._head, "x").reshape(n_rows, self.in_features)
        return rows, (*array.shape[:-1], self.out_features)

    def _refuse_shape(self, shape: Shape) -> NoReturn:
        matching = [axis for axis, size in enumerate(shape) if size == self.in_features]
        if not shape:
            problem, advice = "`x` is a single number.", f"Pass an array of shape (..., {self.in_features})."
        else:
            problem = f"`x` has {shape[-1]} features, expected {self.in_features}."
            advice = f"Features are the last axis: pass {self.in_features} of them."
        if matching:
            axis = matching[-1]
            advice = f"Axis {axis} has {self.in_features} entries: if these are the features, "
            advice += f"pass np.moveaxis(x, {axis}, -1)."
        raise ValueError(explain(self._head, problem, f"x.shape = {shape} read as (..., features).", advice))

    def _panels(self) -> dense.DensePanels:
        """Packed weights of the present parameters."""
        packed, parameters = self._packed, self._parameters
        if packed is None or packed[0] is not parameters:
            panels = dense.DensePanels(parameters["weight"], parameters.get("bias"))
            packed = self._packed = (parameters, panels)
        return packed[1]


@final
class LinearPullback:
    """Back-propagation through one call of a dense layer; may be called again.

    It keeps the weights it was made with, whatever becomes of the layer.
    """

    __slots__ = ("_head", "_n_threads", "_panels", "_rows", "_shape")

    def __init__(self, head: str, panels: dense.DensePanels, rows: Array, shape: Shape, n_threads: int) -> None:
        self._head = head
        self._panels = panels
        self._rows = rows
        self._shape = shape
        self._n_threads = n_threads

    def __call__(self, d_y: ArrayLike, *, x_gradient: bool = True) -> Gradients:
        """Return the gradients of sum(d_y * y).

        Parameters
        ----------
        d_y : array (..., out_features)
            Cotangent in the shape of y.
        x_gradient : bool
            Whether the gradient of x is wanted; without it the call is faster.

        Returns
        -------
        Gradients
            `.x` and `.parameters`; `.h_0` and `.c_0` are None.

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
        >>> y, pullback = numrnn.Linear(3, 2).vjp(np.ones((4, 3)))
        >>> pullback(np.ones_like(y)).parameters["bias"]
        array([4., 4.], dtype=float32)
        """
        x_gradient = flag(self._head, "x_gradient", x_gradient)
        array = real_array(d_y, self._head, "d_y")
        if array.shape != self._shape:
            raise ValueError(
                explain(
                    self._head,
                    f"`d_y` has shape {array.shape}, expected {self._shape}.",
                    "A cotangent is one number for each number of the result; nothing is broadcast.",
                )
            )
        d_rows = ready(array, self._rows.dtype, self._head, "d_y").reshape(len(self._rows), self._shape[-1])
        d_x, d_weight, d_bias = dense.backward(
            self._panels, self._rows, d_rows, x_gradient=x_gradient, n_threads=self._n_threads
        )
        parameters = {"weight": d_weight} if d_bias is None else {"weight": d_weight, "bias": d_bias}
        shape = (*self._shape[:-1], self._rows.shape[1])
        return Gradients(None if d_x is None else d_x.reshape(shape), None, None, parameters)

    def __repr__(self) -> str:
        return f"<pullback of {self._head}: call it with d_y>"
