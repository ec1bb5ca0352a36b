"""Pictures of trainings and predictions show the numbers they were given; the norms are those of the gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import losses, plot

CELLS = (numrnn.RNN, numrnn.LSTM, numrnn.GRU)


@pytest.fixture
def axes() -> Any:
    return pytest.importorskip("matplotlib.figure").Figure().subplots()


def lines(axes: Any) -> dict[str, Any]:
    """What stands in the legend, with the numbers drawn."""
    return {line.get_label(): line.get_ydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_history_has_both_losses_and_marks_the_best_epoch(axes: Any) -> None:
    recorded = {"loss": [3.0, 2.0, 1.0, 0.9], "val_loss": [3.1, 2.0, 2.5, 2.6], "lr": [0.1] * 4}
    assert plot.history(recorded, ax=axes, title="t") is axes
    assert {name: list(values) for name, values in lines(axes).items()} == {
        "training loss": recorded["loss"],
        "validation loss": recorded["val_loss"],
    }
    (mark,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (2, 2.0)
    assert axes.texts[0].get_text() == "epoch 2: 2"
    assert axes.get_yscale() == "linear"
    assert len(axes.figure.axes) == 1, "the learning rate did not change"
    assert axes.get_title(loc="left") == "t"


def test_a_history_of_fit_is_drawn(axes: Any) -> None:
    model = numrnn.SequenceModel(numrnn.RNN(1, 4, seed=0), numrnn.Linear(4, 1, seed=0))
    adam = numrnn.optim.Adam(model, lr=0.05)
    x, y = np.ones((5, 8, 1)), np.zeros((8, 1))
    history = numrnn.fit(model, x, y, loss=losses.mse, optimizer=adam, epochs=4, progress=False, seed=0)
    plot.history(history, ax=axes)
    assert list(lines(axes)["training loss"]) == history["loss"]
    assert axes.get_ylabel() == "training loss"
    assert list(axes.get_lines()[0].get_xdata()) == [1, 2, 3, 4]


def test_a_wide_range_of_losses_is_drawn_on_a_logarithmic_axis(axes: Any) -> None:
    plot.history({"loss": [1.0, 0.01]}, ax=axes)
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("wide", [[1.0, -0.01], [1.0, 0.0], [1.0, 0.12]])
def test_losses_that_are_not_positive_or_lie_close_stay_linear(axes: Any, wide: list[float]) -> None:
    plot.history({"loss": wide}, ax=axes)
    assert axes.get_yscale() == "linear"


def test_a_learning_rate_that_changes_has_an_axis_of_its_own(axes: Any) -> None:
    rates = [0.1, 0.1, 0.05]
    plot.history({"loss": [3.0, 2.0, 1.0], "lr": rates}, ax=axes)
    _, right = axes.figure.axes
    assert list(right.get_lines()[0].get_ydata()) == rates
    assert right.get_ylabel() == "learning rate"


def test_a_loss_that_is_nan_is_never_the_best(axes: Any) -> None:
    plot.history({"loss": [2.0, 1.0, np.nan, np.inf]}, ax=axes)
    assert axes.texts[0].get_text() == "epoch 2: 1"
    figure = axes.figure
    figure.clear()
    plot.history({"loss": [np.nan]}, ax=figure.subplots())
    assert not figure.axes[0].texts


def test_a_history_of_no_epochs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"plot\.history: there is no epoch to draw"):
        plot.history({"loss": []})


def test_predictions_end_with_the_truth_unless_told_where_they_start(axes: Any) -> None:
    truth, prediction = np.arange(10.0), np.arange(4.0)
    assert plot.predictions(truth, prediction, ax=axes, held_out=7, title="t") is axes
    observed, predicted = axes.get_lines()
    np.testing.assert_array_equal(observed.get_ydata(), truth)
    np.testing.assert_array_equal(predicted.get_xdata(), [6, 7, 8, 9])
    np.testing.assert_array_equal(predicted.get_ydata(), prediction)
    (shaded,) = axes.patches
    assert shaded.get_x() == 6.5
    assert shaded.get_x() + shaded.get_width() == 9.5
    assert legend(axes) == ["observed", "predicted"]


def test_predictions_may_go_beyond_the_truth(axes: Any) -> None:
    plot.predictions(np.arange(5.0), np.arange(4.0), start=3, x=np.arange(2000, 2007), ax=axes)
    np.testing.assert_array_equal(axes.get_lines()[1].get_xdata(), [2003, 2004, 2005, 2006])
    assert axes.get_xlim() == (1999.5, 2006.5)


def test_steps_may_be_dates(axes: Any) -> None:
    days = np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]")
    plot.predictions(np.arange(5.0), np.arange(2.0), x=days, held_out=3, ax=axes)
    np.testing.assert_array_equal(axes.get_lines()[1].get_xdata(), days[3:])


def test_of_several_predictions_each_has_its_name(axes: Any) -> None:
    plot.predictions(np.arange(5.0), {"ours": np.zeros(3), "theirs": np.ones(3)}, ax=axes)
    assert legend(axes) == ["observed", "ours", "theirs"]
    assert lines(axes)["theirs"].tolist() == [1.0, 1.0, 1.0]
    assert axes.get_lines()[1].get_zorder() > axes.get_lines()[2].get_zorder()


def test_quantiles_are_bands_with_the_middle_as_a_line(axes: Any) -> None:
    quantiles = np.arange(3.0)[:, None] + [-2.0, -1.0, 0.0, 1.0, 2.0]
    plot.predictions(np.zeros(3), quantiles, levels=(0.05, 0.25, 0.5, 0.75, 0.95), ax=axes)
    assert legend(axes) == ["observed", "5 % to 95 %", "25 % to 75 %", "median"]
    for band, (low, high) in zip(axes.collections, ((0, 4), (1, 3)), strict=True):
        corners = band.get_paths()[0].vertices
        for step in range(3):
            heights = corners[corners[:, 0] == step, 1]
            assert (heights.min(), heights.max()) == (quantiles[step, low], quantiles[step, high])
    assert lines(axes)["median"].tolist() == [0.0, 1.0, 2.0]


def test_two_quantiles_are_a_band_alone(axes: Any) -> None:
    plot.predictions(np.zeros(3), np.zeros((3, 2)), levels=(0.1, 0.9), ax=axes)
    assert legend(axes) == ["observed", "10 % to 90 %"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.zeros((4, 1)), np.zeros(4)), r"`truth` has 2 axes, expected 1: \(steps,\)\.\n.*\n  Of \(steps, 1\)"),
        ((np.zeros(4), np.zeros((4, 3))), r"`prediction` has 2 axes.*\n.*\(4, 3\)\.\n  Of quantiles, pass `levels`"),
        ((np.zeros(4), np.zeros(4), (0.1, 0.9)), r"`prediction` has 1 axes, expected 2: \(steps, quantiles\)"),
        ((np.zeros(4), np.zeros((4, 3)), (0.1, 0.9)), "`prediction` has 3 quantiles, `levels` 2"),
        ((np.zeros(4), np.zeros((4, 2)), (0.9, 0.1)), r"`levels` should rise between 0 and 1, got \[0\.9, 0\.1\]"),
        ((np.zeros(4), np.zeros((4, 2)), (0.0, 0.5)), "`levels` should rise between 0 and 1"),
        ((np.zeros(4), np.zeros(5)), "`prediction` has 5 steps, `truth` 4.\n  Pass `start`"),
        ((np.zeros(4), np.zeros(0)), "`prediction` has no steps"),
        ((np.zeros(4), {}), "`prediction` is an empty mapping"),
        ((np.zeros(4), {"a": np.zeros(2)}, (0.5,)), "`levels` was given with a mapping"),
        (
            (np.zeros(4), {"a": np.zeros(2), "b": np.zeros(3)}),
            r"differ in their number of steps.\n  'a' \(2,\), 'b' \(3",
        ),
        ((np.zeros(4), np.zeros(2), None, -1), "`start` should be an int of 0 or more"),
        ((np.zeros(4), np.zeros(2), None, 3), r"`x` has shape \(4,\), expected \(5,\): one place a step"),
    ],
)
def test_predictions_that_cannot_be_drawn_are_refused(arguments: tuple[Any, ...], text: str) -> None:
    truth, prediction, levels, start = (*arguments, None, None)[:4]
    with pytest.raises(ValueError, match=rf"plot\.predictions: .*{text}"):
        plot.predictions(truth, prediction, levels=levels, start=start, x=np.arange(4))


def test_confusions_show_every_count_that_is_not_zero(axes: Any) -> None:
    table = np.array([[9, 1, 0], [0, 7, 0], [2, 0, 0]])
    assert plot.confusion(table, names=["a", "b", "c"], ax=axes, title="t") is axes
    shown = {tuple(reversed(text.get_position())): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "9", (0, 1): "1", (1, 1): "7", (2, 0): "2"}
    shades = np.asarray(axes.images[0].get_array())
    assert (shades[0, 0] < 0.0, shades[0, 1] > 0.0, shades[2, 0]) == (True, True, 1.0)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("table", "names", "text"),
    [
        (np.zeros((2, 3)), None, r"`table` has shape \(2, 3\), expected \(classes, classes\)"),
        (np.zeros((0, 0)), None, r"`table` has shape \(0, 0\)"),
        (np.zeros((2, 2)), ["a"], "`names` has 1 names, `table` 2 classes"),
    ],
)
def test_a_table_of_confusions_is_square(table: Any, names: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        plot.confusion(table, names=names)


def test_norms_are_drawn_on_a_logarithmic_axis_without_zeros(axes: Any) -> None:
    assert plot.gradient_norms({"a": [0.0, 1e-3, 1.0], "b": [1.0, 1.0, 1.0]}, ax=axes, title="t") is axes
    np.testing.assert_array_equal(lines(axes)["a"], [np.nan, 1e-3, 1.0])
    assert axes.get_yscale() == "log"
    assert legend(axes) == ["a", "b"]


def test_the_norms_of_one_model_need_no_name(axes: Any) -> None:
    plot.gradient_norms(np.array([0.1, 1.0]), ax=axes)
    assert axes.get_legend() is None
    assert axes.get_lines()[0].get_ydata().tolist() == [0.1, 1.0]


@pytest.mark.parametrize(
    ("norms", "text"),
    [
        (np.ones((2, 3)), r"`norms` has 2 axes, expected 1: \(time,\)\.\n  Its shape is \(2, 3\)"),
        ({"a": np.ones(2), "b": 1.0}, r"`norms\['b'\]` has 0 axes"),
        (np.zeros(3), "there is no norm above 0 to draw"),
        ([np.nan], "there is no norm above 0 to draw"),
    ],
)
def test_norms_that_cannot_be_drawn_are_refused(norms: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"plot\.gradient_norms: {text}"):
        plot.gradient_norms(norms)


def make_model(cell: Any, readout_on: str, **options: Any) -> numrnn.SequenceModel:
    layer = cell(3, 5, dtype="float64", seed=1, **options)
    return numrnn.SequenceModel(layer, numrnn.Linear(5, 2, dtype="float64", seed=2), readout_on=readout_on)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("readout_on", ["last", "every", "mean", "max"])
@pytest.mark.parametrize("cell", CELLS)
def test_norms_of_h_are_those_of_finite_differences(
    cell: Any, readout_on: str, batch_first: bool, rng: np.random.Generator
) -> None:
    """Each h_t is moved a little, and the rest of the sequence run from there."""
    steps, rows = 6, 4
    model = make_model(cell, readout_on, batch_first=batch_first)
    layer, head = model.recurrent, model.readout
    x = rng.standard_normal((steps, rows, 3))
    y = rng.standard_normal((steps, rows, 2) if readout_on == "every" else (rows, 2))

    def order(array: Any) -> Any:
        return np.swapaxes(array, 0, 1) if batch_first and array.ndim == 3 else array

    def value(t: int, h: Any) -> float:
        """The loss, where h stands in for h_t."""
        before = layer(order(x[: t + 1]))
        state = (h[None], before.c_n) if cell is numrnn.LSTM else h[None]
        after = layer(order(x[t + 1 :]), state)
        outputs = np.concatenate([order(before.output)[:-1], h[None], order(after.output)])
        read = {"last": outputs[-1], "every": outputs, "mean": outputs.mean(axis=0), "max": outputs.max(axis=0)}
        return losses.mse(head(read[readout_on]), y)[0]

    expected = []
    for t in range(steps):
        h = layer(order(x[: t + 1])).h_n[-1]
        gradient = np.zeros_like(h)
        for place in np.ndindex(*h.shape):
            moved = np.zeros_like(h)
            moved[place] = 1e-5
            gradient[place] = (value(t, h + moved) - value(t, h - moved)) / 2e-5
        expected.append(np.linalg.norm(gradient))
    norms = plot.norms_over_time(model, order(x), order(y), loss=losses.mse)
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_norms_of_h_follow_from_gradients_of_initial_states(cell: Any, rng: np.random.Generator) -> None:
    """Of a stack, and of a list of layers: what the rest of the sequence says of the state it starts from."""
    options = {"dtype": "float64"}
    layers = [cell(3, 5, num_layers=2, seed=1, **options), cell(5, 4, seed=2, **options)]
    model = numrnn.SequenceModel(layers, numrnn.Linear(4, 1, seed=3, **options))
    x, y = rng.standard_normal((7, 3, 3)), rng.standard_normal((3, 1))
    norms = plot.norms_over_time(model, x, y, loss=losses.mse)
    for t in range(6):
        states: list[Any] = []
        early, late = x[: t + 1], x[t + 1 :]
        for layer in layers[:-1]:
            result = layer(early)
            early, late = result.output, layer(late, result.state).output
        states.append(layers[-1](early).state)
        rest, pullback = layers[-1].vjp(late, states[-1])
        prediction, through_head = model.readout.vjp(rest.last_output)
        d_rest = through_head(losses.mse(prediction, y)[1]).x
        expected = np.linalg.norm(pullback(d_h_n=d_rest[None]).h_0)
        np.testing.assert_allclose(norms[t], expected, rtol=1e-9)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_norms_of_x_are_those_of_the_pullback(bidirectional: bool, rng: np.random.Generator) -> None:
    layer = numrnn.GRU(3, 5, bidirectional=bidirectional, batch_first=True, seed=1)
    model = numrnn.SequenceModel(layer, numrnn.Linear(10 if bidirectional else 5, 2, seed=2))
    x, y = rng.standard_normal((4, 7, 3)), rng.standard_normal((4, 2))
    prediction, pullback = model.vjp(x)
    d_x = pullback(losses.mse(prediction, y)[1]).x
    expected = [np.linalg.norm(d_x[:, t]) for t in range(7)]
    np.testing.assert_allclose(plot.norms_over_time(model, x, y, loss=losses.mse, of="x"), expected, rtol=1e-5)


def test_norms_of_one_sequence_are_those_of_a_batch_of_it(rng: np.random.Generator) -> None:
    for readout_on, shape in (("last", (2,)), ("every", (7, 2))):
        model = make_model(numrnn.LSTM, readout_on)
        x, y = rng.standard_normal((7, 3)), rng.standard_normal(shape)
        batch = x[:, None], y[:, None] if readout_on == "every" else y[None]
        for of in ("h", "x"):
            alone = plot.norms_over_time(model, x, y, loss=losses.mse, of=of)
            np.testing.assert_array_equal(alone, plot.norms_over_time(model, *batch, loss=losses.mse, of=of))


@pytest.mark.parametrize("cell", CELLS)
def test_norms_start_from_the_state_that_was_learned(cell: Any, rng: np.random.Generator) -> None:
    layers = [cell(3, 5, dtype="float64", seed=1), cell(5, 5, dtype="float64", seed=2)]
    model = numrnn.SequenceModel(layers, numrnn.Linear(5, 2, dtype="float64", seed=3), learn_initial_state=True)
    fixed = numrnn.SequenceModel(layers, model.readout)
    x, y = rng.standard_normal((4, 3, 3)), rng.standard_normal((3, 2))
    norms = [plot.norms_over_time(each, x, y, loss=losses.mse) for each in (model, fixed)]
    np.testing.assert_array_equal(*norms)
    states = {name: value + 0.5 for name, value in model.parameters.items() if name.startswith("initial_state")}
    model.set_parameters(states)
    d_prediction = losses.mse(model(x), y)[1]
    expected = np.linalg.norm(model.readout.vjp(np.zeros((3, 5)))[1](d_prediction).x)
    np.testing.assert_allclose(plot.norms_over_time(model, x, y, loss=losses.mse)[-1], expected, rtol=1e-12)
    assert norms[0][-1] != expected


def test_norms_without_a_head_are_those_of_the_states(rng: np.random.Generator) -> None:
    model = numrnn.SequenceModel(numrnn.RNN(3, 5, seed=1, dtype="float64"), None)
    x, y = rng.standard_normal((4, 2, 3)), rng.standard_normal((2, 5))
    norms = plot.norms_over_time(model, x, y, loss=losses.mse)
    assert norms[-1] == pytest.approx(np.linalg.norm(losses.mse(model(x), y)[1]))


def test_norms_that_have_no_meaning_are_refused() -> None:
    both = numrnn.SequenceModel(numrnn.GRU(3, 5, bidirectional=True), numrnn.Linear(10, 1))
    x, y = np.zeros((4, 2, 3)), np.zeros((2, 1))
    with pytest.raises(NotImplementedError, match=r'`of="h"` is not implemented .*\n  Pass of="x"'):
        plot.norms_over_time(both, x, y, loss=losses.mse)
    with pytest.raises(ValueError, match='`of` should be "h" or "x", got str \'c\''):
        plot.norms_over_time(both, x, y, loss=losses.mse, of="c")
    with pytest.raises(TypeError, match="`model` should be a SequenceModel, got GRU"):
        plot.norms_over_time(numrnn.GRU(3, 5), x, y, loss=losses.mse)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`x` has 1 axes, expected 3.*\n  x\.shape = \(3,\)"):
        plot.norms_over_time(both, x[0, 0], y, loss=losses.mse)
