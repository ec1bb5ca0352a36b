"""One RNN, LSTM or GRU node: its inputs checked, and computed by a layer of numrnn or by the NumPy evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn.cellspec import CELLS
from numrnn.interop.assembly import recurrent_layer, stacked
from numrnn.interop.onnx_node import Node
from numrnn.interop.onnx_recurrence import direction_weights, read_recurrence
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.reversed import Reversed
from numrnn.onnx_backend.evaluator import evaluate

__all__ = ["RecurrentNode"]

Array = NDArray[Any]

_INPUTS: tuple[str, ...] = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_COUNTS = {"RNN": (6, 2), "GRU": (6, 2), "LSTM": (8, 3)}


class RecurrentNode:
    """A node that has been read: `engine` is "kernels" or "numpy", `reason` why it is not the former.

    `position` is its place among the nodes of its graph, by which errors call a node without a name.
    """

    def __init__(self, proto: Any, position: int, opset: int, head: str) -> None:
        self.name = str(proto.name)
        self._node = Node(proto, position, opset, head)
        most = _COUNTS[self._node.op]
        if len(self._node.inputs) > most[0] or len(self._node.outputs) > most[1]:
            raise self._node.refusal(f"it has more inputs or outputs than {most[0]} and {most[1]}.")
        if opset < 7:
            raise self._node.refusal(f"it is of version {opset}, and what is evaluated is 7 and later.")
        self.recurrence = read_recurrence(self._node)
        self.cell = self.recurrence.cell()
        self.reason = self.recurrence.obstacle()
        if self.reason is None and self._node.given(_INPUTS.index("P")):
            self.cell, self.reason = None, "`P` is connected"
        self.engine = "numpy" if self.cell is None else "kernels"
        self._made: tuple[dict[str, Array], Recurrent | Reversed] | None = None

    def run(self, *values: Array | None) -> tuple[Array, ...]:
        """Y, Y_h and, of an LSTM, Y_c.

        Raises
        ------
        ValueError
            A missing input, a wrong shape or element type, lengths that are none.
        """
        given = {name: value for name, value in zip(_INPUTS, values, strict=False) if value is not None}
        layout = self.recurrence.layout
        lengths, states = self._checked(given)
        weights: dict[str, Array] = {name: given[name] for name in ("W", "R", "B", "P") if name in given}
        if layout:
            states = [None if state is None else state.swapaxes(0, 1) for state in states]
        x = given["X"]
        if self.cell is None:
            time_major = x.swapaxes(0, 1) if layout else x
            y, ends = evaluate(self.recurrence, time_major, weights, lengths, states)
            y = y.transpose(2, 0, 1, 3) if layout else y
        else:
            y, ends = self._by_kernels(self.cell, x, weights, lengths, states)
        ends = tuple(end.swapaxes(0, 1) for end in ends) if layout else ends
        return tuple(np.ascontiguousarray(array, x.dtype) for array in (y, *ends))

    def _by_kernels(
        self, cell: str, x: Array, weights: dict[str, Array], lengths: Array | None, states: Sequence[Array | None]
    ) -> tuple[Array, tuple[Array, ...]]:
        layer = self._layer(cell, weights)
        spec, directions, hidden = CELLS[cell], len(weights["R"]), weights["R"].shape[-1]
        filled: list[Array] | None = None
        if any(state is not None for state in states):
            n_rows = x.shape[0 if self.recurrence.layout else 1]
            zeros = np.zeros((directions, n_rows, hidden), x.dtype)
            filled = [zeros if state is None else state for state in states]
        state = None if filled is None else tuple(filled) if spec.has_cell_state else filled[0]
        result = layer(x, state, lengths=lengths)
        y = result.output.reshape(*x.shape[:2], directions, hidden)
        ends = (result.h_n, result.c_n) if spec.has_cell_state else (result.h_n,)
        return (y if self.recurrence.layout else y.transpose(0, 2, 1, 3)), ends

    def _layer(self, cell: str, weights: dict[str, Array]) -> Recurrent | Reversed:
        """The layer with these weights; the last one made, if they are its."""
        made = self._made
        if made is not None and _same(made[0], weights):
            return made[1]
        spec, w, r = CELLS[cell], weights["W"], weights["R"]
        biases = weights.get("B", [None] * len(w))
        layer = recurrent_layer(
            cell,
            stacked([[direction_weights(spec, *each) for each in zip(w, r, biases, strict=True)]]),
            input_size=w.shape[2],
            hidden_size=r.shape[2],
            bias="B" in weights,
            batch_first=bool(self.recurrence.layout),
            bidirectional=len(w) == 2,
            dtype=w.dtype,
        )
        found = Reversed(layer) if self.recurrence.directions == (True,) else layer
        self._made = {name: value.copy() for name, value in weights.items()}, found
        return found

    def _checked(self, given: dict[str, Array]) -> tuple[Array | None, list[Array | None]]:
        """Lengths and states, after every input has been compared with what the node's sizes demand."""
        known, layout = self.recurrence, self.recurrence.layout
        for name in ("X", "W", "R"):
            if name not in given:
                raise self._node.refusal(f"its input `{name}` is missing.")
        x, w = given["X"], given["W"]
        if x.ndim != 3 or w.ndim != 3:
            raise self._node.refusal(f"its inputs `X` and `W` have {x.ndim} and {w.ndim} axes, expected 3.")
        if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise self._node.refusal(f"its input `X` is of {x.dtype}, expected float32 or float64.")
        n_rows, directions = x.shape[0 if layout else 1], len(known.directions)
        rows = w.shape[1]
        hidden = rows // known.gates
        if known.hidden_size not in (None, hidden):
            raise self._node.refusal(f"its attribute `hidden_size` is {known.hidden_size}, its weights have {hidden}.")
        state = (n_rows, directions, hidden) if layout else (directions, n_rows, hidden)
        expected: dict[str, tuple[int, ...]] = {
            "W": (directions, known.gates * hidden, x.shape[2]),
            "R": (directions, rows, hidden),
            "B": (directions, 2 * rows),
            "sequence_lens": (n_rows,),
            "initial_h": state,
            "initial_c": state,
            "P": (directions, 3 * hidden),
        }
        for name, shape in expected.items():
            value = given.get(name)
            if value is None:
                continue
            if value.shape != shape or 0 in (hidden, x.shape[2]):
                raise self._node.refusal(f"its input `{name}` has shape {value.shape}, expected {shape}, none empty.")
            if name != "sequence_lens" and value.dtype != x.dtype:
                raise self._node.refusal(f"its input `{name}` is of {value.dtype}, its input `X` of {x.dtype}.")
        lengths, n_steps = given.get("sequence_lens"), x.shape[1 if layout else 0]
        if lengths is not None and (lengths.dtype.kind not in "iu" or np.any((lengths < 0) | (lengths > n_steps))):
            raise self._node.refusal(f"its input `sequence_lens` should hold integers from 0 to {n_steps}.")
        names = ("initial_h", "initial_c") if known.op == "LSTM" else ("initial_h",)
        return lengths, [given.get(name) for name in names]


def _same(old: dict[str, Array], new: dict[str, Array]) -> bool:
    """Whether weights have the same names, types and numbers."""
    if old.keys() != new.keys():
        return False
    return all(value.dtype == new[name].dtype and np.array_equal(value, new[name]) for name, value in old.items())
