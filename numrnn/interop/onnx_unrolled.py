"""A plain recurrent layer that an exporter has written step by step, as the RNN node that it is.

PyTorch's newer exporter does so with torch.nn.RNN. With `pre` = X W^T + b for all steps at once, in order of time or
turned round, it writes h = act(h_before R^T + c + pre[t]) for t = 0, 1, ..., and joins the results. Only what has this
form in every step, with the same weights, becomes a node; the rest is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numrnn.interop.onnx_files import library, read_tensor

__all__ = ["rolled"]

_ACTIVATIONS = ("Tanh", "Relu")
_INPUTS = {"Add": (2,), "MatMul": (2,), "SequenceAt": (2,), "SplitToSequence": (1,), "Slice": (4, 5), "Squeeze": (2,)}


class _Step(NamedTuple):
    node: Any
    before: str  # the state before the step, or a constant that stands for its whole product
    weight: str
    bias: str
    pre: str
    time: int


class _Chain(NamedTuple):
    steps: list[_Step]
    reads: str
    reverse: bool
    weight: str
    bias: str

    @property
    def outputs(self) -> list[str]:
        """The states in order of time."""
        names = [step.node.output[0] for step in self.steps]
        return names[::-1] if self.reverse else names


def rolled(graph: Any, constants: Mapping[str, Any], head: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """The nodes of a graph with each chain of steps replaced, and the weights of the nodes put in its place.

    `constants` are the graph's initializers by name.
    """
    nodes = list(graph.node)
    if not any(node.op_type in _ACTIVATIONS for node in nodes):
        return nodes, {}
    finder = _Finder(nodes, graph, constants, head)
    made: dict[str, NDArray[Any]] = {}
    replaced: dict[int, Any] = {}
    for number, chain in enumerate(finder.chains()):
        replaced |= finder.replacements(chain, f"unrolled layer {number}", made)
    return [replaced.get(id(node), node) for node in nodes], made


class _Finder:
    def __init__(self, nodes: Sequence[Any], graph: Any, constants: Mapping[str, Any], head: str) -> None:
        self.nodes, self.constants, self.head = nodes, constants, head
        self.makers = {name: node for node in nodes for name in node.output if name}
        self.joins = {tuple(node.input): node for node in nodes if node.op_type == "Concat"}
        self.shapes = {
            value.name: [each.dim_value for each in value.type.tensor_type.shape.dim] for value in graph.value_info
        }
        self.arrays: dict[str, NDArray[Any]] = {}

    def chains(self) -> list[_Chain]:
        """Every chain of steps that is a whole layer."""
        steps = {step.node.output[0]: step for step in map(self._step, self.nodes) if step is not None}
        after: dict[str, list[_Step]] = {}
        for step in steps.values():
            after.setdefault(step.before, []).append(step)
        found = []
        for first in steps.values():
            if first.time == 0 and first.before not in steps:
                chain = [first]
                while len(following := after.get(chain[-1].node.output[0], [])) == 1 and len(chain) <= len(steps):
                    chain += following
                whole = self._whole(chain)
                found += [whole] if whole is not None else []
        return found

    def replacements(self, chain: _Chain, name: str, made: dict[str, NDArray[Any]]) -> dict[int, Any]:
        """New nodes by the identity of the old: the last step becomes the layer, the joined steps its output."""
        make = library(self.head).helper.make_node
        weight = self._array(chain.weight)
        recurrent = self._array(chain.steps[-1].weight)
        biases = [self._array(each) for each in (chain.bias, chain.steps[-1].bias) if each]
        inputs = [chain.reads, f"{name}: W", f"{name}: R"]
        made |= {inputs[1]: weight.T[None], inputs[2]: recurrent.T[None]}
        if biases:
            zeros = np.zeros(recurrent.shape[0], recurrent.dtype)
            parts = [self._array(each) if each else zeros for each in (chain.bias, chain.steps[-1].bias)]
            made[f"{name}: B"] = np.concatenate(parts)[None]
        first = chain.steps[0]
        inputs += [f"{name}: B" if biases else "", "", first.before if first.weight else ""]
        last, joined = chain.steps[-1].node, self._joined(chain)
        layer = make(
            "RNN",
            inputs,
            [f"{name}: Y", last.output[0]],
            name=f"{name} ({last.name})",
            activations=[last.op_type],
            direction="reverse" if chain.reverse else "forward",
        )
        found = {id(last): layer}
        if joined is not None:
            made[f"{name}: axis"] = np.array([1])
            found[id(joined)] = make("Squeeze", [f"{name}: Y", f"{name}: axis"], list(joined.output), name=joined.name)
        return found

    def _step(self, node: Any) -> _Step | None:
        """A node as act(recurrent product + pre[t]); None if it is none."""
        if node.op_type not in _ACTIVATIONS or len(node.input) != 1:
            return None
        added = self._maker(node.input[0], "Add")
        for first, second in ([*added.input], [*added.input][::-1]) if added is not None else ():
            at, product = self._at(second), self._affine(first)
            if at is not None and product is not None:
                return _Step(node, *product, *at)
            if at is not None and first in self.constants:
                return _Step(node, first, "", "", *at)
        return None

    def _affine(self, name: str) -> tuple[str, str, str] | None:
        """x @ W + b as the names of x, W and b, which may be missing."""
        bias, added = "", self._maker(name, "Add")
        if added is not None:
            biases = [each for each in added.input if each in self.constants]
            others = [each for each in added.input if each not in self.constants]
            if len(biases) != 1 or len(others) != 1:
                return None
            (bias,), (name,) = biases, others
        product = self._maker(name, "MatMul")
        if product is None or product.input[1] not in self.constants:
            return None
        return product.input[0], product.input[1], bias

    def _at(self, name: str) -> tuple[str, int] | None:
        """One step of all of them, and which."""
        taken = self._maker(name, "SequenceAt")
        if taken is not None:
            split = self._maker(taken.input[0], "SplitToSequence")
            time = self._integers(taken.input[1])
            if split is None or time is None:
                return None
            if {(each.name, each.i) for each in split.attribute} != {("keepdims", 0), ("axis", 0)}:
                return None
            return split.input[0], time[0]
        squeezed = self._maker(name, "Squeeze")
        if squeezed is None or self._integers(squeezed.input[1]) != [0]:
            return None
        cut = self._maker(squeezed.input[0], "Slice")
        bounds = self._bounds(cut)
        if cut is None or bounds is None or bounds[1] != bounds[0] + 1 or bounds[2] != 1:
            return None
        return cut.input[0], bounds[0]

    def _bounds(self, cut: Any) -> tuple[int, int, int] | None:
        """Start, end and step of a cut along the first axis alone."""
        if cut is None:
            return None
        parts = [self._integers(name) for name in cut.input[1:]]
        if None in parts or parts[2] != [0]:
            return None
        start, end, _, *step = [part[0] for part in parts if part is not None]
        return start, end, (step or [1])[0]

    def _whole(self, steps: list[_Step]) -> _Chain | None:
        """A chain whose steps are alike, that uses every step of what it reads; None if it is no layer."""
        last = steps[-1]
        alike = all((step.pre, step.node.op_type) == (last.pre, last.node.op_type) for step in steps)
        weights = {(step.weight, step.bias) for step in steps[1:]} | {(last.weight, last.bias)}
        if not alike or len(weights) > 1 or not last.weight or [s.time for s in steps] != list(range(len(steps))):
            return None
        if steps[0].weight:
            if (steps[0].weight, steps[0].bias) not in weights:
                return None
        elif not self._from_zero(steps[0].before, last.bias):
            return None
        turned = self._maker(last.pre, "Slice")
        bounds = self._bounds(turned)
        reverse = bounds is not None and bounds[0] == -1 and bounds[1] < -(2**31) and bounds[2] == -1
        product = self._affine(turned.input[0] if turned is not None and reverse else last.pre)
        if product is None:
            return None
        reads, weight, bias = product
        chain = _Chain(steps, reads, reverse, weight, bias)
        arrays = [self._array(weight), self._array(last.weight)]
        hidden = arrays[1].shape[-1]
        if [array.ndim for array in arrays] != [2, 2] or arrays[0].shape[1] != hidden or len(arrays[1]) != hidden:
            return None
        if any(self._array(each).shape != (hidden,) for each in (bias, last.bias) if each):
            return None
        state, read = self.shapes.get(last.node.output[0], []), self.shapes.get(last.pre, [])
        if len(state) != 3 or state[0] != 1 or len(read) != 3:
            return None
        free = read[0] == 0  # a number of steps that the file leaves open
        return chain if read[0] == len(steps) or (free and self._joined(chain) is not None) else None

    def _from_zero(self, name: str, bias: str) -> bool:
        """Whether a constant is what the recurrent product gives for a state of zeros: its bias in every row."""
        array = self._array(name)
        expected = self._array(bias) if bias else np.zeros(1, array.dtype)
        return array.ndim == 3 and len(array) == 1 and bool(np.all(array == expected))

    def _joined(self, chain: _Chain) -> Any:
        """The node that joins all states in order of time; None if there is none."""
        node = self.joins.get(tuple(chain.outputs))
        axis = None if node is None else [(each.name, each.i) for each in node.attribute]
        return node if axis == [("axis", 0)] else None

    def _maker(self, name: str, op: str) -> Any | None:
        node = self.makers.get(name)
        if node is None or node.op_type != op or node.domain or len(node.input) not in _INPUTS[op]:
            return None
        return node

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            self.arrays[name] = read_tensor(self.constants[name], self.head)
        return self.arrays[name]

    def _integers(self, name: str) -> list[int] | None:
        """The only entry of a constant."""
        tensor = self.constants.get(name)
        if (
            tensor is None
            or tensor.data_type != library(self.head).TensorProto.INT64
            or list(tensor.dims) not in ([], [1])
        ):
            return None
        return [int(each) for each in self._array(name).reshape(-1)]
