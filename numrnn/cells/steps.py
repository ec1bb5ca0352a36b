"""A cell's step by its own functions in NumPy: what the reference walks over time with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numrnn.cellspec import CellSpec
from numrnn.reference_cells import Array, Arrays, Products, Recurrent

__all__ = ["OwnStep"]


@dataclass(frozen=True, slots=True)
class OwnStep:
    """One step of a cell and its adjoint, as `reference_cells.STEPS` has them.

    `spec` is the cell as its user defined it, and `functions` are its functions, run by Python. Behind what `forward`
    keeps, a late candidate's operand is saved.
    """

    spec: CellSpec
    functions: Mapping[str, Callable[..., Any]]

    def forward(self, u: Array, recurrent: Recurrent, previous: Arrays) -> tuple[Arrays, Arrays]:
        """u, v are (N, G*H), of the gates' row blocks."""
        n, vectors = self.spec.num_gates, recurrent.vectors
        inputs, hidden = np.split(u, n, axis=-1), np.split(recurrent(previous[0]), n, axis=-1)
        gates = [left + right for left, right in zip(inputs, hidden, strict=True)]
        sums, u_n = tuple(gates), inputs[-1]
        operand: Arrays = ()
        if self.spec.candidate == "split":
            sums = (*gates[:-1], u_n, hidden[-1])
        if self.spec.candidate == "late":
            operand = (self._filled(self.functions["operand"](tuple(gates[:-1]), previous, vectors), u_n),)
            sums = (*gates[:-1], u_n + np.split(recurrent(operand[0]), n, axis=-1)[-1])
        states, kept = self.functions["forward"](sums, previous, vectors)
        return tuple(self._filled(v, u_n) for v in states), (*(self._filled(v, u_n) for v in kept), *operand)

    def backward(
        self, d_states: Arrays, recurrent: Recurrent, previous: Arrays, states: Arrays, saved: Arrays
    ) -> tuple[Any, ...]:
        """Adjoints of u, of the recurrent side's products, of the states before; then of the vectors, a row each."""
        like, vectors, kept = d_states[0], recurrent.vectors, saved[: len(self.spec.saved)]
        found = self.functions["backward"](d_states, kept, previous, states, vectors)
        d_sums, d_before, d_vectors = (tuple(self._filled(v, like) for v in part) for part in found)
        zero = np.zeros_like(d_sums[0])
        products: Products
        if self.spec.candidate == "late":
            d_n, (operand,) = d_sums[-1], saved[len(self.spec.saved) :]
            dw = np.concatenate([*[zero] * len(d_sums[:-1]), d_n], axis=-1)
            more = self.functions["operand_backward"](recurrent.adjoint(dw), kept, previous, vectors)
            d_gates, d_before, d_vectors = (
                tuple(a + self._filled(b, like) for a, b in zip(first, then, strict=True))
                for first, then in zip((d_sums[:-1], d_before, d_vectors), more, strict=True)
            )
            dv = np.concatenate([*d_gates, zero], axis=-1)
            du, products = dv + dw, ((dv, previous[0]), (dw, operand))
        else:
            split = self.spec.candidate == "split"
            du = np.concatenate(d_sums[:-1] if split else d_sums, axis=-1)
            dv = np.concatenate((*d_sums[:-2], d_sums[-1]), axis=-1) if split else du
            products = ((dv, previous[0]),)
        return du, products, (d_before[0] + recurrent.adjoint(dv), *d_before[1:]), *d_vectors

    @staticmethod
    def _filled(value: Any, like: Array) -> Array:
        """A number as the array that it stands for."""
        return np.broadcast_to(np.asarray(value, np.float64), like.shape)
