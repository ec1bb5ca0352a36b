"""The layers of a Keras model in the order they run, from its configuration; classes are names in a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

from numrnn._errors import explain
from numrnn.interop.keras_errors import shown

__all__ = ["Settings", "read_chain"]

_WITHOUT_EFFECT = {
    "activity_regularizer", "batch_input_shape", "batch_shape", "dropout", "dtype", "implementation", "name",
    "recurrent_dropout", "seed", "trainable", "unit_forget_bias", "unroll", "zero_output_for_mask",
}  # fmt: skip
"""Entries of a layer that change no prediction, or not without a mask."""

_OF_TRAINING = re.compile(r"_(initializer|regularizer|constraint)$")

_KEPT_OUT = {"training": (None, False), "mask": (None,), "initial_state": (None,)}
"""Arguments of a layer's call in a graph, and their values that ask for nothing."""


@dataclass(eq=False)
class Settings:
    """One layer's configuration, read entry by entry.

    Attributes
    ----------
    head, kind, name
        How errors begin, the layer's class and its name.
    store
        The layer's group among the weights, "lstm_1"; empty for the input layer.
    """

    head: str
    kind: str
    name: str
    entries: Mapping[str, Any]
    store: str = ""

    def __post_init__(self) -> None:
        self._read: set[str] = set()

    def refuse(self, problem: str, *advice: str) -> NoReturn:
        """Raise for something about this layer."""
        raise ValueError(explain(self.head, f"layer {shown(self.name)} ({self.kind}): {problem}", *advice))

    def take(self, key: str, default: Any = None) -> Any:
        """Any entry; `default` where it is missing."""
        self._read.add(key)
        return self.entries.get(key, default)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """An entry that is true or false; one without default must be there."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            self.refuse(f"`{key}` is {shown(value)}, expected true or false.")
        return value

    def count(self, key: str) -> int:
        """An entry that is a whole number of 1 or more."""
        value = self.take(key)
        if type(value) is not int or value < 1:
            self.refuse(f"`{key}` is {shown(value)}, expected a whole number of 1 or more.")
        return value

    def activation(self, key: str, *allowed: str) -> str:
        """The name of an activation, one of `allowed`."""
        value = self.take(key, "linear")
        value = "linear" if value is None else value
        if not isinstance(value, str) or value not in allowed:
            words = " or ".join(map(repr, allowed))
            self.refuse(f"`{key}` is {_function(value)}, and numrnn has {words} there.")
        return value

    def inner(self, key: str) -> Settings:
        """The layer that this one wraps."""
        return _settings(self.head, self.take(key), f"`{key}` of layer {shown(self.name)}")

    def finish(self) -> None:
        """Raise if an entry was not read that may have a meaning."""
        for key, value in self.entries.items():
            if key in self._read or key in _WITHOUT_EFFECT or _OF_TRAINING.search(key) or value in (None, False):
                continue
            self.refuse(f"`{key}` is {shown(value)}, which numrnn does not know.")


def read_chain(head: str, config: Mapping[str, Any], *, sequential: bool) -> list[Settings]:
    """The layers of a model's configuration in the order they run, each reading the one before.

    Parameters
    ----------
    head : str
        How errors begin.
    config : mapping
        What `get_config()` of a Sequential or Functional model gives.
    sequential : bool
        Which of the two it is.
    """
    entries = config.get("layers")
    if not isinstance(entries, list) or not entries:
        raise ValueError(explain(head, "the model has no layers."))
    layers = [_settings(head, entry, f"entry {k} of `layers`") for k, entry in enumerate(entries)]
    by_name = {layer.name: layer for layer in layers}
    if len(by_name) < len(layers):
        raise ValueError(explain(head, "two layers have the same name."))
    _name_stores(layers)
    return layers if sequential else _follow(head, config, by_name, dict(zip(by_name, entries, strict=True)))


def _settings(head: str, entry: object, where: str) -> Settings:
    """One layer's entry, whose class must be one of Keras's own."""
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise ValueError(explain(head, f"{where} describes no layer."))
    kind, config = entry.get("class_name"), entry["config"]
    name = config.get("name", entry.get("name"))
    if not isinstance(kind, str) or not kind.isidentifier() or len(kind) > 60 or not isinstance(name, str):
        raise ValueError(explain(head, f"{where} has no class or no name."))
    layer = Settings(head, kind, name, config)
    foreign = entry.get("registered_name") or entry.get("module")
    if entry.get("registered_name") is not None or entry.get("module") != "keras.layers":
        layer.refuse(f"its class is not one of Keras's own, but {shown(foreign)}.", "Nothing was imported.")
    return layer


def _name_stores(layers: Sequence[Settings]) -> None:
    """Name the groups of weights, as Keras does: the class in snake case, numbered, whatever the layer's own name."""
    numbers: dict[str, int] = {}
    for layer in layers:
        if layer.kind == "InputLayer":
            continue
        snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", layer.kind))
        snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
        number = numbers[snake] = numbers.get(snake, -1) + 1
        layer.store = f"{snake}_{number}" if number else snake


