"""`from_torch`: what names, shapes, modules and files of PyTorch become, and what is refused."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import numrnn
from numrnn.engine import memory

MAKES = {"RNN": numrnn.RNN, "LSTM": numrnn.LSTM, "GRU": numrnn.GRU}
same = np.testing.assert_array_equal


def random_layer(rng, **given):
    """A layer of any cell, size and form."""
    name = rng.choice(list(MAKES))
    options = {
        "num_layers": int(rng.integers(1, 4)),
        "bias": bool(rng.integers(2)),
        "bidirectional": bool(rng.integers(2)),
        "dtype": str(rng.choice(["float32", "float64"])),
    }
    hidden = int(rng.integers(2, 6))
    if name == "LSTM" and rng.integers(2):
        options["proj_size"] = int(rng.integers(1, hidden))
    return MAKES[name](int(rng.integers(1, 6)), hidden, seed=int(rng.integers(100)), **options | given)


def equal_layers(one, other):
    assert type(one) is type(other)
    assert list(one.parameters) == list(other.parameters)
    for name, value in one.parameters.items():
        same(value, other.parameters[name])
        assert value.dtype == other.parameters[name].dtype


@pytest.mark.parametrize("k", range(30))
def test_names_and_shapes_tell_the_layer(k, rng, tmp_path):
    """Whatever the cell and its sizes: from a mapping, from one with a prefix, from a file."""
    layer = random_layer(rng)
    state = layer.state_dict()
    equal_layers(numrnn.from_torch(state), layer)
    inside = {f"model.rnn.{name}": value for name, value in state.items()}
    others = {"model.embedding.weight": np.zeros((9, 2)), "model.steps": np.zeros((), np.int64)}
    equal_layers(numrnn.from_torch(inside), layer)
    for prefix in ("model.rnn", "model.rnn."):
        equal_layers(numrnn.from_torch(inside | others, prefix=prefix), layer)
    path = tmp_path / "layer.safetensors"
    safetensors.numpy.save_file(inside | others, path)
    equal_layers(numrnn.from_torch(path, prefix="model.rnn"), layer)
    equal_layers(numrnn.from_torch(str(path), prefix="model.rnn."), layer)


def test_arguments_that_weights_do_not_tell():
    state = numrnn.RNN(2, 3).state_dict()
    layer = numrnn.from_torch(state, nonlinearity="relu", batch_first=True)
    assert (layer.nonlinearity, layer.batch_first) == ("relu", True)
    assert numrnn.from_torch(numrnn.GRU(2, 3).state_dict(), batch_first=True).batch_first
    layer = numrnn.from_torch(state)
    assert (layer.nonlinearity, layer.batch_first) == ("tanh", False)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_linear_on_top_makes_a_model(bidirectional, rng):
    recurrent = numrnn.GRU(2, 3, bidirectional=bidirectional, seed=0)
    readout = numrnn.Linear(6 if bidirectional else 3, 4, seed=0)
    state = {f"rnn.{name}": value for name, value in recurrent.state_dict().items()}
    state |= {f"head.out.{name}": value for name, value in readout.state_dict().items()}
    model = numrnn.from_torch(state)
    assert isinstance(model, numrnn.SequenceModel)
    assert model.readout_on == "last"
    x = rng.standard_normal((5, 2, 2))
    same(model(x), numrnn.SequenceModel(recurrent, readout)(x))
    own = numrnn.SequenceModel(recurrent, readout)
    same(numrnn.from_torch(own.state_dict())(x), own(x))


def test_the_wider_type_of_all_weights_is_the_models():
    state = numrnn.GRU(2, 3).state_dict()
    assert numrnn.from_torch(state | {"bias_ih_l0": np.zeros(9)}).dtype == np.float64
    assert numrnn.from_torch(state).dtype == np.float32


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "longdouble"])
def test_weights_of_another_kind_are_refused_as_those_of_a_file_are(dtype):
    state = numrnn.GRU(2, 3).state_dict() | {"bias_ih_l0": np.zeros(9, dtype)}
    named = np.dtype(dtype).name
    expected = "expected one of float16, float32, float64, bfloat16"
    with pytest.raises(ValueError, match=f"from_torch: `bias_ih_l0` is {named}, {expected}"):
        numrnn.from_torch(state)
    assert (
        numrnn.from_torch(
            {"x." + name: value for name, value in state.items()}
            | {"y.weight_hh_l0": state["weight_hh_l0"], "y.weight_ih_l0": state["weight_ih_l0"]},
            prefix="y.",
        ).dtype
        == np.float32
    )


def test_weights_are_copied():
    state = numrnn.GRU(2, 3).state_dict()
    layer = numrnn.from_torch(state)
    before = layer.state_dict()
    for value in state.values():
        value[:] = 7
    for name, value in layer.parameters.items():
        same(value, before[name])


def half(layer):
    return {name: value.astype(np.float16) for name, value in layer.state_dict().items()}


def test_half_precision_becomes_float32_and_says_so(tmp_path):
    state = half(numrnn.GRU(2, 3, seed=0))
    path = tmp_path / "half.safetensors"
    safetensors.numpy.save_file(state, path)
    for source in (state, path):
        with pytest.warns(UserWarning, match="weights of float16 become float32") as caught:
            layer = numrnn.from_torch(source)
        assert caught[0].filename == __file__
        assert layer.dtype == np.float32
        for name, value in layer.parameters.items():
            same(value, state[name].astype(np.float32))


def written(path, header, data=b"", length=None):
    """A file with this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_bfloat16_of_a_file_becomes_float32(tmp_path):
    """Its bits are the upper half of a float32."""
    shapes = {name: value.shape for name, value in numrnn.RNN(2, 3).parameters.items()}
    values = {name: np.arange(np.prod(shape), dtype=np.float32) / 4 - 1 for name, shape in shapes.items()}
    header, data = {}, b""
    for name, value in values.items():
        raw = (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "BF16", "shape": list(shapes[name]), "data_offsets": offsets}
        data += raw
    with pytest.warns(UserWarning, match="weights of bfloat16 become float32"):
        layer = numrnn.from_torch(written(tmp_path / "b.safetensors", header, data))
    for name, value in layer.parameters.items():
        same(value, values[name].reshape(shapes[name]))


