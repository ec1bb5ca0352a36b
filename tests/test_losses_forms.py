"""Every loss in every form: formulas in float64, finite differences, lengths, weights, lists, packed sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import _jit, losses

Rng = np.random.Generator

LEVELS = np.array([0.1, 0.5, 0.8])


@dataclass(frozen=True)
class Case:
    """A loss, the last axis of its predictions (None: targets have it too), and what one position costs."""

    name: str
    loss: Callable[..., tuple[float, Any]]
    width: int | None
    formula: Callable[[Any, Any], Any]
    targets: str = "numbers"

    def __str__(self) -> str:
        return self.name

    def draw(self, rng: Rng, shape: tuple[int, ...], dtype: str = "float64") -> tuple[Any, Any]:
        prediction = rng.standard_normal(shape if self.width is None else (*shape, self.width)).astype(dtype)
        if self.targets == "labels":
            return prediction, rng.integers(0, self.width or 1, shape)
        target = rng.random(shape) if self.targets == "shares" else 2.0 * rng.standard_normal(shape)
        return prediction, target.astype(dtype)


def huber(difference: Any) -> Any:
    size = np.abs(difference)
    return np.where(size <= 0.7, 0.5 * difference**2, 0.7 * (size - 0.35))


def pinball(prediction: Any, target: Any) -> Any:
    above = target[..., None] - prediction
    return np.mean(np.maximum(LEVELS * above, (LEVELS - 1) * above), axis=-1)


def binary(logit: Any, target: Any) -> Any:
    share = 1 / (1 + np.exp(-logit))
    return -target * np.log(share) - (1 - target) * np.log(1 - share)


def negative_log(prediction: Any, target: Any) -> Any:
    shares = np.exp(prediction) / np.sum(np.exp(prediction), axis=-1, keepdims=True)
    return -np.log(np.take_along_axis(shares, target[..., None], -1)[..., 0])


CASES = [
    Case("mse", losses.mse, None, lambda p, t: (p - t) ** 2),
    Case("mae", losses.mae, None, lambda p, t: np.abs(p - t)),
    Case("huber", partial(losses.huber, delta=0.7), None, lambda p, t: huber(p - t)),
    Case("binary_cross_entropy", losses.binary_cross_entropy, None, binary, "shares"),
    Case("quantile", partial(losses.quantile, levels=LEVELS), 3, pinball),
    Case("cross_entropy", losses.cross_entropy, 4, negative_log, "labels"),
]
every_loss = pytest.mark.parametrize("case", CASES, ids=str)


def check_gradient(call: Callable[[Any], float], prediction: Any, d_prediction: Any, rng: Rng) -> None:
    direction, step = rng.standard_normal(prediction.shape), 1e-6
    difference = (call(prediction + step * direction) - call(prediction - step * direction)) / (2 * step)
    assert np.sum(d_prediction * direction) == pytest.approx(difference, rel=1e-6, abs=1e-10)


@every_loss
@pytest.mark.parametrize("shape", [(), (1,), (7,), (16,), (4, 7, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_mean_of_its_formula(case: Case, rng: Rng, shape: tuple[int, ...], dtype: str) -> None:
    prediction, target = case.draw(rng, shape, dtype)
    value, d_prediction = case.loss(prediction, target)
    wide = np.asarray(prediction, np.float64), np.asarray(target, np.float64 if case.targets != "labels" else None)
    assert type(value) is float
    assert value == pytest.approx(float(np.mean(case.formula(*wide))), rel=1e-13)
    assert d_prediction.shape == np.shape(prediction)
    assert d_prediction.dtype == dtype
    exact = case.loss(*wide)[1]
    np.testing.assert_allclose(d_prediction, exact, rtol=1e-6 if dtype == "float32" else 0, atol=1e-7)
    check_gradient(lambda p: case.loss(p, wide[1])[0], wide[0], exact, rng)


@every_loss
@pytest.mark.parametrize("axes", [0, 1, 2, 3], ids="weights of {} axes".format)
def test_weights_enter_the_mean_and_the_gradient(case: Case, rng: Rng, axes: int) -> None:
    """One a target, or one for each vector of targets along the last axis."""
    prediction, target = case.draw(rng, (4, 5, 3)[: max(1, axes)])
    weight = rng.random(target.shape if axes else ())
    if axes == 3:
        weight = weight[..., 0]
    value, d_prediction = case.loss(prediction, target, weight=weight)
    spread = np.broadcast_to(weight[..., None] if weight.ndim < target.ndim else weight, target.shape)
    assert value == pytest.approx(float(np.average(case.formula(prediction, target), weights=spread)), rel=1e-12)
    check_gradient(lambda p: case.loss(p, target, weight=weight)[0], prediction, d_prediction, rng)
    np.testing.assert_allclose(case.loss(prediction, target, weight=1e3 * weight)[1], d_prediction, rtol=1e-12)


@every_loss
def test_a_whole_weight_is_as_many_copies(case: Case, rng: Rng) -> None:
    prediction, target = case.draw(rng, (6,))
    copies = np.array([1, 3, 0, 2, 1, 0])
    value, d_prediction = case.loss(prediction, target, weight=copies)
    repeated = case.loss(np.repeat(prediction, copies, axis=0), np.repeat(target, copies, axis=0))
    assert value == pytest.approx(repeated[0], rel=1e-13)
    first = np.concatenate([[0], np.cumsum(copies)[:-1]])[copies > 0]
    shaped = copies[copies > 0].reshape(-1, *(1,) * (prediction.ndim - 1))
    np.testing.assert_allclose(d_prediction[copies > 0], shaped * repeated[1][first], rtol=1e-12)
    assert not d_prediction[copies == 0].any()


@every_loss
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("told", [False, True], ids=["inferred", "told"])
@pytest.mark.parametrize("weighted", ["", "one a target", "one a sequence"])
def test_steps_after_the_length_do_not_count(
    case: Case, rng: Rng, batch_first: bool, told: bool, weighted: str
) -> None:
    """Whatever stands there, NaN and labels out of range included; the rest is as without padding."""
    lengths = np.array([4, 0, 6, 1, 5])
    prediction, target = case.draw(rng, (6, 5, 2))
    per_target, per_row = rng.random(target.shape), rng.random(5)
    valid = np.arange(6)[:, None] < lengths
    prediction[~valid] = np.nan
    target[~valid] = 99 if case.targets == "labels" else np.nan
    weight, used = {
        "": (None, np.ones_like(per_target)),
        "one a target": (np.where(valid[..., None], per_target, np.nan), per_target),
        "one a sequence": (per_row, np.broadcast_to(per_row[:, None], target.shape)),
    }[weighted]
    options: dict[str, Any] = {"lengths": lengths, "weight": weight, "batch_first": batch_first if told else None}
    expected = case.loss(prediction[valid], target[valid], weight=used[valid])
    if batch_first:
        prediction, target = prediction.swapaxes(0, 1), target.swapaxes(0, 1)
        options["weight"] = weight.swapaxes(0, 1) if weight is not None and weight.ndim > 1 else weight
    value, d_prediction = case.loss(prediction, target, **options)
    d_prediction = d_prediction.swapaxes(0, 1) if batch_first else d_prediction
    assert value == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(d_prediction[valid], expected[1], rtol=1e-12)
    np.testing.assert_array_equal(d_prediction[~valid], 0.0)
    assert not np.signbit(d_prediction[~valid]).any()


@every_loss
@pytest.mark.parametrize("weighted", ["", "one a target", "one a step", "one a sequence"])
def test_lists_and_packed_sequences_count_all_their_steps(case: Case, rng: Rng, weighted: str) -> None:
    lengths = [3, 6, 1, 4]
    pairs = [case.draw(rng, (n, 2)) for n in lengths]
    predictions, targets = [p for p, _ in pairs], [t for _, t in pairs]
    per_row = rng.random(4)
    weights = {
        "": None,
        "one a target": [rng.random(t.shape) for t in targets],
        "one a step": [rng.random(t.shape[0]) for t in targets],
        "one a sequence": [np.full(t.shape, w) for t, w in zip(targets, per_row, strict=True)],
    }[weighted]
    expected = case.loss(
        np.concatenate(predictions),
        np.concatenate(targets),
        weight=None if weights is None else np.concatenate(weights),
    )
    given: Any = per_row if weighted == "one a sequence" else weights
    value, listed = case.loss(predictions, targets, weight=given)
    assert value == expected[0]
    assert isinstance(listed, list)
    np.testing.assert_array_equal(np.concatenate(listed), expected[1])
    assert [array.shape for array in listed] == [p.shape for p in predictions]

    pack = partial(numrnn.pack_sequence, enforce_sorted=False)
    given = given if weights is None or weighted == "one a sequence" else pack(weights)
    packed_value, packed = case.loss(pack(predictions), pack(targets), weight=given)
    assert packed_value == pytest.approx(value, rel=1e-13)
    for ours, theirs in zip(numrnn.unpack_sequence(packed), listed, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@every_loss
def test_a_model_takes_the_gradient_in_each_form(case: Case, rng: Rng) -> None:
    """Padded, listed and packed: one value and one gradient of the weights."""
    width = 1 if case.width is None else case.width
    model = numrnn.SequenceModel(
        numrnn.RNN(2, 3, dtype="float64", seed=0),
        numrnn.Linear(3, width, dtype="float64", seed=0),
        readout_on="every",
    )
    lengths = np.array([5, 2, 3, 5])
    rows = [rng.standard_normal((n, 2)) for n in lengths]
    targets = [case.draw(rng, (n, 1) if case.width is None else (n,))[1] for n in lengths]
    found = []
    for x, y, options in (
        (numrnn.pad_sequence(rows), numrnn.pad_sequence(targets), {"lengths": lengths}),
        (rows, targets, {}),
        (numrnn.pack_sequence(rows, False), numrnn.pack_sequence(targets, False), {}),
    ):
        prediction, pullback = model.vjp(x, **options)
        value, d_prediction = case.loss(prediction, y, **options)
        found.append((value, pullback(d_prediction).parameters))
    for value, parameters in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-12)
        for name, gradient in parameters.items():
            np.testing.assert_allclose(gradient, found[0][1][name], rtol=1e-10, atol=1e-13)


@every_loss
def test_what_it_is_given_stays_as_it_is_in_any_layout(case: Case, rng: Rng) -> None:
    prediction, target = case.draw(rng, (4, 6, 2))
    weight = rng.random((4, 6, 2))
    expected = case.loss(prediction, target, weight=weight)
    fortran = [np.asfortranarray(array) for array in (prediction, target, weight)]
    for array in fortran:
        array.flags.writeable = False
    value, d_prediction = case.loss(fortran[0], fortran[1], weight=fortran[2])
    assert value == expected[0]
    np.testing.assert_array_equal(d_prediction, expected[1])
    value, d_prediction = case.loss(prediction.tolist(), target.tolist(), weight=weight.tolist())
    assert value == expected[0]
    np.testing.assert_array_equal(d_prediction, expected[1])


@pytest.mark.skipif(_jit.DISABLED, reason="nothing is compiled with NUMBA_DISABLE_JIT=1")
@every_loss
def test_its_kernel_is_kept_on_disk(case: Case, rng: Rng) -> None:
    """Compiled once for all processes: not so for every form that Numba compiles."""
    case.loss(*case.draw(rng, (5,)))
    folder = _jit.cache_folder()
    assert folder is not None
    assert list(folder.glob(f"losses.{case.name}-*.nbc"))


@every_loss
def test_a_nan_that_counts_is_seen(case: Case, rng: Rng) -> None:
    prediction, target = case.draw(rng, (5,))
    prediction[2] = np.nan
    value, d_prediction = case.loss(prediction, target)
    assert np.isnan(value)
    bad = np.isnan(d_prediction).reshape(5, -1)
    assert bad[2].all()
    assert not bad[[0, 1, 3, 4]].any()


@every_loss
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lengths": [3, 3]}, ValueError, "`lengths` has shape (2,), but there are 4 or 6 sequences"),
        ({"lengths": [3] * 4, "batch_first": False}, ValueError, "`lengths` has shape (4,), but there are 6 sequences"),
        ({"lengths": [3] * 6, "batch_first": True}, ValueError, "`lengths` has shape (6,), but there are 4 sequences"),
        ({"lengths": [3, 7, 1, 1]}, ValueError, "`lengths[1]` is 7, expected 0 to 6, the number of steps"),
        ({"lengths": [3, -1, 1, 1]}, ValueError, "`lengths[1]` is -1, expected 0 to 6"),
        ({"lengths": [3.0] * 4}, TypeError, "`lengths` should be integers, got float64"),
        ({"lengths": [0] * 4}, ValueError, "nothing to average"),
        ({"batch_first": 1}, TypeError, "`batch_first` should be True or False, got int 1"),
        ({"weight": np.ones(5)}, ValueError, "pass its lengths too, or batch_first"),
        ({"weight": np.ones(6), "batch_first": True}, ValueError, "Or (4,): one weight a sequence."),
        ({"weight": -np.ones((4, 6))}, ValueError, "negative, infinite or NaN"),
    ],
    ids=str,
)
def test_lengths_and_weights_that_do_not_fit(
    case: Case, rng: Rng, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    prediction, target = case.draw(rng, (4, 6))
    with pytest.raises(error) as caught:
        case.loss(prediction, target, **options)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"losses.{case.name}: ")


@every_loss
def test_equal_axes_must_be_told_apart_where_it_matters(case: Case, rng: Rng) -> None:
    prediction, target = case.draw(rng, (3, 3, 2))
    for options in ({"lengths": [1, 3, 2]}, {"lengths": [3, 3, 3], "weight": np.ones(3)}):
        with pytest.raises(ValueError, match="either of the first two axes") as caught:
            case.loss(prediction, target, **options)
        assert "batch_first=True for (batch, time, ...), or False" in str(caught.value)
    full = case.loss(prediction, target, lengths=[3, 3, 3])
    assert full[0] == case.loss(prediction, target)[0]
    rows = case.loss(prediction, target, lengths=[1, 3, 2], batch_first=True)
    turned = case.loss(prediction.swapaxes(0, 1), target.swapaxes(0, 1), lengths=[1, 3, 2], batch_first=False)
    assert rows[0] == pytest.approx(turned[0], rel=1e-13)
    assert rows[0] != case.loss(prediction, target, lengths=[1, 3, 2], batch_first=False)[0]
    weight = np.array([1.0, 2.0, 0.0])
    told = case.loss(prediction, target, weight=weight, batch_first=False)
    assert told[0] == case.loss(prediction, target, weight=np.tile(weight[:, None], (3, 1, 2)))[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([np.zeros((2, 1))], np.zeros((2, 1))), TypeError, "`target` should be a list of 1 arrays"),
        (([np.zeros((2, 1))], [np.zeros((2, 1))] * 2), ValueError, "`target` has 2 arrays, expected 1"),
        (([np.zeros((2, 1))], [np.zeros((3, 1))]), ValueError, "`target[0]` has shape (3, 1), expected 2 steps"),
        (([np.zeros((2, 1)), np.zeros((2, 2))],) * 2, ValueError, "`prediction[1]` has shape (2, 2), but"),
        (([np.zeros((2, 1)), np.zeros(())],) * 2, ValueError, "`prediction[1]` has no axis of steps"),
        ((numrnn.pack_sequence([np.zeros((2, 1))]), np.zeros((2, 1))), TypeError, "`target` should be a packed"),
        (
            (numrnn.pack_sequence([np.zeros(2), np.zeros(1)]), numrnn.pack_sequence([np.zeros(2), np.zeros(2)])),
            ValueError,
            "`target` is packed otherwise than `prediction`",
        ),
        ((np.zeros((2, 1)), [np.zeros(2), np.zeros(1)]), ValueError, "`target` is not one array"),
    ],
)
def test_forms_that_do_not_fit(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        losses.mse(*arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lengths": [2, 1]}, "`lengths` was given with a list of sequences"),
        ({"batch_first": True}, "`batch_first` was given with a list of sequences"),
        ({"weight": np.ones(3)}, "`weight` has shape (3,), expected (2,): one a sequence"),
        ({"weight": [np.ones((2, 1))]}, "`weight` has 1 arrays, expected 2"),
        ({"weight": [np.ones(2), np.ones(2)]}, "`weight[1]` has shape (2,), expected 1 steps"),
    ],
)
def test_options_that_do_not_fit_a_list(options: dict[str, Any], words: str) -> None:
    rows = [np.zeros((2, 1)), np.zeros((1, 1))]
    with pytest.raises(ValueError, match=r"^losses\.mae: ") as caught:
        losses.mae(rows, rows, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("options", [{"lengths": [1, 1]}, {"batch_first": True}], ids=str)
def test_axes_of_time_and_batch_must_be_there(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs axes of time and batch"):
        losses.mse(np.zeros(2), np.zeros(2), **options)
