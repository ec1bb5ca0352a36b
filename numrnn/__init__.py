"""Recurrent networks on NumPy arrays: RNN, LSTM and GRU, forward and backward, compiled by Numba.

>>> import numpy as np
>>> import numrnn
>>> lstm = numrnn.LSTM(input_size=4, hidden_size=8)
>>> output, (h_n, c_n) = lstm(np.zeros((10, 3, 4)))
>>> output.shape, h_n.shape, c_n.shape
((10, 3, 8), (1, 3, 8), (1, 3, 8))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from numrnn import jit
from numrnn._threads import get_num_threads, set_num_threads
from numrnn.nn.cells import GRUCell, LSTMCell, RNNCell
from numrnn.nn.layers import GRU, LSTM, RNN
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel
from numrnn.nn.packed import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)
from numrnn.nn.reversed import Reversed

if TYPE_CHECKING:
    from numrnn import callbacks, cells, losses, optim
    from numrnn._info import info
    from numrnn._warmup import warmup
    from numrnn.interop.keras_import import from_keras
    from numrnn.interop.onnx_export import to_onnx
    from numrnn.interop.onnx_import import from_onnx
    from numrnn.interop.saving import load, save
    from numrnn.interop.torch_weights import from_torch
    from numrnn.training import History, fit

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "History",
    "LSTMCell",
    "Linear",
    "PackedSequence",
    "RNNCell",
    "Reversed",
    "SequenceModel",
    "__version__",
    "callbacks",
    "cells",
    "fit",
    "from_keras",
    "from_onnx",
    "from_torch",
    "get_num_threads",
    "info",
    "jit",
    "load",
    "losses",
    "optim",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "save",
    "set_num_threads",
    "to_onnx",
    "unpack_sequence",
    "unpad_sequence",
    "warmup",
]

__version__ = "0.1.0"

_ON_FIRST_USE = {
    "History": "numrnn.training",
    "callbacks": "numrnn.callbacks",
    "cells": "numrnn.cells",
    "dask": "numrnn.dask",
    "fit": "numrnn.training",
    "from_keras": "numrnn.interop.keras_import",
    "from_onnx": "numrnn.interop.onnx_import",
    "from_torch": "numrnn.interop.torch_weights",
    "info": "numrnn._info",
    "load": "numrnn.interop.saving",
    "losses": "numrnn.losses",
    "onnx_backend": "numrnn.onnx_backend",
    "optim": "numrnn.optim",
    "plot": "numrnn.plot",
    "save": "numrnn.interop.saving",
    "sklearn": "numrnn.sklearn",
    "to_onnx": "numrnn.interop.onnx_export",
    "torch": "numrnn.torch",
    "warmup": "numrnn._warmup",
}
"""What most programs never ask for, and its module: a module of that name, or what has that name in it."""


def __getattr__(name: str) -> Any:
    """Import what is asked for the first time."""
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_ON_FIRST_USE[name])
    value = globals()[name] = getattr(module, name, module)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ON_FIRST_USE, *(name for name in globals() if name.startswith("__"))})
