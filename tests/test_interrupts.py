"""Ctrl-C while kernels are compiled is not lost."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
from numba.core.registry import cpu_target

from numrnn import _jit
from numrnn._interrupts import interrupts_kept

compiled_code = pytest.mark.skipif(_jit.DISABLED, reason="about compiled code")


@pytest.fixture(autouse=True)
def pythons_own_handler():
    """A shell starts its background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fresh_kernel():
    """An entry kernel that nobody has compiled."""

    def twice(x):
        for k in range(len(x)):
            x[k] *= 2.0

    return _jit._entry(_jit.kernel(twice), twice, on_disk=False)


@pytest.fixture
def pressed_while_llvm_works(monkeypatch):
    """Ctrl-C comes when LLVM hands over its first code, in a callback of C's."""
    engine = cpu_target.target_context.codegen()._engine._ee
    notify, pressed = engine._object_cache_notify, []

    def press(*arguments):
        if not pressed:
            pressed.append(signal.raise_signal(signal.SIGINT))
        notify(*arguments)

    monkeypatch.setattr(engine, "_object_cache_notify", press)
    return pressed


@compiled_code
def test_ctrl_c_while_a_kernel_is_compiled_is_raised(pressed_while_llvm_works):
    run, x = fresh_kernel(), np.ones(3)
    with pytest.raises(KeyboardInterrupt):
        run(x)
    assert pressed_while_llvm_works
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    x[:] = 1.0
    run(x)  # what was compiled is whole
    np.testing.assert_array_equal(x, 2.0)


@compiled_code
def test_a_programs_own_handler_is_left_alone(pressed_while_llvm_works):
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        x = np.ones(3)
        fresh_kernel()(x)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
    np.testing.assert_array_equal(x, 2.0)


def test_elsewhere_ctrl_c_is_raised_at_once():
    went_on = []
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        went_on.append(signal.raise_signal(signal.SIGINT))
    assert not went_on
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@compiled_code
def test_other_threads_compile_without_handlers():
    x = np.ones(3)
    thread = threading.Thread(target=fresh_kernel(), args=(x,))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(x, 2.0)
