"""Models of Keras: files that it wrote, beside its own predictions, and what is refused by name."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from typing import Any

import keras_files as files
import numpy as np
import pytest
from keras_files import DENSE, DENSE_OF_GRAPH, GRAPH, LSTM, RNN, SEQUENTIAL, changed, golden

import numrnn
from numrnn.interop.keras_import import from_keras

PREDICTIONS = np.load(files.FOLDER / "predictions.npz")

EXPECTED = {
    "rnn_relu_two_layers": "SequenceModel(RNN(input_size=3, hidden_size=4, num_layers=2, nonlinearity='relu', "
    "batch_first=True), Linear(in_features=4, out_features=2))",
    "lstm_both_ways_then_gru": "SequenceModel([LSTM(input_size=3, hidden_size=4, batch_first=True, "
    "bidirectional=True), GRU(input_size=8, hidden_size=3, batch_first=True)], "
    "Linear(in_features=3, out_features=2, bias=False))",
    "gru_backwards": "Reversed(GRU(input_size=3, hidden_size=4, batch_first=True), keep_order=False)",
    "gru_reset_before": "GRU(input_size=3, hidden_size=4, batch_first=True, reset_after=False)",
    "lstm_graph_float64": "SequenceModel(LSTM(input_size=3, hidden_size=4, batch_first=True, dtype='float64'), "
    "Linear(in_features=4, out_features=1, dtype='float64'), readout_on='every')",
    "gru_pooled": "SequenceModel(GRU(input_size=3, hidden_size=3, batch_first=True, bidirectional=True), "
    "Linear(in_features=6, out_features=2), readout_on='max')",
}


def predict(found: Any, x: np.ndarray, ndim: int) -> np.ndarray:
    """What Keras gives: of a layer all outputs, or the last one."""
    result = found(x)
    if isinstance(found, numrnn.SequenceModel):
        return result
    return result.output if ndim == 3 else result.last_output


@pytest.mark.filterwarnings("ignore:from_keras. the softmax")
@pytest.mark.parametrize("name", EXPECTED)
def test_files_that_keras_wrote_load_and_predict_what_it_predicts(name):
    found = from_keras(golden(name))
    assert repr(found) == EXPECTED[name]
    x, expected = PREDICTIONS[f"{name}.x"], PREDICTIONS[f"{name}.y"]
    y = predict(found, x, expected.ndim)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_a_path_may_be_text_and_weights_are_exactly_those_of_the_file(tmp_path):
    found = from_keras(str(golden("gru_reset_before")))
    with files.h5py.File(files.io.BytesIO(files.members("gru_reset_before")[files.WEIGHTS])) as file:
        kernel, recurrent, bias = (file[f"layers/gru/cell/vars/{k}"][()] for k in range(3))
    swap = np.r_[4:8, 0:4, 8:12]
    np.testing.assert_array_equal(found.parameters["weight_ih_l0"], kernel[:, swap].T)
    np.testing.assert_array_equal(found.parameters["weight_hh_l0"], recurrent[:, swap].T)
    np.testing.assert_array_equal(found.parameters["bias_ih_l0"], bias[swap])
    np.testing.assert_array_equal(found.parameters["bias_hh_l0"], 0)


def test_a_softmax_head_gives_logits_and_says_so():
    text = (
        "from_keras: the softmax of layer 'dense_1' is left out: predictions are its logits, of which "
        "numrnn.losses.softmax makes probabilities."
    )
    with pytest.warns(UserWarning, match=re.escape(text)) as caught:
        from_keras(golden("lstm_both_ways_then_gru"))
    (warning,) = caught
    assert warning.filename == __file__


def test_an_activation_behind_the_head_is_left_out_likewise(tmp_path):
    def sigmoid(layers, whole):
        entry = {"name": "act", "activation": "sigmoid"}
        layers.append({"module": "keras.layers", "class_name": "Activation", "config": entry, "registered_name": None})

    path = changed(tmp_path / "x.keras", SEQUENTIAL, sigmoid)
    with pytest.warns(UserWarning, match=r"the sigmoid of layer 'act' is left out.*scipy\.special\.expit"):
        from_keras(path)


def test_a_stateful_layer_is_loaded_with_a_warning(tmp_path):
    path = changed(
        tmp_path / "x.keras", "gru_reset_before", lambda layers, _: layers[1]["config"].update(stateful=True)
    )
    with pytest.warns(UserWarning, match="layer 'gru_2' is stateful in Keras: numrnn begins every call from zero"):
        found = from_keras(path)
    assert isinstance(found, numrnn.GRU)


def test_weights_of_float16_become_float32(tmp_path):
    def halve(file):
        for path in ("layers/gru/cell/vars/0", "layers/gru/cell/vars/1", "layers/gru/cell/vars/2"):
            values = file[path][()].astype(np.float16)
            del file[path]
            file[path] = values

    path = changed(tmp_path / "x.keras", "gru_reset_before", weights=halve)
    found, whole = from_keras(path), from_keras(golden("gru_reset_before"))
    assert found.dtype == np.float32
    expected = whole.parameters["weight_ih_l0"].astype(np.float16)
    np.testing.assert_array_equal(found.parameters["weight_ih_l0"], expected)


def test_groups_named_as_keras_2_names_them_are_found(tmp_path):
    path = changed(
        tmp_path / "x.keras", SEQUENTIAL, weights=lambda file: file.move("layers", "_layer_checkpoint_dependencies")
    )
    assert repr(from_keras(path)) == EXPECTED[SEQUENTIAL]


def test_graphs_written_as_keras_2_writes_them_are_read(tmp_path):
    def old(layers, _):
        for layer, below in zip(layers[1:], layers, strict=False):
            layer["inbound_nodes"] = [[[below["name"], 0, 0, {"mask": None}]]]

    assert repr(from_keras(changed(tmp_path / "x.keras", GRAPH, old))) == EXPECTED[GRAPH]


def test_what_keras_keeps_of_random_numbers_is_passed_over(tmp_path):
    def seeds(file):
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)

    assert repr(from_keras(changed(tmp_path / "x.keras", SEQUENTIAL, weights=seeds))) == EXPECTED[SEQUENTIAL]


def entry(layer: int, /, **values: Any):
    """A change of a layer's configuration."""
    return lambda layers, _: layers[layer]["config"].update(values)


