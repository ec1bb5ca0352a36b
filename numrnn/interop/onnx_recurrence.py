"""What an RNN, LSTM or GRU node of ONNX computes, as its attributes say, and which of our cells that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn._types import Array
from numrnn.cellspec import CellSpec
from numrnn.interop.onnx_node import Node

__all__ = ["GATES", "OPERATORS", "Activation", "Recurrence", "direction_weights", "read_recurrence", "to_onnx_order"]

OPERATORS = ("RNN", "LSTM", "GRU")
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_DEFAULTS = {"RNN": ("tanh",), "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh")}
_PARAMETERS: dict[str, tuple[float | None, float | None]] = {  # default alpha and beta; None: it has none
    "relu": (None, None),
    "tanh": (None, None),
    "sigmoid": (None, None),
    "softsign": (None, None),
    "softplus": (None, None),
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (1.0, None),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, None),
}
_NAMES = "Affine Elu HardSigmoid LeakyRelu Relu ScaledTanh Sigmoid Softplus Softsign Tanh ThresholdedRelu"


class Activation(NamedTuple):
    """An activation by its name in lower case, and its parameters; 0 where it has none."""

    name: str
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The attributes of a recurrent node: `directions` says of each whether it runs from the end."""

    op: str
    directions: tuple[bool, ...]
    hidden_size: int | None
    activations: tuple[tuple[Activation, ...], ...]
    clip: float | None
    input_forget: bool
    linear_before_reset: bool
    layout: int

    @property
    def gates(self) -> int:
        """Row blocks of W and R."""
        return GATES[self.op]

    def cell(self) -> str | None:
        """The cell of ours with the same equations; None if `obstacle` says why there is none."""
        if self.obstacle() is not None:
            return None
        if self.op == "RNN":
            return f"rnn_{self.activations[0][0].name}"
        return "lstm" if self.op == "LSTM" else "gru" if self.linear_before_reset else "gru_reset_before"

    def obstacle(self) -> str | None:
        """The attribute that our cells do not have, with its value."""
        if self.clip is not None:
            return f"`clip` is {self.clip:g}"
        if self.input_forget:
            return "`input_forget` is 1"
        names = [tuple(each.name for each in direction) for direction in self.activations]
        usual = [_DEFAULTS[self.op], *([("relu",)] if self.op == "RNN" else [])]
        if names[0] not in usual or any(each != names[0] for each in names):
            return f"`activations` are {', '.join(name for direction in names for name in direction)}"
        return None


def read_recurrence(node: Node) -> Recurrence:
    """Read all attributes of a recurrent node; one that the operator does not have is refused.

    Raises
    ------
    ValueError
        An unknown attribute, or a value that the specification does not have.
    """
    direction = node.text("direction", "forward")
    if direction not in _DIRECTIONS:
        allowed = ", ".join(_DIRECTIONS)
        raise node.refusal(f"its attribute `direction` is {direction!r}, and what exists is {allowed}.")
    layout = node.integer("layout", 0)
    if layout not in (0, 1):
        raise node.refusal(f"its attribute `layout` is {layout}, and what exists is 0 and 1.")
    hidden_size = node.integer("hidden_size", 0) if node.has("hidden_size") else None
    clip = node.real("clip", 0.0) if node.has("clip") else None
    if clip is not None and not clip > 0:
        raise node.refusal(f"its attribute `clip` is {clip:g}, and a bound is a positive number.")
    found = Recurrence(
        node.op,
        _DIRECTIONS[direction],
        hidden_size,
        _activations(node, len(_DIRECTIONS[direction])),
        None if clip is not None and math.isinf(clip) else clip,
        _switch(node, "input_forget") if node.op == "LSTM" else False,
        _switch(node, "linear_before_reset") if node.op == "GRU" else False,
        layout,
    )
    node.done()
    return found


def direction_weights(
    spec: CellSpec, w: NDArray[np.floating], r: NDArray[np.floating], b: NDArray[np.floating] | None
) -> dict[str, Array]:
    """One direction's W, R and B under our names without "_l0", in our order; copies."""
    given = {"weight_ih": w, "weight_hh": r}
    if b is not None:
        given["bias_ih"], given["bias_hh"] = np.split(b, 2)
    return {name: _from_onnx_order(spec, blocks) for name, blocks in given.items()}


def _from_onnx_order(spec: CellSpec, blocks: NDArray[np.floating]) -> Array:
    """Gate blocks along the first axis, from ONNX's order to ours; a copy."""
    cut = blocks.reshape(spec.num_gates, len(blocks) // spec.num_gates, *blocks.shape[1:])
    return cut[list(spec.gate_order["onnx"])].reshape(blocks.shape)


def to_onnx_order(spec: CellSpec, blocks: Array) -> Array:
    """Gate blocks along the first axis, from our order to ONNX's; a copy."""
    cut = blocks.reshape(spec.num_gates, len(blocks) // spec.num_gates, *blocks.shape[1:])
    return cut[np.argsort(spec.gate_order["onnx"])].reshape(blocks.shape)


def _switch(node: Node, name: str) -> bool:
    value = node.integer(name, 0)
    if value not in (0, 1):
        raise node.refusal(f"its attribute `{name}` is {value}, and what exists is 0 and 1.")
    return value == 1


def _activations(node: Node, num_directions: int) -> tuple[tuple[Activation, ...], ...]:
    """Of each direction in turn; alpha and beta are handed to those that have one, in order."""
    default = _DEFAULTS[node.op]
    names = node.texts("activations")
    given = {"alpha": node.reals("activation_alpha") or [], "beta": node.reals("activation_beta") or []}
    lower = [*default * num_directions] if not names else [name.lower() for name in names]
    if len(lower) != len(default) * num_directions:
        expected = f"{len(default)} for each of {num_directions} directions"
        raise node.refusal(f"its attribute `activations` has {len(lower)} names, expected {expected}.")
    found = []
    for name, shown in zip(lower, names or lower, strict=True):
        if name not in _PARAMETERS:
            raise node.refusal(f"its attribute `activations` has {shown!r}, and what exists is {_NAMES}.")
        parameters = [
            0.0 if start is None else values.pop(0) if values else start
            for start, values in zip(_PARAMETERS[name], given.values(), strict=True)
        ]
        found.append(Activation(name, *parameters))
    for name, left in given.items():
        if left:
            problem = f"its attribute `activation_{name}` has more values than there are activations with {name}."
            raise node.refusal(problem, f"Over: {', '.join(f'{each:g}' for each in left)}.")
    return tuple(tuple(found[k : k + len(default)]) for k in range(0, len(found), len(default)))
