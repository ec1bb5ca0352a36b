"""What layers and cells have in common: sizes, weights drawn at the start, weights packed for the kernels."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

import numpy as np

from numrnn._types import Array
from numrnn.cellspec import CELLS, CellSpec, parameter_shapes
from numrnn.engine import memory
from numrnn.engine.panels import Panels
from numrnn.engine.signature import Signature
from numrnn.nn.arguments import choice, count, element_type, flag, seed_number
from numrnn.nn.fixed import Fixed, arguments
from numrnn.nn.init import INITS, initial_parameters
from numrnn.nn.parameters import freeze, placeholders

__all__ = ["RecurrentWeights"]


class RecurrentWeights(Fixed, ABC):
    """The weights of one cell or of a stack of them; abstract."""

    input_size: int
    hidden_size: int
    bias: bool
    dtype: np.dtype[Any]
    seed: int | None
    init: str
    signature: Signature
    _cell: str
    _packed: tuple[dict[str, Array], Panels] | None

    _derived: ClassVar[tuple[str, ...]] = ("_packed", "signature")

    def _make(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool,
        dtype: Any,
        seed: int | None,
        init: str,
        **own: object,
    ) -> None:
        """Check the arguments that all constructors share, keep them and `own` as attributes, and draw the weights."""
        head = type(self).__name__
        order = [name for name, kind in arguments(type(self)) if kind.kind is not kind.KEYWORD_ONLY]
        self.__dict__.update(
            input_size=count(head, "input_size", input_size),
            hidden_size=count(head, "hidden_size", hidden_size),
            bias=flag(head, "bias", bias, order),
            dtype=element_type(head, dtype),
            seed=seed_number(head, seed),
            init=choice(head, "init", init, INITS),
            _cell=cell,
            **own,
        )
        self._connect()
        self._parameters = self._draw()

    def _connect(self) -> None:
        head = f"{type(self).__name__}(input_size={self.input_size}, hidden_size={self.hidden_size})"
        signature = Signature(
            head,
            self._cell,
            self.dtype,
            self.input_size,
            self.hidden_size,
            getattr(self, "num_layers", 1),
            self.bias,
            getattr(self, "batch_first", False),
            1 + getattr(self, "bidirectional", False),
            getattr(self, "proj_size", 0),
        )
        self.__dict__.update(signature=signature, _packed=None)

    def _draw(self) -> dict[str, Array]:
        """Initial weights, under the names that a stack has."""
        of, rows = self.signature, self._spec.num_gates * self.hidden_size
        directions, num_layers, n_vectors = of.num_directions, of.num_layers, len(self._spec.vectors)
        per_layer = [self.input_size, *[directions * of.output_size] * min(num_layers - 1, 1)]
        numbers = [
            directions
            * (rows * (size + of.output_size + 2 * self.bias) + (of.proj_size + n_vectors) * self.hidden_size)
            for size in per_layer
        ]
        total = sum(numbers[:1]) + sum(numbers[1:]) * (num_layers - 1)
        objects = 2048 * directions * num_layers  # names, dict entries and array headers of four or five arrays
        what = f"the weights of num_layers={num_layers}" if num_layers > 1 else "the weights"
        memory.require(total * self.dtype.itemsize + objects, self._head, what)
        shapes = parameter_shapes(
            self._spec, self.input_size, self.hidden_size, num_layers, self.bias, directions, of.proj_size
        )
        if self._is_blank:
            return placeholders(shapes, self.dtype)
        drawn = initial_parameters(
            self._spec,
            shapes,
            self.hidden_size,
            dtype=self.dtype,
            seed=self.seed,
            init=self.init,
            forget_bias=getattr(self, "forget_bias", None),
        )
        return {name: freeze(value) for name, value in drawn.items()}

    def _stack_parameters(self) -> dict[str, Array]:
        """The present weights, under the names that a stack has."""
        return self._parameters

    @property
    def _spec(self) -> CellSpec:
        return CELLS[self._cell]

    @property
    def _head(self) -> str:
        return self.signature.head

    def _panels(self) -> Panels:
        """Packed weights of the present parameters."""
        packed, parameters = self._packed, self._parameters
        if packed is None or packed[0] is not parameters:
            panels = Panels(
                self._spec,
                self._stack_parameters(),
                input_size=self.input_size,
                hidden_size=self.hidden_size,
                num_layers=self.signature.num_layers,
                dtype=self.dtype,
                num_directions=self.signature.num_directions,
                proj_size=self.signature.proj_size,
            )
            self._packed = packed = (parameters, panels)
        return packed[1]
