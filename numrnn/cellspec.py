"""The table of cells: what distinguishes one recurrent cell from another, apart from its equations.

Packing, initialisation, kernels, weight exchange, tests and benchmarks read it; the equations stand in `reference.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BUILT_IN", "CELLS", "CellSpec", "parameter_shapes"]


@dataclass(frozen=True, slots=True)
class CellSpec:
    """One cell.

    Attributes
    ----------
    name
        Key in `CELLS`.
    gates
        Row blocks of the weights, in PyTorch's order.
    states
        What a step hands to the next one; `h` comes first and is the output.
    saved
        What forward keeps of a step for backward, besides the states. `hn` is the GRU's W_hn h + b_hn. With a
        projection, o * tanh(c) is remade from these.
    gate_order
        Framework -> position of each of our gates among that framework's blocks: `theirs[list(order)]` are ours. A
        user's own cell has no counterpart elsewhere.
    candidate
        What the last gate makes of its two sides. None: their sum, as every gate. "split": it has them apart. "late":
        its recurrent side multiplies an operand that the other gates give.
    vectors
        Parameters of one number for each hidden unit: "ci" is `weight_ci_l0`, of shape (H,).
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    saved: tuple[str, ...]
    gate_order: Mapping[str, tuple[int, ...]] = field(compare=False, repr=False, default_factory=dict)
    candidate: str | None = None
    vectors: tuple[str, ...] = ()

    @property
    def num_gates(self) -> int:
        """Number of row blocks in each weight."""
        return len(self.gates)

    @property
    def has_cell_state(self) -> bool:
        """Whether a state `c` runs beside `h`."""
        return "c" in self.states


CELLS: dict[str, CellSpec] = {
    spec.name: spec
    for spec in (
        CellSpec(
            name="lstm",
            gates=("i", "f", "g", "o"),
            states=("h", "c"),
            saved=("i", "f", "g", "o"),
            gate_order={"torch": (0, 1, 2, 3), "keras": (0, 1, 2, 3), "onnx": (0, 2, 3, 1)},
        ),
        CellSpec(
            name="gru",
            gates=("r", "z", "n"),
            states=("h",),
            saved=("r", "z", "n", "hn"),
            gate_order={"torch": (0, 1, 2), "keras": (1, 0, 2), "onnx": (1, 0, 2)},
            candidate="split",
        ),
        CellSpec(
            name="gru_reset_before",
            gates=("r", "z", "n"),
            states=("h",),
            saved=("r", "z", "n"),
            gate_order={"torch": (0, 1, 2), "keras": (1, 0, 2), "onnx": (1, 0, 2)},
            candidate="late",
        ),
        CellSpec(
            name="rnn_tanh",
            gates=("h",),
            states=("h",),
            saved=(),
            gate_order={"torch": (0,), "keras": (0,), "onnx": (0,)},
        ),
        CellSpec(
            name="rnn_relu",
            gates=("h",),
            states=("h",),
            saved=(),
            gate_order={"torch": (0,), "keras": (0,), "onnx": (0,)},
        ),
    )
}

BUILT_IN = tuple(CELLS)
"""The package's own cells. A user's are entered into `CELLS` beside them."""


def parameter_shapes(
    spec: CellSpec,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    num_directions: int = 1,
    proj_size: int = 0,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters of a stack, PyTorch's names in PyTorch's order."""
    rows, width = spec.num_gates * hidden_size, proj_size or hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(num_layers):
        for suffix in (f"l{layer}", f"l{layer}_reverse")[:num_directions]:
            shapes[f"weight_ih_{suffix}"] = (rows, num_directions * width if layer else input_size)
            shapes[f"weight_hh_{suffix}"] = (rows, width)
            if bias:
                shapes[f"bias_ih_{suffix}"] = (rows,)
                shapes[f"bias_hh_{suffix}"] = (rows,)
            if proj_size:
                shapes[f"weight_hr_{suffix}"] = (proj_size, hidden_size)
            for name in spec.vectors:
                shapes[f"weight_{name}_{suffix}"] = (hidden_size,)
    return shapes
