"""The dense layer against NumPy, finite differences and PyTorch."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import numrnn

Rng = np.random.Generator

SHAPES = [(5,), (1, 5), (4, 5), (7, 3, 5), (2, 3, 4, 5), (0, 5), (3, 0, 5)]


def layer(dtype: str = "float64", bias: bool = True) -> numrnn.Linear:
    return numrnn.Linear(5, 3, bias, dtype=dtype, seed=1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_it_is_a_product_and_a_sum(rng: Rng, shape: tuple[int, ...], bias: bool, dtype: str, tolerance: float) -> None:
    linear = layer(dtype, bias)
    x = rng.standard_normal(shape).astype(dtype)
    weights = {name: value.astype(np.float64) for name, value in linear.parameters.items()}
    expected = x.astype(np.float64) @ weights["weight"].T + weights.get("bias", 0.0)
    y = linear(x)
    assert y.dtype == dtype
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (70, 33, 65), (513, 64, 7), (5, 200, 130)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
def test_sizes_around_tiles_and_blocks(rng: Rng, sizes: tuple[int, int, int], dtype: str, tolerance: float) -> None:
    rows, features, units = sizes
    linear = numrnn.Linear(features, units, dtype=dtype, seed=2)
    x, d_y = rng.standard_normal((rows, features)), rng.standard_normal((rows, units))
    y, pullback = linear.vjp(x)
    gradients = pullback(d_y)
    weight, bias = (value.astype(np.float64) for value in linear.parameters.values())
    assert gradients.x is not None
    for found, expected in (
        (y, x @ weight.T + bias),
        (gradients.x, d_y @ weight),
        (gradients.parameters["weight"], d_y.T @ x),
        (gradients.parameters["bias"], d_y.sum(0)),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, float(np.abs(expected).max())))


def test_vjp_and_call_give_the_same_bits(rng: Rng) -> None:
    linear, x = layer("float32"), rng.standard_normal((40, 5))
    np.testing.assert_array_equal(linear.vjp(x)[0], linear(x))


def test_a_row_alone_gives_the_same_bits(rng: Rng) -> None:
    linear, x = layer("float32"), rng.standard_normal((40, 5))
    np.testing.assert_array_equal(linear(x), np.stack([linear(row) for row in x]))


def test_threads_change_nothing(rng: Rng) -> None:
    linear = numrnn.Linear(64, 48, seed=3)
    x, d_y = rng.standard_normal((2000, 64)), rng.standard_normal((2000, 48))
    answers = []
    for n_threads in (1, -1):
        y, pullback = linear.vjp(x, n_threads=n_threads)
        gradients = pullback(d_y)
        answers.append([y, linear(x, n_threads=n_threads), gradients.x, *gradients.parameters.values()])
    for one, many in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_gradients_match_finite_differences(rng: Rng, shape: tuple[int, ...]) -> None:
    linear = layer()
    x = rng.standard_normal(shape)
    y, pullback = linear.vjp(x)
    d_y = rng.standard_normal(y.shape)
    gradients = pullback(d_y)
    step = 1e-6
    for name, value in linear.parameters.items():
        direction = rng.standard_normal(value.shape)
        ends = []
        for sign in (1, -1):
            moved = copy.deepcopy(linear)
            moved.set_parameters({name: value + sign * step * direction})
            ends.append(float(np.sum(moved(x) * d_y)))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert np.sum(gradients.parameters[name] * direction) == pytest.approx(expected, rel=1e-7)
    direction = rng.standard_normal(shape)
    assert gradients.x is not None
    slope = np.sum((linear(x + step * direction) - linear(x - step * direction)) * d_y) / (2 * step)
    assert np.sum(gradients.x * direction) == pytest.approx(slope, rel=1e-7)


def test_the_pullback_can_be_called_again_and_keeps_its_weights(rng: Rng) -> None:
    linear, x = layer(), rng.standard_normal((4, 5))
    y, pullback = linear.vjp(x)
    first = pullback(y)
    linear.set_parameters({"weight": np.zeros((3, 5))})
    second = pullback(y)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.parameters["weight"], second.parameters["weight"])
    assert first.h_0 is None
    assert first.c_0 is None


def test_no_rows_have_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fresh memory holds."""
    _, pullback = layer().vjp(np.zeros((0, 5)))
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, 7.0, dtype))
    for value in pullback(np.zeros((0, 3))).parameters.values():
        np.testing.assert_array_equal(value, 0.0)


def test_without_the_gradient_of_x_the_rest_is_the_same(rng: Rng) -> None:
    y, pullback = layer().vjp(rng.standard_normal((4, 5)))
    whole, part = pullback(y), pullback(y, x_gradient=False)
    assert part.x is None
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(part.parameters[name], value)


