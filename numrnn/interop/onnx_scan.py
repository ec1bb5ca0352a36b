"""How many parts an ONNX file has, counted on its bytes before a parser makes an object of each."""

from __future__ import annotations

from numrnn._errors import explain

__all__ = ["scan"]

_MOST_PARTS = 50_000
"""Nodes, names, attributes and tensors together; a recurrent layer has some twenty."""

# the fields that hold messages, of the messages that files are made of: onnx.proto's numbers
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph", 3: "entry", 4: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "note", 15: "sparse", 16: "entry"},
    "note": {2: "entry"},
    "node": {5: "attribute", 9: "entry"},
    "function": {7: "node", 9: "opset", 11: "attribute", 12: "value", 14: "entry"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        14: "type",
        15: "type",
        22: "sparse",
        23: "sparse",
    },
    "tensor": {13: "entry", 16: "entry"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "entry"},
    "type": {1: "tensor_type", 4: "sequence", 5: "map", 8: "tensor_type", 9: "sequence"},
    "sequence": {1: "type"},
    "map": {2: "type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "dimension"},
}
_MAX_DEPTH = 32


def scan(data: bytes, head: str) -> None:
    """Raise ValueError if a parser would make more than `_MOST_PARTS` objects of `data`, or nest them too deep.

    Two bytes can stand for an empty message, which a parser gives a hundred bytes: files that are small and models that
    are not. What is no protobuf is left to the parser, which refuses it.
    """
    parts = 0
    stack = [("model", 0, len(data), 0)]
    while stack:
        kind, position, end, depth = stack.pop()
        messages = _MESSAGES.get(kind, {})
        while position < end:
            tag, position = _number(data, position, end)
            field, wire = tag >> 3, tag & 7
            parts += 1
            if parts > _MOST_PARTS:
                raise ValueError(
                    explain(head, f"it has more than {_MOST_PARTS} parts, far more than a recurrent model.")
                )
            if wire == 0:
                _, position = _number(data, position, end)
            elif wire in (1, 5):
                position += 8 if wire == 1 else 4
            elif wire == 2:
                size, position = _number(data, position, end)
                if field in messages and position + size <= end:
                    if depth == _MAX_DEPTH:
                        raise ValueError(explain(head, f"its parts are nested more than {_MAX_DEPTH} deep."))
                    stack.append((messages[field], position, position + size, depth + 1))
                position += size
            else:
                raise ValueError(explain(head, f"it is no ONNX file: byte {position} begins no field of one."))


def _number(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A base-128 number, and where it ends."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, position
