"""What must not change a single bit: how the batch is split or ordered, how time is cut, threads, layout, repetition.

Outputs, states and the gradients of x, h_0, c_0 belong to a row alone. Gradients of parameters are sums over rows: they
keep their bits for any thread count, layout and repetition, but not for another batch, order of rows or cut of time.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import (
    CASES,
    Answers,
    Array,
    Case,
    Problem,
    assert_close,
    assert_same_bits,
    call,
    gradient_answers,
    in_both_dtypes,
    layer_answers,
    make_layer,
    make_problem,
    parameter_free,
    pull,
    reference_trace,
    result_answers,
)

import numrnn
from numrnn.cellspec import BUILT_IN

# large enough for two threads: many rows, few rows, one row, rows and blocks that come out uneven
LARGE = [
    Case(cell, *shape, **options)
    for cell in BUILT_IN
    for shape, options in (
        ((70, 9, 48, 96), {}),
        ((5, 30, 64, 130), {}),
        ((1, 24, 96, 256), {}),
        ((23, 50, 10, 33, 2), {}),
        ((50, 9, 48, 96, 2), {"bidirectional": True, "lengths": "some_empty"}),
        ((5, 20, 64, 130), {"bidirectional": True, "lengths": "ragged"}),
    )
]
LARGE += [
    Case("lstm", 40, 9, 48, 96, proj_size=40, lengths="ragged"),
    Case("lstm", 3, 20, 64, 200, proj_size=130, bidirectional=True),
]
ALL = in_both_dtypes((*CASES, *LARGE))
BATCHES = [case for case in ALL if case.N > 1]
SEQUENCES = [case for case in ALL if case.T > 1 and not case.bidirectional]
RAGGED = [case for case in ALL if case.lengths != "full"]


SMALL = [Case(cell, 7, 5, 6, 17, num_layers=2, bidirectional=choice) for cell in BUILT_IN for choice in (False, True)]
SMALL += [Case("lstm", 7, 5, 6, 17, num_layers=2, proj_size=9)]


def joined(pieces: list[Answers]) -> Answers:
    """The answers about the rows of several batches, side by side."""
    return {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}


def of_rows(case: Case, problem: Problem, index: object) -> Answers:
    """What belongs to some rows alone, from a call with these rows only."""
    return parameter_free(layer_answers(make_layer(case), problem.rows(index)))


@pytest.mark.parametrize("case", BATCHES, ids=str)
def test_splitting_the_batch_changes_nothing(case):
    problem = make_problem(case)
    whole = parameter_free(layer_answers(make_layer(case), problem))
    for cut in {1, case.N // 2, case.N - 1}:
        pieces = [of_rows(case, problem, slice(None, cut)), of_rows(case, problem, slice(cut, None))]
        assert_same_bits(joined(pieces), whole)


@pytest.mark.parametrize("case", BATCHES, ids=str)
def test_a_row_alone_is_the_row_in_its_batch(case):
    problem = make_problem(case)
    whole = parameter_free(layer_answers(make_layer(case), problem))
    for n in {0, case.N // 2, case.N - 1}:
        alone = of_rows(case, problem, slice(n, n + 1))
        assert_same_bits(alone, {name: value[:, n : n + 1] for name, value in whole.items()})


@pytest.mark.parametrize("case", BATCHES, ids=str)
def test_permuting_the_batch_permutes_the_answers(case):
    problem = make_problem(case)
    order = np.random.default_rng(0).permutation(case.N)
    whole = parameter_free(layer_answers(make_layer(case), problem))
    assert_same_bits(of_rows(case, problem, order), {name: value[:, order] for name, value in whole.items()})


@pytest.mark.parametrize("case", SEQUENCES, ids=str)
def test_splitting_the_sequence_changes_nothing(case):
    """`x[:k]`, then `x[k:]` from the carried state; the later piece's state gradients feed the earlier pullback."""
    problem, layer = make_problem(case), make_layer(case)
    whole = parameter_free(layer_answers(layer, problem))
    for k in {1, case.T // 2, case.T - 1}:
        early_part, late_part = problem.steps(slice(k)), problem.steps(slice(k, None))
        early, early_pullback = call(layer.vjp, early_part)
        late, late_pullback = call(layer.vjp, replace(late_part, h_0=early.h_n, c_0=getattr(early, "c_n", None)))
        d_late = pull(layer, late_pullback, late_part)
        early_part = replace(early_part, d_h_n=d_late["d_h_0"], d_c_n=d_late.get("d_c_0"))
        d_early = pull(layer, early_pullback, early_part)
        first, last = result_answers(layer, early), result_answers(layer, late)
        along_time = {"output": (first, last), "d_x": (d_early, d_late)}
        pieces = last | d_early | {name: np.concatenate([a[name], b[name]]) for name, (a, b) in along_time.items()}
        assert_same_bits(parameter_free(pieces), whole)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_two_threads_say_the_same_as_one(case):
    problem = make_problem(case)
    one, two = (layer_answers(make_layer(case), problem, n_threads=n) for n in (1, 2))
    assert_same_bits(two, one)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_layout_changes_nothing(case):
    problem = make_problem(case)
    time_first, batch_first = (
        layer_answers(make_layer(replace(case, batch_first=choice)), problem) for choice in (False, True)
    )
    assert_same_bits(batch_first, time_first)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_plain_call_and_last_say_what_vjp_says(case):
    problem, layer = make_problem(case), make_layer(case)
    for_training, _ = call(layer.vjp, problem)
    expected = result_answers(layer, for_training)
    for n_threads in (1, 2):
        assert_same_bits(result_answers(layer, call(layer.__call__, problem, n_threads=n_threads)), expected)
        last = call(layer.last, problem, n_threads=n_threads)
        np.testing.assert_array_equal(last.h_n, expected["h_n"], strict=True)
        np.testing.assert_array_equal(last.last_output, for_training.last_output, strict=True)
        if "c_n" in expected:
            np.testing.assert_array_equal(last.c_n, expected["c_n"], strict=True)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_pullback_says_the_same_again(case):
    """Also after other calls, and after the layer's parameters have changed."""
    problem, layer = make_problem(case), make_layer(case)
    _, pullback = call(layer.vjp, problem)
    first = pull(layer, pullback, problem)
    assert_same_bits(pull(layer, pullback, problem), first)
    layer.set_parameters({name: 2 * value for name, value in layer.parameters.items()})
    layer_answers(layer, problem)
    assert_same_bits(pull(layer, pullback, problem), first)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_leaving_out_the_gradient_of_x_changes_no_other(case):
    problem, layer = make_problem(case), make_layer(case)
    _, pullback = call(layer.vjp, problem)
    expected = pull(layer, pullback, problem)
    del expected["d_x"]
    assert_same_bits(pull(layer, pullback, problem, x_gradient=False), expected)


@pytest.mark.parametrize("case", in_both_dtypes(SMALL), ids=str)
def test_absent_means_zero(case):
    """A state or a cotangent that is not given is one of zeros, bit for bit."""
    problem, layer = make_problem(case), make_layer(case)
    absent = replace(problem, h_0=None, c_0=None)
    zero = replace(problem, h_0=0 * problem.h_0, c_0=None if problem.c_0 is None else 0 * problem.c_0)
    assert_same_bits(layer_answers(layer, absent), layer_answers(layer, zero))
    _, pullback = call(layer.vjp, problem)
    for name, cotangent in problem.cotangents.items():
        absent, zero = (replace(problem, **{name: value}) for value in (None, np.zeros_like(cotangent)))
        assert_same_bits(pull(layer, pullback, absent), pull(layer, pullback, zero))
    nothing = gradient_answers(layer, pullback())
    assert not any(value.any() for value in nothing.values())
    assert list(nothing) == list(pull(layer, pullback, problem))


@pytest.mark.parametrize("case", [case for case in BATCHES if case.N < 20], ids=str)
def test_nan_stays_in_its_row(case):
    """NaN in one row of x, a state or a cotangent leaves every other row as it was, and is not lost in its own."""
    layer, clean = make_layer(case), make_problem(case)
    n = case.N // 2 if clean.lengths is None else clean.lengths.argmax()
    others = np.delete(np.arange(case.N), n)
    expected = {name: value[:, others] for name, value in parameter_free(layer_answers(layer, clean)).items()}
    for name in ("x", "h_0", "c_0", "d_output", "d_h_n", "d_c_n"):
        array = getattr(clean, name)
        if array is not None:
            spoilt = array.copy()
            spoilt[0, n] = np.nan
            answers = layer_answers(layer, replace(clean, **{name: spoilt}))
            assert_same_bits({key: value[:, others] for key, value in parameter_free(answers).items()}, expected)
            witness = np.isnan(answers["d_x" if name.startswith("d_") else "output"][0, n])
            one_half = case.bidirectional and case.num_layers == 1 and name in ("h_0", "c_0")
            cut = case.resets and name not in ("x", "d_output")
            assert cut or (witness.any() if one_half else witness.all()), name


# --- ragged input and resets


@pytest.mark.parametrize("case", RAGGED, ids=str)
def test_a_ragged_row_is_the_row_without_its_padding(case):
    problem = make_problem(case)
    whole = parameter_free(layer_answers(make_layer(case), problem))
    for n in {0, problem.lengths.argmin(), case.N - 1}:
        length = problem.lengths[n]
        alone = replace(problem.rows(slice(n, n + 1)).steps(slice(length)), lengths=None)
        along_time = {name: whole[name][:length, n : n + 1] for name in ("output", "d_x")}
        expected = {name: value[:, n : n + 1] for name, value in whole.items()} | along_time
        assert_same_bits(parameter_free(layer_answers(make_layer(case), alone)), expected)
        assert not any(whole[name][length:, n].any() for name in along_time)


@pytest.mark.parametrize("case", RAGGED, ids=str)
def test_padding_changes_nothing(case):
    """Neither what is in it nor how much there is."""
    problem, layer = make_problem(case), make_layer(case)
    expected = layer_answers(layer, problem)
    for value in (0.0, 1.0, np.inf):
        assert_same_bits(layer_answers(layer, problem.padded_with(value)), expected)
    more = {name: np.full_like(getattr(problem, name)[:3], np.nan) for name in ("x", "d_output")}
    longer = {name: np.concatenate([getattr(problem, name), padding]) for name, padding in more.items()}
    if case.resets:
        longer["resets"] = np.concatenate([problem.resets, np.ones_like(problem.resets[:3])])
    answers = parameter_free(layer_answers(layer, replace(problem, **longer)))
    assert not answers["output"][case.T :].any()
    trimmed = {name: answers[name][: case.T] for name in ("output", "d_x")}
    assert_same_bits(answers | trimmed, parameter_free(expected))


@pytest.mark.parametrize("case", in_both_dtypes(SMALL), ids=str)
def test_full_lengths_and_no_resets_are_as_if_not_given(case):
    problem, layer = make_problem(case), make_layer(case)
    expected = parameter_free(layer_answers(layer, problem))
    full = replace(problem, lengths=np.full(case.N, case.T))
    assert_same_bits(parameter_free(layer_answers(layer, full)), expected)
    if not case.bidirectional:
        unset = replace(problem, resets=np.zeros((case.T, case.N), bool))
        assert_same_bits(parameter_free(layer_answers(layer, unset)), expected)


@pytest.mark.parametrize("case", in_both_dtypes(case for case in SMALL if not case.bidirectional), ids=str)
def test_a_reset_is_a_new_beginning(case):
    """Steps after it run as from no state; nothing of them is felt before."""
    problem, layer = make_problem(case), make_layer(case)
    resets = np.zeros((case.T, case.N), bool)
    resets[2] = True
    answers = layer_answers(layer, replace(problem, resets=resets))
    no_end = replace(problem, d_h_n=None, d_c_n=None)
    before = layer_answers(layer, no_end.steps(slice(2)))
    after = layer_answers(layer, replace(problem, h_0=None, c_0=None).steps(slice(2, None)))
    along_time = {name: np.concatenate([before[name], after[name]]) for name in ("output", "d_x")}
    ends = {name: after[name] for name in ("h_n", "c_n") if name in after}
    begins = {name: before[name] for name in ("d_h_0", "d_c_0") if name in before}
    expected = along_time | ends | begins
    assert_same_bits({name: answers[name] for name in expected}, expected)


# --- forms of x, and internals


def pull_in_form(layer: Any, problem: Problem, form: Callable[[Array], Any], back: Callable[[Any], Array]) -> Answers:
    """All answers for x and d_output in another form, which `back` makes time-first arrays again."""
    result, pullback = layer.vjp(form(problem.x), problem.state)
    gradients = pullback(**problem.cotangents | {"d_output": form(problem.d_output)})
    answers = result_answers(layer, result) | gradient_answers(layer, gradients)
    return answers | {"output": back(result.output), "d_x": back(gradients.x)}


@pytest.mark.parametrize("case", [case for case in RAGGED if not case.resets], ids=str)
def test_lists_and_packed_sequences_say_what_lengths_say(case):
    problem, layer = make_problem(case), make_layer(replace(case, batch_first=False))
    lengths, expected = problem.lengths, layer_answers(layer, problem)

    def rows(array: Array) -> list[Array]:
        return [array[:length, n] for n, length in enumerate(lengths)]

    def padded(sequences: list[Array]) -> Array:
        array = np.zeros((case.T, case.N, sequences[0].shape[-1]), case.dtype)
        for n, sequence in enumerate(sequences):
            array[: lengths[n], n] = sequence
        return array

    def packed(array: Array) -> Any:
        return numrnn.pack_padded_sequence(array, lengths, enforce_sorted=False)

    def unpacked(sequence: Any) -> Array:
        return numrnn.pad_packed_sequence(sequence, total_length=case.T)[0]

    assert_same_bits(pull_in_form(layer, problem, rows, padded), expected)
    if case.lengths == "ragged":  # a packed sequence has a step at least
        assert_same_bits(pull_in_form(layer, problem, packed, unpacked), expected)


@pytest.mark.parametrize("case", in_both_dtypes(CASES), ids=str)
def test_internals_change_nothing_and_are_what_the_reference_holds(case):
    problem, layer = make_problem(case), make_layer(case)
    plain, shown = (call(layer.__call__, problem, internals=choice) for choice in (False, True))
    assert_same_bits(result_answers(layer, shown), result_answers(layer, plain))
    trained, _ = call(layer.vjp, problem, internals=True)
    for row, trace in enumerate(reference_trace(case, problem, layer.parameters).layers):
        k, d = divmod(row, case.num_directions)
        expected = {"hidden": trace.hidden} | trace.saved
        expected |= {"cell": trace.after("c")} if case.spec.has_cell_state else {}
        for internals in (shown.internals, trained.internals):
            tracks = {"hidden": internals.hidden} | internals.gates
            tracks |= {"cell": internals.cell} if case.spec.has_cell_state else {}
            actual = {name: track[k][d] for name, track in tracks.items()}
            assert_close(actual, expected, 1e-11 if case.dtype == "float64" else 1e-5)
