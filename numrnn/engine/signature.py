"""What the engine knows of a layer."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["HasSignature", "Signature"]


class Signature(NamedTuple):
    """What a plan needs to know of a layer; layers that are alike share their plans. `head` names it in errors."""

    head: str
    cell: str
    dtype: np.dtype[Any]
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool

    @property
    def axes(self) -> str:
        """How the axes of x are read."""
        return "(batch, time, features)" if self.batch_first else "(time, batch, features)"


class HasSignature(Protocol):
    """A recurrent layer, as far as planning is concerned."""

    @property
    def signature(self) -> Signature:
        """What plans depend on."""
