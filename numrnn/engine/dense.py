"""Dense products over rows, through the recurrence's tile and order of sums: what `Linear` computes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numrnn import _jit
from numrnn.engine.buffers import aligned, flat
from numrnn.engine.geometry import FLOPS_A_LAUNCH
from numrnn.engine.panels import started_panels
from numrnn.engine.plan import FLOPS_A_THREAD
from numrnn.engine.weight_gradient import Found, Right, WeightGradient
from numrnn.kernels import dense as kernels
from numrnn.kernels import launch, products
from numrnn.kernels.simd import LANES_NUMPY
from numrnn.kernels.tile import ROW_FIELDS, ROW_RANK, ROW_X, ROWS, VECTORS

Array = NDArray[Any]

_CHUNK = 8 * products.K_BLOCK  # rows whose operand is packed at a time: whole blocks, so that the order of sums holds


class DensePanels:
    """The weight (out_features, in_features) and bias (out_features,) of a dense layer, packed on first use."""

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.weight = weight
        self.bias = bias
        self._forward: Array | None = None
        self._backward: Array | None = None

    def forward(self) -> Array:
        """Panels over the output features."""
        if self._forward is None:
            self._forward = _panels(self.weight.T, self.bias)
        return self._forward

    def backward(self) -> Array:
        """Panels over the input features."""
        if self._backward is None:
            self._backward = _panels(self.weight, None)
        return self._backward


def _panels(weight: Array, start: Array | None) -> Array:
    strips = started_panels(weight, start)
    panels = aligned(strips.size, weight.dtype)
    panels[: strips.size] = strips
    return panels


@lru_cache(maxsize=64)
def _request(steps: int, rows_in_table: int) -> NDArray[np.int64]:
    request = np.zeros(kernels.DENSE_FIELDS + rows_in_table * ROW_FIELDS, np.int64)
    request[kernels.DENSE_STEPS] = steps
    table = request[kernels.DENSE_FIELDS :].reshape(rows_in_table, ROW_FIELDS)
    table[:, ROW_X] = np.arange(rows_in_table) * steps
    table[:, ROW_RANK] = np.arange(rows_in_table)
    return request


def _tasks(rows: int, weights: int, n_threads: int) -> int:
    return max(1, min(n_threads, rows, int(2 * rows * weights / FLOPS_A_THREAD)))


def _multiply(x: Array, panels: Array, columns: int, n_threads: int) -> Array:
    rows, steps = x.shape
    y = np.empty((rows, columns), x.dtype)
    if y.size == 0:
        return y
    request = _request(steps, ROWS).copy()
    block = max(ROWS, int(FLOPS_A_LAUNCH / (2 * steps * columns)))
    n_tasks = _tasks(min(rows, block), steps * columns, n_threads)
    scratch = aligned(n_tasks * ROWS * VECTORS * LANES_NUMPY[x.dtype], x.dtype)
    for begin in range(0, rows, block):
        part = slice(begin, min(begin + block, rows))
        count = part.stop - begin
        request[kernels.DENSE_N_TASKS], request[kernels.DENSE_ROWS] = n_tasks, count
        request[kernels.DENSE_COLUMNS] = columns
        launch.run(launch.DENSE, n_tasks, request, flat(x[part]), panels, flat(y[part]), scratch)
    return y


def forward(panels: DensePanels, x: Array, *, n_threads: int) -> Array:
    """x (rows, in_features) -> (rows, out_features)."""
    if _jit.DISABLED:
        y: Array = x @ panels.weight.T
        return y if panels.bias is None else y + panels.bias
    return _multiply(x, panels.forward(), panels.weight.shape[0], n_threads)


def backward(
    panels: DensePanels, x: Array, d_y: Array, *, x_gradient: bool, n_threads: int
) -> tuple[Array | None, Array, Array | None]:
    """Return the gradients of x, the weight and the bias."""
    if _jit.DISABLED:
        d_x = d_y @ panels.weight if x_gradient else None
        return d_x, d_y.T @ x, None if panels.bias is None else d_y.sum(0)
    d_x = _multiply(d_y, panels.backward(), x.shape[1], n_threads) if x_gradient else None
    d_weight, d_bias = _weight_gradient(x, d_y, n_threads)
    return d_x, d_weight, None if panels.bias is None else d_bias


def _weight_gradient(x: Array, d_y: Array, n_threads: int) -> tuple[Array, Array]:
    """d_y^T @ x and the column sums of d_y, block by block of rows from the last."""
    (rows, columns), width = x.shape, d_y.shape[1]
    n_tasks = min(-(-width // ROWS), _tasks(rows, width * columns, n_threads))
    scratch, *requests = _gradient_requests(LANES_NUMPY[x.dtype], columns, width, min(rows, _CHUNK), n_tasks)
    pack, request = (kept.copy() for kept in requests)
    arena = aligned(scratch, x.dtype)
    found = (np.empty if rows else np.zeros)(width * (columns + 1), x.dtype)
    for begin in reversed(range(0, rows, _CHUNK)):
        lines = min(_CHUNK, rows - begin)
        pack[kernels.DENSE_BEGIN], pack[kernels.DENSE_ROWS] = begin, lines
        kernels.dense_pack(pack, flat(x), arena)
        request[products.WG_LINES], request[products.WG_ADD] = lines, begin + lines < rows
        request[products.WG_LEFT_AT] = begin * width
        launch.run(launch.WEIGHT_GRADIENT, n_tasks, request, flat(d_y), arena, found)
    return found[: width * columns].reshape(width, columns), found[width * columns :]


@lru_cache(maxsize=64)
def _gradient_requests(
    lanes: int, columns: int, width: int, chunk: int, n_tasks: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """The size of the scratch, and what the kernels are told of a chunk: how to pack it, what to multiply."""
    rights = (Right(columns, Found(0, 0, width)),)
    bias = (Found(width * columns, 0, width),)
    scratch = WeightGradient.place(0, lanes, width, chunk, rights, bias, n_tasks)
    pack = _request(columns, chunk).copy()
    pack[kernels.DENSE_RIGHT_AT] = scratch.operands[0]
    return scratch.end, pack, scratch.request(0, width)
