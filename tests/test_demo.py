"""The demo: its data, its parts, and that it beats what it is compared with."""

import argparse
import hashlib
import io
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import _jit, demo
from numrnn.data import sunspots

Capture = pytest.CaptureFixture[str]
CELLS = ("lstm", "gru", "rnn")


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return demo.main(parser.parse_args(words))


def errors(text: str) -> dict[str, tuple[float, float]]:
    """The table of errors that the demo printed."""
    rows = re.findall(r"^  (\S.*?) +(\d+\.\d\d) +(\d+\.\d\d)$", text, re.MULTILINE)
    return {name: (float(squared), float(absolute)) for name, squared, absolute in rows}


def test_the_series_is_the_one_its_readme_describes() -> None:
    years, numbers = sunspots()
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    assert numbers.dtype == np.float64
    assert [float(numbers[k]) for k in (0, 1, -2, -1)] == [5.0, 11.0, 7.5, 2.9]
    assert (float(numbers.min()), float(numbers.max())) == (0.0, 190.2)
    folder = resources.files("numrnn.data")
    digest = hashlib.sha256(folder.joinpath("sunspots.csv").read_bytes()).hexdigest()
    assert digest in folder.joinpath("README.md").read_text(encoding="utf-8")


def test_windows_end_before_their_target() -> None:
    years, numbers = sunspots()
    windows = demo.Windows.of(years, numbers)
    assert len(windows.years) == 309 - demo.WINDOW
    for window in (0, 100, -1):
        at = int(windows.years[window]) - 1700
        np.testing.assert_array_equal(windows.before[window], numbers[at - demo.WINDOW : at])
        assert windows.after[window] == numbers[at]
    train, held_out = windows.between(0, demo.HELD_OUT_FROM), windows.between(demo.HELD_OUT_FROM, 9999)
    assert (str(train), str(held_out)) == ("1709-1958", "1959-2008")


def test_the_scale_has_an_inverse_and_no_negative_numbers() -> None:
    _, numbers = sunspots()
    scale = demo.Scale.of(numbers)
    scaled = scale.apply(numbers)
    assert abs(float(scaled.mean())) < 1e-12
    assert float(scaled.std()) == pytest.approx(1.0)
    np.testing.assert_allclose(scale.undo(scaled), numbers, rtol=1e-12, atol=1e-12)
    assert scale.undo(np.array([-100.0])).tolist() == [0.0]


