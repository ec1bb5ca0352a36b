"""A user's own cell does what the package's do: the minimal gated unit and the LSTM with peepholes, by their papers.

The first has two gates, of which one is a late candidate; the second four, a cell state, and vectors.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import (
    Answers,
    Case,
    assert_close,
    assert_same_bits,
    call,
    gradient_answers,
    layer_answers,
    make_parameters,
    make_problem,
    numerical_gradients,
    parameter_free,
    pull,
    reference_answers,
    result_answers,
)
from documents import ROOT
from literature import MGU, PEEPHOLE, by_loops, make_layer, own_cells

import numrnn
from numrnn import _threads
from numrnn.cellspec import CELLS
from numrnn.kernels import launch

# Each cell in one dtype, or each of its kernels would be compiled twice.
DTYPE = {MGU: "float32", PEEPHOLE: "float64"}
TOLERANCE = {"float32": 4e-6, "float64": 4e-14}
KIND = {MGU: own_cells.MGU, PEEPHOLE: own_cells.PeepholeLSTM}
EDGES = (1, 15, 16, 17, 31, 33)
ROWS = (1, 5, 6, 7)


def random_cases(cell: str, n: int) -> list[Case]:
    """Sizes on both sides of vectors, panels and tiles, with any of the options."""
    rng = np.random.default_rng(len(cell))
    found = []
    for _ in range(n):
        hidden, inputs, rows = (int(rng.choice(sizes)) for sizes in (EDGES, EDGES, ROWS))
        bidirectional, batch_first, with_state, resets = (rng.random(4) < 0.5).tolist()
        lengths = str(rng.choice(["full", "ragged", "some_empty"]))
        options = {"bidirectional": bidirectional, "resets": resets and not bidirectional, "bias": rng.random() < 0.8}
        steps, layers = int(rng.integers(1, 8)), int(rng.integers(1, 4))
        case = Case(cell, rows, steps, inputs, hidden, layers, batch_first=batch_first, with_state=with_state)
        found.append(replace(case, lengths=lengths, dtype=DTYPE[cell], **options))
    return found


RANDOM = [case for cell in DTYPE for case in random_cases(cell, 24)]
by_cell = pytest.mark.parametrize("cell", list(DTYPE), ids=lambda cell: cell.partition("_")[0])


@pytest.mark.parametrize("case", RANDOM, ids=str)
def test_it_computes_the_papers_equations(case: Case) -> None:
    layer, problem = make_layer(case), make_problem(case)
    expected = by_loops(case, problem, make_parameters(case))
    found = result_answers(layer, call(layer.__call__, problem, n_threads=1))
    assert_close(found, expected, TOLERANCE[case.dtype])
    last = call(layer.last, problem, n_threads=1)
    np.testing.assert_array_equal(last.h_n, found["h_n"], strict=True)


@pytest.mark.parametrize("case", RANDOM, ids=str)
def test_backward_is_the_adjoint_of_what_python_runs(case: Case) -> None:
    problem = make_problem(case)
    found = layer_answers(make_layer(case), problem, n_threads=1)
    assert_close(found, reference_answers(case, problem, make_parameters(case)), 4 * TOLERANCE[case.dtype])


@by_cell
@pytest.mark.parametrize(
    "options",
    [{"bidirectional": True, "lengths": "some_empty"}, {"num_layers": 2, "resets": True, "batch_first": True}],
    ids=str,
)
def test_gradients_are_finite_differences_of_the_papers_equations(cell: str, options: dict[str, Any]) -> None:
    case = Case(cell, 3, 4, 2, 5, **options)
    problem, parameters = make_problem(case), make_parameters(case)
    expected = numerical_gradients(lambda *given: by_loops(case, *given), problem.padded_with(0.0), parameters)
    own = replace(case, dtype=DTYPE[cell])
    layer = make_layer(own)
    _, pullback = call(layer.vjp, make_problem(own), n_threads=1)
    found = pull(layer, pullback, make_problem(own))
    found["d_x"] = np.where(np.isnan(problem.x), 0.0, found["d_x"])
    assert_close(found, {name: expected[name] for name in found}, 1e-5 if own.dtype == "float32" else 1e-8)


def answers(case: Case, **options: Any) -> Answers:
    return layer_answers(make_layer(case), make_problem(case), **options)


@by_cell
def test_a_row_does_not_know_its_batch(cell: str) -> None:
    """Nor its padding: a ragged row is the row alone, bit for bit."""
    case = Case(cell, 7, 6, 5, 33, 2, lengths="ragged", bidirectional=True, dtype=DTYPE[cell])
    layer, problem = make_layer(case), make_problem(case)
    whole = layer_answers(layer, problem, n_threads=1)
    for row in range(case.N):
        alone = parameter_free(layer_answers(layer, problem.rows(slice(row, row + 1)), n_threads=1))
        assert_same_bits(alone, {name: whole[name][:, row : row + 1] for name in alone})


@by_cell
def test_a_stream_gives_the_bits_of_the_whole(cell: str, rng: np.random.Generator) -> None:
    layer = KIND[cell](5, 17, 2, dtype=DTYPE[cell], seed=0)
    x = rng.standard_normal((9, 3, 5))
    whole = layer(x, n_threads=1)
    stream = layer.stream(batch_size=3)
    steps = [stream.step(x[t]) for t in range(4)]
    np.testing.assert_array_equal(
        np.concatenate([np.stack(steps), stream.run(x[4:7]), stream.run(x[7:])]), whole.output
    )
    twin = stream.fork()
    np.testing.assert_array_equal(twin.step(x[0]), layer(x[:1], whole.state).output[0])
    states = stream.state if cell == PEEPHOLE else (stream.state,)
    for state, expected in zip(states, (whole.h_n, getattr(whole, "c_n", None)), strict=False):
        np.testing.assert_array_equal(state, expected)


@pytest.mark.skipif(_threads._limit() < 2, reason="there is one thread")
@pytest.mark.parametrize(
    "shape", [(60, 8, 48, 96, 1), (1, 24, 64, 256, 1), (2, 20, 30, 200, 2)], ids=["many rows", "one row", "two rows"]
)
def test_threads_change_nothing(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether rows are dealt out or columns, when tasks meet at every stage."""
    met: list[bool] = []
    run = launch.run_meeting

    def counted(*arguments: Any) -> bool:
        met.append(run(*arguments))
        return met[-1]

    monkeypatch.setattr(launch, "run_meeting", counted)
    case = Case(MGU, *shape, dtype="float32")
    assert_same_bits(answers(case, n_threads=2), answers(case, n_threads=1))
    assert bool(met) == (case.N < 6)


