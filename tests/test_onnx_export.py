"""`to_onnx`: the file is valid, other programs compute the same with it, and `from_onnx` restores what was written."""

import importlib
import itertools
import sys

import numpy as np
import pytest

import numrnn

onnx = pytest.importorskip("onnx")

KINDS = {
    "rnn_tanh": numrnn.RNN,
    "rnn_relu": lambda *sizes, **options: numrnn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": numrnn.LSTM,
    "gru": numrnn.GRU,
    "gru_reset_before": lambda *sizes, **options: numrnn.GRU(*sizes, reset_after=False, **options),
}


def models(kind, num_layers, bidirectional, batch_first, bias, dtype):
    """A layer, and all that it can be a part of."""
    common = {"batch_first": batch_first, "dtype": dtype}
    options = common | {"num_layers": num_layers, "bidirectional": bidirectional, "bias": bias}
    options |= {"dropout": 0.25} if num_layers > 1 else {}
    layer, width = KINDS[kind](3, 5, **options), 10 if bidirectional else 5
    yield layer
    second, alike = numrnn.GRU(width, 4, **common), KINDS[kind](width, 5, **common, bidirectional=bidirectional)
    turned = numrnn.Reversed(second)
    yield numrnn.SequenceModel([layer, turned], numrnn.Linear(4, 2, bias, dtype=dtype))
    if not bidirectional:
        yield (turned_first := numrnn.Reversed(layer))
        for readout_on in ("last", "every", "mean"):
            yield numrnn.SequenceModel(turned_first, numrnn.Linear(5, 2, dtype=dtype), readout_on=readout_on)
        yield numrnn.SequenceModel(turned_first, None)
        yield numrnn.SequenceModel([turned_first, numrnn.Reversed(alike)], None)
        yield numrnn.SequenceModel([turned_first, second], None, readout_on="max")
        yield numrnn.SequenceModel([turned_first, numrnn.GRU(5, 4, **common, bidirectional=True)], None)
    for readout_on in ("mean", "max"):
        yield numrnn.SequenceModel(layer, numrnn.Linear(width, 2, bias, dtype=dtype), readout_on=readout_on)
        yield numrnn.SequenceModel([layer], None, readout_on=readout_on)
    for readout_on in ("last", "every"):
        head = numrnn.Linear(width, 2, bias, dtype=dtype)
        yield numrnn.SequenceModel(layer, head, readout_on=readout_on)
        yield numrnn.SequenceModel(layer, None, readout_on=readout_on)
        yield numrnn.SequenceModel([layer], None, readout_on=readout_on)
        yield numrnn.SequenceModel([layer, alike], head, readout_on=readout_on)
        yield numrnn.SequenceModel([layer, second], numrnn.Linear(4, 2, dtype=dtype), readout_on=readout_on)


ALL = [(kind, n, both, both == (n == 1)) for kind, n, both in itertools.product(KINDS, (1, 2), (False, True))]
every_kind = pytest.mark.parametrize(
    ("kind", "num_layers", "bidirectional", "batch_first"),
    ALL,
    ids=[f"{k}-L{n}{'-bi' if d else ''}{'-bf' if b else ''}" for k, n, d, b in ALL],
)


def assert_restored(model, back):
    assert repr(back) == repr(model)
    assert list(back.parameters) == list(model.parameters)
    for name, value in model.parameters.items():
        assert back.parameters[name].dtype == value.dtype
        np.testing.assert_array_equal(back.parameters[name], value, err_msg=name)


def layers_of(model):
    recurrent = getattr(model, "recurrent", model)
    parts = recurrent if isinstance(recurrent, tuple) else (recurrent,)
    return tuple(getattr(part, "layer", part) for part in parts)


def random_call(model, rng, shape, *, with_state):
    """Inputs of the graph by name, and what the model itself answers, in the order of the graph's outputs."""
    layers, dtype = layers_of(model), layers_of(model)[0].dtype
    n_rows = shape[0 if layers[0].batch_first else 1]
    feeds = {"x": rng.standard_normal((*shape, 3)).astype(dtype)}
    listed = isinstance(getattr(model, "recurrent", None), tuple)
    states = []
    for k, layer in enumerate(layers):
        size = (layer.num_layers * (1 + layer.bidirectional), n_rows, layer.hidden_size)
        names = ("h", "c") if isinstance(layer, numrnn.LSTM) else ("h",)
        parts = tuple(rng.standard_normal(size).astype(dtype) for _ in names)
        feeds |= {f"{name}_0" + (f"_{k}" if listed else ""): part for name, part in zip(names, parts, strict=True)}
        states.append(parts if len(parts) == 2 else parts[0])
    state = states if listed else states[0]
    if not with_state:
        feeds, state = {"x": feeds["x"]}, None
    if isinstance(model, numrnn.SequenceModel):
        prediction, after = model(feeds["x"], state, return_state=True)
        flat = [part for one in (after if listed else [after]) for part in (one if isinstance(one, tuple) else (one,))]
        return feeds, [prediction, *flat]
    result = model(feeds["x"], state)
    return feeds, [result.output, *(result.state if isinstance(result.state, tuple) else (result.state,))]


@every_kind
def test_what_was_written_is_restored_to_the_bit(tmp_path, kind, num_layers, bidirectional, batch_first):
    for bias, dtype, with_state in ((True, "float32", False), (False, "float64", True)):
        for model in models(kind, num_layers, bidirectional, batch_first, bias, dtype):
            numrnn.to_onnx(model, tmp_path / "model.onnx", with_state=with_state)
            assert_restored(model, numrnn.from_onnx(tmp_path / "model.onnx"))


