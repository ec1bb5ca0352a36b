"""N: numbers: who sees whose NaN, bits, bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from cases import (
    Case,
    Problem,
    assert_same_bits,
    layer_answers,
    make_layer,
    make_parameters,
    make_problem,
    random_cases,
    reference_answers,
    scaled_error,
)

import numrnn

from .rows import LAYERS, row, shown_by
from .work import ONE_ROW, SHARED, Job, parallel_launches

_INVARIANCE, _GRADIENTS = "tests/test_invariance.py::", "tests/test_gradients.py::"

shown_by(
    "N-01",
    "NaN in one row leaves every other row as it was",
    _INVARIANCE + "test_nan_stays_in_its_row",
    "tests/test_inputs.py::test_nan_in_one_row_stays_in_that_row",
)
shown_by(
    "N-02",
    "NaN and infinity in padding have no effect",
    _INVARIANCE + "test_padding_changes_nothing",
    "tests/test_model_pooling.py::test_nan_in_a_valid_step_shows_and_in_padding_does_not",
)
shown_by(
    "N-03",
    "huge and infinite numbers saturate, quietly",
    _GRADIENTS + "test_huge_input_saturates",
    _GRADIENTS + "test_infinite_input_saturates",
    "tests/test_activations.py::test_special_numbers",
)


def _fastest(run: Callable[[], object], times: int = 7) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _train_once(layer: Any, problem: Problem) -> None:
    _, pullback = layer.vjp(problem.x, problem.state, n_threads=1)
    pullback(**problem.cotangents)


@row("N-04", "subnormal numbers: a state that decays over 5,000 steps, right and not slow")
def subnormal_numbers() -> None:
    for cell in ("rnn_tanh", "lstm", "gru"):
        case = Case(cell, 6, 5000, 4, 64, bias=False, dtype="float32", cotangents=("h_n",))
        problem, parameters = make_problem(case), make_parameters(case)
        # the recurrent weights shrink the state a little each step, the input is subnormal from the start
        decaying = {name: 0.3 * value if "_hh_" in name else value for name, value in parameters.items()}
        layer = make_layer(case)
        layer.set_parameters(decaying)
        tiny = replace(problem, x=problem.x * np.float32(1e-39))
        times = {}
        for name, given in (("normal", problem), ("subnormal", tiny)):
            run = partial(_train_once, layer, given)
            run()
            times[name] = _fastest(run)
        ratio = times["subnormal"] / times["normal"]
        found, expected = layer_answers(layer, tiny), reference_answers(case, tiny, layer.parameters)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-6 * max(1.0, np.abs(value).max()))
        assert ratio <= 1.5, f"{cell}: {ratio:.2f} x the time of normal numbers"
        if numrnn.info()["flushes_denormals"]:  # not every processor is slow with them: they must also act as zero
            tiny_output, output = (layer(x).output for x in (tiny.x, np.zeros_like(tiny.x)))
            np.testing.assert_array_equal(tiny_output, output, err_msg=f"{cell}: subnormal numbers are not flushed")


@row("N-05", "1, 2 and all threads, 20 times: the same bits, every gradient", layers=LAYERS)
def threads_and_repeats() -> None:
    ragged = [
        replace(case, lengths="ragged") for case in random_cases(5, 6, ("lstm", "gru", "rnn_tanh"), dtype="float32")
    ]
    jobs = [Job(case) for case in (*SHARED, ONE_ROW, *ragged)]
    with parallel_launches() as launches:
        for _ in range(20):
            for job in jobs:
                for n_threads in (1, 2, -1):
                    job.check(n_threads)
    assert len(set(launches)) > 1, f"launches of {set(launches)} threads only"


shown_by(
    "N-06",
    "a row alone, in its batch, in a shuffled batch: the same bits",
    _INVARIANCE + "test_a_row_alone_is_the_row_in_its_batch",
    _INVARIANCE + "test_permuting_the_batch_permutes_the_answers",
    _INVARIANCE + "test_splitting_the_batch_changes_nothing",
)
shown_by(
    "N-07",
    "every gradient against finite differences",
    _GRADIENTS + "test_every_gradient_is_the_finite_difference",
    _GRADIENTS + "test_random_slopes_are_the_finite_difference",
    _GRADIENTS + "test_any_subset_of_cotangents",
    _GRADIENTS + "test_layer_agrees_with_reference_on_random_cases",
)
shown_by(
    "N-08",
    "the recurrent cases of ONNX",
    "tests/test_onnx_backend.py::test_the_recurrent_cases_of_onnx_pass",
    "tests/test_onnx_backend.py::test_no_recurrent_case_of_onnx_is_missing",
)


def _ulp_errors(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distances to float64's results, in units of the last place that their binades have in float32."""
    wide = x.astype(np.float64)
    if name == "tanh":
        expected = np.tanh(wide)
    else:
        e = np.exp(-np.abs(wide))
        expected = np.where(wide >= 0, 1.0, e) / (1.0 + e)
    info = np.finfo(np.float32)
    exponent = np.maximum(np.frexp(expected)[1] - 1, info.minexp)
    errors = np.abs(y - expected) / np.ldexp(1.0, exponent - info.nmant)
    return np.where(np.abs(expected) < info.smallest_normal, 0.0, errors)


