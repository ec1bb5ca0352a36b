"""Every optimiser: its rule in float64, its state saved and loaded, its refusals."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import _jit, optim
from numrnn.kernels import optimizers as kernels

Rng = np.random.Generator

RULES: dict[str, Callable[..., Any]] = {
    "SGD": lambda model, **more: optim.SGD(model, **{"lr": 0.05} | more),
    "SGD, decay": lambda model, **more: optim.SGD(model, **{"lr": 0.05, "weight_decay": 0.1} | more),
    "SGD, momentum": lambda model, **more: optim.SGD(model, **{"lr": 0.05, "momentum": 0.9} | more),
    "SGD, Nesterov": lambda model, **more: optim.SGD(
        model, **{"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1} | more
    ),
    "RMSprop": lambda model, **more: optim.RMSprop(model, **{"weight_decay": 0.1} | more),
    "RMSprop, momentum": lambda model, **more: optim.RMSprop(model, **{"momentum": 0.8} | more),
    "Adam": lambda model, **more: optim.Adam(model, **{"lr": 0.02} | more),
    "AdamW": lambda model, **more: optim.AdamW(model, **{"lr": 0.02, "weight_decay": 0.3} | more),
}
every_rule = pytest.mark.parametrize("make", RULES.values(), ids=list(RULES))


def small_model(dtype: str = "float64") -> numrnn.SequenceModel:
    return numrnn.SequenceModel(numrnn.RNN(2, 4, dtype=dtype, seed=1), numrnn.Linear(4, 1, dtype=dtype, seed=2))


def random_gradients(model: Any, rng: Rng) -> dict[str, Any]:
    return {name: rng.standard_normal(v.shape).astype(v.dtype) for name, v in model.parameters.items()}


def by_hand(optimizer: Any, weight: float, gradients: list[float]) -> float:
    """The published rules, one number, one step after the other."""
    momentum = mean = square = 0.0
    for t, gradient in enumerate(gradients, 1):
        if isinstance(optimizer, optim.SGD):
            gradient += optimizer.weight_decay * weight
            momentum = gradient if t == 1 else optimizer.momentum * momentum + gradient
            ahead = gradient + optimizer.momentum * momentum
            weight -= optimizer.lr * (ahead if optimizer.nesterov else momentum if optimizer.momentum else gradient)
        elif isinstance(optimizer, optim.RMSprop):
            gradient += optimizer.weight_decay * weight
            square = optimizer.alpha * square + (1 - optimizer.alpha) * gradient**2
            momentum = optimizer.momentum * momentum + gradient / (math.sqrt(square) + optimizer.eps)
            weight -= optimizer.lr * momentum
        else:
            (first, second), decay = optimizer.betas, getattr(optimizer, "weight_decay", 0.0)
            weight -= optimizer.lr * decay * weight
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient**2
            root = math.sqrt(square / (1 - second**t))
            weight -= optimizer.lr * mean / (1 - first**t) / (root + optimizer.eps)
    return weight


@every_rule
def test_every_number_follows_the_published_rule(rng: Rng, make: Any) -> None:
    layer = numrnn.Linear(7, 3, bias=False, dtype="float64", seed=0)
    before, optimizer = layer.state_dict()["weight"], make(layer)
    gradients = rng.standard_normal((30, 3, 7))
    for gradient in gradients:
        optimizer.step({"weight": gradient})
    for place in np.ndindex(3, 7):
        expected = by_hand(optimizer, float(before[place]), [float(g[place]) for g in gradients])
        assert float(layer.parameters["weight"][place]) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.skipif(_jit.DISABLED, reason="kernels are not compiled with NUMBA_DISABLE_JIT=1")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sgd", "sgd_momentum", "rmsprop", "rmsprop_momentum", "adam"])
def test_a_kernel_has_the_bits_of_its_rule_on_arrays(rng: Rng, name: str, dtype: str) -> None:
    """NumPy rounds after each operation and knows no vectors' tails; so does the kernel."""
    running = {"sgd": 0, "sgd_momentum": 1, "rmsprop": 1}.get(name, 2)
    settings = rng.uniform(0.1, 0.9, kernels.SETTINGS).astype(dtype)
    weight, gradient = rng.standard_normal((2, 1003)).astype(dtype)
    slots = rng.random((running, 1003)).astype(dtype)
    fresh, fresh_slots = np.empty_like(weight), np.empty_like(slots)
    assert getattr(kernels, name)(settings, weight, gradient, slots, fresh, fresh_slots)
    expected = getattr(kernels, f"{name}_rule").py_func(tuple(settings), weight, gradient, *slots)
    np.testing.assert_array_equal(np.array([fresh, *fresh_slots]), np.array(expected).reshape(running + 1, -1))


