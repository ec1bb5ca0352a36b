"""Few rows: tasks that share them and meet at every step, and what is hoisted, say what one task says, bit for bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from cases import Case, assert_same_bits, call, layer_answers, make_layer, make_problem, pull, result_answers

import numrnn
from numrnn import _threads
from numrnn.cellspec import BUILT_IN
from numrnn.engine import geometry
from numrnn.engine.plan import forget_plans, plan_shape
from numrnn.kernels import launch, tasks

SHAPES = ((1, 30, 33, 130, 2), (2, 9, 5, 200, 1), (3, 7, 70, 129, 1), (1, 70, 9, 65, 1), (1, 5, 3, 64, 2))
CASES = [Case(cell, *shape, dtype=dtype) for cell in BUILT_IN for shape in SHAPES for dtype in ("float32", "float64")]
CASES += [Case(cell, 3, 12, 7, 130, resets=True) for cell in BUILT_IN]
CASES += [Case(cell, 4, 12, 7, 130, lengths="some_empty", batch_first=True) for cell in BUILT_IN]
CASES += [Case(cell, 1, 20, 7, 130, 2, bidirectional=True) for cell in BUILT_IN]
CASES += [Case("lstm", 2, 12, 7, 200, 2, proj_size=size) for size in (1, 66, 130)]
CASES += [Case("lstm", 2, 12, 7, 200, proj_size=70, resets=True, lengths="ragged")]

Cut = Callable[[int, int], None]


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cut]:
    """Sets below how many rows a thread columns are split, and up to how many the x side is hoisted."""

    def choose(few_rows: int, rows_to_hoist: int) -> None:
        monkeypatch.setattr(geometry, "FEW_ROWS", few_rows)
        monkeypatch.setattr(geometry, "ROWS_TO_HOIST", rows_to_hoist)
        monkeypatch.setattr(geometry, "FLOPS_A_MEETING", 1)
        monkeypatch.setattr(geometry, "FLOPS_A_THREAD", 1)
        forget_plans()

    _threads._alone = 0  # tasks of an earlier test may have missed each other on a busy machine
    yield choose
    forget_plans()
    _threads._alone = 0


@pytest.fixture
def meetings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the tasks of each launch that should meet did so."""
    seen: list[bool] = []
    run = launch.run_meeting

    def counted(*arguments: Any) -> bool:
        seen.append(run(*arguments))
        return seen[-1]

    monkeypatch.setattr(launch, "run_meeting", counted)
    return seen


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cut_changes_nothing(case: Case, cut: Cut) -> None:
    """Hoisted or fused, rows dealt to threads or columns: one task's answers to the last bit."""
    problem = make_problem(case)
    cut(0, 0)
    expected = layer_answers(make_layer(case), problem, n_threads=1)
    for few_rows, rows_to_hoist in ((0, 9), (9, 0), (9, 9)):
        cut(few_rows, rows_to_hoist)
        for n_threads in (1, 2):
            layer = make_layer(case)
            assert_same_bits(layer_answers(layer, problem, n_threads=n_threads), expected)
            last = call(layer.last, problem, n_threads=n_threads)
            np.testing.assert_array_equal(last.h_n, expected["h_n"], strict=True)


@pytest.mark.skipif(_threads._limit() < 2, reason="one thread has nobody to meet")
@pytest.mark.parametrize("cell", BUILT_IN)
def test_one_sequence_is_shared_by_threads(cell: str, meetings: list[bool]) -> None:
    case = Case(cell, 1, 40, 64, 256, dtype="float32")
    layer_answers(make_layer(case), make_problem(case), n_threads=2)
    assert len(meetings) == 2


