"""What `from_onnx` does not understand is refused by name: the node, and its attribute or input."""

import numpy as np
import pytest

import numrnn

onnx = pytest.importorskip("onnx")

from onnx_graphs import Graph  # noqa: E402

MAX = 2**31 - 1


def plain(op="LSTM", extra=(), **attributes):
    graph = Graph()
    return graph.model(graph.node(op, "x", extra=extra, **attributes)[0])


def with_head(head, *, rank=3, **attributes):
    """A GRU whose steps `head(graph, steps)` reads."""
    graph = Graph()
    y, _ = graph.node("GRU", "x", **attributes)
    return graph.model(head(graph, graph("Squeeze", y, [1])), rank=rank)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def with_weights(change, op="GRU"):
    graph = Graph()
    arrays = dict(zip("WRB", graph.weights(op, 3, 4), strict=True))
    y = graph(op, "x", *change(arrays), outputs=2)
    return graph.model(y[0])


def dense_below():
    graph = Graph()
    return graph.model(graph.node("RNN", graph("MatMul", "x", ones(3, 3)))[0])


def weights_given():
    graph = Graph()
    w, r, _ = graph.weights("RNN", 3, 4)
    return graph.model(graph("RNN", "x", graph.input("w", w.shape), r, outputs=2)[0])


def two_dense():
    return with_head(lambda g, y: g("MatMul", g("MatMul", y, ones(4, 4)), ones(4, 2)))


def two_outputs():
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    steps = graph("Squeeze", y, [1])
    return graph.model(graph("MatMul", steps, ones(4, 2)), graph("MatMul", steps, ones(4, 3)))


def skipping():
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    top, _ = graph.node("RNN", "x")
    return graph.model(graph("Concat", graph("Squeeze", y, [1]), graph("Squeeze", top, [1]), axis=2))


def two_inputs():
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    other, _ = graph.node("RNN", graph.input("z", ("time", "batch", 3)), direction="reverse")
    return graph.model(graph("Concat", graph("Squeeze", y, [1]), graph("Squeeze", other, [1]), axis=2))


def one_direction():
    graph = Graph()
    y, _ = graph.node("RNN", "x", direction="bidirectional")
    return graph.model(graph("Squeeze", graph("Gather", y, [0], axis=1), [1]))


def mean_of_states():
    graph = Graph()
    return graph.model(graph("ReduceMean", graph.node("RNN", "x")[1], axes=[0]))


def lower_output():
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    top, _ = graph.node("RNN", graph("Squeeze", y, [1]), features=4)
    return graph.model(graph("Squeeze", top, [1]), y)


def states_in_disorder():
    graph = Graph()
    upper, lower = graph("Split", graph.input("h", [2, "n", 4]), [1, 1], outputs=2, axis=0)
    y, _ = graph.node("RNN", "x", extra=["", lower])
    y, _ = graph.node("RNN", graph("Squeeze", y, [1]), features=4, extra=["", upper])
    return graph.model(y)


def time_is_batch():
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    y, _ = graph.node("RNN", graph("Transpose", graph("Squeeze", y, [1]), perm=[1, 0, 2]), features=4)
    return graph.model(y)


def directions_of_two_kinds():
    graph = Graph()
    y, _ = graph.node("RNN", "x")
    other, _ = graph.node("GRU", "x", direction="reverse")
    return graph.model(graph("Concat", graph("Squeeze", y, [1]), graph("Squeeze", other, [1]), axis=2))


def renamed(first, second):
    model = with_head(lambda g, y: g("Identity", y))
    model.graph.node[-1].input[0], model.graph.node[-1].output[0] = first, second
    model.graph.output[0].name = second
    return model


def filled():
    graph = Graph()
    value = onnx.numpy_helper.from_array(ones(1))
    state = graph("ConstantOfShape", graph("Shape", "x"), value=value)
    return graph.model(graph.node("RNN", "x", extra=["", state])[0])


def noted(text):
    model = plain("RNN")
    model.metadata_props.add(key="numrnn", value=text)
    return model


def changed(change):
    model = plain("GRU")
    change(model)
    return model