@every_rule
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_state_continues_bit_for_bit(rng: Rng, make: Any, dtype: str) -> None:
    model, twin_model = small_model(dtype), small_model(dtype)
    whole, first = make(model), make(twin_model)
    steps = [random_gradients(model, rng) for _ in range(6)]
    for gradients in steps:
        whole.step(gradients)
    for gradients in steps[:3]:
        first.step(gradients)
    saved, weights = first.state_dict(), twin_model.state_dict()
    copies = {name: value.copy() for name, value in saved.items()}
    first.step(steps[5])
    twin_model.load_state_dict(weights)
    second = make(twin_model, lr=0.9)
    second.load_state_dict(saved)
    assert second.lr == whole.lr
    for gradients in steps[3:]:
        second.step(gradients)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(twin_model.parameters[name], value)
    ours, theirs = whole.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value)
        np.testing.assert_array_equal(saved[name], copies[name])


@every_rule
def test_the_state_is_named_and_shaped_as_the_weights(make: Any) -> None:
    model = small_model()
    optimizer = make(model, freeze="readout")
    state = optimizer.state_dict()
    assert state["steps"].dtype == np.int64
    assert state["lr"].dtype == np.float64
    assert state["steps"].shape == state["lr"].shape == ()
    running = {name.partition(".")[0] for name in state} - {"steps", "lr"}
    trained = [name for name in model.parameters if not name.startswith("readout.")]
    assert set(state) == {"steps", "lr"} | {f"{kind}.{name}" for kind in running for name in trained}
    for name in set(state) - {"steps", "lr"}:
        assert state[name].shape == model.parameters[name.partition(".")[2]].shape


@every_rule
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_no_number_changes_nothing(rng: Rng, make: Any, bad: float) -> None:
    """The bad number is in the last array, so that others were computed before it was seen."""
    model, twin = small_model(), small_model()
    one, other = make(model), make(twin)
    gradients = random_gradients(model, rng)
    one.step(gradients)
    other.step(gradients)
    bad_ones = {**gradients, "readout.bias": np.array([bad])}
    with pytest.raises(ValueError, match=r"\.step: the step would make .*`readout.bias` NaN or infinite") as caught:
        one.step(bad_ones)
    assert "Its gradient is NaN or infinite" in str(caught.value)
    assert one.state_dict()["steps"] == 1
    for _ in range(2):
        one.step(gradients)
        other.step(gradients)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, twin.parameters[name])


def test_a_running_square_that_overflows_is_refused() -> None:
    layer = numrnn.Linear(2, 1, bias=False, seed=0)
    before = layer.parameters["weight"]
    for optimizer in (optim.Adam(layer), optim.RMSprop(layer), optim.AdamW(layer)):
        with pytest.raises(ValueError, match=r"The largest number of its gradient is 1\.0e\+25"):
            optimizer.step({"weight": np.full((1, 2), 1e25)})
        assert not any(value.any() for value in optimizer.state_dict().values() if value.ndim)
    with pytest.raises(ValueError, match="lower `lr`"):
        optim.SGD(layer, lr=1e39).step({"weight": np.ones((1, 2))})
    np.testing.assert_array_equal(layer.parameters["weight"], before)


@every_rule
def test_weights_that_were_handed_out_do_not_change(rng: Rng, make: Any) -> None:
    model = small_model()
    held, copies = model.parameters, model.state_dict()
    optimizer = make(model)
    for _ in range(3):
        optimizer.step(random_gradients(model, rng))
    for name, value in held.items():
        np.testing.assert_array_equal(value, copies[name])
        assert not model.parameters[name].flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            model.parameters[name].flags.writeable = True


