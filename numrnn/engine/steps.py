"""A stack's states, and its steps made ready once: plans, scratch and both places of every state."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from numrnn import _jit, _threads
from numrnn.engine import forward, forward_plans
from numrnn.engine.buffers import aligned, flat, reset_flags
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Call, Plan
from numrnn.kernels import launch

__all__ = ["Steps"]

Array = NDArray[Any]


class Steps:
    """The states of a stack of one direction, and what takes them one step further.

    Each state has two places and a step writes the one that is not read, so that a step which is interrupted has
    changed nothing.
    """

    def __init__(self, plan: Plan, panels: Panels, h: Array | None, c: Array | None) -> None:
        """`plan` is that of one step; h (L, N, H_out) and c (L, N, H) are copied, None is zero."""
        self._plan = plan
        self._panels = panels
        self._now = 0
        dtype, has_c = plan.dtype, plan.spec.has_cell_state
        self._hidden = aligned(2 * math.prod(plan.state_shape), dtype).reshape(2, *plan.state_shape)
        cells = (plan.num_layers, 2, *plan.cell_shape[1:]) if has_c else (plan.num_layers, 1)
        self._cells = aligned(math.prod(cells), dtype).reshape(cells)
        self._layers = [self._ready(layer) for layer in range(plan.num_layers)] if not _jit.DISABLED else []
        self.put(h, c)

    def _ready(self, layer: int) -> list[tuple[Any, ...]]:
        """What a step of one layer passes to its kernel, from either place; x comes between."""
        planned = forward_plans.in_turn(self._plan, layer)
        scratch = aligned(planned[0].scratch, self._plan.dtype)
        twins = launch.FORWARD[self._plan.spec.name]
        panels, cells = self._panels.forward(layer), self._cells[layer].reshape(-1)
        places = [flat(self._hidden[place, layer]) for place in (0, 1)]
        return [
            (
                (twins, planned[place].n_threads, planned[place].request),
                (panels, places[place], places[1 - place], cells, scratch, reset_flags(None)),
            )
            for place in (0, 1)
        ]

    def step(self, x: Array) -> Array:
        """Take (N, input_size), C-contiguous; returns the top layer's h, to be read before the next step."""
        if _jit.DISABLED:
            return self._step_by_reference(x)
        below, then = flat(x), 1 - self._now
        for layer in self._layers:
            (twins, n_threads, request), arrays = layer[self._now]
            if n_threads > 1:  # the setting may have changed
                n_threads = min(n_threads, _threads.get_num_threads())
            launch.run(twins, n_threads, request, below, *arrays)
            below = arrays[2]
        self._now = then
        top: Array = self._hidden[then, -1]
        return top

    def _step_by_reference(self, x: Array) -> Array:
        steps = x.reshape(1, self._plan.batch_size, self._plan.input_size)
        run = forward.run(Call(self._plan, steps, self.h, self.c), self._panels)
        self.put(run.h_n, run.c_n)
        top: Array = self.h[-1]
        return top

    @property
    def h(self) -> Array:
        """Hidden states (L, N, H_out): a view."""
        hidden: Array = self._hidden[self._now]
        return hidden

    @property
    def c(self) -> Array | None:
        """Cell states (L, N, H): a view; None where the cell has none."""
        return self._cells[:, self._now] if self._plan.spec.has_cell_state else None

    def put(self, h: Array | None, c: Array | None) -> None:
        """Replace the states; None is zero."""
        then = 1 - self._now
        self._hidden[then] = 0 if h is None else h
        if self._plan.spec.has_cell_state:
            self._cells[:, then] = 0 if c is None else c
        self._now = then

    def clear(self, rows: Any) -> None:
        """Make the states of some rows zero; any index of an axis."""
        self.h[:, rows] = 0
        if self.c is not None:
            self.c[:, rows] = 0
