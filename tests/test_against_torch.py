"""Every answer of every layer against PyTorch's: agreement in float64, no more error than PyTorch's own in float32."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    TORCH_CASES,
    TORCH_CELLS,
    Answers,
    Case,
    assert_close,
    gradient_answers,
    in_layout,
    layer_answers,
    make_layer,
    make_parameters,
    make_problem,
    near_kink,
    random_cases,
    reference_answers,
    result_answers,
    torch_answers,
)

import numrnn

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]


@pytest.mark.parametrize("case", random_cases(2, 480, TORCH_CELLS), ids=str)
def test_float64_agrees_with_pytorch(case):
    """Output, states and every gradient, for any subset of cotangents; ragged input against packed sequences."""
    problem = make_problem(case)
    theirs = torch_answers(case, problem, make_parameters(case))
    assert_close(layer_answers(make_layer(case), problem), theirs, 1e-9)


@pytest.mark.parametrize("case", random_cases(4, 60, TORCH_CELLS, lengths="ragged"), ids=str)
def test_a_packed_sequence_agrees_with_pytorchs(case):
    """Packed in, packed out, packed gradients: each against PyTorch's own, whatever the order inside."""
    problem, parameters = make_problem(case), make_parameters(case)
    layer, batch_first = make_layer(case), case.batch_first
    theirs = torch_answers(case, problem, parameters)

    def pack(array):
        array = in_layout(layer, np.nan_to_num(array))
        return numrnn.pack_padded_sequence(array, problem.lengths, batch_first, enforce_sorted=False)

    def unpack(packed):
        return numrnn.pad_packed_sequence(packed, batch_first=batch_first, total_length=case.T)[0]

    result, pullback = layer.vjp(pack(problem.x), problem.state)
    cotangents = problem.cotangents
    if problem.d_output is not None:
        cotangents["d_output"] = pack(problem.d_output)
    gradients = pullback(**cotangents)
    result.output, gradients = unpack(result.output), replace(gradients, x=unpack(gradients.x))
    assert_close(result_answers(layer, result) | gradient_answers(layer, gradients), theirs, 1e-9)


@pytest.mark.parametrize("case", random_cases(5, 60, TORCH_CELLS, N=1, lengths="full"), ids=str)
def test_one_sequence_agrees_with_pytorch(case):
    """Without an axis of sequences, in PyTorch as here; batch_first has no meaning then."""
    problem, parameters, layer = make_problem(case), make_parameters(case), make_layer(case)
    theirs = torch_answers(case, problem, parameters, unbatched=True)
    alone = {name: None if value is None else value[:, 0] for name, value in problem.cotangents.items()}
    state = tuple(part[:, 0] for part in (problem.h_0, problem.c_0) if part is not None)
    result, pullback = layer.vjp(problem.x[:, 0], (state if len(state) == 2 else state[0]) if state else None)
    plain = make_layer(replace(case, batch_first=False))
    assert_close(result_answers(plain, result) | gradient_answers(plain, pullback(**alone)), theirs, 1e-9)


def both_errors(case: Case) -> tuple[dict[str, float], dict[str, float]]:
    """Root mean square error of each answer in units of its own, ours and PyTorch's; a parameter's layers together."""
    problem, parameters = make_problem(case), make_parameters(case)
    truth = by_kind(reference_answers(case, problem, parameters))
    ours = by_kind(layer_answers(make_layer(case), problem))
    theirs = by_kind(torch_answers(case, problem, parameters))

    def errors(answers: Answers) -> dict[str, float]:
        sizes = {kind: np.linalg.norm(value) for kind, value in truth.items()}
        return {kind: np.linalg.norm(answers[kind] - truth[kind]) / (sizes[kind] or 1.0) for kind in truth}

    return errors(ours), errors(theirs)


def by_kind(answers: Answers) -> Answers:
    """Answers as flat float64 arrays, those that differ in the layer's number joined."""
    kinds = defaultdict(list)
    for name, value in answers.items():
        kinds[name.removesuffix("_reverse").rstrip("0123456789")].append(value.ravel().astype(np.float64))
    return {kind: np.concatenate(values) for kind, values in kinds.items()}


@pytest.mark.parametrize(
    "shape", [(32, 50, 64, 128), (64, 5, 8, 128), (16, 60, 32, 64, 2), (1, 40, 64, 256), (16, 20, 64, 512)]
)
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_float32_is_as_exact_as_pytorch(cell, shape):
    """The error of each answer, against float64, is within 4 times PyTorch's."""
    ours, theirs = both_errors(Case(cell, *shape, dtype="float32"))
    assert {kind: ours[kind] / theirs[kind] for kind in ours if ours[kind] > 4 * theirs[kind]} == {}


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_float32_is_as_exact_as_pytorch_around_the_edges(cell):
    """Over many small cases, the mean and the largest error of each answer are within 4 times PyTorch's."""
    errors = []
    for case in (*TORCH_CASES, *random_cases(3, 50, [cell])):
        case = replace(case, dtype="float32")
        if case.cell == cell and case.T < 100 and not near_kink(case, make_problem(case), make_parameters(case)):
            errors.append(both_errors(case))
    assert len(errors) > 30
    for kind in errors[0][0]:
        ours, theirs = np.array([[one.get(kind, 0.0) for one in both] for both in errors]).T
        assert ours.mean() <= 4 * theirs.mean(), kind
        assert ours.max() <= 4 * theirs.max(), kind