@by_cell
def test_recomputation_changes_nothing(cell: str) -> None:
    case = Case(cell, 3, 400, 2, 6, dtype=DTYPE[cell])
    assert_same_bits(answers(case, recompute=20, n_threads=1), answers(case, n_threads=1))


@by_cell
def test_dropout_and_its_offsets_are_those_of_a_layer(cell: str, rng: np.random.Generator) -> None:
    layer = KIND[cell](4, 9, 2, dropout=0.5, dtype=DTYPE[cell], seed=0)
    x = rng.standard_normal((6, 4, 4))
    whole, _ = layer.vjp(x, seed=3, n_threads=1)
    below, _ = layer.vjp(x[:, 2:], seed=3, row0=2, n_threads=1)
    np.testing.assert_array_equal(below.output, whole.output[:, 2:])
    assert not np.array_equal(whole.output, layer(x, n_threads=1).output)


@by_cell
def test_lists_and_packed_sequences_come_back_in_kind(cell: str, rng: np.random.Generator) -> None:
    layer = KIND[cell](5, 16, bidirectional=True, dtype=DTYPE[cell], seed=0)
    rows = [rng.standard_normal((n, 5)) for n in (4, 6, 1)]
    padded = layer(numrnn.pad_sequence(rows), lengths=[4, 6, 1], n_threads=1)
    listed = layer(rows, n_threads=1)
    for n, (row, output) in enumerate(zip(rows, listed.output, strict=True)):
        np.testing.assert_array_equal(output, padded.output[: len(row), n])
    packed = layer(numrnn.pack_sequence(rows, enforce_sorted=False), n_threads=1)
    np.testing.assert_array_equal(numrnn.pad_packed_sequence(packed.output)[0], padded.output)
    np.testing.assert_array_equal(packed.h_n, padded.h_n)


