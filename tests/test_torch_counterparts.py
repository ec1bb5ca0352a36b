"""PyTorch's own tests of recurrent modules and packed sequences, asked of numrnn.

`COUNTERPARTS` names each of them and where its claim is tested here; the tests of this file, of `test_torch_cells.py`
and of `test_torch_packed_sequences.py` have PyTorch's names in lower case. A claim is what holds, not how PyTorch tests
it: `.eval()` is a plain call, `.backward` a pullback. Where numrnn gives a meaning to what PyTorch refuses (no steps, a
state of one row), the test states that meaning.
"""

import copy
import io
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import (
    CASES,
    Case,
    assert_close,
    assert_same_bits,
    layer_answers,
    make_layer,
    make_parameters,
    make_problem,
    reference_answers,
)

import numrnn

HERE = "test_torch_counterparts.py"
CELLS = "test_torch_cells.py"
PACKED = "test_torch_packed_sequences.py"
DEVICES = "not ours: there is one device"
SHARING = "not ours: parameters are values, and no two of them are one object"

COUNTERPARTS = {
    # test/test_nn.py
    "test_RNN_cell": CELLS,
    "test_RNN_cell_forward_zero_hidden_size": CELLS,
    "test_RNN_cell_no_broadcasting": CELLS,
    "test_LSTM_cell": CELLS,
    "test_LSTM_cell_forward_input_size": CELLS,
    "test_LSTM_cell_forward_hidden_size": CELLS,
    "test_lstmcell_backward_only_one_output_grad": CELLS,
    "test_cudnn_forward_exception": HERE,
    "test_cudnn_rnn_dropout_states_device": DEVICES,
    "test_cudnn_weight_format": "test_layers.py::test_parameters_of_any_form_are_cast_and_copied",
    "test_cudnn_weight_tying": SHARING,
    "test_rnn_args_check": HERE,
    "test_rnn_check_device": DEVICES,
    "test_rnn_initial_hidden_state": HERE,
    "test_projections_lstm_args_check": HERE,
    "test_projections_lstm_check_device": DEVICES,
    "test_projections_lstm_initial_hidden_state": HERE,
    "test_projections_errors_on_gru_and_rnn": HERE,
    "test_RNN_cpu_vs_cudnn_no_dropout": HERE,
    "test_RNN_cpu_vs_cudnn_with_dropout": HERE,
    "test_RNN_cudnn_weight_norm": "not ours: weights are values; whoever normalises them calls set_parameters",
    "test_partial_flat_weights": "test_layers.py::test_set_parameters_takes_effect_at_the_next_call",
    "test_RNN_dropout": HERE,
    "test_RNN_dropout_state": HERE,
    "test_RNN_change_dropout": HERE,
    "test_error_RNN_seq_len_zero": HERE,
    "test_RNN_input_size_zero": HERE,
    "test_RNN_nonlinearity": HERE,
    "test_RNN_nonlinearity_passed_as_arg": HERE,
    "test_rnn_fused": HERE,
    "test_rnn_retain_variables": HERE,
    "test_variable_sequence": HERE,
    "test_LSTM_grad_and_gradgrad": "test_gradients.py::test_every_gradient_is_the_finite_difference",
    "test_GRU_grad_and_gradgrad": "test_gradients.py::test_every_gradient_is_the_finite_difference",
    "test_pack_sequence_batch_sizes_throw": PACKED,
    # test/test_autograd.py, test/test_modules.py over torch/testing/_internal/common_modules.py
    "test_rnn_backward_to_input_but_not_parameters": HERE,
    "test_forward": HERE,
    "test_errors": CELLS,
    "test_non_contiguous_tensors": HERE,
    "test_grad": "test_gradients.py::test_layer_agrees_with_reference",
    "test_repr": "test_layers.py::test_repr_is_the_call_that_makes_the_layer",
    "test_pickle": "test_layers.py::test_a_copy_is_a_layer_of_its_own",
    "test_save_load": "test_layers.py::test_a_copy_is_a_layer_of_its_own",
    # test/nn/test_packed_sequence.py
    "test_type_casts": PACKED,
    "test_wrong_order": PACKED,
    "test_pad_sequence_with_tensor_sequences": PACKED,
    "test_pad_sequence_with_non_iterable_sequences": PACKED,
    "test_total_length": PACKED,
    "test_to": DEVICES,
    "test_to_memory_format": DEVICES,
    "test_pad_sequence": PACKED,
    "test_unpad_sequence": PACKED,
    "test_pack_sequence": PACKED,
    "test_unpack_sequence": PACKED,
    "test_pack_padded_sequence": PACKED,
    "test_cuda_mask": DEVICES,
}

