"""A model over a chunked array gives the bits of the undivided call, for any chunks and schedulers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from documents import ROOT

import numrnn
from numrnn import Linear, Reversed, SequenceModel

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

T, N, I, H = 23, 7, 5, 9
CELLS = ("RNN", "LSTM", "GRU")
READOUTS = ("last", "every", "mean", "max")


def random_cut(size: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Chunks of random sizes, now and then an empty one."""
    cuts = np.sort(rng.integers(0, size + 1, rng.integers(0, 5)))
    return tuple(int(b - a) for a, b in pairwise([0, *cuts, size]))


def chunked(x: np.ndarray, times: Any, batches: Any, batch_first: bool = False) -> Any:
    return da.from_array(x, chunks=(batches, times, -1) if batch_first else (times, batches, -1))


def equal(lazy: Any, expected: Any, scheduler: str = "sync") -> None:
    """Nested results, number by number, and what the lazy ones said of themselves before."""
    with ThreadPoolExecutor(2) as pool:  # Dask's own would outlive the test
        computed = dask.compute(lazy, scheduler=scheduler, pool=pool)[0]

    def compare(lazy: Any, computed: Any, expected: Any) -> None:
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(computed, expected)
            assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
            assert computed.dtype == expected.dtype
        else:
            assert isinstance(lazy, type(expected))
            for parts in zip(lazy, computed, expected, strict=True):
                compare(*parts)

    compare(lazy, computed, expected)


