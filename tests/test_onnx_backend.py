"""The ONNX backend: the specification's own cases, random nodes against two evaluators, and what it refuses."""

import warnings
import zlib

import numpy as np
import pytest

import numrnn

onnx = pytest.importorskip("onnx")

from onnx_nodes import Case, random_case, slow  # noqa: E402

from numrnn.onnx_backend import is_compatible, prepare, run_model, run_node, supports_device  # noqa: E402

OPERATORS = ("RNN", "LSTM", "GRU")
SUITE = """
    simple_rnn_defaults simple_rnn_with_initial_bias rnn_seq_length simple_rnn_batchwise simple_rnn_reverse
    simple_rnn_bidirectional lstm_defaults lstm_with_initial_bias lstm_with_peepholes lstm_batchwise lstm_reverse
    lstm_bidirectional gru_defaults gru_with_initial_bias gru_seq_length gru_batchwise gru_reverse gru_bidirectional
""".split()
vi = onnx.helper.make_tensor_value_info


@pytest.fixture(scope="module")
def suite():
    """ONNX's node cases, by name; making them overflows here and there."""
    from onnx.backend.test import loader

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {case.name.removeprefix("test_"): case for case in loader.load_model_tests(kind="node")}


@pytest.mark.parametrize("name", SUITE)
def test_the_recurrent_cases_of_onnx_pass(suite, name):
    """All 18, a hundred times tighter than the suite asks."""
    case = suite[name]
    prepared = prepare(case.model)
    assert prepared.engine == ("numpy" if "peepholes" in name else "kernels")
    for inputs, outputs in case.data_sets:
        for got, expected in zip(prepared.run(inputs), outputs, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_no_recurrent_case_of_onnx_is_missing(suite):
    recurrent = [name for name in suite if any(word in name for word in ("rnn", "lstm", "gru"))]
    assert sorted(recurrent) == sorted(SUITE)


def test_onnx_s_own_runner_takes_the_module():
    """The runner asks `is_compatible`, prepares, runs and compares by itself."""
    import unittest

    from onnx.backend.test import BackendTest

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        runner = BackendTest(numrnn.onnx_backend, __name__).include("test_gru_(reverse|batchwise)_cpu")
        result = unittest.TestResult()
        runner.test_suite.run(result)
    assert result.wasSuccessful()
    assert result.testsRun - len(result.skipped) == 2


def cases(dtype: str, n: int, **options) -> list[Case]:
    rng = np.random.default_rng(zlib.crc32(f"{dtype} {options}".encode()))
    return [random_case(rng, OPERATORS[k % 3], dtype, **options) for k in range(n)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("plain", [False, True])
def test_random_nodes_agree_with_single_numbers_in_loops(dtype, tolerance, plain):
    engines = set()
    for case in cases(dtype, 60, plain=plain):
        prepared = prepare(case.model())
        engines.add(prepared.engine)
        for got, expected in zip(prepared.run(case.arrays), slow(case), strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=str(case.attributes))
    assert engines == ({"kernels"} if plain else {"kernels", "numpy"})


@pytest.mark.peers
def test_random_nodes_agree_with_onnx_runtime():
    """Where it accepts them: float32, layout 0; and where its missing defaults of alpha and beta play no part."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    compared = 0
    for case in [*cases("float32", 600), *cases("float32", 150, plain=True)]:
        if case.attributes["layout"] or case.has_open_defaults:
            continue
        model = case.model()
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        expected = session.run(None, case.arrays)
        if not max(np.abs(one).max() for one in expected) < 30:  # unbounded activations: rounding grows with the states
            continue
        for got, one in zip(run_model(model, case.arrays), expected, strict=True):
            np.testing.assert_allclose(got, one, rtol=2e-5, atol=2e-5, err_msg=str(case.attributes))
        compared += 1
    assert compared > 300


def test_a_row_without_steps_ends_with_its_initial_state(rng):
    for op in OPERATORS:
        for plain in (True, False):
            case = random_case(rng, op, plain=plain)
            while "initial_h" not in case.arrays or case.attributes["layout"]:
                case = random_case(rng, op, plain=plain)
            n_rows = case.arrays["X"].shape[1]
            case.arrays["sequence_lens"] = np.zeros(n_rows, np.int32)
            y, y_h, *_ = prepare(case.model()).run(case.arrays)
            np.testing.assert_array_equal(y, 0)
            np.testing.assert_array_equal(y_h, case.arrays["initial_h"])


def plain_case(op="LSTM", **attributes):
    """A node of 2 inputs and 3 units, with all its inputs; two steps of four rows."""
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[op]
    rng = np.random.default_rng(0)
    shapes = {"X": (2, 4, 2), "W": (1, 3 * gates, 2), "R": (1, 3 * gates, 3), "initial_h": (1, 4, 3)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    return Case(op, attributes, arrays, [False], [], outputs, False)


def test_nodes_run_alone_by_order_and_by_name():
    case = plain_case()
    expected = prepare(case.model()).run(case.arrays)
    by_order = run_node(case.node(), list(case.arrays.values()), opset_version=14)
    by_name = run_node(case.node(), case.arrays, outputs_info=[(np.float32, each.shape) for each in expected])
    for one, two, three in zip(expected, by_order, by_name, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    np.testing.assert_array_equal(by_order.Y_c, by_order["Y_c"])
    squeezed = run_node(onnx.helper.make_node("Squeeze", ["a", "axes"], ["b"]), [np.ones((1, 2)), np.array([0])])
    assert squeezed.b.shape == (2,)


def test_outputs_without_a_name_are_not_taken_for_inputs():
    """Two nodes in a row, the first without Y, the second without the optional inputs."""
    first, second = plain_case("GRU"), plain_case("GRU")
    nodes = [
        onnx.helper.make_node("GRU", ["X", "W", "R"], ["", "first"]),
        onnx.helper.make_node("GRU", ["X", "W", "R", "", "", "first"], ["", "second"]),
    ]
    inputs = [vi(name, 1, [None] * 3) for name in "XWR"]
    graph = onnx.helper.make_graph(nodes, "two", inputs, [vi("second", 1, [None] * 3)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    del first.arrays["initial_h"]
    (middle,) = run_node(nodes[0], first.arrays)
    second.arrays["initial_h"] = middle
    expected = run_node(second.node(), second.arrays)[1]
    np.testing.assert_array_equal(run_model(model, first.arrays).second, expected)


def test_other_operators_and_changing_weights():
    """Weights are the graph's inputs: a second call has others. A Mul behind the node is onnx's own."""
    case = plain_case("RNN")
    model = case.model()
    model.graph.node.append(onnx.helper.make_node("Mul", ["Y_h", "Y_h"], ["square"]))
    model.graph.output.append(vi("square", 1, [None] * 3))
    prepared = prepare(model)
    for scale in (1.0, 0.5):
        arrays = case.arrays | {"W": (scale * case.arrays["W"]).astype(np.float32)}
        y, y_h, square = prepared.run(arrays)
        np.testing.assert_array_equal(square, y_h * y_h)
        np.testing.assert_array_equal(y, run_node(case.node(), arrays).Y)
    assert prepared.engines == [("", "kernels", None)]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"clip": 2.0}, "`clip` is 2"),
        ({"input_forget": 1}, "`input_forget` is 1"),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, "`activations` are sigmoid, relu, tanh"),
    ],
    ids=["clip", "input_forget", "activations"],
)
def test_a_prepared_model_says_what_computes_it_and_why(attributes, reason):
    prepared = prepare(plain_case(**attributes).model())
    assert prepared.engine == "numpy"
    assert prepared.engines == [("", "numpy", reason)]
    assert prepare(plain_case(activations=["sigmoid", "TANH", "Tanh"]).model()).engine == "kernels"


def test_models_without_and_with_several_kinds_of_nodes():
    model = plain_case("RNN").model()
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Identity", ["X"], ["Y"]))
    model.graph.node.append(onnx.helper.make_node("Identity", ["X"], ["Y_h"]))
    assert prepare(model).engine == "none"
    case = plain_case("RNN")
    model = case.model()
    model.graph.node.append(onnx.helper.make_node("RNN", ["X", "W", "R"], ["other"], name="clipped", clip=1.0))
    prepared = prepare(model)
    assert prepared.engine == "mixed"
    assert prepared.engines[1] == ("clipped", "numpy", "`clip` is 1")


def graph_of(nodes, outputs, inputs=()):
    return onnx.helper.make_graph(nodes, "graph", [vi(*each) for each in inputs], [vi(*each) for each in outputs])


def test_an_attribute_that_is_a_parameter_of_a_function_is_refused_as_such():
    node = onnx.helper.make_node("GRU", ["x", "w", "r"], ["", "h"], name="inner")
    node.attribute.add(name="direction", ref_attr_name="way", type=onnx.AttributeProto.STRING)
    imports = [onnx.helper.make_opsetid("", 14), onnx.helper.make_opsetid("own", 1)]
    function = onnx.helper.make_function("own", "Any", ["x", "w", "r"], ["h"], [node], imports[:1], ["way"])
    call = onnx.helper.make_node("Any", ["X", "W", "R"], ["h"], domain="own", way="reverse")
    graph = graph_of([call], [("h", 1, [None] * 3)], [(name, 1, [None] * 3) for name in "XWR"])
    model = onnx.helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=8)
    text = r"'inner' \(GRU\): its attribute `direction` is the function's parameter `way`, which is not read.\n.*inline"
    with pytest.raises(ValueError, match=text):
        prepare(model)
    onnx.checker.check_model(model)
    assert prepare(pytest.importorskip("onnx.inliner").inline_local_functions(model)).engine == "kernels"


def test_nodes_inside_others_are_named_and_computed_too():
    """Of a condition, whose branches differ, and of a function, which sets an attribute of its own; all sit inside."""
    make = onnx.helper.make_node
    then = graph_of([make("GRU", ["X", "W", "R"], ["", "a"], name="inner", clip=2.0)], [("a", 1, [None] * 3)])
    other = graph_of([make("Identity", ["X"], ["x"]), make("GRU", ["x", "W", "R"], ["", "b"])], [("b", 1, [None] * 3)])
    imports = [onnx.helper.make_opsetid("", 14), onnx.helper.make_opsetid("own", 1)]
    turned = make("GRU", ["x", "w", "r"], ["", "h"], name="of a function", direction="reverse", linear_before_reset=1)
    function = onnx.helper.make_function("own", "Turned", ["x", "w", "r"], ["h"], [turned], imports[:1])
    nodes = [
        make("If", ["flag"], ["c"], then_branch=then, else_branch=other),
        make("GRU", ["X", "W", "R"], ["", "d"], name="top"),
        make("Turned", ["X", "W", "R"], ["e"], domain="own"),
    ]
    inputs = [("X", 1, [None] * 3), ("W", 1, [None] * 3), ("R", 1, [None] * 3), ("flag", 9, [])]
    graph = graph_of(nodes, [(name, 1, [None] * 3) for name in "cde"], inputs)
    model = onnx.helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=8)
    prepared = prepare(model)
    found = {name: (engine, reason) for name, engine, reason in prepared.engines}
    kernels = ("kernels", None)
    assert found == {"inner": ("numpy", "`clip` is 2"), "": kernels, "top": kernels, "of a function": kernels}
    assert prepared.engine == "mixed"
    arrays = {name: value for name, value in plain_case("GRU").arrays.items() if name in "XWR"}
    arrays["X"] = np.concatenate([arrays["X"]] * 2)
    clipped = make("GRU", ["X", "W", "R"], ["", "h"], clip=2.0)
    for flag, branch in ((True, clipped), (False, nodes[1])):
        c, d, e = prepared.run(arrays | {"flag": np.array(flag)})
        np.testing.assert_array_equal(c, run_node(branch, arrays)[0])
        np.testing.assert_array_equal(d, run_node(nodes[1], arrays)[0])
        np.testing.assert_array_equal(e, run_node(turned, list(arrays.values()))[0])


def test_errors_number_nodes_without_a_name_by_their_place_in_the_graph():
    make = onnx.helper.make_node
    nodes = [make("Identity", ["X"], ["x"]), make("RNN", ["x", "W", "R"], ["Y"], activations=["Sin"])]
    inputs = [(name, 1, [None] * 3) for name in "XWR"]
    imports = [onnx.helper.make_opsetid("", 14)]
    model = onnx.helper.make_model(graph_of(nodes, [("Y", 1, [None] * 4)], inputs), opset_imports=imports)
    with pytest.raises(ValueError, match=r"node number 2 \(RNN\): its attribute `activations` has 'Sin'"):
        prepare(model)


def test_devices():
    assert supports_device("CPU")
    assert supports_device("CPU:0")
    assert not supports_device("CUDA")
    model = plain_case().model()
    assert is_compatible(model)
    assert not is_compatible(model, "CUDA")
    with pytest.raises(ValueError, match="`device` should be \"CPU\", got 'CUDA'"):
        prepare(model, "CUDA")


H = 3
REFUSED = {
    "layout": ({"layout": 2}, {}, "its attribute `layout` is 2, and what exists is 0 and 1"),
    "switch": ({"input_forget": 2}, {}, "its attribute `input_forget` is 2, and what exists is 0 and 1"),
    "clip": ({"clip": -1.0}, {}, "its attribute `clip` is -1, and a bound is a positive number"),
    "direction": ({"direction": "sideways"}, {}, "its attribute `direction` is 'sideways'"),
    "number": ({"activations": ["Tanh"]}, {}, "its attribute `activations` has 1 names, expected 3 for each of 1 dir"),
    "activation": (
        {"activations": ["Sin"] * 3},
        {},
        "its attribute `activations` has 'Sin', and what exists is Affine",
    ),
    "alpha": ({"activation_alpha": [1.0]}, {}, "its attribute `activation_alpha` has more values than there are"),
    "hidden": ({"hidden_size": 4}, {}, "its attribute `hidden_size` is 4, its weights have 3"),
    "axes": ({}, {"X": (2, 2)}, "its inputs `X` and `W` have 2 and 3 axes, expected 3"),
    "W": ({}, {"W": (1, 12, 5)}, r"its input `W` has shape \(1, 12, 5\), expected \(1, 12, 2\)"),
    "R": ({}, {"R": (1, 12, 4)}, r"its input `R` has shape \(1, 12, 4\), expected \(1, 12, 3\)"),
    "B": ({}, {"B": (1, 12)}, r"its input `B` has shape \(1, 12\), expected \(1, 24\)"),
    "P": ({}, {"P": (1, 3)}, r"its input `P` has shape \(1, 3\), expected \(1, 9\)"),
    "initial_c": ({}, {"initial_c": (1, 1, 3)}, r"its input `initial_c` has shape \(1, 1, 3\), expected \(1, 4, 3\)"),
    "features": ({}, {"X": (2, 4, 0), "W": (1, 12, 0)}, r"its input `W` has shape .* none empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_specification_does_not_have_is_refused(name):
    attributes, shapes, text = REFUSED[name]
    case = plain_case(**attributes)
    case.arrays |= {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    with pytest.raises(ValueError, match=text) as caught:
        run_node(case.node(), {key: case.arrays[key] for key in case.inputs if key})
    assert str(caught.value).startswith("numrnn.onnx_backend: node number 1 (LSTM): its ")


@pytest.mark.parametrize(
    ("name", "array", "text"),
    [
        ("sequence_lens", np.array([1, 2, 3, 0], np.int32), "`sequence_lens` should hold integers from 0 to 2"),
        ("sequence_lens", np.array([1, 2, -1, 0], np.int32), "`sequence_lens` should hold integers from 0 to 2"),
        ("sequence_lens", np.array([1.0, 1, 1, 1]), "`sequence_lens` should hold integers from 0 to 2"),
        ("X", np.zeros((2, 4, 2), np.float16), "its input `X` is of float16, expected float32 or float64"),
        ("W", np.zeros((1, 12, 2)), "its input `W` is of float64, its input `X` of float32"),
    ],
    ids=["long", "negative", "real", "half", "mixed"],
)
def test_inputs_of_the_wrong_kind_are_refused(name, array, text):
    case = plain_case()
    case.arrays[name] = array
    with pytest.raises(ValueError, match=text):
        run_node(case.node(), {key: case.arrays[key] for key in case.inputs if key})


def test_wrong_calls_are_refused():
    case = plain_case()
    prepared, node = prepare(case.model()), case.node()
    with pytest.raises(ValueError, match=r"inputs missing: W; unknown: w\.\n  Expected: X, W, R, initial_h\."):
        prepared.run({name.replace("W", "w"): value for name, value in case.arrays.items()})
    with pytest.raises(ValueError, match="3 inputs were given"):
        prepared.run(list(case.arrays.values())[:3])
    with pytest.raises(TypeError, match="there is no option 'strict'"):
        prepared.run(case.arrays, strict=True)
    with pytest.raises(TypeError, match="there is no option 'strict'"):
        prepare(case.model(), strict=True)
    with pytest.raises(TypeError, match=r"`node` should be an onnx\.NodeProto, got int 3"):
        run_node(3, [])
    with pytest.raises(TypeError, match=r"should be a path or an onnx\.ModelProto, got int 3"):
        prepare(3)
    with pytest.raises(ValueError, match="`outputs_info` does not describe the outputs"):
        run_node(node, case.arrays, outputs_info=[(np.float32, (1,))])
    with pytest.raises(ValueError, match="onnx's checker refuses it"):
        run_node(onnx.helper.make_node("LSTM", ["X", "W"], ["Y"]), list(case.arrays.values())[:2])
    with pytest.raises(ValueError, match="it is of version 3, and what is evaluated is 7 and later"):
        run_node(onnx.helper.make_node("RNN", ["X", "W", "R"], ["Y"]), list(case.arrays.values())[:3], opset_version=3)
    with pytest.raises(ValueError, match="onnx's checker refuses it"):
        prepare(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])))
    unknown = onnx.helper.make_graph(
        [onnx.helper.make_node("Foo", ["X"], ["Y"], domain="bar")], "g", [vi("X", 1, [])], [vi("Y", 1, [])]
    )
    versions = [onnx.helper.make_opsetid("", 14), onnx.helper.make_opsetid("bar", 1)]
    with pytest.raises(ValueError, match="the graph cannot be evaluated"):
        prepare(onnx.helper.make_model(unknown, opset_imports=versions))