LAYERS = {"RNN": numrnn.RNN, "LSTM": numrnn.LSTM, "GRU": numrnn.GRU}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
same = np.testing.assert_array_equal
no_onednn = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_every_test_of_pytorch_has_its_counterpart(name):
    place = COUNTERPARTS[name]
    if place.startswith("not ours: "):
        return
    file, _, ours = place.partition("::")
    ours = ours or name.lower()
    assert f"\ndef {ours}(" in (Path(__file__).parent / file).read_text(), f"{name}: {place} has no {ours}"


def pair(is_lstm, first, second=None):
    """A state as the cell has it."""
    return (first, first if second is None else second) if is_lstm else first


# --- arguments of calls


@every_layer
@pytest.mark.parametrize("proj_size", [0, 10])
def test_cudnn_forward_exception(make, proj_size, rng):
    if proj_size and make is not numrnn.LSTM:
        pytest.skip("only an LSTM has a projection")
    layer = make(10, 20, batch_first=True, **({"proj_size": proj_size} if proj_size else {}))
    state = pair(make is numrnn.LSTM, np.zeros((1, 2, 19)))
    with pytest.raises(ValueError, match=r"`h_0` has shape \(1, 2, 19\), expected \(1, 2, \d+\)"):
        layer(rng.standard_normal((2, 3, 10)), state)
    with pytest.raises(ValueError, match="`x` has 3 features, expected 10"):
        layer(rng.standard_normal((2, 3, 3)), state)


BAD = 7  # no other size divides it, or is divided by it


@every_layer
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rnn_args_check(make, axis, rng):
    """Each axis of x and of each state, wrong by itself; T alone may be anything."""
    layer, is_lstm = make(3, 5, num_layers=2), make is numrnn.LSTM
    shapes = {"x": (6, 4, 3), "h_0": (2, 4, 5), "c_0": (2, 4, 5)}
    for wrong in ("x", "h_0", "c_0") if is_lstm else ("x", "h_0"):
        sizes = list(shapes[wrong])
        sizes[axis] = BAD
        x, h_0, c_0 = (rng.standard_normal(shape) for shape in (shapes | {wrong: tuple(sizes)}).values())
        if (wrong, axis) == ("x", 0):
            assert layer(x, pair(is_lstm, h_0, c_0)).output.shape == (BAD, 4, 5)
            continue
        blamed = "h_0" if (wrong, axis) == ("x", 1) else wrong  # x has another batch: its state does not fit
        with pytest.raises(ValueError, match=f"`{blamed}` has .*, expected"):
            layer(x, pair(is_lstm, h_0, c_0))


@pytest.mark.parametrize(
    ("x", "h_0", "c_0"),
    [
        ((6, BAD, 3), (2, 4, 2), (2, 4, 5)),
        ((6, 4, 3), (2, BAD, 2), (2, BAD, 5)),
        ((6, 4, BAD), (2, 4, 2), (2, 4, 5)),
        ((6, 4, 3), (2, 4, BAD), (2, 4, BAD)),
        ((6, 4, 3), (BAD, 4, 2), (BAD, 4, 5)),
        ((6, 4, 3), (5, 4, 2), (2, 4, 5)),
        ((6, 4, 3), (BAD, 4, 2), (2, 4, 5)),
        ((6, 4, 3), (2, 4, 2), (BAD, 4, 5)),
        ((6, 4, 3), (2, 4, 5), (2, 4, 5)),
        ((6, 4, 3), (2, 4, 2), (2, 4, 2)),
    ],
)
def test_projections_lstm_args_check(x, h_0, c_0):
    layer = numrnn.LSTM(3, 5, 2, proj_size=2)
    with pytest.raises(ValueError, match=r"`(x|h_0|c_0)` has .*, expected"):
        layer(np.zeros(x), (np.zeros(h_0), np.zeros(c_0)))