def of(make, *sizes, **given):
    return make(*sizes, **given).state_dict()


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


GRU = of(numrnn.GRU, 2, 3)
TWO = of(numrnn.LSTM, 2, 3, num_layers=2, bidirectional=True)
HEAD = {"fc.weight": np.zeros((1, 3)), "fc.bias": np.zeros(1)}


def under(owner, state):
    return {f"{owner}.{name}": value for name, value in state.items()}


REFUSED = {
    "a missing bias": (without(GRU, "bias_hh_l0"), "the names do not match: missing bias_hh_l0."),
    "several missing": (
        without(TWO, "weight_hh_l1", "bias_ih_l0_reverse"),
        "the names do not match: missing bias_ih_l0_reverse, weight_hh_l1.",
    ),
    "an unexpected name": (
        GRU | {"weight_hr_l1": np.zeros((1, 1)), "fc.weight": np.zeros((1, 3))},
        "missing weight_ih_l1, weight_hh_l1, bias_ih_l1, bias_hh_l1; unexpected fc.weight, weight_hr_l1.",
    ),
    "another module's weight": (GRU | HEAD, "the names do not match: unexpected fc.(weight, fc.bias|bias, fc.weight)."),
    "both": (
        without(GRU, "bias_ih_l0") | {"scale": np.zeros(3)},
        "the names do not match: missing bias_ih_l0; unexpected scale.",
    ),
    "a layer far away": (GRU | {"weight_ih_l123456789": np.zeros((1, 1))}, "there is a layer 123456789"),
    "no first layer": (without(GRU, "weight_ih_l0"), "the names do not match: missing weight_ih_l0."),
    "a wrong shape": (
        GRU | {"bias_ih_l0": np.zeros(8)},
        r"the shapes do not match: bias_ih_l0 \(8,\), expected \(9,\).",
    ),
    "no cell": (GRU | {"weight_hh_l0": np.zeros((10, 5))}, "the shapes are of no cell: weight_ih_l0"),
    "a cell of two gates": (GRU | {"weight_hh_l0": np.zeros((6, 3))}, "the shapes are of no cell: weight_ih_l0"),
    "a projection to more": (TWO | {"weight_hr_l0": np.zeros((4, 3))}, "the shapes are of no cell"),
    "three axes": (GRU | {"weight_ih_l0": np.zeros((1, 9, 2))}, "should have two axes that are not empty"),
    "no features": (GRU | {"weight_ih_l0": np.zeros((9, 0))}, "should have two axes that are not empty"),
    "nothing": ({}, "no weights of a recurrent layer"),
    "a cell's weights": (
        of(numrnn.GRUCell, 2, 3),
        r"(?s)no weights of a recurrent layer.*Names: (weight_ih, weight_hh,|bias_hh, bias_ih)",
    ),
    "two layers": (under("a", GRU) | under("b.c", TWO), "(?s)it is not clear what.*Recurrent layers: `a`, `b.c`."),
    "a head that does not fit": (
        under("rnn", GRU) | {"fc.weight": np.zeros((1, 4)), "fc.bias": np.zeros(1)},
        '(?s)it is not clear what.*Others: fc.(weight, fc.bias|bias, fc.weight).*prefix="rnn"',
    ),
    "an embedding": (under("rnn", GRU) | {"e.weight": np.zeros((9, 3))}, "(?s)it is not clear what.*Others: e.weight."),
    "two heads": (
        under("rnn", GRU) | HEAD | under("x", HEAD),
        "(?s)it is not clear what.*Others: fc.(weight, fc.bias|bias, fc.weight), x.fc.",
    ),
}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name.replace(" ", "_"))
def test_weights_that_make_no_model_are_refused_by_name(name, tmp_path):
    """In a mapping and in a file alike."""
    state, text = REFUSED[name]
    with pytest.raises(ValueError, match=text):
        numrnn.from_torch(state)
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(state, path)
    with pytest.raises(ValueError, match=text):
        numrnn.from_torch(path)


