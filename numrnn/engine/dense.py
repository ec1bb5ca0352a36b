"""Dense products over rows: what `Linear` computes."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class DensePanels:
    """The weight (out_features, in_features) and bias (out_features,) of a dense layer."""

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.weight = weight
        self.bias = bias


def forward(panels: DensePanels, x: Array, *, n_threads: int) -> Array:
    """x (rows, in_features) -> (rows, out_features)."""
    y: Array = x @ panels.weight.T
    return y if panels.bias is None else y + panels.bias


def backward(
    panels: DensePanels, x: Array, d_y: Array, *, x_gradient: bool, n_threads: int
) -> tuple[Array | None, Array, Array | None]:
    """Return the gradients of x, the weight and the bias."""
    return d_y @ panels.weight if x_gradient else None, d_y.T @ x, None if panels.bias is None else d_y.sum(0)
