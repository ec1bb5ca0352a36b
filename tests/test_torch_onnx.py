"""Models that PyTorch exports to ONNX: random ones load, and predict the same at other sizes than the exporter saw."""

import io
import warnings

import numpy as np
import pytest

import numrnn

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def make_module(torch, layer, head, reads):
    """What `reads` says of a layer's result, through the head if there is one."""

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = layer, head

        def forward(self, x):
            output, state = self.layer(x)
            h_n = state[0] if isinstance(state, tuple) else state
            if reads == "result":
                return output, *(state if isinstance(state, tuple) else (state,))
            if reads == "output":
                read = output
            elif reads == "output[-1]":
                read = output[:, -1] if layer.batch_first else output[-1]
            elif reads == "mean":
                read = output.mean(1 if layer.batch_first else 0)
            elif reads == "h_n[-1]":
                read = h_n[-1]
            else:
                read = torch.cat([h_n[-2], h_n[-1]], dim=-1)
            return read if head is None else self.head(read)

    return Module().eval()


def random_module(torch, rng, cell):
    """Any layer of `cell`, with a head or without."""
    bidirectional, batch_first, bias = (rng.random(3) < 0.5).tolist()
    sizes = rng.integers(1, 9, 2).tolist()
    options = {"num_layers": int(rng.integers(1, 4)), "bidirectional": bidirectional, "batch_first": batch_first}
    options |= {"nonlinearity": str(rng.choice(["tanh", "relu"]))} if cell == "RNN" else {}
    layer = getattr(torch.nn, cell)(*sizes, bias=bias, **options)
    reads = rng.choice(
        ["result", "output", "both ends", "mean"] if bidirectional else ["result", "output", "output[-1]", "h_n[-1]"]
    )
    width, with_head = sizes[1] * (1 + bidirectional), rng.random() < 0.7
    head = torch.nn.Linear(width, 3, bias=bool(rng.random() < 0.7)) if with_head and reads != "result" else None
    return make_module(torch, layer, head, str(reads))


