"""The reference against closed forms, finite differences and PyTorch; fast code is then compared with the reference."""

from typing import Any

import numpy as np
import pytest
from cases import (
    EMPTY_CASES,
    TORCH_CASES,
    TORCH_CELLS,
    Array,
    Case,
    assert_close,
    construct,
    make_parameters,
    make_problem,
    numerical_gradients,
    random_cases,
    reference_answers,
    reference_trace,
    torch_answers,
)
from scipy.special import expit

from numrnn import reference
from numrnn.cellspec import BUILT_IN, CELLS, CellSpec, parameter_shapes

SPECS = tuple(CELLS[name] for name in BUILT_IN)
LSTM, GRU, GRU_RESET_BEFORE, RNN_TANH, RNN_RELU = SPECS
TINY = [
    Case(cell, N=2, T=3, I=2, H=3, **options)
    for cell in BUILT_IN
    for options in (
        {"bias": False},
        {"num_layers": 2},
        {"num_layers": 2, "bidirectional": True, "lengths": "some_empty"},
        {"num_layers": 2, "lengths": "ragged", "resets": True},
    )
]
TINY += [
    Case("lstm", N=2, T=3, I=2, H=4, proj_size=3, **options)
    for options in ({"bias": False}, {"num_layers": 2, "bidirectional": True, "lengths": "ragged"}, {"resets": True})
]


def biases_only(spec: CellSpec, **values: float) -> dict[str, Array]:
    """One hidden unit, one input, zero weights, and the given input biases by gate."""
    parameters = {name: np.zeros(shape) for name, shape in parameter_shapes(spec, 1, 1, 1, bias=True).items()}
    parameters["bias_ih_l0"][:] = [values.get(gate, 0.0) for gate in spec.gates]
    return parameters


# --- closed forms


def test_sigmoid_is_the_logistic_function():
    x = np.linspace(-700, 700, 2801)
    np.testing.assert_allclose(reference.sigmoid(x), expit(x), rtol=1e-15)
    np.testing.assert_array_equal(reference.sigmoid(np.array([-np.inf, 0.0, np.inf, np.nan])), [0, 0.5, 1, np.nan])


def test_lstm_with_constant_gates_is_a_geometric_series():
    """c_t = f^t c_0 + i g (1 - f^t) / (1 - f) and h_t = o tanh(c_t)."""
    parameters = biases_only(LSTM, i=0.3, f=1.1, g=-0.7, o=0.4)
    i, f, g, o = expit(0.3), expit(1.1), np.tanh(-0.7), expit(0.4)
    t = np.arange(1, 9)
    c = f**t * 2.0 + i * g * (1 - f**t) / (1 - f)
    trace = reference.forward(LSTM, parameters, np.zeros((8, 1, 1)), np.full((1, 1, 1), 5.0), np.full((1, 1, 1), 2.0))
    np.testing.assert_allclose(trace.layers[0].states["c"][1:, 0, 0], c, rtol=1e-14)
    np.testing.assert_allclose(trace.output[:, 0, 0], o * np.tanh(c), rtol=1e-14)


def test_gru_with_constant_gates_decays_to_its_candidate():
    """h_t = n + z^t (h_0 - n), with n = tanh(b_in + r b_hn): the reset gate scales the recurrent bias too."""
    parameters = biases_only(GRU, r=0.2, z=-0.5, n=0.3)
    parameters["bias_hh_l0"][2] = 0.9
    z, n = expit(-0.5), np.tanh(0.3 + expit(0.2) * 0.9)
    trace = reference.forward(GRU, parameters, np.zeros((8, 1, 1)), np.full((1, 1, 1), 2.0))
    np.testing.assert_allclose(trace.output[:, 0, 0], n + z ** np.arange(1, 9) * (2.0 - n), rtol=1e-14)


def test_reset_before_gru_scales_the_state_and_not_the_bias():
    """One step by hand: n = tanh(b_in + w_hn (r h_0) + b_hn)."""
    parameters = biases_only(GRU_RESET_BEFORE, r=0.2, z=-0.5, n=0.3)
    parameters["weight_hh_l0"][2] = -0.7
    parameters["bias_hh_l0"][2] = 0.9
    r, z, h_0 = expit(0.2), expit(-0.5), 2.0
    n = np.tanh(0.3 - 0.7 * (r * h_0) + 0.9)
    trace = reference.forward(GRU_RESET_BEFORE, parameters, np.zeros((1, 1, 1)), np.full((1, 1, 1), h_0))
    np.testing.assert_allclose(trace.output.item(), (1 - z) * n + z * h_0, rtol=1e-15)


def test_both_grus_agree_where_the_reset_gate_is_open():
    case = Case("gru", N=3, T=4, I=2, H=5)
    problem, parameters = make_problem(case), make_parameters(case)
    parameters["bias_ih_l0"][:5] = 1000.0
    after, before = (reference.forward(spec, parameters, problem.x, problem.h_0) for spec in (GRU, GRU_RESET_BEFORE))
    np.testing.assert_allclose(before.output, after.output, rtol=1e-13)