def _follow(
    head: str, config: Mapping[str, Any], layers: Mapping[str, Settings], entries: Mapping[str, Any]
) -> list[Settings]:
    """Walk a graph from its output to its input; it must be a chain."""
    first, last = (_end(head, config, key) for key in ("input_layers", "output_layers"))
    chain: list[Settings] = []
    name = last
    while True:
        if name not in layers or len(chain) == len(layers):
            problem = f"the graph is no chain of layers: {shown(name)} is not among them, or leads to itself."
            raise ValueError(explain(head, problem))
        layer = layers[name]
        chain.append(layer)
        if name == first:
            break
        name = _source(layer, entries[name].get("inbound_nodes"))
    if len(chain) < len(layers):
        other = next(iter(layers.keys() - {layer.name for layer in chain}))
        advice = "Only layers that follow one another can be loaded."
        raise ValueError(explain(head, f"the graph branches: {shown(other)} is not on the way to its output.", advice))
    return chain[::-1]


def _end(head: str, config: Mapping[str, Any], key: str) -> str:
    """The name of the graph's one input or output."""
    found = config.get(key)
    ends = found[0] if _is_list(found) and len(found) == 1 else found
    if not _is_tensor(ends):
        advice = "Only a model of one input and one output can be loaded."
        raise ValueError(explain(head, f"`{key}` is {shown(found)}, expected one tensor.", advice))
    return str(ends[0])


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether this is what a file has as a list; live models have tuples, too."""
    return isinstance(value, list | tuple)


def _is_tensor(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether this is the first output of a layer's one call: [name, 0, 0]."""
    return _is_list(value) and len(value) == 3 and isinstance(value[0], str) and tuple(value[1:]) == (0, 0)


def _source(layer: Settings, nodes: object) -> str:
    """The name of the layer that this one reads."""
    if not isinstance(nodes, list) or len(nodes) != 1:
        layer.refuse("it is used several times, or never.", "Shared layers cannot be loaded.")
    (node,) = nodes
    tensors: list[Any] = []
    options: Any = {}
    if isinstance(node, dict):
        arguments, options = node.get("args"), node.get("kwargs")
        for argument in arguments if _is_list(arguments) else ():
            history = argument.get("config", {}) if isinstance(argument, dict) else {}
            tensors.append(history.get("keras_history") if isinstance(history, dict) else None)
    elif isinstance(node, list) and len(node) == 1 and isinstance(node[0], list) and len(node[0]) == 4:
        *tensor, options = node[0]  # as Keras 2 writes it
        tensors.append(tensor)
    if len(tensors) != 1 or not _is_tensor(tensors[0]) or not isinstance(options, dict):
        layer.refuse("it reads something else than the output of one layer.", "Only a chain of layers can be loaded.")
    for key, value in options.items():
        if value not in _KEPT_OUT.get(key, ()):
            layer.refuse(f"it is called with `{key}`={shown(value)}, which cannot be loaded.")
    return str(tensors[0][0])


def _function(value: object) -> str:
    """An activation as it is written, or the name in its entry."""
    if isinstance(value, dict):
        value = value.get("registered_name") or value.get("config") or value.get("class_name")
    return shown(value)
