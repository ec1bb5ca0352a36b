"""Layers and models from PyTorch's weights."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._files import require_regular
from numrnn.engine import memory
from numrnn.engine.arrays import real_array
from numrnn.interop import torch_modules
from numrnn.interop.assembly import dense_layer, recurrent_layer
from numrnn.interop.tensor_file import read_entries, read_tensors
from numrnn.interop.torch_names import Parts, read_names
from numrnn.nn.arguments import choice, flag
from numrnn.nn.layers import GRU, LSTM, RNN
from numrnn.nn.model import SequenceModel

__all__ = ["PICKLES", "from_torch"]

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # PyTorch's archives; bare pickles
_KINDS = ("float16", "float32", "float64")
_HALVES = {"F16": "float16", "BF16": "bfloat16"}


def from_torch(
    source: Any, *, nonlinearity: str = "tanh", batch_first: bool = False, prefix: str = ""
) -> RNN | LSTM | GRU | SequenceModel:
    """Make a layer or a model from PyTorch's weights.

    Parameters
    ----------
    source : mapping of str to array or tensor, torch.nn.Module, or path
        A `state_dict`; a module; a `.safetensors` file. Cell, sizes, layers, directions, biases and projection are read
        from the names and shapes.
    nonlinearity : {"tanh", "relu"}
        Of an RNN's weights, which do not tell it; a module does.
    batch_first : bool
        The layout of x, which weights do not tell; a module does.
    prefix : str
        What the names of the weights begin with, such as "encoder.rnn", to pick one layer out of many; other names are
        not looked at. Of a module, the name of the part.

    Returns
    -------
    RNN, LSTM, GRU, or SequenceModel
        A layer; where there is a Linear too, a model whose head reads the last state (`readout_on="last"`), since
        weights do not tell what it reads. float64 if any weight is, otherwise float32: float16 and bfloat16 are cast,
        with a warning.

    Raises
    ------
    ValueError
        Names missing or unexpected, all of them named; shapes of no cell; integers for weights; more than one layer, or
        layers other than a Linear, all of them listed; a damaged file, or one that holds pickles, which are never read.
    TypeError
        A source that is none of these.
    OSError
        There is no such file, or it may not be read.

    Warns
    -----
    UserWarning
        Weights of float16 or bfloat16.

    Notes
    -----
    PyTorch is needed for modules only. A module with one recurrent layer and at most one Linear, whose other parts do
    nothing at inference, is taken for that layer and that head on it; what its `forward` does is not looked at.

    Examples
    --------
    >>> import numpy as np
    >>> import numrnn
    >>> numrnn.from_torch({"weight_ih_l0": np.zeros((24, 4)), "weight_hh_l0": np.zeros((24, 8))}, batch_first=True)
    GRU(input_size=4, hidden_size=8, bias=False, batch_first=True, dtype='float64')
    """
    head = "from_torch"
    choice(head, "nonlinearity", nonlinearity, ("tanh", "relu"))
    flag(head, "batch_first", batch_first, ())
    if not isinstance(prefix, str):
        raise TypeError(explain(head, f"`prefix` should be a str, got {kind_of(prefix)}."))
    given: dict[str, Any] = {"batch_first": batch_first}
    if isinstance(source, str | os.PathLike):
        head = f"{head}({os.fspath(source)!r})"
        arrays, parts = _read_file(head, Path(source), prefix)
    elif isinstance(source, Mapping):
        arrays = _arrays(head, source, prefix)
        parts = read_names(head, {name: arrays[name].shape if name in arrays else () for name in source}, prefix)
    elif torch_modules.is_module(source):
        found = torch_modules.read_module(head, source, prefix)
        given = found.arguments()
        _agree(head, given, batch_first=batch_first, nonlinearity=nonlinearity)
        nonlinearity = given.pop("nonlinearity", nonlinearity)
        arrays = _arrays(head, found.state())
        parts = Parts(
            read_names(head, {name: array.shape for name, array in arrays.items()}, "recurrent").layer, found.head()
        )
    else:
        advice = 'Pass a state_dict, a torch.nn.Module, or the path of a ".safetensors" file.'
        raise TypeError(explain(head, f"`source` is {kind_of(source)}.", advice))
    if parts.layer.cell == "RNN":
        given["nonlinearity"] = nonlinearity
    elif nonlinearity != "tanh":
        problem = (
            f"`nonlinearity` is {nonlinearity!r}, and the weights are those of {parts.layer.cell}, which has none."
        )
        raise ValueError(explain(head, problem, "Leave it out."))
    made: RNN | LSTM | GRU | SequenceModel = _made(head, parts, given, arrays)
    return made


def _agree(head: str, given: dict[str, Any], **asked: Any) -> None:
    """Refuse an argument that contradicts the module; a default asks for nothing."""
    for name, value in asked.items():
        if value not in (False, "tanh") and name in given and given[name] != value:
            problem = f"`{name}` is {value!r}, and the module has {given[name]!r}."
            raise ValueError(explain(head, problem, "Leave it out: it is read from the module."))


def _made(head: str, parts: Parts, given: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The layer or model with these weights."""
    layer, dense = parts
    used = {layer.owner + name: arrays[layer.owner + name] for name in layer.names}
    if dense is not None:
        used |= {dense.owner + name: arrays[dense.owner + name] for name in dense.names}
    for name, array in used.items():
        if array.dtype.name not in _KINDS:
            expected = f"one of {', '.join([*_KINDS, 'bfloat16'])}"
            raise ValueError(explain(head, f"`{name}` is {array.dtype}, expected {expected}."))
    dtype = "float64" if any(array.dtype.name == "float64" for array in used.values()) else "float32"
    nonlinearity = given.pop("nonlinearity", "")
    cell = f"rnn_{nonlinearity}" if nonlinearity else layer.cell.lower()
    weights = {name: arrays[layer.owner + name] for name in layer.names}
    recurrent = recurrent_layer(cell, weights, **layer.arguments, **given, dtype=dtype)
    if dense is None:
        return recurrent
    of_dense = {name: arrays[dense.owner + name] for name in dense.names}
    return SequenceModel(recurrent, dense_layer(of_dense["weight"], of_dense.get("bias"), dtype))


