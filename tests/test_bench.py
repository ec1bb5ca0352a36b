"""`numrnn bench`: workers, their turns, the comparison of results, the table."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numrnn import cli
from numrnn.bench.cases import CELL_NAMES, GRID, RAGGED, Case, make_problem, read_shape
from numrnn.bench.measure import TOLERANCE, Outcome, Timing, largest_difference, measure
from numrnn.bench.peers import PEERS, load, thread_environment
from numrnn.bench.processes import Worker, WorkerError
from numrnn.bench.report import as_json, as_table
from numrnn.bench.worker import Session

TINY = (3, 4, 5, 6)
TINY_RAGGED = {"shape": (5, 7, 3, 4), "shortest": 2}


def outcome(**seconds):
    return Outcome(
        Case("lstm", TINY), {name: Timing("1.0", [value, 2 * value, 3 * value]) for name, value in seconds.items()}
    )


def test_flops_count_the_products():
    forward = Case("lstm", (32, 100, 64, 128))
    assert forward.flops == 2 * 4 * 128 * (64 + 128) * 32 * 100
    assert Case("lstm", (32, 100, 64, 128), "training").flops == 3 * forward.flops
    assert Case("gru", (32, 100, 64, 128)).flops * 4 == forward.flops * 3


def test_flops_of_a_ragged_case_count_the_sum_of_lengths():
    ragged = Case("lstm", (64, 200, 64, 128), shortest=10)
    assert ragged.steps == ragged.lengths.sum() < 64 * 200
    assert ragged.flops * 64 * 200 == ragged.dense_twin.flops * ragged.steps
    assert ragged.dense_twin == Case("lstm", (64, 200, 64, 128))


@pytest.mark.parametrize("text", ["64,10..200,64,128", "1,3..7,5,6", "5,4..4,5,6"])
def test_lengths_are_of_the_range_and_one_is_the_longest(text):
    shape, shortest = read_shape(text)
    lengths = Case("lstm", shape, shortest=shortest).lengths
    assert lengths.shape == shape[:1]
    assert lengths.max() == shape[1]
    assert lengths.min() >= shortest
    np.testing.assert_array_equal(lengths, make_problem(Case("rnn", shape, "training", shortest=shortest)).lengths)
    assert Case("lstm", shape).lengths is None


def test_a_dense_twin_differs_in_its_lengths_only():
    ragged = Case("gru", **TINY_RAGGED)
    np.testing.assert_array_equal(make_problem(ragged).x, make_problem(ragged.dense_twin).x)


@pytest.mark.parametrize("text", ["3,4,5,6", "64,10..200,64,128"])
def test_a_shape_is_written_as_it_was_read(text):
    shape, shortest = read_shape(text)
    assert str(Case("lstm", shape, shortest=shortest)) == f"lstm {text} forward float32"


@pytest.mark.parametrize("shortest", [None, 2])
def test_a_case_survives_json(shortest):
    case = Case("gru", TINY, "training", "float64", shortest)
    assert Case.from_dict(json.loads(json.dumps(case.as_dict()))) == case


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_every_process_draws_the_same_problem(cell):
    one, other = make_problem(Case(cell, TINY)), make_problem(Case(cell, TINY, "training"))
    assert one.x.dtype == np.float32
    np.testing.assert_array_equal(one.x, other.x)
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, other.parameters[name])


def test_a_difference_is_measured_on_the_scale_of_its_array():
    ours = {"output": np.array([1.0, 100.0]), "x": np.array([1e-3])}
    assert largest_difference({"output": np.array([2.0, 100.0]), "x": np.array([1e-3])}, ours) == (0.01, "output")
    assert largest_difference(ours, ours) == (0.0, "nothing")


@pytest.mark.parametrize("theirs", [{}, {"h_n": np.zeros(3)}, {"h_n": np.array([np.nan, 0.0])}])
def test_a_missing_array_or_nan_is_a_difference(theirs):
    difference, where = largest_difference(theirs, {"h_n": np.zeros(2)})
    assert where == "h_n"
    assert not difference <= TOLERANCE["float32"]


def test_the_ratio_is_the_fastest_peer_over_ours():
    assert outcome(numrnn=1.0, torch=3.0, jax=2.0).ratio("minimum") == (2.0, "jax")
    assert outcome(numrnn=1.0, torch=3.0, jax=2.0).ratio("median") == (2.0, "jax")
    assert outcome(numrnn=1.0).ratio("minimum") is None
    assert outcome(torch=1.0).ratio("minimum") is None


def test_the_share_of_peak_is_of_the_highest_peak():
    result = outcome(numrnn=1e-6)
    assert result.share_of_peak is None
    result.peaks = [90.0, 100.0, 95.0]
    assert result.share_of_peak == pytest.approx(result.case.flops / 1e-6 * 1e-9 / 100)


def test_the_table_has_one_line_a_case_and_names_what_is_missing():
    case = outcome(numrnn=1e-3, torch=2e-3)
    case.peaks, case.refusals = [200.0], {"onnxruntime": "it computes forward only"}
    case.mismatches = {"torch": "`x` differs by 1.0e-01 of its scale"}
    text = as_table([case], {"jax": "jax is not installed"}, threads=2)
    (row,) = [line for line in text.splitlines() if line.startswith("lstm ")]
    assert row.split() == "lstm 3 4 5 6 forward 1.000 2.000 2.000 4.000 2.00 2.00 torch 0.0 0%".split()
    assert "float32, 2 threads each" in text
    assert "jax: not measured: jax is not installed" in text
    assert "onnxruntime: forward: not measured: it computes forward only" in text
    assert "MISMATCH torch: lstm 3,4,5,6 forward float32: `x` differs" in text
    assert max(map(len, text.splitlines())) < 140


def test_a_ragged_case_is_set_beside_its_dense_twin():
    """Half the steps in half the time is 1; a table without such a case has no such column."""
    case = Case("lstm", (2, 200, 5, 6), shortest=1)
    twin = Outcome(case.dense_twin, {"numrnn": Timing("1.0", [4e-3, 8e-3])})
    in_proportion = 4e-3 * case.steps / 400
    result = Outcome(case, {"numrnn": Timing("1.0", [1.5 * in_proportion, 1.5 * in_proportion])})
    assert result.over_dense("minimum") is None
    assert twin.over_dense("minimum") is None
    result.twin = twin
    assert result.over_dense("minimum") == pytest.approx(1.5)
    assert result.over_dense("median") == pytest.approx(1.0)
    text = as_table([outcome(numrnn=1e-3), result], {}, threads=1)
    dense_row, row = (line.split() for line in text.splitlines() if line.startswith("lstm "))
    assert row[:6] == ["lstm", "2", "1..200", "5", "6", "forward"]
    assert (dense_row[-1], row[-1]) == ("-", "1.50")
    assert f"2,1..200: {case.steps} of 400 steps" in text
    assert "dense" not in as_table([outcome(numrnn=1e-3)], {}, threads=1)
    (stored,) = json.loads(json.dumps(as_json([result], {}, threads=1)))["cases"]
    assert (stored["shortest"], stored["steps"]) == (1, case.steps)
    assert stored["over_dense"]["minimum"] == pytest.approx(1.5)
    assert stored["dense_twin"]["numrnn"]["seconds"] == [4e-3, 8e-3]


def test_json_has_every_sample():
    stored = json.loads(json.dumps(as_json([outcome(numrnn=1e-3, torch=2e-3)], {}, threads=1)))
    assert stored["cases"][0]["libraries"]["torch"]["seconds"] == [0.002, 0.004, 0.006]
    assert stored["cases"][0]["ratio"]["minimum"] == [2.0, "torch"]


def test_every_pool_is_bounded_by_the_environment():
    variables = thread_environment(1)
    assert {variables[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"1"}
    assert "intra_op_parallelism_threads=1" in variables["XLA_FLAGS"]


def test_an_unknown_peer_is_refused():
    with pytest.raises(ValueError, match="expected one of numrnn, torch"):
        load("theano", 1)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"command": "prepare", "case": {}, "path": ""}, "`prepare` came before `load`"),
        ({"command": "burst", "number": 1, "length": 0.0}, "`burst` came before `prepare`"),
        ({"command": "dance"}, "KeyError: 'dance'"),
    ],
)
def test_a_worker_answers_what_it_cannot_do(request_, expected):
    reply = Session("numrnn", 1).answer(request_)
    assert reply["kind"] == "failed"
    assert expected in reply["error"]


def test_numrnn_alone_can_be_measured(capsys, tmp_path):
    """The whole command: workers, turns, table, file."""
    words = "bench --against none --cells gru --shapes 3,4,5,6 --mode both --threads 1 --repeats 2 --burst 0.01".split()
    assert cli.main([*words, "--json", str(tmp_path / "samples.json")]) == 0
    printed = capsys.readouterr()
    assert [line.split()[5] for line in printed.out.splitlines() if line.startswith("gru")] == ["forward", "training"]
    assert "[2/2] gru 3,4,5,6 training float32" in printed.err
    stored = json.loads((tmp_path / "samples.json").read_text())
    assert all(len(case["libraries"]["numrnn"]["seconds"]) >= 2 for case in stored["cases"])
    assert all(0 < case["share_of_peak"] < 1.5 for case in stored["cases"])


def test_a_ragged_case_takes_turns_with_its_dense_twin():
    ((result,), _) = measure([Case("gru", **TINY_RAGGED)], [], threads=1, repeats=2, burst_seconds=0.0)
    assert len(result.timings["numrnn"].seconds) == len(result.twin.timings["numrnn"].seconds) == 2
    assert result.over_dense("minimum") > 0
    assert list(result.timings) == ["numrnn"]


@pytest.fixture
def shadowed(monkeypatch, tmp_path):
    """Put a module of our own in front of an installed library, for worker processes."""

    def shadow(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return shadow


def test_a_missing_library_is_named_and_not_fatal(shadowed):
    shadowed("jax", "raise ImportError('no jax here')")
    outcomes, absent = measure([Case("rnn", TINY)], ["jax"], threads=1, repeats=1, burst_seconds=0.0)
    assert list(outcomes[0].timings) == ["numrnn"]
    assert "jax is not installed" in absent["jax"]
    assert "numrnn[peers]" in absent["jax"]


def test_a_library_that_ends_its_process_is_named_and_not_fatal(shadowed):
    shadowed("torch", "import os; os._exit(3)")
    outcomes, absent = measure([Case("rnn", TINY)], ["torch"], threads=1, repeats=1, burst_seconds=0.0)
    assert list(outcomes[0].timings) == ["numrnn"]
    assert absent["torch"] == "its process ended with exit code 3"


def test_what_a_library_prints_does_not_reach_the_pipe(shadowed):
    shadowed("jax", "print('hello'); raise ImportError('no jax here')")
    with Worker("jax", 1) as worker, pytest.raises(WorkerError, match="not installed") as caught:
        worker.ask("load")
    assert caught.value.kind == "missing"


def test_different_results_are_reported_with_exit_code_1(monkeypatch, capsys):
    wrong = outcome(numrnn=1e-3, torch=2e-3)
    wrong.mismatches = {"torch": "`h_n` differs by 1.0e+00 of its scale"}
    monkeypatch.setattr("numrnn.bench.measure.measure", lambda *_, **__: ([wrong], {}))
    assert cli.main(["bench", "--shapes", "3,4,5,6"]) == 1
    assert "MISMATCH torch" in capsys.readouterr().out


def test_the_grid_is_a_shape(monkeypatch):
    seen = []
    monkeypatch.setattr("numrnn.bench.measure.measure", lambda cases, *_, **__: (seen.extend(cases), ([], {}))[1])
    assert cli.main(["bench", "--shapes", "grid", "2,2,2,2", "--cells", "lstm", "--mode", "forward"]) == 0
    assert [",".join(case.sizes) for case in seen] == [*GRID, "2,2,2,2"]


def test_the_ragged_rows_of_the_grid_are_a_shape(monkeypatch):
    seen = []
    monkeypatch.setattr("numrnn.bench.measure.measure", lambda cases, *_, **__: (seen.extend(cases), ([], {}))[1])
    assert cli.main(["bench", "--shapes", "ragged", "--cells", "lstm", "--mode", "forward"]) == 0
    assert [",".join(case.sizes) for case in seen] == list(RAGGED) == [shape for shape in GRID if ".." in shape]


@pytest.mark.peers
@pytest.mark.parametrize("sizes", [{"shape": TINY}, TINY_RAGGED], ids=["dense", "ragged"])
@pytest.mark.parametrize("name", [name for name in PEERS if name != "numrnn"])
def test_peers_compute_what_numrnn_computes(name, sizes):
    """A peer that computes something else would be measured on another task."""
    needed = {"onnxruntime": ("onnxruntime", "onnx")}.get(name, (name,))
    if not all(map(importlib.util.find_spec, needed)):
        pytest.skip(f"{name} is not installed")
    cases = [Case(cell, mode=mode, **sizes) for cell in CELL_NAMES for mode in ("forward", "training")]
    outcomes, absent = measure(cases, [name], threads=1, repeats=1, burst_seconds=0.0)
    assert absent == {}
    for result in outcomes:
        if not (name == "onnxruntime" and result.case.training):
            assert result.refusals == {}
            assert result.mismatches == {}
            assert 0 < result.timings[name].difference < 1e-5
            assert math.isfinite(result.timings[name].minimum)


def test_the_suite_bounds_the_pools_before_anything_reads_them():
    """asv imports `benchmarks.common`; Numba reads its number of threads when it is imported."""
    code = "import benchmarks.common as c, numba; assert numba.config.NUMBA_NUM_THREADS == c.THREADS"
    root = Path(__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(root)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment | {"NUMBA_NUM_THREADS": "1"})


def test_asv_finds_the_suite_where_only_its_own_libraries_are():
    """asv imports every file of the folder, in environments that hold what asv.conf.json names."""
    root = Path(__file__).parents[1]
    code = """
import importlib, pkgutil, sys
for name in "dask distributed h5py keras matplotlib pandas pytest safetensors sklearn tqdm xarray".split():
    sys.modules[name] = None
import benchmarks
names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
for name in names:
    importlib.import_module(f"benchmarks.{name}")
assert "bench_forward" in names
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=root, env=os.environ)
