"""A model file of any format, known by its suffix."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from numrnn._errors import explain
from numrnn.interop.torch_weights import PICKLES
from numrnn.nn.parameters import HasParameters

__all__ = ["overview", "read_model", "write_model"]

_SAFETENSORS, _KERAS, _ONNX = ".safetensors", ".keras", ".onnx"


def read_model(head: str, path: str | os.PathLike[str]) -> Any:
    """The model in a file: of numrnn or PyTorch (.safetensors), Keras (.keras) or ONNX (.onnx).

    Raises what the reader of the format raises, and ValueError for a suffix that is none of these.
    """
    suffix = Path(path).suffix.lower()
    numrnn = importlib.import_module("numrnn")
    if suffix == _SAFETENSORS:
        saved = importlib.import_module("numrnn.interop.saving")
        return numrnn.load(path) if saved.is_ours(path) else numrnn.from_torch(path)
    if suffix == _KERAS:
        return numrnn.from_keras(path)
    if suffix == _ONNX:
        return numrnn.from_onnx(path)
    if suffix in (*PICKLES, ".npz"):
        return numrnn.from_torch(path)  # which refuses them, and says how to convert
    advice = f"Known suffixes: {_SAFETENSORS} (numrnn or PyTorch), {_KERAS}, {_ONNX}."
    raise ValueError(explain(head, f"{os.fspath(path)!r} has the suffix {suffix!r}, which is no known format.", advice))


def write_model(head: str, model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model as the suffix says: .safetensors or .onnx."""
    suffix = Path(path).suffix.lower()
    numrnn = importlib.import_module("numrnn")
    if suffix == _SAFETENSORS:
        numrnn.save(model, path)
    elif suffix == _ONNX:
        try:
            numrnn.to_onnx(model, path)
        except TypeError as error:  # a file may hold what ONNX has no graph for
            raise ValueError(str(error)) from error
    else:
        advice = f"Suffixes that can be written: {_SAFETENSORS}, {_ONNX}."
        raise ValueError(explain(head, f"{os.fspath(path)!r} has the suffix {suffix!r}.", advice))


def overview(model: Any) -> str:
    """The call that makes a model or an optimiser, and its arrays."""
    owner: HasParameters = model if isinstance(model, HasParameters) else model.model
    lines = [repr(model)] if owner is model else [repr(model), repr(owner)]
    rows = [(name, str(value.shape), value.dtype.name) for name, value in owner.parameters.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines += [f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {dtype}" for name, shape, dtype in rows]
    return "\n".join([*lines, f"  {owner.num_parameters} parameters"])