def exported(torch, module, x, *, dynamo, dynamic):
    """The `ModelProto` that torch.onnx.export makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            auto = torch.export.Dim.AUTO
            shapes = ({0: auto, 1: auto},) if dynamic else None
            return torch.onnx.export(module, (x,), dynamo=True, verbose=False, dynamic_shapes=shapes).model_proto
        file = io.BytesIO()
        names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "a", 1: "b"}}} if dynamic else {}
        torch.onnx.export(module, (x,), file, dynamo=False, **names)
        return onnx.load_from_string(file.getvalue())


def assert_agrees(torch, module, loaded, shapes, rng):
    for shape in shapes:
        x = rng.standard_normal((*shape, module.layer.input_size)).astype(np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(x))
        got = loaded(x)
        if isinstance(expected, tuple):
            state = got.state if isinstance(got.state, tuple) else (got.state,)
            for one, other in zip((got.output, *state), expected, strict=True):
                np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=2e-6)
        else:
            np.testing.assert_allclose(getattr(got, "output", got), expected.numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dynamic", [True, False], ids=["free", "frozen"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_random_models_of_the_older_exporter_load(torch, rng, cell, dynamic):
    for _ in range(5):
        module = random_module(torch, rng, cell)
        x = torch.zeros(4, 3, module.layer.input_size)
        loaded = numrnn.from_onnx(exported(torch, module, x, dynamo=False, dynamic=dynamic))
        assert_agrees(torch, module, loaded, [(4, 3), (2, 5), (1, 1)], rng)


@pytest.mark.parametrize(("cell", "dynamic"), [("RNN", True), ("RNN", False), ("LSTM", False), ("GRU", True)])
def test_random_models_of_the_newer_exporter_load(torch, rng, cell, dynamic):
    pytest.importorskip("onnxscript")
    module = random_module(torch, rng, cell)
    x = torch.zeros(4, 3, module.layer.input_size)
    loaded = numrnn.from_onnx(exported(torch, module, x, dynamo=True, dynamic=dynamic))
    assert_agrees(torch, module, loaded, [(4, 3), (2, 5), (1, 1)], rng)


@pytest.mark.parametrize("dynamo", [False, True])
def test_initial_states_are_the_calls_state(torch, rng, dynamo):
    if dynamo:
        pytest.importorskip("onnxscript")
    module = torch.nn.LSTM(3, 4, 2, batch_first=True).eval()
    x, h_0, c_0 = torch.randn(2, 5, 3), torch.randn(2, 2, 4), torch.randn(2, 2, 4)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            model = torch.onnx.export(module, (x, (h_0, c_0)), dynamo=True, verbose=False).model_proto
        else:
            torch.onnx.export(module, (x, (h_0, c_0)), file, dynamo=False)
            model = onnx.load_from_string(file.getvalue())
    loaded = numrnn.from_onnx(model)
    with torch.no_grad():
        expected, _ = module(x, (h_0, c_0))
    result = loaded(x.numpy(), (h_0.numpy(), c_0.numpy()))
    np.testing.assert_allclose(result.output, expected.numpy(), rtol=1e-5, atol=2e-6)


def test_weights_have_the_bits_of_the_module_s(torch):
    module = make_module(torch, torch.nn.GRU(3, 4, 2, bidirectional=True, batch_first=True), None, "result")
    loaded = numrnn.from_onnx(exported(torch, module, torch.zeros(2, 3, 3), dynamo=False, dynamic=True))
    assert repr(loaded) == "GRU(input_size=3, hidden_size=4, num_layers=2, batch_first=True, bidirectional=True)"
    for name, value in module.layer.state_dict().items():
        np.testing.assert_array_equal(loaded.parameters[name], value.numpy())


def test_unfolded_constants_load(torch, rng):
    """Exported without folding, weights are made by nodes."""
    module = make_module(torch, torch.nn.LSTM(3, 4, 2, bidirectional=True), torch.nn.Linear(8, 2), "output")
    file, x = io.BytesIO(), torch.zeros(4, 3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=False, do_constant_folding=False)
    model = onnx.load_from_string(file.getvalue())
    assert "Slice" in {node.op_type for node in model.graph.node}
    assert_agrees(torch, module, numrnn.from_onnx(model), [(4, 3), (2, 5)], rng)


def test_a_head_on_one_step_of_the_reverse_direction_is_refused(torch):
    """`output[:, -1]` of a bidirectional layer, the classic mistake, is no last state."""
    layer = torch.nn.LSTM(3, 4, bidirectional=True, batch_first=True)
    module = make_module(torch, layer, torch.nn.Linear(8, 2), "output[-1]")
    model = exported(torch, module, torch.zeros(2, 3, 3), dynamo=False, dynamic=True)
    with pytest.raises(ValueError, match=r"sees one step of the reverse direction, not its state\."):
        numrnn.from_onnx(model)


@pytest.fixture(scope="module")
def unrolled(torch):
    """torch.nn.RNN as the newer exporter writes it: three steps."""
    pytest.importorskip("onnxscript")
    module = make_module(torch, torch.nn.RNN(3, 4, bidirectional=True), None, "output")
    model = exported(torch, module, torch.zeros(3, 2, 3), dynamo=True, dynamic=False)
    assert {node.op_type for node in model.graph.node} == {"Add", "Concat", "MatMul", "Slice", "Squeeze", "Tanh"}
    return model


def change_activation(nodes, initializers):
    next(node for node in nodes if node.op_type == "Tanh").op_type = "Relu"


def change_order(nodes, initializers):
    joined = next(node for node in nodes if node.op_type == "Concat")
    joined.input[0], joined.input[1] = joined.input[1], joined.input[0]


def change_step(nodes, initializers):
    first, second = [node for node in nodes if node.op_type == "Squeeze"][:2]
    first.input[0], second.input[0] = second.input[0], first.input[0]


def change_weight(nodes, initializers):
    """The last step multiplies with another matrix of the same shape."""
    product = [node for node in nodes if node.op_type == "MatMul"][2]
    other = initializers.add()
    other.CopyFrom(next(each for each in initializers if each.name == product.input[1]))
    other.name = product.input[1] = "other"


def change_start(nodes, initializers):
    """The first step starts from a state that is not zero: its product is not the bias."""
    summed = [node for node in nodes if node.op_type == "Add" and "linear_1" in node.input]
    start = next(each for each in initializers if each.name == "linear_1")
    assert summed
    start.raw_data = np.arange(len(start.raw_data) // 4, dtype=np.float32).tobytes()


def change_length(nodes, initializers):
    """A step more than the joined ones."""
    joined = next(node for node in nodes if node.op_type == "Concat")
    del joined.input[2]


@pytest.mark.parametrize(
    "change",
    [change_activation, change_order, change_step, change_weight, change_start, change_length],
    ids=lambda change: change.__name__,
)
def test_steps_that_are_no_layer_are_refused(unrolled, change):
    assert isinstance(numrnn.from_onnx(unrolled), numrnn.RNN)
    changed = onnx.ModelProto()
    changed.CopyFrom(unrolled)
    change(changed.graph.node, changed.graph.initializer)
    with pytest.raises(ValueError, match="from_onnx: "):
        numrnn.from_onnx(changed)
