"""Compiling before the first real call: in a service's start, or while a container image is built."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from numrnn._threads import get_num_threads
from numrnn.nn.layers import GRU, LSTM, RNN

__all__ = ["warmup"]

_LAYERS: dict[str, Any] = {
    "lstm": LSTM,
    "gru": GRU,
    "rnn": RNN,
    "rnn_relu": partial(RNN, nonlinearity="relu"),
}
_DTYPES = ("float32", "float64")

# (T, N, I, H): one sequence, which runs on one thread, and enough work to be shared among threads
_SIZES = ((3, 1, 5, 8), (20, 64, 48, 64))


def warmup(
    cells: str | Iterable[str] = ("lstm", "gru", "rnn"), dtypes: Any = ("float32",), training: bool = True
) -> None:
    """Compile the kernels that later calls need, or load them from the cache.

    Parameters
    ----------
    cells : str or iterable of str
        Of "lstm", "gru", "rnn" (tanh) and "rnn_relu".
    dtypes : dtype or iterable of dtype
        Of float32 and float64.
    training : bool
        Whether the backward kernels are wanted too.

    Raises
    ------
    ValueError
        A cell or dtype of another name.

    Notes
    -----
    Says on stderr what it does and how long it took. Kernels are compiled for the processor at hand: those that run on
    one thread and, unless `numrnn.set_num_threads(1)` was called, those that run on several.

    Examples
    --------
    >>> import numrnn
    >>> numrnn.warmup(cells="rnn", training=False)
    """
    for cell in _several(cells, "cells", tuple(_LAYERS)):
        for dtype in _several(dtypes, "dtypes", _DTYPES):
            passes = "forward and backward" if training else "forward"
            print(f"numrnn: compiling kernels: {cell} {dtype} {passes} ...", end=" ", file=sys.stderr, flush=True)
            start = time.perf_counter()
            for sizes in _SIZES:
                for n_threads in sorted({1, get_num_threads()}):
                    _run(cell, dtype, sizes, n_threads, training)
            print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _run(cell: str, dtype: str, sizes: tuple[int, int, int, int], n_threads: int, training: bool) -> None:
    """One call of each public way through a layer."""
    seq_len, batch_size, input_size, hidden_size = sizes
    layer = _LAYERS[cell](input_size, hidden_size, dtype=dtype, seed=0)
    x = np.zeros((seq_len, batch_size, input_size), dtype)
    layer(x, n_threads=n_threads)
    layer.last(x, n_threads=n_threads)
    if training:
        result, pullback = layer.vjp(x, n_threads=n_threads)
        pullback(d_output=np.zeros_like(result.output))


def _several(given: Any, argument: str, known: tuple[str, ...]) -> list[str]:
    """Read one name or several; dtypes in any form that NumPy knows."""
    items = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    names = []
    for item in items:
        try:
            name = np.dtype(item).name if argument == "dtypes" else item
        except TypeError:
            name = item
        if name not in known:
            raise ValueError(f"warmup: `{argument}` has {item!r}, expected names of {', '.join(known)}.")
        names.append(name)
    return names
