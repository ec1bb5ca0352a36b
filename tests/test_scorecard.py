"""The rows of the reliability scorecard that are fast and core; `nox -s scorecard` runs the whole."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from scorecard.__main__ import chosen, main, report
from scorecard.rows import GROUPS, LAYERS, Row, all_rows
from scorecard.running import Outcome, run

ROOT = Path(__file__).parents[1]
ROWS = all_rows()
IN_GROUP = {"T": 11, "P": 9, "C": 10, "N": 14, "I": 12, "S": 6, "F": 9}
OPTIONAL = {"T-11", "P-07", "P-08", "N-10", "N-13", "I-12", "S-06", "F-03", "F-04", "F-08"}


FAST = [(row, row.fast if isinstance(row.fast, str) else None) for row in ROWS.values() if row.fast]


@pytest.mark.parametrize(("row", "layer"), FAST, ids=lambda value: getattr(value, "id", value))
def test_what_must_happen_happens(row: Row, layer: str | None) -> None:
    outcome = run(row, layer)
    if outcome.result == "skipped":
        pytest.skip(outcome.reason)
    assert outcome.result == "passed", outcome.reason


def test_every_row_is_there() -> None:
    assert Counter(id[0] for id in ROWS) == IN_GROUP == {group: IN_GROUP[group] for group in GROUPS}
    assert {row.id for row in ROWS.values() if row.optional} == OPTIONAL
    for row in ROWS.values():
        assert row.fast in (True, False) or row.fast in row.layers, row.id
        assert set(row.layers) <= set(LAYERS)


def test_every_test_that_shows_a_row_exists() -> None:
    for row in ROWS.values():
        for test in row.tests:
            path, *names = test.split("::")
            tree: ast.AST = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            for name in names:
                found = [node for node in ast.walk(tree) if getattr(node, "name", None) == name]
                assert found, f"{row.id}: there is no {test}"
                tree = found[0]


def _row(program: str, seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """A row of our own, in a module of its own, which the fresh process finds."""
    (tmp_path / "sitecustomize.py").write_text(
        "import tests.scorecard.rows as rows\n"
        "known = rows.all_rows\n"
        f"def program():\n    {program}\n"
        "rows.all_rows = lambda: {'X-01': rows.Row('X-01', 'x', program)}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Row("X-01", "x", lambda: None, seconds=seconds)


@pytest.mark.parametrize(
    ("program", "result", "reason"),
    [
        ("pass", "passed", ""),
        ("raise ValueError('so it is')", "failed", "exit code 1: ValueError: so it is"),
        ("raise rows.CannotRunError('no such machine')", "skipped", "cannot run: no such machine"),
        ("import os; os._exit(0)", "failed", "exit code 0"),
        ("import os; os.abort()", "failed", "ended by SIGABRT"),
        ("import time; time.sleep(60)", "failed", "still running after 3 s"),
    ],
)
def test_a_row_passes_only_if_it_says_so(
    program: str, result: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run(_row(program, 3, tmp_path, monkeypatch))
    assert (outcome.result, outcome.reason[: len(reason)]) == (result, reason)


def test_a_row_fails_if_it_fails_on_one_layer(capsys: pytest.CaptureFixture[str]) -> None:
    seen = {
        "T-01": [Outcome(ROWS["T-01"], "omp", "passed", 1.0), Outcome(ROWS["T-01"], "tbb", "skipped", 0.0, "not here")],
        "T-02": [Outcome(ROWS["T-02"], "omp", "passed", 1.0), Outcome(ROWS["T-02"], "tbb", "failed", 1.0, "aborted")],
        "T-11": [Outcome(ROWS["T-11"], None, "skipped", 0.0, "no interpreter")],
        "N-06": [Outcome(ROWS["N-06"], None, "passed", 1.0)],
    }
    assert not report(seen)
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"core T threads 1/2", "core N numbers 1/1", "core all 2/3", "optional T threads 0/1"} <= set(said)
    assert f"failed: T-02 tbb {ROWS['T-02'].title}: aborted" in said
    assert f"skipped: T-11 {ROWS['T-11'].title}: no interpreter" in said
    del seen["T-02"]
    assert report(seen)
    seen["N-07"] = [Outcome(ROWS["N-07"], None, "skipped", 0.0, "nothing there")]
    assert not report(seen), "a core row ran nowhere"


def test_rows_are_chosen_by_id_and_group() -> None:
    assert [row.id for row in chosen(["S-05", "T-08"], fast=False)] == ["T-08", "S-05"]
    assert len(chosen(["C"], fast=False)) == IN_GROUP["C"]
    assert all(row.fast for row in chosen([], fast=True))
    with pytest.raises(SystemExit, match="no row or group X-01"):
        chosen(["X-01"], fast=False)


@pytest.mark.parametrize("result", ["passed", "failed", "skipped"])
def test_the_exit_code_tells_whether_rows_failed_or_core_ones_could_not_run(
    result: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorecard.running.run", lambda row, layer=None: Outcome(row, layer, result, 1.0, "why"))
    assert main(["T-11"]) == (1 if result == "failed" else 0)
    capsys.readouterr()
    assert main(["C-07", "T-01"]) == (0 if result == "passed" else 1)
    assert sum(line.split()[-4:-1] == [result, "1.0", "s"] for line in capsys.readouterr().out.splitlines()) == 4
