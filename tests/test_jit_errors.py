"""What `numrnn.jit` refuses, from Python and in compiled code, and that nothing has changed then."""

import numba
import numpy as np
import pytest

import numrnn
from numrnn import _jit

same = np.testing.assert_array_equal
compiled_code = pytest.mark.skipif(_jit.DISABLED, reason="about compiled code")
NET = numrnn.GRU(2, 3).jit()
STATE, OUT, X = numrnn.jit.new_state(NET, 4), np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
READ_ONLY = np.broadcast_to(np.float32(0), (4, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: numrnn.jit.step(None, X, STATE, OUT), TypeError, "`net` should be a network, got None"),
        (lambda: numrnn.jit.step(NET, X, (1, 2), OUT), TypeError, "`state` should be a NetworkState, got tuple"),
        (lambda: numrnn.jit.step(NET, X[:3], STATE, OUT), ValueError, r"`x_t` has shape \(3, 2\), expected \(4, 2\)"),
        (lambda: numrnn.jit.step(NET, X, STATE, OUT[:3]), ValueError, r"`out` has shape \(3, 3\), expected \(4, 3\)"),
        (
            lambda: numrnn.jit.step(NET, X, STATE, [0.0]),
            TypeError,
            "`out` should be a writable array of float32 or float64",
        ),
        (lambda: numrnn.jit.step(NET, X, STATE, READ_ONLY), TypeError, "got dtype float32, read-only"),
        (lambda: numrnn.jit.step(NET, X, STATE, OUT.astype(int)), TypeError, "got dtype int64"),
        (lambda: numrnn.jit.step(NET, X * 1j, STATE, OUT), TypeError, "complex"),
        (
            lambda: numrnn.jit.step(numrnn.GRU(2, 4).jit(), X, STATE, OUT),
            ValueError,
            r"`state` has h \(1, 4, 3\) and c \(1, 4, 0\), float32, which is not of this network",
        ),
        (
            lambda: numrnn.jit.step(numrnn.GRU(2, 3, dtype="float64").jit(), X, STATE, OUT),
            ValueError,
            "not of this network",
        ),
        (lambda: numrnn.jit.run(NET, X, STATE, OUT), ValueError, "`x` has 2 axes, expected three"),
        (lambda: numrnn.jit.run(NET, X[None], STATE, OUT[None, :3]), ValueError, r"`out` has shape \(1, 3, 3\)"),
        (lambda: numrnn.jit.new_state(NET, -1), ValueError, "`batch_size`"),
        (lambda: numrnn.jit.new_state(NET, 2.5), TypeError, "`batch_size`"),
        (lambda: numrnn.jit.new_state(NET, 2, (OUT, OUT)), TypeError, "`state` is a tuple of 2, expected one array"),
        (lambda: numrnn.jit.new_state(NET, 2, np.zeros((1, 3, 3))), ValueError, "`h_0`"),
        (lambda: numrnn.jit.copy_state(STATE, None), TypeError, "`src` should be a NetworkState, got None"),
        (
            lambda: numrnn.jit.copy_state(STATE, numrnn.jit.new_state(NET, 3)),
            ValueError,
            r"`dst` has h \(1, 4, 3\) and c \(1, 4, 0\), float32; `src` has h \(1, 3, 3\)",
        ),
        (
            lambda: numrnn.jit.copy_state(STATE, numrnn.jit.new_state(numrnn.GRU(2, 3, dtype="float64").jit(), 4)),
            ValueError,
            r"float32; `src` has h \(1, 4, 3\) and c \(1, 4, 0\), float64",
        ),
    ],
)
def test_errors_from_python_say_what_is_wrong(call, error, text):
    before = STATE.memory.copy()
    with pytest.raises(error, match=text):
        call()
    same(STATE.memory, before)


@numba.njit
def step(net, x, state, out):
    numrnn.jit.step(net, x, state, out)


@numba.njit
def run(net, x, state, out):
    numrnn.jit.run(net, x, state, out)


@numba.njit
def copy_state(dst, src):
    numrnn.jit.copy_state(dst, src)


@numba.njit
def new_state(net, batch_size, state):
    return numrnn.jit.new_state(net, batch_size, state)


@compiled_code
def test_errors_in_compiled_code_say_what_is_wrong():
    before = STATE.memory.copy()
    wide, x, out = numrnn.GRU(2, 4).jit(), X[None], OUT[None]
    for call, arguments, text in (
        (step, (NET, X[:3], STATE, OUT), "x_t has the wrong shape"),
        (step, (NET, X, STATE, OUT[:3]), "out has the wrong shape"),
        (step, (wide, X, STATE, OUT), "step: state was made for another network"),
        (run, (NET, x[:, :3], STATE, out), "run: x has the wrong shape: .* or .rows, T, input_size. if the layer"),
        (run, (NET, x, STATE, out[:0]), "run: out has the wrong shape: .* or .rows, T, H_out. if the layer"),
        (run, (wide, x, STATE, out), "run: state was made for another network"),
        (copy_state, (STATE, numrnn.jit.new_state(NET, 3)), "different shapes"),
        (new_state, (NET, -1, None), "batch_size is negative"),
        (new_state, (NET, 4, out[:, :3]), "state has the wrong shape"),
    ):
        with pytest.raises(ValueError, match=text):
            call(*arguments)
    same(STATE.memory, before)


@compiled_code
def test_wrong_types_are_refused_when_a_users_function_is_compiled():
    double = numrnn.GRU(2, 3, dtype="float64").jit()
    writable = "should be a writable array of float32 or float64"
    for call, arguments, text in (
        (step, (X, X, STATE, OUT), r"net should be what layer\.jit\(\) returns"),
        (step, (NET, X, X, OUT), "state should be what new_state returns"),
        (step, (NET, X[0], STATE, OUT), r"x_t should be an array \(N, I\) of real numbers"),
        (step, (NET, X, STATE, OUT.astype(np.int64)), f"out {writable}"),
        (step, (NET, X, STATE, READ_ONLY), f"out {writable}"),
        (step, (double, X, STATE, OUT), "the network is float64, its state float32"),
        (run, (NET, X, STATE, OUT[None]), r"run: x should be an array \(T, N, I\) of real numbers"),
        (run, (NET, X[None], STATE, OUT), r"run: out should be an array \(T, N, H_out\) of real numbers"),
        (copy_state, (STATE, X), "src should be a state"),
        (copy_state, (STATE, numrnn.jit.new_state(double, 4)), "dst is float32, src is float64"),
        (new_state, (NET, 4.0, None), "batch_size should be an int, got float64"),
        (new_state, (NET, 4, (OUT, OUT)), r"state should be h_0 \(L, N, H_out\), got"),
        (new_state, (numrnn.LSTM(2, 3).jit(), 4, OUT[None]), r"state should be a pair \(h_0, c_0\) of arrays"),
    ):
        with pytest.raises(numba.TypingError, match=text):
            call(*arguments)
