"""Random models of Keras, live and saved, beside its own predictions: where it and JAX are installed.

Few sizes, since JAX compiles each operation once for each shape.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn.interop.keras_import import from_keras

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # Keras's own, and JAX's
]

WIDTHS = (3, 4)
KINDS = ("SimpleRNN", "LSTM", "GRU")


@pytest.fixture(scope="module")
def keras() -> Any:
    pytest.importorskip("jax")
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("Keras runs on another backend")
    return keras


def recurrent(keras: Any, rng: np.random.Generator, *, every: bool, width: int, both: bool) -> Any:
    """A recurrent layer with random options."""
    kind = KINDS[rng.integers(3)]
    options: dict[str, Any] = {"use_bias": bool(rng.integers(4)), "return_sequences": every}
    if kind == "SimpleRNN":
        options["activation"] = ("tanh", "relu")[rng.integers(2)]
    if kind == "GRU":
        options["reset_after"] = bool(rng.integers(2))
    if rng.integers(2):
        options |= {"dropout": 0.3, "recurrent_dropout": 0.1, "unroll": False}
    layer = getattr(keras.layers, kind)(width, **options)
    return keras.layers.Bidirectional(layer) if both else layer


def layers_of(keras: Any, rng: np.random.Generator) -> list[Any]:
    """Recurrent layers, with what may stand between them and behind them."""
    depth, every = int(rng.integers(1, 4)), bool(rng.integers(2))
    alike = bool(rng.integers(2))
    width, seed, both = WIDTHS[rng.integers(2)], int(rng.integers(2**31)), bool(rng.integers(2))
    layers = []
    for k in range(depth):
        own = np.random.default_rng(seed) if alike else rng
        if not alike:
            width, both = WIDTHS[rng.integers(2)], bool(rng.integers(2))
        layers.append(recurrent(keras, own, every=every or k < depth - 1, width=width, both=both))
        if rng.integers(3) == 0:
            layers.append(keras.layers.Dropout(0.4))
    if every and rng.integers(3) == 0:
        pools = (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalAveragePooling1D)
        layers.append(pools[rng.integers(2)]())
        every = False
    if rng.integers(2):
        dense = keras.layers.Dense(2, use_bias=bool(rng.integers(2)))
        layers.append(keras.layers.TimeDistributed(dense) if every and rng.integers(2) else dense)
    return layers


def model_of(keras: Any, rng: np.random.Generator, layers: list[Any]) -> Any:
    """The layers as a Sequential model or as a graph, with random weights."""
    x = keras.Input((None, 3))
    if rng.integers(2):
        model = keras.Sequential([x, *layers])
    else:
        y = x
        for layer in layers:
            y = layer(y)
        model = keras.Model(x, y)
    for layer in model.layers:
        layer.set_weights([rng.uniform(-1, 1, weight.shape) / weight.shape[0] ** 0.5 for weight in layer.get_weights()])
    return model


def prediction(found: Any, x: np.ndarray, ndim: int) -> np.ndarray:
    result = found(x)
    if isinstance(found, numrnn.SequenceModel):
        return result
    return result.output if ndim == 3 else result.last_output


def check(model: Any, x: np.ndarray, path: Path) -> None:
    """A model, live and saved, gives the same layer with the same weights, and its predictions."""
    expected = np.asarray(model(x))
    model.save(path)
    live, saved = from_keras(model), from_keras(path)
    assert repr(live) == repr(saved)
    assert live.parameters.keys() == saved.parameters.keys()
    for name, value in live.parameters.items():
        np.testing.assert_array_equal(saved.parameters[name], value)
    np.testing.assert_allclose(prediction(saved, x, expected.ndim), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", range(16))
def test_random_models_load_and_predict_what_keras_predicts(case, keras, tmp_path):
    rng = np.random.default_rng(case)
    model = model_of(keras, rng, layers_of(keras, rng))
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    check(model, x, tmp_path / "x.keras")


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_go_backwards_keep_keras_order(kind, every, keras, tmp_path, rng):
    layer = getattr(keras.layers, kind)(4, go_backwards=True, return_sequences=every)
    model = model_of(keras, rng, [layer])
    assert isinstance(from_keras(model), numrnn.Reversed)
    check(model, rng.standard_normal((2, 5, 3)).astype(np.float32), tmp_path / "x.keras")


def test_layers_that_go_backwards_stand_among_others(keras, tmp_path, rng):
    GRU, LSTM, Dense = keras.layers.GRU, keras.layers.LSTM, keras.layers.Dense
    layers = [
        LSTM(4, go_backwards=True, return_sequences=True),
        LSTM(4, go_backwards=True, return_sequences=True),
        GRU(3, return_sequences=True),
        GRU(3, go_backwards=True),
        Dense(2),
    ]
    model = model_of(keras, rng, layers)
    assert [type(layer).__name__ for layer in from_keras(model).recurrent] == [
        "Reversed",
        "Reversed",
        "GRU",
        "Reversed",
    ]
    check(model, rng.standard_normal((2, 5, 3)).astype(np.float32), tmp_path / "x.keras")


def test_a_trained_model_loads_with_its_optimiser_state_passed_over(keras, tmp_path, rng):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = rng.standard_normal((2, 5, 3)).astype(np.float32), rng.standard_normal((2, 1))
    model.fit(x, y, verbose=0)
    check(model, x, tmp_path / "x.keras")


def test_float64_models_stay_float64(keras, tmp_path, rng):
    jax = pytest.importorskip("jax")
    with jax.experimental.enable_x64() if hasattr(jax.experimental, "enable_x64") else jax.enable_x64(True):
        x = keras.Input((None, 3), dtype="float64")
        model = keras.Model(x, keras.layers.LSTM(4, dtype="float64")(x))
        model.save(tmp_path / "x.keras")
        found = from_keras(tmp_path / "x.keras")
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found.parameters["weight_ih_l0"], np.asarray(model.layers[1].get_weights()[0]).T)


def test_a_model_of_a_class_of_the_users_own_is_refused(keras, tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.LSTM(3)

        def call(self, x):
            return self.inner(x)

    model = Own()
    model(np.zeros((1, 2, 3), np.float32))
    model.save(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="the model's class is 'Own' of "):
        from_keras(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="`model` is a Own, whose configuration lists no layers"):
        from_keras(model)


def test_code_in_a_model_is_refused_unread(keras, tmp_path):
    layers = [keras.layers.LSTM(3, return_sequences=True), keras.layers.Lambda(lambda x: x + 1)]
    model = keras.Sequential([keras.Input((None, 3)), *layers])
    model.save(tmp_path / "x.keras")
    for source in (model, tmp_path / "x.keras"):
        with pytest.raises(ValueError, match=r"\(Lambda\): it cannot be loaded in this place\.\n  It is code"):
            from_keras(source)