def test_new_weights_are_used_at_once(rng: Rng) -> None:
    linear, x = layer(), rng.standard_normal((4, 5))
    linear(x)
    linear.set_parameters({"weight": np.zeros((3, 5)), "bias": [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(linear(x), np.tile([1.0, 2.0, 3.0], (4, 1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.astype(">f8"),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x.tolist(),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.float64, offset=1).reshape(x.shape),
    ],
    ids=["byte-swapped", "Fortran-ordered", "strided", "nested list", "unaligned"],
)
def test_any_real_array_is_read(rng: Rng, make: Any) -> None:
    linear, x = layer(), rng.standard_normal((4, 5))
    before = linear(x)
    given = make(x)
    copied = copy.deepcopy(given)
    y, pullback = linear.vjp(given)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(pullback(make(y)).x, linear.vjp(x)[1](y).x)
    np.testing.assert_array_equal(given, copied)


def test_integers_and_read_only_arrays_are_read() -> None:
    linear, x = layer(), np.arange(10).reshape(2, 5)
    frozen = x.astype(np.float64)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(linear(x), linear(frozen))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros((4, 6)), ValueError, ["`x` has 6 features, expected 5", "(4, 6)", "last axis"]),
        (np.zeros((5, 4)), ValueError, ["`x` has 4 features, expected 5", "np.moveaxis(x, 0, -1)"]),
        (np.float64(1.0), ValueError, ["single number", "(..., 5)"]),
        (np.zeros((4, 5), complex), TypeError, ["complex"]),
        (np.ma.zeros((4, 5)), TypeError, ["masked"]),
        (np.zeros((4, 5), object), TypeError, ["Python objects"]),
        ("text", TypeError, ["text"]),
        (None, TypeError, ["array of real numbers"]),
    ],
)
def test_wrong_input_is_explained(x: Any, error: type[Exception], words: list[str]) -> None:
    linear = layer()
    for call in (linear, linear.vjp):
        with pytest.raises(error) as caught:
            call(x)
        text = str(caught.value)
        assert text.startswith("Linear(in_features=5, out_features=3): ")
        assert all(word in text for word in words), text
    linear(np.zeros((4, 5)))


def test_a_whole_result_is_refused() -> None:
    result = numrnn.GRU(2, 5)(np.zeros((3, 1, 2)))
    with pytest.raises(TypeError, match="Pass its `last_output`"):
        numrnn.Linear(5, 3)(result)  # type: ignore[arg-type]


def test_a_wrong_cotangent_is_explained() -> None:
    _, pullback = layer().vjp(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"`d_y` has shape \(4, 1\), expected \(4, 3\)"):
        pullback(np.zeros((4, 1)))
    with pytest.raises(TypeError, match="x_gradient"):
        pullback(np.zeros((4, 3)), x_gradient=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"in_features": 0}, ValueError),
        ({"in_features": -1}, ValueError),
        ({"out_features": 1.5}, TypeError),
        ({"out_features": True}, TypeError),
        ({"bias": 1}, TypeError),
        ({"dtype": "float16"}, ValueError),
        ({"dtype": "nonsense"}, TypeError),
        ({"seed": -1}, ValueError),
        ({"in_features": 2**31, "out_features": 2**31}, MemoryError),
    ],
    ids=str,
)
def test_wrong_constructor_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^Linear"):
        numrnn.Linear(**({"in_features": 5, "out_features": 3} | arguments))


def test_initial_weights_are_pytorchs_kind() -> None:
    linear = numrnn.Linear(400, 300, seed=4)
    weight, bias = linear.parameters["weight"], linear.parameters["bias"]
    bound = 1 / 20
    assert 0.999 * bound < np.abs(weight).max() <= bound
    assert 0.9 * bound < np.abs(bias).max() <= bound
    assert abs(float(weight.mean())) < 1e-3 * bound * 5
    np.testing.assert_array_equal(weight, numrnn.Linear(400, 300, seed=4).parameters["weight"])
    assert not np.array_equal(weight, numrnn.Linear(400, 300, seed=5).parameters["weight"])
    single, double = numrnn.Linear(5, 3, seed=1), layer()
    np.testing.assert_array_equal(single.parameters["weight"], double.parameters["weight"].astype(np.float32))


@pytest.mark.parametrize(
    "linear",
    [numrnn.Linear(5, 3), numrnn.Linear(5, 3, False), numrnn.Linear(5, 3, dtype="float64", seed=7)],
    ids=repr,
)
def test_repr_pickle_and_deepcopy_make_it_again(linear: numrnn.Linear) -> None:
    again = eval(repr(linear), {"Linear": numrnn.Linear})
    assert repr(again) == repr(linear)
    for twin in (pickle.loads(pickle.dumps(linear)), copy.deepcopy(linear)):
        assert repr(twin) == repr(linear)
        assert twin.num_parameters == linear.num_parameters == sum(v.size for v in linear.parameters.values())
        x = np.linspace(0, 1, 5)
        np.testing.assert_array_equal(twin(x), linear(x))
        assert not twin.parameters["weight"].flags.writeable
        twin.set_parameters({"weight": np.zeros((3, 5))})
        assert linear.parameters["weight"].any()


def test_nothing_changes_it_but_its_methods() -> None:
    linear = layer()
    with pytest.raises(AttributeError, match="`bias` is fixed"):
        linear.bias = False
    with pytest.raises(ValueError, match="read-only"):
        linear.parameters["weight"][0] = 1.0
    with pytest.raises(ValueError, match="unexpected nonsense"):
        linear.set_parameters({"nonsense": np.zeros(3)})
    with pytest.raises(ValueError, match="transposed"):
        linear.set_parameters({"weight": np.zeros((5, 3))})


@pytest.mark.torch
def test_it_agrees_with_pytorch(rng: Rng) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Linear(5, 3, dtype=torch.float64)
    ours = layer()
    ours.load_state_dict({name: value.detach().numpy() for name, value in theirs.named_parameters()})
    x = rng.standard_normal((6, 4, 5))
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = theirs(x_torch)
    y, pullback = ours.vjp(x)
    d_y = rng.standard_normal(y.shape)
    y_torch.backward(torch.tensor(d_y))
    gradients = pullback(d_y)
    np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=0, atol=1e-14)
    assert gradients.x is not None
    np.testing.assert_allclose(gradients.x, x_torch.grad.numpy(), rtol=0, atol=1e-14)
    for name, value in theirs.named_parameters():
        np.testing.assert_allclose(gradients.parameters[name], value.grad.numpy(), rtol=0, atol=1e-13)