@every_kind
def test_files_are_valid_and_say_what_they_take_and_give(tmp_path, kind, num_layers, bidirectional, batch_first):
    axes = ["batch", "time"] if batch_first else ["time", "batch"]
    for model in models(kind, num_layers, bidirectional, batch_first, True, "float32"):
        numrnn.to_onnx(model, tmp_path / "model.onnx", with_state=True)
        written = onnx.load(tmp_path / "model.onnx")
        onnx.checker.check_model(written, full_check=True)
        found = {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*written.graph.input, *written.graph.output)
        }
        assert found["x"] == [*axes, 3]
        every = getattr(model, "readout_on", "every") == "every"
        assert found["output"][:-1] == (axes if every else ["batch"])
        if not isinstance(getattr(model, "recurrent", None), tuple):
            rows = num_layers * (1 + bidirectional)
            assert {found[name][0] for name in found if name[0] in "hc"} == {rows}


@pytest.mark.peers
@every_kind
def test_onnx_runtime_computes_the_same(tmp_path, kind, num_layers, bidirectional, batch_first, rng):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    for bias, with_state in ((True, False), (False, True)):
        for model in models(kind, num_layers, bidirectional, batch_first, bias, "float32"):
            numrnn.to_onnx(model, tmp_path / "model.onnx", with_state=with_state)
            session = onnxruntime.InferenceSession(
                str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for shape in ((4, 2), (1, 1), (2, 7)):
                feeds, expected = random_call(model, rng, shape, with_state=with_state)
                assert [each.name for each in session.get_inputs()] == list(feeds)
                for got, one in zip(session.run(None, feeds), expected, strict=True):
                    assert got.shape == one.shape
                    np.testing.assert_allclose(got, one, rtol=2e-6, atol=2e-6)


@every_kind
def test_onnx_s_reference_computes_the_same_with_our_nodes(tmp_path, kind, num_layers, bidirectional, batch_first, rng):
    """In float64, which ONNX Runtime does not have."""
    for model in models(kind, num_layers, bidirectional, batch_first, True, "float64"):
        numrnn.to_onnx(model, tmp_path / "model.onnx", with_state=True)
        prepared = numrnn.onnx_backend.prepare(tmp_path / "model.onnx")
        assert prepared.engine == "kernels"
        feeds, expected = random_call(model, rng, (3, 2), with_state=True)
        for got, one in zip(prepared.run(feeds), expected, strict=True):
            np.testing.assert_allclose(got, one, rtol=1e-14, atol=1e-14)


@every_kind
def test_without_metadata_the_graph_is_enough(tmp_path, kind, num_layers, bidirectional, batch_first, rng):
    """What it does not say is dropout, and which nodes are one layer: the numbers are the same."""
    for model in models(kind, num_layers, bidirectional, batch_first, True, "float32"):
        numrnn.to_onnx(model, tmp_path / "model.onnx")
        written = onnx.load(tmp_path / "model.onnx")
        del written.metadata_props[:]
        back = numrnn.from_onnx(written)
        feeds, expected = random_call(model, rng, (3, 2), with_state=False)
        answer = back(feeds["x"])
        np.testing.assert_array_equal(getattr(answer, "output", answer), expected[0])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    numrnn.to_onnx(numrnn.GRU(2, 3), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        numrnn.to_onnx(numrnn.GRU(2, 4), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


LSTM = numrnn.LSTM(4, 8)
NOT_WRITTEN = {
    "proj_size=3": numrnn.LSTM(4, 8, proj_size=3),
    "learn_initial_state=True": numrnn.SequenceModel(LSTM, None, learn_initial_state=True),
    "keep_order=False": numrnn.SequenceModel(numrnn.Reversed(LSTM, keep_order=False), None),
}


@pytest.mark.parametrize("argument", NOT_WRITTEN)
def test_what_cannot_be_written_is_refused_with_the_reason(tmp_path, argument):
    with pytest.raises(NotImplementedError) as caught:
        numrnn.to_onnx(NOT_WRITTEN[argument], tmp_path / "model.onnx")
    assert str(caught.value).startswith(f"to_onnx: `{argument}` is not implemented in this version: ")
    assert not list(tmp_path.iterdir())


def test_wrong_calls_are_refused(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="`model` should be an RNN, LSTM, GRU, Reversed or SequenceModel, got Linear"):
        numrnn.to_onnx(numrnn.Linear(2, 3), tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="`path` should be a path, got int 3"):
        numrnn.to_onnx(LSTM, 3)
    with pytest.raises(TypeError, match="`with_state` should be True or False, got int 1"):
        numrnn.to_onnx(LSTM, tmp_path / "model.onnx", with_state=1)
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        numrnn.to_onnx(LSTM, tmp_path / "nowhere" / "model.onnx")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        numrnn.to_onnx(LSTM, tmp_path)
    monkeypatch.setattr("numrnn.interop.onnx_export.MAX_BYTES", 2**20 + 100)
    with pytest.raises(ValueError, match="the model has 1792 bytes, and an ONNX file holds 1048676 at most"):
        numrnn.to_onnx(LSTM, tmp_path / "model.onnx")


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (lambda: numrnn.to_onnx(LSTM, tmp_path / "a.onnx"), lambda: numrnn.from_onnx(tmp_path / "a.onnx")):
        with pytest.raises(ImportError, match=r'ONNX models need onnx: pip install "numrnn\[onnx\]"'):
            call()
    with pytest.raises(ImportError, match=r"^numrnn\.onnx_backend: ONNX models need onnx"):
        importlib.reload(importlib.import_module("numrnn.onnx_backend.backend"))