@by_cell
def test_what_is_kept_are_the_internals(cell: str, rng: np.random.Generator) -> None:
    layer = KIND[cell](3, 5, dtype=DTYPE[cell], seed=0)
    result = layer(rng.standard_normal((4, 2, 3)), internals=True, n_threads=1)
    gates = result.internals.gates
    h = np.concatenate([np.zeros((1, 2, 5)), result.output])
    if cell == MGU:
        assert list(gates) == ["f", "n", "operand"]
        f, n = (gates[name][0][0] for name in "fn")
        np.testing.assert_allclose((1 - f) * h[:-1] + f * n, h[1:], atol=1e-6)
        np.testing.assert_allclose(gates["operand"][0][0], f * h[:-1], atol=1e-6)
    else:
        assert list(gates) == ["i", "f", "g", "o"]
        np.testing.assert_allclose(gates["o"][0][0] * np.tanh(result.internals.cell[0][0]), h[1:], atol=1e-12)


@by_cell
def test_layers_are_copied_pickled_and_saved(cell: str, tmp_path: Path, rng: np.random.Generator) -> None:
    layer = KIND[cell](3, 5, 2, bidirectional=True, dtype=DTYPE[cell], seed=0)
    x = rng.standard_normal((4, 2, 3))
    expected = layer(x, n_threads=1).output
    model = numrnn.SequenceModel(layer, None)
    numrnn.save(layer, tmp_path / "layer.safetensors")
    numrnn.save(model, tmp_path / "model.safetensors")
    loaded = numrnn.load(tmp_path / "model.safetensors").recurrent
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), numrnn.load(tmp_path / "layer.safetensors")):
        assert type(twin) is type(layer)
        assert repr(twin) == repr(layer) == repr(loaded)
        np.testing.assert_array_equal(twin(x, n_threads=1).output, expected)
    np.testing.assert_array_equal(loaded(x, n_threads=1).output, expected)


def test_a_class_that_only_this_process_has_goes_to_another_with_its_layers(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """As joblib and Dask send what a notebook defines."""
    cloudpickle = pytest.importorskip("cloudpickle")
    layer = own_cells.MGU(3, 5, 2, seed=0)
    x = rng.standard_normal((4, 2, 3))
    (tmp_path / "layer").write_bytes(_by_value(cloudpickle, layer))
    np.save(tmp_path / "x.npy", x)
    code = "import numpy as np, pickle; layer = pickle.load(open('layer', 'rb')); "
    code += "np.save('y.npy', layer(np.load('x.npy'), n_threads=1).output)"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), layer(x, n_threads=1).output)


def _by_value(cloudpickle: Any, layer: Any) -> bytes:
    """Pickled together with its class, and with the class's functions."""
    cloudpickle.register_pickle_by_value(own_cells)
    try:
        pickled: bytes = cloudpickle.dumps(layer)
    finally:
        cloudpickle.unregister_pickle_by_value(own_cells)
    return pickled


@pytest.mark.parametrize("init", ["pytorch", "keras"])
def test_vectors_are_drawn_counted_and_described(init: str) -> None:
    layer = own_cells.PeepholeLSTM(3, 64, 2, bidirectional=True, init=init, seed=0)
    named = [name for name in layer.parameters if name.startswith("weight_c")]
    assert named[:3] == ["weight_ci_l0", "weight_cf_l0", "weight_co_l0"]
    assert named[-1] == "weight_co_l1_reverse"
    for name in named:
        value = layer.parameters[name]
        assert value.shape == (64,)
        assert 0.1 < np.abs(value).max() <= 1 / 8
    assert layer.num_parameters == numrnn.LSTM(3, 64, 2, bidirectional=True).num_parameters + 12 * 64
    assert str(layer.num_parameters) in layer.describe((4, 2, 3)).replace(",", "").replace(" ", "")


