"""The cells that a demo can be run with, and their first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numrnn
from numrnn.nn.model import SequenceModel
from numrnn.training.data import layers_of
from numrnn.training.progress import announce_compilation

__all__ = ["CELLS", "compile_kernels"]

CELLS: dict[str, Callable[..., Any]] = {"lstm": numrnn.LSTM, "gru": numrnn.GRU, "rnn": numrnn.RNN}


def compile_kernels(model: SequenceModel, x: NDArray[np.float32], n_threads: int) -> None:
    """Make every kernel of forward and backward, and say so where that takes long."""
    announce_compilation({layer.signature.cell for layer in layers_of(model)})
    prediction, pullback = model.vjp(x, n_threads=n_threads)
    pullback(np.zeros_like(prediction), x_gradient=False)
