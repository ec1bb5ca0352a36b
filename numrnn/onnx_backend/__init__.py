"""A backend of ONNX: graphs with RNN, LSTM and GRU nodes, evaluated to the full specification.

The module has what ONNX's backends have, `prepare`, `run_model`, `run_node`, `supports_device` and `is_compatible`, so
that `onnx.backend.test.BackendTest(numrnn.onnx_backend, __name__)` takes it.

Recurrent nodes are computed by the compiled layers of numrnn where those have the node's equations: the usual
activations (for RNN also Relu), no `clip`, no peepholes, no `input_forget`. The others are computed by a plain NumPy
evaluator, far slower. `prepare(model).engines` says which node is computed how and why; `engine` sums it up. All other
operators are computed by `onnx.reference`, which is slow too.

What the specification leaves open: `clip` bounds the inputs of the gates' activations and not the cell state, as ONNX
Runtime reads it; a row with `sequence_lens` 0 ends with its initial state; alpha and beta are handed, in order, to the
activations that have them, and the others have none.

>>> import numpy as np, onnx
>>> import numrnn
>>> node = onnx.helper.make_node("GRU", ["X", "W", "R"], ["", "Y_h"], hidden_size=2)
>>> x, w, r = np.ones((3, 1, 4)), np.ones((1, 6, 4)), np.ones((1, 6, 2))
>>> numrnn.onnx_backend.run_node(node, [x, w, r]).Y_h.shape
(1, 1, 2)
"""

from __future__ import annotations

from numrnn.onnx_backend.backend import NumrnnBackend, PreparedModel

__all__ = ["NumrnnBackend", "PreparedModel", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]

is_compatible = NumrnnBackend.is_compatible
prepare = NumrnnBackend.prepare
run_model = NumrnnBackend.run_model
run_node = NumrnnBackend.run_node
supports_device = NumrnnBackend.supports_device