def _arrays(head: str, state: Mapping[Any, Any], prefix: str = "") -> dict[str, NDArray[Any]]:
    """Tensors or arrays whose names begin so, as arrays of their own memory, where NumPy has their type."""
    wrong = [name for name in state if not isinstance(name, str)]
    if wrong:
        raise TypeError(explain(head, f"names of weights should be str, got {kind_of(wrong[0])}."))
    arrays, halves = {}, set()
    for name, value in state.items():
        if not name.startswith(prefix):
            continue
        kind = str(getattr(value, "dtype", "")).removeprefix("torch.")
        if hasattr(value, "detach"):
            value = value.detach()
            value = value.float() if kind == "bfloat16" else value
            value = value if str(value.device) in ("cpu", "meta") else value.cpu()
        arrays[name] = real_array(value, head, name)
        halves |= {kind} & {*_HALVES.values()}
    _tell_of_halves(head, halves)
    return arrays


def _tell_of_halves(head: str, halves: set[str]) -> None:
    if halves:
        warnings.warn(f"{head}: weights of {' and '.join(sorted(halves))} become float32.", UserWarning, stacklevel=4)


def _read_file(head: str, path: Path, prefix: str) -> tuple[dict[str, NDArray[Any]], Parts]:
    """The weights of a safetensors file that a model is made of, and that model."""
    if path.suffix.lower() == ".npz":
        raise ValueError(
            explain(head, "an .npz file is not read.", f"Pass its arrays: from_torch(dict(np.load({str(path)!r})))")
        )
    require_regular(head, path)
    with open(path, "rb") as file:
        begin = file.read(9)
    pickled = begin.startswith(_PICKLED) and not begin.endswith(b"{")  # a header's length may begin like a pickle
    if pickled or path.suffix.lower() in PICKLES:
        raise ValueError(
            explain(
                head,
                "this is a pickle, which runs whatever code it holds when it is read; numrnn reads none.",
                "Convert it once, in PyTorch:",
                f"state = torch.load({str(path)!r}, weights_only=True)",
                f"safetensors.torch.save_file(state, {str(path.with_suffix('.safetensors'))!r})",
            )
        )
    entries, notes = read_entries(head, path)
    if "numrnn" in notes:
        raise ValueError(
            explain(head, "the file was written by numrnn.save, and holds more than weights.", "Call numrnn.load.")
        )
    parts = read_names(head, {name: entry.shape for name, entry in entries.items()}, prefix, ordered=False)
    names = [part.owner + name for part in parts if part is not None for name in part.names]
    size = sum(entries[name].end - entries[name].begin for name in names)
    try:
        memory.require(4 * size, head, "the weights and their copies")
    except MemoryError as error:
        raise ValueError(str(error)) from error
    _tell_of_halves(head, {_HALVES[entries[name].dtype] for name in names if entries[name].dtype in _HALVES})
    return read_tensors(head, path, entries, names), parts