@row("N-10", "sigmoid and tanh at every float32", optional=True, seconds=3600)
def every_float32() -> None:
    from test_activations import LARGEST_ULP, evaluate

    chunk, worst = 1 << 24, {"sigmoid": 0.0, "tanh": 0.0}
    for name in worst:
        before = -np.inf
        # from -infinity up to -0, then from 0 to infinity, by their bits
        begins = [*range(0xFF800000, 0x7FFFFFFF, -chunk), *range(0, 0x7F800001, chunk)]
        for begin in begins:
            bits = np.arange(begin, max(begin - chunk, 0x7FFFFFFF), -1) if begin >= 0x80000000 else None
            if bits is None:
                bits = np.arange(begin, min(begin + chunk, 0x7F800001))
            x = bits.astype(np.uint32).view(np.float32)
            y = evaluate(name, x)
            assert (np.diff(y) >= 0).all(), f"{name} falls"
            assert y[0] >= before, f"{name} falls at {x[0]!r}"
            before = y[-1]
            assert y.min() >= (0 if name == "sigmoid" else -1)
            assert y.max() <= 1
            worst[name] = max(worst[name], float(_ulp_errors(name, x, y).max()))
        assert worst[name] <= LARGEST_ULP[name, np.float32], f"{name}: {worst[name]} ULP"


@row("N-11", "compiled code without fast-math", own_cache=True, seconds=300)
def no_fast_math() -> None:
    import re
    import sys

    from numba.core.dispatcher import Dispatcher

    for case in (*SHARED, ONE_ROW):
        Job(case).check(2)
    numrnn.Linear(48, 3)(np.ones((20, 64, 48)))
    modules = [module for name, module in sys.modules.items() if name.startswith("numrnn.kernels")]
    kernels = {id(k): k for module in modules for k in vars(module).values() if isinstance(k, Dispatcher)}
    searched = {}
    for kernel in kernels.values():
        assert not kernel.targetoptions.get("fastmath"), f"{kernel} has fast-math"
        for signature, code in kernel.inspect_llvm().items():
            searched[kernel.py_func.__qualname__, signature] = code
            flags = re.findall(r"\b(?:fadd|fsub|fmul|fdiv|fcmp|call)\s+(?:\w+\s+)*?(nnan|ninf|fast)\b", code)
            assert not flags, f"{kernel} {signature}: {set(flags)}"
    # of a kernel that comes from the disk there is no code, in which nothing would be found
    entries = product(("lstm", "gru", "rnn_tanh"), ("forward", "backward"), ("serial", "parallel"))
    for name in map("_".join, entries):
        codes = [code for (kernel, _), code in searched.items() if kernel == name]
        assert codes, f"{name} is not compiled"
        for code in codes:
            assert "fmul" in code or "llvm.fma" in code, f"{name} multiplies nothing: its code is not here"


shown_by(
    "N-12",
    "each sequence of a ragged batch alone: the same bits; gradients of padding are zero",
    _INVARIANCE + "test_a_ragged_row_is_the_row_without_its_padding",
    _INVARIANCE + "test_lists_and_packed_sequences_say_what_lengths_say",
    "tests/test_forms.py::test_a_row_does_not_know_its_batch",
)


@row("N-13", "20,000 steps in float32 against float64", optional=True)
def long_sequences() -> None:
    for cell in ("lstm", "gru", "rnn_tanh"):
        case = Case(cell, 2, 20_000, 8, 16, dtype="float32", cotangents=("output",))
        problem = make_problem(case)
        found = layer_answers(make_layer(case), problem)
        for name, expected in reference_answers(case, problem, make_parameters(case)).items():
            error = scaled_error(found[name], expected)
            assert error <= 1e-5, f"{cell}: {name} is {error:.1e} of its scale off"


shown_by(
    "N-14",
    "dropout of 0, of 1, in inference, and from call to call",
    *(
        f"tests/test_dropout.py::test_{name}"
        for name in (
            "inference_drops_nothing",
            "no_dropout_is_dropout_of_nothing",
            "dropping_everything_leaves_the_upper_layers_without_input",
            "a_share_of_the_numbers_is_zero_and_the_rest_keeps_the_mean",
            "seeds_decide_the_masks",
            "without_a_seed_each_call_draws_its_own_from_the_layers_stream",
            "the_gradient_goes_through_the_same_masks",
        )
    ),
)


@row("N-15", "fit twice with one seed, and with other numbers of threads: the same weights", fast="omp", layers=LAYERS)
def training_twice() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((96, 20, 48)).astype("float32")
    y = x[:, :, :2].mean(1)

    def trained(n_threads: int) -> dict[str, np.ndarray]:
        numrnn.set_num_threads(n_threads)
        model = numrnn.SequenceModel(
            numrnn.LSTM(48, 64, 2, dropout=0.3, batch_first=True, seed=0), numrnn.Linear(64, 2, seed=1)
        )
        optimizer = numrnn.optim.Adam(model, lr=0.01)
        numrnn.fit(
            model, x, y, loss=numrnn.losses.mse, optimizer=optimizer, epochs=3, batch_size=64, progress=False, seed=7
        )
        return model.state_dict()

    start = numrnn.LSTM(48, 64, 2, batch_first=True, seed=0).parameters
    expected = trained(1)
    assert not np.array_equal(expected["recurrent.weight_hh_l0"], start["weight_hh_l0"]), "nothing was learned"
    with parallel_launches() as launches:
        for n_threads in (1, 2, -1):
            assert_same_bits(trained(n_threads), expected)
    assert launches, "nothing ran in parallel"
