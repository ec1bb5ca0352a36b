"""Answers of the layers against the reference, against finite differences, and in exact integers."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from cases import (
    CASES,
    COTANGENTS,
    EMPTY_CASES,
    Array,
    Case,
    Problem,
    assert_close,
    assert_same_bits,
    construct,
    in_both_dtypes,
    in_layout,
    layer_answers,
    make_layer,
    make_parameters,
    make_problem,
    near_kink,
    numerical_gradients,
    pull,
    random_cases,
    reference_answers,
    result_answers,
)

import numrnn
from numrnn.cellspec import BUILT_IN

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
SMALL = [Case(cell, N=7, T=5, I=6, H=17, num_layers=2) for cell in BUILT_IN]
RANDOM = [
    *random_cases(4, 60, lengths="some_empty"),
    *random_cases(5, 60, ["gru_reset_before"]),
    *random_cases(6, 60, bidirectional=False, resets=True),
]
BOUNDED = [cell for cell in BUILT_IN if cell != "rnn_relu"]


def assert_layer_is_reference(case: Case, problem: Problem, tolerance: float) -> None:
    layer = make_layer(case)
    answers = layer_answers(layer, problem)
    assert {value.dtype.name for value in answers.values()} == {case.dtype}
    assert_close(answers, reference_answers(case, problem, layer.parameters), tolerance)


# --- against the reference


@pytest.mark.parametrize("case", in_both_dtypes(CASES), ids=str)
def test_layer_agrees_with_reference(case):
    problem = make_problem(case)
    if case.dtype == "float32":
        assert not near_kink(case, problem, make_parameters(case)), "choose other numbers"
    assert_layer_is_reference(case, problem, TOLERANCE[case.dtype])


@pytest.mark.parametrize("given", [names for k in range(4) for names in combinations(COTANGENTS, k)], ids="_".join)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_any_subset_of_cotangents(case, given):
    case = replace(case, cotangents=given)
    assert_layer_is_reference(case, make_problem(case), 1e-12)


@pytest.mark.parametrize("case", in_both_dtypes(EMPTY_CASES), ids=str)
def test_no_step_or_no_row_is_legal(case):
    """T=0 hands states and their cotangents through; N=0 has empty answers; gradients of parameters are zero."""
    assert_layer_is_reference(case, make_problem(case), 0.0)


@pytest.mark.parametrize("cell", BOUNDED)
def test_parameter_gradients_over_a_million_rows(cell):
    """Sums of 1e6 addends of one sign stay within 1e-5 of float64's."""
    case = Case(cell, N=100, T=10_000, I=3, H=4, with_state=False, dtype="float32", cotangents=("output",))
    problem = make_problem(case)
    problem = replace(problem, d_output=np.abs(problem.d_output))
    assert_layer_is_reference(case, problem, 1e-5)


@pytest.mark.parametrize("case", RANDOM, ids=str)
def test_layer_agrees_with_reference_on_random_cases(case):
    """What PyTorch has not: resets, rows without a step, the GRU with its reset gate before the product."""
    assert_layer_is_reference(case, make_problem(case), 1e-9)


# --- finite differences

WAYS = ("forward", "bidirectional", "resets", "reversed", "reversed_resets")
DEPTHS = [(1, 0.0), (2, 0.0), (2, 0.5)]  # num_layers, dropout
KINDS = [*((cell, 0) for cell in BUILT_IN), ("lstm", 2)]


class Net:
    """The layer of a case, dropout and `Reversed` around it if wanted, as one function with one set of masks."""

    def __init__(self, case: Case, dropout: float, reverse: bool) -> None:
        self.layer = construct(numrnn, case, batch_first=case.batch_first, dtype=case.dtype, dropout=dropout)
        self.net = numrnn.Reversed(self.layer) if reverse else self.layer
        self.dropout = dropout
        self.parameters = make_parameters(case)
        self.layer.set_parameters(self.parameters)

    def vjp(self, problem: Problem):
        x, options = in_layout(self.layer, problem.x), problem.options(self.layer)
        return self.net.vjp(x, problem.state, **options, **({"seed": 11, "t0": 2, "row0": 1} if self.dropout else {}))

    def results(self, problem: Problem, parameters: dict[str, Array]):
        """Of a plain call, but for dropout, which that has not."""
        self.layer.set_parameters(parameters)
        if self.dropout:
            return result_answers(self.layer, self.vjp(problem)[0])
        x, options = in_layout(self.layer, problem.x), problem.options(self.layer)
        return result_answers(self.layer, self.net(x, problem.state, **options))

    def gradients(self, problem: Problem):
        self.layer.set_parameters(self.parameters)
        return pull(self.layer, self.vjp(problem)[1], problem)


