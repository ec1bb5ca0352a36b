"""A graph followed from its inputs to its outputs: which recurrent directions it has, and what its outputs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn._types import Array
from numrnn.cellspec import CELLS
from numrnn.interop.onnx_files import read_tensor
from numrnn.interop.onnx_node import Node
from numrnn.interop.onnx_operators import MOVES
from numrnn.interop.onnx_recurrence import OPERATORS, direction_weights, read_recurrence
from numrnn.interop.onnx_unrolled import rolled
from numrnn.interop.onnx_values import FEATURES, PIECES, Piece, Tensor, Value, Zeros

__all__ = ["Direction", "Followed", "Head", "follow"]

_OLDEST_OPSET = 7
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("float32"), 11: np.dtype("float64")}
_ADVICE = "numrnn.onnx_backend.prepare(model) evaluates such nodes."


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of one recurrent node, its weights in PyTorch's order."""

    node: Node
    cell: str
    reverse: bool
    weights: dict[str, Array]
    reads: Tensor
    state: tuple[Piece | None, ...]

    @property
    def hidden_size(self) -> int:
        """Numbers in h."""
        return int(self.weights["weight_hh"].shape[1])


@dataclass(slots=True)
class Head:
    """A dense layer and what it reads."""

    node: Node
    reads: Tensor
    weight: Array
    bias: Array | None


@dataclass(slots=True)
class Followed:
    """What a graph computes, as far as layers have names for it."""

    head: str
    x: str = ""
    time_axis: int = -1
    directions: list[Direction] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    outputs: list[tuple[str, Tensor]] = field(default_factory=list)


def follow(model: Any, n_bytes: int, head: str, newest_opset: int) -> Followed:
    """Follow a model's graph.

    Raises
    ------
    ValueError
        Whatever is not understood: the node, and its attribute or input, are named.
    """
    return _Follower(model, n_bytes, head, newest_opset).run()


