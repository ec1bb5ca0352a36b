"""Tasks that wait for each other within a launch: where there are fewer rows than threads, a step's columns are split.

All tasks of such a launch must run at the same time. Whether they do is asked once, before anything is written: who
waits for longer than about a millisecond calls the launch off, and the same work is done by one task instead.

The memory of a meeting is MEETING numbers of an array, zero at the start, on a cache line. Only x86 and aarch64 have a
word for "I am waiting"; elsewhere a waiting thread yields.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from numrnn._jit import kernel
from numrnn.kernels.simd import I32, I64, array_data

COUNTER, ARRIVED, STATE, MEETING = 0, 16, 32, 48
OPEN, STARTED, CALLED_OFF = 0, 1, 2
PATIENCE = 40_000  # looks at the state before a launch is called off: about 1 ms
# Looks at the counter without a pause, then with one, before the thread yields, after about 1 ms: who yields on a busy
# machine waits for its turn, at every step (with two neighbours that compute, yields after 0.01 ms cost 20 times more).
EAGER, POLITE = 100, 60_000


def _word(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Pointer to the int64 that stands `args[1]` numbers after an array's begin."""
    data = array_data(context, builder, sig.args[0], args[0])
    return builder.bitcast(builder.gep(data, [args[1]]), I64.as_pointer())


@intrinsic
def _add(typingctx: Any, memory: Any, at: Any, value: Any) -> Any:
    """Add to a word and return what it was."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _word(context, builder, sig, args), args[2], "acq_rel")

    return types.int64(memory, types.intp, types.int64), codegen


@intrinsic
def _look(typingctx: Any, memory: Any, at: Any) -> Any:
    """Read a word; what was written before it changed is seen afterwards."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(_word(context, builder, sig, args), "acquire", 8)

    return types.int64(memory, types.intp), codegen


@intrinsic
def _change(typingctx: Any, memory: Any, at: Any, before: Any, after: Any) -> Any:
    """Write `after` if the word is `before`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.cmpxchg(_word(context, builder, sig, args), args[2], args[3], "acq_rel", "acquire")
        return context.get_dummy_value()

    return types.void(memory, types.intp, types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx: Any) -> Any:
    """Tell the processor that this thread waits."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        machine, nothing = platform.machine().lower(), ir.VoidType()
        if machine in ("x86_64", "amd64"):
            signature = ir.FunctionType(nothing, [])
            builder.call(cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.sse2.pause"), [])
        elif machine in ("arm64", "aarch64"):
            signature = ir.FunctionType(nothing, [I32])
            hint = cgutils.get_or_insert_function(builder.module, signature, "llvm.aarch64.hint")
            builder.call(hint, [ir.Constant(I32, 1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(typingctx: Any) -> Any:
    """Let another thread run on this processor, where the system has a word for it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if os.name == "posix":
            yielding = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, []), "sched_yield")
            builder.call(yielding, [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def all_arrived(memory, at, n):
    """Whether all `n` tasks of a meeting run at the same time; each of them gets the same answer, and calls once."""
    if _add(memory, at + ARRIVED, 1) == n - 1:
        _change(memory, at + STATE, OPEN, STARTED)
    looks = 0
    while _look(memory, at + STATE) == OPEN:
        _pause()
        looks += 1
        if looks == PATIENCE:
            _change(memory, at + STATE, OPEN, CALLED_OFF)
    return _look(memory, at + STATE) == STARTED


@kernel
def meet(memory, at, n, times):
    """Wait until all `n` tasks have come for the `times`-th time; what they wrote before is seen afterwards."""
    if _add(memory, at + COUNTER, 1) + 1 == n * times:
        return
    looks = 0
    while _look(memory, at + COUNTER) < n * times:
        looks += 1
        if looks > POLITE:
            _give_way()
        elif looks > EAGER:
            _pause()