@pytest.mark.parametrize("reason", ["layer", "busy", "processors", "late"])
def test_tasks_that_cannot_meet_are_one_task(
    reason: str, cut: Cut, meetings: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba's layer runs one task after the other; another thread has the pool; a task does not come in time.

    After the last of these the next launches do not even try.
    """
    case = Case("gru_reset_before", 1, 20, 16, 130, dtype="float32")
    problem, layer = make_problem(case), make_layer(case)
    expected = layer_answers(layer, problem, n_threads=1)
    cut(9, 9)
    if reason == "layer":
        monkeypatch.setattr("numba.threading_layer", lambda: "tbb")
    elif reason == "processors":
        monkeypatch.setattr(_threads, "processors", lambda: 1)
    elif reason == "busy":
        assert _threads._one_launch_at_a_time.acquire(blocking=False)
    else:
        serial_only = {name: (serial, serial) for name, (serial, _) in launch.FORWARD.items()}
        monkeypatch.setattr(launch, "FORWARD", serial_only)
        serial_only = {name: (serial, serial) for name, (serial, _) in launch.BACKWARD.items()}
        monkeypatch.setattr(launch, "BACKWARD", serial_only)
    try:
        assert_same_bits(layer_answers(layer, problem, n_threads=2), expected)
    finally:
        if reason == "busy":
            _threads._one_launch_at_a_time.release()
    assert meetings == [False, False]
    assert bool(_threads._alone) == (reason == "late")


def test_a_launch_that_is_called_off_has_written_nothing(cut: Cut) -> None:
    cut(9, 9)
    case = Case("lstm", 1, 20, 16, 130, dtype="float32")
    layer, problem = make_layer(case), make_problem(case)
    written: list[np.ndarray] = []
    serial = launch.FORWARD["lstm"][0]

    def watched(*arrays: Any) -> None:
        request, output, scratch = arrays[0], arrays[4], arrays[6]
        scratch = scratch[: request[request[tasks.TASKS_AT] + tasks.ARRIVAL_AT]]
        output[:], scratch[:] = 7.0, 7.0
        serial(*arrays)
        written.append(np.concatenate([output, scratch]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(launch.FORWARD, "lstm", (serial, watched))
        result = call(layer.__call__, problem, n_threads=2)
    if _threads._limit() > 1:
        assert len(written) == 1
        assert (written[0] == 7.0).all()
    assert_same_bits(result_answers(layer, result), result_answers(layer, call(layer.__call__, problem, n_threads=1)))


def test_a_second_pullback_meets_anew(cut: Cut) -> None:
    cut(9, 9)
    case = Case("lstm", 2, 12, 7, 200, 2, proj_size=66)
    layer, problem = make_layer(case), make_problem(case)
    _, pullback = call(layer.vjp, problem, n_threads=2)
    assert_same_bits(pull(layer, pullback, problem), pull(layer, pullback, problem))


def test_a_cut_gives_every_panel_to_one_task() -> None:
    """Over many sizes and threads: no panel twice, none left out."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        hidden, n_threads = int(rng.integers(1, 600)), int(rng.integers(1, 9))
        layer = numrnn.GRU(3, hidden)
        plan = geometry_plan(layer, int(rng.integers(1, 6)), n_threads)
        size = geometry.layer_sizes(plan, 0)
        chosen = geometry.cut_of(plan, size, 50, n_threads)
        assert chosen.n_groups == 1 or chosen.n_columns == 1
        assert chosen.n_groups * chosen.n_columns <= max(1, n_threads)
        assert chosen.n_columns <= size.n_panels


def geometry_plan(layer: Any, batch_size: int, n_threads: int) -> Any:
    """The plan of 50 steps."""
    return plan_shape(layer.signature, (50, batch_size, layer.input_size), n_threads)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_no_launch_asks_for_more_threads_than_allowed(
    n_threads: int, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two directions neither, and tasks that meet have a thread each; it is run by one here."""
    asked: list[int] = []

    @contextmanager
    def noted(n: int) -> Iterator[int]:
        asked.append(n)
        yield 1

    monkeypatch.setattr(_threads, "_limit", lambda: 3)
    monkeypatch.setattr(_threads, "processors", lambda: 3)
    monkeypatch.setattr(_threads, "launch", noted)
    for case in CASES:
        cut(1000, 3)
        layer_answers(make_layer(case), make_problem(case), n_threads=n_threads)
    assert bool(asked) == (n_threads > 1)
    assert max(asked, default=1) <= n_threads
