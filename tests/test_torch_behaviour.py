"""`numrnn.torch` beside PyTorch's other features, and what it refuses."""

import copy
import doctest
import gc
import importlib
import os
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from test_torch_modules import close, every_cell, flat, gradients, nn, one_thread, pair, rnn, seeded  # noqa: E402

import numrnn.torch  # noqa: E402

__all__ = ["one_thread", "seeded"]

pytestmark = pytest.mark.torch


def randn(*shape, **given):
    return torch.randn(*shape, dtype=torch.float64, **given)


@pytest.mark.parametrize("module", ["numrnn.torch", "numrnn.torch.layers"])
def test_examples_are_true(module):
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert not found.failed


def test_dropout_is_for_training_alone_and_repeats_with_the_seed():
    theirs, ours = pair("GRU", 3, 4, num_layers=3, dropout=0.5)
    x = randn(6, 5, 3)
    ours.eval()
    theirs.eval()
    close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-12)
    ours.train()
    runs = []
    for seed, grad in ((1, True), (1, False), (2, True)):
        torch.manual_seed(seed)
        with torch.set_grad_enabled(grad):
            runs.append([ours(x)[0], ours(x)[0]])
    for k in range(2):
        assert torch.equal(runs[0][k], runs[1][k])
    outputs = [runs[0][0], runs[0][1], runs[2][0], runs[2][1]]
    assert not any(torch.equal(one, other) for k, one in enumerate(outputs) for other in outputs[:k])


def test_dropout_of_everything_is_pytorchs():
    theirs, ours = pair("LSTM", 3, 4, num_layers=2, dropout=1.0)
    x = randn(6, 5, 3, requires_grad=True)
    expected, found = theirs(x), ours(x)
    for one, other in zip(flat(found), flat(expected), strict=True):
        close(one, other, rtol=0, atol=1e-12)
    for one, other in zip(gradients(ours, found, x), gradients(theirs, expected, x), strict=True):
        close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("packed", [False, True])
def test_gradients_are_those_of_the_masks_that_were_drawn(packed):
    _, ours = pair("GRU", 2, 3, num_layers=3, bidirectional=True, dropout=0.4)

    def call(x):
        torch.manual_seed(5)
        return flat(ours(rnn.pack_padded_sequence(x, [4, 2]) if packed else x))[:2]

    assert torch.autograd.gradcheck(call, randn(4, 2, 2, requires_grad=True))


def test_arguments_that_are_changed_later_count():
    """PyTorch reads them in every call."""
    _, ours = pair("GRU", 3, 3, num_layers=2)
    x = randn(4, 5, 3)
    before = ours(x)[0]
    ours.batch_first = True
    assert torch.equal(ours(x.transpose(0, 1))[0].transpose(0, 1), before)
    ours.batch_first, ours.dropout = False, 1.0
    assert not torch.equal(ours(x)[0], before)
    assert torch.equal(ours.eval()(x)[0], before)


@every_cell
def test_modules_change_their_type(name):
    module = getattr(numrnn.torch, name)(2, 3)
    other = getattr(nn, name)(2, 3)
    other.load_state_dict(module.state_dict())
    for dtype, atol in ((torch.float32, 1e-6), (torch.float64, 1e-12), (torch.float32, 1e-6)):
        x = torch.randn(4, 2, 2, dtype=dtype)
        assert module.to(dtype) is module
        close(module(x)[0], other.to(dtype)(x)[0], rtol=0, atol=atol)
        module(x)[0].sum().backward()
        assert module.weight_ih_l0.grad.dtype == dtype
        module.zero_grad()
    for kind in (torch.float16, torch.bfloat16):
        with pytest.raises(ValueError, match=rf"the weights are {kind}: numrnn computes in float32 or float64"):
            copy.deepcopy(module).to(kind)(torch.zeros(4, 2, 2, dtype=kind))


