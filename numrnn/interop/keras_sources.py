"""Where the arrays of a Keras model come from: a file's groups, or the layers of a live model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn.interop.keras_config import Settings
from numrnn.interop.keras_errors import shown

__all__ = ["FileWeights", "LiveWeights"]


class FileWeights:
    """Arrays of a file, each of which must be asked for once."""

    def __init__(self, head: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._head = head
        self._arrays = arrays
        self._unread = set(arrays)

    def fetch(self, layer: Settings, groups: Sequence[str], per_group: int) -> list[NDArray[Any]]:
        """All arrays of a layer."""
        paths = [
            "/".join(filter(None, (layer.store, group, "vars", str(k)))) for group in groups for k in range(per_group)
        ]
        for path in paths:
            if path not in self._arrays:
                layer.refuse(f"its weights layers/{path} are missing.")
        self._unread.difference_update(paths)
        return [self._arrays[path] for path in paths]

    def finish(self) -> None:
        """Raise if the file has weights that no layer asked for."""
        if self._unread:
            first, others = min(self._unread), len(self._unread) - 1
            more = f" and {others} more" if others else ""
            raise ValueError(explain(self._head, f"weights that belong to no layer: {shown(f'layers/{first}')}{more}."))


class LiveWeights:
    """Arrays of a model's layers, found by the layers' names."""

    def __init__(self, layers: Mapping[str, Any]) -> None:
        self._layers = layers

    def fetch(self, layer: Settings, groups: Sequence[str], per_group: int) -> list[NDArray[Any]]:
        """All arrays of a layer."""
        if layer.name not in self._layers:
            layer.refuse("the model has no layer of this name.")
        arrays = [np.asarray(array) for array in self._layers[layer.name].get_weights()]
        expected = len(groups) * per_group
        if len(arrays) != expected:
            advice = "A model has weights once it was built, or called on data."
            layer.refuse(f"it has {len(arrays)} arrays of weights, expected {expected}.", advice)
        return arrays