def assert_slopes(loss, leaves: dict[str, Array], gradients: dict[str, Array], rng: np.random.Generator) -> None:
    """The gradient by each leaf, along a random direction, is the central difference of `loss(leaves)`."""
    step = 1e-6
    for name, leaf in leaves.items():
        direction = rng.standard_normal(leaf.shape)
        above, below = (loss(leaves | {name: leaf + s * direction}) for s in (step, -step))
        slopes = gradients[name] * direction
        assert abs(slopes.sum() - (above - below) / (2 * step)) <= 1e-6 * np.abs(slopes).sum() + 1e-8, name


@pytest.mark.parametrize("lengths", ["full", "some_empty"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("num_layers", "dropout"), DEPTHS)
@pytest.mark.parametrize(("cell", "proj_size"), KINDS)
def test_every_gradient_is_the_finite_difference(cell, proj_size, num_layers, dropout, way, lengths):
    """Entry by entry, for every combination of features."""
    options = {"num_layers": num_layers, "proj_size": proj_size, "lengths": lengths, "batch_first": num_layers == 2}
    case = Case(cell, N=2, T=3, I=2, H=3, bidirectional=way == "bidirectional", resets="resets" in way, **options)
    net, problem = Net(case, dropout, "reversed" in way), make_problem(case)
    assert_close(net.gradients(problem), numerical_gradients(net.results, problem, make_parameters(case)), 1e-8)


def products(seed: int, n: int) -> list[tuple[Case, float, bool]]:
    """Random cases of all sizes with resets, dropout and the way through time drawn as well."""
    rng = np.random.default_rng(seed)
    drawn = []
    for case in random_cases(seed, n, N=3):
        resets, dropped, reverse, empty = (rng.random(4) < 0.5).tolist()
        resets &= not case.bidirectional
        reverse &= not case.bidirectional
        lengths = "some_empty" if empty and case.lengths == "ragged" else case.lengths
        dropout = 0.4 if dropped and case.num_layers > 1 else 0.0
        drawn.append((replace(case, resets=resets, lengths=lengths), dropout, reverse))
    return drawn


RANDOM_PRODUCTS = [one for seed in (1, 2, 3) for one in products(seed, 30)]


@pytest.mark.parametrize(("case", "dropout", "reverse"), RANDOM_PRODUCTS, ids=str)
def test_random_slopes_are_the_finite_difference(case, dropout, reverse):
    """Along random directions, for layers of any size."""
    net, problem = Net(case, dropout, reverse), make_problem(case)
    plain = problem.padded_with(0.0)

    def loss(leaves: dict[str, Array]) -> float:
        moved = replace(problem, **{name: leaves[name] for name in ("x", "h_0", "c_0") if name in leaves})
        answers = net.results(moved, {name: leaves[name] for name in net.parameters})
        cotangents = zip(COTANGENTS, (plain.d_output, plain.d_h_n, plain.d_c_n), strict=True)
        return sum(float((answers[name] * d).sum()) for name, d in cotangents if d is not None)

    states = {name: value for name in ("h_0", "c_0") if (value := getattr(problem, name)) is not None}
    gradients = {name.removeprefix("d_"): value for name, value in net.gradients(problem).items()}
    assert_slopes(loss, {"x": plain.x} | states | net.parameters, gradients, case.rng("directions"))


@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=["full", "some_empty"])
@pytest.mark.parametrize("readout_on", ["last", "every"])
@pytest.mark.parametrize("listed", [False, True], ids=["one", "list"])
def test_slopes_of_a_model_with_dropout(listed, readout_on, lengths, rng):
    """One stack of two layers, or two of them one on the other, and a head."""
    deep = {"num_layers": 2, "dropout": 0.4, "dtype": "float64"}
    top = numrnn.LSTM(6 if listed else 3, 5, proj_size=4, seed=1, **deep)
    recurrent = [numrnn.GRU(3, 3, bidirectional=True, seed=2, **deep), top] if listed else top
    model = numrnn.SequenceModel(recurrent, numrnn.Linear(4, 2, dtype="float64", seed=3), readout_on=readout_on)
    x, parameters = rng.standard_normal((4, 3, 3)), dict(model.parameters)
    options = {"lengths": lengths, "seed": 11, "t0": 2, "row0": 1}
    prediction, pullback = model.vjp(x, **options)
    d_prediction = rng.standard_normal(prediction.shape)
    gradients = pullback(d_prediction)

    def loss(leaves: dict[str, Array]) -> float:
        model.set_parameters({name: leaves[name] for name in parameters})
        return float((model.vjp(leaves["x"], **options)[0] * d_prediction).sum())

    assert_slopes(loss, {"x": x} | parameters, {"x": gradients.x} | gradients.parameters, rng)


