"""`from_onnx`: graphs as exporters write them."""

import numpy as np
import pytest

import numrnn

onnx = pytest.importorskip("onnx")

from onnx_graphs import Graph  # noqa: E402

MAX = 2**31 - 1


def assert_predicts_the_same(model, loaded, x, output=0):
    """ONNX's reference evaluator, with the backend's recurrent nodes, is the oracle."""
    expected = numrnn.onnx_backend.run_model(model, {model.graph.input[0].name: x})[output]
    answer = loaded(x)
    got = getattr(answer, "output", answer)
    np.testing.assert_allclose(got, expected.reshape(got.shape), rtol=1e-6, atol=1e-6)


def zeros_of_the_batch(graph, x, hidden):
    """tf2onnx's zero state: as many rows as x has, with an axis in front."""
    batch = graph("Slice", graph("Cast", graph("Shape", x), to=7), [0], [1], [0])
    shape = graph("Concat", batch, [hidden], axis=0)
    return graph("Unsqueeze", graph("Expand", np.zeros(1, np.float32), shape), [0])


def test_a_keras_lstm_with_a_dense_layer_on_its_last_step(rng):
    """As tf2onnx writes it: batch first, states made of the shape of x, the last step cut out of Y."""
    graph = Graph(("n", "t", 3))
    states = [zeros_of_the_batch(graph, "x", 4) for _ in range(2)]
    y, *_ = graph.node("LSTM", graph("Transpose", "x", perm=[1, 0, 2]), extra=["", *states])
    steps = graph("Squeeze", y, [1])
    last = graph("Squeeze", graph("Slice", steps, [-1], [MAX], [0]), [0])
    dense = graph("MatMul", last, graph.rng.standard_normal((4, 2)).astype(np.float32))
    model = graph.model(graph("Add", dense, np.ones(2, np.float32)), rank=2)
    loaded = numrnn.from_onnx(model)
    assert (
        repr(loaded)
        == "SequenceModel(LSTM(input_size=3, hidden_size=4, batch_first=True), Linear(in_features=4, out_features=2))"
    )
    assert_predicts_the_same(model, loaded, rng.standard_normal((2, 5, 3)).astype(np.float32))


def test_a_keras_bidirectional_layer_with_a_dense_layer_on_every_step(rng):
    """Y is cut into its directions, which are joined side by side; Dense works on (steps, features)."""
    graph = Graph(("n", "t", 3))
    y, _ = graph.node("GRU", graph("Transpose", "x", perm=[1, 0, 2]), direction="bidirectional", linear_before_reset=1)
    halves = graph("Split", y, [1, 1], outputs=2, axis=1)
    joined = graph("Concat", *(graph("Transpose", graph("Squeeze", h, [1]), perm=[1, 0, 2]) for h in halves), axis=-1)
    flat = graph("Reshape", joined, [-1, 8])
    dense = graph("MatMul", flat, graph.rng.standard_normal((8, 2)).astype(np.float32))
    shape = graph("Concat", graph("Slice", graph("Shape", joined), [0], [2], [0]), [2], axis=0)
    model = graph.model(graph("Add", graph("Reshape", dense, shape), np.ones(2, np.float32)))
    loaded = numrnn.from_onnx(model)
    assert loaded.readout_on == "every"
    assert_predicts_the_same(model, loaded, rng.standard_normal((2, 5, 3)).astype(np.float32))


def test_two_nodes_of_opposite_directions_are_one_layer(rng):
    graph = Graph()
    backward, _ = graph.node("RNN", "x", direction="reverse")
    forward, _ = graph.node("RNN", "x")
    both = graph("Concat", graph("Squeeze", forward, [1]), graph("Squeeze", backward, [1]), axis=2)
    top, h_n = graph.node("RNN", both, features=8, direction="bidirectional")
    steps = graph("Reshape", graph("Transpose", top, perm=[0, 2, 1, 3]), [0, 0, 8])
    model = graph.model(steps, h_n)
    loaded = numrnn.from_onnx(model)
    assert repr(loaded) == "RNN(input_size=3, hidden_size=4, num_layers=2, bidirectional=True)"
    assert_predicts_the_same(model, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))


@pytest.mark.parametrize("opset", [7, 9, 11, 12])
def test_older_versions_have_axes_as_attributes(opset, rng):
    graph = Graph()
    x = graph("Squeeze", graph("Unsqueeze", "x", axes=[0]), axes=[0])
    y, _ = graph.node("GRU", x)
    cut = graph("Slice", y, axes=[0], starts=[0], ends=[MAX]) if opset < 10 else graph("Slice", y, [0], [MAX], [0])
    parts = graph("Split", graph("Squeeze", cut, axes=[1]), outputs=1, axis=2, split=[4])
    model = graph.model(graph("Dropout", parts, ratio=0.5) if opset < 12 else graph("Dropout", parts), opset=opset)
    loaded = numrnn.from_onnx(model)
    assert repr(loaded) == "GRU(input_size=3, hidden_size=4, reset_after=False)"
    newer = onnx.version_converter.convert_version(model, 13) if opset > 7 else model
    assert_predicts_the_same(newer, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))


