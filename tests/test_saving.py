"""`numrnn.save` and `numrnn.load`: bits come back, and no file can do harm."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

import numrnn
from numrnn import optim

MODELS = [
    numrnn.RNN(3, 5, nonlinearity="relu", seed=1),
    numrnn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2, dropout=0.3, dtype="float64", seed=1),
    numrnn.LSTM(3, 5, bias=False, forget_bias=None, init="keras", batch_first=True),
    numrnn.GRU(3, 5, reset_after=False, num_layers=3, seed=1),
    numrnn.RNNCell(3, 5, nonlinearity="relu"),
    numrnn.LSTMCell(3, 5, dtype="float64"),
    numrnn.GRUCell(3, 5, bias=False),
    numrnn.Linear(3, 5, seed=4),
    numrnn.Reversed(numrnn.GRU(3, 5), keep_order=False),
    numrnn.SequenceModel(numrnn.LSTM(3, 5), numrnn.Linear(5, 2)),
    numrnn.SequenceModel(numrnn.LSTM(3, 5), None, readout_on="every"),
    numrnn.SequenceModel([numrnn.LSTM(3, 5), numrnn.GRU(5, 7, bidirectional=True)], numrnn.Linear(14, 2)),
    numrnn.SequenceModel([numrnn.GRU(3, 5)], None),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_same(left, right):
    assert type(left) is type(right)
    assert repr(left) == repr(right)
    assert list(left.parameters) == list(right.parameters)
    for name, value in left.parameters.items():
        assert value.dtype == right.parameters[name].dtype
        np.testing.assert_array_equal(value, right.parameters[name])


def rewrite(path, change):
    """Let `change` alter the header of a file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    described = json.loads(header["__metadata__"]["numrnn"])
    change(header, described)
    header["__metadata__"]["numrnn"] = json.dumps(described)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_bits_come_back(model, path):
    numrnn.save(model, path)
    assert_same(model, numrnn.load(path))


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_weights_stand_under_their_names_for_other_programs(model, path):
    library = pytest.importorskip("safetensors.numpy")
    numrnn.save(model, path)
    found = library.load_file(path)
    assert found.keys() == model.parameters.keys()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: optim.SGD(model, lr=0.1, momentum=0.9, nesterov=True),
        lambda model: optim.RMSprop(model, lr=0.1, momentum=0.5),
        lambda model: optim.Adam(model, lr=0.1, betas=(0.5, 0.7), freeze=("recurrent",)),
        lambda model: optim.AdamW(model, lr=0.1, weight_decay=0.3, freeze=["readout.bias"]),
    ],
)
def test_an_optimiser_goes_on_as_if_nothing_had_been(make, path, rng):
    model = numrnn.SequenceModel(numrnn.GRU(2, 3, seed=1), numrnn.Linear(3, 1, seed=2))
    optimizer = make(model)
    x = rng.standard_normal((4, 5, 2))

    def step(optimizer):
        prediction, pullback = optimizer.model.vjp(x)
        optimizer.step(pullback(prediction))

    step(optimizer)
    step(optimizer)
    numrnn.save(optimizer, path)
    twin = numrnn.load(path)
    assert repr(twin) == repr(optimizer)
    step(optimizer)
    step(twin)
    assert_same(twin.model, model)
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, twin.state_dict()[name])


@pytest.mark.parametrize("model", [MODELS[1], MODELS[11]], ids=["layer", "model"])
def test_truncated_files_are_refused(model, path):
    numrnn.save(model, path)
    whole = path.read_bytes()
    for keep in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match="cannot be read"):
            numrnn.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="cannot be read"):
        numrnn.load(path)


def test_flipped_bytes_give_an_error_or_other_numbers(path, rng):
    numrnn.save(MODELS[9], path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(1000):
        flipped = whole.copy()
        flipped[rng.integers(0, len(whole))] ^= rng.integers(1, 256, dtype=np.uint8)
        path.write_bytes(flipped.tobytes())
        try:
            numrnn.load(path)
        except ValueError:
            refused += 1
    assert 200 < refused < 1000  # most of the file is its header; flipped weights are weights


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda _, it: it.update(version=2), "its format version is 2, and this numrnn reads 1"),
        (lambda _, it: it.update(format="training"), "it is a training run; pass it to fit"),
        (lambda _, it: it.update(format="other"), "it is no model file of numrnn"),
        (lambda _, it: it.update(model=None), "a model's description is NoneType"),
        (lambda _, it: it["model"].update({"class": "Lambda"}), "'Lambda' is no class that a file may name"),
        (lambda _, it: it["model"].update({"class": ["LSTM"]}), "is no class that a file may name"),
        (lambda _, it: it["model"].update(recurrent=[it["model"]["recurrent"]] * 100), "describes 100 layers"),
        (lambda _, it: it["model"].update(extra=1), "unexpected extra"),
        (lambda _, it: it["model"].pop("readout_on"), "missing readout_on"),
        (lambda _, it: it["model"].update(readout_on="first"), "`readout_on` should be"),
        (lambda _, it: it["model"]["recurrent"].update(hidden_size=10**9), "hidden_size=1000000000, and the largest"),
        (lambda _, it: it["model"]["recurrent"].update(num_layers=10**6), "num_layers=1000000, and the file holds"),
        (lambda _, it: it["model"]["recurrent"].update(hidden_size=-1), "`hidden_size` should be"),
        (lambda _, it: it["model"]["recurrent"].update(hidden_size=2.5), "`hidden_size` should be"),
        (lambda _, it: it["model"]["recurrent"].update(hidden_size="5"), "`hidden_size` should be"),
        (lambda _, it: it["model"]["recurrent"].update(hidden_size=4), "its arrays are not those of|expected 4"),
        (lambda _, it: it["model"]["recurrent"].update(bias=False), "its arrays are not those of"),
        (lambda _, it: it["model"]["recurrent"].update(dtype="float64"), "dtype float32|is float32"),
        (lambda it, _: it.pop("readout.bias"), "cannot be read"),
        (lambda it, _: it.update(more=it["readout.bias"]), "cannot be read"),
        (lambda it, _: it["readout.bias"].update(shape=[2**40]), "cannot be read"),
        (lambda it, _: it["readout.bias"].update(dtype="F16"), "cannot be read"),
        (lambda it, _: it["readout.bias"].update(data_offsets=[-4, 4]), "cannot be read"),
        (lambda it, _: it["readout.bias"].update(data_offsets=[4, 12]), "cannot be read"),
        (lambda it, _: it["readout.bias"].update(data_offsets=[2**62, 2**63]), "cannot be read"),
    ],
)
def test_files_that_say_nonsense_are_refused(change, text, path):
    numrnn.save(MODELS[9], path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=text):
        numrnn.load(path)


