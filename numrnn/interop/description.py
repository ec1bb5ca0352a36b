"""A model as plain data, and the model that such data describe; nothing is imported or run by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numrnn.cells.definition import OwnCell, defined, own_cell
from numrnn.nn.cells import GRUCell, LSTMCell, RNNCell
from numrnn.nn.fixed import Fixed, arguments
from numrnn.nn.layers import GRU, LSTM, RNN
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel
from numrnn.nn.parameters import HasParameters
from numrnn.nn.reversed import Reversed

__all__ = ["describe", "make"]

_FIXED: dict[str, type[Fixed]] = {made.__name__: made for made in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell, Linear)}
_SIZES = ("input_size", "hidden_size", "proj_size", "in_features", "out_features")
_DEEPEST = 3  # a model holds Reversed, which holds a layer


def describe(model: HasParameters) -> dict[str, Any]:
    """What makes the model again, its weights aside, as JSON has it."""
    if isinstance(model, Fixed):
        given = {name: getattr(model, name) for name, _ in arguments(type(model))}
        return {
            "class": type(model).__name__,
            **({"cell": own_cell(type(model))} if isinstance(model, OwnCell) else {}),
            **{name: value.name if isinstance(value, np.dtype) else value for name, value in given.items()},
        }
    if isinstance(model, Reversed):
        return {"class": "Reversed", "layer": describe(model.layer), "keep_order": model.keep_order}
    if isinstance(model, SequenceModel):
        listed = isinstance(model.recurrent, tuple)
        layers = model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)
        described = [describe(layer) for layer in layers]
        return {
            "class": "SequenceModel",
            "recurrent": described if listed else described[0],
            "readout": None if model.readout is None else describe(model.readout),
            "readout_on": model.readout_on,
            "learn_initial_state": model.learn_initial_state,
        }
    raise TypeError(f"{type(model).__name__} has no description")


def make(description: object, shapes: Mapping[str, Sequence[int]]) -> HasParameters:
    """Return the model described, without weights, which the caller loads.

    `shapes` are those of the arrays that hold its weights: what is larger than all of them is refused before anything
    is made. Raises ValueError, or what a constructor raises.
    """
    most = max((size for shape in shapes.values() for size in shape), default=0)
    numbers = sum(math.prod(shape) for shape in shapes.values())
    made: HasParameters = _make(description, (most, numbers), len(shapes), _DEEPEST)
    return made


def _make(description: object, most: tuple[int, int], arrays: int, depth: int) -> Any:
    if not isinstance(description, dict) or depth == 0:
        raise ValueError(f"a model's description is {type(description).__name__}, expected an object")
    given = dict(description)
    name = given.pop("class", None)
    made = _FIXED.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and "cell" in given:
        made = _own(name, given.pop("cell"))
    if isinstance(name, str) and made is not None:
        _check_names(name, given, [argument for argument, _ in arguments(made)])
        _check_sizes(name, given, most, arrays)
        return made._blank(**given)
    if name == "Reversed":
        _check_names(name, given, ["layer", "keep_order"])
        return Reversed(_make(given["layer"], most, arrays, depth - 1), keep_order=given["keep_order"])
    if name == "SequenceModel":
        _check_names(name, given, ["recurrent", "readout", "readout_on", "learn_initial_state"])
        recurrent, readout = given.pop("recurrent"), given.pop("readout")
        layers = recurrent if isinstance(recurrent, list) else [recurrent]
        if len(layers) > arrays:
            raise ValueError(f"it describes {len(layers)} layers, and holds {arrays} arrays")
        parts = [_make(layer, most, arrays, depth - 1) for layer in layers]
        head = None if readout is None else _make(readout, most, arrays, depth - 1)
        return SequenceModel(parts if isinstance(recurrent, list) else parts[0], head, **given)
    raise ValueError(f"{name!r} is no class that a file may name; those are {', '.join([*_FIXED, 'Reversed'])}")


def _own(name: str, cell: object) -> type[OwnCell]:
    """The class of a user's own cell, which this program has to define: a file brings no code."""
    made = defined(name)
    if made is None:
        raise ValueError(f"it holds layers of the cell {name}, which is not one of the package: define it first")
    if cell != own_cell(made):
        raise ValueError(f"it holds layers of the cell {name} of {cell}, and the one defined is of {own_cell(made)}")
    return made


def _check_names(name: str, given: dict[str, Any], expected: Sequence[str]) -> None:
    wrong = [f"missing {argument}" for argument in expected if argument not in given]
    wrong += [f"unexpected {argument}" for argument in given if argument not in expected]
    if wrong:
        raise ValueError(f"the description of {name} does not match: {', '.join(wrong)}")


def _check_sizes(name: str, given: dict[str, Any], bounds: tuple[int, int], arrays: int) -> None:
    """Refuse sizes that no array of the file has, before they are taken for memory."""
    most, numbers = bounds
    for argument in _SIZES:
        value = given.get(argument, 0)
        if isinstance(value, int | float) and value > most:
            raise ValueError(f"{name} has {argument}={value}, and the largest axis of its arrays is {most}")
    layers = given.get("num_layers", 1)
    if isinstance(layers, int | float) and layers > arrays:
        raise ValueError(f"{name} has num_layers={layers}, and the file holds {arrays} arrays")
    sizes = [given.get(argument) for argument in _SIZES]
    largest = max((value for value in sizes if isinstance(value, int | float)), default=0)
    hidden = given.get("hidden_size", given.get("in_features", 0))
    read = given.get("proj_size") or given.get("hidden_size", given.get("out_features", 0))
    if isinstance(hidden, int | float) and isinstance(read, int | float) and hidden * read > numbers:
        raise ValueError(f"{name} with sizes up to {largest} has more numbers than its arrays, {numbers}")