def test_the_default_type_is_pytorchs(monkeypatch):
    try:
        torch.set_default_dtype(torch.float64)
        assert numrnn.torch.GRU(2, 3)(torch.zeros(4, 1, 2))[0].dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_under_autocast_the_input_is_cast():
    module = numrnn.torch.GRU(2, 3)
    x = torch.randn(4, 5, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = nn.Linear(2, 2)(x)
        assert lower.dtype == torch.bfloat16
        output, _ = module(lower)
    close(output, module(lower.float())[0], rtol=0, atol=0)
    output.sum().backward()


def test_what_backward_needs_may_not_be_written_to():
    """PyTorch's own error, for input, output and weights."""
    for change in ("x", "output", "weight"):
        _, ours = pair("GRU", 2, 3)
        x = randn(4, 2, 2, requires_grad=True) * 1
        output, _ = ours(x)
        loss = (output * 2).sum()
        with torch.no_grad():
            {"x": x, "output": output, "weight": ours.weight_hh_l0}[change].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_states_may_be_written_to():
    """Those given and those returned: truncated back-propagation writes them over."""
    _, ours = pair("LSTM", 2, 3)
    x, found = randn(4, 2, 2, requires_grad=True), []
    for write in (False, True):
        hx = (torch.ones(1, 2, 3, dtype=torch.float64), torch.ones(1, 2, 3, dtype=torch.float64))
        output, last = ours(x, hx)
        if write:
            with torch.no_grad():
                for tensor in (*hx, *last):
                    tensor.zero_()
        found.append(torch.autograd.grad(output.square().sum(), x)[0])
    assert torch.equal(*found)


def test_backward_runs_again_only_where_the_graph_is_kept():
    _, ours = pair("LSTM", 2, 3, num_layers=2)
    x = randn(4, 2, 2, requires_grad=True)
    loss = ours(x)[0].square().sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_memory_is_free_after_backward_though_the_loss_lives():
    """All arrays that were kept are PyTorch's to drop; nothing else holds them."""
    _, ours = pair("LSTM", 4, 32, num_layers=2)
    x = randn(50, 20, 4, requires_grad=True)
    workspaces = 2 * 50 * 20 * 5 * 32 * 8
    ours(x)[0].sum().backward()  # scratch and gradients that stay
    tracemalloc.start()
    try:
        output, _ = ours(x)
        node, loss = output.grad_fn, output.sum()
        del output
        before = tracemalloc.get_traced_memory()[0]
        loss.backward()
        assert tracemalloc.get_traced_memory()[0] < before - workspaces
    finally:
        tracemalloc.stop()
    with pytest.raises(RuntimeError, match="after they have already been freed"):
        node.saved_tensors  # noqa: B018 (it raises)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(reentrant):
    """A forward pass that is run again in backward, dropout included."""
    _, ours = pair("GRU", 2, 3, num_layers=2, dropout=0.5)
    x = randn(4, 2, 2, requires_grad=True)
    found = []
    for again in (False, True):
        torch.manual_seed(1)
        run = (lambda x: torch.utils.checkpoint.checkpoint(ours, x, use_reentrant=reentrant)) if again else ours
        found.append(gradients(ours, run(x), x) if not (again and reentrant) else backwards(ours, run(x), x))
    for one, other in zip(*found, strict=True):
        close(one, other, rtol=0, atol=0)


def backwards(module, results, x):
    """The gradients of `gradients` by `backward`, which re-entrant checkpoints ask for."""
    module.zero_grad()
    loss = sum(
        (k + 1) * (tensor * torch.linspace(-1, 1, tensor.numel(), dtype=tensor.dtype).view(tensor.shape)).sum()
        for k, tensor in enumerate(flat(results))
    )
    loss.backward()
    return [x.grad, *(parameter.grad for parameter in module.parameters())]


def test_hooks_on_saved_tensors_see_and_replace_them():
    _, ours = pair("LSTM", 2, 3, num_layers=2, proj_size=2)
    x = randn(4, 2, 2, requires_grad=True)
    wanted = gradients(ours, ours(x), x)
    seen = []

    def pack(tensor):
        seen.append(tensor)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        results = ours(x)
    assert len(seen) > len(list(ours.parameters()))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(1)  # the copies are what backward reads
    ours(x)
    gc.collect()
    for one, other in zip(gradients(ours, results, x), wanted, strict=True):
        close(one, other, rtol=0, atol=0)


def test_weights_that_are_computed():
    """Under weight normalisation a weight is a new tensor in every call, with gradients of its own."""
    _, ours = pair("GRU", 2, 3)
    nn.utils.parametrizations.weight_norm(ours, "weight_hh_l0")
    x = randn(4, 2, 2)
    steps = torch.optim.SGD(ours.parameters(), lr=0.1)
    for _ in range(5):
        plain = nn.GRU(2, 3, dtype=torch.float64)
        plain.load_state_dict({name: getattr(ours, name) for name in plain.state_dict()})
        output = ours(x)[0]
        close(output, plain(x)[0], rtol=0, atol=1e-12)
        steps.zero_grad()
        output.square().sum().backward()
        plain(x)[0].square().sum().backward()
        close(ours.bias_hh_l0.grad, plain.bias_hh_l0.grad, rtol=0, atol=1e-12)
        (wanted,) = torch.autograd.grad(
            (ours.weight_hh_l0 * plain.weight_hh_l0.grad).sum(), [ours.parametrizations.weight_hh_l0.original0]
        )
        close(ours.parametrizations.weight_hh_l0.original0.grad, wanted, rtol=0, atol=1e-12)
        steps.step()


def test_a_weight_of_two_modules_gets_both_gradients():
    theirs, ours = ([module, copy.deepcopy(module)] for module in pair("RNN", 3, 3))
    x, found = randn(4, 2, 3), []
    for one, other in (theirs, ours):
        other.weight_hh_l0 = one.weight_hh_l0
        other(one(x)[0])[0].sum().backward()
        found.append(one.weight_hh_l0.grad)
    close(found[1], found[0], rtol=0, atol=1e-12)


def test_threads_are_the_fewer_of_both_settings(monkeypatch):
    """And change no bit."""
    _, ours = pair("GRU", 16, 64, batch_first=True)
    x = randn(32, 50, 16)
    asked = []
    whole = numrnn.torch.layers.autograd.Request.plan
    monkeypatch.setattr(
        numrnn.torch.layers.autograd.Request,
        "plan",
        lambda self, *given: asked.append(self.n_threads) or whole(self, *given),
    )
    before = numrnn.get_num_threads()
    outputs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        outputs.append(ours(x)[0])
    assert asked == [1, min(2, before)]
    assert torch.equal(*outputs)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # PyTorch's own tables of forward mode
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("which", ["x", "h_0", "c_0", "weight_hh_l0"])
def test_a_tangent_is_refused_and_never_lost(which, frozen):
    """By forward_ad and by torch.func, recorded or not; without a tangent, a module runs inside a level too."""
    module = numrnn.torch.LSTM(2, 3).requires_grad_(not frozen)
    tensors = {"x": torch.ones(4, 1, 2), "h_0": torch.ones(1, 1, 3), "c_0": torch.ones(1, 1, 3)}
    tensors["weight_hh_l0"] = module.weight_hh_l0.detach().clone()

    def output(value):
        given = tensors | {which: value}
        weights = {"weight_hh_l0": given["weight_hh_l0"]}
        return torch.func.functional_call(module, weights, (given["x"], (given["h_0"], given["c_0"])))[0]

    value = tensors[which]
    with torch.autograd.forward_ad.dual_level():
        expected = output(value)
        with pytest.raises(NotImplementedError, match=r"a tensor has a tangent, and forward-mode .* not supported"):
            output(torch.autograd.forward_ad.make_dual(value, torch.ones_like(value)))
    torch.testing.assert_close(expected, output(value), rtol=0, atol=0)
    for transform in (torch.func.jacfwd, torch.func.jacrev, torch.func.vmap):
        with pytest.raises(NotImplementedError, match=r"inside a transform of torch\.func, and forward-mode \(jvp\)"):
            transform(output)(value)


def test_several_python_threads_share_a_module():
    """With weights that are packed anew meanwhile."""
    _, ours = pair("LSTM", 3, 8, num_layers=2)
    inputs = [randn(20, 4, 3, requires_grad=True) for _ in range(12)]
    wanted = [gradients(ours, ours(x), x) for x in inputs]

    def work(x):
        ours._packed = type(ours._packed)()
        return gradients(ours, ours(x), x)

    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(work, inputs), wanted, strict=True):
            assert all(map(torch.equal, found, expected))