def test_a_model_with_it_learns(rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 128, 2)).astype(np.float32)
    y = x.sum(axis=0)[:, :1]
    model = numrnn.SequenceModel([own_cells.MGU(2, 16, seed=0)], numrnn.Linear(16, 1, seed=0))
    optimizer = numrnn.optim.Adam(model, lr=0.02)
    options: dict[str, Any] = {"epochs": 15, "batch_size": 32, "seed": 0, "n_threads": 1, "progress": False}
    history = numrnn.fit(model, x, y, loss=numrnn.losses.mse, optimizer=optimizer, **options)
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_a_roll_out_is_the_loop_written_by_hand(rng: np.random.Generator) -> None:
    layers = [own_cells.MGU(3, 8, seed=0), numrnn.GRU(8, 6, seed=1)]
    model = numrnn.SequenceModel(layers, numrnn.Linear(6, 2, seed=2))
    x, known = rng.standard_normal((5, 4, 3)), rng.standard_normal((3, 4, 1))
    found = model.rollout(x, 4, known=known, n_threads=1)
    y, state = model(x, return_state=True)
    for t in range(4):
        np.testing.assert_array_equal(found[t], y)
        if t < 3:
            y, state = model(np.concatenate([y, known[t]], axis=-1)[None], state, return_state=True)
    masked = numrnn.SequenceModel(own_cells.MGU(2, 8, 2, dropout=0.5), numrnn.Linear(8, 2))
    with pytest.raises(NotImplementedError, match="roll-out with dropout knows the cells of the package alone"):
        masked.rollout(np.zeros((2, 1, 2)), 2, n_paths=2, seed=0)


def test_onnx_refuses_it_by_name(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(NotImplementedError, match=r"the cell MGU` is not implemented.*operators for RNN, LSTM and GRU"):
        numrnn.to_onnx(own_cells.MGU(2, 3), tmp_path / "model.onnx")


WITHOUT_JIT = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
sys.path.insert(0, {examples!r})
import own_cells
for cell in (own_cells.MGU, own_cells.PeepholeLSTM):
    own_cells.cells.check(cell)
    layer = cell(3, 5, 2, bidirectional=True, seed=0)
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    result, pullback = layer.vjp(x)
    gradients = pullback(np.ones_like(result.output))
    np.save({folder!r} + "/" + cell.__name__, np.concatenate([result.output.ravel(), gradients.x.ravel()]))
"""


def test_without_a_compiler_python_runs_the_same_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = WITHOUT_JIT.format(examples=str(ROOT / "examples"), folder=str(tmp_path))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    case = Case(MGU, 2, 4, 3, 5, 2, bidirectional=True, with_state=False)
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    for cell in (MGU, PEEPHOLE):
        layer = KIND[cell](3, 5, 2, bidirectional=True, seed=0)
        own, problem = replace(case, cell=cell), replace(make_problem(case), x=x)
        output = by_loops(own, problem, layer.parameters)["output"]
        found = np.load(tmp_path / f"{KIND[cell].__name__}.npy")
        np.testing.assert_allclose(found[: output.size], output.ravel(), atol=1e-6)
        layer = KIND[cell](3, 5, 2, bidirectional=True, seed=0, dtype=DTYPE[cell])
        _, pullback = layer.vjp(x, n_threads=1)
        d_x = gradient_answers(layer, pullback(np.ones((4, 2, 10))))["d_x"]
        np.testing.assert_allclose(found[output.size :], d_x.ravel(), atol=2e-6)


def test_the_table_of_cells_has_it() -> None:
    assert CELLS[MGU].saved == ("f", "n", "operand")
    assert CELLS[PEEPHOLE].vectors == ("ci", "cf", "co")
