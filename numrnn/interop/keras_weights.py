"""The weights of a `.keras` file: arrays of an HDF5 file, read without following anything out of it."""

from __future__ import annotations

import importlib
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain
from numrnn.engine.memory import readable
from numrnn.interop.keras_errors import said, shown

__all__ = ["h5py_for", "read_weights"]

_ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""Groups that hold the layers' weights; the second in files of Keras 2."""

_MOST_OBJECTS, _MOST_DEPTH = 2_000, 8
_RANDOM_STATE = "seed_generator"


def h5py_for(head: str) -> Any:
    """Return the h5py module."""
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise ImportError(f'{head}: files of Keras need h5py: pip install "numrnn[keras]"') from error


def read_weights(head: str, data: io.BytesIO) -> dict[str, NDArray[Any]]:
    """Return the arrays of all layers by path, `lstm_1/cell/vars/0`.

    ValueError for what is no plain array of numbers inside the file. Attributes are not read: they may refer to text of
    any size.
    """
    h5py = h5py_for(head)
    try:
        with h5py.File(data, "r") as file:
            root = next((name for name in _ROOTS if name in file), None)
            if root is None:
                raise ValueError("it has no group `layers`")
            return _Reader(h5py, data.getbuffer().nbytes).read(file, root)
    except Exception as error:  # of damaged files h5py says so in a dozen types
        raise ValueError(explain(head, f"its model.weights.h5 cannot be read: {said(error)}.")) from error


class _Reader:
    """One walk through a file."""

    def __init__(self, h5py: Any, n_bytes: int) -> None:
        self._h5py = h5py
        self._bytes_left = n_bytes
        self._objects_left = _MOST_OBJECTS
        self._found: dict[str, NDArray[Any]] = {}

    def read(self, file: Any, root: str) -> dict[str, NDArray[Any]]:
        group = self._open(file, root, root)
        if not isinstance(group, self._h5py.Group):
            raise ValueError(f"{root} is no group")
        self._walk(group, ())
        return self._found

    def _walk(self, group: Any, path: tuple[str, ...]) -> None:
        if len(path) == _MOST_DEPTH:
            raise ValueError(f"groups are nested deeper than {_MOST_DEPTH}")
        for name in group:
            self._objects_left -= 1
            if self._objects_left < 0:
                raise ValueError(f"it has over {_MOST_OBJECTS} groups and arrays")
            inner = (*path, name)
            place = "/".join(inner)
            item = self._open(group, name, shown(place))
            if isinstance(item, self._h5py.Group):
                self._walk(item, inner)
            elif not isinstance(item, self._h5py.Dataset):
                raise ValueError(f"{shown(place)} is neither a group nor an array")
            elif _RANDOM_STATE not in path:
                self._found[place] = self._array(item, shown(place))

    def _open(self, group: Any, name: str, place: str) -> Any:
        link = group.get(name, getlink=True)
        if not isinstance(link, self._h5py.HardLink):
            raise ValueError(f"{place} is a link ({type(link).__name__}), and links are not followed")
        return group[name]

    def _array(self, dataset: Any, place: str) -> NDArray[Any]:
        settings, plain = dataset.id.get_create_plist(), (self._h5py.h5d.CONTIGUOUS, self._h5py.h5d.COMPACT)
        if settings.get_external_count():
            raise ValueError(f"{place} has its numbers in another file")
        if settings.get_layout() not in plain:
            raise ValueError(f"{place} is stored in pieces or virtual, and Keras stores arrays in one piece")
        dtype, shape = dataset.dtype, dataset.shape
        if shape is None:
            raise ValueError(f"{place} holds nothing")
        if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
            raise ValueError(f"{place} holds {dtype}, expected float16, float32 or float64")
        declared, stored = dtype.itemsize * math.prod(shape), dataset.id.get_storage_size()
        if declared != stored:
            raise ValueError(f"{place} {shape} would have {readable(declared)}, and {readable(stored)} are stored")
        self._bytes_left -= declared
        if self._bytes_left < 0:
            raise ValueError(f"its arrays, {place} {shape} among them, would have more bytes than the file")
        return np.asarray(dataset[()])
