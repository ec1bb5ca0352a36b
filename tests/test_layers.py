"""Constructors, attributes, parameters, initial weights, copies and descriptions of layers."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import numrnn
from numrnn.engine import panels

CELLS = {"LSTM": numrnn.LSTM, "GRU": numrnn.GRU, "RNN": numrnn.RNN}
every_class = pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)

SIGNATURES = {
    "RNN": '(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0, '
    'bidirectional=False, *, dtype="float32", seed=None, init="pytorch")',
    "LSTM": "(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False, "
    'proj_size=0, *, dtype="float32", seed=None, init="pytorch", forget_bias=None)',
    "GRU": "(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False, "
    '*, reset_after=True, dtype="float32", seed=None, init="pytorch")',
}

REPRS = [
    "LSTM(input_size=3, hidden_size=4)",
    "LSTM(input_size=3, hidden_size=4, num_layers=2, bias=False, batch_first=True, dtype='float64', seed=7)",
    "LSTM(input_size=3, hidden_size=4, init='keras', forget_bias=2.5)",
    "LSTM(input_size=3, hidden_size=4, bidirectional=True, proj_size=2)",
    "GRU(input_size=3, hidden_size=4, reset_after=False)",
    "GRU(input_size=3, hidden_size=4, seed=0)",
    "GRU(input_size=3, hidden_size=4, num_layers=3, batch_first=True)",
    "RNN(input_size=3, hidden_size=4)",
    "RNN(input_size=3, hidden_size=4, nonlinearity='relu', bias=False, init='keras')",
]


@pytest.mark.parametrize("name", SIGNATURES)
def test_constructors_take_pytorchs_arguments_and_ours(name):
    signature = inspect.signature(getattr(numrnn, name))
    bare = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    assert str(bare).replace("'", '"') == SIGNATURES[name]


@pytest.mark.parametrize("text", REPRS)
def test_repr_is_the_call_that_makes_the_layer(text):
    assert repr(eval(text, {**CELLS})) == text


@every_class
def test_constructor_arguments_are_attributes(make):
    layer = make(3, 4, num_layers=2, batch_first=True, dtype="float64", seed=5)
    for name, argument in inspect.signature(make).parameters.items():
        if argument.default is not argument.empty and name not in ("num_layers", "batch_first", "dtype", "seed"):
            assert getattr(layer, name) == argument.default
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 4, 2)
    assert (layer.batch_first, layer.dtype, layer.seed) == (True, np.float64, 5)


def test_numpy_numbers_are_numbers():
    layer = numrnn.LSTM(
        np.int64(3), np.uint8(4), bias=np.True_, dropout=np.float32(0), dtype=np.float64, seed=np.int32(1)
    )
    assert repr(layer) == "LSTM(input_size=3, hidden_size=4, dtype='float64', seed=1)"


@every_class
def test_arguments_are_fixed_and_names_of_ones_own_are_free(make):
    layer = make(3, 4)
    for name in ("input_size", "hidden_size", "dtype", "batch_first", "signature"):
        with pytest.raises(AttributeError, match=f"`{name}` is fixed when the layer is made"):
            setattr(layer, name, 5)
    layer.label = "encoder"
    assert layer.label == "encoder"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("make", "gates"), [(numrnn.LSTM, 4), (numrnn.GRU, 3), (numrnn.RNN, 1)])
def test_parameters_have_pytorchs_names_shapes_and_order(make, gates, bias):
    layer = make(3, 5, num_layers=2, bias=bias)
    expected = {}
    for level, size in enumerate((3, 5)):
        expected |= {f"weight_ih_l{level}": (gates * 5, size), f"weight_hh_l{level}": (gates * 5, 5)}
        if bias:
            expected |= {f"bias_ih_l{level}": (gates * 5,), f"bias_hh_l{level}": (gates * 5,)}
    assert [(name, value.shape) for name, value in layer.parameters.items()] == list(expected.items())
    assert layer.num_parameters == sum(int(np.prod(shape)) for shape in expected.values())
    assert all(value.dtype == layer.dtype for value in layer.parameters.values())


def test_two_directions_and_a_projection_have_pytorchs_names_shapes_and_order():
    """weight_hr beside every direction; the second layer reads both directions' projected states."""
    layer = numrnn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2)
    expected = []
    for level, size in enumerate((3, 4)):
        for suffix in ("", "_reverse"):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
            shapes = ((20, size), (20, 2), (20,), (20,), (2, 5))
            expected += [(f"{name}_l{level}{suffix}", shape) for name, shape in zip(names, shapes, strict=True)]
    assert [(name, value.shape) for name, value in layer.parameters.items()] == expected
    assert numrnn.LSTM(3, 5, proj_size=2, init="keras").parameters["weight_hr_l0"].any()


