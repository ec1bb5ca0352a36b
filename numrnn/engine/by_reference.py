"""The engine's calls answered by the NumPy reference: what runs when Numba's compiler is switched off."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from numrnn import reference
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Call, Plan

if TYPE_CHECKING:
    from numrnn.engine.forward import Run

Array = NDArray[Any]


@lru_cache(maxsize=1)
def warn_once() -> None:
    """Say, the first time, that the calls are slow and why."""
    warnings.warn(
        "NUMBA_DISABLE_JIT is set: numrnn runs its NumPy reference, which is slow. Unset it for compiled kernels.",
        stacklevel=5,
    )


@dataclass(frozen=True, slots=True)
class Saved:
    """What backward and `internals` need: the reference's own trace."""

    plan: Plan
    trace: reference.Trace
    lengths: Array | None

    def hidden(self, layer: int, d: int) -> Array:
        """h_t of one layer and direction: (T, N, H_out), in order of time; zeros where a row has no step."""
        return self._readable(self._direction(layer, d).hidden)

    def cell(self, layer: int, d: int) -> Array:
        """c_t of one layer and direction: (T, N, H)."""
        return self._readable(self._direction(layer, d).after("c"))

    def gate(self, name: str, layer: int, d: int) -> Array:
        """One gate of one layer and direction: (T, N, H)."""
        return self._readable(self._direction(layer, d).saved[name])

    def _direction(self, layer: int, d: int) -> reference.LayerTrace:
        return self.trace.layers[layer * self.plan.num_directions + d]

    def _readable(self, steps: Array) -> Array:
        steps = steps.astype(self.plan.dtype)
        steps.flags.writeable = False
        return steps


def run(call: Call, panels: Panels, *, keep: bool, last: bool = False) -> Run:
    """`forward.run` by the reference."""
    from numrnn.engine.forward import Run  # which imports this module

    warn_once()
    plan, x, h_0, c_0, lengths, resets, _ = call
    trace = reference.forward(
        plan.spec,
        panels.parameters,
        _time_first(plan, x, lengths),
        h_0,
        c_0,
        num_layers=plan.num_layers,
        num_directions=plan.num_directions,
        lengths=lengths,
        resets=None if resets is None else _time_first(plan, resets, lengths),
    )
    output = None if last else _as_given(plan, trace.output, lengths)
    c_n = None if trace.c_n is None else trace.c_n.astype(plan.dtype)
    return Run(output, trace.h_n.astype(plan.dtype), c_n, Saved(plan, trace, lengths) if keep else None)


def backward(
    saved: Saved, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None, *, x_gradient: bool
) -> tuple[Array | None, Array, Array | None, dict[str, Array]]:
    """`backward.run` by the reference."""
    plan, lengths = saved.plan, saved.lengths
    d_output = None if d_output is None else _time_first(plan, d_output, lengths)
    d_x, d_h_0, d_c_0, d_parameters = reference.backward(saved.trace, d_output, d_h_n, d_c_n)
    return (
        _as_given(plan, d_x, lengths) if x_gradient else None,
        d_h_0.astype(plan.dtype),
        None if d_c_0 is None else d_c_0.astype(plan.dtype),
        {name: value.astype(plan.dtype) for name, value in d_parameters.items()},
    )


def _time_first(plan: Plan, array: Array, lengths: Array | None) -> Array:
    """(T, N, ...) of an array in the user's layout."""
    if plan.flat and lengths is not None:
        rows_first = np.zeros((plan.batch_size, plan.seq_len, *array.shape[1:]), array.dtype)
        rows_first[_valid(plan, lengths)] = array
        return rows_first.swapaxes(0, 1)
    return array.swapaxes(0, 1) if plan.batch_first else array


def _as_given(plan: Plan, array: Array, lengths: Array | None) -> Array:
    """The user's layout of a (T, N, ...) array, in the layer's dtype."""
    if plan.flat and lengths is not None:
        array = array.swapaxes(0, 1)[_valid(plan, lengths)]
    elif plan.batch_first:
        array = array.swapaxes(0, 1)
    return np.ascontiguousarray(array, plan.dtype)


def _valid(plan: Plan, lengths: Array) -> Array:
    """(N, T): which steps each row has."""
    valid: Array = np.arange(plan.seq_len) < lengths[:, None]
    return valid
