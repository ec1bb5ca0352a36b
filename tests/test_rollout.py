"""SequenceModel.rollout: the loop over streams in Python, what `vjp` predicts of a path, its noise, its forms."""

from __future__ import annotations

import copy
import importlib
import os
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import _jit

Rng = np.random.Generator
MAKERS: dict[str, Any] = {
    "rnn": numrnn.RNN,
    "relu": partial(numrnn.RNN, nonlinearity="relu"),
    "lstm": numrnn.LSTM,
    "projected": partial(numrnn.LSTM, proj_size=5),
    "gru": numrnn.GRU,
    "gru before": partial(numrnn.GRU, reset_after=False),
}
cells = pytest.mark.parametrize("cell", MAKERS)


def make(
    cell: str = "lstm", *, columns: int = 2, hidden: int = 20, listed: bool = False, dtype: str = "float64", **own: Any
) -> Any:
    """3 features, of which `columns` are predicted."""
    options: dict[str, Any] = {"dtype": dtype, "seed": 1} | own
    recurrent: Any = MAKERS[cell](3, hidden, **options)
    if listed:
        recurrent = [numrnn.GRU(3, 6, **options), MAKERS[cell](6, hidden, **options)]
    width = 5 if cell == "projected" else hidden
    return numrnn.SequenceModel(recurrent, numrnn.Linear(width, columns, dtype=dtype, seed=3))


def by_hand(model: Any, x: Any, steps: int, known: Any = None) -> Any:
    """The forecast of x (T, N, I) by streams and the readout, step by step."""
    layers = model.recurrent if isinstance(model.recurrent, tuple) else (model.recurrent,)
    streams = [layer.stream(x.shape[1]) for layer in layers]
    h = x
    for stream in streams:
        h = stream.run(h)
    h, predictions = h[-1], []
    for s in range(steps):
        predictions.append(model.readout(h))
        if s + 1 < steps:
            h = predictions[-1]
            if known is not None:
                h = np.concatenate([h, known[s].astype(h.dtype)], axis=-1)
            for stream in streams:
                h = stream.step(h)
    return np.array(predictions)


same = np.testing.assert_array_equal


@cells
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_it_is_the_loop_of_streams_and_readout(rng: Rng, cell: str, layers: int) -> None:
    """Bit for bit, whatever the number of rows."""
    model = make(cell, num_layers=layers)
    for rows in (1, 5, 6, 7, 16, 17, 33):
        x, known = rng.standard_normal((4, rows, 3)), rng.standard_normal((9, rows, 1))
        expected = by_hand(model, x, 9, known)
        same(model.rollout(x, 9, known=known), expected)
        same(model.rollout(x, 9, known=known[:-1]), expected)


def test_single_precision_and_threads_change_no_bit(rng: Rng) -> None:
    model = make("lstm", columns=3, dtype="float32", num_layers=2, hidden=33)
    for rows in (2, 7, 33, 200):
        x = rng.standard_normal((4, rows, 3)).astype(np.float32)
        expected = by_hand(model, x, 40)
        assert expected.dtype == np.float32
        for n_threads in (1, 2):
            same(model.rollout(x, 40, n_threads=n_threads), expected)


@pytest.mark.parametrize("cell", ["lstm", "projected"])
def test_a_list_of_layers_of_several_cells_is_a_chain(rng: Rng, cell: str) -> None:
    model = make(cell, listed=True)
    x, known = rng.standard_normal((4, 7, 3)), rng.standard_normal((9, 7, 1))
    same(model.rollout(x, 9, known=known), by_hand(model, x, 9, known))


def test_a_row_of_the_batch_is_a_forecast_of_its_own(rng: Rng) -> None:
    model = make("lstm", dtype="float32")
    x, known = rng.standard_normal((4, 33, 3)), rng.standard_normal((9, 33, 1))
    whole = model.rollout(x, 9, known=known)
    for rows in (slice(0, 1), slice(5, 12), slice(20, 33)):
        same(model.rollout(x[:, rows], 9, known=known[:, rows]), whole[:, rows])


