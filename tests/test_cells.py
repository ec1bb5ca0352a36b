"""RNNCell, LSTMCell, GRUCell: one step of a layer, bit for bit; PyTorch's cells; finite differences; copies."""

import copy
import inspect
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from cases import assert_close, assert_same_bits

import numrnn

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
}
CLASSES = ("RNNCell", "LSTMCell", "GRUCell")
SIZES = (1, 15, 16, 17, 33)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_class = pytest.mark.parametrize("name", CLASSES)
same = np.testing.assert_array_equal


def make_both(kind, input_size, hidden_size, **options):
    """A cell, and the layer with its weights."""
    name, own = KINDS[kind]
    cell = getattr(numrnn, name + "Cell")(input_size, hidden_size, seed=0, **own, **options)
    layer = getattr(numrnn, name)(input_size, hidden_size, **own, **options)
    layer.set_parameters({f"{key}_l0": value for key, value in cell.parameters.items()})
    return cell, layer


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def like(kind, *parts):
    """A state as the cell has it."""
    return parts if kind == "lstm" else parts[0]


def answers(gradients):
    """Everything in a cell's gradients, without the axis of layers that a layer's have."""
    found = {"d_x": gradients.x, "d_h": gradients.h_0, "d_c": gradients.c_0}
    found |= {name.removesuffix("_l0"): value for name, value in gradients.parameters.items()}
    return {name: value for name, value in found.items() if value is not None}


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_one_step_of_the_layer(kind, bias, dtype, rng):
    """Bit for bit, forward and backward, with and without a state, for one row and for many."""
    for input_size, hidden_size in zip(SIZES, SIZES[2:] + SIZES[:2], strict=True):
        cell, layer = make_both(kind, input_size, hidden_size, bias=bias, dtype=dtype)
        for rows, given in itertools.product([(), *((n,) for n in (0, *SIZES))], (True, False)):
            x, h, c, d_h, d_c = (
                rng.standard_normal((*rows, size)).astype(dtype) for size in (input_size, *[hidden_size] * 4)
            )
            hx = like(kind, h, c) if given else None
            state = like(kind, h[None], c[None]) if given else None
            result, pull = layer.vjp(x[None], state)
            after, pullback = cell.vjp(x, hx)
            for ours, theirs, plain in zip(parts_of(after), parts_of(result.state), parts_of(cell(x, hx)), strict=True):
                np.testing.assert_array_equal(ours, theirs[0], strict=True)
                np.testing.assert_array_equal(plain, theirs[0], strict=True)
            mine = answers(pullback(*parts_of(like(kind, d_h, d_c))))
            d_states = {"d_h_n": d_h[None]} | ({"d_c_n": d_c[None]} if kind == "lstm" else {})
            theirs = answers(pull(**d_states))
            axes_removed = {n: v[0] if n in ("d_x", "d_h", "d_c") else v for n, v in theirs.items()}
            assert_same_bits(mine, axes_removed)


@every_kind
def test_any_subset_of_cotangents_is_the_rest_at_zero(kind, rng):
    """And a pullback may be called again; what is not asked for changes nothing else."""
    cell, _ = make_both(kind, 5, 7, dtype="float64")
    x, h, c, d_h, d_c = (rng.standard_normal((4, size)) for size in (5, 7, 7, 7, 7))
    _, pullback = cell.vjp(x, like(kind, h, c))
    nothing = np.zeros((4, 7))
    subsets = [({}, (nothing, nothing)), ({"d_h": d_h}, (d_h, nothing))]
    if kind == "lstm":
        subsets += [({"d_c": d_c}, (nothing, d_c)), ({"d_h": d_h, "d_c": d_c}, (d_h, d_c))]
    for given, whole in subsets:
        expected = answers(pullback(*parts_of(like(kind, *whole))))
        assert_same_bits(answers(pullback(**given)), expected)
        without = pullback(**given, x_gradient=False)
        assert without.x is None
        assert_same_bits(answers(without), {name: value for name, value in expected.items() if name != "d_x"})
    assert not any(value.any() for value in answers(pullback()).values())


