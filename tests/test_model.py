"""SequenceModel: its parts put together by hand, finite differences through a loss, PyTorch, and what it refuses."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import losses

Rng = np.random.Generator
MAKERS: dict[str, Any] = {"rnn": numrnn.RNN, "lstm": numrnn.LSTM, "gru": numrnn.GRU}
cells = pytest.mark.parametrize("cell", MAKERS)
heads = pytest.mark.parametrize("readout_on", ["last", "every", "mean", "max"])


def make(
    cell: str = "lstm",
    readout_on: str = "last",
    *,
    head: bool = True,
    layers: int = 1,
    listed: bool = False,
    dtype: str = "float64",
    batch_first: bool = False,
    learn: bool = False,
) -> numrnn.SequenceModel:
    """3 features, hidden size 4 (in a list 5, then 4), 2 outputs."""
    options: dict[str, Any] = {"dtype": dtype, "batch_first": batch_first}
    recurrent: Any = MAKERS[cell](3, 4, num_layers=layers, seed=1, **options)
    if listed:
        recurrent = [numrnn.GRU(3, 5, seed=2, **options), MAKERS[cell](5, 4, num_layers=layers, seed=3, **options)]
    return numrnn.SequenceModel(
        recurrent,
        numrnn.Linear(4, 2, dtype=dtype, seed=4) if head else None,
        readout_on=readout_on,
        learn_initial_state=learn,
    )


def read_of(result: Any, readout_on: str, time: int = 0) -> Any:
    """What the head reads of a layer's result, by NumPy."""
    if readout_on in ("last", "every"):
        return result.last_output if readout_on == "last" else result.output
    return result.output.mean(time) if readout_on == "mean" else result.output.max(time)


def state_for(model: numrnn.SequenceModel, rng: Rng, batch_size: int) -> Any:
    """A random state, as the model takes it."""

    def one(layer: Any) -> Any:
        shape = (layer.num_layers, batch_size, layer.hidden_size)
        parts = tuple(0.5 * rng.standard_normal(shape) for _ in range(2 if isinstance(layer, numrnn.LSTM) else 1))
        return parts if len(parts) == 2 else parts[0]

    recurrent: Any = model.recurrent
    return [one(layer) for layer in recurrent] if isinstance(recurrent, tuple) else one(recurrent)


def flat(state: Any) -> list[Any]:
    """All arrays of a state, of one layer or of several."""
    return [array for part in state for array in flat(part)] if isinstance(state, list | tuple) else [state]


