"""I-11 and I-12: nothing outside its arrays is touched, and offsets beyond 2**31."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from cases import Problem, call, layer_answers, make_layer, make_problem, random_cases
from guards import GuardedMemory

import numrnn
from numrnn.engine import forward_plans, geometry
from numrnn.engine.plan import forget_plans, plan_shape
from numrnn.engine.workspace import Workspace
from numrnn.kernels import tasks, tile

from .rows import CannotRunError, row


def _trained(layer: Any, problem: Problem, n_threads: int) -> None:
    layer_answers(layer, problem, n_threads=n_threads)
    layer_answers(layer, problem, n_threads=n_threads, recompute=True)


def _inferred(layer: Any, problem: Problem, n_threads: int) -> None:
    call(layer.__call__, problem, n_threads=n_threads)
    call(layer.last, problem, n_threads=n_threads)


def _streamed(layer: Any, problem: Problem, _n_threads: int) -> None:
    if layer.bidirectional:
        return
    batch_size = problem.x.shape[1]
    stream = layer.stream(batch_size, problem.state)
    x = problem.padded_with(0.0).x
    for x_t in x:
        stream.step(np.ascontiguousarray(x_t))
    stream.run(np.ascontiguousarray(x.swapaxes(0, 1)) if layer.batch_first else x)
    stream.reset([0])


@numba.njit
def _compiled_steps(net: Any, x: Any, state: Any, out: Any) -> None:
    """Steps of a user's compiled code, which read x and write out where they stand."""
    for t in range(len(x)):
        numrnn.jit.step(net, x[t], state, out[t])


def _networked(layer: Any, problem: Problem, _n_threads: int) -> None:
    if layer.bidirectional:
        return
    net, x = layer.jit(), problem.padded_with(0.0).x
    state = numrnn.jit.new_state(net, x.shape[1], problem.state)
    given, out = np.empty(x.shape, layer.dtype), np.empty((*x.shape[:2], state.h.shape[2]), layer.dtype)
    given[...] = x
    for x_t, out_t in zip(x, out, strict=True):
        numrnn.jit.step(net, x_t, state, out_t)
    _compiled_steps(net, given, state, out)


# every way to the kernels of a layer
WAYS: tuple[Callable[[Any, Problem, int], None], ...] = (_trained, _inferred, _streamed, _networked)


@row("I-11", "2,000 random shapes: guard pages and canaries around every array", seconds=1800)
def guarded_arrays() -> None:
    if not sys.platform.startswith("linux"):
        raise CannotRunError("pages are protected with mprotect of Linux")
    rng = np.random.default_rng(11)
    guard, arrays = GuardedMemory(), 0
    names = ("x", "h_0", "c_0", "d_output", "d_h_n", "d_c_n", "resets")
    for k, case in enumerate(random_cases(11, 2000)):
        resets = not case.bidirectional and rng.random() < 0.3
        case = replace(case, dtype=("float32", "float64")[k // 5 % 2], resets=resets)
        guard.at_end, n_threads = bool(rng.random() < 0.7), int(rng.integers(1, 3))
        forget_plans()
        problem = make_problem(case)
        given = {name: getattr(problem, name) for name in names}
        problem = replace(problem, **{name: None if a is None else guard.copy(a) for name, a in given.items()})
        print(k, case, flush=True)
        with guard.around_everything():
            layer = make_layer(case)
            for way in WAYS:
                way(layer, problem, n_threads)
        arrays += guard.check()
    assert arrays > 20 * 2000, f"only {arrays} arrays were watched"


def _offsets() -> None:
    """The places of x and output in a plan whose arrays no machine holds."""
    steps, rows, features, units = 1 << 21, 1000, 40, 64
    for batch_first in (False, True):
        layer = numrnn.GRU(features, units, batch_first=batch_first)
        shape = (rows, steps, features) if batch_first else (steps, rows, features)
        plan = plan_shape(layer.signature, shape, 2)
        batch = geometry.Batch.of(plan, None)
        planned = forward_plans.forward(plan, 0, batch, Workspace.of(plan, keep=True), last=False, resets=False)
        request = planned.request
        assert request.dtype == np.int64
        table = request[request[planned.headers[0] + tasks.TABLE_AT] :][: rows * tile.ROW_FIELDS]
        table = table.reshape(rows, tile.ROW_FIELDS)
        for field, size in ((tile.ROW_X, features), (tile.ROW_H, units)):
            expected = [n * (steps * size if batch_first else size) for n in range(rows)]
            assert sorted(table[:, field].tolist()) == expected
        step = int(request[planned.headers[0] + tasks.X_STEP])
        assert step == (features if batch_first else rows * features)
        assert max(expected) + steps * step > 2**31


@row("I-12", "more than 2**31 numbers: right offsets", optional=True, seconds=900)
def beyond_31_bits() -> None:
    _offsets()
    rows, units = 64, 64
    steps = 2**31 // (rows * units) + 4096
    needed = rows * steps * (units + 4) * 4
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if free < 1.3 * needed:
        raise CannotRunError(
            f"the offsets in plans are right; a real run needs {needed >> 30} GiB, {free >> 30} GiB are free"
        )
    layer = numrnn.RNN(1, units, batch_first=True, seed=0)
    x = np.random.default_rng(0).standard_normal((rows, steps, 1), dtype=np.float32)
    result = layer(x)
    assert result.output.size > 2**31
    chunk, state = steps // 16, None
    for begin in range(0, steps, chunk):
        piece = layer(x[:, begin : begin + chunk], state)
        np.testing.assert_array_equal(result.output[:, begin : begin + chunk], piece.output)
        state = piece.state
    np.testing.assert_array_equal(result.h_n, state)