@every_layer
def test_rnn_initial_hidden_state(make, rng):
    """Zeros are what no state is, bit for bit."""
    layer, x = make(30, 20, 2), rng.standard_normal((10, 32, 30))
    given, absent = layer(x, pair(make is numrnn.LSTM, np.zeros((2, 32, 20)))), layer(x)
    same(given.output, absent.output)
    same(given.state, absent.state)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_projections_lstm_initial_hidden_state(bidirectional, rng):
    layer = numrnn.LSTM(30, 20, 2, bidirectional=bidirectional, proj_size=10)
    x, tracks = rng.standard_normal((10, 32, 30)), 2 + 2 * bidirectional
    given, absent = layer(x, (np.zeros((tracks, 32, 10)), np.zeros((tracks, 32, 20)))), layer(x)
    same(given.output, absent.output)
    same(given.h_n, absent.h_n)
    same(given.c_n, absent.c_n)


@pytest.mark.parametrize("make", [numrnn.RNN, numrnn.GRU])
def test_projections_errors_on_gru_and_rnn(make):
    """No argument of their signatures, and refused with the reason."""
    with pytest.raises(ValueError, match="`proj_size` is for LSTM alone: RNN and GRU have no projection"):
        make(30, 20, 2, proj_size=10)


@every_layer
@pytest.mark.parametrize("bidirectional", [False, True])
def test_error_rnn_seq_len_zero(make, bidirectional, rng):
    """No steps: no output, and the state stays as it was. PyTorch refuses it."""
    layer, is_lstm = make(5, 6, bidirectional=bidirectional, dtype="float64"), make is numrnn.LSTM
    tracks = 1 + bidirectional
    state = pair(is_lstm, rng.standard_normal((tracks, 10, 6)), rng.standard_normal((tracks, 10, 6)))
    result, pullback = layer.vjp(np.ones((0, 10, 5)), state)
    assert result.output.shape == (0, 10, 6 * tracks)
    same(result.state, state)
    d_h_n = rng.standard_normal((tracks, 10, 6))
    gradients = pullback(d_h_n=d_h_n)
    same(gradients.h_0, d_h_n)
    assert not any(value.any() for value in gradients.parameters.values())


@every_layer
def test_rnn_input_size_zero(make):
    """No rows: empty results, and a pullback that works."""
    layer = make(3, 4)
    result, pullback = layer.vjp(np.zeros((5, 0, 3)))
    assert result.output.shape == (5, 0, 4)
    gradients = pullback(np.ones_like(result.output))
    assert gradients.x.shape == (5, 0, 3)
    assert not any(value.any() for value in gradients.parameters.values())


# --- layers and their gradients


@every_layer
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_forward(make, batch_first, bidirectional, rng):
    """One sequence is a batch of one: output, states and every gradient."""
    layer = make(4, 5, 2, batch_first=batch_first, bidirectional=bidirectional, dtype="float64", seed=0)
    tracks, axis = 2 + 2 * bidirectional, 0 if batch_first else 1
    is_lstm, x = make is numrnn.LSTM, rng.standard_normal((7, 4))
    for given in (True, False):
        state = pair(is_lstm, rng.standard_normal((tracks, 5)), rng.standard_normal((tracks, 5))) if given else None
        wide = None if state is None else tuple(s[:, None] for s in state) if is_lstm else state[:, None]
        alone, pull_alone = layer.vjp(x, state)
        batch, pull_batch = layer.vjp(np.expand_dims(x, axis), wide)
        same(alone.output, batch.output.squeeze(axis))
        same(alone.h_n, batch.h_n[:, 0])
        d_output, d_h_n = rng.standard_normal(alone.output.shape), rng.standard_normal(alone.h_n.shape)
        one = pull_alone(d_output, d_h_n)
        many = pull_batch(np.expand_dims(d_output, axis), d_h_n[:, None])
        same(one.x, many.x.squeeze(axis))
        same(one.h_0, many.h_0[:, 0])
        assert_same_bits(one.parameters, many.parameters)


