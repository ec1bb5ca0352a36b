"""`.keras` files that Keras wrote, and what becomes of them when their parts are changed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

FOLDER = Path(__file__).parent / "data" / "keras"
SEQUENTIAL, GRAPH = "rnn_relu_two_layers", "lstm_graph_float64"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"

RNN, DROPOUT, SECOND, DENSE = 1, 2, 3, 4
"""Layers of SEQUENTIAL; of GRAPH, whose time-distributed layer is DENSE_OF_GRAPH."""
LSTM, DENSE_OF_GRAPH = 1, 2


def golden(name: str) -> Path:
    return FOLDER / f"{name}.keras"


def members(name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(golden(name)) as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def write(path: Path, parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def changed(
    path: Path,
    name: str,
    config: Callable[[list[Any], dict[str, Any]], Any] | None = None,
    weights: Callable[[h5py.File], Any] | None = None,
) -> Path:
    """A golden file; `config` is given its layers and its whole configuration, `weights` its HDF5 file, to change."""
    parts = members(name)
    if config is not None:
        whole = json.loads(parts[CONFIG])
        config(whole["config"]["layers"], whole)
        parts[CONFIG] = json.dumps(whole).encode()
    if weights is not None:
        data = io.BytesIO(parts[WEIGHTS])
        with h5py.File(data, "r+") as file:
            weights(file)
        parts[WEIGHTS] = data.getvalue()
    return write(path, parts)
