"""I: what callers pass in: layouts, types, shapes, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numrnn

from .rows import row, shown_by

_INPUTS, _CALLS, _RAGGED = "tests/test_inputs.py::", "tests/test_call_errors.py::", "tests/test_ragged_errors.py::"

shown_by(
    "I-01",
    "arrays in any layout",
    _INPUTS + "test_the_same_numbers_in_any_form_give_the_same_bits",
    _INPUTS + "test_a_broadcast_array_is_an_array",
)
shown_by(
    "I-02",
    "read-only, memory-mapped, unaligned arrays",
    _INPUTS + "test_the_same_numbers_in_any_form_give_the_same_bits",
    _INPUTS + "test_a_memory_map_is_an_array",
    "tests/test_kernels.py::test_a_read_only_input_reaches_the_kernels_without_a_copy",
)


def _numbers() -> np.ndarray:
    """Small integers, which every type holds exactly."""
    return np.random.default_rng(0).integers(0, 2, (4, 3, 5)).astype("float32")


@row("I-03", "byte-swapped, half, integer, bool, nested lists, pandas, xarray", fast=True)
def kinds_of_numbers() -> None:
    import pandas as pd

    layer, x = numrnn.GRU(5, 7, seed=0), _numbers()
    expected = layer(x).output
    kinds: list[Any] = [x.astype(kind) for kind in (">f4", ">f8", "f2", "i1", "u8", ">i4", "?", "f8", "g")]
    kinds += [x.tolist(), tuple(x.tolist())]
    for kind in kinds:
        found = layer(kind).output
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    for kind in (pd.DataFrame(x[:, 0]), pd.DataFrame(x[:, 0], dtype="int64")):
        np.testing.assert_array_equal(layer(kind).output, layer(x[:, 0]).output)
    try:
        import xarray
    except ImportError:
        return
    named = xarray.DataArray(x, dims=("time", "case", "feature"))
    np.testing.assert_array_equal(layer(named).output, expected)


shown_by(
    "I-04",
    "what is no array of real numbers is refused by name",
    _CALLS + "test_a_wrong_call_is_refused_with_the_way_out",
)


@row("I-05", "the order of calls: what is refused or cast stays so when its like came before", fast=True)
def order_of_calls() -> None:
    layer, x = numrnn.LSTM(5, 7, seed=0), _numbers()
    expected = layer(x).output
    read_only = x.copy()
    read_only.flags.writeable = False
    swapped = x.astype(x.dtype.newbyteorder())
    read_only_swapped = swapped.copy()
    read_only_swapped.flags.writeable = False
    one_off = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    one_off[...] = x

    class Subclass(np.ndarray):
        """An array of a class that Numba does not know."""

    good = (x, read_only, swapped, read_only_swapped, one_off, x.view(Subclass), np.asfortranarray(x))
    masked = np.ma.masked_less(x, 0.5)
    refused = (masked, x.astype(object), x.astype(complex), x.astype(str))
    order = np.random.default_rng(0)
    for _ in range(40):
        for k in order.permutation(len(good) + len(refused)):
            if k < len(good):
                np.testing.assert_array_equal(layer(good[k]).output, expected)
                assert layer.vjp(good[k], n_threads=1)[1](expected).x.shape == x.shape
            else:
                with pytest.raises(TypeError, match="`x`"):
                    layer(refused[k - len(good)])
                with pytest.raises(TypeError, match="`x_chunk`"):
                    layer.stream(3).run(refused[k - len(good)])


shown_by(
    "I-06",
    "wrong shapes of x, states, weights and cotangents",
    _CALLS + "test_a_wrong_call_is_refused_with_the_way_out",
    _CALLS + "test_after_an_error_the_next_call_works",
    "tests/test_errors.py::test_a_wrong_argument_is_refused_with_the_way_out",
    "tests/test_errors.py::test_a_refused_mapping_changes_no_parameter",
    "tests/test_pullback_errors.py::test_a_wrong_cotangent_is_refused_with_the_way_out",
    "tests/test_cell_errors.py::test_a_wrong_argument_is_refused_with_the_way_out",
    "tests/test_stream_errors.py::test_a_refused_call_moves_nothing",
)
shown_by(
    "I-07",
    "no rows, no steps; no units or features are refused",
    _INPUTS + "test_no_rows_give_empty_results",
    _INPUTS + "test_no_steps_give_an_empty_output_and_the_initial_state",
    "tests/test_gradients.py::test_no_step_or_no_row_is_legal",
    "tests/test_errors.py::test_a_wrong_argument_is_refused_with_the_way_out",
)
shown_by(
    "I-08",
    "lengths of 0, unsorted, too long, negative, fractional, too few",
    _RAGGED + "test_a_wrong_call_is_refused_with_the_way_out",
    "tests/test_forms.py::test_lengths_of_any_integer_form",
    "tests/test_forms.py::test_last_is_right_for_rows_of_any_length",
    "tests/test_invariance.py::test_a_ragged_row_is_the_row_without_its_padding",
)


def _bits(arrays: Any) -> list[bytes]:
    return [array.tobytes() for array in arrays]


@row("I-09", "x, states, lengths, cotangents and weights keep their bits", fast=True)
def nothing_is_changed() -> None:
    rng = np.random.default_rng(0)
    makers: tuple[Callable[[], Any], ...] = (
        lambda: numrnn.LSTM(5, 7, 2, bidirectional=True, proj_size=3, dropout=0.5, seed=0),
        lambda: numrnn.GRU(5, 7, 2, seed=0),
        lambda: numrnn.RNN(5, 7, seed=0),
    )
    for make in makers:
        layer = make()
        x, lengths = rng.standard_normal((6, 4, 5)).astype("float32"), np.array([6, 0, 3, 5])
        result = layer(x)
        state = tuple(
            rng.standard_normal(s.shape).astype("float32") for s in (result.h_n, getattr(result, "c_n", result.h_n))
        )
        given_state = state if hasattr(result, "c_n") else state[0]
        d_output = rng.standard_normal(result.output.shape).astype("float32")
        given = [x, lengths, *state, d_output, *layer.parameters.values()]
        before = _bits(given)
        layer(x, given_state, lengths=lengths)
        layer.last(x, given_state, lengths=lengths)
        _, pullback = layer.vjp(x, given_state, lengths=lengths)
        for _ in range(2):
            pullback(d_output, d_h_n=state[0])
        if not layer.bidirectional:
            stream = layer.stream(4, given_state)
            stream.run(x)
            stream.step(x[0])
        assert _bits(given) == before, repr(layer)


@row("I-10", "a second call leaves the first result; `out` is x; h_0 is c_0", fast=True)
def aliases() -> None:
    rng = np.random.default_rng(0)
    layer, x = numrnn.LSTM(7, 7, seed=0), rng.standard_normal((6, 4, 7)).astype("float32")
    for call in (layer, layer.last, lambda x: layer.vjp(x)[0]):
        first = call(x)
        arrays = [a for a in (first.output, first.h_n, first.c_n) if a is not None]
        before = _bits(arrays)
        for _ in range(5):
            call(rng.standard_normal(x.shape))
        assert _bits(arrays) == before
    one = rng.standard_normal((1, 4, 7)).astype("float32")
    np.testing.assert_array_equal(layer(x, (one, one)).output, layer(x, (one, one.copy())).output)
    both, apart = layer.vjp(x, (one, one))[1], layer.vjp(x, (one, one.copy()))[1]
    np.testing.assert_array_equal(both(np.ones_like(x)).c_0, apart(np.ones_like(x)).c_0)
    expected = layer(x).output
    stream, steps = layer.stream(4), x.copy()
    for t, x_t in enumerate(steps):
        assert stream.step(x_t, out=x_t) is x_t
        np.testing.assert_array_equal(x_t, expected[t])
    # x_t and out overlap in part: one number further in the same memory
    stream, memory = layer.stream(4), np.zeros(4 * 7 + 1, "float32")
    x_t, out = memory[:-1].reshape(4, 7), memory[1:].reshape(4, 7)
    for t in range(6):
        x_t[...] = x[t]
        stream.step(x_t, out=out)
        np.testing.assert_array_equal(out, expected[t])
    # `out` is what `state` once returned, and what it returns now
    stream = layer.stream(4)
    for t in range(6):
        h, _ = stream.state
        out = h[-1] if h.flags.writeable else np.empty((4, 7), "float32")
        np.testing.assert_array_equal(stream.step(x[t], out=out), expected[t])
    np.testing.assert_array_equal(stream.state[0][-1], expected[-1])
    # likewise a step of a network, whose `out` may also be its state's own h
    net = layer.jit()
    state, steps = numrnn.jit.new_state(net, 4), x.copy()
    for t, x_t in enumerate(steps):
        out = x_t if t % 2 else state.h[-1]
        numrnn.jit.step(net, x_t, state, out)
        np.testing.assert_array_equal(out, expected[t])