def test_weights_may_be_made_by_nodes(rng):
    """Constant nodes, transposed, cut, joined and reshaped."""
    graph = Graph()
    w, r, b = graph.weights("LSTM", 3, 4)
    parts = graph("Concat", *np.split(w[0], 4), axis=0)
    made = graph("Unsqueeze", graph("Transpose", graph("Transpose", parts)), [0])
    constant = graph("Constant", value=onnx.numpy_helper.from_array(r.reshape(-1)))
    y, *_ = graph("LSTM", "x", made, graph("Reshape", constant, [1, 16, 4]), graph("Gather", b, [0], axis=0), outputs=3)
    model = graph.model(graph("Squeeze", y, [1]))
    assert_predicts_the_same(model, numrnn.from_onnx(model), rng.standard_normal((5, 2, 3)).astype(np.float32))


def test_a_bare_node_is_a_layer(rng):
    """Y as it is, (time, directions, batch, features)."""
    graph = Graph()
    model = graph.model(*graph.node("LSTM", "x"))
    model.graph.output[0].type.tensor_type.shape.dim.add()
    loaded = numrnn.from_onnx(model)
    assert isinstance(loaded, numrnn.LSTM)
    assert_predicts_the_same(model, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))


def test_a_node_from_the_end_is_a_reversed_layer(rng):
    graph = Graph()
    y, h_n = graph.node("RNN", "x", direction="reverse", activations=["Relu"])
    model = graph.model(graph("Squeeze", y, [1]), h_n)
    loaded = numrnn.from_onnx(model)
    assert repr(loaded) == "Reversed(RNN(input_size=3, hidden_size=4, nonlinearity='relu'))"
    assert_predicts_the_same(model, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))


def test_nodes_from_both_ends_above_each_other_are_a_model_with_reversed_layers(rng):
    """Two from the end are one layer; the others stand alone, and the head reads the last state of one of them."""
    graph = Graph()
    y = graph("Squeeze", graph.node("RNN", "x")[0], [1])
    for _ in range(2):
        y = graph("Squeeze", graph.node("RNN", y, features=4, direction="reverse")[0], [1])
    y, _ = graph.node("RNN", y, features=4, direction="bidirectional")
    model = graph.model(graph("Reshape", graph("Transpose", y, perm=[0, 2, 1, 3]), [0, 0, 8]))
    loaded = numrnn.from_onnx(model)
    layers = "[RNN(input_size=3, hidden_size=4), Reversed(RNN(input_size=4, hidden_size=4, num_layers=2)), "
    layers += "RNN(input_size=4, hidden_size=4, bidirectional=True)]"
    assert repr(loaded) == f"SequenceModel({layers}, None, readout_on='every')"
    assert_predicts_the_same(model, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))
    graph = Graph()
    y, h_n = graph.node("GRU", "x", direction="reverse")
    model = graph.model(graph("Gemm", graph("Squeeze", h_n, [0]), np.ones((4, 2), np.float32)))
    loaded = numrnn.from_onnx(model)
    assert repr(loaded).startswith("SequenceModel(Reversed(GRU(input_size=3, hidden_size=4, reset_after=False")
    assert_predicts_the_same(model, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))


def test_nodes_of_different_kinds_are_a_list_of_layers(rng):
    graph = Graph()
    y, *_ = graph.node("LSTM", "x")
    y, _ = graph.node("GRU", graph("Squeeze", y, [1]), features=4, hidden=5)
    model = graph.model(graph("Squeeze", y, [1]))
    loaded = numrnn.from_onnx(model)
    assert [type(layer) for layer in loaded.recurrent] == [numrnn.LSTM, numrnn.GRU]
    assert (loaded.readout, loaded.readout_on) == (None, "every")
    assert_predicts_the_same(model, loaded, rng.standard_normal((5, 2, 3)).astype(np.float32))


def test_what_no_output_depends_on_is_not_read():
    """An unknown operator beside the model, and an input that only it reads."""
    graph = Graph()
    graph("Foo", graph.input("mask", [2]), domain="other")
    y, _ = graph.node("RNN", "x")
    assert isinstance(numrnn.from_onnx(graph.model(y)), numrnn.RNN)


def test_a_node_without_biases_among_others_has_zeros():
    graph = Graph()
    w, r, _ = graph.weights("RNN", 3, 4)
    y, _ = graph("RNN", "x", w, r, outputs=2)
    y, _ = graph.node("RNN", graph("Squeeze", y, [1]), features=4)
    loaded = numrnn.from_onnx(graph.model(graph("Squeeze", y, [1])))
    assert not loaded.parameters["bias_ih_l0"].any()
    assert loaded.parameters["bias_ih_l1"].any()
    graph = Graph()
    y, _ = graph("RNN", "x", w, r, outputs=2)
    assert not numrnn.from_onnx(graph.model(y)).bias