@every_kind
@pytest.mark.parametrize("rows", [(), (3,)])
def test_every_gradient_is_the_finite_difference(kind, rows, rng):
    cell, _ = make_both(kind, 2, 3, dtype="float64")
    x, h, c, d_h, d_c = (rng.standard_normal((*rows, size)) for size in (2, 3, 3, 3, 3))
    d_states = parts_of(like(kind, d_h, d_c))
    gradients = cell.vjp(x, like(kind, h, c))[1](*d_states)
    weights = cell.state_dict()
    leaves = {"d_x": x, "d_h": h} | ({"d_c": c} if kind == "lstm" else {}) | weights

    def loss():
        cell.set_parameters(weights)
        return sum(
            float((part * d).sum()) for part, d in zip(parts_of(cell(x, like(kind, h, c))), d_states, strict=True)
        )

    def slope(leaf, index, step=1e-6):
        middle, ends = leaf[index], []
        for at in (middle + step, middle - step):
            leaf[index] = at
            ends.append(loss())
        leaf[index] = middle
        return (ends[0] - ends[1]) / (2 * step)

    for name, leaf in leaves.items():
        expected = np.reshape([slope(leaf, index) for index in np.ndindex(leaf.shape)], leaf.shape)
        np.testing.assert_allclose(answers(gradients)[name], expected, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.torch
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gru_reset_before"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (5,)])
@pytest.mark.parametrize("given", [True, False])
def test_cells_agree_with_pytorchs(kind, bias, rows, given, rng):
    torch = pytest.importorskip("torch")
    name, own = KINDS[kind]
    module = getattr(torch.nn, name + "Cell")(6, 17, bias=bias, dtype=torch.float64, **own)
    cell, _ = make_both(kind, 6, 17, bias=bias, dtype="float64")
    cell.load_state_dict(module.state_dict())
    x, h, c, d_h, d_c = (rng.standard_normal((*rows, size)) for size in (6, 17, 17, 17, 17))
    states = parts_of(like(kind, h, c)) if given else tuple(np.zeros((*rows, 17)) for _ in parts_of(like(kind, h, c)))
    leaves = [torch.tensor(array, requires_grad=True) for array in (x, *states)]
    after = parts_of(module(leaves[0], tuple(leaves[1:]) if kind == "lstm" else leaves[1]))
    d_states = parts_of(like(kind, d_h, d_c))
    torch.autograd.backward(after, list(map(torch.tensor, d_states)))
    ours, pullback = cell.vjp(x, like(kind, h, c) if given else None)
    names = ("h", "c")[: len(after)]
    mine = dict(zip(names, parts_of(ours), strict=True)) | answers(pullback(*d_states))
    theirs = dict(zip(names, after, strict=True)) | dict(zip(("d_x", "d_h", "d_c"), (v.grad for v in leaves)))  # noqa: B905
    theirs |= {key: value.grad for key, value in module.named_parameters()}
    assert_close(mine, {key: value.detach().numpy() for key, value in theirs.items()}, 1e-9)
    torch_names = {key: tuple(value.shape) for key, value in module.named_parameters()}
    assert {key: value.shape for key, value in cell.parameters.items()} == torch_names
    assert list(cell.parameters) == list(torch_names)


@every_kind
def test_steps_in_turn_are_the_whole_sequence(kind, rng):
    """A loop over a cell is a layer; the pullbacks backwards are the layer's, but for the order of sums over time."""
    cell, layer = make_both(kind, 4, 9, dtype="float64")
    x, d_output = rng.standard_normal((6, 3, 4)), rng.standard_normal((6, 3, 9))
    result, pull = layer.vjp(x)
    hx, pullbacks = None, []
    for x_t, expected in zip(x, result.output, strict=True):
        hx, pullback = cell.vjp(x_t, hx)
        same(parts_of(hx)[0], expected)
        pullbacks.append(pullback)
    d_state: Any = [np.zeros((3, 9))] * len(parts_of(hx))
    total = dict.fromkeys(cell.parameters, 0.0)
    d_x = []
    for d_h, pullback in zip(d_output[::-1], pullbacks[::-1], strict=True):
        gradients = pullback(d_state[0] + d_h, *d_state[1:])
        d_state = [part for part in (gradients.h_0, gradients.c_0) if part is not None]
        d_x.append(gradients.x)
        total = {name: total[name] + value for name, value in gradients.parameters.items()}
    whole = answers(pull(d_output))
    assert_close({"d_x": np.stack(d_x[::-1])} | total, {n: whole[n] for n in ("d_x", *total)}, 1e-12)


@every_kind
def test_a_state_of_one_row_stands_for_every_row(kind, rng):
    """Its gradient is the sum over the rows, in the shape given."""
    cell, _ = make_both(kind, 4, 6, dtype="float64")
    x, d_h, h, c = (rng.standard_normal(shape) for shape in ((5, 4), (5, 6), (1, 6), (1, 6)))
    after, pullback = cell.vjp(x, like(kind, h, c))
    whole = like(kind, np.repeat(h, 5, 0), np.repeat(c, 5, 0))
    same(parts_of(after), parts_of(cell(x, whole)))
    one, many = pullback(d_h), cell.vjp(x, whole)[1](d_h)
    assert one.h_0.shape == (1, 6)
    np.testing.assert_allclose(one.h_0[0], many.h_0.sum(0), rtol=1e-12)
    if kind == "lstm":
        np.testing.assert_allclose(one.c_0[0], many.c_0.sum(0), rtol=1e-12)
        mixed = cell.vjp(x, (h, whole[1]))[1](d_h)
        assert (mixed.h_0.shape, mixed.c_0.shape) == ((1, 6), (5, 6))


@every_kind
def test_the_same_numbers_in_any_form_give_the_same_bits(kind, rng):
    cell, _ = make_both(kind, 4, 6, dtype="float64")
    x, h, c = (rng.integers(-3, 4, (5, size)).astype(float) for size in (4, 6, 6))
    expected = parts_of(cell(x, like(kind, h, c)))
    forms = [np.asfortranarray, np.ndarray.tolist, lambda a: a.astype("i8"), lambda a: a.astype(">f4")]
    forms += [lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a.astype("f2")]
    for form in forms:
        same(parts_of(cell(form(x), like(kind, form(h), form(c)))), expected)
    assert all(part.dtype == np.float64 for part in expected)
    pullback = cell.vjp(x, like(kind, h, c))[1]
    for form in forms:
        assert_same_bits(answers(pullback(form(h))), answers(pullback(h)))


@every_kind
def test_inputs_are_never_changed_and_results_are_ones_own(kind, rng):
    cell, _ = make_both(kind, 4, 6)
    given = [rng.standard_normal((5, size)).astype("f4") for size in (4, 6, 6, 6)]
    before = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    x, h, c, d_h = given
    first, pullback = cell.vjp(x, like(kind, h, c))
    kept = [part.copy() for part in parts_of(first)]
    gradients = pullback(d_h)
    twice = pullback(d_h)
    assert not any(
        np.shares_memory(one, other) for one in answers(gradients).values() for other in answers(twice).values()
    )
    found = cell(x, like(kind, h, c))
    cell(x + 1, like(kind, h, c))
    for array, copied in zip(given, before, strict=True):
        same(array, copied)
    for one, other, copied in zip(parts_of(first), parts_of(found), kept, strict=True):
        same(one, copied)
        same(other, copied)
        assert not any(np.shares_memory(other, array) for array in given)


@every_kind
def test_threads_do_not_change_the_bits(kind, rng):
    cell, _ = make_both(kind, 33, 65)
    x, d_h = rng.standard_normal((40, 33)), rng.standard_normal((40, 65))
    one, pull_one = cell.vjp(x, n_threads=1)
    two, pull_two = cell.vjp(x, n_threads=2)
    same(parts_of(one), parts_of(two))
    same(parts_of(one), parts_of(cell(x, n_threads=2)))
    assert_same_bits(answers(pull_one(d_h)), answers(pull_two(d_h)))


def test_a_pullback_keeps_the_weights_it_was_made_with(rng):
    cell = numrnn.GRUCell(3, 4, seed=0)
    h, pullback = cell.vjp(rng.standard_normal((2, 3)))
    before = answers(pullback(np.ones_like(h)))
    cell.set_parameters({name: value * 0 for name, value in cell.parameters.items()})
    assert_same_bits(answers(pullback(np.ones_like(h))), before)
    assert not cell(np.ones((2, 3))).any()


# --- constructors, attributes, parameters, copies

SIGNATURES = {
    "RNNCell": '(input_size, hidden_size, bias=True, nonlinearity="tanh", *, dtype="float32", seed=None, '
    'init="pytorch")',
    "LSTMCell": '(input_size, hidden_size, bias=True, *, dtype="float32", seed=None, init="pytorch", forget_bias=None)',
    "GRUCell": '(input_size, hidden_size, bias=True, *, reset_after=True, dtype="float32", seed=None, init="pytorch")',
}


@every_class
def test_constructors_take_pytorchs_arguments_and_ours(name):
    signature = inspect.signature(getattr(numrnn, name))
    bare = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    assert str(bare).replace("'", '"') == SIGNATURES[name]


@pytest.mark.parametrize(
    "text",
    [
        "RNNCell(input_size=3, hidden_size=4)",
        "RNNCell(input_size=3, hidden_size=4, bias=False, nonlinearity='relu', dtype='float64', seed=1)",
        "LSTMCell(input_size=3, hidden_size=4, init='keras', forget_bias=2.5)",
        "GRUCell(input_size=3, hidden_size=4, reset_after=False)",
    ],
)
def test_repr_is_the_call_that_makes_the_cell(text):
    assert repr(eval(text, {name: getattr(numrnn, name) for name in CLASSES})) == text


@every_class
def test_arguments_are_attributes_and_fixed(name):
    cell = getattr(numrnn, name)(3, 4, False, dtype="float64", seed=5)
    assert (cell.input_size, cell.hidden_size, cell.bias, cell.dtype, cell.seed) == (3, 4, False, np.float64, 5)
    for attribute in ("input_size", "hidden_size", "dtype", "bias"):
        with pytest.raises(AttributeError, match=f"`{attribute}` is fixed"):
            setattr(cell, attribute, 5)
    assert list(cell.parameters) == ["weight_ih", "weight_hh"]


@every_kind
def test_a_seed_draws_the_layers_weights(kind):
    """So that a cell and a layer of one seed are one network."""
    name, own = KINDS[kind]
    for init in ("pytorch", "keras"):
        cell = getattr(numrnn, name + "Cell")(3, 4, seed=7, init=init, **own)
        layer = getattr(numrnn, name)(3, 4, seed=7, init=init, **own)
        assert_same_bits({f"{key}_l0": value for key, value in cell.parameters.items()}, layer.parameters)
        assert cell.num_parameters == layer.num_parameters


@every_class
def test_weights_change_by_set_parameters_alone(name, rng):
    cell, x = getattr(numrnn, name)(3, 4, seed=0), rng.standard_normal((2, 3))
    before = parts_of(cell(x))
    for value in cell.parameters.values():
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
    for value in cell.state_dict().values():
        value[...] = 0
    same(parts_of(cell(x)), before)
    cell.set_parameters({"weight_ih": cell.parameters["weight_ih"] * 2})
    assert not np.array_equal(parts_of(cell(x))[0], before[0])
    cell.load_state_dict(getattr(numrnn, name)(3, 4, seed=0).state_dict())
    same(parts_of(cell(x)), before)


@every_class
@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda cell: pickle.loads(pickle.dumps(cell))])
def test_a_copy_is_a_cell_of_its_own(name, twin, rng):
    cell, x = getattr(numrnn, name)(3, 4, seed=0), rng.standard_normal((2, 3))
    before = parts_of(cell(x))
    other = twin(cell)
    assert repr(other) == repr(cell)
    same(parts_of(other(x)), before)
    other.set_parameters({key: value * 0 for key, value in other.parameters.items()})
    same(parts_of(cell(x)), before)