@every_layer
def test_rnn_retain_variables(make, rng):
    """A pullback says the same the first, second and third time."""
    layer = make(10, 20, num_layers=2, dtype="float64")
    result, pullback = layer.vjp(rng.standard_normal((5, 6, 10)))
    first, *others = (pullback(np.ones_like(result.output)) for _ in range(3))
    assert first.x.any()
    for other in others:
        same(other.x, first.x)
        assert_same_bits(other.parameters, first.parameters)


def test_rnn_backward_to_input_but_not_parameters(rng):
    """d_x needs nobody's consent; leaving it out leaves the parameters' gradients as they are."""
    result, pullback = numrnn.LSTM(2, 3).vjp(rng.standard_normal((1, 1, 2)))
    whole, without = pullback(np.ones_like(result.output)), pullback(np.ones_like(result.output), x_gradient=False)
    assert np.abs(whole.x).sum() > 0
    assert without.x is None
    assert_same_bits(whole.parameters, without.parameters)


@pytest.mark.parametrize("case", [case for case in CASES if case.lengths == "full"][::7], ids=str)
def test_rnn_fused(case):
    """The compiled kernels say what the plain equations say."""
    problem = make_problem(case)
    assert_close(
        layer_answers(make_layer(case), problem), reference_answers(case, problem, make_parameters(case)), 1e-10
    )


@every_layer
@pytest.mark.parametrize("bidirectional", [False, True])
def test_variable_sequence(make, bidirectional, rng):
    """A packed batch is its sequences one by one, forward and backward, in either order, whatever the state."""
    layer, is_lstm = make(3, 4, 2, bidirectional=bidirectional, dtype="float64", seed=1), make is numrnn.LSTM
    tracks = 2 + 2 * bidirectional
    for lengths in ([3, 2, 2, 1], [1, 3, 2, 2]):
        rows = [rng.standard_normal((length, 3)) for length in lengths]
        h_0, c_0 = rng.standard_normal((2, tracks, 4, 4))
        packed = numrnn.pack_sequence(rows, enforce_sorted=False)
        result, pullback = layer.vjp(packed, pair(is_lstm, h_0, c_0))
        d_rows = [rng.standard_normal((length, layer.signature.num_directions * 4)) for length in lengths]
        d_h_n = rng.standard_normal(h_0.shape)
        gradients = pullback(numrnn.pack_sequence(d_rows, enforce_sorted=False), d_h_n)
        outputs, d_xs = numrnn.unpack_sequence(result.output), numrnn.unpack_sequence(gradients.x)
        total = dict.fromkeys(layer.parameters, 0.0)
        for n, (row, d_row) in enumerate(zip(rows, d_rows, strict=True)):
            alone, pull = layer.vjp(row, pair(is_lstm, h_0[:, n], c_0[:, n]))
            one = pull(d_row, d_h_n[:, n])
            same(outputs[n], alone.output)
            same(result.h_n[:, n], alone.h_n)
            same(d_xs[n], one.x)
            same(gradients.h_0[:, n], one.h_0)
            total = {name: total[name] + value for name, value in one.parameters.items()}
        assert_close(gradients.parameters, total, 1e-12)


@every_layer
def test_non_contiguous_tensors(make, rng):
    """Strided x, states and cotangents give the bits of contiguous ones."""
    layer, is_lstm = make(10, 6, 2, dtype="float64", seed=0), make is numrnn.LSTM
    x, state, d_output, d_h_n = (rng.standard_normal(shape) for shape in ((7, 6, 10), (2, 6, 6), (7, 6, 6), (2, 6, 6)))
    result, pullback = layer.vjp(x, pair(is_lstm, state, state + 1))
    gradients = pullback(d_output, d_h_n)
    strided, pull = layer.vjp(spread(x), pair(is_lstm, spread(state), spread(state + 1)))
    others = pull(spread(d_output), spread(d_h_n))
    same(strided.output, result.output)
    same(strided.h_n, result.h_n)
    same(others.x, gradients.x)
    same(others.h_0, gradients.h_0)
    assert_same_bits(others.parameters, gradients.parameters)


def spread(array):
    """The same numbers, each beside a NaN."""
    return np.stack([array, np.full_like(array, np.nan)], axis=-1)[..., 0]


