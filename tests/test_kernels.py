"""Kernels read no number that is not theirs and write none: canaries around outputs, unreadable pages around inputs."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from guards import GuardedMemory

import numrnn
from numrnn.engine import dense, forward
from numrnn.kernels import peak
from numrnn.kernels.simd import LANES_NUMPY
from numrnn.kernels.tile import ROWS, VECTORS, full_product, outer_product

CANARY = 12345.0
SIZES = (1, 2, 3, 5, 6, 7, 15, 16, 17, 31, 33, 63, 64, 65)
DTYPES = (np.dtype("f4"), np.dtype("f8"))


def with_canaries(shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """An array inside a larger one whose margins are canaries; returns both."""
    size = int(np.prod(shape))
    whole = np.full(size + 128, CANARY, dtype)
    return whole[64 : 64 + size].reshape(shape), whole


def random_case(rng: np.random.Generator) -> tuple[str, int, int, int, int]:
    cell = str(rng.choice(["LSTM", "GRU", "RNN"]))
    n, i, h = (int(rng.choice(SIZES)) for _ in range(3))
    return cell, int(rng.integers(1, 5)), n, i, h


needs_mprotect = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")


@needs_mprotect
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_outside_the_results_is_written(dtype: np.dtype, rng: np.random.Generator) -> None:
    guard = GuardedMemory()
    for _ in range(120):
        cell, t, n, i, h = random_case(rng)
        layer = getattr(numrnn, cell)(i, h, dtype=dtype, seed=1, batch_first=bool(rng.integers(2)))
        shape = (n, t, i) if layer.batch_first else (t, n, i)
        x = rng.standard_normal(shape).astype(dtype)
        guard.at_end = bool(rng.integers(2))
        with guard.around_everything():
            result, pullback = layer.vjp(x)
            pullback(np.ones_like(result.output))
            layer.last(x)
        assert guard.check() > 3


@needs_mprotect
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("at_end", [True, False])
def test_nothing_outside_the_inputs_is_read(dtype: np.dtype, at_end: bool, rng: np.random.Generator) -> None:
    guard = GuardedMemory()
    guard.at_end = at_end
    for _ in range(60):
        cell, t, n, i, h = random_case(rng)
        layer = getattr(numrnn, cell)(i, h, dtype=dtype, seed=1)
        x, h_0, d_output = (
            guard.copy(rng.standard_normal(shape).astype(dtype)) for shape in ((t, n, i), (1, n, h), (t, n, h))
        )
        state = (h_0, h_0) if cell == "LSTM" else h_0
        _, pullback = layer.vjp(x, state)
        pullback(d_output, d_h_n=h_0)
        linear = dense.DensePanels(np.ones((h, i), dtype), None)
        rows = x.reshape(t * n, i)
        assert dense.forward(linear, rows, n_threads=1).shape == (t * n, h)
        dense.backward(linear, rows, d_output.reshape(t * n, h), x_gradient=True, n_threads=1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_outer_product_is_a_matrix_product(dtype: np.dtype, rng: np.random.Generator) -> None:
    for vectors in range(1, VECTORS + 1):
        columns = vectors * LANES_NUMPY[dtype]
        left, right = rng.standard_normal((37, ROWS)).astype(dtype), rng.standard_normal((37, columns)).astype(dtype)
        found, whole = with_canaries((ROWS, columns), dtype)
        outer_product(vectors, found.ravel(), left.ravel(), 0, right.ravel(), 0, 37)
        np.testing.assert_allclose(found, left.astype("f8").T @ right, rtol=0, atol=200 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(whole[:64], CANARY)
        np.testing.assert_array_equal(whole[-64:], CANARY)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_of_a_tile_does_not_know_its_neighbours(dtype: np.dtype, rng: np.random.Generator) -> None:
    """Each number of rows gives each row the same bits."""
    from numrnn.kernels.tile import ROW_FIELDS, ROW_H, ROW_X

    line, x_size, h_size = VECTORS * LANES_NUMPY[dtype], 19, 23
    x, h = rng.standard_normal((ROWS, x_size)).astype(dtype), rng.standard_normal((ROWS, h_size)).astype(dtype)
    panel = rng.standard_normal((1 + x_size + h_size, line)).astype(dtype)
    table = np.zeros((ROWS, ROW_FIELDS), np.int64)
    table[:, ROW_X], table[:, ROW_H] = np.arange(ROWS) * x_size, np.arange(ROWS) * h_size
    results = []
    for rows in range(1, ROWS + 1):
        found, whole = with_canaries((rows, line), dtype)
        full_product(
            rows, found.ravel(), 0, line, panel.ravel(), 0, 0, table.ravel(), 0,
            x.ravel(), ROW_X, 0, x_size, h.ravel(), ROW_H, 0, h_size, panel.ravel(), line,
        )  # fmt: skip
        np.testing.assert_array_equal(whole[-64:], CANARY)
        results.append(found)
    expected = panel[0] + x.astype("f8") @ panel[1 : 1 + x_size] + h.astype("f8") @ panel[1 + x_size :]
    np.testing.assert_allclose(results[-1], expected, rtol=0, atol=200 * np.finfo(dtype).eps)
    for found in results:
        np.testing.assert_array_equal(found, results[-1][: len(found)])


def test_a_read_only_input_reaches_the_kernels_without_a_copy() -> None:
    x = np.arange(6.0)
    x.flags.writeable = False
    flat = forward.flat(x)
    assert flat.flags.writeable
    assert np.shares_memory(flat, x)


def test_the_peak_is_a_rate() -> None:
    assert 0.1 < peak.measure(1, bursts=1, steps=1000) < 1e5
