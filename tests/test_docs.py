"""The pages under docs/ say what is so, and their drawings are drawn by numrnn.plot."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import ROOT, blocks, missing_files, read, run

import numrnn

PAGE = "docs/output-and-states.md"
EMBEDDING = "docs/embedding.md"
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    """Without matplotlib all of it but the drawings."""
    program = blocks(read(PAGE), "python")
    draws = importlib.util.find_spec("matplotlib") is not None
    run(PAGE, program if draws else [block for block in program if "numrnn.plot" not in block[1]])
    drawn = {path.name for path in tmp_path.glob("*.png") if path.read_bytes().startswith(PNG)}
    assert drawn == (set(re.findall(r"\]\((\w+\.png)\)", read(PAGE))) if draws else set())


def test_the_code_of_embedding_runs() -> None:
    pytest.importorskip("dask.array")
    pytest.importorskip("xarray")
    run(EMBEDDING, blocks(read(EMBEDDING), "python"))


def test_what_the_pages_name_exists_and_is_small() -> None:
    assert missing_files(read(PAGE)) | missing_files(read(EMBEDDING)) == set()
    pictures = list((ROOT / "docs").glob("*.png"))
    assert {path.name for path in pictures} == {"states.png", "gates.png"}
    assert all(path.read_bytes().startswith(PNG) and path.stat().st_size < 60_000 for path in pictures)


def test_states_are_drawn_over_time_into_the_axes_given() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    steps = np.arange(12.0).reshape(4, 3)
    axes = figure.subplots()
    assert numrnn.plot.states(steps, ax=axes, title="t") is axes
    (image,) = axes.images
    assert np.array_equal(image.get_array(), steps.T)
    assert image.get_clim() == (-11.0, 11.0)
    assert axes.get_title(loc="left") == "t"
    assert numrnn.plot.states(steps, limit=2.0).images[0].get_clim() == (-2.0, 2.0)
    assert numrnn.plot.states(np.zeros((4, 3))).images[0].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize(("cell", "names"), [("LSTM", ["i", "f", "g", "o"]), ("GRU", ["r", "z", "n"])])
def test_gates_are_bands_of_one_row(cell: str, names: list[str], rng: np.random.Generator) -> None:
    pytest.importorskip("matplotlib")
    x = rng.standard_normal((6, 3, 2))
    layer = getattr(numrnn, cell)(2, 5, num_layers=2, bidirectional=True, seed=0)
    internals = layer(x, internals=True).internals
    axes = numrnn.plot.gates(internals, layer=0, direction=1, row=2)
    expected = np.concatenate([internals.gates[name][0][1][:, 2] for name in names], axis=1).T
    assert np.array_equal(axes.images[0].get_array(), expected)
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    alone = numrnn.plot.gates(layer(x[:, 2], internals=True).internals, layer=0, direction=1)
    assert np.array_equal(alone.images[0].get_array(), expected)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has 3 axes.*\n.*\(4, 2, 3\)\n.*steps\[:, row\]"):
        numrnn.plot.states(np.zeros((4, 2, 3)))
    internals = numrnn.RNN(2, 3)(np.zeros((4, 1, 2)), internals=True).internals
    with pytest.raises(ValueError, match="RNN has no gates"):
        numrnn.plot.gates(internals)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "numrnn\[plot\]"'):
        numrnn.plot.states(np.zeros((4, 3)))
