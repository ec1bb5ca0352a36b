"""ONNX files that are damaged or mean harm: ValueError, at once, without memory, and nothing else is opened."""

import contextlib
import subprocess
import sys
import time

import numpy as np
import pytest

import numrnn

onnx = pytest.importorskip("onnx")

from onnx_graphs import Graph  # noqa: E402


def a_file(path, model=None):
    numrnn.to_onnx(model or numrnn.SequenceModel(numrnn.LSTM(2, 3, 2, seed=0), numrnn.Linear(3, 1, seed=0)), path)
    return path.read_bytes()


def load_or_refuse(path):
    """A damaged file is refused, or means a model still."""
    try:
        return numrnn.from_onnx(path)
    except ValueError:
        return None


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four bytes of it are others."""
    damaged = bytearray(data)
    for place in rng.integers(0, len(data), int(rng.integers(1, 5))):
        damaged[place] ^= int(rng.integers(1, 256))
    return bytes(damaged)


def test_a_thousand_damaged_files_are_refused_or_load(tmp_path, rng):
    path = tmp_path / "model.onnx"
    whole = [a_file(path), a_file(path, numrnn.GRU(2, 2, bidirectional=True)), a_file(path, numrnn.RNN(2, 2))]
    loaded = 0
    for k in range(1000):
        path.write_bytes(flip(whole[k % 3], rng))
        loaded += load_or_refuse(path) is not None
    assert 0 < loaded < 900


def test_damaged_files_are_refused_or_prepared_by_the_backend(tmp_path, rng):
    path = tmp_path / "model.onnx"
    whole, prepared = a_file(path), 0
    for _ in range(300):
        path.write_bytes(flip(whole, rng))
        with contextlib.suppress(ValueError):
            numrnn.onnx_backend.prepare(path)
            prepared += 1
    assert 0 < prepared < 250


def test_every_truncated_file_is_refused_or_loads(tmp_path):
    path = tmp_path / "model.onnx"
    data = a_file(path)
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        load_or_refuse(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="it has no graph, so it is no ONNX model"):
        numrnn.from_onnx(path)
    path.write_bytes(b"PK\x03\x04 this is an archive")
    with pytest.raises(ValueError, match="it is no ONNX file"):
        numrnn.from_onnx(path)


@pytest.mark.parametrize("kind", ["relative", "absolute", "above", "link"])
@pytest.mark.parametrize("reader", ["from_onnx", "prepare"])
def test_numbers_in_other_files_are_not_read(tmp_path, kind, reader):
    """The file named is there and fits: it is refused for being another one."""
    folder, path = tmp_path / "folder", tmp_path / "folder" / "model.onnx"
    folder.mkdir()
    a_file(path, numrnn.RNN(2, 2))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    data, tensor.raw_data = bytes(tensor.raw_data), b""
    tensor.ClearField("raw_data")
    beside, above = folder / "weights.bin", tmp_path / "weights.bin"
    above.write_bytes(data)
    beside.symlink_to(above) if kind == "link" else beside.write_bytes(data)
    location = {"absolute": str(beside), "above": "../weights.bin"}.get(kind, "weights.bin")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ValueError, match="the numbers of tensor 'W_l0' are in another file, and no other file is opened"
    ):
        (numrnn.from_onnx if reader == "from_onnx" else numrnn.onnx_backend.prepare)(path)


def test_numbers_of_attributes_in_other_files_are_not_read():
    graph = Graph()
    value = onnx.numpy_helper.from_array(np.ones((1, 4, 3), np.float32), "secret")
    value.external_data.add(key="location", value="/etc/passwd")
    _, r, _ = graph.weights("RNN", 3, 4)
    model = graph.model(graph("RNN", "x", graph("Constant", value=value), r))
    with pytest.raises(ValueError, match="the numbers of tensor 'secret' are in another file"):
        numrnn.from_onnx(model)


def test_files_of_a_bounded_size_are_opened(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 5)
    with pytest.raises(ValueError, match="it has 2147483653 bytes, and an ONNX file has 2147483647 at most"):
        numrnn.from_onnx(path)


def varint(number: int) -> bytes:
    parts = [number >> shift & 127 | 128 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*parts[:-1], parts[-1] & 127])


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(dims, **fields):
    made = onnx.TensorProto(name="constant0", data_type=1, **fields)
    made.dims.extend(dims)
    return made


def with_tensor(made):
    graph = Graph()
    graph.node("RNN", "x")
    model = graph.model("RNN0.0")
    model.graph.initializer[0].CopyFrom(made)
    return model.SerializeToString()


def growing(name: str, graph: Graph) -> bytes:
    return graph.model(graph("RNN", "x", name, np.ones((1, 4, 4), np.float32))).SerializeToString()


def joined() -> bytes:
    """A constant that forty nodes double."""
    graph = Graph()
    name = graph("Identity", np.ones((1, 4, 3), np.float32))
    for _ in range(40):
        name = graph("Concat", name, name, axis=0)
    return growing(name, graph)


def gathered() -> bytes:
    """A number that is taken a thousand times along each of three axes."""
    graph = Graph()
    name, indices = graph("Identity", np.ones((1, 1, 1), np.float32)), graph.constant(np.zeros(1000, np.int64))
    for axis in range(3):
        name = graph("Gather", name, indices, axis=axis)
    return growing(name, graph)


def squaring() -> bytes:
    """A size that is squared again and again, before a reshape."""
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    name = graph("Shape", y)
    for _ in range(60):
        name = graph("Mul", name, name)
    return graph.model(graph("Reshape", y, name)).SerializeToString()


def shared() -> bytes:
    """A megabyte of weights that two thousand nodes share."""
    graph = Graph(("time", "batch", 300))
    w, r, _ = graph.weights("RNN", 300, 300)
    w, r, y = graph.constant(w), graph.constant(r), "x"
    for _ in range(2000):
        y = graph("Squeeze", graph("RNN", y, w, r, outputs=2)[0], [1])
    return graph.model(y).SerializeToString()


def nested() -> bytes:
    inner = b""
    for _ in range(60):
        inner = message(1, message(5, message(6, inner)))
    return message(7, inner)


def many_rows() -> bytes:
    graph = Graph()
    state = graph.input("h", [2**40, "n", 4])
    return graph.model(graph.node("RNN", "x", extra=["", state])[0]).SerializeToString()


BOMBS = {
    "empty nodes": (lambda: message(7, b"\n\x00" * 2**20), "more than 50000 parts, far more than a recurrent model"),
    "empty opsets": (lambda: b"\x42\x00" * 2**20, "more than 50000 parts"),
    "groups": (lambda: b"\x0b" * 2**20, "it is no ONNX file: byte"),
    "nested": (nested, "its parts are nested more than 32 deep"),
    "huge shape": (lambda: with_tensor(tensor([2**40, 2**40], raw_data=b"1234")), "and 4 bytes, which do not fit"),
    "overflow": (lambda: with_tensor(tensor([2**32, 2**32], float_data=[])), "and 0 numbers, which do not fit"),
    "negative shape": (lambda: with_tensor(tensor([-1, 4, 3], raw_data=b"1" * 48)), "and 48 bytes, which do not fit"),
    "segment": (lambda: with_tensor(tensor([1], segment=onnx.TensorProto.Segment(begin=0, end=2**40))), "is a segment"),
    "joined": (joined, "(Concat): with it the graph makes more numbers than its file has."),
    "gathered": (gathered, "(Gather): with it the graph makes more numbers than its file has."),
    "squared": (squaring, "(Mul): its inputs do not fit it: "),
    "shared": (shared, "(RNN): with it the graph makes more numbers than its file has."),
    "rows": (many_rows, "its input 'h' has 1099511627776 rows, and states have one for each direction."),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path, name):
    path = tmp_path / "bomb.onnx"
    path.write_bytes(BOMBS[name][0]())
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        numrnn.from_onnx(path)
    assert BOMBS[name][1] in str(caught.value)
    assert time.perf_counter() - start < 5


def test_bombs_take_no_memory(tmp_path):
    """All of them in one process: its peak grows by less than 64 MiB beyond the largest file."""
    for name in BOMBS:
        (tmp_path / f"{name}.onnx").write_bytes(BOMBS[name][0]())
    largest = max(path.stat().st_size for path in tmp_path.iterdir())
    code = """
import pathlib, resource, sys
import numrnn
numrnn.to_onnx(numrnn.RNN(2, 2), sys.argv[1] + "/good.onnx")
numrnn.from_onnx(sys.argv[1] + "/good.onnx")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in pathlib.Path(sys.argv[1]).iterdir():
    try:
        numrnn.from_onnx(path)
    except ValueError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    finished = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(finished.stdout) * 1024 < largest + 2**26