@pytest.mark.parametrize("size", [0, 2**62, 2**64 - 1, 200_000_000])
def test_a_header_that_claims_to_be_long_is_refused(size, path):
    numrnn.save(MODELS[0], path)
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    with pytest.raises(ValueError, match="cannot be read"):
        numrnn.load(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"\xff" * 40, b"{", b"null", b'{"a": 1, "a": 2}', b" " * 64])
def test_a_header_that_is_no_header_is_refused(text, path):
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match="cannot be read"):
        numrnn.load(path)


def test_weights_of_other_programs_are_told_apart(path):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="it is no model file of numrnn"):
        numrnn.load(path)


def test_missing_files_and_wrong_arguments(path, tmp_path):
    with pytest.raises(FileNotFoundError):
        numrnn.load(path)
    with pytest.raises(TypeError, match="`path` should be a path, got int 3"):
        numrnn.load(3)
    with pytest.raises(TypeError, match="`model` should be a model or an optimiser, got list"):
        numrnn.save([], path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        numrnn.save(MODELS[0], tmp_path / "no" / "model")
    with pytest.raises(ValueError, match="cannot be read"):
        numrnn.load(tmp_path)


def save_and_kill(folder, delays):
    """Kill a process that saves one model over the other, so many seconds after it began; one of both must be there."""
    path = folder / "model.safetensors"
    program = """
import sys, numrnn
models = [numrnn.GRU(64, 128, seed=k) for k in range(2)]
numrnn.save(models[0], sys.argv[1])
print("ready", flush=True)
k = 0
while True:
    k += 1
    numrnn.save(models[k % 2], sys.argv[1])
"""
    expected = [numrnn.GRU(64, 128, seed=k) for k in range(2)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for delay in delays:
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(delay)
            process.kill()
        found = numrnn.load(path)
        same = [
            all(np.array_equal(value, found.parameters[name]) for name, value in model.parameters.items())
            for model in expected
        ]
        assert sum(same) == 1


def test_a_process_killed_while_it_saves_leaves_the_old_file_or_the_new(tmp_path):
    save_and_kill(tmp_path, np.random.default_rng(0).uniform(0.0, 0.02, 5))


def test_a_file_of_the_first_version_loads_for_ever():
    model = numrnn.load(os.path.join(os.path.dirname(__file__), "data", "model_1.safetensors"))
    assert repr(model) == (
        "SequenceModel([LSTM(input_size=2, hidden_size=3, proj_size=2, seed=1), "
        "GRU(input_size=2, hidden_size=3, bidirectional=True, dtype=float32, seed=2)], "
        "Linear(in_features=6, out_features=1, seed=3), readout_on='every')"
    ).replace(", dtype=float32", "")
    x = np.sin(np.arange(8.0)).reshape(4, 1, 2)
    np.testing.assert_allclose(model(x)[:, 0, 0], GOLDEN, rtol=1e-6)
    optimizer = numrnn.load(os.path.join(os.path.dirname(__file__), "data", "optimizer_1.safetensors"))
    assert (
        repr(optimizer)
        == "AdamW(<Linear>, lr=0.25, betas=(0.5, 0.75), eps=1e-07, weight_decay=0.125, freeze=('bias',))"
    )
    np.testing.assert_array_equal(optimizer.state_dict()["mean.weight"], [[0.5, 1.0]])


GOLDEN = [-0.096968874335289, -0.08151991665363312, -0.06930188089609146, -0.027163002640008926]


def test_an_axis_without_numbers_does_not_allow_large_weights(path):
    library = pytest.importorskip("safetensors.numpy")
    described = {
        "class": "Linear",
        "in_features": 2500,
        "out_features": 2500,
        "bias": True,
        "dtype": "float32",
        "seed": 0,
    }
    text = json.dumps({"format": "model", "version": 1, "model": described})
    library.save_file({"weight": np.zeros((2500, 0), np.float32)}, path, metadata={"numrnn": text})
    with pytest.raises(ValueError, match="sizes up to 2500 has more numbers than its arrays, 0"):
        numrnn.load(path)