def test_more_steps_begin_with_fewer_and_launches_do_not_show(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    from numrnn.engine import rollout

    model, x = make("lstm", columns=3), rng.standard_normal((4, 5, 3))
    whole = model.rollout(x, 30)
    same(model.rollout(x, 11), whole[:11])
    monkeypatch.setattr(rollout, "FLOPS_A_LAUNCH", 1e5)
    same(model.rollout(x, 30), whole)
    sampled = model.rollout(x, 30, noise=0.1, n_paths=3, seed=4)
    monkeypatch.undo()
    same(model.rollout(x, 30, noise=0.1, n_paths=3, seed=4), sampled)


@pytest.mark.parametrize("listed", [False, True])
def test_every_layout_of_the_history(rng: Rng, listed: bool) -> None:
    """Batch-first, one sequence, lengths, lists and packed sequences: each row as if it were alone."""
    model, first = make(listed=listed), make(listed=listed, batch_first=True)
    lengths = [4, 6, 1, 3]
    rows = [rng.standard_normal((length, 3)) for length in lengths]
    known = rng.standard_normal((8, 4, 1))
    alone = np.stack([by_hand(model, row[:, None], 8, known[:, n : n + 1])[:, 0] for n, row in enumerate(rows)], 1)
    for n, row in enumerate(rows):
        for each in (model, first):
            same(each.rollout(row, 8, known=known[:, n]), alone[:, n])
    same(model.rollout(rows, 8, known=known), alone)
    same(model.rollout(rows, 8, known=list(known.swapaxes(0, 1))), alone)
    same(model.rollout(numrnn.pack_sequence(rows, enforce_sorted=False), 8, known=known), alone)
    same(model.rollout(numrnn.pad_sequence(rows, False, np.nan), 8, known=known, lengths=lengths), alone)
    swapped, turned = alone.swapaxes(0, 1), known.swapaxes(0, 1)
    padded = numrnn.pad_sequence(rows, True, np.nan)
    same(first.rollout(padded, 8, known=turned, lengths=lengths), swapped)
    same(first.rollout(padded, 8, known=turned[:, :-1], lengths=lengths), swapped)
    same(first.rollout(rows, 8, known=turned), swapped)


def test_a_state_and_a_history_of_no_step(rng: Rng) -> None:
    model, x = make("lstm", columns=3), rng.standard_normal((6, 5, 3))
    state = model.recurrent(x[:4]).state
    whole = model.rollout(x, 7)
    same(model.rollout(x[4:], 7, state=state), whole)
    same(model.rollout(x[:0], 7, state=model.recurrent(x).state), whole)
    assert model.rollout(x[:, :0], 7).shape == (7, 0, 3)
    assert model.rollout(x[:, :0], 7, noise=1.0, n_paths=4).shape == (4, 7, 0, 3)


def test_it_begins_from_the_learned_initial_state(rng: Rng) -> None:
    model = numrnn.SequenceModel(numrnn.LSTM(2, 4, seed=1), numrnn.Linear(4, 2, seed=2), learn_initial_state=True)
    start = {f"initial_state.{name}": rng.standard_normal((1, 1, 4)) for name in ("h_0", "c_0")}
    model.set_parameters(start)
    x = rng.standard_normal((5, 3, 2))
    plain = numrnn.SequenceModel(model.recurrent, model.readout)
    same(model.rollout(x, 6), plain.rollout(x, 6, state=tuple(start.values())))
    same(model.rollout(x[:, 0], 6), model.rollout(x, 6)[:, 0])


@pytest.mark.parametrize(
    ("kind", "noise"), [("plain", 0.3), ("dropout", None), ("dropout", 0.3), ("listed", None), ("listed", 0.3)]
)
def test_a_path_is_what_vjp_predicts_of_it(rng: Rng, kind: str, noise: float | None) -> None:
    """Fed with a path as input, `vjp` with the path's rows and seed predicts that path, without its noise."""
    options: dict[str, Any] = {} if kind == "plain" else {"num_layers": 3, "dropout": 0.4}
    model = make("gru", columns=2, listed=kind == "listed", **options)
    x, known = rng.standard_normal((5, 4, 3)), rng.standard_normal((7, 4, 1))
    paths = model.rollout(x, 7, known=known, noise=noise, n_paths=3, seed=11)
    assert paths.shape == (3, 7, 4, 2)
    every = numrnn.SequenceModel(
        list(model.recurrent) if kind == "listed" else model.recurrent, model.readout, readout_on="every"
    )
    residuals = []
    for p, path in enumerate(paths):
        fed = np.concatenate([x, np.concatenate([path, known], axis=-1)[:-1]])
        prediction, _ = every.vjp(fed, seed=11, row0=4 * p)
        residuals.append(path - prediction[4:])
    assert not np.array_equal(paths[0], paths[1])
    if noise is None:
        assert not np.any(residuals)
    else:
        np.testing.assert_allclose(np.std(residuals), noise, rtol=0.15)
        assert len(np.unique(np.round(residuals, 12))) == paths.size


def test_dropout_counts_the_steps_of_each_row(rng: Rng) -> None:
    """A padded row's masks go on from its own length."""
    model = make("lstm", num_layers=2, dropout=0.5)
    rows = [rng.standard_normal((length, 3)) for length in (2, 6, 3)]
    known = rng.standard_normal((5, 3, 1))
    paths = model.rollout(rows, 5, known=known, n_paths=2, seed=9)
    every = numrnn.SequenceModel(model.recurrent, model.readout, readout_on="every")
    for p in range(2):
        for n, row in enumerate(rows):
            fed = np.concatenate([row, np.concatenate([paths[p, :, n], known[:, n]], axis=-1)[:-1]])
            prediction, _ = every.vjp(fed[:, None], seed=9, row0=3 * p + n)
            same(prediction[len(row) - 1 :, 0], paths[p, :, n])


@pytest.mark.parametrize("module", ["engine", "nn"])
def test_how_many_paths_go_at_once_does_not_show(rng: Rng, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Neither over the history, where each path has masks of its own, nor over the forecast."""
    rollout = importlib.import_module(f"numrnn.{module}.rollout")
    masked, plain = make("gru", columns=3, num_layers=2, dropout=0.3), make("gru", columns=3, num_layers=2)
    rows = [rng.standard_normal((length, 3)) for length in (3, 5)]
    options: dict[str, Any] = {"noise": 0.2, "n_paths": 9, "seed": 2}
    expected = [model.rollout(rows, 4, **options) for model in (masked, plain)]
    for rows_at_once in (1, 4, 7):
        monkeypatch.setattr(rollout, "_ROWS_AT_ONCE", rows_at_once)
        for model, paths in zip((masked, plain), expected, strict=True):
            same(model.rollout(rows, 4, **options), paths)


def test_with_dropout_of_one_every_path_loses_the_layers_below(rng: Rng) -> None:
    model = make("rnn", columns=3, num_layers=2, dropout=1.0)
    x = rng.standard_normal((4, 2, 3))
    paths = model.rollout(x, 6, n_paths=2, seed=0)
    assert np.isfinite(paths).all()
    same(paths, np.broadcast_to(paths[:1, :, :1], paths.shape))


def test_the_forecast_without_paths_and_noise_has_no_dropout(rng: Rng) -> None:
    model = make("lstm", columns=3, num_layers=2, dropout=0.5)
    x = rng.standard_normal((4, 5, 3))
    same(model.rollout(x, 8, seed=1), by_hand(model, x, 8))


def test_noise_depends_on_its_place_alone(rng: Rng) -> None:
    model = make("lstm", columns=3, dtype="float32")
    x = rng.standard_normal((4, 40, 3))
    paths = model.rollout(x, 20, noise=0.5, n_paths=6, seed=5, n_threads=1)
    same(model.rollout(x, 20, noise=0.5, n_paths=6, seed=5, n_threads=2), paths)
    same(model.rollout(x, 9, noise=0.5, n_paths=2, seed=5), paths[:2, :9])
    same(model.rollout(x, 20, noise=0.5, n_paths=1, seed=5), paths[0])
    same(model.rollout(x[:, :7], 20, noise=0.5, n_paths=6, seed=5), paths[:, :, :7])
    assert not np.array_equal(model.rollout(x, 20, noise=0.5, n_paths=6, seed=6), paths)
    first, second = (model.rollout(x, 20, noise=0.5, n_paths=2) for _ in range(2))
    assert not np.array_equal(first, second)


def test_noise_is_gaussian_with_the_deviation_of_its_feature(rng: Rng) -> None:
    """Weights of zero predict nothing but the noise; moments, and Kolmogorov's distance from the normal law."""
    from scipy import stats

    model = make("rnn", columns=3)
    model.set_parameters({name: np.zeros_like(value) for name, value in model.parameters.items()})
    deviations = np.array([1.0, 0.0, 2.5])
    paths = model.rollout(rng.standard_normal((2, 50, 3)), 20, noise=deviations, n_paths=40, seed=3)
    assert not paths[..., 1].any()
    for feature in (0, 2):
        drawn = paths[..., feature].ravel() / deviations[feature]
        assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
        assert drawn.var() == pytest.approx(1.0, abs=4 * np.sqrt(2 / drawn.size))
        assert stats.kstest(drawn, "norm").pvalue > 1e-4
    flat = paths[..., [0, 2]].reshape(40, -1, 2)
    for one, other in ((flat[1:], flat[:-1]), (flat[:, 1:], flat[:, :-1]), (flat[..., :1], flat[..., 1:])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


def test_readout_on_every_forecasts_the_same(rng: Rng) -> None:
    model, x = make("gru", columns=3), rng.standard_normal((4, 5, 3))
    every = numrnn.SequenceModel(model.recurrent, model.readout, readout_on="every")
    same(every.rollout(x, 8), model.rollout(x, 8))


def test_nothing_given_is_changed(rng: Rng) -> None:
    model = make("lstm")
    x, known = rng.standard_normal((4, 5, 3)), rng.standard_normal((6, 5, 1))
    state = tuple(rng.standard_normal((1, 5, 20)) for _ in range(2))
    before = copy.deepcopy((x, known, state))
    parameters = model.state_dict()
    first = model.rollout(x, 6, known=known, state=state, noise=[0.1, 0.2], n_paths=3, seed=0)
    same(model.rollout(x, 6, known=known, state=state, noise=[0.1, 0.2], n_paths=3, seed=0), first)
    for kept, now in zip((*before[:2], *before[2]), (x, known, *state), strict=True):
        same(now, kept)
    for name, value in model.parameters.items():
        same(value, parameters[name])


@pytest.mark.filterwarnings("ignore:NUMBA_DISABLE_JIT")
@pytest.mark.parametrize("listed", [False, True])
def test_without_the_compiler_the_reference_forecasts(rng: Rng, monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    model = make("lstm", listed=listed)
    x, known = rng.standard_normal((4, 3, 3)), rng.standard_normal((5, 3, 1))
    plain = model.rollout(x, 5, known=known)
    paths = model.rollout(x, 5, known=known, noise=0.2, n_paths=2, seed=8)
    monkeypatch.setattr(_jit, "DISABLED", True)
    np.testing.assert_allclose(model.rollout(x, 5, known=known), plain, atol=1e-12)
    np.testing.assert_allclose(model.rollout(x, 5, known=known, noise=0.2, n_paths=2, seed=8), paths, atol=1e-12)
    masked = make("gru", num_layers=2, dropout=0.5)
    with pytest.raises(NotImplementedError, match="dropout needs the compiled kernels"):
        masked.rollout(x, 5, known=known, n_paths=2, seed=8)


X = np.zeros((4, 5, 3))
LINEAR = numrnn.Linear(6, 2)
GRU = numrnn.GRU(3, 6)


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (numrnn.SequenceModel(GRU, None), ValueError, "feeds back what `readout` predicts, and this model has none"),
        (numrnn.SequenceModel(GRU, LINEAR, readout_on="mean"), ValueError, 'readout_on="mean" from many'),
        (numrnn.SequenceModel(GRU, LINEAR, readout_on="max"), ValueError, 'readout_on="last" or "every"'),
        (
            numrnn.SequenceModel(numrnn.GRU(3, 3, bidirectional=True), LINEAR),
            NotImplementedError,
            "a bidirectional layer has no roll-out",
        ),
        (
            numrnn.SequenceModel(GRU, numrnn.Linear(6, 4)),
            ValueError,
            "the readout predicts 4 features, and the model reads 3",
        ),
    ],
    ids=str,
)
def test_models_that_cannot_feed_themselves_are_refused(model: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^SequenceModel: (?s:.*){words}"):
        model.rollout(X, 3)


KNOWN = np.zeros((3, 5, 1))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, "`known` is missing: 1 of the inputs are not predicted"),
        (
            {"known": np.zeros((4, 5, 1))},
            ValueError,
            r"`known` has shape \(4, 5, 1\), expected \(3, 5, 1\), or \(2, 5, 1\)",
        ),
        ({"known": np.zeros((5, 3, 1))}, ValueError, r"read as \(time, batch, features\)"),
        ({"known": KNOWN + 0j}, TypeError, "`known` holds complex"),
        (
            {"known": KNOWN, "noise": [1.0, 2.0, 3.0]},
            ValueError,
            r"`noise` has shape \(3,\), expected one number, or \(2,\)",
        ),
        ({"known": KNOWN, "noise": -1.0}, ValueError, "`noise` should be finite and not negative, got -1.0"),
        ({"known": KNOWN, "noise": np.nan}, ValueError, "`noise` should be finite"),
        ({"known": KNOWN, "noise": True}, TypeError, "`noise` should be a standard deviation, got bool"),
        ({"known": KNOWN, "noise": "much"}, TypeError, "`noise` holds text"),
        ({"known": KNOWN, "n_paths": 2}, ValueError, "n_paths=2 with neither `noise` nor dropout"),
        ({"known": KNOWN, "n_paths": 2, "noise": 0.0}, ValueError, "all paths would be the same"),
        ({"known": KNOWN, "n_paths": 0}, ValueError, "`n_paths` should be an int of 1 or more, got 0"),
        ({"known": KNOWN, "steps": 0}, ValueError, "`steps` should be an int of 1 or more, got 0"),
        ({"known": KNOWN, "steps": 2.0}, TypeError, "`steps` should be an int"),
        ({"known": KNOWN, "seed": -1}, ValueError, "`seed` should be an int of 0 or more"),
    ],
    ids=str,
)
def test_wrong_arguments_are_explained(options: Any, error: type[Exception], words: str) -> None:
    model = numrnn.SequenceModel(GRU, LINEAR)
    with pytest.raises(error, match=f"^SequenceModel: (?s:.*){words}"):
        model.rollout(X, **{"steps": 3} | options)