class _Follower:
    def __init__(self, model: Any, n_bytes: int, head: str, newest_opset: int) -> None:
        self.graph, self.head = model.graph, head
        self.found = Followed(head)
        self.opset = _opset(model, head, newest_opset)
        self.budget = 8 * n_bytes + 2**16
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        protos, self.weights = rolled(self.graph, self.constants, head) if self.opset >= 13 else (self.graph.node, {})
        self.nodes = [Node(proto, k, self.opset, head) for k, proto in enumerate(protos)]
        self.values: dict[str, Value] = {}
        self.dtype: np.dtype[Any] | None = None
        self.fixed: dict[str, int] = {}

    def run(self) -> Followed:
        if not any(node.op in OPERATORS for node in self.nodes):
            advice = "torch.onnx.export writes torch.nn.RNN step by step; with dynamo=False it writes a node."
            raise self._refusal("it has no RNN, LSTM or GRU node.", advice)
        constants = self.constants
        if len(constants) < len(self.graph.initializer):
            raise self._refusal("two of its initializers have the same name.")
        needed = self._needed()
        for name, tensor in constants.items():
            if name in needed:
                self.values[name] = read_tensor(tensor, self.head)
        self.values |= self.weights
        inputs = [value for value in self.graph.input if value.name not in constants]
        read = self._read_by_nodes()
        for value in inputs:
            if value.name in needed:
                self.values[value.name] = self._input(value, is_x=value.name in read)
        for node in self.nodes:
            if needed.intersection(node.outputs):
                self._evaluate(node)
        for output in self.graph.output:
            result = self.values.get(output.name)
            if not isinstance(result, Tensor):
                made = "is made by no node" if result is None else "does not depend on the input"
                raise self._refusal(f"its output {output.name!r} {made}.")
            self.found.outputs.append((output.name, result))
        if not self.found.outputs:
            raise self._refusal("its graph has no outputs.")
        return self.found

    def _needed(self) -> set[str]:
        """Names of all values that the outputs depend on; every name is made once, and before it is read."""
        made = {value.name for value in (*self.graph.input, *self.graph.initializer)} | self.weights.keys()
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in made:
                    raise node.refusal(f"its input {name!r} is made by no node before it.")
            for name in node.outputs:
                if name in made:
                    raise node.refusal(f"its output {name!r} is there already.")
                made.update([name] if name else [])
        needed = {output.name for output in self.graph.output}
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(name for name in node.inputs if name)
        return needed

    def _read_by_nodes(self) -> set[str]:
        """The graph's inputs that are sequences: those at the end of the way back from a recurrent node's X."""
        makers = {name: node for node in self.nodes for name in node.outputs if name}
        ends = set()
        for node in self.nodes:
            name = node.inputs[0] if node.op in OPERATORS and node.inputs else ""
            while name in makers and makers[name].op not in OPERATORS and makers[name].inputs:
                name = makers[name].inputs[0]
            ends.add(name)
        return ends

    def _input(self, value: Any, *, is_x: bool) -> Value:
        """A sequence (T, N, I) in either order, or states (rows, N, H)."""
        name, described = value.name, value.type.tensor_type
        dims = described.shape.dim
        dtype: np.dtype[Any] | None = _DTYPES.get(described.elem_type)
        if dtype is None or len(dims) != 3 or (self.dtype not in (None, dtype)):
            problem = f"its input {name!r} has {len(dims)} axes and element type {described.elem_type}"
            raise self._refusal(f"{problem}, expected 3 axes of FLOAT or DOUBLE.")
        self.dtype = dtype
        size = int(dims[2].dim_value)
        if not 0 < size <= self.budget:
            raise self._refusal(f"its input {name!r} has {size} features; a model says how many, as its weights do.")
        atoms = [f"{name}[{axis}]" for axis in range(3)]
        sizes = [
            (atom, int(dim.dim_value) if dim.dim_value > 0 else atom) for atom, dim in zip(atoms, dims, strict=True)
        ]
        if is_x:
            axes = ((atoms[0],), (atoms[1],), (FEATURES,))
            return Tensor((Piece("input", 0, source=name),), size, axes, tuple(sizes[:2]))
        rows = int(dims[0].dim_value)
        if not 0 < rows <= 2 * len(self.nodes):
            raise self._refusal(f"its input {name!r} has {rows} rows, and states have one for each direction.")
        pieces = tuple(Piece("given", row, source=name) for row in range(rows))
        return Tensor(pieces[:1], size, ((), (atoms[1],), (FEATURES,)), tuple(sizes[1:2])).with_pieces(
            pieces, ((PIECES,), (atoms[1],), (FEATURES,))
        )

    def _evaluate(self, node: Node) -> None:
        values = [self.values[name] if name else None for name in node.inputs]
        try:
            with np.errstate(all="ignore"):
                results = self._results(node, values)
        except (AssertionError, IndexError, KeyError, OverflowError, TypeError) as error:
            raise node.refusal(f"its inputs do not fit it: {error}.") from error
        except ValueError as error:
            if str(error).startswith(node.head):
                raise
            raise node.refusal(f"its inputs do not fit it: {error}.") from error
        if len(node.outputs) > len(results):
            raise node.refusal(f"it has {len(node.outputs)} outputs.")
        for name, value in zip(node.outputs, results, strict=False):
            if isinstance(value, Tensor):
                self._check_sizes(node, value)
            if name:
                self.values[name] = value

    def _check_sizes(self, node: Node, tensor: Tensor) -> None:
        """An axis of the input has one size in the whole graph."""
        for atom, size in tensor.sizes:
            if isinstance(size, int) and self.fixed.setdefault(atom, size) != size:
                raise node.refusal(f"with it the axis {atom} has {size} entries, and {self.fixed[atom]} elsewhere.")

    def _results(self, node: Node, values: Sequence[Value | None]) -> Sequence[Value]:
        if node.domain:
            raise node.refusal(f"its operator is of the domain {node.domain!r}, and what is read is ONNX's own.")
        if node.op == "Constant":
            results: Sequence[Value] = [node.constant()]
        elif node.op in OPERATORS:
            results = self._recurrent(node, values)
        elif node.op in ("MatMul", "Gemm", "Add"):
            made: dict[str, Callable[[Node, Sequence[Value | None]], Tensor]] = {
                "MatMul": self._matmul,
                "Gemm": self._gemm,
                "Add": self._add,
            }
            results = [made[node.op](node, values)]
        elif node.op not in MOVES:
            problem = f"the operator {node.op} is not read: only recurrent layers with one dense layer on top are."
            raise node.refusal(problem, "End the exported model there, and apply the rest to its predictions.")
        elif node.op != "Shape" and values and _all_zeros(values if node.op == "Concat" else values[:1]):
            return [Zeros()] * len(node.outputs)
        else:
            results = MOVES[node.op](node, values, self._allow)
        node.done()
        return results

    def _recurrent(self, node: Node, values: Sequence[Value | None]) -> list[Value]:
        known = read_recurrence(node)
        cell = known.cell()
        if cell is None:
            raise node.refusal(f"its attribute {known.obstacle()}, which no layer of numrnn has.", _ADVICE)
        if known.layout:
            raise node.refusal("its attribute `layout` is 1, which is not read.", _ADVICE)
        names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
        given = dict(zip(names, [*values, *[None] * len(names)], strict=False))
        for name in ("sequence_lens", "P"):
            if given[name] is not None:
                raise node.refusal(f"its input `{name}` is connected, which is not read.", _ADVICE)
        x, w, r, b = given["X"], *(self._weight(node, given[name], name) for name in "WRB")
        if w is None or r is None:
            raise node.refusal("it has no weights.")
        directions, rows = len(known.directions), w.shape[1] if w.ndim == 3 else 0
        hidden = rows // known.gates
        shapes: dict[str, tuple[int, ...]] = {
            "W": (directions, known.gates * hidden, w.shape[-1]),
            "R": (directions, rows, hidden),
            "B": (directions, 2 * rows),
        }
        for name, array in (("W", w), ("R", r), ("B", b)):
            if array is not None and (array.shape != shapes[name] or not array.size):
                raise node.refusal(f"its weight `{name}` has shape {array.shape}, expected {shapes[name]}.")
        if known.hidden_size not in (None, hidden):
            raise node.refusal(f"its attribute `hidden_size` is {known.hidden_size}, its weights have {hidden}.")
        reads, time, batch = self._sequence(node, x, w.shape[2])
        states = [self._state(node, given[name], name, directions, hidden) for name in ("initial_h", "initial_c")]
        spec, first = CELLS[cell], len(self.found.directions)
        self._allow((w.size + r.size), node)
        for k, reverse in enumerate(known.directions):
            weights = direction_weights(spec, w[k], r[k], None if b is None else b[k])
            state = tuple(each[k] for each in states[: len(spec.states)])
            self.found.directions.append(Direction(node, cell, reverse, weights, reads, state))
        sizes = tuple((atom, reads.atom_size(atom)) for atom in (time, batch))

        def result(kind: str, axes: Sequence[tuple[str, ...]]) -> Tensor:
            pieces = [Piece(kind, first + k, reverse) for k, reverse in enumerate(known.directions)]
            return Tensor(tuple(pieces), hidden, tuple(axes), sizes, time).with_pieces(pieces)

        last = ((PIECES,), (batch,), (FEATURES,))
        results: list[Value] = [result("step", ((time,), *last)), result("h", last)]
        return [*results, result("c", last)] if spec.has_cell_state else results

    def _sequence(self, node: Node, x: Value | None, features: int) -> tuple[Tensor, str, str]:
        """What a recurrent node reads, and the atoms of its time and batch."""
        kinds = {piece.kind for piece in x.pieces} if isinstance(x, Tensor) else set()
        if not isinstance(x, Tensor) or kinds not in ({"input"}, {"step"}):
            raise node.refusal("its input `X` is neither the graph's input nor the steps of other nodes.")
        if len(x.axes) != 3 or [len(group) for group in x.axes[:2]] != [1, 1] or not x.holds(x.axes[2]):
            raise node.refusal("its input `X` is not (time, batch, features) of a sequence.")
        if x.features != features:
            raise node.refusal(f"its input `X` has {x.features} features, its weight `W` reads {features}.")
        (time,), (batch,) = x.axes[:2]
        if kinds == {"input"} and x.pieces[0].source != (self.found.x or x.pieces[0].source):
            raise node.refusal(f"it reads the input {x.pieces[0].source!r}, the nodes before read {self.found.x!r}.")
        self.found.x = self.found.x or x.pieces[0].source
        axis = 1 if time.endswith("[1]") else 0
        if self.found.time_axis not in (-1, axis):
            raise node.refusal("it takes for time what is batch to the nodes before.")
        self.found.time_axis = axis
        return x, time, batch

    def _state(self, node: Node, value: Value | None, name: str, rows: int, hidden: int) -> list[Piece | None]:
        """Of each direction: None for zeros, or the row of an input of the graph."""
        if value is None or isinstance(value, Zeros):
            return [None] * rows
        if isinstance(value, np.ndarray):
            if value.any():
                raise node.refusal(
                    f"its input `{name}` is constant and not zero: a layer starts from zero or from an input."
                )
            return [None] * rows
        stands = [group for group in value.axes if FEATURES not in group and group not in ((), (PIECES,))]
        right = len(value.axes) == 3 and value.axes[0] in ((), (PIECES,)) and len(stands) == 1
        if not right or {piece.kind for piece in value.pieces} != {"given"} or value.axes[2] != (FEATURES,):
            raise node.refusal(f"its input `{name}` is neither zero nor rows of an input of the graph.")
        if (len(value.pieces), value.size) != (rows, hidden):
            got = f"{len(value.pieces)} rows of {value.size} numbers"
            raise node.refusal(f"its input `{name}` has {got}, expected {rows} of {hidden}.")
        return list(value.pieces)

    def _weight(self, node: Node, value: Value | None, name: str) -> NDArray[Any] | None:
        if value is None:
            return None
        if not isinstance(value, np.ndarray):
            raise node.refusal(f"its weight `{name}` is no constant.")
        if value.dtype != self.dtype:
            raise node.refusal(f"its weight `{name}` is of {value.dtype}, its sequence of {self.dtype}.")
        return value

    def _dense(self, node: Node, x: Value | None, weight: NDArray[Any], bias: NDArray[Any] | None) -> Tensor:
        """x @ weight.T + bias, as a head."""
        kinds = {piece.kind for piece in x.pieces} if isinstance(x, Tensor) else set()
        if not isinstance(x, Tensor) or not x.axes or not x.holds(x.axes[-1]) or kinds & {"input", "given", "head"}:
            raise node.refusal("it is dense, and reads no states of a recurrent node: one dense layer on top is read.")
        if weight.shape[1] != x.features or not weight.size:
            raise node.refusal(f"its weight has shape {weight.shape}, its input {x.features} features.")
        self._allow(weight.size, node)
        self.found.heads.append(Head(node, x, weight, bias))
        piece = Piece("head", len(self.found.heads) - 1)
        axes = [*(tuple(atom for atom in group if atom != PIECES) for group in x.axes[:-1]), (FEATURES,)]
        return Tensor((piece,), len(weight), tuple(axes), x.sizes, x.time)

    def _matmul(self, node: Node, values: Sequence[Value | None]) -> Tensor:
        weight = self._weight(node, values[1], "B")
        if weight is None or weight.ndim != 2:
            raise node.refusal("its second input is no matrix of constants.")
        return self._dense(node, values[0], weight.T, None)

    def _gemm(self, node: Node, values: Sequence[Value | None]) -> Tensor:
        for name in ("alpha", "beta"):
            factor = node.real(name, 1.0)
            if factor != 1.0:
                raise node.refusal(f"its attribute `{name}` is {factor:g}, and what is read is 1.")
        if node.integer("transA", 0):
            raise node.refusal("its attribute `transA` is 1, and what is read is 0.")
        weight = self._weight(node, values[1], "B")
        if weight is None or weight.ndim != 2 or not isinstance(values[0], Tensor) or len(values[0].axes) != 2:
            raise node.refusal("it does not multiply (rows, features) with a matrix of constants.")
        weight = weight if node.integer("transB", 0) else weight.T
        made = self._dense(node, values[0], weight, None)
        return self._biased(node, made, values[2]) if node.given(2) else made

    def _add(self, node: Node, values: Sequence[Value | None]) -> Tensor:
        first, second = values
        made, bias = (first, second) if isinstance(first, Tensor) else (second, first)
        if not isinstance(made, Tensor) or {piece.kind for piece in made.pieces} != {"head"}:
            raise node.refusal("it adds, and what is read is a bias added to a dense layer.")
        return self._biased(node, made, bias)

    def _biased(self, node: Node, made: Tensor, value: Value | None) -> Tensor:
        """A head with its bias, which is another value than the head without."""
        old = self.found.heads[made.pieces[0].owner]
        bias = self._weight(node, value, "C")
        size = made.size
        if bias is None or old.bias is not None or made.axes[-1] != (FEATURES,):
            raise node.refusal("it adds something else than one bias to a dense layer.")
        if (bias.size != 1 and (bias.size != size or bias.shape[-1:] != (size,))) or bias.ndim > len(made.axes):
            raise node.refusal(f"its bias has shape {bias.shape}, expected ({size},).")
        self.found.heads.append(Head(old.node, old.reads, old.weight, np.broadcast_to(bias.reshape(-1), (size,))))
        return made.with_pieces([Piece("head", len(self.found.heads) - 1)])

    def _allow(self, numbers: int, node: Node) -> None:
        """Count the numbers of constants and weights against what a file of this size can mean."""
        self.budget -= 4 * numbers
        if self.budget < 0:
            raise node.refusal("with it the graph makes more numbers than its file has.")

    def _refusal(self, problem: str, *advice: str) -> ValueError:
        return ValueError(explain(self.head, problem, *advice))


def _opset(model: Any, head: str, newest: int) -> int:
    """The version of ONNX's operators that a model is written for."""
    versions = [int(each.version) for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if len(versions) != 1:
        raise ValueError(explain(head, f"it names {len(versions)} versions of ONNX's operators, expected one."))
    if not _OLDEST_OPSET <= versions[0] <= newest:
        problem = f"its operators are of version {versions[0]}, and what is read is {_OLDEST_OPSET} to {newest}."
        raise ValueError(explain(head, problem, "onnx.version_converter.convert_version changes the version."))
    return versions[0]


def _all_zeros(values: Sequence[Value | None]) -> bool:
    """Whether there are zeros of unknown shape, and nothing but zeros."""
    arrays = [value for value in values if isinstance(value, np.ndarray) and value.dtype != object]
    zeros = [value for value in values if isinstance(value, Zeros)]
    return bool(zeros) and len(arrays) + len(zeros) == len(values) and not any(array.any() for array in arrays)
