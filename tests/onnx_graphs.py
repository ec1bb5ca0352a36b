"""A short way to write down an ONNX graph, and recurrent nodes with random weights."""

from typing import Any

import numpy as np
import onnx

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
FLOAT = onnx.TensorProto.FLOAT


class Graph:
    """Nodes in the order of the calls; arrays among the inputs become initializers."""

    def __init__(self, x: Any = ("time", "batch", 3), seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.input("x", x)

    def input(self, name: str, shape: Any, kind: int = FLOAT) -> str:
        self.inputs.append(onnx.helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def __call__(self, op: str, *inputs: Any, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node named like its operator; the name of its output, or of all of them."""
        number = len(self.nodes)
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        made = [f"{op}{number}.{k}" for k in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op, names, made, name=f"the {op}", domain=domain, **attributes))
        return made if outputs > 1 else made[0]

    def constant(self, value: Any) -> str:
        array = np.asarray(value)
        name = f"constant{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def weights(self, op: str, features: int, hidden: int, directions: int = 1, dtype: str = "float32") -> list[Any]:
        """W, R and B."""
        rows = GATES[op] * hidden
        shapes = ((directions, rows, features), (directions, rows, hidden), (directions, 2 * rows))
        return [(self.rng.standard_normal(shape) / 2).astype(dtype) for shape in shapes]

    def node(self, op: str, x: str, features: int = 3, hidden: int = 4, extra: Any = (), **attributes: Any) -> Any:
        """A recurrent node with random weights; Y, Y_h and for an LSTM Y_c."""
        directions = 2 if attributes.get("direction") == "bidirectional" else 1
        weights = self.weights(op, features, hidden, directions)
        return self(op, x, *weights, *extra, outputs=3 if op == "LSTM" else 2, **attributes)

    def model(self, *outputs: str, opset: int = 14, rank: int = 3) -> Any:
        described = [onnx.helper.make_tensor_value_info(name, FLOAT, [None] * rank) for name in outputs]
        graph = onnx.helper.make_graph(self.nodes, "test", self.inputs, described, self.initializers)
        versions = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("other", 1)]
        return onnx.helper.make_model(graph, opset_imports=versions, ir_version=8)
