"""Losses, optimisers and schedules beside PyTorch's, on the same random numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import losses, optim

pytestmark = pytest.mark.torch

Rng = np.random.Generator


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def compare(torch: Any, ours: tuple[float, Any], prediction: Any, theirs: Callable[[Any], Any], atol: float) -> None:
    """Value and gradient of a loss against what PyTorch makes of the same prediction."""
    tensor = torch.tensor(prediction, requires_grad=True)
    loss = theirs(tensor)
    loss.backward()
    assert ours[0] == pytest.approx(float(loss.detach()), rel=1e-9 if atol < 1e-8 else 1e-5)
    np.testing.assert_allclose(ours[1], tensor.grad.numpy(), rtol=0, atol=atol)


precisions = pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("float32", 1e-6)])


@precisions
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_losses_of_numbers(torch: Any, rng: Rng, dtype: str, atol: float, scale: float) -> None:
    functional = torch.nn.functional
    prediction, target = (scale * rng.standard_normal((2, 6, 5, 3))).astype(dtype)
    wanted = torch.tensor(target)
    atol *= scale
    compare(torch, losses.mse(prediction, target), prediction, lambda p: functional.mse_loss(p, wanted), atol)
    compare(torch, losses.mae(prediction, target), prediction, lambda p: functional.l1_loss(p, wanted), atol)
    for delta in (1.0, 0.3, 50.0):
        found = losses.huber(prediction, target, delta=delta)
        compare(
            torch, found, prediction, lambda p, delta=delta: functional.huber_loss(p, wanted, delta=delta), atol * delta
        )
    shares = rng.random(prediction.shape).astype(dtype)
    compare(
        torch,
        losses.binary_cross_entropy(prediction, shares),
        prediction,
        lambda p: functional.binary_cross_entropy_with_logits(p, torch.tensor(shares)),
        atol,
    )


@precisions
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 2])
def test_cross_entropy(torch: Any, rng: Rng, dtype: str, atol: float, weighted: bool, ignored: int) -> None:
    logits, labels = (5.0 * rng.standard_normal((40, 6))).astype(dtype), rng.integers(0, 6, 40)
    labels[::7] = ignored
    by_class = rng.random(6) if weighted else None
    compare(
        torch,
        losses.cross_entropy(logits, labels, class_weight=by_class, ignore_index=ignored),
        logits,
        lambda p: torch.nn.functional.cross_entropy(
            p,
            torch.tensor(labels),
            weight=None if by_class is None else torch.tensor(by_class.astype(dtype)),
            ignore_index=ignored,
        ),
        atol,
    )


def test_the_pinball_loss(torch: Any, rng: Rng) -> None:
    prediction, target, levels = rng.standard_normal((9, 4, 3)), rng.standard_normal((9, 4)), (0.1, 0.5, 0.9)

    def theirs(tensor: Any) -> Any:
        above = torch.tensor(target)[..., None] - tensor
        return torch.maximum(torch.tensor(levels) * above, (torch.tensor(levels) - 1) * above).mean()

    compare(torch, losses.quantile(prediction, target, levels=levels), prediction, theirs, 1e-8)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("mse", "mse_loss"),
        ("binary_cross_entropy", "binary_cross_entropy_with_logits"),
        ("cross_entropy", "cross_entropy"),
    ],
)
def test_padding_is_as_a_mask(torch: Any, rng: Rng, loss: str, name: str) -> None:
    lengths = np.array([7, 3, 1])
    prediction = rng.standard_normal((3, 7, 4))
    target = rng.integers(0, 4, (3, 7)) if loss == "cross_entropy" else rng.random((3, 7, 4))
    valid, wanted = torch.tensor(np.arange(7) < lengths[:, None]), torch.tensor(target)
    ours = getattr(losses, loss)(prediction, target, lengths=lengths)
    compare(torch, ours, prediction, lambda p: getattr(torch.nn.functional, name)(p[valid], wanted[valid]), 1e-12)


def test_softmax(torch: Any, rng: Rng) -> None:
    x = 1e4 * rng.uniform(-1, 1, (20, 7))
    np.testing.assert_allclose(losses.softmax(x), torch.softmax(torch.tensor(x), -1).numpy(), rtol=1e-12)
    np.testing.assert_allclose(losses.log_softmax(x), torch.log_softmax(torch.tensor(x), -1).numpy(), rtol=1e-12)


RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-5, "momentum": 0.7, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.3}),
]


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize(("name", "options"), RULES, ids=str)
def test_fifty_steps_of_an_optimiser(
    torch: Any, rng: Rng, name: str, options: dict[str, Any], dtype: str, atol: float
) -> None:
    model = numrnn.SequenceModel(numrnn.RNN(3, 5, dtype=dtype, seed=1), numrnn.Linear(5, 2, dtype=dtype, seed=2))
    tensors = {key: torch.tensor(np.array(value), requires_grad=True) for key, value in model.parameters.items()}
    ours, theirs = getattr(optim, name)(model, **options), getattr(torch.optim, name)(tensors.values(), **options)
    for k in range(50):
        gradients = {key: rng.standard_normal(v.shape).astype(dtype) for key, v in model.parameters.items()}
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[key])
        if k == 30:
            ours.lr = theirs.param_groups[0]["lr"] = 0.007
        ours.step(gradients)
        theirs.step()
    for key, value in model.parameters.items():
        np.testing.assert_allclose(value, tensors[key].detach().numpy(), rtol=0, atol=atol)


def test_fifty_steps_of_training(torch: Any, rng: Rng) -> None:
    """Forward, loss, backward and AdamW together, with padding, classes and clipping."""
    model = numrnn.SequenceModel(
        numrnn.LSTM(3, 6, dtype="float64", seed=1), numrnn.Linear(6, 4, dtype="float64", seed=2), readout_on="every"
    )
    lstm, head = torch.nn.LSTM(3, 6, dtype=torch.float64), torch.nn.Linear(6, 4, dtype=torch.float64)
    for module, part in ((lstm, model.recurrent), (head, model.readout)):
        module.load_state_dict({key: torch.tensor(value) for key, value in part.state_dict().items()})
    tensors = [*lstm.parameters(), *head.parameters()]
    ours, theirs = optim.AdamW(model, lr=0.01), torch.optim.AdamW(tensors, lr=0.01)
    lengths, labels = np.array([9, 4, 6, 1]), rng.integers(0, 4, (9, 4))
    x = rng.standard_normal((9, 4, 3))
    valid = torch.tensor(np.arange(9)[:, None] < lengths)
    for _ in range(50):
        prediction, pullback = model.vjp(x, lengths=lengths)
        value, d_prediction = losses.cross_entropy(prediction, labels, lengths=lengths)
        gradients, _ = optim.clip_by_global_norm(pullback(d_prediction, x_gradient=False), 0.1)
        ours.step(gradients)
        theirs.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(lstm(torch.tensor(x))[0])[valid], torch.tensor(labels)[valid])
        loss.backward()
        norm = float(torch.nn.utils.get_total_norm([tensor.grad for tensor in tensors]))
        for tensor in tensors:
            tensor.grad *= min(1.0, 0.1 / norm)
        theirs.step()
        assert value == pytest.approx(float(loss.detach()), rel=1e-8)


@pytest.mark.parametrize(("warmup", "total"), [(3, 10), (1, 5), (5, 6)])
def test_warmup_and_cosine(torch: Any, warmup: int, total: int) -> None:
    ours = optim.SGD(numrnn.Linear(2, 1), lr=0.5)
    schedule = optim.WarmupCosine(ours, warmup, total, lr_min=0.01)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    rise = torch.optim.lr_scheduler.LinearLR(theirs, start_factor=1 / warmup, total_iters=max(1, warmup - 1))
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=total - warmup, eta_min=0.01)
    both = torch.optim.lr_scheduler.SequentialLR(theirs, [rise, fall], milestones=[warmup])
    for _ in range(total):
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        theirs.step()
        both.step()
        schedule.step()


@pytest.mark.parametrize(("patience", "factor", "threshold"), [(0, 0.5, 1e-4), (2, 0.1, 0.2), (5, 0.9, 0.0)])
def test_reduce_on_plateau(torch: Any, rng: Rng, patience: int, factor: float, threshold: float) -> None:
    ours = optim.SGD(numrnn.Linear(2, 1), lr=0.5)
    schedule = optim.ReduceOnPlateau(ours, factor=factor, patience=patience, threshold=threshold, lr_min=1e-3)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    reduce = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, factor=factor, patience=patience, threshold=threshold, min_lr=1e-3, eps=0.0
    )
    for value in rng.random(60) + np.maximum(1.0, np.linspace(10.0, -10.0, 60)):
        schedule.step(float(value))
        reduce.step(float(value))
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
    assert ours.lr < 0.5