def test_a_prefix_that_selects_nothing_lists_the_names():
    text = r"(?s)under the prefix 'decoder.'.*Names: rnn.weight_ih_l0, rnn.weight_hh_l0"
    with pytest.raises(ValueError, match=text):
        numrnn.from_torch(under("rnn", GRU), prefix="decoder")


BAD_ARGUMENTS = {
    "no source": (5, {}, TypeError, "`source` is int 5"),
    "None": (None, {}, TypeError, "`source` is NoneType None"),
    "a prefix that is no text": (GRU, {"prefix": 3}, TypeError, "`prefix` should be a str, got int 3"),
    "a flag that is none": (GRU, {"batch_first": 1}, TypeError, "`batch_first` should be True or False, got int 1"),
    "an unknown function": (GRU, {"nonlinearity": "gelu"}, ValueError, "`nonlinearity` should be"),
    "a function of a GRU": (GRU, {"nonlinearity": "relu"}, ValueError, "those of GRU, which has none"),
    "names that are no text": ({1: np.zeros(3)}, {}, TypeError, "names of weights should be str, got int 1"),
    "objects": (GRU | {"bias_ih_l0": np.array([None] * 9)}, {}, TypeError, "`bias_ih_l0`"),
    "complex": (GRU | {"bias_ih_l0": np.zeros(9, complex)}, {}, TypeError, "`bias_ih_l0`"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS, ids=lambda name: name.replace(" ", "_"))
def test_arguments_of_the_wrong_kind_are_refused(name):
    source, given, error, text = BAD_ARGUMENTS[name]
    with pytest.raises(error, match=text):
        numrnn.from_torch(source, **given)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".safetensors", ""])
@pytest.mark.parametrize("content", [b"PK\x03\x04 archive", b"\x80\x04\x95pickle"])
def test_pickles_are_never_read(suffix, content, tmp_path):
    """Neither by suffix nor by content; the two lines that convert them are in the error."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="this is a pickle, which runs whatever code it holds") as caught:
        numrnn.from_torch(path)
    lines = str(caught.value).splitlines()
    assert lines[-2] == f"  state = torch.load({str(path)!r}, weights_only=True)"
    assert lines[-1] == f"  safetensors.torch.save_file(state, {str(tmp_path / 'model.safetensors')!r})"


def test_a_pickles_suffix_is_enough(tmp_path):
    path = tmp_path / "model.pt"
    safetensors.numpy.save_file(GRU, path)
    with pytest.raises(ValueError, match="this is a pickle"):
        numrnn.from_torch(path)


def test_an_npz_is_refused_with_the_line_that_reads_it(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, **GRU)
    with pytest.raises(ValueError, match=r"from_torch\(dict\(np.load\("):
        numrnn.from_torch(path)
    numrnn.from_torch(dict(np.load(path)))


def test_a_file_of_our_own_is_loads(tmp_path):
    """A layer's description says more than its weights: here that the reset comes before the product."""
    path = tmp_path / "own.safetensors"
    numrnn.save(numrnn.GRU(2, 3, reset_after=False), path)
    with pytest.raises(ValueError, match=r"(?s)written by numrnn.save.*Call numrnn.load"):
        numrnn.from_torch(path)