def test_projection_with_constant_gates_is_a_product():
    """h_t = W_hr o tanh(c_t), with c_t as without the projection."""
    parameters = {name: np.zeros(shape) for name, shape in parameter_shapes(LSTM, 1, 3, 1, True, 1, 2).items()}
    parameters["bias_ih_l0"][:] = np.repeat([0.3, 1.1, -0.7, 0.4], 3)
    parameters["weight_hr_l0"][:] = [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]
    i, f, g, o = expit(0.3), expit(1.1), np.tanh(-0.7), expit(0.4)
    c_n = f**4 * 2.0 + i * g * (1 - f**4) / (1 - f)
    h_0, c_0 = np.full((1, 1, 2), 5.0), np.full((1, 1, 3), 2.0)
    trace = reference.forward(LSTM, parameters, np.zeros((4, 1, 1)), h_0, c_0)
    np.testing.assert_allclose(trace.c_n, np.full((1, 1, 3), c_n), rtol=1e-14)
    np.testing.assert_allclose(trace.h_n[0, 0], o * np.tanh(c_n) * np.array([6.0, -0.5]), rtol=1e-14)


def running_sum(x: Array, **options: Any) -> reference.Trace:
    """h_t = h_{t-1} + x_t, for positive x of one feature; a second direction does the same."""
    names = ("weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse")
    return reference.forward(RNN_RELU, dict.fromkeys(names, np.ones((1, 1))), x[:, :, None], **options)


