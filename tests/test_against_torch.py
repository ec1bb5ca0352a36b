"""Every answer of every layer against PyTorch's: agreement in float64, no more error than PyTorch's own in float32."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    CASES,
    Case,
    assert_close,
    layer_answers,
    make_layer,
    make_parameters,
    make_problem,
    near_kink,
    random_cases,
    reference_answers,
    scaled_error,
    torch_answers,
)

from numrnn.cellspec import CELLS

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.mark.parametrize("case", random_cases(2, 320), ids=str)
def test_float64_agrees_with_pytorch(case):
    """Output, states and every gradient, for any subset of cotangents."""
    problem = make_problem(case)
    theirs = torch_answers(case, problem, make_parameters(case))
    assert_close(layer_answers(make_layer(case), problem), theirs, 1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_float32_is_as_exact_as_pytorch(cell):
    """Over many cases, the root mean square and the largest error of each answer are within 4 times PyTorch's."""
    ours, theirs = defaultdict(list), defaultdict(list)
    cases = [*CASES, *random_cases(3, 60, cell=cell), Case(cell, N=32, T=50, I=64, H=128)]
    for case in (replace(case, dtype="float32") for case in cases if case.cell == cell):
        problem, parameters = make_problem(case), make_parameters(case)
        if near_kink(case, problem, parameters):
            continue
        truth = reference_answers(case, problem, parameters)
        for errors, answers in (
            (ours, layer_answers(make_layer(case), problem)),
            (theirs, torch_answers(case, problem, parameters)),
        ):
            for name in truth:
                kind = name.rstrip("0123456789")  # the same parameter of all layers together
                errors[kind].append(scaled_error(answers[name].astype(np.float64), truth[name]))
    assert len(ours["output"]) > 40
    for kind in ours:
        mine, other = np.array(ours[kind]), np.array(theirs[kind])
        assert np.sqrt(np.mean(mine**2)) <= 4 * np.sqrt(np.mean(other**2)), kind
        assert mine.max() <= 4 * other.max(), kind
