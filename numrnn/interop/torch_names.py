"""What PyTorch's names and shapes of weights tell of the model that they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from numrnn._errors import explain
from numrnn._types import Shape
from numrnn.cellspec import CELLS, parameter_shapes

__all__ = ["Dense", "Layer", "Parts", "read_names"]

_WEIGHT = re.compile(
    r"(?P<owner>.*\.)?(?P<kind>(?:weight|bias)_(?:ih|hh|hr))_l(?P<layer>0|[1-9][0-9]{0,8})(?P<back>_reverse)?"
)
_MOST_LISTED = 40
_CELL_OF_GATES = {1: "RNN", 3: "GRU", 4: "LSTM"}
_SPECS = {"RNN": "rnn_tanh", "GRU": "gru", "LSTM": "lstm"}


class Layer(NamedTuple):
    """A recurrent layer: whose its weights are, its class, the arguments that shapes tell, and its weights' names."""

    owner: str
    cell: str
    arguments: dict[str, Any]
    names: tuple[str, ...]

    @property
    def features(self) -> int:
        """The last axis of the layer's output."""
        size: int = self.arguments.get("proj_size", 0) or self.arguments["hidden_size"]
        return 2 * size if self.arguments["bidirectional"] else size


class Dense(NamedTuple):
    """A dense layer likewise."""

    owner: str
    arguments: dict[str, Any]
    names: tuple[str, ...]


class Parts(NamedTuple):
    """A model: a recurrent layer and perhaps a head."""

    layer: Layer
    head: Dense | None


def read_names(head: str, shapes: Mapping[str, Shape], prefix: str, *, ordered: bool = True) -> Parts:
    """The model whose weights have these names and shapes; of the names that begin with `prefix`, if that is given.

    `ordered`: whether the names stand in the order of a module, so that a dense layer before the recurrent one is told
    from a head. Raises ValueError that names every key which does not fit.
    """
    if prefix and not prefix.endswith("."):
        prefix += "."
    selected = {name: shape for name, shape in shapes.items() if name.startswith(prefix)}
    owners: dict[str, dict[str, Shape]] = {}
    for name, shape in selected.items():
        found = _WEIGHT.fullmatch(name)
        if found:
            owners.setdefault(found["owner"] or "", {})[name.removeprefix(found["owner"] or "")] = shape
    if prefix in owners:  # exactly what was asked for, and nothing below it
        unexpected = [name for name in selected if name.removeprefix(prefix) not in owners[prefix]]
        return Parts(_layer(head, prefix, owners[prefix], unexpected), None)
    rest = {name: shape for name, shape in selected.items() if not _WEIGHT.fullmatch(name)}
    if len(owners) == 1:
        ((owner, weights),) = owners.items()
        layer = _layer(head, owner, weights, [])
        if not rest:
            return Parts(layer, None)
        dense = _dense(rest)
        if dense is not None and dense.arguments["in_features"] == layer.features:
            feeds = dense.arguments["out_features"] == layer.arguments["input_size"]  # it could stand before the layer
            if not feeds or (ordered and list(selected)[-len(rest) :] == list(rest)):
                return Parts(layer, dense)
    raise _unclear(head, prefix, list(owners), list(rest) if selected else list(shapes))


def _unclear(head: str, prefix: str, owners: list[str], rest: list[str]) -> ValueError:
    """Return the error that lists what was found."""
    layers = [f"`{owner.removesuffix('.')}`" for owner in owners]
    where = f" under the prefix {prefix!r}" if prefix else ""
    if not owners:
        problem = f"no weights of a recurrent layer (weight_ih_l0, weight_hh_l0, ...){where}."
        return ValueError(explain(head, problem, f"Names: {_listed(rest)}."))
    details = [f"Recurrent layers: {_listed(layers)}."]
    if rest:
        details.append(f"Others: {_listed(rest)}.")
    advice = f'Pass prefix="{owners[0].removesuffix(".")}" for one layer alone.'
    problem = f"it is not clear what model the weights{where} make: that is one layer, or one and a Linear on top."
    return ValueError(explain(head, problem, *details, advice))


def _listed(names: list[str]) -> str:
    """Names found, of very many the first: what does not fit is named in full, not what there is."""
    more = len(names) - _MOST_LISTED
    return (", ".join(names[:_MOST_LISTED]) or "none") + (f" and {more} more" if more > 0 else "")


