"""Adam step for step, freezing, refused steps, and clipping."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import losses, optim
from numrnn.nn.gradients import Gradients

Rng = np.random.Generator


def small_model(dtype: str = "float64") -> numrnn.SequenceModel:
    return numrnn.SequenceModel(numrnn.LSTM(2, 4, dtype=dtype, seed=1), numrnn.Linear(4, 1, dtype=dtype, seed=2))


def random_gradients(model: Any, rng: Rng) -> Gradients:
    parameters = {name: rng.standard_normal(v.shape).astype(v.dtype) for name, v in model.parameters.items()}
    return Gradients(None, None, None, parameters)


def test_the_first_step_is_the_learning_rate_in_the_direction_of_the_sign(rng: Rng) -> None:
    model = small_model()
    before, gradients = model.state_dict(), random_gradients(model, rng)
    optim.Adam(model, lr=0.01).step(gradients)
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value - before[name], -0.01 * np.sign(gradients.parameters[name]), rtol=1e-4)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.0)], ids=str)
def test_it_is_the_published_algorithm(rng: Rng, betas: tuple[float, float]) -> None:
    """Algorithm 1 of the paper, number by number."""
    layer = numrnn.Linear(1, 1, bias=False, dtype="float64", seed=0)
    weight = float(layer.parameters["weight"][0, 0])
    optimizer = optim.Adam(layer, lr=0.1, betas=betas, eps=1e-3)
    mean = square = 0.0
    for t in range(1, 30):
        gradient = float(rng.standard_normal())
        optimizer.step({"weight": np.array([[gradient]])})
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient**2
        weight -= 0.1 * (mean / (1 - betas[0] ** t)) / (math.sqrt(square / (1 - betas[1] ** t)) + 1e-3)
        assert float(layer.parameters["weight"][0, 0]) == pytest.approx(weight, rel=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-6)])
def test_it_agrees_with_pytorch(rng: Rng, dtype: str, tolerance: float) -> None:
    torch = pytest.importorskip("torch")
    model = small_model(dtype)
    theirs = {name: torch.tensor(np.array(value), requires_grad=True) for name, value in model.parameters.items()}
    settings: Any = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6}
    ours, adam = optim.Adam(model, **settings), torch.optim.Adam(theirs.values(), **settings)
    for k in range(50):
        gradients = random_gradients(model, rng)
        for name, tensor in theirs.items():
            tensor.grad = torch.tensor(gradients.parameters[name])
        if k == 30:
            ours.lr = adam.param_groups[0]["lr"] = 0.005
        ours.step(gradients)
        adam.step()
    for name, value in model.parameters.items():
        assert value.dtype == dtype
        np.testing.assert_allclose(value, theirs[name].detach().numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("cell", [numrnn.RNN, numrnn.LSTM, numrnn.GRU])
def test_it_learns_to_remember(rng: Rng, cell: Any) -> None:
    """The first number of a sequence has to come back after the last."""
    model = numrnn.SequenceModel(cell(1, 12, seed=3), numrnn.Linear(12, 1, seed=4))
    optimizer = optim.Adam(model, lr=0.02)
    x = rng.uniform(-1, 1, (6, 64, 1)).astype(np.float32)
    values = []
    for _ in range(250):
        prediction, pullback = model.vjp(x)
        value, d_prediction = losses.mse(prediction, x[0])
        gradients, _ = optim.clip_by_global_norm(pullback(d_prediction, x_gradient=False), 1.0)
        optimizer.step(gradients)
        values.append(value)
    assert values[-1] < 0.02 < values[0]


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        (("recurrent",), ("recurrent.",)),
        ("readout", ("readout.",)),
        (["readout.bias", "recurrent.bias_hh_l0"], ("readout.bias", "recurrent.bias_hh_l0")),
        ((), ()),
    ],
    ids=str,
)
def test_frozen_weights_stay_and_the_others_move(rng: Rng, freeze: Any, frozen: tuple[str, ...]) -> None:
    model = small_model()
    before, gradients = model.state_dict(), random_gradients(model, rng)
    optim.Adam(model, freeze=freeze).step(gradients)
    for name, value in model.parameters.items():
        assert np.array_equal(value, before[name]) == name.startswith(frozen)
    # gradients of frozen weights need not be there
    trained = {name: value for name, value in gradients.parameters.items() if not name.startswith(frozen)}
    optim.Adam(model, freeze=freeze).step(trained)


def test_a_frozen_part_is_a_whole_name_not_the_beginning_of_one() -> None:
    layers = [numrnn.GRU(2, 2), *[numrnn.GRU(2, 2) for _ in range(10)]]
    model = numrnn.SequenceModel(layers, None)
    trained = optim.Adam(model, freeze=["recurrent.1"]).state_dict()
    assert "mean.recurrent.10.weight_ih_l0" in trained
    assert "mean.recurrent.1.weight_ih_l0" not in trained


@pytest.mark.parametrize("make", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["copy", "pickle"])
def test_a_copied_pair_goes_on_as_the_original(rng: Rng, make: Any) -> None:
    model = small_model()
    optimizer = optim.Adam(model)
    steps = [random_gradients(model, rng) for _ in range(4)]
    for gradients in steps[:2]:
        optimizer.step(gradients)
    twin_model, twin = make((model, optimizer))
    for gradients in steps[2:]:
        optimizer.step(gradients)
        twin.step(gradients)
    assert twin.model is twin_model
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(twin_model.parameters[name], value)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda g: {**g, "nonsense": np.zeros(3)}, ValueError, "unexpected nonsense"),
        (lambda g: dict(list(g.items())[1:]), ValueError, "missing recurrent.weight_ih_l0"),
        (lambda g: g | {"readout.bias": np.zeros(2)}, ValueError, r"`readout.bias` has shape \(2,\), expected \(1,\)"),
        (lambda g: g | {"readout.bias": np.zeros(1, complex)}, TypeError, "complex128"),
        (lambda g: list(g.values()), TypeError, "should be a Gradients, got list"),
    ],
)
def test_a_refused_step_changes_nothing(rng: Rng, change: Any, error: type[Exception], words: str) -> None:
    model, twin = small_model(), small_model()
    optimizer, undisturbed = optim.Adam(model), optim.Adam(twin)
    gradients = random_gradients(model, rng)
    with pytest.raises(error, match=words):
        optimizer.step(change(gradients.parameters))
    optimizer.step(gradients)
    undisturbed.step(gradients)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, twin.parameters[name])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"lr": -1.0}, ValueError, "`lr`"),
        ({"lr": math.nan}, ValueError, "`lr`"),
        ({"lr": "fast"}, TypeError, "`lr`"),
        ({"betas": (0.9, 1.0)}, ValueError, "`betas`"),
        ({"betas": 0.9}, TypeError, "`betas`"),
        ({"eps": -1e-8}, ValueError, "`eps`"),
        ({"freeze": ["recurren"]}, ValueError, "which the model does not have"),
        ({"freeze": [3]}, TypeError, "should hold names"),
        ({"model": small_model().parameters}, TypeError, "Pass the model, not its parameters"),
    ],
)
def test_wrong_arguments_are_explained(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        optim.Adam(**({"model": small_model()} | arguments))


def test_the_learning_rate_can_be_set_between_steps() -> None:
    optimizer = optim.Adam(small_model())
    optimizer.lr = 0.5
    assert "lr=0.5" in repr(optimizer)
    with pytest.raises(ValueError, match="`lr`"):
        optimizer.lr = math.inf
    assert optimizer.lr == 0.5


def test_clipping_scales_everything_by_one_factor(rng: Rng) -> None:
    model = small_model()
    prediction, pullback = model.vjp(rng.standard_normal((5, 3, 2)))
    gradients = pullback(prediction)
    norm = math.sqrt(sum(float(np.sum(value**2)) for value in gradients.parameters.values()))
    clipped, found = optim.clip_by_global_norm(gradients, norm / 4)
    assert found == pytest.approx(norm, rel=1e-14)
    assert clipped.norm() == pytest.approx(norm / 4, rel=1e-14)
    for name, value in clipped.parameters.items():
        np.testing.assert_allclose(value, gradients.parameters[name] / 4, rtol=1e-14)
    for field in ("x", "h_0", "c_0"):
        ours, whole = getattr(clipped, field), getattr(gradients, field)
        assert ours is not None
        assert whole is not None
        np.testing.assert_allclose(4.0 * ours, whole, rtol=1e-14)


def test_what_is_short_enough_comes_back_as_it_is(rng: Rng) -> None:
    gradients = random_gradients(small_model("float32"), rng)
    assert optim.clip_by_global_norm(gradients, 2 * gradients.norm()) == (gradients, gradients.norm())
    assert optim.clip_by_global_norm(gradients, 0.1)[0].parameters["readout.bias"].dtype == np.float32
    zero = gradients * 0.0
    assert optim.clip_by_global_norm(zero, 1.0) == (zero, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_no_number_is_reported_and_not_hidden(rng: Rng, bad: float) -> None:
    gradients = random_gradients(small_model(), rng)
    gradients.parameters["readout.bias"][0] = bad
    same, norm = optim.clip_by_global_norm(gradients, 1.0)
    assert same is gradients
    assert not math.isfinite(norm)


@pytest.mark.torch
def test_clipping_agrees_with_pytorch(rng: Rng) -> None:
    torch = pytest.importorskip("torch")
    gradients = random_gradients(small_model(), rng)
    tensors = [torch.zeros(value.shape, dtype=torch.float64) for value in gradients.parameters.values()]
    for tensor, value in zip(tensors, gradients.parameters.values(), strict=True):
        tensor.grad = torch.tensor(value)
    theirs = float(torch.nn.utils.clip_grad_norm_(tensors, 1.5))
    clipped, norm = optim.clip_by_global_norm(gradients, 1.5)
    assert norm == pytest.approx(theirs, rel=1e-12)
    for tensor, value in zip(tensors, clipped.parameters.values(), strict=True):
        np.testing.assert_allclose(value, tensor.grad.numpy(), rtol=1e-5)  # PyTorch divides by norm + 1e-6


@pytest.mark.parametrize(
    ("gradients", "max_norm", "error"),
    [
        ({"weight": np.zeros(3)}, 1.0, TypeError),
        (Gradients(None, None, None, {}), 0.0, ValueError),
        (Gradients(None, None, None, {}), -1.0, ValueError),
        (Gradients(None, None, None, {}), math.nan, ValueError),
        (Gradients(None, None, None, {}), "1", TypeError),
    ],
)
def test_wrong_arguments_of_clipping_are_explained(gradients: Any, max_norm: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="clip_by_global_norm"):
        optim.clip_by_global_norm(gradients, max_norm)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30, 1e300])
def test_a_step_that_would_overflow_is_refused_and_changes_nothing(bad: float) -> None:
    stepped, spared = (numrnn.Linear(2, 1, bias=False, seed=0) for _ in range(2))
    good, worse = {"weight": np.ones((1, 2))}, {"weight": np.array([[1.0, bad]])}
    one, other = optim.Adam(stepped), optim.Adam(spared)
    with pytest.raises(ValueError, match="NaN or infinite"):
        one.step(worse)
    for optimizer in (one, other):
        optimizer.step(good)
    np.testing.assert_array_equal(stepped.parameters["weight"], spared.parameters["weight"])


def test_an_interrupted_step_leaves_the_running_means(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped, spared = (numrnn.Linear(2, 1, bias=False, seed=0) for _ in range(2))
    one, other = optim.Adam(stepped), optim.Adam(spared)

    def interrupted(layer: Any, fresh: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(numrnn.Linear, "_adopt", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.step({"weight": np.array([[3.0, -2.0]])})
    for optimizer in (one, other):
        optimizer.step({"weight": np.ones((1, 2))})
    np.testing.assert_array_equal(stepped.parameters["weight"], spared.parameters["weight"])


def test_a_masked_gradient_is_refused() -> None:
    layer = numrnn.Linear(2, 1, bias=False)
    with pytest.raises(TypeError, match="masked"):
        optim.Adam(layer).step({"weight": np.ma.masked_array([[1.0, 2.0]], [[True, False]])})
