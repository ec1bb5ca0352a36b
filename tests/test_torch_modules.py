"""`numrnn.torch`: modules of PyTorch on our kernels, in the place of PyTorch's own."""

import copy
import io
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn, rnn = torch.nn, torch.nn.utils.rnn
import numrnn.torch  # noqa: E402 (PyTorch may not be installed)

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]
NAMES = ("RNN", "LSTM", "GRU")
every_cell = pytest.mark.parametrize("name", NAMES)
close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def seeded(request):
    """PyTorch's random numbers belong to the test."""
    torch.manual_seed(sum(map(ord, request.node.name)))


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch's threads wait by spinning, which takes its time on a machine that others use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pair(name, *sizes, **given):
    """PyTorch's module and ours with its weights."""
    theirs = getattr(nn, name)(*sizes, **{"dtype": torch.float64} | given)
    ours = getattr(numrnn.torch, name)(*sizes, **{"dtype": torch.float64} | given)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def flat(results):
    """Every tensor that a module returned."""
    output, state = results
    output = output.data if isinstance(output, rnn.PackedSequence) else output
    return [output, *(state if isinstance(state, tuple) else [state])]


def gradients(module, results, *inputs):
    """Gradients of a scalar that every result is in, with respect to inputs and parameters."""
    loss = sum(
        (k + 1) * (tensor * torch.linspace(-1, 1, tensor.numel(), dtype=tensor.dtype).view(tensor.shape)).sum()
        for k, tensor in enumerate(flat(results))
    )
    return torch.autograd.grad(loss, [*inputs, *module.parameters()])


