"""Gates and states of every step, for a reader of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numrnn._types import Array
from numrnn.engine.forms import Form, OneSequence
from numrnn.engine.plan import Plan

__all__ = ["Internals"]

Tracks: TypeAlias = tuple[tuple[Array, ...], ...]
"""One array for each layer and direction: `tracks[layer][direction]`."""


class Internals:
    """What every layer and direction held at every step; read-only, at no recomputation.

    Every array is in order of time and time-first, whatever the form of x: (T, N, size), of one unbatched sequence
    (T, size). T is the longest length; after the end of a shorter sequence stands 0.

    Attributes
    ----------
    hidden : tuple
        `hidden[layer][direction]` (T, N, H_out): h_t.
    gates : dict of str to tuple
        `gates["i"][layer][direction]` (T, N, H), after the activation: of LSTM i, f, g, o; of GRU r, z, n, and what r
        gates as "hn" (W_hn h_{t-1} + b_hn; with reset_after=False there is none). RNN has no gates.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> internals = numrnn.LSTM(4, 8, num_layers=2)(np.zeros((10, 3, 4)), internals=True).internals
    >>> internals.hidden[0][0].shape, internals.cell[1][0].shape, internals.gates["f"][1][0].shape
    ((10, 3, 8), (10, 3, 8), (10, 3, 8))
    """

    __slots__ = ("_cell", "gates", "hidden")

    hidden: Tracks
    gates: dict[str, Tracks]

    def __init__(self, hidden: Tracks, cell: Tracks | None, gates: dict[str, Tracks]) -> None:
        self.hidden = hidden
        self._cell = cell
        self.gates = gates

    @property
    def cell(self) -> Tracks:
        """`cell[layer][direction]` (T, N, H): c_t."""
        if self._cell is None:
            raise AttributeError("These internals have no cell: RNN and GRU have no cell state; see hidden.")
        return self._cell

    def each(self, change: Callable[[Array], Array]) -> Internals:
        """Return the same with every array changed."""

        def changed(tracks: Tracks) -> Tracks:
            return tuple(tuple(change(array) for array in layer) for layer in tracks)

        cell = None if self._cell is None else changed(self._cell)
        return Internals(changed(self.hidden), cell, {name: changed(tracks) for name, tracks in self.gates.items()})

    def __repr__(self) -> str:
        tracks = f"{len(self.hidden)} layers, {len(self.hidden[0])} directions"
        names = ["hidden", *(["cell"] if self._cell is not None else []), *(f"gates[{name!r}]" for name in self.gates)]
        return f"Internals({', '.join(names)}; {tracks}, {self.hidden[0][0].shape[0]} steps)"


def read_internals(plan: Plan, saved: Any, form: Form | None) -> Internals:
    """Arrange what a forward pass kept."""

    def tracks(read: Any, *name: str) -> Tracks:
        layers = range(plan.num_layers)
        return tuple(tuple(_track(read(*name, k, d)) for d in range(plan.num_directions)) for k in layers)

    def _track(array: Array) -> Array:
        view = (array[:, 0] if isinstance(form, OneSequence) else array).view()
        view.flags.writeable = False
        return view

    cell = tracks(saved.cell) if plan.spec.has_cell_state else None
    return Internals(tracks(saved.hidden), cell, {name: tracks(saved.gate, name) for name in plan.spec.saved})
