"""The mean and the maximum over valid steps: NumPy row by row, where gradients go, NaN, empty rows, bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn.engine.pooling import Pool

Rng = np.random.Generator
pools = pytest.mark.parametrize("readout_on", ["mean", "max"])


def make(readout_on: str, *, dtype: str = "float64", **options: Any) -> Any:
    """3 features in, the pooled states themselves out: two directions of 5 units."""
    layer = numrnn.GRU(3, 5, bidirectional=True, dtype=dtype, seed=1, **options)
    return numrnn.SequenceModel(layer, None, readout_on=readout_on)


def pool_of(layout: str, lengths: Any, seq_len: int, features: int) -> Pool:
    """The pool of rows in one of the three layouts that a layer's output has."""
    n, lengths = len(lengths), np.asarray(lengths)
    if layout == "rows":
        return Pool(np.cumsum(lengths) - lengths, 1, lengths, (int(lengths.sum()), features))
    if layout == "batch first":
        return Pool(np.arange(n) * seq_len, 1, lengths, (n, seq_len, features))
    return Pool(np.arange(n), n, lengths, (seq_len, n, features))


def laid_out(layout: str, rows: list[Any], seq_len: int) -> Any:
    """The rows in a layout, NaN where nothing is."""
    if layout == "rows":
        return np.concatenate(rows)
    return numrnn.pad_sequence([*rows, np.zeros((seq_len, rows[0].shape[1]))], layout == "batch first", np.nan)[
        slice(None) if layout == "time first" else slice(-1), : -1 if layout == "time first" else None
    ].copy()


@pools
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["rows", "batch first", "time first"])
def test_every_layout_gives_the_bits_of_each_row_alone(rng: Rng, readout_on: str, dtype: str, layout: str) -> None:
    for _ in range(20):
        seq_len, features = int(rng.integers(1, 40)), int(rng.integers(1, 40))
        lengths = rng.integers(0, seq_len + 1, int(rng.integers(1, 9)))
        rows = [rng.standard_normal((length, features)).astype(dtype) for length in lengths]
        steps, pool = laid_out(layout, rows, seq_len).astype(dtype), pool_of(layout, lengths, seq_len, features)
        out = pool.mean(steps) if readout_on == "mean" else pool.max(steps)[0]
        for row, given in zip(out, rows, strict=True):
            if not len(given):
                expected = np.zeros(features, dtype)
            elif readout_on == "max":
                expected = given.max(0)
            else:
                total = np.zeros(features)
                for step in given:
                    total += step
                expected = (total / len(given)).astype(dtype)
            assert row.dtype == dtype
            np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("layout", ["rows", "batch first", "time first"])
def test_adjoints_are_those_of_each_row(rng: Rng, layout: str) -> None:
    """The mean gives every step an equal share, the maximum all to the first that attains it; padding gets 0."""
    lengths, seq_len, features = [4, 0, 6, 1], 6, 5
    rows = [rng.integers(0, 3, (length, features)).astype(float) for length in lengths]  # ties abound
    steps, pool = laid_out(layout, rows, seq_len), pool_of(layout, lengths, seq_len, features)
    d_out = rng.standard_normal((len(rows), features))
    where = pool.max(steps)[1]
    for d_steps, of_row in (
        (pool.mean_backward(d_out), lambda row, d: np.tile(d / len(row), (len(row), 1))),
        (
            pool.max_backward(d_out, where),
            lambda row, d: np.where(np.arange(len(row))[:, None] == row.argmax(0), d, 0.0) if len(row) else row,
        ),
    ):
        expected = [of_row(row, d) if len(row) else row for row, d in zip(rows, d_out, strict=True)]
        np.testing.assert_array_equal(d_steps, np.nan_to_num(laid_out(layout, expected, seq_len)))


@pools
def test_a_row_of_no_step_gives_zeros_and_passes_no_gradient(rng: Rng, readout_on: str) -> None:
    model, x = make(readout_on), rng.standard_normal((4, 3, 3))
    state = rng.standard_normal((2, 3, 5))
    prediction, pullback = model.vjp(x, state, lengths=[2, 0, 4])
    assert not prediction[1].any()
    gradients = pullback(np.ones_like(prediction))
    assert not gradients.x[:, 1].any()
    assert not gradients.h_0[:, 1].any()
    assert gradients.x[:2, 0].any()
    nothing, nothing_back = model.vjp(x, state, lengths=[0, 0, 0])
    assert not nothing.any()
    assert not any(value.any() for value in nothing_back(nothing + 1.0).parameters.values())


@pools
def test_nan_in_a_valid_step_shows_and_in_padding_does_not(rng: Rng, readout_on: str) -> None:
    model, x = make(readout_on), rng.standard_normal((5, 3, 3))
    expected = model(x, lengths=[3, 5, 4])
    x[3:, 0] = np.nan
    np.testing.assert_array_equal(model(x, lengths=[3, 5, 4]), expected)
    x[2, 1, 0] = np.nan
    prediction = model(x, lengths=[3, 5, 4])
    assert np.isnan(prediction[1]).all()
    np.testing.assert_array_equal(prediction[[0, 2]], expected[[0, 2]])


@pools
def test_neighbours_padding_and_threads_change_no_bit(rng: Rng, readout_on: str) -> None:
    model = make(readout_on, dtype="float32")
    rows = [rng.standard_normal((length, 3)) for length in (40, 33, 1, 17, 25, 40, 8)]
    alone = np.stack([model(row) for row in rows])
    lengths = [len(row) for row in rows]
    for n_threads in (1, 2):
        np.testing.assert_array_equal(model(rows, n_threads=n_threads), alone)
        np.testing.assert_array_equal(
            model(numrnn.pad_sequence(rows, False, np.nan), lengths=lengths, n_threads=n_threads), alone
        )
    np.testing.assert_array_equal(model(numrnn.pack_sequence(rows, enforce_sorted=False)), alone)
    long = np.concatenate([numrnn.pad_sequence(rows), np.full((9, 7, 3), np.inf)])
    np.testing.assert_array_equal(model(long, lengths=lengths), alone)


def test_a_long_mean_in_single_precision_is_exact_to_the_last_bit(rng: Rng) -> None:
    steps = (1.0 + rng.random((300_000, 2))).astype(np.float32)
    pool = pool_of("rows", [len(steps)], len(steps), 2)
    np.testing.assert_array_equal(pool.mean(steps)[0], steps.mean(0, dtype=np.float64).astype(np.float32))


def test_a_wrong_cotangent_is_explained() -> None:
    prediction, pullback = make("mean").vjp(np.zeros((4, 3, 3)))
    with pytest.raises(ValueError, match=r"`d_prediction` has shape \(3,\), expected \(3, 10\)"):
        pullback(prediction[:, 0])