# --- exact integers: a number in the wrong place is a wrong integer, not a small error


def small_integers(array: Array, rng: np.random.Generator) -> Array:
    """-1, 0 or 1 in place of each number; a matrix has about two of them in a row."""
    density = min(1.0, 2 / array.shape[-1]) if array.ndim == 2 else 0.5
    return (rng.choice([-1, 1], array.shape) * (rng.random(array.shape) < density)).astype(array.dtype)


@pytest.mark.parametrize("case", in_both_dtypes(c for c in CASES if c.cell == "rnn_relu" and c.T < 100), ids=str)
def test_rectified_network_of_integers_is_exact(case):
    """Every product forward and backward, in every order of summation, has one right answer."""
    rng, layer, problem = case.rng("integers"), make_layer(case), make_problem(case)
    layer.set_parameters({name: small_integers(value, rng) for name, value in layer.parameters.items()})
    arrays = {name: getattr(problem, name) for name in ("x", "h_0", "d_output", "d_h_n")}
    integers = {name: None if array is None else small_integers(array, rng) for name, array in arrays.items()}
    problem = replace(problem, **integers).padded_with(np.nan)
    expected = reference_answers(case, problem, layer.parameters)
    assert max(np.abs(value).max() for value in expected.values()) < 2**20  # well inside float32's integers
    assert_same_bits(
        layer_answers(layer, problem), {name: value.astype(case.dtype) for name, value in expected.items()}
    )


ROUTES = ("bias_ih_l0", "bias_hh_l0", "weight_ih_l0", "weight_hh_l0")
PRIMES = np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53])
LARGE = 1000.0  # saturates any gate: sigma is exactly 0 or 1, tanh exactly -1 or 1


