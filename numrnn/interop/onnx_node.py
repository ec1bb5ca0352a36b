"""A node of an ONNX graph, its attributes read by kind; what nobody reads is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn.interop.onnx_files import read_tensor

__all__ = ["Node"]

# AttributeProto.AttributeType: the kind's name, its field, and what makes a Python value of it
_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 6, 7, 8
_FIELDS = {_FLOAT: "f", _INT: "i", _STRING: "s", _TENSOR: "t", _FLOATS: "floats", _INTS: "ints", _STRINGS: "strings"}


class Node:
    """One node: `op`, `inputs` and `outputs` by name, and each attribute once.

    A reader asks for every attribute that it knows and calls `done`; what is left then is an error, not a guess.
    """

    __slots__ = ("_left", "domain", "head", "inputs", "op", "opset", "outputs")

    def __init__(self, proto: Any, position: int, opset: int, head: str) -> None:
        self.op = str(proto.op_type)
        self.domain = "" if proto.domain == "ai.onnx" else str(proto.domain)
        self.inputs = tuple(proto.input)
        self.outputs = tuple(proto.output)
        self.opset = opset
        named = f"node {proto.name!r}" if proto.name else f"node number {position + 1}"
        self.head = f"{head}: {named} ({self.op})"
        self._left: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.name in self._left:
                raise self.refusal(f"it has the attribute `{attribute.name}` twice.")
            self._left[attribute.name] = attribute

    def refusal(self, problem: str, *advice: str) -> ValueError:
        """Return the error for what is not understood in this node."""
        return ValueError(explain(self.head, problem, *advice))

    def has(self, name: str) -> bool:
        """Whether an attribute is there, and has not been read."""
        return name in self._left

    def given(self, index: int) -> bool:
        """Whether an input is connected."""
        return len(self.inputs) > index and self.inputs[index] != ""

    def integer(self, name: str, default: int) -> int:
        """An attribute of kind INT."""
        return int(self._take(name, _INT, default))

    def real(self, name: str, default: float) -> float:
        """An attribute of kind FLOAT."""
        return float(self._take(name, _FLOAT, default))

    def text(self, name: str, default: str) -> str:
        """An attribute of kind STRING."""
        return _decoded(self._take(name, _STRING, default.encode()))

    def integers(self, name: str) -> list[int] | None:
        """An attribute of kind INTS; None if it is not there."""
        value = self._take(name, _INTS, None)
        return None if value is None else [int(each) for each in value]

    def reals(self, name: str) -> list[float] | None:
        """An attribute of kind FLOATS; None if it is not there."""
        value = self._take(name, _FLOATS, None)
        return None if value is None else [float(each) for each in value]

    def texts(self, name: str) -> list[str] | None:
        """An attribute of kind STRINGS; None if it is not there."""
        value = self._take(name, _STRINGS, None)
        return None if value is None else [_decoded(each) for each in value]

    def tensor(self, name: str) -> NDArray[Any] | None:
        """An attribute of kind TENSOR; None if it is not there."""
        value = self._take(name, _TENSOR, None)
        return None if value is None else read_tensor(value, f"{self.head}: `{name}`")

    def constant(self) -> NDArray[Any]:
        """The value of a Constant node, in any of its forms."""
        for name, read in (("value_float", self.real), ("value_int", self.integer)):
            if self.has(name):
                return np.array(read(name, 0), np.float32 if name == "value_float" else np.int64)
        for name, kind in (("value_floats", np.float32), ("value_ints", np.int64)):
            if self.has(name):
                return np.array(self.reals(name) if kind is np.float32 else self.integers(name), kind)
        value = self.tensor("value")
        if value is None:
            raise self.refusal("it has no value that is an array of numbers.")
        return value

    def done(self) -> None:
        """Raise for the attributes that have not been read."""
        for name in self._left:
            raise self.refusal(f"its attribute `{name}` is not understood.")

    def _take(self, name: str, kind: int, default: Any) -> Any:
        attribute = self._left.pop(name, None)
        if attribute is None:
            return default
        if attribute.ref_attr_name:
            problem = (
                f"its attribute `{name}` is the function's parameter `{attribute.ref_attr_name}`, which is not read."
            )
            raise self.refusal(problem, "Write the value into the node, or inline the function: onnx.inliner.")
        if attribute.type != kind:
            raise self.refusal(f"its attribute `{name}` is of the wrong kind.")
        return getattr(attribute, _FIELDS[kind])


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "replace")
