"""The engine's calls answered by the NumPy reference: what runs when Numba's compiler is switched off."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import reference
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Plan

Array = NDArray[Any]


@lru_cache(maxsize=1)
def warn_once() -> None:
    """Say, the first time, that the calls are slow and why."""
    warnings.warn(
        "NUMBA_DISABLE_JIT is set: numrnn runs its NumPy reference, which is slow. Unset it for compiled kernels.",
        stacklevel=5,
    )


def forward(
    plan: Plan, panels: Panels, x: Array, h_0: Array | None, c_0: Array | None
) -> tuple[Any, Array, Array, Array | None]:
    """Return (trace, output in the user's layout, h_n, c_n)."""
    warn_once()
    shape = (plan.num_layers, plan.batch_size, plan.hidden_size)
    h_0 = np.zeros(shape, plan.dtype) if h_0 is None else h_0
    if plan.spec.has_cell_state and c_0 is None:
        c_0 = np.zeros(shape, plan.dtype)
    x = x.swapaxes(0, 1) if plan.batch_first else x
    trace = reference.forward(plan.spec, panels.parameters, x, h_0, c_0, num_layers=plan.num_layers)
    output = trace.output.swapaxes(0, 1) if plan.batch_first else trace.output
    c_n = None if trace.c_n is None else trace.c_n.astype(plan.dtype)
    return trace, np.ascontiguousarray(output, plan.dtype), trace.h_n.astype(plan.dtype), c_n


def backward(
    plan: Plan, trace: Any, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None
) -> tuple[Array, Array, Array | None, dict[str, Array]]:
    """Return (d_x in the user's layout, d_h_0, d_c_0, parameter gradients)."""
    if d_output is not None and plan.batch_first:
        d_output = d_output.swapaxes(0, 1)
    d_x, d_h_0, d_c_0, d_parameters = reference.backward(trace, d_output, d_h_n, d_c_n)
    d_x = d_x.swapaxes(0, 1) if plan.batch_first else d_x
    return (
        np.ascontiguousarray(d_x, plan.dtype),
        d_h_0.astype(plan.dtype),
        None if d_c_0 is None else d_c_0.astype(plan.dtype),
        {name: value.astype(plan.dtype) for name, value in d_parameters.items()},
    )
