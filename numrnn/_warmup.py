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
from numrnn.nn.recurrent import Recurrent

__all__ = ["warmup"]

_LAYERS: dict[str, Any] = {
    "lstm": LSTM,
    "gru": GRU,
    "gru_reset_before": partial(GRU, reset_after=False),
    "rnn": RNN,
    "rnn_relu": partial(RNN, nonlinearity="relu"),
}
_DTYPES = ("float32", "float64")

# (T, N, I, H): one sequence, which runs on one thread, and enough work to be shared among threads
_SIZES = ((3, 1, 5, 8), (20, 64, 48, 64))


def warmup(
    cells: str | type[Recurrent] | Iterable[str | type[Recurrent]] = ("lstm", "gru", "rnn"),
    dtypes: Any = ("float32",),
    training: bool = True,
) -> None:
    """Compile the kernels that later calls need, or load them from the cache.

    Parameters
    ----------
    cells : str, class, or iterable of them
        Of "lstm", "gru", "gru_reset_before" (a GRU with reset_after=False), "rnn" (tanh) and "rnn_relu"; classes that
        `numrnn.cells.define` made.
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
    one thread and, unless `numrnn.set_num_threads(1)` was called, those that run on several. Not those of
    `numrnn.jit.step`, which are compiled with the function that calls it.

    Examples
    --------
    >>> import numrnn
    >>> numrnn.warmup(cells="rnn", training=False)
    """
    for cell in _several(cells, "cells", tuple(_LAYERS)):
        make, name = (_LAYERS[cell], cell) if isinstance(cell, str) else (cell, cell.__name__)
        for dtype in _several(dtypes, "dtypes", _DTYPES):
            passes = "forward and backward" if training else "forward"
            print(f"numrnn: compiling kernels: {name} {dtype} {passes} ...", end=" ", file=sys.stderr, flush=True)
            start = time.perf_counter()
            for sizes in _SIZES:
                for n_threads in sorted({1, get_num_threads()}):
                    _run(make, dtype, sizes, n_threads, training)
            print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def _run(make: Any, dtype: str, sizes: tuple[int, int, int, int], n_threads: int, training: bool) -> None:
    """One call of each public way through a layer."""
    seq_len, batch_size, input_size, hidden_size = sizes
    layer = make(input_size, hidden_size, dtype=dtype, seed=0)
    x = np.zeros((seq_len, batch_size, input_size), dtype)
    layer(x, n_threads=n_threads)
    layer.last(x, n_threads=n_threads)
    if training:
        result, pullback = layer.vjp(x, n_threads=n_threads)
        pullback(d_output=np.zeros_like(result.output))


def _several(given: Any, argument: str, known: tuple[str, ...]) -> list[Any]:
    """Read one name or several; dtypes in any form that NumPy knows, cells also as classes."""
    items = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    names = []
    for item in items:
        try:
            name = np.dtype(item).name if argument == "dtypes" else item
        except TypeError:
            name = item
        a_class = argument == "cells" and isinstance(item, type) and issubclass(item, Recurrent)
        if not a_class and name not in known:
            raise ValueError(f"warmup: `{argument}` has {item!r}, expected names of {', '.join(known)}.")
        names.append(name)
    return names
