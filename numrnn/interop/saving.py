"""Models and optimisers in safetensors files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn._files import described, read_arrays, read_path, write_arrays
from numrnn.interop.description import describe, make
from numrnn.nn.fixed import arguments
from numrnn.nn.parameters import HasParameters
from numrnn.optim import SGD, Adam, AdamW, Optimizer, RMSprop

__all__ = ["is_ours", "load", "save"]

_FORMAT = "model"
_STATE = "optimizer."
_OPTIMIZERS = {made.__name__: made for made in (SGD, RMSprop, Adam, AdamW)}


def save(model: HasParameters | Optimizer, path: str | os.PathLike[str]) -> None:
    """Write a model, or an optimiser with its model, into a safetensors file.

    Parameters
    ----------
    model : layer, cell, Linear, Reversed, SequenceModel, or an optimiser
        Weights stand in the file under the names of `model.parameters`, which are PyTorch's, so that other programs
        read them too; what else makes the model stands as JSON in the file's metadata. Of an optimiser its state, its
        settings and its model are kept. A GRU with `reset_after=False` has the same names too, but PyTorch has no such
        GRU: a program that reads the weights alone computes something else with them.
    path : path
        The file; an older one is replaced at once or, if anything fails, not at all. Of a link the file that it leads
        to; permissions stay.

    Raises
    ------
    TypeError
        Something that is neither.
    ValueError
        The path is a pipe or a device.
    FileNotFoundError
        The folder does not exist.
    ImportError
        safetensors is not installed; names the extra that brings it.

    Examples
    --------
    >>> import numrnn, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "gru.safetensors")
    >>> numrnn.save(numrnn.GRU(2, 3, seed=0), path)
    >>> numrnn.load(path)
    GRU(input_size=2, hidden_size=3, seed=0)
    """
    optimizer = model if isinstance(model, Optimizer) else None
    owner = model.model if isinstance(model, Optimizer) else model
    if not isinstance(owner, HasParameters):
        raise TypeError(explain("save", f"`model` should be a model or an optimiser, got {kind_of(model)}."))
    target = read_path("save", "path", path)
    arrays: dict[str, NDArray[Any]] = dict(owner.parameters)
    description: dict[str, Any] = {"format": _FORMAT, "version": 1, "model": describe(owner)}
    if optimizer is not None:
        arrays |= {_STATE + name: np.asarray(value) for name, value in optimizer.state_dict().items()}
        names = [name for name, _ in arguments(type(optimizer)) if name != "model"]
        settings = {name: getattr(optimizer, name) for name in names}
        description["optimizer"] = {"class": type(optimizer).__name__, **settings}
    write_arrays("save", target, arrays, description)


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    layer, cell, Linear, Reversed, SequenceModel or optimiser
        With the bits that were saved; `optimizer.model` is an optimiser's model.

    Raises
    ------
    ValueError
        The file is damaged, was not written by `save`, or by a later version; says which. Weights of other programs are
        read by `from_torch`.
    OSError
        There is no such file, or it may not be read.
    ImportError
        safetensors is not installed; names the extra that brings it.

    Notes
    -----
    The file is read as data: nothing in it is imported or run, and sizes are compared with its arrays before memory is
    taken. What this version writes is read by all later ones.

    Examples
    --------
    >>> import numrnn, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "adam.safetensors")
    >>> model = numrnn.SequenceModel(numrnn.LSTM(2, 3, seed=0), numrnn.Linear(3, 1, seed=0))
    >>> numrnn.save(numrnn.optim.Adam(model, lr=0.01), path)
    >>> adam = numrnn.load(path)
    >>> adam.lr, adam.model
    (0.01, SequenceModel(LSTM(input_size=2, hidden_size=3, seed=0), Linear(in_features=3, out_features=1, seed=0)))
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(explain("load", f"`path` should be a path, got {kind_of(path)}."))
    made: list[HasParameters] = []

    def check(description: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> None:
        weights = {name: shape for name, shape in shapes.items() if not name.startswith(_STATE)}
        model = make(description.get("model"), weights)
        expected = {name: value.shape for name, value in model.parameters.items()}
        if expected != {name: tuple(shape) for name, shape in weights.items()}:
            names = sorted(expected.keys() ^ weights.keys())
            wrong = names or [name for name, shape in expected.items() if tuple(weights[name]) != shape]
            raise ValueError(f"its arrays are not those of {model!r}: see {', '.join(wrong[:5])}")
        made.append(model)

    arrays, description = read_arrays("load", path, _FORMAT, check)
    try:
        return _filled(made[0], arrays, description)
    except Exception as error:
        raise ValueError(explain("load", f"{os.fspath(path)!r} cannot be read: {error}")) from error


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether a safetensors file has a description of ours; one that cannot be read has none."""
    return described("load", path) is not None


def _filled(model: HasParameters, arrays: dict[str, NDArray[Any]], description: Mapping[str, Any]) -> Any:
    state = {name.removeprefix(_STATE): arrays.pop(name) for name in list(arrays) if name.startswith(_STATE)}
    for name, value in model.parameters.items():
        if arrays[name].dtype != value.dtype:
            raise ValueError(f"`{name}` is {arrays[name].dtype}, and the model {value.dtype}")
    model.load_state_dict(arrays)
    settings = description.get("optimizer")
    if settings is None:
        if state:
            raise ValueError("it holds the state of an optimiser that it does not describe")
        return model
    given = dict(settings)
    kind = _OPTIMIZERS.get(given.pop("class", None))
    if kind is None:
        raise ValueError(f"{settings.get('class')!r} is no optimiser; those are {', '.join(_OPTIMIZERS)}")
    optimizer = kind(model, **given)
    optimizer.load_state_dict(state)
    return optimizer