def test_training_never_sees_the_held_out_years(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Other numbers after 1958 change no weight, hence no loss and no rehearsal."""
    monkeypatch.setattr(demo, "MOST_EPOCHS", 3)
    texts = []
    for change in (0.0, 50.0):
        years, numbers = sunspots()
        numbers[years >= 1959] += change
        monkeypatch.setattr(demo, "sunspots", lambda both=(years, numbers): both)
        run("--cell", "rnn")
        texts.append(capsys.readouterr().out)
    trainings = [text.split("\nTraining")[1].split("\nError")[0] for text in texts]
    assert trainings[0] == trainings[1]
    assert "rehearsal" in trainings[0]
    assert errors(texts[0]) != errors(texts[1])


@pytest.mark.parametrize("cell", CELLS)
def test_the_forecast_beats_persistence_and_linear_autoregression(cell: str, capsys: Capture) -> None:
    assert run("--cell", cell) == 0
    text = capsys.readouterr().out
    table = errors(text)
    names = ["persistence", "linear autoregression, 9 years", "the same on square roots", f"{cell.upper()}, mean of 8"]
    assert list(table) == names
    assert table["persistence"] == (30.35, 23.60)
    assert table["linear autoregression, 9 years"] == (16.95, 14.08)
    assert table["the same on square roots"] == (14.66, 11.95)
    *others, ours = table.values()
    assert all(ours[0] < other[0] and ours[1] < other[1] for other in others)
    assert "the network beats all of them" in text


@pytest.mark.parametrize("cell", CELLS)
def test_it_shows_data_model_shapes_and_identities(cell: str, capsys: Capture) -> None:
    assert run("--cell", cell, "--epochs", "2", "--seed", "3") == 0
    text = capsys.readouterr().out
    assert "309 rows, 1700 to 2008" in text
    assert f"SequenceModel({cell.upper()}(input_size=1, hidden_size=32, seed=48), Linear(" in text
    for row in (r"x +\(9, 250, 1\)", r"output +\(9, 250, 32\)", r"h_n +\(1, 250, 32\)", r"prediction +\(250, 1\)"):
        assert re.search(row, text), row
    assert bool(re.search(r"c_n +\(1, 250, 32\)", text)) == (cell == "lstm")
    assert len(re.findall(r"  yes  ", text)) == (5 if cell == "lstm" else 4)
    assert "  NO  " not in text
    assert "2 epochs" in text
    assert "rehearsal" not in text


def test_a_seed_gives_the_same_numbers_again(capsys: Capture) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        run("--cell", "gru", "--epochs", "3", "--seed", seed)
        texts.append(capsys.readouterr().out.split("All of this took")[0])
    assert texts[0] == texts[1]
    assert errors(texts[0]) != errors(texts[2])


def test_too_little_training_is_called_by_its_name(capsys: Capture) -> None:
    assert run("--cell", "rnn", "--epochs", "1") == 0
    assert "the network does not beat all of them" in capsys.readouterr().out


def test_an_identity_that_fails_is_shown_and_returned(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(demo, "_same", lambda left, right: False)
    assert run("--cell", "rnn", "--epochs", "1") == 1
    assert "  NO  " in capsys.readouterr().out


def test_notices_go_to_stderr_and_say_how_long(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(_jit, "is_cached", lambda kernel: False)
    run("--cell", "rnn", "--epochs", "2")
    captured = capsys.readouterr()
    assert re.search(r"compiling kernels \(first run only, about \d+ s\) \.\.\. \d+ s\n", captured.err)
    assert re.search(r"training: epoch 2 of 2, loss \d\.\d+, at most 0 s left\n", captured.err)
    assert "compiling" not in captured.out
    monkeypatch.setattr(_jit, "is_cached", lambda kernel: True)
    run("--cell", "rnn", "--epochs", "2")
    assert "compiling" not in capsys.readouterr().err


def test_a_terminal_that_knows_no_blocks_gets_plain_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    assert run("--cell", "rnn", "--epochs", "1") == 0
    plain.flush()
    plain.buffer.seek(0)
    assert b"Verdict" in plain.buffer.read()


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (("--epochs", "0"), ValueError, "--epochs 0: expected 1 or more"),
        (("--seed", "-1"), ValueError, "--seed -1: expected 0 or more"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(words: tuple[str, ...], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(*words)


def test_an_unknown_cell_is_refused(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        run("--cell", "transformer")
    assert "lstm" in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "numrnn\[plot\]"'):
        run("--plot", "forecast.png")
    assert capsys.readouterr().out == ""


def test_it_draws(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "forecast.png"
    assert run("--cell", "rnn", "--epochs", "2", "--plot", str(file)) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert str(file) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [("x.nonsense", ValueError, "should end with one of"), ("nowhere/x.png", FileNotFoundError, "no folder")],
)
def test_a_place_that_cannot_be_drawn_into_is_refused_first(
    tmp_path: Path, name: str, error: type[Exception], text: str
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(error, match=text):
        numrnn.plot.check(tmp_path / name)


def test_progress_uses_tqdm_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A stand-in with tqdm's three calls; the real one draws bars."""
    calls: list[Any] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            calls.append(options["total"])

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_error: object) -> None:
            calls.append("closed")

        def set_postfix(self, **values: Any) -> None:
            calls.append(values["loss"])

        def update(self) -> None:
            calls.append("update")

    monkeypatch.setitem(sys.modules, "tqdm", argparse.Namespace(tqdm=Bar))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with demo._progress("training", 2) as report:
        report(1, 0.5)
    assert calls == [2, "0.500", "update", "closed"]
