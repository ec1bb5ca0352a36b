"""ONNX Runtime: a graph of one LSTM, GRU or RNN node with constant weights; it computes forward only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from numrnn.bench.cases import Case, Problem
from numrnn.bench.peers.base import Job, Peer

__all__ = ["make"]

_OPSET, _IR_VERSION = 14, 8
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"linear_before_reset": 1},
    "rnn": {"activations": ["Tanh"]},
}


def _graph(problem: Problem) -> bytes:
    """One node; weights (1, G*H, I), (1, G*H, H) and (1, 2*G*H) with the gates in ONNX's order."""
    case, parameters = problem.case, problem.parameters
    n, t, i, h = case.shape
    ours = np.argsort(case.spec.gate_order["onnx"])

    def reordered(name: str) -> NDArray[Any]:
        blocks = parameters[name].reshape(case.spec.num_gates, h, -1)
        return blocks[ours].reshape(parameters[name].shape)

    constants = {
        "W": reordered("weight_ih_l0")[None],
        "R": reordered("weight_hh_l0")[None],
        "B": np.concatenate([reordered("bias_ih_l0"), reordered("bias_hh_l0")])[None],
    }
    outputs = ["Y", "Y_h", "Y_c"] if case.spec.has_cell_state else ["Y", "Y_h"]
    kind = TensorProto.FLOAT if case.dtype == "float32" else TensorProto.DOUBLE
    inputs = {"X": (kind, [t, n, i])}
    if problem.lengths is not None:
        inputs["sequence_lens"] = (TensorProto.INT32, [n])
    node_inputs = ["X", *constants, *list(inputs)[1:]]
    node = helper.make_node(case.cell.upper(), node_inputs, outputs, hidden_size=h, **_ATTRIBUTES[case.cell])
    shapes = {"Y": [t, 1, n, h], "Y_h": [1, n, h], "Y_c": [1, n, h]}
    graph = helper.make_graph(
        [node],
        "numrnn_bench",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _names(case: Case) -> tuple[str, ...]:
    return ("output", "h_n", "c_n") if case.spec.has_cell_state else ("output", "h_n")


class _OnnxRuntime(Peer):
    name = "onnxruntime"
    version = str(onnxruntime.__version__)

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def prepare(self, problem: Problem) -> Job:
        case = problem.case
        if case.training:
            raise NotImplementedError("it computes forward only")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        feed = {"X": problem.x}
        if problem.lengths is not None:
            feed["sequence_lens"] = problem.lengths.astype(np.int32)
        try:
            session = onnxruntime.InferenceSession(_graph(problem), options, providers=["CPUExecutionProvider"])
            session.run(None, feed)
        except Exception as error:  # its exceptions share no public base class
            raise NotImplementedError(str(error).splitlines()[0]) from error

        def forward() -> Any:
            return session.run(None, feed)

        def arrays(returned: Any) -> dict[str, NDArray[Any]]:
            named = dict(zip(_names(case), returned, strict=True))
            return named | {"output": named["output"][:, 0]}

        return Job(forward, arrays)


def make(threads: int) -> Peer:
    """Return the peer; each session has a pool of `threads` threads."""
    return _OnnxRuntime(threads)