def test_each_row_of_the_reverse_direction_begins_at_its_own_end():
    x = np.array([[1.0, 2.0, 4.0, 8.0], [16.0, 32.0, np.nan, np.nan], [np.nan] * 4]).T
    trace = running_sum(x, num_directions=2, lengths=[4, 2, 0], h_0=[[[100.0], [200.0], [300.0]], [[0.0]] * 3])
    forth, back = np.moveaxis(trace.output, -1, 0)
    np.testing.assert_array_equal(forth.T, [[101, 103, 107, 115], [216, 248, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(back.T, [[15, 14, 12, 8], [48, 32, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(trace.h_n[..., 0], [[115, 248, 300], [15, 48, 0]])


def test_resets_begin_anew_and_cut_the_gradient():
    resets = np.array([[True, False, False, True], [False, False, True, False]]).T
    trace = running_sum(np.array([[1.0, 2.0, 4.0, 8.0]] * 2).T, resets=resets, h_0=[[[100.0], [200.0]]])
    np.testing.assert_array_equal(trace.output[..., 0].T, [[1, 3, 7, 8], [201, 203, 4, 12]])
    d_x, d_h_0, _, _ = reference.backward(trace, d_output=np.ones((4, 2, 1)))
    np.testing.assert_array_equal(d_x[..., 0].T, [[3, 2, 1, 1], [2, 1, 2, 1]])
    np.testing.assert_array_equal(d_h_0.ravel(), [0, 2])


def test_rnn_relu_with_positive_numbers_is_a_linear_filter():
    """h_t = sum_s a^(t-s) x_s."""
    x = np.arange(1.0, 7.0)
    parameters = {"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.full((1, 1), 0.5)}
    trace = reference.forward(RNN_RELU, parameters, x[:, None, None])
    expected = [sum(0.5 ** (t - s) * x[s] for s in range(t + 1)) for t in range(6)]
    np.testing.assert_array_equal(trace.output[:, 0, 0], expected)


def test_rnn_relu_has_slope_zero_at_zero():
    parameters = {"weight_ih_l0": np.ones((1, 1)), "weight_hh_l0": np.ones((1, 1))}
    trace = reference.forward(RNN_RELU, parameters, np.zeros((1, 1, 1)))
    d_x, *_ = reference.backward(trace, d_h_n=np.ones((1, 1, 1)))
    np.testing.assert_array_equal(d_x, np.zeros((1, 1, 1)))


def test_rnn_tanh_adds_both_biases():
    parameters = biases_only(RNN_TANH, h=0.25)
    parameters["bias_hh_l0"][:] = 0.5
    trace = reference.forward(RNN_TANH, parameters, np.zeros((1, 1, 1)))
    assert trace.output.item() == np.tanh(0.75)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_stack_is_its_layers_one_after_another(spec):
    case = Case(spec.name, N=3, T=4, I=2, H=5, num_layers=2)
    problem, parameters = make_problem(case), make_parameters(case)
    lower = {name: value for name, value in parameters.items() if name.endswith("l0")}
    upper = {name.replace("l1", "l0"): value for name, value in parameters.items() if name.endswith("l1")}
    h_0, c_0 = problem.h_0, problem.c_0
    first = reference.forward(spec, lower, problem.x, h_0[:1], None if c_0 is None else c_0[:1])
    second = reference.forward(spec, upper, first.output, h_0[1:], None if c_0 is None else c_0[1:])
    both = reference.forward(spec, parameters, problem.x, h_0, c_0, num_layers=2)
    np.testing.assert_array_equal(both.output, second.output)
    np.testing.assert_array_equal(both.h_n, [first.h_n[0], second.h_n[0]])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_saved_values_are_named_by_the_table(spec):
    """Each saved value comes from its own gate's rows: the gate with a large bias saturates, no other moves."""
    for gate in spec.saved[: spec.num_gates]:
        trace = reference.forward(spec, biases_only(spec, **{gate: 50.0}), np.zeros((1, 1, 1)))
        saved = {name: value.item() for name, value in trace.layers[0].saved.items()}
        rest = {name: 0.0 if name in ("g", "n", "hn") else 0.5 for name in spec.saved}
        assert saved == pytest.approx(rest | {gate: 1.0})


# --- gradients


@pytest.mark.parametrize("case", TINY, ids=str)
def test_every_gradient_is_the_finite_difference(case):
    def results(problem, parameters):
        trace = reference_trace(case, problem, parameters)
        return {"output": trace.output, "h_n": trace.h_n, "c_n": trace.c_n}

    problem, parameters = make_problem(case), make_parameters(case)
    answers = reference_answers(case, problem, parameters)
    numerical = numerical_gradients(results, problem, parameters)
    assert_close({name: answers[name] for name in answers if name.startswith("d_")}, numerical, 1e-8)


@pytest.mark.parametrize("case", EMPTY_CASES, ids=str)
def test_nothing_to_do_hands_states_and_their_cotangents_through(case):
    problem = make_problem(case)
    answers = reference_answers(case, problem, make_parameters(case))
    if case.T == 0:
        np.testing.assert_array_equal(answers["h_n"], problem.h_0)
        np.testing.assert_array_equal(answers["d_h_0"], problem.d_h_n)
    assert all(not value.any() for name, value in answers.items() if name.startswith(("d_weight", "d_bias")))


# --- PyTorch


@pytest.mark.torch
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_reference_agrees_with_pytorch(cell):
    pytest.importorskip("torch")
    for case in (*random_cases(1, 60, [cell]), *(case for case in TORCH_CASES if case.cell == cell)):
        problem, parameters = make_problem(case), make_parameters(case)
        assert_close(reference_answers(case, problem, parameters), torch_answers(case, problem, parameters), 1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("case", [case for case in TINY if case.cell in TORCH_CELLS], ids=str)
def test_parameters_have_pytorch_names_shapes_and_order(case):
    torch = pytest.importorskip("torch")
    theirs = [(name, tuple(value.shape)) for name, value in construct(torch.nn, case).named_parameters()]
    assert list(case.parameter_shapes.items()) == theirs


# --- ONNX Runtime, for the GRU that PyTorch has not


def onnx_gru(case: Case, parameters: dict[str, Array], *inputs: Array) -> list[Array]:
    """`Y` (T, D, N, H) and `Y_h` (D, N, H) of the ONNX operator on x, lengths and the initial state, in float32."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    suffixes = ("l0", "l0_reverse")[: case.num_directions]

    def stacked(*names: str) -> Array:
        """Blocks z, r, n from our r, z, n, directions outermost."""
        blocks = [[np.split(parameters[f"{name}_{suffix}"], 3) for name in names] for suffix in suffixes]
        return np.stack([np.concatenate([side[k] for side in sides for k in (1, 0, 2)]) for sides in blocks])

    weights = {"W": stacked("weight_ih"), "R": stacked("weight_hh"), "B": stacked("bias_ih", "bias_hh")}
    types = {"X": onnx.TensorProto.FLOAT, "lengths": onnx.TensorProto.INT32, "start": onnx.TensorProto.FLOAT}
    direction = "bidirectional" if case.bidirectional else "forward"
    node = onnx.helper.make_node(
        "GRU",
        ["X", "W", "R", "B", "lengths", "start"],
        ["Y", "Y_h"],
        hidden_size=case.H,
        direction=direction,
        linear_before_reset=0,
    )
    graph = onnx.helper.make_graph(
        [node],
        "gru",
        [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("Y", "Y_h")],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, dict(zip(types, inputs, strict=True)))
    return results


@pytest.mark.parametrize("bidirectional", [False, True])
def test_reset_before_gru_agrees_with_onnx_runtime(bidirectional):
    case = Case("gru_reset_before", N=5, T=7, I=4, H=9, bidirectional=bidirectional, lengths="ragged")
    problem, parameters = make_problem(case), make_parameters(case)
    x = problem.padded_with(0.0).x.astype(np.float32)
    y, y_h = onnx_gru(case, parameters, x, problem.lengths.astype(np.int32), problem.h_0.astype(np.float32))
    trace = reference_trace(case, problem, parameters)
    np.testing.assert_allclose(np.moveaxis(y, 1, 2).reshape(trace.output.shape), trace.output, atol=1e-6)
    np.testing.assert_allclose(y_h, trace.h_n, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_gate_orders_are_permutations(spec):
    for order in spec.gate_order.values():
        assert sorted(order) == list(range(spec.num_gates))
    assert spec.gate_order["torch"] == tuple(range(spec.num_gates))
