"""Initial weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from numrnn._types import Array, Shape
from numrnn.cellspec import CellSpec

__all__ = ["INITS", "initial_parameters"]

INITS = ("pytorch", "keras")


def _uniform(rng: np.random.Generator, bound: float, shape: Shape) -> Array:
    return rng.uniform(-bound, bound, shape)


def _orthogonal(rng: np.random.Generator, shape: Shape) -> Array:
    """Orthonormal columns, uniform over all such matrices (Saxe et al. 2014, arXiv:1312.6120)."""
    q, r = np.linalg.qr(rng.standard_normal(shape))
    return np.asarray(q * np.sign(np.diagonal(r)), dtype=np.float64)


def _keras(rng: np.random.Generator, name: str, shape: Shape) -> Array:
    """Glorot-uniform input and projection weights (Glorot & Bengio 2010), orthogonal recurrent weights, zero biases.

    A cell's vectors are drawn as for "pytorch": Keras has no rule for them.
    """
    if name.startswith("weight") and len(shape) == 1:
        return _uniform(rng, 1.0 / math.sqrt(shape[0]), shape)
    if name.startswith(("weight_ih", "weight_hr")):
        return _uniform(rng, math.sqrt(6.0 / sum(shape)), shape)
    if name.startswith("weight_hh"):
        return _orthogonal(rng, shape)
    return np.zeros(shape)


def initial_parameters(
    spec: CellSpec,
    shapes: Mapping[str, Shape],
    hidden_size: int,
    *,
    dtype: np.dtype[Any],
    seed: int | None,
    init: str,
    forget_bias: float | None,
) -> dict[str, Array]:
    """Draw every parameter from `np.random.default_rng(seed)`, in the order of `shapes`, in float64.

    Layers that differ in dtype alone so hold the same numbers, rounded. "pytorch": U(-1/sqrt(H), 1/sqrt(H)), biases
    included. "keras": Glorot input, orthogonal recurrent, zero bias, forget bias 1. `forget_bias` is the sum of both
    biases of an LSTM's forget gate: the input side holds it and the recurrent side 0 (Gers et al. 2000; Jozefowicz et
    al. 2015).
    """
    rng = np.random.default_rng(seed)
    bound = 1.0 / math.sqrt(hidden_size)
    if init == "keras" and forget_bias is None and "f" in spec.gates:
        forget_bias = 1.0
    parameters: dict[str, Array] = {}
    for name, shape in shapes.items():
        value = _uniform(rng, bound, shape) if init == "pytorch" else _keras(rng, name, shape)
        if forget_bias is not None and name.startswith("bias"):
            start = spec.gates.index("f") * hidden_size
            value[start : start + hidden_size] = forget_bias if name.startswith("bias_ih") else 0.0
        parameters[name] = value.astype(dtype)
    return parameters
