"""SequenceModel of layers that read from the end: beside its parts, called one after the other."""

from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn.plot.norms import norms_over_time

LENGTHS = np.array([4, 6, 1, 3])


def parts(batch_first: bool = False) -> tuple[list[Any], numrnn.Linear]:
    options: dict[str, Any] = {"batch_first": batch_first, "dtype": "float64"}
    first = numrnn.Reversed(numrnn.LSTM(3, 4, seed=1, **options), keep_order=False)
    second = numrnn.GRU(4, 5, bidirectional=True, seed=2, **options)
    third = numrnn.Reversed(numrnn.RNN(10, 3, num_layers=2, seed=3, **options))
    return [first, second, third], numrnn.Linear(3, 2, dtype="float64", seed=4)


@pytest.mark.parametrize("readout_on", ["last", "every", "mean", "max"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "ragged"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_model_is_its_parts_one_after_the_other(batch_first, lengths, readout_on, rng):
    """Predictions are, and gradients are those of finite differences."""
    layers, readout = parts(batch_first)
    model = numrnn.SequenceModel(layers, readout, readout_on=readout_on)
    x = rng.standard_normal((4, 6, 3) if batch_first else (6, 4, 3))
    y = x
    for layer in layers:
        result = layer(y, lengths=lengths)
        y = result.output
    prediction, pullback = model.vjp(x, lengths=lengths)
    np.testing.assert_array_equal(model(x, lengths=lengths), prediction)
    if readout_on == "last":
        np.testing.assert_array_equal(prediction, readout(result.last_output))
    if readout_on == "every" and lengths is None:
        np.testing.assert_array_equal(prediction, readout(y))
    d_prediction = rng.standard_normal(prediction.shape)
    gradients = pullback(d_prediction)
    direction, step = rng.standard_normal(x.shape), 1e-6
    difference = (model(x + step * direction, lengths=lengths) - model(x - step * direction, lengths=lengths)) / (
        2 * step
    )
    np.testing.assert_allclose((gradients.x * direction).sum(), (difference * d_prediction).sum(), rtol=1e-6, atol=1e-8)
    for name in ("recurrent.0.weight_hh_l0", "recurrent.2.bias_ih_l1"):
        value = model.parameters[name]
        direction = rng.standard_normal(value.shape)
        ends = []
        for sign in (1, -1):
            model.set_parameters({name: value + sign * step * direction})
            ends.append(model(x, lengths=lengths))
        model.set_parameters({name: value})
        expected = ((ends[0] - ends[1]) / (2 * step) * d_prediction).sum()
        np.testing.assert_allclose((gradients.parameters[name] * direction).sum(), expected, rtol=1e-6, atol=1e-8)


def test_saved_and_loaded_it_is_the_same(tmp_path, rng):
    pytest.importorskip("safetensors")
    layers, readout = parts()
    model = numrnn.SequenceModel(layers, readout, learn_initial_state=True)
    numrnn.save(model, tmp_path / "x.safetensors")
    x = rng.standard_normal((6, 4, 3))
    loaded = numrnn.load(tmp_path / "x.safetensors")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_it_learns(rng):
    model = numrnn.SequenceModel(numrnn.Reversed(numrnn.GRU(1, 8, seed=0)), numrnn.Linear(8, 1, seed=1))
    x = rng.standard_normal((5, 64, 1))
    optimizer = numrnn.optim.Adam(model, lr=0.02)
    options = {"loss": numrnn.losses.mse, "optimizer": optimizer, "batch_size": 16, "progress": False, "seed": 0}
    history = numrnn.fit(model, x, x[0], epochs=20, **options)
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_what_needs_the_order_of_time_is_refused():
    model = numrnn.SequenceModel(numrnn.Reversed(numrnn.GRU(2, 3)), numrnn.Linear(3, 1), readout_on="every")
    x, y = np.zeros((5, 2, 2)), np.zeros((5, 2, 1))
    with pytest.raises(NotImplementedError, match="a reversed layer has no roll-out: it begins at the end"):
        model.rollout(x, 3)
    optimizer = numrnn.optim.Adam(model)
    options = {"loss": numrnn.losses.mse, "optimizer": optimizer, "epochs": 1, "batch_size": 2, "progress": False}
    with pytest.raises(NotImplementedError, match="`bptt_steps` with a reversed layer: it begins at the end"):
        numrnn.fit(model, x, y, bptt_steps=2, **options)
    with pytest.raises(NotImplementedError, match=r'of="h".*a reversed layer runs against the order of time'):
        norms_over_time(model, x, y, loss=numrnn.losses.mse)
    norms = norms_over_time(model, np.ones_like(x), y, loss=numrnn.losses.mse, of="x")
    assert (norms > 0).all()


def test_a_layer_and_itself_reversed_are_one_object():
    layer = numrnn.GRU(3, 3)
    with pytest.raises(ValueError, match="is the same object as a layer below"):
        numrnn.SequenceModel([layer, numrnn.Reversed(layer)], None)
