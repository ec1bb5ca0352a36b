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
    num_directions: int = 1
    proj_size: int = 0

    @property
    def output_size(self) -> int:
        """Features of one direction's hidden state."""
        return self.proj_size or self.hidden_size

    @property
    def axes(self) -> str:
        """How the axes of x are read."""
        return "(batch, time, features)" if self.batch_first else "(time, batch, features)"

    @property
    def output_features(self) -> str:
        """The last axis of `output`, in words."""
        size = "proj_size" if self.proj_size else "hidden_size"
        return f"2 * {size}" if self.num_directions == 2 else size

    def state_axes(self, name: str) -> str:
        """The axes of a hidden or cell state, in words; `name` is h_0, h_n, c_0 or c_n."""
        rows = "num_layers * 2" if self.num_directions == 2 else "num_layers"
        return f"({rows}, batch, {'proj_size' if self.proj_size and name[0] == 'h' else 'hidden_size'})"


class HasSignature(Protocol):
    """A recurrent layer, as far as planning is concerned."""

    @property
    def signature(self) -> Signature:
        """What plans depend on."""
