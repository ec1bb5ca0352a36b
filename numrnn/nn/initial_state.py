"""Initial states that are learned: parameters of a model, one row for the whole batch."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from numrnn._types import Array, Shape
from numrnn.cellspec import CELLS
from numrnn.engine.inputs import is_several
from numrnn.nn.fixed import Fixed
from numrnn.nn.parameters import freeze
from numrnn.nn.reversed import AnyLayer

__all__ = ["InitialState", "is_one_sequence"]


def is_one_sequence(x: Any, head: str) -> bool:
    """Whether a layer reads x as one sequence (time, features), whose states have no batch axis."""
    if hasattr(x, "batch_sizes") or is_several(x, head):
        return False
    try:
        return bool((x.ndim if hasattr(x, "ndim") else np.ndim(x)) == 2)
    except ValueError:  # nested rows of different lengths, which the layer refuses
        return False


@final
class InitialState(Fixed):
    """Parameters h_0 (L*D, 1, H_out) and for LSTM c_0 (L*D, 1, H), zero at the start."""

    _kind = "initial state"

    def __init__(self, hidden_shape: Shape, cell_shape: Shape | None, dtype: np.dtype[Any]) -> None:
        self.__dict__.update(hidden_shape=hidden_shape, cell_shape=cell_shape, dtype=dtype)
        shapes = {"h_0": hidden_shape} if cell_shape is None else {"h_0": hidden_shape, "c_0": cell_shape}
        self._parameters = {name: freeze(np.zeros(shape, dtype)) for name, shape in shapes.items()}

    @classmethod
    def of(cls, layer: AnyLayer) -> InitialState:
        """The initial state of a layer."""
        of = layer.signature
        tracks = of.num_layers * of.num_directions
        cell = (tracks, 1, of.hidden_size) if CELLS[of.cell].has_cell_state else None
        return cls((tracks, 1, of.output_size), cell, of.dtype)

    def state(self, *, unbatched: bool) -> Any:
        """The state as the layer takes it, for a batch of any size or for one sequence."""
        parts = tuple(value[:, 0] if unbatched else value for value in self._parameters.values())
        return parts if len(parts) == 2 else parts[0]

    def zeros(self) -> dict[str, Array]:
        """The gradients of a call that was given another state."""
        return {name: np.zeros_like(value) for name, value in self._parameters.items()}
