"""What a file of `to_onnx` says in its metadata, since its graph does not: which nodes are one layer, and dropout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numrnn._errors import explain
from numrnn.nn.recurrent import Recurrent

__all__ = ["Notes", "read_notes", "write_notes"]

_KEY, _VERSION = "numrnn", 1
_LONGEST = 2**20


@dataclass(frozen=True, slots=True)
class Notes:
    """Layers of ours from the bottom up; whether they are a model's, and there in a list."""

    num_layers: tuple[int, ...]
    dropout: tuple[float, ...]
    is_model: bool
    is_list: bool


def write_notes(model: Any, layers: Sequence[Recurrent], *, is_model: bool, is_list: bool) -> None:
    """Add the notes to a `ModelProto`."""
    described = [{"num_layers": each.num_layers, "dropout": each.dropout} for each in layers]
    notes = {"version": _VERSION, "layers": described, "model": is_model, "list": is_list}
    model.metadata_props.add(key=_KEY, value=json.dumps(notes))


def read_notes(model: Any, head: str) -> Notes | None:
    """The notes of a `ModelProto`; None if it is no file of ours.

    Raises
    ------
    ValueError
        Notes of another version, or that are not what `write_notes` writes.
    """
    texts = [each.value for each in model.metadata_props if each.key == _KEY]
    if not texts:
        return None
    try:
        if len(texts[0]) > _LONGEST:
            raise ValueError(f"they have {len(texts[0])} characters")
        found = json.loads(texts[0])
        version = found["version"]
        if version != _VERSION:
            raise ValueError(f"they are of version {version!r}, and this numrnn reads {_VERSION}")
        counts = tuple(_count(each["num_layers"]) for each in found["layers"])
        dropout = tuple(_rate(each["dropout"]) for each in found["layers"])
        return Notes(counts, dropout, found["model"] is True, found["list"] is True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(explain(head, f"its metadata `{_KEY}` are not understood: {error}.")) from error


def _count(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 2**31:
        raise ValueError(f"{value!r} is no number of layers")
    return value


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no rate of dropout")
    return float(value)