@pytest.mark.parametrize("name", CELLS)
def test_a_state_dict_goes_to_pytorch_and_back(name, rng):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(3, 5, num_layers=2)
    ours = CELLS[name](3, 5, num_layers=2)
    ours.load_state_dict(theirs.state_dict())
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(ours(x).output, expected, atol=1e-6)
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in ours.state_dict().items()})


@every_class
def test_nothing_but_set_parameters_changes_a_weight(make, rng):
    layer = make(3, 4, seed=0)
    x = rng.standard_normal((2, 1, 3))
    before = layer(x).output
    for value in layer.parameters.values():
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            value.flags.writeable = True
    layer.parameters.clear()
    for value in layer.state_dict().values():
        value[...] = 0
    np.testing.assert_array_equal(layer(x).output, before)
    new = layer.state_dict()
    layer.set_parameters(new)
    for value in new.values():
        value[...] = 0
    np.testing.assert_array_equal(layer(x).output, before)


@every_class
def test_set_parameters_takes_effect_at_the_next_call(make, rng):
    """Some or all; packed weights are never stale, and a layer loaded with the same numbers gives the same bits."""
    layer, other = make(3, 4, seed=0), make(3, 4, seed=1)
    x = rng.standard_normal((2, 1, 3))
    before = layer(x).output
    layer.set_parameters({"weight_ih_l0": other.parameters["weight_ih_l0"]})
    assert not np.array_equal(layer(x).output, before)
    layer.set_parameters(other.parameters)
    np.testing.assert_array_equal(layer(x).output, other(x).output)
    layer.load_state_dict(make(3, 4, seed=0).state_dict())
    np.testing.assert_array_equal(layer(x).output, before)
    layer.set_parameters({})
    np.testing.assert_array_equal(layer(x).output, before)


def test_weights_are_packed_once(monkeypatch):
    """Panels are made at the first call and after a change, and at no other."""
    made = []
    layer = numrnn.GRU(3, 4)
    counted = lambda *args, **kw: made.append(1) or panels.Panels(*args, **kw)  # noqa: E731
    monkeypatch.setattr("numrnn.nn.recurrent_weights.Panels", counted)
    for _ in range(3):
        layer(np.zeros((2, 1, 3)))
    layer.vjp(np.zeros((2, 1, 3)))
    assert len(made) == 1
    layer.set_parameters(layer.state_dict())
    layer(np.zeros((2, 1, 3)))
    assert len(made) == 2


def test_parameters_of_any_form_are_cast_and_copied(rng):
    layer = numrnn.RNN(2, 3)
    weight = rng.integers(-3, 3, (3, 2))
    for form in (weight, weight.tolist(), np.asfortranarray(weight), weight.astype(">f8"), weight.astype("f2")):
        layer.set_parameters({"weight_ih_l0": form})
        value = layer.parameters["weight_ih_l0"]
        assert value.dtype == np.float32
        assert value.flags.c_contiguous
        np.testing.assert_array_equal(value, weight)


