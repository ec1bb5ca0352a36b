"""Back-propagation through time for a stack of layers."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from numrnn.engine import by_reference

Array = NDArray[Any]


def run(
    saved: Any, d_output: Array | None, d_h_n: Array | None, d_c_n: Array | None, *, x_gradient: bool
) -> tuple[Array | None, Array, Array | None, dict[str, Array]]:
    """Return the gradients of x, h_0, c_0 and the parameters."""
    plan, trace = saved
    d_x, d_h_0, d_c_0, d_parameters = by_reference.backward(plan, trace, d_output, d_h_n, d_c_n)
    return (d_x if x_gradient else None), d_h_0, d_c_0, d_parameters
