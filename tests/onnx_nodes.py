"""Random recurrent nodes of ONNX over all attributes, and a slow evaluator of them: single numbers in loops.

The evaluator is written from the operators' documentation, and shares no line with the package.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
NAMES = "Relu Tanh Sigmoid Affine LeakyRelu ThresholdedRelu ScaledTanh HardSigmoid Elu Softsign Softplus".split()
PER_DIRECTION = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
ALPHA = {
    "Affine": 1.0,
    "LeakyRelu": 0.01,
    "ThresholdedRelu": 1.0,
    "ScaledTanh": 1.0,
    "HardSigmoid": 0.2,
    "Elu": 1.0,
}
BETA = {"Affine": 0.0, "ScaledTanh": 1.0, "HardSigmoid": 0.5}
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


@dataclass
class Case:
    """`has_open_defaults`: an alpha or beta is left to a default that ONNX Runtime does not have."""

    op: str
    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]
    directions: list[bool]
    activations: list[list[tuple[str, float, float]]]
    outputs: list[str]
    has_open_defaults: bool

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs in order, '' where one is not connected."""
        names = [name if name in self.arrays else "" for name in INPUTS]
        while not names[-1]:
            names.pop()
        return names

    def node(self) -> Any:
        return onnx.helper.make_node(self.op, self.inputs, self.outputs, **self.attributes)

    def model(self) -> Any:
        """The node as a graph whose inputs are all of its inputs, shapes open."""
        kind = onnx.helper.np_dtype_to_tensor_dtype
        inputs = [
            onnx.helper.make_tensor_value_info(name, kind(array.dtype), [None] * array.ndim)
            for name, array in self.arrays.items()
        ]
        element = kind(self.arrays["X"].dtype)
        ranks = {"Y": 4, "Y_h": 3, "Y_c": 3}
        outputs = [onnx.helper.make_tensor_value_info(name, element, [None] * ranks[name]) for name in self.outputs]
        graph = onnx.helper.make_graph([self.node()], "one node", inputs, outputs)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)