def against_torch(case, dropout, contiguous, lengths):
    """Every answer of a call in training mode against PyTorch's; in float64, within 1e-9."""
    torch = pytest.importorskip("torch")
    make, rng = LAYERS[case.cell.partition("_")[0].upper()], case.rng("against torch")
    own = {"nonlinearity": case.cell.partition("_")[2]} if make is numrnn.RNN else {}
    own |= {"proj_size": case.proj_size} if case.proj_size else {}
    own |= {"bias": case.bias, "bidirectional": case.bidirectional, "batch_first": case.batch_first}
    layer = make(case.I, case.H, case.num_layers, dropout=dropout, dtype="float64", seed=0, **own)
    module = getattr(torch.nn, make.__name__)(
        case.I, case.H, case.num_layers, dropout=dropout, dtype=torch.float64, **own
    )
    module.load_state_dict({name: torch.tensor(value) for name, value in layer.parameters.items()})
    is_lstm, steps = make is numrnn.LSTM, (case.N, case.T) if case.batch_first else (case.T, case.N)
    tracks = case.num_layers * case.num_directions
    x = rng.standard_normal((*steps, case.I))
    d_output = rng.standard_normal((*steps, case.num_directions * case.output_size))
    sizes = (case.output_size, case.H) if is_lstm else (case.H,)
    states, d_states = ([rng.standard_normal((tracks, case.N, size)) for size in sizes] for _ in range(2))
    leaves = [torch.tensor(array, requires_grad=True) for array in (x, *states)]
    given, d_given, ours = leaves[0], torch.tensor(d_output), {}
    if lengths is not None:
        padding = torch.nn.utils.rnn
        given = padding.pack_padded_sequence(given, lengths, case.batch_first)
        ours = {"lengths": lengths.numpy() if torch.is_tensor(lengths) else lengths}
    output, last = module(given, tuple(leaves[1:]) if is_lstm else leaves[1])
    if lengths is not None:
        output, _ = padding.pad_packed_sequence(output, case.batch_first)
    last = last if is_lstm else (last,)
    torch.autograd.backward([output, *last], [d_given, *map(torch.tensor, d_states)])
    form = np.asarray if contiguous else spread
    mine, pullback = layer.vjp(form(x), tuple(map(form, states)) if is_lstm else form(states[0]), **ours)
    gradients = pullback(form(d_output), *map(form, d_states))
    answers = {"output": mine.output, "h_n": mine.h_n} | ({"c_n": mine.c_n} if is_lstm else {})
    answers |= {"d_x": gradients.x, "d_h_0": gradients.h_0} | ({"d_c_0": gradients.c_0} if is_lstm else {})
    theirs = dict(zip(answers, [output, *last, *(leaf.grad for leaf in leaves)], strict=True))
    theirs |= {name: value.grad for name, value in module.named_parameters()}
    desired = {name: value.detach().numpy() for name, value in theirs.items()}
    assert_close(answers | gradients.parameters, desired, 1e-9)


SEQUENCES = ("full", "list", "tensor")
STACKS = [("rnn_tanh", 0), ("rnn_relu", 0), ("lstm", 0), ("gru", 0), ("lstm", 3)]


def check_all_stacks(cell, proj_size, dropout):
    torch = pytest.importorskip("torch")
    switches = itertools.product((True, False), (True, False), (True, False), (True, False), SEQUENCES)
    for bias, bidirectional, batch_first, contiguous, kind in switches:
        lengths = {"full": None, "list": [7, 5, 5, 2, 1, 1], "tensor": torch.tensor([7, 5, 5, 2, 1, 1])}[kind]
        options = {"bias": bias, "bidirectional": bidirectional, "batch_first": batch_first, "proj_size": proj_size}
        against_torch(Case(cell, 6, 7, 10, 6, num_layers=2, **options), dropout, contiguous, lengths)


@no_onednn
@pytest.mark.torch
@pytest.mark.parametrize(("cell", "proj_size"), STACKS)
def test_rnn_cpu_vs_cudnn_no_dropout(cell, proj_size):
    """Every switch of a layer, contiguous arrays and others, lengths of either form: against PyTorch."""
    check_all_stacks(cell, proj_size, 0.0)


@no_onednn
@pytest.mark.torch
@pytest.mark.parametrize(("cell", "proj_size"), STACKS)
def test_rnn_cpu_vs_cudnn_with_dropout(cell, proj_size):
    """The same in training with dropout=1, the other rate that is not random."""
    check_all_stacks(cell, proj_size, 1.0)