def test_compiled_models_run_these_modules_as_they_are():
    """torch.compile leaves recurrent layers alone, and these are some."""
    model = nn.Sequential(nn.Linear(2, 2), numrnn.torch.GRU(2, 3))
    x = torch.randn(4, 5, 2)
    expected = model(x)[0]
    found = torch.compile(model, backend="eager")(x)[0]
    close(found, expected, rtol=0, atol=1e-6)
    found.sum().backward()
    assert model[0].weight.grad is not None


def test_the_reference_runs_where_numba_is_switched_off():
    code = """
import torch, numrnn.torch, warnings
warnings.simplefilter("ignore")
theirs, ours = torch.nn.LSTM(2, 3, 2, dtype=torch.float64), numrnn.torch.LSTM(2, 3, 2, dtype=torch.float64)
ours.load_state_dict(theirs.state_dict())
x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
one, other = (torch.autograd.grad(m(x)[0].sin().sum(), [x, *m.parameters()]) for m in (theirs, ours))
print(max(float((a - b).abs().max()) for a, b in zip(one, other)) < 1e-12)
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def lstm(**given):
    return numrnn.torch.LSTM(8, 64, **given)


def gru(**given):
    return numrnn.torch.GRU(8, 64, **given)


def with_weight(module, value):
    module.weight_hh_l0 = nn.Parameter(value)
    return module


ZEROS = torch.zeros
REFUSED = {
    "features": (lambda: gru()(ZEROS(5, 3, 12)), ValueError, "GRU(input_size=8, hidden_size=64): `x` has 12 features"),
    "axes": (lambda: gru()(ZEROS(5, 3, 8, 1)), ValueError, "`x` has 4 axes"),
    "an array": (lambda: gru()(np.zeros((5, 3, 8))), TypeError, "`input` should be a tensor, got ndarray."),
    "a list": (lambda: gru()([ZEROS(5, 8)]), TypeError, "`input` should be a tensor, got list."),
    "a type": (
        lambda: gru()(ZEROS(5, 3, 8).double()),
        ValueError,
        "`input` is torch.float64, the weights are torch.float32.\n  Convert it: input.to(torch.float32)",
    ),
    "integers": (lambda: gru()(ZEROS(5, 3, 8).long()), ValueError, "`input` is torch.int64, the weights are"),
    "a state's type": (
        lambda: gru()(ZEROS(5, 3, 8), ZEROS(1, 3, 64).double()),
        ValueError,
        "`h_0` is torch.float64, the weights are torch.float32.",
    ),
    "a state's shape": (lambda: gru()(ZEROS(5, 3, 8), ZEROS(2, 3, 64)), ValueError, "`h_0` has shape (2, 3, 64)"),
    "a cell state's shape": (
        lambda: lstm(batch_first=True)(ZEROS(5, 3, 8), (ZEROS(1, 5, 64), ZEROS(5, 1, 64))),
        ValueError,
        "`c_0` has shape (5, 1, 64), expected (1, 5, 64).",
    ),
    "one state of two": (lambda: lstm()(ZEROS(5, 3, 8), ZEROS(1, 3, 64)), TypeError, "should be a pair (h_0, c_0)"),
    "two states for one": (
        lambda: gru()(ZEROS(5, 3, 8), (ZEROS(1, 3, 64), ZEROS(1, 3, 64))),
        TypeError,
        "expected one array h_0",
    ),
    "half a pair": (lambda: lstm()(ZEROS(5, 3, 8), (ZEROS(1, 3, 64), None)), TypeError, "`c_0` should be a tensor"),
    "an array for a state": (
        lambda: gru()(ZEROS(5, 3, 8), np.zeros((1, 3, 64))),
        TypeError,
        "`h_0` should be a tensor, got ndarray.",
    ),
    "no numbers": (
        lambda: gru()(ZEROS(5, 3, 8, device="meta")),
        NotImplementedError,
        "`input` is on meta: numrnn computes on the CPU.\n  Pass input.cpu().",
    ),
    "weights without numbers": (
        lambda: gru(device="meta")(ZEROS(5, 3, 8)),
        NotImplementedError,
        "the weights are on meta: numrnn computes on the CPU.",
    ),
    "another device": (
        lambda: gru(device="cuda:0"),
        NotImplementedError,
        "GRU: `device` is cuda: numrnn computes on the CPU.",
    ),
    "half precision": (
        lambda: lstm(dtype=torch.float16),
        ValueError,
        "LSTM: `dtype` is torch.float16: numrnn computes in float32 or float64.",
    ),
    "weights of two types": (
        lambda: with_weight(gru(), ZEROS(192, 64).double())(ZEROS(5, 3, 8)),
        ValueError,
        "the weights are of several types: torch.float32, torch.float64.",
    ),
    "a weight of another shape": (
        lambda: with_weight(gru(), ZEROS(192, 32))(ZEROS(5, 3, 8)),
        ValueError,
        "`weight_hh_l0` has shape (192, 32), expected (192, 64).",
    ),
    "PyTorch's own": (lambda: gru(num_layers=0), ValueError, "num_layers must be greater than zero"),
    "a projection": (lambda: numrnn.torch.GRU(8, 64, proj_size=3), TypeError, "proj_size"),
}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name.replace(" ", "_"))
def test_refusals(name):
    call, error, text = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert text in str(caught.value)


def test_a_trace_holds_the_recurrence_and_not_one_result():
    layer = numrnn.torch.GRU(3, 5)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of its tracer
        traced = torch.jit.trace(layer, torch.zeros(4, 2, 3))
    x = torch.randn(4, 2, 3)
    torch.testing.assert_close(traced(x)[0], layer(x)[0])