@pytest.mark.skipif(_jit.DISABLED, reason="nothing is compiled with NUMBA_DISABLE_JIT=1")
@every_rule
def test_its_kernel_is_kept_on_disk(rng: Rng, make: Any) -> None:
    model = small_model()
    optimizer = make(model)
    optimizer.step(random_gradients(model, rng))
    folder = _jit.cache_folder()
    assert folder is not None
    assert list(folder.glob(f"optimizers.{optimizer._rule[0].py_func.__name__}-*.nbc"))


@every_rule
def test_a_step_is_seen_by_the_next_call(rng: Rng, make: Any) -> None:
    """Packed weights are made anew."""
    model = small_model()
    x = rng.standard_normal((5, 3, 2))
    model(x)
    make(model).step(random_gradients(model, rng))
    fresh = small_model()
    fresh.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(model(x), fresh(x))


@pytest.mark.parametrize(
    "model",
    [
        numrnn.LSTMCell(2, 3, seed=0),
        numrnn.Reversed(numrnn.RNN(2, 3, seed=0)),
        numrnn.SequenceModel([numrnn.RNN(2, 3, seed=0), numrnn.GRU(3, 2, dtype="float32", seed=0)], None),
        numrnn.SequenceModel(numrnn.LSTM(2, 3, seed=0), numrnn.Linear(3, 1, seed=0), learn_initial_state=True),
    ],
    ids=["a cell", "a reversed layer", "a list of layers", "an initial state"],
)
def test_everything_that_has_weights_is_trained(rng: Rng, model: Any) -> None:
    before, gradients = model.state_dict(), random_gradients(model, rng)
    optimizer = optim.SGD(model, lr=0.5)
    for _ in range(2):
        optimizer.step(gradients)
    assert list(model.parameters) == list(before)
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, before[name] - gradients[name], rtol=0, atol=1e-5)


@every_rule
def test_gradients_of_any_layout_and_precision_are_read(rng: Rng, make: Any) -> None:
    def steps(layout: Callable[[Any], Any]) -> Any:
        layer = numrnn.Linear(5, 4, bias=False, dtype="float32", seed=0)
        optimizer = make(layer)
        for gradient in gradients:
            optimizer.step({"weight": layout(gradient)})
        return layer.parameters["weight"]

    def read_only(gradient: Any) -> Any:
        gradient = gradient.copy()
        gradient.flags.writeable = False
        return gradient

    gradients = rng.standard_normal((3, 4, 5)).astype(np.float32)
    expected = steps(lambda gradient: gradient)
    for layout in (np.asfortranarray, lambda g: g.astype(np.float64), lambda g: g.astype(">f4"), read_only):
        np.testing.assert_array_equal(steps(layout), expected)


@every_rule
def test_it_is_pickled_with_its_model(rng: Rng, make: Any) -> None:
    model = small_model()
    optimizer = make(model)
    gradients = random_gradients(model, rng)
    for _ in range(2):
        optimizer.step(gradients)
    twin_model, twin = pickle.loads(pickle.dumps((model, optimizer)))
    assert repr(twin) == repr(optimizer)
    optimizer.step(gradients)
    twin.step(gradients)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(twin_model.parameters[name], value)