def test_load_state_dict_names_what_it_passed_over():
    layer = numrnn.RNN(2, 3, seed=0)
    before = layer.state_dict()
    report = layer.load_state_dict({"weight_ih_l0": np.ones((3, 2)), "extra": np.ones(5)}, strict=False)
    assert report.missing_keys == ["weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert report.unexpected_keys == ["extra"]
    assert (layer.parameters["weight_ih_l0"] == 1).all()
    np.testing.assert_array_equal(layer.parameters["bias_ih_l0"], before["bias_ih_l0"])


@every_class
@pytest.mark.parametrize("init", ["pytorch", "keras"])
def test_a_seed_decides_the_weights(make, init):
    """The same numbers for the same seed, rounded where the layer is float32; others for another seed or none."""
    one, two = make(3, 4, seed=1, init=init), make(3, 4, seed=1, init=init, dtype="float64")
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, two.parameters[name].astype(np.float32))
    for seed in (2, None):
        other = make(3, 4, seed=seed, init=init)
        assert not np.array_equal(other.parameters["weight_hh_l0"], one.parameters["weight_hh_l0"])


@every_class
def test_pytorchs_initial_weights_are_uniform_within_one_over_root_h(make):
    layer = make(50, 64, seed=0)
    for value in layer.parameters.values():
        assert np.abs(value).max() <= 1 / 8
    weights = layer.parameters["weight_hh_l0"] * 8
    assert np.abs(weights).max() > 0.99
    assert abs(weights.mean()) < 0.03
    assert weights.var() == pytest.approx(1 / 3, rel=0.05)


@every_class
def test_kerass_initial_weights_are_glorot_orthogonal_and_zero(make):
    layer = make(30, 16, num_layers=2, seed=0, init="keras", dtype="float64")
    for level, inputs in enumerate((30, 16)):
        weight_ih = layer.parameters[f"weight_ih_l{level}"]
        bound = np.sqrt(6 / (inputs + len(weight_ih)))
        assert 0.95 * bound < np.abs(weight_ih).max() <= bound
        weight_hh = layer.parameters[f"weight_hh_l{level}"]
        np.testing.assert_allclose(weight_hh.T @ weight_hh, np.eye(16), atol=1e-12)
        bias_ih = layer.parameters[f"bias_ih_l{level}"].copy()
        if make is numrnn.LSTM:
            assert (bias_ih[16:32] == 1).all()
            bias_ih[16:32] = 0
        assert not bias_ih.any()
        assert not layer.parameters[f"bias_hh_l{level}"].any()


@pytest.mark.parametrize("init", ["pytorch", "keras"])
def test_forget_bias_is_the_sum_of_both_forget_biases(init):
    """The rest of the weights is what the seed gives without it."""
    given = numrnn.LSTM(3, 4, num_layers=2, seed=0, init=init, forget_bias=2.5)
    plain = numrnn.LSTM(3, 4, num_layers=2, seed=0, init=init)
    assert given.forget_bias == 2.5
    for name, value in given.parameters.items():
        forget = slice(4, 8) if name.startswith("bias") else slice(0)
        assert (value[forget] == (2.5 if "ih" in name else 0)).all()
        np.testing.assert_array_equal(np.delete(value, forget, 0), np.delete(plain.parameters[name], forget, 0))


@every_class
@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_is_a_layer_of_its_own(make, twin, rng):
    layer = make(3, 4, num_layers=2, batch_first=True, seed=0)
    x = rng.standard_normal((2, 5, 3))
    before = layer(x).output
    other = twin(layer)
    assert type(other) is make
    assert repr(other) == repr(layer)
    np.testing.assert_array_equal(other(x).output, before)
    other.set_parameters({name: value * 0 for name, value in other.parameters.items()})
    np.testing.assert_array_equal(layer(x).output, before)
    for value in twin(layer).parameters.values():
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0


def test_a_pickle_holds_the_weights_and_little_else():
    """No packed weights, no machine code: its size does not grow by calls."""
    layer = numrnn.LSTM(64, 64)
    before = len(pickle.dumps(layer))
    layer(np.zeros((3, 2, 64)))
    assert len(pickle.dumps(layer)) == before
    assert before < layer.num_parameters * 4 + 2000