LSTM = "node 'the LSTM' (LSTM): its "
GRU = "node 'the GRU' (GRU): its "
BACKEND = "\n  numrnn.onnx_backend.prepare(model) evaluates such nodes."
NOTES = '{"version": 1, "model": false, "list": false, "layers": [%s]}'
REFUSED = {
    "layout": (lambda: plain(layout=1), LSTM + "attribute `layout` is 1, which is not read." + BACKEND),
    "clip": (lambda: plain(clip=3.0), LSTM + "attribute `clip` is 3, which no layer of numrnn has." + BACKEND),
    "input_forget": (lambda: plain(input_forget=1), LSTM + "attribute `input_forget` is 1, which no layer"),
    "activations": (
        lambda: plain(activations=["Sigmoid", "Tanh", "Relu"]),
        LSTM + "attribute `activations` are sigmoid, tanh, relu, which no layer of numrnn has." + BACKEND,
    ),
    "activation_alpha": (lambda: plain(activation_alpha=[0.5]), LSTM + "attribute `activation_alpha` has more values"),
    "activation_beta": (lambda: plain(activation_beta=[0.5]), LSTM + "attribute `activation_beta` has more values"),
    "unknown attribute": (lambda: plain(speed=3), LSTM + "attribute `speed` is not understood."),
    "attribute of another kind": (lambda: plain(layout="1"), LSTM + "attribute `layout` is of the wrong kind."),
    "peepholes": (lambda: plain(extra=["", "", "", ones(1, 12)]), LSTM + "input `P` is connected, which is not read."),
    "sequence_lens": (
        lambda: plain("GRU", extra=[np.array([1, 2], np.int32)]),
        GRU + "input `sequence_lens` is connected, which is not read." + BACKEND,
    ),
    "initial_h": (
        lambda: plain(extra=["", ones(1, 2, 4)]),
        LSTM + "input `initial_h` is constant and not zero: a layer",
    ),
    "initial_c": (lambda: plain(extra=["", "", ones(1, 2, 4)]), LSTM + "input `initial_c` is constant and not zero"),
    "state of x": (lambda: plain(extra=["", "x"]), LSTM + "input `initial_h` is neither zero nor rows of an input"),
    "disorder": (states_in_disorder, "(RNN): its initial state is not its own row of the same input as those of the"),
    "hidden_size": (lambda: plain(hidden_size=5), LSTM + "attribute `hidden_size` is 5, its weights have 4."),
    "W": (lambda: with_weights(lambda a: [a["W"][:, :-1], a["R"]]), GRU + "weight `W` has shape (1, 11, 3), expected"),
    "R": (lambda: with_weights(lambda a: [a["W"], a["R"][..., 1:]]), GRU + "weight `R` has shape (1, 12, 3), expected"),
    "B": (lambda: with_weights(lambda a: [a["W"], a["R"], a["B"][:, 1:]]), GRU + "weight `B` has shape (1, 23)"),
    "rank": (lambda: with_weights(lambda a: [a["W"][0], a["R"]]), GRU + "weight `W` has shape (12, 3), expected"),
    "features": (
        lambda: with_weights(lambda a: [ones(1, 12, 5), a["R"]]),
        GRU + "input `X` has 3 features, its weight",
    ),
    "no weights": (lambda: with_weights(lambda a: [a["W"]]), "node 'the GRU' (GRU): it has no weights."),
    "dtype": (
        lambda: with_weights(lambda a: [a["W"].astype(float), a["R"]]),
        GRU + "weight `W` is of float64, its sequence of float32.",
    ),
    "half": (
        lambda: with_weights(lambda a: [a["W"].astype(np.float16), a["R"]]),
        "tensor 'constant0' holds FLOAT16, and what is read is FLOAT, INT32, INT64, BOOL, DOUBLE.",
    ),
    "weights given": (weights_given, "node 'the RNN' (RNN): its weight `W` is no constant."),
    "unknown operator": (
        lambda: with_head(lambda g, y: g("Softmax", y)),
        "node 'the Softmax' (Softmax): the operator Softmax is not read: only recurrent layers with one dense layer on "
        "top are.\n  End the exported model there, and apply the rest to its predictions.",
    ),
    "other domain": (
        lambda: with_head(lambda g, y: g("Gemm", y, domain="other")),
        "node 'the Gemm' (Gemm): its operator is of the domain 'other', and what is read is ONNX's own.",
    ),
    "dense below": (dense_below, "(MatMul): it is dense, and reads no states of a recurrent node: one dense layer on"),
    "two dense": (two_dense, "(MatMul): it is dense, and reads no states of a recurrent node"),
    "two outputs": (two_outputs, "are of two dense layers; one is read."),
    "sum": (
        lambda: with_head(lambda g, y: g("Add", y, y)),
        "(Add): it adds, and what is read is a bias added to a dense",
    ),
    "two biases": (
        lambda: with_head(lambda g, y: g("Add", g("Add", g("MatMul", y, ones(4, 2)), ones(2)), ones(2))),
        "(Add): it adds something else than one bias to a dense layer.",
    ),
    "bias": (
        lambda: with_head(lambda g, y: g("Add", g("MatMul", y, ones(4, 2)), ones(5, 2))),
        "(Add): its bias has shape (5, 2), expected (2,).",
    ),
    "dense shape": (
        lambda: with_head(lambda g, y: g("MatMul", y, ones(3, 2))),
        "(MatMul): its weight has shape (2, 3), its input 4 features.",
    ),
    "no matrix": (
        lambda: with_head(lambda g, y: g("MatMul", y, ones(4))),
        "(MatMul): its second input is no matrix of con",
    ),
    "alpha of Gemm": (
        lambda: with_head(lambda g, y: g("Gemm", g("Reshape", y, [-1, 4]), ones(4, 2), alpha=2.0)),
        "(Gemm): its attribute `alpha` is 2, and what is read is 1.",
    ),
    "transA of Gemm": (
        lambda: with_head(lambda g, y: g("Gemm", g("Reshape", y, [-1, 4]), ones(4, 2), transA=1)),
        "(Gemm): its attribute `transA` is 1, and what is read is 0.",
    ),
    "Gemm of three axes": (
        lambda: with_head(lambda g, y: g("Gemm", y, ones(4, 2))),
        "(Gemm): it does not multiply (rows,",
    ),
    "part of the features": (
        lambda: with_head(lambda g, y: g("Slice", y, [0], [2], [2])),
        "(Slice): it takes features 0 to 2, not those of whole directions.",
    ),
    "part of the steps": (
        lambda: with_head(lambda g, y: g("Slice", y, [1], [MAX], [0])),
        "(Slice): it takes entries 1:2147483647:1 of axis 0, which is not followed.",
    ),
    "part of the batch": (
        lambda: with_head(lambda g, y: g("Gather", y, [0], axis=1)),
        "(Gather): it takes entries [0] of axis 1, which is not followed.",
    ),
    "other order of axes": (
        lambda: with_head(lambda g, y: g("Transpose", y, perm=[1, 0, 2])),
        "are not (time, batch, features), as those of its input say.",
    ),
    "other order of four": (
        lambda: with_head(lambda g, y: g("Transpose", "GRU0.0", perm=[2, 1, 0, 3])),
        "are not (time, batch, features), as those of its input say.",
    ),
    "no order": (
        lambda: with_head(lambda g, y: g("Transpose", y, perm=[0, 0, 2])),
        "`perm` is [0, 0, 2], no order of 3",
    ),
    "reshape": (
        lambda: with_head(lambda g, y: g("Reshape", y, [0, 0, 2, 2])),
        "(Reshape): it makes (x[0], x[1], 2, 2) of (x[0], x[1], 4), which cuts or merges axes in no known way.",
    ),
    "two open sizes": (lambda: with_head(lambda g, y: g("Reshape", y, [-1, -1, 4])), "has more than one -1."),
    "squeezed time": (
        lambda: with_head(lambda g, y: g("Squeeze", y, [0]), rank=2),
        "(Squeeze): it removes axis 0, which is time, batch or features and not of one entry only.",
    ),
    "axis": (
        lambda: with_head(lambda g, y: g("Squeeze", y, [7])),
        "(Squeeze): it names axis 7 of a tensor with 3 axes.",
    ),
    "cast": (lambda: with_head(lambda g, y: g("Cast", y, to=11)), "(Cast): it casts results of the graph, or to the"),
    "filled": (
        filled,
        "(ConstantOfShape): it makes constants of 1.0, and only zeros are read: initial states.",
    ),
    "training": (
        lambda: with_head(lambda g, y: g("Dropout", y, ones(), np.array(True))),
        "(Dropout): its input `training_mode` is not false.\n  Export the model for inference.",
    ),
    "fixed size": (
        lambda: with_head(lambda g, y: g("Reshape", g("Reshape", y, [5, -1, 4]), [6, -1, 4])),
        "cuts or merges axes in no known way",
    ),
    "skipping": (skipping, "it is no part of one stack: it reads not what the layer below gives, or not alone."),
    "two inputs": (two_inputs, "(RNN): it reads the input 'z', the nodes before read 'x'."),
    "one direction": (one_direction, "is none that a layer has: steps of a lower layer, or of one direction."),
    "mean of states": (mean_of_states, "(ReduceMean): it is not over the time of a recurrent node's steps."),
    "mean over the batch": (
        lambda: with_head(lambda g, y: g("ReduceMean", y, axes=[1])),
        "(ReduceMean): it is not over the time of a recurrent node's steps.",
    ),
    "lower output": (lower_output, "is none that a layer has: steps of a lower layer, or of one direction."),
    "time is batch": (time_is_batch, "(RNN): it takes for time what is batch to the nodes before."),
    "directions of two kinds": (directions_of_two_kinds, "it differs in kind or size from what it is joined with"),
    "direction": (
        lambda: plain(direction="both"),
        LSTM + "attribute `direction` is 'both', and what exists is forward",
    ),
    "made by none": (lambda: renamed("nowhere", "out"), "its input 'nowhere' is made by no node before it."),
    "made twice": (lambda: renamed("Squeeze1.0", "x"), "its output 'x' is there already."),
    "no output": (lambda: changed(lambda m: m.graph.ClearField("output")), "its graph has no outputs."),
    "output unknown": (
        lambda: changed(lambda m: setattr(m.graph.output[0], "name", "z")),
        "its output 'z' is made by no node.",
    ),
    "output is a constant": (
        lambda: changed(lambda m: setattr(m.graph.output[0], "name", "constant0")),
        "its output 'constant0' does not depend on the input.",
    ),
    "output is the input": (
        lambda: changed(lambda m: setattr(m.graph.output[0], "name", "x")),
        "depend on no RNN, LSTM",
    ),
    "no recurrence": (lambda: changed(lambda m: m.graph.ClearField("node")), "it has no RNN, LSTM or GRU node."),
    "two of a name": (
        lambda: changed(lambda m: setattr(m.graph.initializer[1], "name", "constant0")),
        "two of its initializers have the same name.",
    ),
    "sparse": (
        lambda: changed(lambda m: m.graph.sparse_initializer.add()),
        "it has sparse initializers, which are not read.\n  Store them dense.",
    ),
    "no graph": (lambda: changed(lambda m: m.ClearField("graph")), "it has no graph, so it is no ONNX model."),
    "old": (
        lambda: changed(lambda m: setattr(m.opset_import[0], "version", 6)),
        "of version 6, and what is read is 7 to",
    ),
    "new": (
        lambda: changed(lambda m: setattr(m.opset_import[0], "version", 999)),
        "of version 999, and what is read is",
    ),
    "no version": (lambda: changed(lambda m: m.ClearField("opset_import")), "it names 0 versions of ONNX's operators"),
    "open features": (
        lambda: changed(lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].ClearField("dim_value")),
        "its input 'x' has 0 features; a model says how many, as its weights do.",
    ),
    "axes of the input": (
        lambda: changed(lambda m: m.graph.input[0].type.tensor_type.shape.dim.add()),
        "its input 'x' has 4 axes and element type 1, expected 3 axes of FLOAT or DOUBLE.",
    ),
    "whole numbers": (
        lambda: changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 7)),
        "its input 'x' has 3 axes and element type 7, expected 3 axes of FLOAT or DOUBLE.",
    ),
    "notes no JSON": (lambda: noted("{"), "its metadata `numrnn` are not understood: "),
    "notes of the future": (
        lambda: noted('{"version": 2}'),
        "its metadata `numrnn` are not understood: they are of version 2, and this numrnn reads 1.",
    ),
    "notes of other layers": (
        lambda: noted(NOTES % '{"num_layers": 2, "dropout": 0.0}'),
        "its metadata speak of 2 layers, its graph has 1.",
    ),
    "notes of no number": (
        lambda: noted(NOTES % '{"num_layers": 1e9, "dropout": 0}'),
        "1000000000.0 is no number of lay",
    ),
    "notes of no rate": (lambda: noted(NOTES % '{"num_layers": 1, "dropout": 7}'), "7 is no rate of dropout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(name):
    make, text = REFUSED[name]
    model = make()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        numrnn.from_onnx(model)
    assert str(caught.value).startswith("from_onnx: ")
    assert text in str(caught.value)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"`source` should be a path or an onnx\.ModelProto, got int 3"):
        numrnn.from_onnx(3)
    with pytest.raises(FileNotFoundError):
        numrnn.from_onnx(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError):
        numrnn.from_onnx(tmp_path)
