"""`to_onnx`: a layer or model as a graph that other programs run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._files import replace_file, target_path
from numrnn._types import Array
from numrnn.cells.definition import OwnCell
from numrnn.cellspec import CELLS
from numrnn.interop.onnx_files import MAX_BYTES, library
from numrnn.interop.onnx_notes import write_notes
from numrnn.interop.onnx_recurrence import to_onnx_order
from numrnn.nn.arguments import flag, not_yet
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.reversed import AnyLayer, Reversed

__all__ = ["to_onnx"]

_OPSET, _IR_VERSION = 14, 7
_HEAD = "to_onnx"


def to_onnx(
    model: Recurrent | Reversed | SequenceModel, path: str | os.PathLike[str], *, with_state: bool = False
) -> None:
    """Write a layer or model as an ONNX file.

    Parameters
    ----------
    model : RNN, LSTM, GRU, Reversed or SequenceModel
        Without projection; Reversed with keep_order=True, alone or in a model, whose initial state is not learned.
    path : path
        The file; an older one is replaced at once or, if anything fails, not at all.
    with_state : bool
        Whether the initial states are inputs of the graph, which a caller must give; otherwise they are zero.

    Raises
    ------
    NotImplementedError
        What the recurrent operators of ONNX, or this function, do not have; says what.
    TypeError
        No layer or model.
    ValueError
        More than the 2 GiB that an ONNX file can hold; the path of a pipe or a device.
    FileNotFoundError
        The folder does not exist.
    ImportError
        onnx is not installed.

    Notes
    -----
    Input `x`: (time, batch, features), or (batch, time, features) if batch_first, both free; with state also `h_0` and,
    of an LSTM, `c_0`. Outputs `output`, `h_n` and, of an LSTM, `c_n`, as a call gives them; of a model `output` is its
    prediction. States of a list of layers are numbered, `h_n_0`, `h_n_1`, .... A stack has a node for each layer, with
    `layout` 0 and of version 14. Weights have the bits of the model's; `from_onnx` restores it.

    Examples
    --------
    >>> import numrnn, onnx, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "lstm.onnx")
    >>> numrnn.to_onnx(numrnn.LSTM(4, 8), path, with_state=True)
    >>> graph = onnx.load(path).graph
    >>> [each.name for each in graph.input], [each.name for each in graph.output]
    (['x', 'h_0', 'c_0'], ['output', 'h_n', 'c_n'])
    """
    target = target_path(_HEAD, "path", path)
    with_state = flag(_HEAD, "with_state", with_state)
    onnx = library(_HEAD)
    parts, readout, readout_on = _parts(model)
    layers = [part.layer if isinstance(part, Reversed) else part for part in parts]
    numbers = sum(array.nbytes for array in model.parameters.values())
    if numbers > MAX_BYTES - 2**20:
        raise ValueError(explain(_HEAD, f"the model has {numbers} bytes, and an ONNX file holds {MAX_BYTES} at most."))
    writer = _Writer(onnx, layers[0].dtype, batch_first=layers[0].batch_first)
    writer.input("x", ["batch", "time"] if layers[0].batch_first else ["time", "batch"], layers[0].input_size)
    x = "x" if not layers[0].batch_first else writer.node("Transpose", ["x"], perm=[1, 0, 2])
    listed = isinstance(model, SequenceModel) and isinstance(model.recurrent, tuple)
    states: list[tuple[str, list[str], Recurrent]] = []
    last = ""
    for k, (part, layer) in enumerate(zip(parts, layers, strict=True)):
        suffix = f"_{k}" if listed else ""
        x, final, last = writer.layer(layer, x, suffix, with_state=with_state, reverse=isinstance(part, Reversed))
        states += [(f"{name}_n{suffix}", values, layer) for name, values in final.items()]
    if readout_on == "every":
        writer.output_every(x, readout, layers[-1])
    else:
        rows = writer.last(last, layers[-1]) if readout_on == "last" else writer.pooled(x, readout_on)
        writer.output_once(rows, readout, layers[-1])
    for name, values, layer in states:
        writer.output_states(name, values, layer)
    written = writer.model()
    write_notes(written, layers, is_model=isinstance(model, SequenceModel), is_list=listed)
    replace_file(target, written.SerializeToString())


def _parts(model: object) -> tuple[Sequence[AnyLayer], Linear | None, str]:
    """The layers, the head and what it reads; raises for what cannot be written."""
    readout, readout_on = None, "every"
    parts: Sequence[AnyLayer]
    if isinstance(model, SequenceModel):
        parts = model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)
        readout, readout_on = model.readout, model.readout_on
        if model.learn_initial_state:
            reason = "an initial state is zero or an input of the graph"
            raise not_yet(_HEAD, "learn_initial_state=True", reason, "Pass the state to a model without it.")
    elif isinstance(model, Recurrent | Reversed):
        parts = (model,)
    else:
        expected = "an RNN, LSTM, GRU, Reversed or SequenceModel"
        raise TypeError(explain(_HEAD, f"`model` should be {expected}, got {kind_of(model)}."))
    for part in parts:
        layer = part.layer if isinstance(part, Reversed) else part
        if isinstance(layer, OwnCell):
            raise not_yet(_HEAD, f"the cell {type(layer).__name__}", "ONNX has operators for RNN, LSTM and GRU alone")
        if isinstance(part, Reversed) and not part.keep_order:
            reason = "a reverse node of ONNX gives its steps in order of time"
            raise not_yet(_HEAD, "keep_order=False", reason, "Pass keep_order=True, if the order of the steps is free.")
        if part.signature.proj_size:
            reason = "ONNX's LSTM has no projection"
            raise not_yet(_HEAD, f"proj_size={part.signature.proj_size}", reason)
    return parts, readout, readout_on


class _Writer:
    """A graph under construction; values are named by the operator that makes them."""

    def __init__(self, onnx: Any, dtype: np.dtype[Any], *, batch_first: bool) -> None:
        self._helper, self._numpy = onnx.helper, onnx.numpy_helper
        self._kind = onnx.TensorProto.FLOAT if dtype == np.float32 else onnx.TensorProto.DOUBLE
        self._batch_first = batch_first
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[str, Any] = {}

    def input(self, name: str, axes: Sequence[str | int], size: int) -> None:
        """Declare an input of the graph."""
        self._inputs.append(self._helper.make_tensor_value_info(name, self._kind, [*axes, size]))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Store an array, once under a name."""
        if name not in self._constants:
            self._constants[name] = self._numpy.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node of one output."""
        name = output or f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(
            self._helper.make_node(op, list(inputs), [name], name=f"{op}_{len(self._nodes)}", **attributes)
        )
        return name

    def layer(
        self, layer: Recurrent, x: str, suffix: str, *, with_state: bool, reverse: bool
    ) -> tuple[str, dict[str, list[str]], str]:
        """A stack of nodes: its outputs at every step, every node's last states by name, the top node's last h."""
        of = layer.signature
        spec, directions, hidden = CELLS[of.cell], of.num_directions, of.hidden_size
        op = of.cell.partition("_")[0].upper()
        attributes: dict[str, Any] = {"hidden_size": hidden}
        if directions == 2 or reverse:
            attributes["direction"] = "reverse" if reverse else "bidirectional"
        if op == "RNN":
            attributes["activations"] = [of.cell.removeprefix("rnn_").capitalize()] * directions
        if op == "GRU":
            attributes["linear_before_reset"] = int(of.cell == "gru")
        final: dict[str, list[str]] = {name: [] for name in spec.states}
        starts = {name: [""] * of.num_layers for name in spec.states}
        if with_state:
            for name in spec.states:
                self.input(f"{name}_0{suffix}", [of.num_layers * directions, "batch"], hidden)
                starts[name] = self._rows(f"{name}_0{suffix}", of.num_layers, directions)
        for k in range(of.num_layers):
            weights = self._weights(layer, k, suffix)
            named = [f"{kind}{suffix}_l{k}" for kind in ("y", *(f"y_{name}" for name in spec.states))]
            inputs = [x, *weights, "", *(starts[name][k] for name in spec.states)]
            while not inputs[-1]:
                inputs.pop()
            self._nodes.append(self._helper.make_node(op, inputs, named, name=f"{op}{suffix}_l{k}", **attributes))
            for name, value in zip(spec.states, named[1:], strict=True):
                final[name].append(value)
            if directions == 1:
                x = self.node("Squeeze", [named[0], self.constant("axis_1", np.array([1]))])
            else:
                turned = self.node("Transpose", [named[0]], perm=[0, 2, 1, 3])
                shape = self.constant(f"steps_of_{2 * hidden}", np.array([0, 0, 2 * hidden]))
                x = self.node("Reshape", [turned, shape])
        return x, final, final["h"][-1]

    def output_every(self, x: str, readout: Linear | None, top: Recurrent) -> None:
        """The top layer's steps, or the head's answer to each."""
        size = top.signature.num_directions * top.hidden_size
        axes = ["batch", "time"] if self._batch_first else ["time", "batch"]
        if readout is not None:
            size = readout.out_features
            x = self.node("MatMul", [x, self.constant("readout.weight", readout.parameters["weight"].T)])
            if readout.bias:
                x = self.node("Add", [x, self.constant("readout.bias", readout.parameters["bias"])])
        if self._batch_first:
            self.node("Transpose", [x], "output", perm=[1, 0, 2])
        else:
            self.node("Identity", [x], "output")
        self._output("output", axes, size)

    def last(self, states: str, top: Recurrent) -> str:
        """The top layer's last states, directions side by side."""
        size = top.signature.num_directions * top.hidden_size
        turned = self.node("Transpose", [states], perm=[1, 0, 2])
        return self.node("Reshape", [turned, self.constant(f"rows_of_{size}", np.array([0, size]))])

    def pooled(self, x: str, pool: str) -> str:
        """The mean or maximum of the top layer's steps."""
        return self.node(f"Reduce{pool.capitalize()}", [x], axes=[0], keepdims=0)

    def output_once(self, rows: str, readout: Linear | None, top: Recurrent) -> None:
        """One row for each sequence, or the head's answer to it."""
        size = top.signature.num_directions * top.hidden_size
        if readout is None:
            self.node("Identity", [rows], "output")
        else:
            size = readout.out_features
            names = [self.constant(f"readout.{name}", value) for name, value in readout.parameters.items()]
            self.node("Gemm", [rows, *names], "output", transB=1)
        self._output("output", ["batch"], size)

    def output_states(self, name: str, values: Sequence[str], layer: Recurrent) -> None:
        """The last states of all nodes of a layer, one below the other."""
        self.node("Concat", values, name, axis=0)
        of = layer.signature
        self._output(name, [of.num_layers * of.num_directions, "batch"], of.hidden_size)

    def model(self) -> Any:
        """The `ModelProto`."""
        graph = self._helper.make_graph(
            self._nodes, "numrnn", self._inputs, self._outputs, list(self._constants.values())
        )
        versions = [self._helper.make_opsetid("", _OPSET)]
        return self._helper.make_model(graph, opset_imports=versions, ir_version=_IR_VERSION, producer_name="numrnn")

    def _output(self, name: str, axes: Sequence[str | int], size: int) -> None:
        self._outputs.append(self._helper.make_tensor_value_info(name, self._kind, [*axes, size]))

    def _rows(self, name: str, num_layers: int, directions: int) -> list[str]:
        """The rows of an initial state that belong to each node."""
        if num_layers == 1:
            return [name]
        parts = [f"{name}_l{k}" for k in range(num_layers)]
        sizes = self.constant(f"{num_layers}_times_{directions}", np.array([directions] * num_layers))
        self._nodes.append(self._helper.make_node("Split", [name, sizes], parts, name=f"Split_{name}", axis=0))
        return parts

    def _weights(self, layer: Recurrent, k: int, suffix: str) -> list[str]:
        """The names of W, R and B of one node; B is left out without biases."""
        spec, given = CELLS[layer.signature.cell], layer.parameters
        ends = ("", "_reverse")[: layer.signature.num_directions]

        def of(name: str) -> list[Array]:
            return [to_onnx_order(spec, given[f"{name}_l{k}{end}"]) for end in ends]

        arrays = {"W": of("weight_ih"), "R": of("weight_hh")}
        if layer.bias:
            pairs = zip(of("bias_ih"), of("bias_hh"), strict=True)
            arrays["B"] = [np.concatenate(pair) for pair in pairs]
        return [self.constant(f"{name}{suffix}_l{k}", np.stack(each)) for name, each in arrays.items()] + (
            [] if layer.bias else [""]
        )