def test_files_that_cannot_be_opened_are_os_errors(tmp_path):
    for name in ("missing.safetensors", "missing.pt"):
        with pytest.raises(FileNotFoundError):
            numrnn.from_torch(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        numrnn.from_torch(tmp_path)


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


FOUR = bytes(4)
TWICE = b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2)
HOSTILE = {
    "empty": lambda path: path.write_bytes(b""),
    "five bytes": lambda path: path.write_bytes(bytes(5)),
    "no header": lambda path: written(path, b""),
    "a header longer than the file": lambda path: written(path, b"{}", length=2**63),
    "a header of 5 MB": lambda path: written(path, b"{" + b" " * 5_000_000 + b"}"),
    "no JSON": lambda path: written(path, b"{abc}"),
    "a list": lambda path: written(path, b"[]"),
    "deep JSON": lambda path: written(path, b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "no UTF-8": lambda path: written(path, b'{"\xff":1}'),
    "NaN": lambda path: written(path, b'{"a":NaN}'),
    "a name twice": lambda path: written(path, TWICE, FOUR),
    "a field twice": lambda path: written(path, b'{"a":{"dtype":"F32","dtype":"F64"}}'),
    "overlap": lambda path: written(path, {"a": entry(), "b": entry(shape=(2,), offsets=(0, 8))}, bytes(8)),
    "a hole": lambda path: written(path, {"a": entry(), "b": entry(offsets=(8, 12))}, bytes(12)),
    "bytes behind": lambda path: written(path, {"a": entry()}, bytes(5)),
    "bytes missing": lambda path: written(path, {"a": entry()}, bytes(3)),
    "negative offsets": lambda path: written(path, {"a": entry(offsets=(-4, 0))}, FOUR),
    "offsets the wrong way": lambda path: written(path, {"a": entry(shape=(0,), offsets=(4, 0))}, FOUR),
    "three offsets": lambda path: written(path, {"a": entry(offsets=(0, 2, 4))}, FOUR),
    "an unknown dtype": lambda path: written(path, {"a": entry("F33")}, FOUR),
    "a dtype that is no text": lambda path: written(path, {"a": entry([1])}, FOUR),
    "another dtype's size": lambda path: written(path, {"a": entry("F64")}, FOUR),
    "a shape that overflows": lambda path: written(path, {"a": entry(shape=(2**62, 4), offsets=(0, 0))}),
    "a shape that is nothing": lambda path: written(path, {"weight_ih_l0": entry(shape=(2**62, 0), offsets=(0, 0))}),
    "a size of a thousand digits": lambda path: written(path, b'{"a":' + b"9" * 5000 + b"}"),
    "fractions": lambda path: written(path, {"a": entry(shape=(1.0,))}, FOUR),
    "truth values": lambda path: written(path, {"a": entry(shape=(True,))}, FOUR),
    "no shape": lambda path: written(path, {"a": {"dtype": "F32", "data_offsets": [0, 4]}}, FOUR),
    "an extra field": lambda path: written(path, {"a": entry() | {"more": 1}}, FOUR),
    "notes that are no texts": lambda path: written(path, {"__metadata__": {"a": 1}}),
    "notes that are a list": lambda path: written(path, {"__metadata__": ["a"]}),
    "arrays that are no weights": lambda path: written(path, {"a": entry()}, FOUR),
    "an extra array": lambda path: safetensors.numpy.save_file(GRU | {"a": np.zeros(1)}, path),
    "an array missing": lambda path: safetensors.numpy.save_file(without(GRU, "bias_hh_l0"), path),
    "integers": lambda path: safetensors.numpy.save_file({k: v.astype(int) for k, v in GRU.items()}, path),
}


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name.replace(" ", "_"))
def test_a_hostile_file_is_one_value_error(name, tmp_path):
    """In no time, and in no memory but the header's."""
    path = tmp_path / "x.safetensors"
    HOSTILE[name](path)
    with pytest.raises(ValueError, match=r"from_torch\('.*x.safetensors'\): ") as caught:
        numrnn.from_torch(path)
    assert len(str(caught.value)) < 1000


