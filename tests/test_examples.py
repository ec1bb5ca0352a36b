"""The programs in examples/ run, draw, and get the results that they are there to show."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RECORDINGS = any(importlib.util.find_spec(package) for package in ("aeon", "sktime"))

needs_recordings = pytest.mark.skipif(not RECORDINGS, reason="the recordings come with aeon or sktime")


def run(name: str, folder: Path) -> str:
    """Run an example in a process of its own, with a picture where that is possible; return what it printed."""
    draws = importlib.util.find_spec("matplotlib") is not None
    words = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *(["picture.png"] if draws else [])]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr, ended.stderr
    if draws:
        assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    return ended.stdout


def number_after(label: str, text: str) -> float:
    found = re.search(rf"{re.escape(label)}\s+(-?\d+(?:\.\d+)?)", text)
    assert found, f"{label!r} is not in {text!r}"
    return float(found[1])


@needs_recordings
def test_speakers_are_told_apart(tmp_path: Path) -> None:
    text = run("speakers", tmp_path)
    assert "270 recordings to train on, 7 to 26 steps; 370 to test" in text
    assert number_after("accuracy", text) >= 95.0


def test_without_recordings_it_is_said_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("speakers", ROOT / "examples" / "speakers.py")
    assert spec is not None
    assert spec.loader is not None
    speakers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(speakers)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install aeon"):
        speakers.main()


def test_a_state_that_is_carried_knows_more_than_one_piece(tmp_path: Path) -> None:
    text = run("long_series", tmp_path)
    carried = number_after("state carried", text)
    assert carried < 0.5 * number_after("state zero at each piece", text)
    assert carried < 0.3 * number_after("the last sample again", text)


def test_the_band_holds_about_as_many_years_as_it_says(tmp_path: Path) -> None:
    """Of 50 years 40 are expected; with independent years 33 to 46 would be within two and a half deviations."""
    text = run("quantiles", tmp_path)
    assert 33 <= number_after("between the 10 % and the 90 % quantile:", text) <= 46
    assert 15 <= number_after("below the median:", text) <= 35
    assert number_after("width of the band:", text) > 0.0


def test_a_roll_out_beats_the_week_before(tmp_path: Path) -> None:
    text = run("rollout", tmp_path)
    assert number_after("roll-out", text) < 0.5 * number_after("the same hour a week before", text)
    assert number_after("paths:", text) >= 24


def test_a_cell_of_one_s_own_learns(tmp_path: Path) -> None:
    text = run("own_cells", tmp_path)
    assert text.count("adjoints are those of finite differences") == 2
    assert number_after("MGU, 2304 weights: squared error", text) < 0.1 * number_after(
        "always the mean: squared error", text
    )


def test_every_example_is_listed_and_tested() -> None:
    names = {path.stem for path in EXAMPLES}
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^- `(\w+)\.py`", readme, re.MULTILINE)) == names
    assert set(re.findall(r'run\("(\w+)", tmp_path\)', Path(__file__).read_text(encoding="utf-8"))) == names