def lengths_of(kind: str, rng: np.random.Generator) -> np.ndarray | None:
    return None if kind == "full" else np.array([0, T, *rng.integers(0, T + 1, N - 2)])


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("lengths", ["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_over_chunks_has_the_bits_of_the_whole(
    cell: str, lengths: str, scheduler: str, rng: np.random.Generator
) -> None:
    for batch_first in (False, True):
        layer = getattr(numrnn, cell)(I, H, num_layers=2, batch_first=batch_first, seed=1)
        x = rng.standard_normal((N, T, I) if batch_first else (T, N, I))
        own = lengths_of(lengths, rng)
        result = layer(x, lengths=own)
        for times, batches in (
            (T, N),
            (1, 3),
            (random_cut(T, rng), random_cut(N, rng)),
            (random_cut(T, rng), (N,)),
        ):
            lazy = chunked(x, times, batches, batch_first)
            output, state = numrnn.dask.predict(layer, lazy, lengths=own, return_state=True)
            assert output.chunks[:2] == lazy.chunks[:2]
            equal((output, state), (result.output, result.state), scheduler)


@pytest.mark.parametrize("lengths", ["full", "ragged"])
@pytest.mark.parametrize("readout_on", READOUTS)
def test_a_model_over_chunks_has_the_bits_of_the_whole(readout_on: str, lengths: str, rng: np.random.Generator) -> None:
    for head, dtype, batch_first in ((True, "float32", False), (True, "float64", True), (False, "float32", True)):
        layers = [
            numrnn.LSTM(I, H, proj_size=4, batch_first=batch_first, dtype=dtype, seed=1),
            numrnn.GRU(4, 6, batch_first=batch_first, dtype=dtype, seed=2),
        ]
        readout = Linear(6, 3, dtype=dtype, seed=3) if head else None
        x = rng.standard_normal((N, T, I) if batch_first else (T, N, I))
        x[tuple(rng.integers(0, 5, 3))] = np.nan
        own = lengths_of(lengths, rng)
        for recurrent in (layers, [numrnn.RNN(I, 6, batch_first=batch_first, dtype=dtype, seed=4)]):
            model = SequenceModel(
                recurrent if len(recurrent) > 1 else recurrent[0],
                readout,
                readout_on=readout_on,
                learn_initial_state=True,
            )
            learned = {name: value for name, value in model.parameters.items() if name.startswith("initial_state")}
            model.set_parameters({name: rng.standard_normal(value.shape) for name, value in learned.items()})
            expected = model(x, lengths=own, return_state=True)
            for times in (T, 1, random_cut(T, rng)):
                lazy = chunked(x, times, random_cut(N, rng), batch_first)
                equal(numrnn.dask.predict(model, lazy, lengths=own, return_state=True), expected)


@pytest.mark.parametrize("readout_on", ["mean", "max"])
def test_pooled_steps_keep_signs_of_zero_and_empty_rows(readout_on: str) -> None:
    """A maximum of equal numbers is the first of them; a row without steps gives zeros, one below zero does not."""
    zero, below = np.zeros((1, 1)), np.full(1, -0.0)
    layer, falling = numrnn.RNN(1, 1), numrnn.RNN(1, 1)
    layer.set_parameters({"weight_ih_l0": zero + 1, "weight_hh_l0": -zero, "bias_ih_l0": below, "bias_hh_l0": below})
    falling.set_parameters({"weight_ih_l0": zero, "weight_hh_l0": zero, "bias_ih_l0": [-0.5], "bias_hh_l0": below})
    x = np.array([-0.0, 0.0, -1.0, 0.0, np.nan, 3.0])[:, None, None] * np.ones((1, 3, 1))
    assert np.signbit(layer(x).output[:2, 0, 0]).tolist() == [True, False]
    for recurrent in (layer, falling):
        model = SequenceModel(recurrent, None, readout_on=readout_on)
        for lengths in (None, [4, 0, 6], [2, 1, 3]):
            expected = model(x, lengths=lengths)
            found = numrnn.dask.predict(model, chunked(x, 1, 2), lengths=lengths).compute(scheduler="sync")
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_sums_beyond_the_range_are_infinite_quietly() -> None:
    layer = numrnn.RNN(1, 1, nonlinearity="relu", dtype="float64", bias=False)
    layer.set_parameters({"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.zeros((1, 1))})
    model = SequenceModel(layer, None, readout_on="mean")
    x = np.full((4, 2, 1), 1e308)
    for lengths, expected in ((None, [np.inf, np.inf]), ([1, 4], [1e308, np.inf])):
        assert model(x, lengths=lengths).ravel().tolist() == expected
        equal(numrnn.dask.predict(model, chunked(x, 2, 2), lengths=lengths), np.array(expected)[:, None])


@pytest.mark.parametrize("n_threads", [np.int64(-1), np.int8(1), -1])
def test_numbers_of_threads_are_those_that_layers_take(n_threads: Any, rng: np.random.Generator) -> None:
    layer, x = numrnn.GRU(I, H, seed=1), rng.standard_normal((T, N, I))
    expected = layer(x, n_threads=n_threads).output
    equal(numrnn.dask.predict(layer, chunked(x, 6, 3), n_threads=n_threads), expected)


def test_one_sequence_has_no_batch_axis(rng: np.random.Generator) -> None:
    x = rng.standard_normal((T, I))
    lazy = da.from_array(x, chunks=(4, -1))
    for layer in (numrnn.LSTM(I, H, seed=1), numrnn.GRU(I, H, batch_first=True, seed=1)):
        result = layer(x)
        equal(numrnn.dask.predict(layer, lazy, return_state=True), (result.output, result.state))
        for readout_on in READOUTS:
            model = SequenceModel(layer, Linear(H, 2, seed=2), readout_on=readout_on, learn_initial_state=True)
            equal(numrnn.dask.predict(model, lazy, return_state=True), model(x, return_state=True))


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_goes_on_lazily(cell: str, rng: np.random.Generator) -> None:
    """A state may be an array, one row for all, or what another prediction gives; of a list of layers some or none."""
    layer = getattr(numrnn, cell)(I, H, num_layers=2, seed=1)
    x = rng.standard_normal((T, N, I))
    lazy, whole = chunked(x, 6, 3), layer(x)
    _, lazy_state = numrnn.dask.predict(layer, lazy[:11], return_state=True)
    equal(numrnn.dask.predict(layer, lazy[11:], state=lazy_state), whole.output[11:])
    equal(numrnn.dask.predict(layer, lazy[11:].rechunk((4, 2, -1)), state=lazy_state), whole.output[11:])
    equal(numrnn.dask.predict(layer, lazy[11:], state=layer(x[:11]).state), whole.output[11:])
    h_0 = rng.standard_normal((2, 1, H))
    one_for_all = (h_0, h_0) if cell == "LSTM" else h_0
    equal(numrnn.dask.predict(layer, lazy, state=one_for_all), layer(x, one_for_all).output)
    shared = da.from_array(h_0)
    lazy_for_all = (shared, h_0) if cell == "LSTM" else shared
    equal(numrnn.dask.predict(layer, lazy, state=lazy_for_all), layer(x, one_for_all).output)
    model = SequenceModel([layer, numrnn.GRU(H, 4, seed=2)], None)
    states = [layer(x[:11]).state, None]
    lazy_states = [lazy_state, None]
    equal(
        numrnn.dask.predict(model, lazy[11:], state=lazy_states, return_state=True),
        model(x[11:], states, return_state=True),
    )


def test_layers_that_read_from_the_end_take_time_in_one_chunk(rng: np.random.Generator) -> None:
    x, lengths = rng.standard_normal((T, N, I)), np.arange(N)
    for model in (
        numrnn.LSTM(I, H, bidirectional=True, seed=1),
        Reversed(numrnn.GRU(I, H, seed=1)),
        Reversed(numrnn.RNN(I, H, seed=1), keep_order=False),
    ):
        result = model(x, lengths=lengths)
        found = numrnn.dask.predict(model, chunked(x, T, 2), lengths=lengths, return_state=True)
        equal(found, (result.output, result.state))
        stack = SequenceModel([numrnn.RNN(I, I, seed=2), model], None, readout_on="max")
        equal(numrnn.dask.predict(stack, chunked(x, T, 2), lengths=lengths), stack(x, lengths=lengths))
        for refused in (model, stack):
            with pytest.raises(
                NotImplementedError, match=r"begins at the end of a sequence.*6 chunks of time"
            ) as error:
                numrnn.dask.predict(refused, chunked(x, 4, 2))
            assert "x.rechunk({0: -1})" in str(error.value)


def test_nothing_is_computed_before_the_result(rng: np.random.Generator) -> None:
    asked: list[Any] = []

    def block(template: np.ndarray, block_id: Any = None) -> np.ndarray:
        asked.append(block_id)
        return np.full((5, 2, I), float(sum(block_id)), np.float32)

    x = da.map_blocks(block, np.zeros(0), chunks=((5,) * 4, (2,) * 3, (I,)), dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    layer = numrnn.GRU(I, H, seed=1)
    output = numrnn.dask.predict(layer, x)
    assert asked == []
    assert isinstance(output, da.Array)
    part = output[:7, 2:4].compute(scheduler="sync")
    assert sorted(asked) == [(0, 1, 0), (1, 1, 0)]  # neither later steps nor other rows
    np.testing.assert_array_equal(part, layer(x[:7, 2:4].compute(scheduler="sync")).output)


def test_weights_are_those_of_the_call(rng: np.random.Generator) -> None:
    x = rng.standard_normal((T, N, I))
    layer = numrnn.LSTM(I, H, seed=1)
    model = SequenceModel(layer, Linear(H, 2, seed=1))
    before = layer(x).output, model(x)
    lazy = numrnn.dask.predict(layer, chunked(x, 5, 3)), numrnn.dask.predict(model, chunked(x, 5, 3))
    for part in (layer, model.readout):
        part.set_parameters({name: rng.standard_normal(value.shape) for name, value in part.parameters.items()})
    equal(lazy, before)


def test_names_follow_weights_and_arguments(rng: np.random.Generator) -> None:
    x = da.from_array(rng.standard_normal((T, N, I)), chunks=(5, 3, -1))

    def name(seed: int = 1, **options: Any) -> str:
        return str(numrnn.dask.predict(SequenceModel(numrnn.GRU(I, H, seed=seed), None), x, **options).name)

    changed = numrnn.GRU(I, H, seed=1)
    changed.set_parameters({"bias_ih_l0": np.zeros(3 * H)})
    names = [
        name(),
        name(2),
        name(lengths=np.arange(N)),
        name(state=np.ones((1, N, H))),
        name(n_threads=1),
        numrnn.dask.predict(SequenceModel(changed, None), x).name,
        numrnn.dask.predict(SequenceModel(changed, None, readout_on="max"), x).name,
        numrnn.dask.predict(changed, x).name,
        numrnn.dask.predict(changed, x + 1).name,
    ]
    assert len(set(names)) == len(names)
    assert name() == names[0]
    assert name(lengths=np.arange(N)) == names[2]


def own_cell_of(slope: float) -> Any:
    """A class of layers: always of the same name, each slope another cell."""

    def forward(sums: Any, states: Any, vectors: Any) -> Any:
        return (slope * sums[0],), ()

    def backward(d_states: Any, kept: Any, before: Any, after: Any, vectors: Any) -> Any:
        return (slope * d_states[0],), (0.0,), ()

    return numrnn.cells.define("Sloping", gates=("s",), forward=forward, backward=backward)


def compare_cells_of_one_name() -> None:
    """Two models in one computation, each with the numbers of its own call."""
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    gentle, steep = (own_cell_of(slope)(3, 3, seed=1) for slope in (0.25, 0.5))
    assert repr(gentle) == repr(steep)
    below = numrnn.RNN(3, 3, seed=2)
    for wrap in (lambda layer: layer, Reversed, lambda layer: SequenceModel([below, layer], None)):
        models = wrap(gentle), wrap(steep)
        lazy = chunked(x, 4 if wrap is Reversed else 2, 2)
        found = dask.compute(*(numrnn.dask.predict(model, lazy) for model in models), scheduler="sync")
        whole = [model(x) for model in models]
        for one, each in zip(found, whole, strict=True):
            np.testing.assert_array_equal(one, each if isinstance(each, np.ndarray) else each.output)
        assert not np.array_equal(*found)


def test_cells_of_one_name_are_not_taken_for_each_other() -> None:
    """Python runs them: to compile two cells would take longer than the rest of this file."""
    subprocess.run(
        [sys.executable, "-c", "import test_dask; test_dask.compare_cells_of_one_name()"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT / "tests",
        check=True,
    )


def test_the_graph_holds_the_weights_once(rng: np.random.Generator) -> None:
    layer = numrnn.LSTM(I, 64, seed=1)
    weights = len(pickle.dumps(layer))
    x = da.zeros((400, 40, I), chunks=(10, 10, I), dtype="f4")
    output, _ = numrnn.dask.predict(layer, x, return_state=True)
    n_tasks = 40 * 4
    size = len(pickle.dumps(dict(output.__dask_graph__())))
    assert weights < size < 1.5 * weights + 1500 * n_tasks


def test_tasks_that_one_chunk_alone_needs_are_part_of_its_task(rng: np.random.Generator) -> None:
    """Otherwise idle workers make chunks of x long before their turn."""
    whole = rng.standard_normal((T, N, I))
    lazy = da.from_array(whole, chunks=(4, 3, -1))
    layer = numrnn.RNN(I, H, seed=1)
    expected = layer(2.0 * whole[::-1] + whole.mean()).output
    shared = lazy.mean()
    x = (2.0 * lazy[::-1] + shared).rechunk((5, 3, -1))
    output = numrnn.dask.predict(layer, x)
    equal(output, layer(x.compute(scheduler="sync")).output)
    np.testing.assert_allclose(output.compute(scheduler="sync"), expected, atol=1e-5)
    lone = numrnn.dask.predict(layer, (lazy * 2.0).map_blocks(np.sin))
    names = {str(key[0] if isinstance(key, tuple) else key).rpartition("-")[0] for key in lone.__dask_graph__()}
    assert names == {"numrnn-model", "numrnn-pieces", "numrnn-carry", "numrnn-output"}


def test_settings_of_dask_change_nothing(rng: np.random.Generator) -> None:
    x = rng.standard_normal((T, N, I))
    layer = numrnn.GRU(I, H, seed=1)
    with dask.config.set({"optimization.fuse.active": False}):
        equal(numrnn.dask.predict(layer, chunked(x, 5, 3) + 0.0), layer(x).output)
    persisted = (chunked(x, 5, 3) + 0.0).persist(scheduler="sync")
    equal(numrnn.dask.predict(layer, persisted), layer(x).output)
    both = numrnn.dask.predict(layer, persisted), persisted.sum()
    with ThreadPoolExecutor(2) as pool:
        computed, total = dask.compute(*both, scheduler="threads", pool=pool)
    np.testing.assert_array_equal(computed, layer(x).output)
    np.testing.assert_allclose(total, x.sum())


THREADS = """
import json, dask, dask.array as da, numba, numpy as np, numrnn
from pathlib import Path
def status():
    threads = int(dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())["Threads"])
    try:
        numba.threading_layer()
        return threads, True
    except ValueError:
        return threads, False
x = np.random.default_rng(0).standard_normal((64, 64, 32)).astype("f4")
layer = numrnn.GRU(32, 64, seed=0)
expected = layer(x, n_threads=1).output
lazy = numrnn.dask.predict(layer, da.from_array(x, chunks=(16, 16, -1)))
before = status()
assert np.array_equal(lazy.compute(scheduler="threads", num_workers=2), expected)
after = status()
assert np.array_equal(lazy.compute(scheduler="sync"), expected)
several = numrnn.dask.predict(layer, da.from_array(x, chunks=(16, 64, -1)), n_threads=64)
assert np.array_equal(several.compute(scheduler="threads", num_workers=1), expected)
print(json.dumps([before, after, status()]))
"""


def test_tasks_side_by_side_take_a_thread_each() -> None:
    """Numba's pool does not start under the threaded scheduler; under the synchronous one it does."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", THREADS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    (first, pool), (then, pool_then), (_, pool_at_last) = json.loads(ended.stdout)
    assert (pool, pool_then, pool_at_last) == (False, False, True)
    assert then <= first + 2


def test_a_cluster_of_processes_gives_the_same_bits() -> None:
    """Two processes: chunks of time, of the batch, states, arrays kept in the cluster; one thread a worker's thread."""
    pytest.importorskip("distributed")
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "dask_cluster.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["workers"] == 2
    assert told["pools"] == [False, False]
    assert all(told["equal"].values()), told["equal"]
    assert len(told["equal"]) >= 6
    assert told["held"] < told["limit"] < 0.7 * told["series"]