def test_very_many_names_are_refused_unread(tmp_path):
    names = b",".join(b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % k for k in range(40_000))
    with pytest.raises(ValueError, match="at most 1048576 are read"):
        numrnn.from_torch(written(tmp_path / "x.safetensors", b"{" + names + b"}"))


def test_weights_larger_than_the_machine_are_a_value_error(tmp_path, monkeypatch):
    """Also of a file that has their size but not their bytes on disk."""
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(GRU, path)
    monkeypatch.setattr(memory, "_physical", lambda: 1000)
    with pytest.raises(ValueError, match="needed for the weights and their copies, this machine has 1000 bytes"):
        numrnn.from_torch(path)


def test_what_is_taken_of_damaged_files_is_what_safetensors_reads(tmp_path, rng):
    """Of 1000 files with flipped bytes: a ValueError, or weights that are bit for bit those the library finds."""
    path = tmp_path / "x.safetensors"
    layer = numrnn.LSTM(1, 2, num_layers=2, seed=0)
    safetensors.numpy.save_file(layer.state_dict(), path, metadata={"a": "b"})
    whole, taken = bytearray(path.read_bytes()), 0
    header = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(header + 8)] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read = numrnn.from_torch(path)
        except ValueError:
            continue
        taken += 1
        with safetensors.safe_open(path, framework="numpy") as file:
            for name, value in read.parameters.items():
                same(value, file.get_tensor(name))
    assert 0 < taken < 500


@pytest.mark.parametrize("k", range(40))
def test_what_safetensors_writes_is_read_bit_for_bit(k, rng, tmp_path):
    """Any layer beside arrays of any type and shape."""
    layer = random_layer(rng)
    others = {
        f"other.{n}": rng.integers(0, 2, rng.integers(0, 4, rng.integers(0, 4))).astype(dtype)
        for n, dtype in enumerate(("?", "u1", "i1", "f2", "u2", "i4", "u8", "f8"))
    }
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(under("rnn", layer.state_dict()) | others, path)
    equal_layers(numrnn.from_torch(path, prefix="rnn"), layer)


def test_without_pytorch_its_modules_say_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch" or name.startswith("numrnn.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(vars(numrnn), "torch", raising=False)
    with pytest.raises(ImportError, match=r'numrnn.torch: .* pip install "numrnn\[torch\]"'):
        numrnn.torch  # noqa: B018 (it is imported)
    numrnn.from_torch(GRU)


def test_of_many_names_some_are_listed(tmp_path):
    state = {f"t{k}": np.zeros(1) for k in range(100)}
    with pytest.raises(ValueError, match=r"Names: t0, t1, .* and 60 more\."):
        numrnn.from_torch(state)


def test_a_header_takes_little_memory(tmp_path):
    """Within 64 MiB of the file's size, though JSON grows when it is parsed."""
    path = tmp_path / "x.safetensors"
    nested = b'{"a":[' + b"[]," * 349_000 + b"[]]}"
    names = b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % k for k in range(18_500))
    for header in (nested, b"{" + names + b"}"):
        written(path, header)
        assert 2**20 - 60_000 < len(header) < 2**20
        code = f"""
import resource, numrnn
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
numrnn.from_torch
before = most()
try:
    numrnn.from_torch({str(path)!r})
except ValueError:
    print((most() - before) // 1024)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) < 64


def test_a_dense_layer_that_may_stand_before_the_recurrent_one_is_no_head(tmp_path):
    layer, dense = numrnn.GRU(8, 8).state_dict(), numrnn.Linear(8, 8).state_dict()
    before = {f"proj.{name}": value for name, value in dense.items()}
    after = {f"head.{name}": value for name, value in dense.items()}
    recurrent = {f"gru.{name}": value for name, value in layer.items()}
    with pytest.raises(ValueError, match="it is not clear what model the weights make"):
        numrnn.from_torch(before | recurrent)
    assert isinstance(numrnn.from_torch(recurrent | after), numrnn.SequenceModel)
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(recurrent | after, tmp_path / "a.safetensors")  # which has no order
    with pytest.raises(ValueError, match="it is not clear what model the weights make"):
        numrnn.from_torch(tmp_path / "a.safetensors")