DESCRIPTIONS = {
    "lstm": (numrnn.LSTM(4, 8, num_layers=2, batch_first=True), (3, 10, 4), "output[:, -1] == h_n[-1] == last_output"),
    "gru": (numrnn.GRU(4, 8), (10, 3, 4), "output[-1] == h_n[-1] == last_output"),
    "two directions": (
        numrnn.GRU(4, 8, num_layers=2, bidirectional=True),
        (10, 3, 4),
        "output[0, :, 8:] == h_n[-1]",
    ),
    "projection, batch-first": (
        numrnn.LSTM(4, 8, batch_first=True, bidirectional=True, proj_size=3),
        (3, 10, 4),
        "output[:, -1, :3] == h_n[-2]",
    ),
    "one sequence": (numrnn.LSTM(4, 8, batch_first=True), (10, 4), "output[-1] == h_n[-1] == last_output"),
    "one sequence, both directions": (numrnn.RNN(4, 8, bidirectional=True), (10, 4), "output[0, 8:] == h_n[-1]"),
    "no steps": (numrnn.RNN(4, 8, num_layers=3), (0, 3, 4), "h_n == h_0"),
}


@pytest.mark.parametrize(("layer", "shape", "identity"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_describe_names_every_shape_of_the_call_itself(layer, shape, identity):
    """Every shape in the text is that of the array it names."""
    text = layer.describe(shape)
    lines = {line.split()[0]: line for line in reversed(text.splitlines()) if line.startswith("    ")}
    result, pullback = layer.vjp(np.zeros(shape))
    names = ["output", "h_n", "last_output", "final_hidden"] + ["c_n", "final_cell"] * isinstance(layer, numrnn.LSTM)
    shapes = {name: getattr(result, name).shape for name in names} | {"h_0": pullback().h_0.shape, "x": shape}
    for name, sizes in shapes.items():
        shown = lines[name][lines[name].index("(") + 1 : lines[name].index(")")]
        assert tuple(int(part.split("=")[1]) for part in shown.split(", ")) == sizes
    assert text.splitlines()[0] == repr(layer)
    assert identity in text
    assert ("c_n" in text) == isinstance(layer, numrnn.LSTM)


def test_describe_counts_the_bytes_of_the_result():
    layer = numrnn.LSTM(4, 8, num_layers=2, dtype="float64")
    result = layer(np.zeros((10, 3, 4)))
    needed = result.output.nbytes + result.h_n.nbytes + result.c_n.nbytes
    text = layer.describe((10, 3, 4))
    assert f" {needed} bytes: output and last states" in text
    assert f" {8 * layer.num_parameters} bytes: {layer.num_parameters} numbers of float64" in text
    assert f" {2 * 6 * 10 * 3 * 8 * 8 + 2 * 2 * 3 * 8 * 8} bytes: h, c, i, f, g, o of every layer and step" in text


def test_describe_answers_where_a_call_would_exceed_memory():
    assert "PiB" in numrnn.LSTM(4, 8).describe((10**3, 10**12, 4))


def test_the_package_names_its_version_and_lists_what_it_has():
    assert numrnn.__version__ == "0.1.0"
    promised = [
        "RNN",
        "LSTM",
        "GRU",
        "Linear",
        "SequenceModel",
        "losses",
        "optim",
        "set_num_threads",
        "get_num_threads",
    ]
    promised += [
        "info",
        "warmup",
        "__version__",
        "Reversed",
        "PackedSequence",
        "pack_padded_sequence",
        "pad_packed_sequence",
    ]
    promised += ["History", "callbacks", "fit", "from_keras", "from_onnx", "from_torch", "load", "save", "to_onnx"]
    promised += ["RNNCell", "LSTMCell", "GRUCell", "cells", "jit"]
    promised += ["pack_sequence", "unpack_sequence", "pad_sequence", "unpad_sequence"]
    assert set(promised) == set(numrnn.__all__) <= set(dir(numrnn))
    for name in promised:
        assert getattr(numrnn, name) is not None


def test_a_subclass_has_the_arguments_of_its_layer():
    class Named(numrnn.LSTM):
        pass

    assert repr(Named(3, 8, proj_size=2)) == "Named(input_size=3, hidden_size=8, proj_size=2)"