def random_options(rng, name):
    options = {
        "num_layers": int(rng.integers(1, 4)),
        "bias": bool(rng.integers(2)),
        "batch_first": bool(rng.integers(2)),
        "bidirectional": bool(rng.integers(2)),
    }
    if name == "RNN":
        options["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
    if name == "LSTM" and rng.integers(2):
        options["proj_size"] = int(rng.integers(1, 4))
    return options


def random_state(name, module, batch):
    """h_0, or (h_0, c_0), that wants gradients; of one sequence without an axis of sequences."""
    rows = module.num_layers * (1 + module.bidirectional)
    sizes = [module.proj_size or module.hidden_size, module.hidden_size][: 1 + (name == "LSTM")]
    states = [torch.randn(rows, *batch, size, dtype=torch.float64, requires_grad=True) for size in sizes]
    return tuple(states) if name == "LSTM" else states[0]


@pytest.mark.parametrize("k", range(16))
@every_cell
def test_results_and_gradients_are_pytorchs(name, k, rng):
    """For random options, one sequence or a batch, with and without a state, for packed sequences in any order."""
    theirs, ours = pair(name, 3, 5, **random_options(rng, name))
    steps, batch, form = int(rng.integers(1, 7)), int(rng.integers(1, 5)), k % 3
    first = (batch, steps) if theirs.batch_first else (steps, batch)
    x = torch.randn(*(first if form else (steps,)), 3, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor(rng.integers(1, steps + 1, batch))

    def given():
        return rnn.pack_padded_sequence(x, lengths, theirs.batch_first, enforce_sorted=False) if form == 2 else x

    hx = random_state(name, theirs, (batch,) if form else ()) if rng.integers(2) else None
    inputs = [x] if hx is None else [x, *hx] if isinstance(hx, tuple) else [x, hx]
    expected, found = theirs(given(), hx), ours(given(), hx)
    assert isinstance(found[0], rnn.PackedSequence) == (form == 2)
    if form == 2:
        for one, other in zip(found[0][1:], expected[0][1:], strict=True):
            assert torch.equal(one, other)
    for one, other in zip(flat(found), flat(expected), strict=True):
        close(one, other, rtol=0, atol=1e-12)
    wanted, given_back = gradients(theirs, expected, *inputs), gradients(ours, found, *inputs)
    for one, other in zip(given_back, wanted, strict=True):
        close(one, other, rtol=0, atol=1e-10)


@every_cell
def test_gradcheck(name):
    """PyTorch's own finite differences, over input, states and every parameter."""
    _, ours = pair(name, 2, 3, num_layers=2, bidirectional=True, **({"proj_size": 2} if name == "LSTM" else {}))
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    hx = random_state(name, ours, (2,))
    states, names = hx if isinstance(hx, tuple) else (hx,), [name for name, _ in ours.named_parameters()]

    def call(x, *rest):
        states, weights = rest[: 1 + (name == "LSTM")], rest[1 + (name == "LSTM") :]
        state = states if name == "LSTM" else states[0]
        return tuple(flat(torch.func.functional_call(ours, dict(zip(names, weights, strict=True)), (x, state))))

    assert torch.autograd.gradcheck(call, (x, *states, *ours.parameters()))


def test_a_second_derivative_is_refused():
    """Not taken for zero: the first is given, and says what is missing when it is differentiated."""
    theirs, ours = pair("GRU", 2, 3)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(theirs(x)[0].sum(), x)
    for output in (ours(x)[0].sum(), ours(x)[0].square().sum()):
        found = torch.autograd.grad(output, [x, *ours.parameters()], create_graph=True)
        for gradient in found:
            with pytest.raises(NotImplementedError, match=r"GRU\(.*there is no second derivative"):
                (x.sum() + gradient.square().sum()).backward(retain_graph=True)
    (found,) = torch.autograd.grad(ours(x)[0].sum(), x, create_graph=True)
    close(found.detach(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
@every_cell
def test_a_training_of_50_steps_is_pytorchs(name, optimizer):
    """In float64, to 1e-6: the weights move in place, and every step sees the last one's."""
    theirs, ours = pair(name, 3, 6, num_layers=2, batch_first=True)
    heads = [nn.Linear(6, 2, dtype=torch.float64) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    x, y = torch.randn(8, 10, 3, dtype=torch.float64), torch.randn(8, 2, dtype=torch.float64)
    losses = []
    for module, head in zip((theirs, ours), heads, strict=True):
        steps = getattr(torch.optim, optimizer)([*module.parameters(), *head.parameters()], lr=0.02)
        own = []
        for _ in range(50):
            steps.zero_grad()
            loss = (head(module(x)[0][:, -1]) - y).square().mean()
            loss.backward()
            steps.step()
            own.append(loss.item())
        losses.append(own)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-6)
    assert losses[1][-1] < 0.95 * losses[1][0]
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(one, other, rtol=0, atol=1e-6)


@every_cell
def test_the_modules_are_pytorchs_in_name_and_number(name):
    """Class, parameters, order, initial values, text and state_dict, in both directions."""
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    torch.manual_seed(3)
    theirs = getattr(nn, name)(4, 6, **options)
    torch.manual_seed(3)
    ours = getattr(numrnn.torch, name)(4, 6, **options)
    assert isinstance(ours, getattr(nn, name))
    assert repr(ours) == repr(theirs)
    for (one, left), (other, right) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert one == other
        assert torch.equal(left, right)
    other = getattr(nn, name)(4, 6, **options)
    other.load_state_dict(ours.state_dict())
    ours.reset_parameters()
    ours.load_state_dict(other.state_dict())
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert ours.flatten_parameters() is None


def test_arguments_may_be_given_by_place():
    module = numrnn.torch.RNN(3, 4, 2, "relu", False, True, 0.25, True, "cpu", torch.float64)
    assert repr(module) == repr(nn.RNN(3, 4, 2, "relu", False, True, 0.25, True))
    assert module.weight_ih_l0.dtype == torch.float64
    module = numrnn.torch.LSTM(3, 4, 2, False, True, 0.25, True, 2, "cpu", torch.float64)
    assert repr(module) == repr(nn.LSTM(3, 4, 2, False, True, 0.25, True, 2))
    module = numrnn.torch.GRU(3, 4, 2, False, True, 0.25, True, "cpu", torch.float64)
    assert repr(module) == repr(nn.GRU(3, 4, 2, False, True, 0.25, True))


@every_cell
def test_copies_and_pickles_are_modules_of_their_own(name):
    _, ours = pair(name, 2, 3)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    expected = [tensor.detach() for tensor in flat(ours(x))]
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    loaded = getattr(numrnn.torch, name)(2, 3, dtype=torch.float64)
    loaded.load_state_dict(torch.load(file))
    for other in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(ours)), loaded):
        assert all(map(torch.equal, flat(other(x)), expected))
    other = copy.deepcopy(ours)
    with torch.no_grad():
        other.weight_hh_l0.mul_(3)
    assert all(map(torch.equal, flat(ours(x)), expected))
    assert not torch.equal(other(x)[0], expected[0])


CHANGES = {
    "in place": lambda module: module.weight_hh_l0.mul_(2),
    "behind the counter": lambda module: module.weight_hh_l0.data.mul_(2),
    "through an array": lambda module: np.multiply(module.bias_ih_l0.numpy(), 2, out=module.bias_ih_l0.numpy()),
    "another tensor": lambda module: setattr(module.weight_hh_l0, "data", module.weight_hh_l0 * 2),
    "another parameter": lambda module: setattr(module, "weight_hh_l0", nn.Parameter(module.weight_hh_l0 * 2)),
    "a state": lambda module: module.load_state_dict({k: v * 2 for k, v in module.state_dict().items()}),
    "a new start": lambda module: module.reset_parameters(),
    "a vector": lambda module: nn.utils.vector_to_parameters(
        2 * nn.utils.parameters_to_vector(module.parameters()), module.parameters()
    ),
}


@pytest.mark.parametrize("repeats", [1, 2, 3])
@pytest.mark.parametrize("change", CHANGES, ids=lambda name: name.replace(" ", "_"))
def test_every_change_of_a_weight_is_seen(change, repeats):
    """However it is made, and however often the weights were used before; also when it is undone."""
    theirs, ours = pair("GRU", 2, 3)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            before = [ours(x)[0].detach() for _ in range(repeats)][-1]
        old = copy.deepcopy(ours.state_dict())
        with torch.no_grad():
            CHANGES[change](ours)
        theirs.load_state_dict(ours.state_dict())
        for _ in range(repeats):
            found = ours(x)[0]
            assert not torch.equal(found, before)
            close(found, theirs(x)[0], rtol=0, atol=1e-12)
        for parameter, value in zip(ours.parameters(), old.values(), strict=True):
            parameter.data.copy_(value)
        for _ in range(repeats):
            assert torch.equal(ours(x)[0], before)


def test_unchanged_weights_are_packed_once():
    _, ours = pair("LSTM", 2, 3)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    ours(x)
    ours(x)
    panels = ours._packed._held.panels
    for _ in range(3):
        ours(x)[0].sum().backward()
        with torch.no_grad():
            ours(x)
    assert ours._packed._held.panels is panels


def test_what_needs_no_gradient_gets_none():
    """Frozen parameters, a given state, an input: each alone may want one."""
    theirs, ours = pair("LSTM", 2, 3, num_layers=2)
    for module in (theirs, ours):
        module.weight_ih_l0.requires_grad_(False)
        module.bias_hh_l1.requires_grad_(False)
    x, hx = torch.randn(4, 2, 2, dtype=torch.float64), random_state("LSTM", ours, (2,))
    hx = (hx[0].detach(), hx[1])
    found = []
    for module in (theirs, ours):
        hx[1].grad = None
        sum(tensor.square().sum() for tensor in flat(module(x, hx))).backward()
        found.append([hx[1].grad, *(parameter.grad for parameter in module.parameters())])
    assert [gradient is None for gradient in found[0]] == [gradient is None for gradient in found[1]]
    for one, other in zip(*found, strict=True):
        if one is not None:
            close(other, one, rtol=0, atol=1e-12)
    ours.requires_grad_(False)
    assert not any(tensor.requires_grad for tensor in flat(ours(x)))
    y = x.clone().requires_grad_()
    ours(y)[0].sum().backward()
    assert y.grad.abs().sum() > 0
    assert hx[0].grad is None


@pytest.mark.parametrize("part", [0, 1, 2])
def test_any_result_alone_may_have_a_gradient(part):
    theirs, ours = pair("LSTM", 2, 3)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    wanted, found = (torch.autograd.grad(flat(module(x))[part].sin().sum(), x) for module in (theirs, ours))
    close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_kept(context):
    """The bits of the recorded call, and the results are the caller's to write to."""
    _, ours = pair("GRU", 2, 3, num_layers=2)
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    recorded = ours(x)
    with context():
        found = ours(x)
        assert all(map(torch.equal, flat(found), flat(recorded)))
        assert not any(tensor.requires_grad for tensor in flat(found))
        found[0].add_(1)
    assert recorded[0].grad_fn is not None


def test_tensors_and_arrays_share_their_memory():
    """The output is the array that kernels wrote, x the one that they read: nothing is copied on the way."""
    _, ours = pair("GRU", 2, 3, batch_first=True)
    x = torch.randn(3, 50, 2, dtype=torch.float64, requires_grad=True)
    output, h_n = ours(x)
    kept = output.grad_fn.saved_tensors
    assert x.data_ptr() in {tensor.data_ptr() for tensor in kept}
    assert output.data_ptr() in {tensor.data_ptr() for tensor in kept}
    for parameter in ours.parameters():
        assert parameter.data_ptr() in {tensor.data_ptr() for tensor in kept}
    assert h_n.shape == (1, 3, 3)


def test_inputs_of_any_layout_in_memory():
    theirs, ours = pair("GRU", 3, 4)
    wide = torch.randn(4, 7, 6, dtype=torch.float64)
    for x in (wide.transpose(0, 1)[..., :3], wide[:, ::2, ::2], wide[:1, :, :3].expand(5, 7, 3), wide[..., 3:]):
        x = x.detach().requires_grad_()
        wanted, found = (torch.autograd.grad(module(x)[0].square().sum(), x) for module in (theirs, ours))
        close(found, wanted, rtol=0, atol=1e-12)


def test_a_state_of_one_row_stands_for_every_row():
    """A learnable state; its gradient is the sum over the batch."""
    _, ours = pair("LSTM", 2, 3)
    x, hx = torch.randn(4, 5, 2, dtype=torch.float64), random_state("LSTM", ours, (1,))
    whole = tuple(part.detach().expand(1, 5, 3).clone().requires_grad_() for part in hx)
    for state in (hx, whole):
        sum(tensor.square().sum() for tensor in flat(ours(x, state))).backward()
    for one, every in zip(hx, whole, strict=True):
        close(one.grad, every.grad.sum(1, keepdim=True), rtol=0, atol=1e-12)


def test_no_steps_and_no_rows():
    _, ours = pair("GRU", 2, 3)
    h_0 = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    output, h_n = ours(torch.empty(0, 4, 2, dtype=torch.float64), h_0)
    h_n.sum().backward()
    assert output.shape == (0, 4, 3)
    assert torch.equal(h_n, h_0)
    assert torch.equal(h_0.grad, torch.ones_like(h_0))
    x = torch.empty(5, 0, 2, dtype=torch.float64, requires_grad=True)
    ours(x)[0].sum().backward()
    assert x.grad.shape == x.shape