def top(layer: int, /, **values: Any):
    """A change of what stands around a layer's configuration."""
    return lambda layers, _: layers[layer].update(values)


def insert(at: int, kind: str, /, **config: Any):
    """One layer more."""
    whole = {"module": "keras.layers", "class_name": kind, "config": {"name": "new", **config}, "registered_name": None}
    return lambda layers, _: layers.insert(at, whole)


def node(**values: Any):
    """A change of how the LSTM of the graph is called."""

    def change(layers, _):
        arguments = layers[LSTM]["inbound_nodes"][0]
        arguments["kwargs"] |= values

    return change


def of_inner(**values: Any):
    """A change of the layer that the graph's time-distributed one wraps."""
    return lambda layers, _: layers[DENSE_OF_GRAPH]["config"]["layer"].update(values)


BOTH = "lstm_both_ways_then_gru"


def half(which: str, /, **values: Any):
    """A change of one half of a Bidirectional."""
    return lambda layers, _: layers[1]["config"][which]["config"].update(values)


FOREIGN = {"module": "os", "class_name": "function", "config": "system", "registered_name": "pkg>evil"}

REFUSED = {
    "activation": (
        SEQUENTIAL,
        entry(RNN, activation="gelu"),
        "`activation` is 'gelu', and numrnn has 'tanh' or 'relu'",
    ),
    "no activation": (SEQUENTIAL, entry(RNN, activation=None), "`activation` is 'linear', and numrnn has"),
    "activation of a class": (SEQUENTIAL, entry(RNN, activation=FOREIGN), "`activation` is 'pkg>evil', and"),
    "hard sigmoid": (
        GRAPH,
        entry(LSTM, recurrent_activation="hard_sigmoid"),
        "layer 'memory' (LSTM): `recurrent_activation` is 'hard_sigmoid', and numrnn has 'sigmoid' there.",
    ),
    "relu head": (SEQUENTIAL, entry(DENSE, activation="relu"), "'relu', and numrnn has 'linear' or 'softmax' or 'sigm"),
    "units of text": (SEQUENTIAL, entry(RNN, units="4"), "`units` is '4', expected a whole number of 1 or more."),
    "no units": (SEQUENTIAL, lambda layers, _: layers[RNN]["config"].pop("units"), "`units` is None"),
    "negative units": (SEQUENTIAL, entry(RNN, units=-4), "`units` is -4, expected a whole number"),
    "real units": (SEQUENTIAL, entry(RNN, units=4.0), "`units` is 4.0, expected a whole number"),
    "units of true": (SEQUENTIAL, entry(RNN, units=True), "`units` is True, expected a whole number"),
    "absurd units": (
        SEQUENTIAL,
        entry(RNN, units=10**9),
        "layer 'simple_rnn' (SimpleRNN): its kernel has shape (3, 4), expected (features, 1000000000) by",
    ),
    "units of other size": (SEQUENTIAL, entry(RNN, units=5), "its kernel has shape (3, 4), expected (features, 5)"),
    "head of other size": (SEQUENTIAL, entry(DENSE, units=3), "its kernel has shape (4, 2), expected (features, 3)"),
    "flag of 1": (SEQUENTIAL, entry(RNN, use_bias=1), "`use_bias` is 1, expected true or false."),
    "time major": (SEQUENTIAL, entry(RNN, time_major=True), "`time_major` is true."),
    "unknown entry": (SEQUENTIAL, entry(RNN, gain=2.0), "`gain` is 2.0, which numrnn does not know."),
    "unknown entry of a head": (SEQUENTIAL, entry(DENSE, lora_rank=4), "`lora_rank` is 4, which numrnn does not know."),
    "last step alone": (
        SEQUENTIAL,
        entry(RNN, return_sequences=False),
        "layer 'simple_rnn_1' (SimpleRNN): it reads 'simple_rnn', which gives its last step alone.",
    ),
    "more features than come": (
        SEQUENTIAL,
        entry(0, batch_shape=[None, None, 7]),
        "layer 'simple_rnn' (SimpleRNN): its kernel reads 3 features, and 7 come from below.",
    ),
    "an image": (SEQUENTIAL, entry(0, batch_shape=[None, 8, 8, 3]), "expected (batch, time, features)."),
    "a sparse input": (SEQUENTIAL, entry(0, sparse=True), "its input is sparse or ragged."),
    "an input inside": (
        SEQUENTIAL,
        insert(DENSE, "InputLayer", batch_shape=[None, None, 4]),
        "layer 'new' (InputLayer): it is not the first layer.",
    ),
    "masking": (SEQUENTIAL, insert(1, "Masking", mask_value=0.0), "layer 'new' (Masking): it cannot be loaded in this"),
    "lambda": (SEQUENTIAL, insert(1, "Lambda", function="4wEA"), "It is code, and nothing of a file is executed."),
    "embedding": (SEQUENTIAL, insert(1, "Embedding", input_dim=9), "Load the model without it, and pass it vectors."),
    "a layer of images": (SEQUENTIAL, insert(1, "Conv1D", filters=3), "In this order: Input, SimpleRNN, LSTM, GRU"),
    "a foreign class": (
        SEQUENTIAL,
        top(RNN, module="os", registered_name=None),
        "layer 'simple_rnn' (SimpleRNN): its class is not one of Keras's own, but 'os'.\n  Nothing was imported.",
    ),
    "a registered class": (SEQUENTIAL, top(RNN, registered_name="pkg>SimpleRNN"), "Keras's own, but 'pkg>SimpleRNN'."),
    "a foreign model": (
        SEQUENTIAL,
        lambda _, whole: whole.update(module="builtins", class_name="eval"),
        "the model's class is 'eval' of 'builtins', expected Sequential or Functional of Keras.\n  Nothing",
    ),
    "a subclass of a model": (
        SEQUENTIAL,
        lambda _, whole: whole.update(registered_name="pkg>Sequential"),
        "the model's class is 'Sequential' of 'keras', expected",
    ),
    "two heads": (
        SEQUENTIAL,
        insert(5, "Dense", units=2),
        "layer 'new' (Dense): it reads the dense layer 'dense', and a numrnn model ends with one dense layer.",
    ),
    "a layer behind probabilities": (
        BOTH,
        insert(4, "Dense", units=2),
        "layer 'new' (Dense): it stands behind the softmax of the head.",
    ),
    "an activation between": (
        SEQUENTIAL,
        insert(2, "Activation", activation="tanh"),
        "layer 'new' (Activation): `activation` is 'tanh', and numrnn has 'linear' there.",
    ),
    "pooling of the last step": (
        SEQUENTIAL,
        insert(4, "GlobalMaxPooling1D"),
        "layer 'new' (GlobalMaxPooling1D): it does not read every step of a recurrent layer.",
    ),
    "pooling over features": (
        SEQUENTIAL,
        insert(2, "GlobalMaxPooling1D", data_format="channels_first"),
        "it pools over features.\n  Only data_format='channels_last' can be loaded.",
    ),
    "pooling that keeps an axis": (
        SEQUENTIAL,
        insert(2, "GlobalAveragePooling1D", keepdims=True),
        "`keepdims` is true.",
    ),
    "a head of every step on one": (
        GRAPH,
        entry(LSTM, return_sequences=False),
        "layer 'head' (TimeDistributed): it does not read every step of a recurrent layer.",
    ),
    "a wrapped layer": (GRAPH, of_inner(class_name="Conv1D"), "it wraps a 'Conv1D', and only a Dense can be loaded."),
    "a wrapped foreign layer": (GRAPH, of_inner(module="os"), "its class is not one of Keras's own, but 'os'."),
    "nothing wrapped": (GRAPH, entry(DENSE_OF_GRAPH, layer=3), "`layer` of layer 'head' describes no layer."),
    "merge mode": (
        BOTH,
        entry(1, merge_mode="ave"),
        "layer 'bidirectional' (Bidirectional): `merge_mode` is 'ave'.\n  numrnn has the halves side by side, as",
    ),
    "a wrapped recurrent layer": (
        BOTH,
        lambda layers, _: layers[1]["config"]["layer"].update(class_name="ConvLSTM1D"),
        "it wraps a 'ConvLSTM1D', and only a SimpleRNN, LSTM or GRU can be loaded.",
    ),
    "both backwards": (BOTH, half("layer", go_backwards=True), "its forward layer has `go_backwards`."),
    "both forwards": (
        BOTH,
        half("backward_layer", go_backwards=False),
        "its backward layer is not its forward layer with `go_backwards`.",
    ),
    "halves that differ": (BOTH, half("backward_layer", use_bias=False), "its backward layer is not its forward layer"),
    "no layers": (SEQUENTIAL, lambda layers, _: layers.clear(), "the model has no layers."),
    "no recurrent layer": (
        SEQUENTIAL,
        lambda layers, _: layers.__delitem__(slice(1, None)),
        "the model has no recurrent layer.\n  One of SimpleRNN, LSTM, GRU is expected, or a Bidirectional of one.",
    ),
    "a name twice": (SEQUENTIAL, entry(RNN, name="dense"), "two layers have the same name."),
    "no layer": (SEQUENTIAL, lambda layers, _: layers.insert(1, 7), "entry 1 of `layers` describes no layer."),
    "a class of numbers": (SEQUENTIAL, top(RNN, class_name=[1]), "entry 1 of `layers` has no class or no name."),
    "a call with a mask": (
        GRAPH,
        node(mask=[1]),
        "layer 'memory' (LSTM): it is called with `mask`=[1], which cannot be",
    ),
    "a call in training": (GRAPH, node(training=True), "it is called with `training`=True, which cannot be loaded."),
    "a call with a state": (GRAPH, node(initial_state=[0]), "it is called with `initial_state`=[0], which cannot be"),
    "a shared layer": (
        GRAPH,
        lambda layers, _: layers[LSTM]["inbound_nodes"].append(layers[LSTM]["inbound_nodes"][0]),
        "layer 'memory' (LSTM): it is used several times, or never.\n  Shared layers cannot be loaded.",
    ),
    "a layer that reads nothing": (
        GRAPH,
        top(LSTM, inbound_nodes=[{"args": [], "kwargs": {}}]),
        "layer 'memory' (LSTM): it reads something else than the output of one layer.",
    ),
    "a circle": (
        GRAPH,
        top(LSTM, inbound_nodes=[[["head", 0, 0, {}]]]),
        "the graph is no chain of layers: 'memory' is not among them, or leads to itself.",
    ),
    "a way to nowhere": (
        GRAPH,
        top(LSTM, inbound_nodes=[[["moon", 0, 0, {}]]]),
        "'moon' is not among them, or leads to",
    ),
    "a branch": (
        GRAPH,
        insert(3, "Dense", units=2),
        "the graph branches: 'new' is not on the way to its output.\n  Only layers that follow one another",
    ),
    "two outputs": (
        GRAPH,
        lambda _, whole: whole["config"].update(output_layers=[["memory", 0, 0], ["head", 0, 0]]),
        "`output_layers` is [['memory', 0, 0], ['head', 0, 0]], expected one tensor.\n  Only a model of one input and",
    ),
    "a state as output": (
        GRAPH,
        lambda _, whole: whole["config"].update(output_layers=["memory", 0, 1]),
        "`output_layers` is ['memory', 0, 1], expected one tensor.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_loaded_is_refused_by_name(case, tmp_path):
    name, change, text = REFUSED[case]
    path = changed(tmp_path / "x.keras", name, change)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        from_keras(path)
    message = str(caught.value)
    assert message.startswith(f"from_keras({str(path)!r}): ")
    assert text in message


def replaced(place: str, shape: tuple[int, ...]):
    """An array of another shape."""

    def change(file):
        del file[place]
        file[place] = np.zeros(shape, np.float32)

    return change


WRONG_WEIGHTS = {
    "a missing array": (
        SEQUENTIAL,
        lambda file: file.__delitem__("layers/simple_rnn/cell/vars/2"),
        "layer 'simple_rnn' (SimpleRNN): its weights layers/simple_rnn/cell/vars/2 are missing.",
    ),
    "an array too many": (
        SEQUENTIAL,
        lambda file: file.__setitem__("layers/simple_rnn/cell/vars/3", np.zeros(2)),
        "weights that belong to no layer: 'layers/simple_rnn/cell/vars/3'.",
    ),
    "a layer too many": (
        SEQUENTIAL,
        lambda file: file.copy("layers/dense", "layers/dense_1"),
        "weights that belong to no layer: 'layers/dense_1/vars/0' and 1 more.",
    ),
    "a kernel without features": (
        SEQUENTIAL,
        replaced("layers/simple_rnn/cell/vars/0", (0, 4)),
        "its kernel has shape (0, 4), expected (features, 4) by `units`=4.",
    ),
    "a recurrent kernel": (
        SEQUENTIAL,
        replaced("layers/simple_rnn/cell/vars/1", (4, 8)),
        "its recurrent kernel has shape (4, 8), expected (4, 4) by `units`=4.",
    ),
    "a bias": (
        "gru_backwards",
        replaced("layers/gru/cell/vars/2", (12,)),
        "its bias has shape (12,), expected (2, 12) by `units`=4.",
    ),
    "a head's bias": (
        SEQUENTIAL,
        replaced("layers/dense/vars/1", (3,)),
        "its bias has shape (3,), expected (2,) by `units`.",
    ),
    "a head's features": (
        SEQUENTIAL,
        replaced("layers/dense/vars/0", (9, 2)),
        "layer 'dense' (Dense): its kernel reads 9 features, and 4 come from below.",
    ),
    "directions of different inputs": (
        BOTH,
        replaced("layers/bidirectional/backward_layer/cell/vars/0", (5, 16)),
        "layer 'bidirectional' (Bidirectional): its directions read 3 and 5 features.",
    ),
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_weights_that_do_not_fit_are_refused_by_name(case, tmp_path):
    name, change, text = WRONG_WEIGHTS[case]
    path = changed(tmp_path / "x.keras", name, weights=change)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        from_keras(path)
    assert text in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, np.zeros(3), {}])
def test_what_is_neither_a_path_nor_a_model_is_a_type_error(value):
    with pytest.raises(
        TypeError, match=r"from_keras: `model` should be the path of a \.keras file or a model of Keras"
    ):
        from_keras(value)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_keras(tmp_path / "missing.keras")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        from_keras(tmp_path)


def test_without_h5py_the_error_names_the_extra(monkeypatch):
    real = importlib.import_module

    def absent(name: str) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r'files of Keras need h5py: pip install "numrnn\[keras\]"'):
        from_keras(golden(SEQUENTIAL))


def test_loading_a_file_imports_h5py_and_no_framework():
    code = """
import sys
from numrnn.interop.keras_import import from_keras
assert "h5py" not in sys.modules
from_keras(sys.argv[1])
print(sorted({name.partition(".")[0] for name in sys.modules} & {"keras", "tensorflow", "jax", "torch", "h5py"}))
"""
    arguments = [sys.executable, "-c", code, str(golden(SEQUENTIAL))]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=True, env=dict(os.environ), timeout=120)
    assert finished.stdout.strip() == "['h5py']"