def _layer(head: str, owner: str, shapes: Mapping[str, Shape], unexpected: list[str]) -> Layer:
    """The layer that has these weights, strictly."""
    of = f" of `{owner.removesuffix('.')}`" if owner else ""
    cell, sizes = _cell_and_sizes(head, of, shapes)
    found = [match for match in map(_WEIGHT.fullmatch, shapes) if match]
    num_layers = 1 + max(int(match["layer"]) for match in found)
    if num_layers > len(shapes):  # or the names missing would be without number
        problem = f"there is a layer {num_layers - 1}{of}, but only {len(shapes)} weights in all."
        raise ValueError(explain(head, problem, f"Names: {_listed(list(shapes))}."))
    arguments: dict[str, Any] = {
        **sizes,
        "num_layers": num_layers,
        "bias": any(match["kind"].startswith("bias") for match in found),
        "bidirectional": any(match["back"] for match in found),
    }
    input_size, hidden_size, proj_size = (sizes.get(name, 0) for name in ("input_size", "hidden_size", "proj_size"))
    expected = parameter_shapes(
        CELLS[_SPECS[cell]],
        input_size,
        hidden_size,
        num_layers,
        arguments["bias"],
        1 + arguments["bidirectional"],
        proj_size,
    )
    missing = [owner + name for name in expected if name not in shapes]
    unexpected = unexpected + [owner + name for name in shapes if name not in expected]
    layer = Layer(owner, cell, arguments, tuple(expected))
    if missing or unexpected:
        lists = [(kind, names) for kind, names in (("missing", missing), ("unexpected", unexpected)) if names]
        told = "; ".join(f"{kind} {', '.join(names)}" for kind, names in lists)
        raise ValueError(explain(head, f"the names do not match: {told}.", f"The rest is {_shown(layer)}."))
    wrong = [
        f"{owner}{name} {shapes[name]}, expected {shape}" for name, shape in expected.items() if shapes[name] != shape
    ]
    if wrong:
        raise ValueError(explain(head, f"the shapes do not match: {'; '.join(wrong)}.", f"Read as {_shown(layer)}."))
    return layer


def _cell_and_sizes(head: str, of: str, shapes: Mapping[str, Shape]) -> tuple[str, dict[str, int]]:
    """What the first layer's weights tell."""
    missing = [name for name in ("weight_ih_l0", "weight_hh_l0") if name not in shapes]
    if missing:
        problem = f"the names{of} do not match: missing {', '.join(missing)}."
        raise ValueError(explain(head, problem, f"Names: {_listed(list(shapes))}."))
    first, second, projection = shapes["weight_ih_l0"], shapes["weight_hh_l0"], shapes.get("weight_hr_l0")
    given = f"weight_ih_l0 {first}, weight_hh_l0 {second}" + (f", weight_hr_l0 {projection}" if projection else "")
    matrices = [shape for shape in (first, second, projection) if shape is not None]
    if any(len(shape) != 2 or 0 in shape for shape in matrices):
        raise ValueError(explain(head, f"the weights{of} should have two axes that are not empty: {given}."))
    rows, width = second
    hidden_size = width if projection is None else projection[1]
    gates = rows // hidden_size
    sizes = {"input_size": first[1], "hidden_size": hidden_size}
    if projection is not None:
        if rows == 4 * hidden_size and projection[0] == width < hidden_size:
            return "LSTM", {**sizes, "proj_size": width}
    elif rows == gates * hidden_size and gates in _CELL_OF_GATES:
        return _CELL_OF_GATES[gates], sizes
    read = "weight_hh_l0 is (H, H) in an RNN, (3H, H) in a GRU, (4H, H) in an LSTM, (4H, P) with weight_hr_l0 (P, H)."
    raise ValueError(explain(head, f"the shapes{of} are of no cell: {given}.", read))


def _dense(shapes: Mapping[str, Shape]) -> Dense | None:
    """A dense layer with biases, if the names are exactly that: a weight alone could be an embedding."""
    owner = next(iter(shapes)).rpartition(".")[0] + "."
    weight, bias = shapes.get(f"{owner}weight"), shapes.get(f"{owner}bias")
    if len(shapes) != 2 or weight is None or bias is None or len(weight) != 2 or bias != weight[:1] or 0 in weight:
        return None
    return Dense(owner, {"in_features": weight[1], "out_features": weight[0], "bias": True}, ("weight", "bias"))


def _shown(layer: Layer) -> str:
    """The call that makes the layer."""
    return f"{layer.cell}({', '.join(f'{name}={value}' for name, value in layer.arguments.items())})"
