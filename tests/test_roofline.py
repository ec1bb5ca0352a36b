"""`numrnn bench --roofline`: caches, ceilings, the work of a case, its bound, the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from numrnn import cli, plot
from numrnn.bench import caches
from numrnn.bench.caches import Level, from_folder, levels
from numrnn.bench.cases import CELL_NAMES, GRID, MODES, Case, read_shape
from numrnn.bench.ceilings import Ceilings, Meter
from numrnn.bench.measure import Outcome, Timing
from numrnn.bench.report import as_json, as_roofline
from numrnn.bench.roofline import Machine, bound_of, crossed, limits_of, thread_counts
from numrnn.bench.work import Phase, Stream, activations_of, phases_of
from numrnn.kernels import bandwidth, costs
from numrnn.kernels.simd import VECTOR_BYTES
from numrnn.kernels.tile import ROWS

LEVELS = (Level("L1", 32 << 10, False), Level("L2", 1 << 20, False), Level("L3", 32 << 20, True))
FAST = {"L1": 4e11, "L2": 2e11, "L3": 1e11, "memory": 3e10}
WIDE = pytest.mark.skipif(VECTOR_BYTES != 64, reason="panels are counted for vectors of 64 bytes")


def ceilings(threads=1, flops=1e11, read=None, launch=1e-6, meeting=3e-8, multiply_add=1e-9, activation=2e-10):
    return Ceilings(threads, flops, FAST | (read or {}), launch, meeting, multiply_add, activation)


def machine(**changes):
    return Machine(LEVELS, "assumed", {n: ceilings(n, **changes) for n in (1, 2)})


def each_case():
    for mode in MODES:
        for cell in CELL_NAMES:
            for text in (*GRID, "7,5,33,19", "700,3,8,16"):
                shape, shortest = read_shape(text)
                yield Case(cell, shape, mode, "float32", shortest)


def write_cache(folder: Path, number: int, level: int, kind: str, size: str, shared: str) -> None:
    cache = folder / f"cache/index{number}"
    cache.mkdir(parents=True)
    for name, text in (("level", str(level)), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
        (cache / name).write_text(text + "\n")


def test_caches_are_read_from_the_system(tmp_path):
    """What two hardware threads of one core share is its own; instructions are left out."""
    (tmp_path / "topology").mkdir()
    (tmp_path / "topology/thread_siblings_list").write_text("0,8\n")
    write_cache(tmp_path, 0, 1, "Data", "48K", "0,8")
    write_cache(tmp_path, 1, 1, "Instruction", "32K", "0,8")
    write_cache(tmp_path, 2, 2, "Unified", "2M", "0,8")
    write_cache(tmp_path, 3, 3, "Unified", "36864K", "0-15")
    expected = (Level("L1", 48 << 10, False), Level("L2", 2 << 20, False), Level("L3", 36 << 20, True))
    assert from_folder(tmp_path) == expected
    assert expected[2].room(4) == 9 << 20
    assert expected[1].room(4) == 2 << 20


def test_caches_that_the_system_does_not_tell_are_asked_for_elsewhere_and_then_assumed(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "_FOLDER", tmp_path)
    known = {"SC_LEVEL1_DCACHE_SIZE": 64 << 10, "SC_LEVEL2_CACHE_SIZE": 4 << 20, "SC_LEVEL3_CACHE_SIZE": 0}
    monkeypatch.setattr(caches.os, "sysconf", known.__getitem__, raising=False)
    assert levels() == ((Level("L1", 64 << 10, False), Level("L2", 4 << 20, False)), "from the C library")
    monkeypatch.setattr(caches.os, "sysconf", lambda name: 0, raising=False)
    found, source = levels()
    assert source == "assumed"
    assert [level.name for level in found] == ["L1", "L2", "L3"]


def test_this_machine_has_caches_and_ceilings():
    found, _ = levels()
    assert found
    assert all(level.size > 0 for level in found)
    measured = Meter((Level("L1", 16 << 10, False), Level("L2", 256 << 10, True))).measure(2, "float32")
    assert list(measured.read) == ["L1", "L2", "memory"]
    assert all(rate > 1e6 for rate in (measured.flops, *measured.read.values()))
    assert all(seconds > 0 for seconds in (measured.launch, measured.multiply_add, measured.activation))
    assert measured.meeting >= 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_costs_are_times(dtype):
    assert 0 < costs.activation_seconds(1, dtype, bursts=1, times=2) < 1e-3
    assert 0 < costs.multiply_add_seconds(dtype, bursts=1, steps=100) < 1e-3
    assert 0 < costs.launch_seconds(1, dtype, bursts=1, number=3) < 1
    assert costs.meeting_seconds(1) == 0.0


def test_a_buffer_smaller_than_asked_for_is_read_as_far_as_it_goes():
    data = bandwidth.buffer(100_000)
    assert data.ctypes.data % 4096 == 0
    assert bandwidth.measure(data, 2, 1 << 30, bursts=1, bytes_a_burst=1) > 0
    assert bandwidth.measure_memory(data, 1) > 0


def test_the_best_of_several_measurements_has_the_highest_rates_and_the_lowest_costs():
    slow = ceilings(flops=1.0, read={"L1": 1.0, "L2": 9e11}, meeting=0.0, launch=2e-6)
    best = Ceilings.best([slow, ceilings()])
    assert best == ceilings(read={"L2": 9e11})
    assert Ceilings(**json.loads(json.dumps(best.as_dict()))) == best


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_phases_have_all_operations_of_a_case_and_no_more_threads(threads):
    for case in each_case():
        phases = phases_of(case, threads)
        assert sum(phase.flops for phase in phases) == case.flops, case
        assert thread_counts(case, threads)[-1] <= threads
        assert all(stream.n_bytes >= 0 and stream.every >= stream.own > 0 for p in phases for stream in p.streams), case


@WIDE
def test_weights_are_read_once_a_step_and_group_of_rows():
    """Two tasks of 16 rows: each reads all panels at every step, and again for its second and third tile."""
    (phase,) = phases_of(Case("lstm", (32, 10, 64, 128)), 2)
    panels = 8 * (1 + 64 + 128) * 64 * 4
    first, again, rows, _ = phase.streams
    assert (phase.threads, phase.meetings, phase.launches, phase.chain) == (2, 0, 1, 10 * 128)
    assert (first.what, first.n_bytes) == ("weights", 2 * 10 * panels)
    assert again.n_bytes == 2 * first.n_bytes
    assert (first.own, first.every) == (panels + 16 * 192 * 4, panels + 32 * 192 * 4)
    assert again.own == panels / 8 + ROWS * 192 * 4
    assert (rows.what, rows.n_bytes) == ("operands", 32 * 10 * 8 * 192 * 4)


@WIDE
def test_tasks_that_share_a_row_share_its_panels_and_meet_at_every_step():
    """The x side is computed ahead: only the hidden side is read at each step."""
    ahead, steps = phases_of(Case("lstm", (1, 100, 32, 64)), 2)
    hidden = 4 * (1 + 64) * 64 * 4
    assert (ahead.threads, ahead.launches, ahead.meetings, ahead.chain) == (2, 1, 0, 0)
    assert (steps.threads, steps.launches, steps.meetings, steps.chain) == (2, 0, 100, 100 * 64)
    first, again, *_ = steps.streams
    assert (first.n_bytes, again.n_bytes) == (100 * hidden, 0)
    assert first.own == hidden / 2 + 64 * 4
    assert ahead.streams[0].n_bytes < 100 * 4 * (1 + 32) * 64 * 4 / 4  # steps fill the tiles


def test_longer_sequences_read_weights_in_proportion_and_ragged_ones_in_between():
    def weights(case):
        return sum(s.n_bytes for p in phases_of(case, 1) for s in p.streams if s.what == "weights")

    for cell in CELL_NAMES:
        short, long = Case(cell, (64, 50, 64, 128)), Case(cell, (64, 100, 64, 128))
        assert weights(long) == 2 * weights(short)
        assert weights(short) < weights(Case(cell, (64, 100, 64, 128), shortest=50)) < weights(long)


def test_training_keeps_what_backward_reads():
    def data(case):
        return sum(s.n_bytes for p in phases_of(case, 1) for s in p.streams if s.what == "data")

    shape = (8, 4, 5, 6)
    forward, training = data(Case("lstm", shape)), data(Case("lstm", shape, "training"))
    assert forward == 32 * (5 + 6) * 4
    assert training == 32 * 4 * ((5 + 6 + 5 * 6) + (5 + 2 * 6 + 5 * 6) + 5)


def test_activations_are_counted_for_each_hidden_unit_and_step():
    assert activations_of(Case("gru", (3, 4, 5, 6))) == 3 * 3 * 4 * 6
    assert activations_of(Case("lstm", (3, 4, 5, 6), "training")) == 6 * 3 * 4 * 6


def test_a_stream_comes_from_where_all_that_is_touched_in_between_fits():
    def furthest(own, every):
        return list(crossed(Stream("weights", 8.0, own, every), LEVELS))[-1]

    assert furthest(30e3, 60e3) == "L1"
    assert furthest(33e3, 66e3) == "L2"
    assert furthest(2e6, 4e6) == "L3"
    assert furthest(20e6, 40e6) == "memory"
    assert set(crossed(Stream("weights", 8.0, 2e6, 4e6), LEVELS).values()) == {8.0}


def test_a_phase_is_limited_by_each_thing_alone():
    streams = (Stream("weights", 3e6, 1e5, 2e5), Stream("data", 1e6, 5e7, 1e8))
    limits = limits_of(Phase("forward", 2, 4e8, streams, chain=100), LEVELS, ceilings(2))
    assert limits == {
        "arithmetic": pytest.approx(4e-3),
        "chain": pytest.approx(1e-7),
        "weights from L1": pytest.approx(1e-5),
        "weights from L2": pytest.approx(2e-5),
        "data from L3": pytest.approx(1e-5),
        "data from memory": pytest.approx(1e6 / 3e10),
    }


@pytest.mark.parametrize(
    ("name", "shape", "changes"),
    [
        ("arithmetic", (64, 20, 64, 64), {"flops": 1e9}),
        ("weights from L2", (1, 20, 256, 128), {"read": {"L2": 1e9}}),
        ("weights from L3", (1, 20, 512, 512), {"read": {"L3": 1e9}}),
        ("weights from memory", (1, 4, 2048, 2048), {}),
        ("data from memory", (64, 8000, 64, 16), {"flops": 1e15, "read": {"memory": 1e8}}),
        ("launch", (1, 1, 16, 32), {}),
        ("meetings", (1, 100, 32, 64), {"meeting": 1e-3}),
        ("chain", (1, 100, 1, 16), {"multiply_add": 1e-6}),
    ],
)
def test_the_bound_is_named_after_what_takes_longest(name, shape, changes):
    bound = bound_of(Case("lstm", shape), 2, machine(**changes))
    assert bound.name == name
    assert bound.parts[name] == max(bound.parts.values())


def test_a_bound_is_the_sum_of_its_parts_and_of_its_phases():
    for case in each_case():
        bound = bound_of(case, 2, machine())
        assert sum(bound.parts.values()) == pytest.approx(bound.seconds)
        assert sum(bound.phases.values()) == pytest.approx(bound.seconds)
        assert bound.seconds >= case.flops / 1e11
        assert json.loads(json.dumps(bound.as_dict())) == bound.as_dict()


def test_more_of_anything_never_lowers_a_bound():
    for case in each_case():
        whole = bound_of(case, 2, machine()).seconds
        for change in ({"flops": 2e11}, {"read": {"L2": 4e11}}, {"launch": 0.0}, {"meeting": 0.0}):
            assert bound_of(case, 2, machine(**change)).seconds <= whole


@pytest.fixture
def measured():
    case = Case("lstm", (3, 4, 5, 6))
    here = machine()
    bound = bound_of(case, 2, here)
    seconds = [2 * bound.seconds, 4 * bound.seconds, 5 * bound.seconds]
    return Outcome(case, {"numrnn": Timing("1.0", seconds)}, bound=bound, machine=here)


def test_the_table_names_each_bound_and_the_machine(measured):
    assert measured.share_of_bound("minimum") == pytest.approx(0.5)
    text = as_roofline([measured, Outcome(Case("gru", (3, 4, 5, 6)))])
    row, missing = (line for line in text.splitlines() if line.startswith(("lstm ", "gru ")))
    assert row.split()[:6] == ["lstm", "3", "4", "5", "6", "forward"]
    assert row.split()[8:11] == ["50%", "25%", "launch"]
    assert missing.split()[6:] == ["-"] * 8
    assert "Caches: L1 32 KiB, L2 1 MiB, L3 32 MiB for all cores (assumed)." in text
    assert "2 threads: 100.0 GFLOP/s (float32), read GB/s L1 400, L2 200, L3 100, memory 30;" in text
    assert max(map(len, text.splitlines())) <= 120


def test_json_has_bound_and_machine(measured):
    stored = json.loads(json.dumps(as_json([measured], {}, threads=2)))
    (case,) = stored["cases"]
    assert case["bound"]["name"] == "launch"
    assert case["share_of_bound"] == {"minimum": pytest.approx(0.5), "median": pytest.approx(0.25)}
    (found,) = stored["machines"].values()
    assert [each["name"] for each in found["caches"]] == ["L1", "L2", "L3"]
    assert found["ceilings"][1]["threads"] == 2
    without = as_json([Outcome(measured.case)], {}, threads=2)
    assert without["machines"] == {}
    assert without["cases"][0]["bound"] is without["cases"][0]["share_of_bound"]["minimum"] is None


def test_the_whole_command(capsys, tmp_path):
    words = "bench --against none --cells rnn --shapes 3,4,5,6 --mode both --threads 1 --repeats 2 --burst 0.01".split()
    assert cli.main(words) == 0
    assert "Roofline" not in capsys.readouterr().out
    assert cli.main([*words, "--roofline", "--json", str(tmp_path / "samples.json")]) == 0
    table = capsys.readouterr().out.partition("Roofline")[2]
    assert [line.split()[5] for line in table.splitlines() if line.startswith("rnn")] == ["forward", "training"]
    stored = json.loads((tmp_path / "samples.json").read_text())
    assert all(0 < case["share_of_bound"]["minimum"] < 1 for case in stored["cases"])
    assert stored["machines"]["float32"]["ceilings"][0]["read"]["memory"] > 0


def test_the_picture_has_a_bar_a_case(measured):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    stored = as_json([measured, Outcome(measured.case)], {}, threads=2)
    axes = figure.subplots()
    assert plot.roofline(stored, ax=axes, title="t") is axes
    (bar,) = axes.patches
    assert bar.get_width() == pytest.approx(50.0)
    assert [text.get_text() for text in axes.texts] == ["50 %  launch"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lstm 3,4,5,6 forward"]
    assert axes.get_title(loc="left") == "t"
    with pytest.raises(ValueError, match="no case has a bound"):
        plot.roofline(as_json([Outcome(measured.case)], {}, threads=2))
