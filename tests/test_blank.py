"""Layers that readers of files make: without weights, until all of them are loaded."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import numrnn
from numrnn.nn import recurrent_weights
from numrnn.nn.fixed import arguments

MODELS = {
    "lstm": numrnn.LSTM(3, 5, num_layers=2, proj_size=2, bidirectional=True),
    "gru": numrnn.GRU(3, 5, reset_after=False, bias=False),
    "rnn": numrnn.RNN(3, 5, nonlinearity="relu", dtype="float64"),
    "cell": numrnn.LSTMCell(3, 5),
    "linear": numrnn.Linear(3, 5),
}
MODEL = numrnn.SequenceModel(numrnn.GRU(3, 5), numrnn.Linear(5, 2))
KERAS = Path(__file__).parent / "data" / "keras"


@pytest.fixture
def no_drawing(monkeypatch):
    """Whoever draws weights fails."""

    def fail(*_, **__):
        raise AssertionError("weights were drawn")

    monkeypatch.setattr(recurrent_weights, "initial_parameters", fail)
    monkeypatch.setattr(numrnn.Linear, "_draw", fail)
    for make in (numrnn.GRU, numrnn.Linear):
        with pytest.raises(AssertionError, match="weights were drawn"):
            make(2, 3)


@pytest.mark.parametrize("name", MODELS)
def test_a_blank_object_has_its_shapes_and_takes_all_weights_or_none(name, no_drawing):
    model = MODELS[name]
    made = type(model)._blank(**{argument: getattr(model, argument) for argument, _ in arguments(type(model))})
    assert repr(made) == repr(model)
    assert [(key, value.shape, value.dtype) for key, value in made.parameters.items()] == [
        (key, value.shape, value.dtype) for key, value in model.parameters.items()
    ]
    missing = model.state_dict()
    missing.popitem()
    with pytest.raises(ValueError, match="the names do not match: missing"):
        made.load_state_dict(missing)
    made.load_state_dict(model.state_dict())
    for each in (made, pickle.loads(pickle.dumps(made))):
        for key, value in model.parameters.items():
            np.testing.assert_array_equal(each.parameters[key], value)
            assert not each.parameters[key].flags.writeable


def saved(path):
    pytest.importorskip("safetensors")
    numrnn.save(MODEL, path)
    return numrnn.load(path)


def exported(path):
    pytest.importorskip("onnx")
    numrnn.to_onnx(MODEL, path)
    return numrnn.from_onnx(path)


READERS = {"load": saved, "from_torch": lambda path: numrnn.from_torch(MODEL.state_dict()), "from_onnx": exported}


@pytest.mark.parametrize("name", READERS)
def test_readers_draw_no_weights(name, no_drawing, tmp_path):
    back = READERS[name](tmp_path / "file")
    assert list(back.parameters) == list(MODEL.parameters)
    for key, value in MODEL.parameters.items():
        np.testing.assert_array_equal(back.parameters[key], value)


@pytest.mark.parametrize("name", ["gru_pooled", "rnn_relu_two_layers"])
def test_the_reader_of_keras_draws_none_either(name, no_drawing):
    pytest.importorskip("h5py")
    assert numrnn.from_keras(KERAS / f"{name}.keras").num_parameters > 0


def test_the_backend_draws_none_either(no_drawing):
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("RNN", ["X", "W", "R"], ["", "Y_h"])
    x, w, r = (np.zeros(shape, np.float32) for shape in ((2, 1, 3), (1, 5, 3), (1, 5, 5)))
    assert numrnn.onnx_backend.run_node(node, [x, w, r]).Y_h.shape == (1, 1, 5)
