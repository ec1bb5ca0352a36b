"""Schedules of the learning rate: their rates, their state, their refusals."""

import math
from typing import Any

import numpy as np
import pytest

import numrnn
from numrnn import optim


def make_optimizer(lr: float = 0.8) -> optim.SGD:
    return optim.SGD(numrnn.Linear(2, 1), lr)


def rates(schedule: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(schedule.optimizer.lr)
        schedule.step()
    return found


@pytest.mark.parametrize(("warmup", "total", "lowest"), [(4, 10, 0.1), (0, 7, 0.0), (1, 2, 0.2), (9, 10, 0.0)])
def test_the_rate_rises_linearly_then_falls_along_half_a_cosine(warmup: int, total: int, lowest: float) -> None:
    found = rates(optim.WarmupCosine(make_optimizer(), warmup, total, lowest), total + 3)
    assert found[:warmup] == pytest.approx([0.8 * (k + 1) / warmup for k in range(warmup)])
    fall = total - warmup
    expected = [lowest + (0.8 - lowest) * (1 + math.cos(math.pi * k / fall)) / 2 for k in range(fall)]
    assert found[warmup:total] == pytest.approx(expected)
    assert found[total:] == pytest.approx([lowest] * 3)
    assert found[warmup] == 0.8


@pytest.mark.parametrize("done", [0, 2, 5, 12])
def test_warmup_and_cosine_continue_from_their_state(done: int) -> None:
    whole = rates(optim.WarmupCosine(make_optimizer(), 3, 10, 0.05), 20)
    first = optim.WarmupCosine(make_optimizer(), 3, 10, 0.05)
    rates(first, done)
    second = optim.WarmupCosine(make_optimizer(0.3), 3, 10, 0.05)
    second.load_state_dict(first.state_dict())
    assert rates(second, 20 - done) == whole[done:]


def test_the_rate_falls_when_patience_ends() -> None:
    schedule = optim.ReduceOnPlateau(make_optimizer(1.0), factor=0.1, patience=2, threshold=0.1, lr_min=0.05)
    found = []
    for value in (5.0, 4.0, 3.9, 3.8, 3.7, 3.0, 3.0, math.nan, math.inf, 3.0, 3.0, 3.0):
        schedule.step(value)
        found.append(schedule.optimizer.lr)
    assert found == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])


def test_a_value_below_zero_must_be_better_by_the_threshold_too() -> None:
    schedule = optim.ReduceOnPlateau(make_optimizer(1.0), patience=0, threshold=0.1)
    for value, rate in ((-1.0, 1.0), (-1.05, 0.5), (-1.2, 0.5)):
        schedule.step(value)
        assert schedule.optimizer.lr == rate


def test_a_rate_that_was_set_lower_is_not_raised() -> None:
    schedule = optim.ReduceOnPlateau(make_optimizer(1.0), patience=0, lr_min=0.5)
    schedule.optimizer.lr = 0.1
    schedule.step(1.0)
    schedule.step(1.0)
    assert schedule.optimizer.lr == 0.1


@pytest.mark.parametrize("done", [0, 1, 4])
def test_reducing_continues_from_its_state(done: int) -> None:
    values = [3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    whole = optim.ReduceOnPlateau(make_optimizer(), patience=1)
    first, second = (optim.ReduceOnPlateau(make_optimizer(), patience=1) for _ in range(2))
    for value in values:
        whole.step(value)
    for value in values[:done]:
        first.step(value)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    for value in values[done:]:
        second.step(value)
    assert second.optimizer.lr == whole.optimizer.lr < 0.8
    assert second.state_dict() == whole.state_dict()


def test_they_say_when_they_want_to_be_called() -> None:
    assert optim.WarmupCosine(make_optimizer(), 1, 2).every == "batch"
    assert optim.ReduceOnPlateau(make_optimizer()).every == "epoch"


@pytest.mark.parametrize(
    "make", [lambda o: optim.WarmupCosine(o, 1, 5), optim.ReduceOnPlateau], ids=["cosine", "plateau"]
)
def test_their_state_is_of_arrays_without_axes(make: Any) -> None:
    state = make(make_optimizer()).state_dict()
    assert all(isinstance(value, np.ndarray) and value.shape == () for value in state.values())
    schedule = make(make_optimizer())
    for wrong, error in (
        ({**state, "more": 1}, ValueError),
        ({}, ValueError),
        ([], TypeError),
        (dict.fromkeys(state, np.array(math.nan)), ValueError),
        (dict.fromkeys(state, np.array(0.5)), TypeError),
        (dict.fromkeys(state, np.zeros(1)), ValueError),
    ):
        with pytest.raises(error, match=r"\.load_state_dict: "):
            schedule.load_state_dict(wrong)
    assert schedule.state_dict() == state


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda o: optim.WarmupCosine(o, 5, 5), ValueError, "`total_steps` is 5, expected more than `warmup_steps`, 5"),
        (lambda o: optim.WarmupCosine(o, -1, 5), ValueError, "`warmup_steps` should be an int of 0 or more"),
        (lambda o: optim.WarmupCosine(o, 1.0, 5), TypeError, "`warmup_steps` should be an int"),
        (lambda o: optim.WarmupCosine(o, 1, 5, 2.0), ValueError, "`lr_min` is 2.0, more than the optimiser's lr, 0.8"),
        (lambda o: optim.WarmupCosine(0.1, 1, 5), TypeError, "`optimizer` should be an optimiser, got float 0.1"),
        (lambda o: optim.ReduceOnPlateau(o, factor=1.0), ValueError, "`factor` should be from 0 to less than 1"),
        (lambda o: optim.ReduceOnPlateau(o, patience=-1), ValueError, "`patience` should be an int of 0 or more"),
        (lambda o: optim.ReduceOnPlateau(o, threshold=-0.1), ValueError, "`threshold` should be from 0 to less than 1"),
        (lambda o: optim.ReduceOnPlateau(o, lr_min=-0.1), ValueError, "`lr_min` should be 0 or more"),
        (lambda o: optim.ReduceOnPlateau(o).step("low"), TypeError, "`value` should be a real number"),
        (
            lambda o: optim.ReduceOnPlateau(o).step(None),
            TypeError,
            "`value` should be a real number, got NoneType None",
        ),
    ],
)
def test_wrong_arguments_are_explained(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(make_optimizer())