def gates_driven_through(route: str, drive: dict[str, Array], case: Case):
    """A layer whose gates see `drive[gate]` (H,) through one parameter alone, if x is 1 and h_0 is 1 in unit 0."""
    layer = make_layer(case)
    parameters = {name: np.zeros_like(value) for name, value in layer.parameters.items()}
    stacked = np.concatenate([drive[gate] for gate in case.spec.gates])
    target = parameters[route]
    target[..., *([0] if target.ndim == 2 else [])] = stacked
    layer.set_parameters(parameters)
    return layer


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("route", ROUTES)
def test_each_gate_of_the_lstm_does_its_own_work(route, dtype):
    """All 16 settings of saturated gates, one a hidden unit: c_n = f c_0 + i g in exact integers, h_n = o tanh(c_n)."""
    case = Case("lstm", N=2, T=1, I=1, H=16, dtype=dtype)
    i, f, o, positive = np.array(list(product([0, 1], repeat=4))).T
    g = 2 * positive - 1
    drive = {"i": (2 * i - 1) * LARGE, "f": (2 * f - 1) * LARGE, "g": g * LARGE, "o": (2 * o - 1) * LARGE}
    layer = gates_driven_through(route, drive, case)
    c_0 = np.broadcast_to(PRIMES, (1, 2, 16))
    result = layer(np.ones((1, 2, 1)), (np.ones((1, 2, 16)), c_0))
    c_n = f * PRIMES + i * g
    np.testing.assert_array_equal(result.c_n, np.broadcast_to(c_n, (1, 2, 16)))
    np.testing.assert_allclose(result.h_n[0, 0], o * np.tanh(c_n), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("candidate", [-1, 1])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("r_values", [(0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize("cell", ["gru", "gru_reset_before"])
def test_each_gate_of_the_gru_does_its_own_work(cell, r_values, route, candidate, dtype):
    """h_n = z h_0 + (1 - z) n in exact integers; the recurrent side of n, and no other, passes through r."""
    case = Case(cell, N=2, T=1, I=1, H=4, dtype=dtype)
    r, z = np.array(list(product(r_values, [0, 1]))).T
    gates = {"r": (2 * r - 1) * LARGE, "z": (2 * z - 1) * LARGE}
    layer = gates_driven_through(route, gates | {"n": np.full(4, candidate * LARGE)}, case)
    h_0 = np.broadcast_to([1, *PRIMES[:3]], (1, 2, 4))
    if cell == "gru":  # r scales the product and its bias
        n = candidate * r if "hh" in route else candidate
    else:  # r scales the state, of which unit 0 alone has a weight
        n = candidate * r[0] if route == "weight_hh_l0" else candidate
    h_n = z * h_0 + (1 - z) * n
    np.testing.assert_array_equal(layer(np.ones((1, 2, 1)), h_0).h_n, h_n)


# --- the edges of the number range


@pytest.mark.parametrize("case", in_both_dtypes(SMALL), ids=str)
def test_huge_input_saturates(case):
    """x of size 1e4: finite answers, without a warning, and right where rounding cannot flip a gate."""
    problem = make_problem(case)
    problem = replace(problem, x=problem.x * 10_000)
    answers = layer_answers(make_layer(case), problem)
    assert all(np.isfinite(value).all() for value in answers.values())
    if case.cell in BOUNDED:
        assert np.abs(answers["output"][1:]).max() <= 1.0 + np.abs(problem.h_0).max()
    if case.dtype == "float64":
        assert_layer_is_reference(case, problem, 1e-9)


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
@pytest.mark.parametrize("case", in_both_dtypes(SMALL), ids=str)
def test_infinite_input_saturates(case, infinity):
    """One infinite feature drives each gate to its end; what the equations leave undefined is NaN, nothing else is."""
    problem, layer = make_problem(case), make_layer(case)
    problem.x[1, 2, 3] = infinity
    result = layer(problem.x, problem.state)
    expected = reference_answers(case, problem, layer.parameters)
    tolerance = 10 * TOLERANCE[case.dtype]
    for name, value in result_answers(layer, result).items():
        np.testing.assert_allclose(value, expected[name], rtol=tolerance, atol=tolerance)
    if case.cell in BOUNDED:
        assert np.isfinite(result.output).all()


@pytest.mark.parametrize("case", in_both_dtypes(SMALL), ids=str)
def test_denormal_numbers_are_right_or_zero(case):
    """Denormal input, states and cotangents act like the tiny numbers they are, and still exist after the call."""
    tiny = np.finfo(case.dtype).tiny
    denormal = np.dtype(case.dtype).type(tiny / 8)
    problem = make_problem(case)
    arrays = {name: getattr(problem, name) for name in ("x", "h_0", "c_0", "d_output", "d_h_n", "d_c_n")}
    problem = replace(problem, **{name: None if a is None else a * denormal for name, a in arrays.items()})
    parameters = make_parameters(case)
    for unbiased in (False, True):  # without biases the answers themselves are denormal
        if unbiased:
            parameters = {name: 0 * value if "bias" in name else value for name, value in parameters.items()}
        layer = make_layer(case)
        layer.set_parameters(parameters)
        answers, expected = layer_answers(layer, problem), reference_answers(case, problem, parameters)
        for name in expected:
            np.testing.assert_allclose(answers[name], expected[name], rtol=1e-4, atol=1e4 * tiny, err_msg=name)
        assert np.array([denormal]).sum() > 0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_without_steps_and_cotangents_of_states_their_gradients_are_zero(cell: str) -> None:
    layer = {"lstm": numrnn.LSTM, "gru": numrnn.GRU}[cell](3, 5, num_layers=2)
    for shape, lengths in (((0, 4, 3), None), ((6, 4, 3), [0, 0, 0, 0])):
        for _ in range(20):  # memory that is used again holds other numbers
            result, pullback = layer.vjp(np.ones(shape, np.float32), lengths=lengths)
            gradients = pullback(np.ones_like(result.output))
            assert not gradients.h_0.any()
            assert cell == "gru" or not gradients.c_0.any()
