"""Packed weights of a stack: made when a layer's parameters change, immutable, kept by every pullback made with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CellSpec


class Panels:
    """The weights of a stack of layers, re-laid for the register tile on first use."""

    def __init__(
        self,
        spec: CellSpec,
        parameters: Mapping[str, NDArray[Any]],
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dtype: np.dtype[Any],
    ) -> None:
        self.spec = spec
        self.parameters = dict(parameters)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dtype = dtype