def test_known_is_refused_where_everything_is_predicted() -> None:
    model = numrnn.SequenceModel(GRU, numrnn.Linear(6, 3))
    with pytest.raises(ValueError, match="`known` was given, but every input of the model is predicted"):
        model.rollout(X, 3, known=KNOWN)


def test_one_step_needs_nothing_known() -> None:
    model = numrnn.SequenceModel(GRU, LINEAR)
    same(model.rollout(X, 1)[0], model(X))


def test_more_than_the_machine_holds_is_refused() -> None:
    model = numrnn.SequenceModel(GRU, numrnn.Linear(6, 3))
    with pytest.raises(MemoryError, match=r"needed for 1 x 5 forecasts of 10000000000000 steps"):
        model.rollout(X, 10**13)


def test_with_the_compiler_off_from_the_start_the_same_is_predicted() -> None:
    """Plain Python runs the roll-out's noise and the readouts over steps, too."""
    program = """
import warnings
import numpy as np
warnings.filterwarnings("error")
warnings.filterwarnings("ignore", "NUMBA_DISABLE_JIT")
import numrnn
x = np.linspace(-1.0, 1.0, 24).reshape(4, 2, 3)
layer, head = numrnn.GRU(3, 5, dtype="float64", seed=1), numrnn.Linear(5, 3, dtype="float64", seed=2)
found = [numrnn.SequenceModel(layer, head).rollout(x, 5, noise=0.3, n_paths=3, seed=4)]
for readout_on in ("mean", "max"):
    prediction, pullback = numrnn.SequenceModel(layer, head, readout_on=readout_on).vjp(x, lengths=[4, 2])
    found += [prediction, pullback(prediction).x]
print(*np.concatenate([part.ravel() for part in found]))
"""
    outputs = []
    for off in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": off}
        finished = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert finished.returncode == 0, finished.stderr
        outputs.append(np.array(finished.stdout.split(), float))
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-12)
