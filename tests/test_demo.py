"""The demos: their data, their parts, and that they are as good as they say."""

import argparse
import hashlib
import io
import os
import re
import signal
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import _jit, cli, demo, losses
from numrnn.data import sunspots
from numrnn.demo import classify, forecast, shapes, text

Capture = pytest.CaptureFixture[str]
CELLS = ("lstm", "gru", "rnn")


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return demo.main(parser.parse_args(words))


def errors(printed: str) -> dict[str, tuple[float, float]]:
    """The table of errors that the demo printed."""
    rows = re.findall(r"^  (\S.*?) +(\d+\.\d\d) +(\d+\.\d\d)$", printed, re.MULTILINE)
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
    windows = forecast.Windows.of(years, numbers)
    assert len(windows.years) == 309 - forecast.WINDOW
    for window in (0, 100, -1):
        at = int(windows.years[window]) - 1700
        np.testing.assert_array_equal(windows.before[window], numbers[at - forecast.WINDOW : at])
        assert windows.after[window] == numbers[at]
    train, held_out = windows.between(0, forecast.HELD_OUT_FROM), windows.between(forecast.HELD_OUT_FROM, 9999)
    assert (str(train), str(held_out)) == ("1709-1958", "1959-2008")


def test_the_scale_has_an_inverse_and_no_negative_numbers() -> None:
    _, numbers = sunspots()
    scale = forecast.Scale.of(numbers)
    scaled = scale.apply(numbers)
    assert abs(float(scaled.mean())) < 1e-12
    assert float(scaled.std()) == pytest.approx(1.0)
    np.testing.assert_allclose(scale.undo(scaled), numbers, rtol=1e-12, atol=1e-12)
    assert scale.undo(np.array([-100.0])).tolist() == [0.0]