# --- nonlinearity and dropout


@pytest.mark.parametrize(("nonlinearity", "function"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_rnn_nonlinearity(nonlinearity, function):
    layer = numrnn.RNN(1, 10, nonlinearity=nonlinearity, dtype="float64", seed=0)
    assert numrnn.RNN(1, 10).nonlinearity == "tanh"
    weights = layer.parameters
    before = weights["weight_ih_l0"][:, 0] + weights["bias_ih_l0"] + weights["bias_hh_l0"]
    np.testing.assert_allclose(layer(np.ones((1, 1, 1))).output[0, 0], function(before), rtol=1e-14)
    with pytest.raises(ValueError, match="`nonlinearity` should be"):
        numrnn.RNN(1, 10, nonlinearity="garbage")


def test_rnn_nonlinearity_passed_as_arg():
    layer = numrnn.RNN(2, 3, 1, "relu")
    assert layer.nonlinearity == "relu"
    assert numrnn.RNN(2, 3, 1, nonlinearity="relu", seed=0)(np.ones((4, 1, 2))).output.min() >= 0


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.276, 0.731, 1.0])
def test_rnn_dropout(rate, train):
    """It stands between the layers: 10 goes in at every unit, and what is left of 1000 of them comes out."""
    layer = numrnn.RNN(10, 1000, 2, bias=False, dropout=rate, nonlinearity="relu", dtype="float64")
    layer.set_parameters({name: np.ones(value.shape) for name, value in layer.parameters.items()})
    x, h_0 = np.ones((1, 1, 10)), np.zeros((2, 1, 1000))
    result = layer.vjp(x, h_0, seed=0)[0] if train else layer(x, h_0)
    value = result.output[0, 0, 0]
    assert (result.output == value).all()
    if rate == 0 or not train:
        assert value == 10_000
    elif rate == 1:
        assert value == 0
    else:
        assert 8000 < value < 12_000
        whole = value * (1 - rate)
        assert abs(whole - 10 * round(whole / 10)) < 1e-6
    assert (result.h_n[0] == 10).all()
    assert (result.h_n[1] == value).all()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.1234])
def test_rnn_dropout_state(rate, train, rng):
    """Two calls drop differently, and so does a pickled layer from the next on; nothing is dropped in inference."""
    layer = numrnn.RNN(100, 100, 2, bias=False, dropout=rate, nonlinearity="relu")
    x, h_0 = rng.random((1, 1, 100)), rng.random((2, 1, 100))

    def run(layer):
        return layer.vjp(x, h_0)[0] if train else layer(x, h_0)

    one, two = run(layer), run(layer)
    buffer = io.BytesIO()
    pickle.dump(layer, buffer)
    buffer.seek(0)
    twin = pickle.load(buffer)
    three = run(twin)
    for other in (two, three):
        alike = rate == 0 or not train
        assert np.array_equal(one.output, other.output) == alike
        assert np.array_equal(one.h_n, other.h_n) == alike
    same(run(layer).output, three.output)  # the stream of masks goes on where the pickle was made


@pytest.mark.parametrize("train", [True, False])
def test_rnn_change_dropout(train, rng):
    """A rate is fixed when a layer is made; layers of the same weights and other rates differ by that alone."""
    x, weights, previous = rng.random((3, 2, 100)), None, None
    for rate in (0, 0.5, 0, 0.7, 0.2, 1, 0.2, 0):
        layer = numrnn.RNN(100, 100, 2, dropout=rate, nonlinearity="relu", seed=0)
        with pytest.raises(AttributeError, match="`dropout` is fixed"):
            layer.dropout = 0.3
        weights = weights or layer.state_dict()
        layer.load_state_dict(weights)
        one, two = (layer.vjp(x)[0] if train else layer(x) for _ in range(2))
        assert np.array_equal(one.output, two.output) == (rate in (0, 1) or not train)
        assert np.array_equal(one.h_n, two.h_n) == (rate in (0, 1) or not train)
        if previous is not None:
            assert np.array_equal(one.output, previous) == (not train)
        previous = copy.copy(one.output)
