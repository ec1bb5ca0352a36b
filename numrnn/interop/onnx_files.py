"""ONNX models as data: what is too large, outside the file or not understood is refused before it is used."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._files import require_regular
from numrnn.interop.onnx_scan import scan

__all__ = ["MAX_BYTES", "library", "read_model", "read_tensor"]

_MOST_AXES = 32
MAX_BYTES = 2**31 - 1
"""What protobuf can hold in one message."""

_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 11: "<f8"}  # TensorProto.DataType
_FIELDS = {1: "float_data", 6: "int32_data", 7: "int64_data", 9: "int32_data", 11: "double_data"}


def library(head: str) -> Any:
    """The onnx package; a missing one is an ImportError that names the extra."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError(f'{head}: ONNX models need onnx: pip install "numrnn[onnx]"') from error


def read_model(source: object, head: str) -> tuple[Any, int]:
    """A `ModelProto` from a path, or the one given, and its size in bytes.

    Raises
    ------
    OSError
        No file, or one that cannot be read.
    TypeError
        Neither a path nor a model.
    ValueError
        No regular file; more than 2 GiB; too many parts; no ONNX; data in other files.
    """
    onnx = library(head)
    if isinstance(source, onnx.ModelProto):
        model, n_bytes = source, source.ByteSize()
    elif isinstance(source, str | os.PathLike):
        data = _read_bytes(Path(source), head)
        scan(data, head)
        try:
            model = onnx.ModelProto.FromString(data)
        except Exception as error:
            raise ValueError(explain(head, f"it is no ONNX file: {error}.")) from error
        n_bytes = len(data)
    else:
        raise TypeError(explain(head, f"`source` should be a path or an onnx.ModelProto, got {kind_of(source)}."))
    if not model.HasField("graph"):
        raise ValueError(explain(head, "it has no graph, so it is no ONNX model."))
    for tensor in (each for part in (model.graph, *model.functions) for each in _tensors(part)):
        _refuse_external(tensor, head)
    if model.graph.sparse_initializer:
        raise ValueError(explain(head, "it has sparse initializers, which are not read.", "Store them dense."))
    return model, n_bytes


def read_tensor(tensor: Any, head: str) -> NDArray[Any]:
    """The numbers of a tensor inside the file, read-only; its sizes are compared with what is stored first."""
    kind, sizes = tensor.data_type, tuple(tensor.dims)
    what = f"tensor {tensor.name!r}"
    if kind not in _DTYPES:
        held = ", ".join(_type_name(each) for each in _DTYPES)
        raise ValueError(explain(head, f"{what} holds {_type_name(kind)}, and what is read is {held}."))
    _refuse_external(tensor, head)
    if tensor.HasField("segment"):
        raise ValueError(explain(head, f"{what} is a segment of a tensor, which is not read."))
    dtype, stored = np.dtype(_DTYPES[kind]), getattr(tensor, _FIELDS[kind])
    raw = tensor.HasField("raw_data")
    has = len(tensor.raw_data) if raw else len(stored)
    if len(sizes) > _MOST_AXES:
        raise ValueError(explain(head, f"{what} has {len(sizes)} axes, and {_MOST_AXES} are read at most."))
    needed = math.prod(sizes) * (dtype.itemsize if raw else 1)
    if any(size < 0 for size in sizes) or has != needed:
        held = f"{has} bytes" if raw else f"{has} numbers"
        raise ValueError(explain(head, f"{what} has shape {sizes} and {held}, which do not fit."))
    array = np.frombuffer(tensor.raw_data, dtype) if raw else np.array(stored, dtype)
    array = array.astype(dtype.newbyteorder("="), copy=False).reshape(sizes)
    array.flags.writeable = False
    return array


def _type_name(kind: int) -> str:
    """The name of an element type of ONNX."""
    try:
        return str(library("onnx").TensorProto.DataType.Name(kind))
    except ValueError:
        return f"element type {kind}"


def _read_bytes(path: Path, head: str) -> bytes:
    require_regular(head, path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise ValueError(explain(head, f"it has {size} bytes, and an ONNX file has {MAX_BYTES} at most."))
        return file.read(MAX_BYTES)


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph, those in attributes and inner graphs too."""
    yield from getattr(graph, "initializer", ())  # a function has none
    for node in graph.node:
        for attribute in node.attribute:
            yield from (
                attribute.t,
                *attribute.tensors,
                attribute.sparse_tensor.values,
                attribute.sparse_tensor.indices,
            )
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _refuse_external(tensor: Any, head: str) -> None:
    if tensor.external_data or tensor.data_location:
        problem = f"the numbers of tensor {tensor.name!r} are in another file, and no other file is opened."
        raise ValueError(explain(head, problem, "Save the model as one file: onnx.save(onnx.load(path), single_path)."))