@cells
@heads
@pytest.mark.parametrize("batch_first", [False, True])
def test_it_is_its_parts(rng: Rng, cell: str, readout_on: str, batch_first: bool) -> None:
    model = make(cell, readout_on, layers=2, batch_first=batch_first)
    x, state = rng.standard_normal((6, 5, 3)), state_for(model, rng, 6 if batch_first else 5)
    layer: Any = model.recurrent
    assert model.readout is not None
    result = layer(x, state)
    expected = model.readout(read_of(result, readout_on, int(batch_first)))
    prediction, after = model(x, state, return_state=True)
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-15 if readout_on == "mean" else 0)
    np.testing.assert_array_equal(model(x, state), prediction)
    for ours, theirs in zip(flat(after), flat(result.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@heads
def test_a_list_is_a_chain(rng: Rng, readout_on: str) -> None:
    model = make("lstm", readout_on, listed=True)
    x, state = rng.standard_normal((6, 5, 3)), state_for(model, rng, 5)
    recurrent: Any = model.recurrent
    assert model.readout is not None
    first = recurrent[0](x, state[0])
    second = recurrent[1](first.output, state[1])
    prediction, after = model(x, state, return_state=True)
    expected = model.readout(read_of(second, readout_on))
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-15 if readout_on == "mean" else 0)
    for ours, theirs in zip(flat(after), flat([first.state, second.state]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@heads
@pytest.mark.parametrize("listed", [False, True])
def test_without_a_head_it_predicts_what_the_head_would_read(rng: Rng, readout_on: str, listed: bool) -> None:
    with_head, without = (make("gru", readout_on, head=head, listed=listed) for head in (True, False))
    x = rng.standard_normal((6, 5, 3))
    selected, pullback = without.vjp(x)
    assert with_head.readout is not None
    np.testing.assert_array_equal(with_head.readout(selected), with_head(x))
    assert list(pullback(selected).parameters) == list(without.parameters)


@cells
@heads
@pytest.mark.parametrize("listed", [False, True])
def test_vjp_and_call_give_the_same_bits(rng: Rng, cell: str, readout_on: str, listed: bool) -> None:
    model = make(cell, readout_on, listed=listed, layers=2, dtype="float32")
    x, state = rng.standard_normal((6, 5, 3)), state_for(model, rng, 5)
    (prediction, after), _ = model.vjp(x, state, return_state=True)
    plain, plain_after = model(x, state, return_state=True)
    np.testing.assert_array_equal(prediction, plain)
    np.testing.assert_array_equal(model.vjp(x, state)[0], plain)
    for ours, theirs in zip(flat(after), flat(plain_after), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("readout_on", ["last", "every"])
@pytest.mark.parametrize("listed", [False, True])
def test_splitting_the_sequence_changes_nothing(rng: Rng, readout_on: str, listed: bool) -> None:
    model = make("lstm", readout_on, listed=listed, dtype="float32")
    x = rng.standard_normal((9, 5, 3))
    first, state = model(x[:4], return_state=True)
    second = model(x[4:], state)
    whole = model(x)
    np.testing.assert_array_equal(np.concatenate([first, second]) if readout_on == "every" else second, whole)


@pytest.mark.parametrize("cell", MAKERS)
@heads
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("head", [True, False])
def test_gradients_through_the_loss_match_finite_differences(
    rng: Rng, cell: str, readout_on: str, listed: bool, head: bool
) -> None:
    model = make(cell, readout_on, listed=listed, head=head, layers=2)
    x, state = rng.standard_normal((6, 5, 3)), state_for(model, rng, 5)
    prediction, pullback = model.vjp(x, state)
    target, weight = rng.standard_normal(prediction.shape), rng.random(prediction.shape)
    gradients = pullback(losses.mse(prediction, target, weight=weight)[1])
    assert list(gradients.parameters) == list(model.parameters)

    def value(moved: numrnn.SequenceModel, moved_x: Any, moved_state: Any) -> float:
        return losses.mse(moved(moved_x, moved_state), target, weight=weight)[0]

    step = 1e-6
    for name, weights in model.parameters.items():
        direction = rng.standard_normal(weights.shape)
        ends = []
        for sign in (1, -1):
            moved = copy.deepcopy(model)
            moved.set_parameters({name: weights + sign * step * direction})
            ends.append(value(moved, x, state))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert np.sum(gradients.parameters[name] * direction) == pytest.approx(expected, rel=1e-6, abs=1e-9), name
    direction = rng.standard_normal(x.shape)
    assert gradients.x is not None
    slope = (value(model, x + step * direction, state) - value(model, x - step * direction, state)) / (2 * step)
    assert np.sum(gradients.x * direction) == pytest.approx(slope, rel=1e-6, abs=1e-9)
    if listed:
        assert gradients.h_0 is None
        return
    h_0 = state[0] if isinstance(state, tuple) else state
    direction = rng.standard_normal(h_0.shape)
    ends = []
    for sign in (1, -1):
        there = h_0 + sign * step * direction
        ends.append(value(model, x, (there, state[1]) if isinstance(state, tuple) else there))
    assert np.sum(gradients.h_0 * direction) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-9)


@pytest.mark.torch
@cells
@heads
@pytest.mark.parametrize("listed", [False, True])
def test_it_agrees_with_pytorch(rng: Rng, cell: str, readout_on: str, listed: bool) -> None:
    torch = pytest.importorskip("torch")
    model = make(cell, readout_on, listed=listed, layers=2)
    recurrent: Any = model.recurrent
    ours = recurrent if listed else (recurrent,)
    theirs = [
        getattr(torch.nn, type(layer).__name__)(
            layer.input_size, layer.hidden_size, layer.num_layers, dtype=torch.float64
        )
        for layer in ours
    ]
    head = torch.nn.Linear(4, 2, dtype=torch.float64)
    assert model.readout is not None
    for part, module in zip([*ours, model.readout], [*theirs, head], strict=True):
        module.load_state_dict({name: torch.tensor(np.array(value)) for name, value in part.parameters.items()})
    x = rng.standard_normal((6, 5, 3))
    x_torch = torch.tensor(x, requires_grad=True)
    hidden = x_torch
    for module in theirs:
        hidden = module(hidden)[0]
    read = {"last": lambda h: h[-1], "every": lambda h: h, "mean": lambda h: h.mean(0), "max": lambda h: h.max(0)[0]}
    expected = head(read[readout_on](hidden))
    target = rng.standard_normal(tuple(expected.shape))
    loss = torch.nn.functional.mse_loss(expected, torch.tensor(target))
    loss.backward()
    prediction, pullback = model.vjp(x)
    value, d_prediction = losses.mse(prediction, target)
    gradients = pullback(d_prediction)
    assert value == pytest.approx(float(loss.detach()), rel=1e-12)
    np.testing.assert_allclose(prediction, expected.detach().numpy(), rtol=0, atol=1e-12)
    assert gradients.x is not None
    np.testing.assert_allclose(gradients.x, x_torch.grad.numpy(), rtol=0, atol=1e-12)
    prefixes = ["recurrent.0.", "recurrent.1."] if listed else ["recurrent."]
    for prefix, module in zip([*prefixes, "readout."], [*theirs, head], strict=True):
        for name, tensor in module.named_parameters():
            np.testing.assert_allclose(gradients.parameters[prefix + name], tensor.grad.numpy(), rtol=0, atol=1e-12)


@heads
@pytest.mark.parametrize("listed", [False, True])
def test_the_pullback_can_be_called_again_and_keeps_its_weights(rng: Rng, readout_on: str, listed: bool) -> None:
    model = make("gru", readout_on, listed=listed)
    prediction, pullback = model.vjp(rng.standard_normal((6, 5, 3)))
    first = pullback(prediction)
    model.set_parameters({name: np.zeros_like(value) for name, value in model.parameters.items()})
    second = pullback(prediction)
    without_x = pullback(prediction, x_gradient=False)
    np.testing.assert_array_equal(first.x, second.x)
    assert without_x.x is None
    for name, value in first.parameters.items():
        np.testing.assert_array_equal(second.parameters[name], value)
        np.testing.assert_array_equal(without_x.parameters[name], value)


def test_a_state_of_one_row_stands_for_the_batch(rng: Rng) -> None:
    model = make("lstm")
    x, state = rng.standard_normal((6, 5, 3)), state_for(model, rng, 1)
    prediction, pullback = model.vjp(x, state)
    np.testing.assert_array_equal(prediction, model(x, tuple(np.repeat(part, 5, axis=1) for part in state)))
    gradients = pullback(prediction)
    assert gradients.h_0 is not None
    assert gradients.h_0.shape == (1, 1, 4)


def test_inference_on_the_last_state_never_builds_the_top_output(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make("lstm", listed=True), rng.standard_normal((6, 5, 3))
    recurrent: Any = model.recurrent
    expected = model(x)
    called: list[Any] = []
    last = numrnn.LSTM.last

    def spy(self: Any, *arguments: Any, **options: Any) -> Any:
        called.append(self)
        return last(self, *arguments, **options)

    monkeypatch.setattr(numrnn.LSTM, "last", spy)
    monkeypatch.setattr(numrnn.LSTM, "__call__", lambda *_a, **_k: pytest.fail("built its output"))
    np.testing.assert_array_equal(model(x), expected)
    assert called == [recurrent[1]]


@pytest.mark.parametrize("shape", [(0, 5, 3), (6, 0, 3), (0, 0, 3)], ids=str)
@heads
def test_empty_sequences_and_batches(shape: tuple[int, ...], readout_on: str) -> None:
    model = make("gru", readout_on)
    prediction, pullback = model.vjp(np.zeros(shape))
    expected = (*shape[:2], 2) if readout_on == "every" else (shape[1], 2)
    assert prediction.shape == expected
    gradients = pullback(np.ones(expected))
    assert gradients.x is not None
    assert gradients.x.shape == shape
    assert not gradients.parameters["recurrent.weight_ih_l0"].any()
    np.testing.assert_array_equal(gradients.parameters["readout.bias"], np.full(2, float(np.prod(expected[:-1]))))


def test_names_and_numbers_of_parameters() -> None:
    model = make("gru", listed=True)
    names = list(model.parameters)
    assert names[0] == "recurrent.0.weight_ih_l0"
    assert names[4] == "recurrent.1.weight_ih_l0"
    assert names[-2:] == ["readout.weight", "readout.bias"]
    assert list(make("gru").parameters)[:2] == ["recurrent.weight_ih_l0", "recurrent.weight_hh_l0"]
    recurrent: Any = model.recurrent
    assert model.readout is not None
    assert model.num_parameters == sum(part.num_parameters for part in (*recurrent, model.readout))


def test_setting_parameters_reaches_the_parts(rng: Rng) -> None:
    model, other = make("gru"), make("gru")
    x = rng.standard_normal((6, 5, 3))
    other.set_parameters({name: 2.0 * value for name, value in other.parameters.items()})
    assert not np.array_equal(model(x), other(x))
    model.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(model(x), other(x))
    assert model.readout is not None
    np.testing.assert_array_equal(model.readout.parameters["bias"], model.parameters["readout.bias"])
    model.readout.set_parameters({"bias": [5.0, 6.0]})
    np.testing.assert_array_equal(model.parameters["readout.bias"], [5.0, 6.0])


def test_a_refused_mapping_changes_no_part() -> None:
    model = make("gru")
    before = model.state_dict()
    new: dict[str, Any] = {name: value + 1.0 for name, value in before.items()}
    for change, words in (
        ({"readout.bias": np.zeros(3)}, r"`readout.bias` has shape \(3,\)"),
        ({"readout.nonsense": np.zeros(2)}, "unexpected readout.nonsense"),
    ):
        with pytest.raises(ValueError, match=words):
            model.set_parameters(new | change)
    with pytest.raises(ValueError, match=r"missing readout.bias; unexpected bias"):
        model.load_state_dict({name.replace("readout.bias", "bias"): value for name, value in before.items()})
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
        assert not value.flags.writeable


@pytest.mark.parametrize(
    "model",
    [
        make(),
        make("gru", "every", listed=True),
        make("rnn", "mean", head=False, dtype="float32"),
        make("lstm", "max", listed=True, learn=True),
    ],
    ids=repr,
)
def test_repr_pickle_and_deepcopy_make_it_again(rng: Rng, model: numrnn.SequenceModel) -> None:
    names = {name: getattr(numrnn, name) for name in ("SequenceModel", "LSTM", "GRU", "RNN", "Linear")}
    assert repr(eval(repr(model), names)) == repr(model)
    x = rng.standard_normal((6, 5, 3))
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin(x), model(x))
        twin.set_parameters({name: np.zeros_like(value) for name, value in twin.parameters.items()})
        assert model(x).any()
        assert repr(twin) == repr(model)


GRU, LINEAR = numrnn.GRU(3, 4), numrnn.Linear(4, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((LINEAR, GRU), TypeError, "`recurrent` should be an RNN, LSTM, GRU or Reversed, got"),
        ((GRU, GRU), TypeError, "`readout` should be a Linear or None, got"),
        (([], LINEAR), ValueError, "empty list"),
        (([GRU, "gru"], LINEAR), TypeError, r"`recurrent\[1\]` should be"),
        (([GRU, GRU], LINEAR), ValueError, "same object"),
        (([GRU, numrnn.GRU(3, 4)], LINEAR), ValueError, r"`recurrent\[1\]` has input_size=3, expected 4"),
        (([GRU, numrnn.GRU(4, 4, dtype="float64")], LINEAR), ValueError, "differ in `dtype`"),
        (([GRU, numrnn.GRU(4, 4, batch_first=True)], LINEAR), ValueError, "`batch_first`"),
        ((GRU, numrnn.Linear(5, 2)), ValueError, "`readout` has in_features=5, expected 4"),
        ((GRU, numrnn.Linear(4, 2, dtype="float64")), ValueError, "`readout` has dtype float64, the layers float32"),
    ],
)
def test_parts_that_do_not_fit_are_refused(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^SequenceModel: (?s:.*){words}"):
        numrnn.SequenceModel(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"readout_on": "first"}, ValueError, "`readout_on` should be"),
        ({"learn_initial_state": 1}, TypeError, "learn_initial_state"),
    ],
    ids=str,
)
def test_options_of_a_wrong_kind_are_named(options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        numrnn.SequenceModel(GRU, LINEAR, **options)


def test_wrong_calls_are_explained() -> None:
    model, chain, x = make("gru"), make("gru", listed=True), np.zeros((6, 5, 3))
    for call in (model, model.vjp):
        with pytest.raises(ValueError, match=r"`lengths` has shape \(6,\), expected \(5,\)"):
            call(x, lengths=[1] * 6)
        with pytest.raises(TypeError, match="return_state"):
            call(x, return_state=1)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="features, expected 3"):
            call(np.zeros((6, 5, 4)))
    for state in (np.zeros((1, 5, 4)), [None], "zero"):
        with pytest.raises(ValueError, match="`state` should be a list of 2 states"):
            chain(x, state)
    np.testing.assert_array_equal(chain(x, [None, None]), chain(x))
    prediction, pullback = model.vjp(x)
    with pytest.raises(ValueError, match=r"`d_prediction` has shape \(5,\), expected \(5, 2\)"):
        pullback(prediction[:, 0])
    with pytest.raises(TypeError, match="`d_prediction` holds complex"):
        pullback(prediction + 0j)
    with pytest.raises(AttributeError, match="`readout` is fixed"):
        model.readout = None