def test_its_text_is_the_call_that_makes_it() -> None:
    layer = numrnn.Linear(2, 1)
    assert repr(optim.SGD(layer, 0.1, 0.9)) == "SGD(<Linear>, lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)"
    assert repr(optim.RMSprop(layer, freeze="bias")) == (
        "RMSprop(<Linear>, lr=0.01, alpha=0.99, eps=1e-08, momentum=0.0, weight_decay=0.0, freeze=('bias',))"
    )
    assert repr(optim.AdamW(layer)) == "AdamW(<Linear>, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01)"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda layer: optim.SGD(layer, -1.0), ValueError, "SGD: `lr` should be 0 or more"),
        (lambda layer: optim.SGD(layer, 0.1, momentum=-0.1), ValueError, "`momentum` should be 0 or more"),
        (lambda layer: optim.SGD(layer, 0.1, nesterov=True), ValueError, "no momentum to look ahead by"),
        (lambda layer: optim.SGD(layer, 0.1, 0.9, nesterov=1), TypeError, "`nesterov` should be True or False"),
        (lambda layer: optim.SGD(layer, 0.1, weight_decay=math.inf), ValueError, "`weight_decay` should be finite"),
        (lambda layer: optim.RMSprop(layer, alpha=1.0), ValueError, "`alpha` should be from 0 to less than 1"),
        (lambda layer: optim.RMSprop(layer, eps=-1.0), ValueError, "RMSprop: `eps` should be 0 or more"),
        (lambda layer: optim.RMSprop(layer, momentum=None), TypeError, "`momentum` should be a real number"),
        (lambda layer: optim.AdamW(layer, weight_decay=-1), ValueError, "AdamW: `weight_decay` should be 0 or more"),
        (lambda layer: optim.AdamW(layer, betas=(0.9, 1.0)), ValueError, "AdamW: `betas` should be from 0"),
        (lambda layer: optim.AdamW(layer.parameters), TypeError, "AdamW: `model` should be a model or a layer"),
        (lambda layer: optim.AdamW(layer, freeze=3), TypeError, "`freeze` should hold names, got int 3"),
    ],
)
def test_wrong_arguments_are_explained(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(numrnn.Linear(2, 1))


def test_only_the_learning_rate_can_be_set() -> None:
    optimizer = optim.SGD(numrnn.Linear(2, 1), 0.1, momentum=0.9)
    optimizer.lr = 0.2
    with pytest.raises(AttributeError, match="`momentum` is fixed when the optimiser is made"):
        optimizer.momentum = 0.0
    assert (optimizer.lr, optimizer.momentum) == (0.2, 0.9)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (list, TypeError, "should be a mapping of names to arrays, got list"),
        (lambda s: s | {"nonsense": np.zeros(3)}, ValueError, "unexpected nonsense"),
        (lambda s: {k: v for k, v in s.items() if k != "lr"}, ValueError, "missing lr"),
        (lambda s: s | {"mean.weight": np.zeros((2, 1))}, ValueError, r"has shape \(2, 1\), expected \(1, 2\)"),
        (lambda s: s | {"mean.weight": np.array([[0.0, np.nan]])}, ValueError, "numbers that are NaN or infinite"),
        (lambda s: s | {"square.weight": np.array([[0.0, -1.0]])}, ValueError, "NaN, infinite or negative"),
        (lambda s: s | {"mean.weight": np.array([["a", "b"]])}, TypeError, "holds text"),
        (lambda s: s | {"steps": np.array(-1)}, ValueError, "`steps` is -1.0, which it cannot have been"),
        (lambda s: s | {"steps": np.array(1.5)}, TypeError, "`steps` should be an integer, got float64"),
        (lambda s: s | {"lr": np.array([0.1])}, ValueError, r"`lr` has shape \(1,\), expected one number"),
        (lambda s: s | {"lr": np.array(np.nan)}, ValueError, "`lr` is nan"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, error: type[Exception], words: str) -> None:
    layer = numrnn.Linear(2, 1, bias=False)
    optimizer = optim.Adam(layer, lr=0.5)
    optimizer.step({"weight": np.ones((1, 2))})
    before = optimizer.state_dict()
    with pytest.raises(error, match=words) as caught:
        optimizer.load_state_dict(change(optim.Adam(layer).state_dict()))
    assert str(caught.value).startswith("Adam.load_state_dict: ")
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_state_of_another_kind_is_refused() -> None:
    layer = numrnn.Linear(2, 1, bias=False)
    with pytest.raises(ValueError, match=r"missing momentum\.weight\.\s+It was saved by another kind") as caught:
        optim.SGD(layer, 0.1, momentum=0.9).load_state_dict(optim.SGD(layer, 0.1).state_dict())
    assert "Nothing was changed" in str(caught.value)