def test_training_never_sees_the_held_out_years(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Other numbers after 1958 change no weight, hence no loss and no rehearsal."""
    monkeypatch.setattr(forecast, "MOST_EPOCHS", 3)
    texts = []
    for change in (0.0, 50.0):
        years, numbers = sunspots()
        numbers[years >= 1959] += change
        monkeypatch.setattr(forecast, "sunspots", lambda both=(years, numbers): both)
        run("--cell", "rnn")
        texts.append(capsys.readouterr().out)
    trainings = [printed.split("\nTraining")[1].split("\nError")[0] for printed in texts]
    assert trainings[0] == trainings[1]
    assert "rehearsal" in trainings[0]
    assert errors(texts[0]) != errors(texts[1])


@pytest.mark.parametrize("cell", CELLS)
def test_the_forecast_beats_persistence_and_linear_autoregression(cell: str, capsys: Capture) -> None:
    assert run("--cell", cell) == 0
    printed = capsys.readouterr().out
    table = errors(printed)
    names = ["persistence", "linear autoregression, 9 years", "the same on square roots", f"{cell.upper()}, mean of 8"]
    assert list(table) == names
    assert table["persistence"] == (30.35, 23.60)
    assert table["linear autoregression, 9 years"] == (16.95, 14.08)
    assert table["the same on square roots"] == (14.66, 11.95)
    *others, ours = table.values()
    assert all(ours[0] < other[0] and ours[1] < other[1] for other in others)
    assert "the network beats all of them" in printed


@pytest.mark.parametrize("cell", CELLS)
def test_it_shows_data_model_shapes_and_identities(cell: str, capsys: Capture) -> None:
    assert run("--cell", cell, "--epochs", "2", "--seed", "3") == 0
    printed = capsys.readouterr().out
    assert "309 rows, 1700 to 2008" in printed
    assert f"SequenceModel({cell.upper()}(input_size=1, hidden_size=32, seed=48), Linear(" in printed
    for row in (r"x +\(9, 250, 1\)", r"output +\(9, 250, 32\)", r"h_n +\(1, 250, 32\)", r"prediction +\(250, 1\)"):
        assert re.search(row, printed), row
    assert bool(re.search(r"c_n +\(1, 250, 32\)", printed)) == (cell == "lstm")
    assert len(re.findall(r"  yes  ", printed)) == (5 if cell == "lstm" else 4)
    assert "  NO  " not in printed
    assert "2 epochs" in printed
    assert "rehearsal" not in printed


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
    monkeypatch.setattr(shapes, "same", lambda left, right: False)
    assert run("--cell", "rnn", "--epochs", "1") == 1
    assert "  NO  " in capsys.readouterr().out


def test_notices_go_to_stderr(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(_jit, "is_cached", lambda kernel: False)
    run("--cell", "rnn", "--epochs", "2")
    captured = capsys.readouterr()
    assert captured.err.count("compiling kernels (first run only") == 1
    assert re.search(r"training: epoch 2 of 2, loss \d\.\d+ after 0 s\n", captured.err)
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
    ("words", "error", "expected"),
    [
        (("--epochs", "0"), ValueError, "--epochs 0: expected 1 or more"),
        (("--seed", "-1"), ValueError, "--seed -1: expected 0 or more"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(words: tuple[str, ...], error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
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
    ("name", "error", "expected"),
    [("x.nonsense", ValueError, "should end with one of"), ("nowhere/x.png", FileNotFoundError, "no folder")],
)
def test_a_place_that_cannot_be_drawn_into_is_refused_first(
    tmp_path: Path, name: str, error: type[Exception], expected: str
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(error, match=expected):
        numrnn.plot.check(tmp_path / name)


def test_an_unknown_demo_is_refused(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        run("translate")
    assert "forecast" in capsys.readouterr().err


def test_forecast_is_the_demo_that_needs_no_name(capsys: Capture) -> None:
    texts = []
    for words in ((), ("forecast",)):
        run(*words, "--cell", "rnn", "--epochs", "1")
        texts.append(capsys.readouterr().out.split("All of this took")[0])
    assert texts[0] == texts[1]


def test_bars_follow_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert text.sparkline([0.0, 1.0, 2.0, 7.0], 10) == "▁▂▃█"
    assert text.sparkline([0.0, 2.0, 6.0, 8.0], 2) == "▁█"
    assert text.sparkline([3.0, 3.0], 2) == "▁▁"
    assert text.picture(np.array([[0.0, 0.5], [1.0, 9.0]])) == ["  ▒▒", "████"]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert text.sparkline([0.0, 7.0], 2) == "_#"
    assert text.picture(np.array([[0.0, 1.0]])) == ["  ##"]


@pytest.mark.parametrize(("words", "loss"), [((), "mse"), (("classify",), "cross_entropy")])
def test_ctrl_c_ends_a_demo(
    words: tuple[str, ...], loss: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, capsys: Capture
) -> None:
    if words:
        request.getfixturevalue("digits")
    own = getattr(losses, loss)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return own(*arguments, **options)

    monkeypatch.setattr(losses, loss, interrupted)
    assert cli.main(["demo", *words, "--cell", "rnn"]) == 130
    printed = capsys.readouterr()
    assert "numrnn demo: interrupted" in printed.err
    assert "Verdict" not in printed.out
    assert "Accuracy" not in printed.out


@pytest.fixture
def digits() -> None:
    pytest.importorskip("sklearn.datasets", reason="the digits are scikit-learn's")


@pytest.mark.usefixtures("digits")
def test_a_digit_is_read_from_top_to_bottom_and_held_out_or_not() -> None:
    train, held_out = classify.load()
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    assert (train.x.shape, held_out.x.shape) == ((8, 1347, 8), (8, 450, 8))
    both = np.concatenate([train.x, held_out.x], axis=1).swapaxes(0, 1).reshape(-1, 64) * 16.0
    own = np.concatenate([train.labels, held_out.labels])
    assert sorted(map(tuple, np.column_stack([both, own]))) == sorted(map(tuple, np.column_stack([images, labels])))


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize(("cell", "least"), [("lstm", 0.97), ("gru", 0.97), ("rnn", 0.95)])
def test_the_classifier_is_accurate(cell: str, least: float, capsys: Capture) -> None:
    assert run("classify", "--cell", cell) == 0
    printed = capsys.readouterr().out
    (right,) = re.findall(r"Accuracy: .*, (\d+) of 450", printed)
    assert int(right) >= least * 450
    table = np.array([[int(word.replace(".", "0")) for word in line.split()[1:11]] for line in confusions(printed)])
    assert (int(np.trace(table)), int(table.sum())) == (int(right), 450)
    _, held_out = classify.load()
    np.testing.assert_array_equal(table.sum(axis=1), np.bincount(held_out.labels))
    last, every = (
        [float(share) for share in re.findall(r"(\d+\.\d)%", line)]
        for line in re.findall(r"^  trained on (?:last|every) state .*$", printed, re.MULTILINE)
    )
    assert last[-1] == pytest.approx(100.0 * int(right) / 450, abs=0.05)
    assert every[2] > last[2] + 30.0, "a head that was trained on every state answers early"


def confusions(printed: str) -> list[str]:
    """The lines of the table that the demo printed."""
    return re.findall(r"^    \d(?: +(?:\d+|\.)){10} +\d+\.\d%$", printed, re.MULTILINE)


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("cell", CELLS)
def test_the_classifier_shows_shapes_and_identities(cell: str, capsys: Capture) -> None:
    assert run("classify", "--cell", cell, "--epochs", "1") == 0
    printed = capsys.readouterr().out
    for row in (
        r"x +\(8, 1347, 8\)",
        r"output +\(8, 1347, 64\)",
        r"h_n +\(1, 1347, 64\)",
        r"scores +\(1347, 10\)",
        r"softmax\(scores\) +\(1347, 10\)",
        r"on every state +\(8, 1347, 10\)",
    ):
        assert re.search(row, printed), row
    assert bool(re.search(r"c_n +\(1, 1347, 64\)", printed)) == (cell == "lstm")
    assert len(re.findall(r" yes  ", printed)) == (7 if cell == "lstm" else 6)
    assert "Linear(in_features=64, out_features=10" in printed
    assert len(confusions(printed)) == 10


@pytest.mark.usefixtures("digits")
def test_a_seed_gives_the_same_classifier_again(capsys: Capture) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        run("classify", "--cell", "gru", "--epochs", "2", "--seed", seed)
        texts.append(capsys.readouterr().out.split("Training")[1].split("All of this took")[0])
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.usefixtures("digits")
def test_the_classifier_draws(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "digits.png"
    assert run("classify", "--cell", "rnn", "--epochs", "2", "--plot", str(file)) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert str(file) in capsys.readouterr().out


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "numrnn\[sklearn\]"'):
        run("classify")
    assert capsys.readouterr().out == ""