def random_case(rng: np.random.Generator, op: str, dtype: str = "float32", *, plain: bool = False) -> Case:
    """Any combination of attributes and inputs; with `plain` those that layers have too."""
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    T, N, I, H = (int(rng.integers(1, most + 1)) for most in (6, 5, 7, 9))
    D, G, layout = len(directions), GATES[op], int(rng.random() < 0.3)
    attributes: dict[str, Any] = {"hidden_size": H, "direction": direction, "layout": layout}
    names = PER_DIRECTION[op] * D
    alpha: list[float] = []
    beta: list[float] = []
    if not plain and rng.random() < 0.6:
        names = [str(name) for name in rng.choice(NAMES, len(names))]
        attributes["activations"] = names
        if rng.random() < 0.7:  # in order, for as many as one likes
            alpha, beta = (
                rng.uniform(0.1, 1.2, int(rng.integers(0, len(_takers(table, names)) + 1))).astype(np.float32).tolist()
                for table in (ALPHA, BETA)
            )
            attributes |= ({"activation_alpha": alpha} if alpha else {}) | ({"activation_beta": beta} if beta else {})
    elif op == "RNN" and rng.random() < 0.5:
        names = ["Relu"] * D
        attributes["activations"] = names
    if not plain and rng.random() < 0.4:
        attributes["clip"] = float(np.float32(rng.uniform(0.1, 1.5)))
    if op == "LSTM" and not plain and rng.random() < 0.4:
        attributes["input_forget"] = 1
    if op == "GRU":
        attributes["linear_before_reset"] = int(rng.random() < 0.5)
    state = (N, D, H) if layout else (D, N, H)
    shapes = {"X": (N, T, I) if layout else (T, N, I), "W": (D, G * H, I), "R": (D, G * H, H)}
    shapes |= {"B": (D, 2 * G * H)} if rng.random() < 0.7 else {}
    shapes |= {"initial_h": state} if rng.random() < 0.6 else {}
    if op == "LSTM":
        shapes |= {"initial_c": state} if rng.random() < 0.6 else {}
        shapes |= {"P": (D, 3 * H)} if not plain and rng.random() < 0.4 else {}
    arrays = {name: (0.6 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}
    if rng.random() < 0.5:
        arrays["sequence_lens"] = rng.integers(1, T + 1, N).astype(np.int32)
    given = [iter(alpha), iter(beta)]
    handed = [
        (name, *(next(values, table[name]) if name in table else 0.0 for table, values in zip((ALPHA, BETA), given)))  # noqa: B905
        for name in names
    ]
    without = [
        name for table, values in ((ALPHA, alpha), (BETA, beta)) for name in _takers(table, names)[len(values) :]
    ]
    per = len(PER_DIRECTION[op])
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    activations = [handed[k * per : (k + 1) * per] for k in range(D)]
    open_defaults = bool({"Affine", "ScaledTanh", "ThresholdedRelu"} & set(without))
    return Case(op, attributes, arrays, directions, activations, outputs, open_defaults)


def _takers(table: dict[str, float], names: list[str]) -> list[str]:
    return [name for name in names if name in table]


def apply(activation: tuple[str, float, float], x: float) -> float:
    name, alpha, beta = activation
    if name == "Relu":
        return max(0.0, x)
    if name == "Tanh":
        return math.tanh(x)
    if name == "Sigmoid":
        return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0
    if name == "Affine":
        return alpha * x + beta
    if name == "LeakyRelu":
        return x if x >= 0 else alpha * x
    if name == "ThresholdedRelu":
        return x if x >= alpha else 0.0
    if name == "ScaledTanh":
        return alpha * math.tanh(beta * x)
    if name == "HardSigmoid":
        return min(max(alpha * x + beta, 0.0), 1.0)
    if name == "Elu":
        return x if x >= 0 else alpha * (math.exp(x) - 1.0)
    if name == "Softsign":
        return x / (1.0 + abs(x))
    assert name == "Softplus"
    return math.log(1.0 + math.exp(x)) if x < 30.0 else x


def slow(case: Case) -> list[np.ndarray]:
    """Y, Y_h and, of an LSTM, Y_c, in float64, number by number."""
    layout = case.attributes["layout"]
    arrays = {name: value.astype(np.float64) for name, value in case.arrays.items()}
    if layout:
        arrays |= {n: arrays[n].swapaxes(0, 1) for n in ("X", "initial_h", "initial_c") if n in arrays}
    x = arrays["X"]
    (T, N, I), H, D, G = x.shape, case.attributes["hidden_size"], len(case.directions), GATES[case.op]
    zeros = np.zeros((D, N, H))
    h_n, c_n = arrays.get("initial_h", zeros).copy(), arrays.get("initial_c", zeros).copy()
    W, R = arrays["W"], arrays["R"]
    B = arrays.get("B", np.zeros((D, 2 * G * H)))
    P = arrays.get("P", np.zeros((D, 3 * H)))
    lengths = arrays.get("sequence_lens", np.full(N, T)).astype(int)
    y = np.zeros((T, D, N, H))
    bound = case.attributes.get("clip", math.inf)

    def clipped(value: float) -> float:
        return min(max(value, -bound), bound)

    for d, reverse in enumerate(case.directions):
        for n in range(N):
            times = range(lengths[n])
            for t in reversed(times) if reverse else times:
                h, c = h_n[d, n].copy(), c_n[d, n].copy()

                def of_x(gate: int, j: int, t: int = t, d: int = d, n: int = n) -> float:
                    row = gate * H + j
                    return sum(W[d, row, k] * x[t, n, k] for k in range(I)) + B[d, row]

                def of_h(gate: int, j: int, operand: np.ndarray, d: int = d) -> float:
                    row = gate * H + j
                    return sum(R[d, row, k] * operand[k] for k in range(H)) + B[d, G * H + row]

                f = case.activations[d]
                if case.op == "RNN":
                    for j in range(H):
                        h_n[d, n, j] = apply(f[0], clipped(of_x(0, j) + of_h(0, j, h)))
                elif case.op == "LSTM":
                    for j in range(H):
                        i = apply(f[0], clipped(of_x(0, j) + of_h(0, j, h) + P[d, j] * c[j]))
                        forget = apply(f[0], clipped(of_x(2, j) + of_h(2, j, h) + P[d, 2 * H + j] * c[j]))
                        forget = 1.0 - i if case.attributes.get("input_forget") else forget
                        g = apply(f[1], clipped(of_x(3, j) + of_h(3, j, h)))
                        after = forget * c[j] + i * g
                        o = apply(f[0], clipped(of_x(1, j) + of_h(1, j, h) + P[d, H + j] * after))
                        c_n[d, n, j] = after
                        h_n[d, n, j] = o * apply(f[2], after)
                else:
                    z = [apply(f[0], clipped(of_x(0, j) + of_h(0, j, h))) for j in range(H)]
                    r = np.array([apply(f[0], clipped(of_x(1, j) + of_h(1, j, h))) for j in range(H)])
                    for j in range(H):
                        if case.attributes["linear_before_reset"]:
                            part = r[j] * of_h(2, j, h)
                        else:
                            part = of_h(2, j, r * h)
                        candidate = apply(f[1], clipped(of_x(2, j) + part))
                        h_n[d, n, j] = (1.0 - z[j]) * candidate + z[j] * h[j]
                y[t, d, n] = h_n[d, n]
    ends = [h_n, c_n] if case.op == "LSTM" else [h_n]
    if layout:
        return [y.transpose(2, 0, 1, 3), *(end.swapaxes(0, 1) for end in ends)]
    return [y, *ends]
