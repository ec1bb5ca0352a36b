"""A gradient of `numrnn.torch` that is differentiated is refused: it never gives zeros."""

import warnings

import pytest

torch = pytest.importorskip("torch")
from test_torch_modules import flat, one_thread, rnn, seeded  # noqa: E402

import numrnn.torch  # noqa: E402

__all__ = ["one_thread", "seeded"]

pytestmark = pytest.mark.torch

functional = torch.autograd.functional
SECOND = {
    "jvp": lambda f, x: functional.jvp(f, x, torch.ones_like(x)),
    "hessian": lambda f, x: functional.hessian(lambda x: loss(f(x)), x),
    "hvp": lambda f, x: functional.hvp(lambda x: loss(f(x)), x, torch.ones_like(x)),
    "vhp": lambda f, x: functional.vhp(lambda x: loss(f(x)), x, torch.ones_like(x)),
    "jacobian": lambda f, x: torch.autograd.grad(functional.jacobian(f, x, create_graph=True)[0].sum(), x),
    "gradgradcheck": torch.autograd.gradgradcheck,
    "grad of grad": lambda f, x: torch.autograd.grad(gradient_of(f(x), x).sum(), x, allow_unused=True),
    "backward of grad": lambda f, x: gradient_of(f(x), x).square().sum().backward(),
    "backward of backward": lambda f, x: backward_of_backward(f(x), x),
}


def randn(*shape, **given):
    return torch.randn(*shape, dtype=torch.float64, **given)


def loss(results):
    return sum(each.square().sum() for each in results)


def gradient_of(results, x):
    """One that may be differentiated, as far as PyTorch knows."""
    return torch.autograd.grad(loss(results), x, create_graph=True)[0]


def backward_of_backward(results, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of a cycle of references
        loss(results).backward(create_graph=True)
    gradient, x.grad = x.grad, None
    gradient.sum().backward()


none_second = pytest.raises(NotImplementedError, match=r"LSTM\(.*a gradient of a gradient was asked for")


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("by", ["x", "h_0", "c_0", "weight_hh_l0"])
@pytest.mark.parametrize("way", SECOND, ids=lambda way: way.replace(" ", "_"))
def test_a_second_derivative_is_refused_and_never_zero(way, by, frozen):
    """By each tensor that a gradient depends on, whether the other weights want gradients or not."""
    module = numrnn.torch.LSTM(3, 3).double().requires_grad_(not frozen)
    tensors = {"x": randn(4, 2, 3), "h_0": randn(1, 2, 3), "c_0": randn(1, 2, 3)}
    tensors["weight_hh_l0"] = module.weight_hh_l0.detach().clone()

    def results(value):
        given = tensors | {by: value}
        weights = {"weight_hh_l0": given["weight_hh_l0"]}
        return tuple(flat(torch.func.functional_call(module, weights, (given["x"], (given["h_0"], given["c_0"])))))

    with none_second:
        SECOND[way](results, tensors[by].clone().requires_grad_())


def test_the_gradient_of_one_tensor_by_another_is_refused_too():
    """Cotangents among them, through packed sequences, two modules and hooks on saved tensors."""
    module = numrnn.torch.LSTM(3, 3, num_layers=2).double()
    x, v = randn(4, 2, 3, requires_grad=True), randn(4, 2, 3, requires_grad=True)
    unrelated = randn(1, requires_grad=True)

    def pack(x):
        return module(rnn.pack_padded_sequence(x, [4, 2], enforce_sorted=False))[0].data

    def hooked(x):
        with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
            return module(x)[0]

    for call in (lambda x: module(x)[0], pack, lambda x: module(module(x)[0])[0], hooked):
        output = call(x)
        inputs = [x, *module.parameters()]
        first = torch.autograd.grad(output, inputs, v.flatten()[: output.numel()].view_as(output), create_graph=True)
        assert torch.autograd.grad(first[0].sum(), unrelated, retain_graph=True, allow_unused=True) == (None,)
        for gradient in first:
            for by in (v, *inputs):
                with none_second:
                    torch.autograd.grad(gradient.sum(), by, retain_graph=True, allow_unused=True)
