"""`numrnn.jit`: a network inside users' compiled code is the layer, bit for bit, and owns nothing but its state."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from literature import own_cells
from numba import types
from numba.core.runtime import _nrt_python, rtsys
from scipy import LowLevelCallable, integrate
from test_streams import KINDS, make

import numrnn
from numrnn import _jit
from numrnn.kernels import network

ROOT = Path(__file__).parents[1]
same = np.testing.assert_array_equal
compiled_code = pytest.mark.skipif(_jit.DISABLED, reason="about compiled code")
every_kind = pytest.mark.parametrize("kind", KINDS)
# around a vector's and a tile's sizes
SIZES = [(1, 1, 1), (15, 17, 2), (16, 16, 5), (17, 31, 6), (33, 33, 7), (3, 65, 1), (2, 100, 13)]


@numba.njit
def whole(net, x, state, out):
    for t in range(len(x)):
        numrnn.jit.step(net, x[t], state, out[t])


@numba.njit
def run_in_compiled_code(net, x, state, out):
    numrnn.jit.run(net, x, state, out)


@numba.njit
def closed_loop(net, x, state, n_steps):
    for _ in range(n_steps):
        numrnn.jit.step(net, x, state, x)


def draw(layer, seq_len, batch_size, rng):
    return rng.standard_normal((seq_len, batch_size, layer.input_size)).astype(layer.dtype)


@pytest.mark.parametrize(("cell", "dtype"), [(own_cells.MGU, "float32"), (own_cells.PeepholeLSTM, "float64")])
def test_own_cells_step_in_compiled_code(cell, dtype, rng):
    """A late candidate; a cell state and vectors."""
    layer = cell(3, 17, 2, dtype=dtype, seed=1)
    for batch_size in (1, 7):
        x = draw(layer, 4, batch_size, rng)
        expected, out = layer(x), np.empty((4, batch_size, 17), dtype)
        state = numrnn.jit.new_state(layer.jit(), batch_size)
        whole(layer.jit(), x, state, out)
        same(out, expected.output)
        same(state.h, expected.h_n)


@pytest.mark.parametrize(("kind", "dtype"), [*((kind, "float32") for kind in KINDS), ("lstm", "float64")])
def test_steps_in_compiled_code_are_the_layer(kind, dtype, rng):
    for input_size, hidden_size, batch_size in SIZES:
        num_layers = int(rng.integers(1, 4))
        layer = make(kind, input_size, max(hidden_size, 6 * (kind == "projected")), num_layers, dtype=dtype, seed=1)
        x, net = draw(layer, 5, batch_size, rng), layer.jit()
        expected = layer(x)
        state, out = numrnn.jit.new_state(net, batch_size), np.full_like(expected.output, np.nan)
        whole(net, x, state, out)
        same(out, expected.output)
        same(state.h, expected.h_n)
        if isinstance(layer, numrnn.LSTM):
            same(state.c, expected.c_n)


@every_kind
def test_steps_from_python_are_the_layer(kind, rng):
    layer = make(kind, 3, 17, 2)
    x, net = draw(layer, 4, 3, rng), layer.jit()
    first = layer(x)
    expected = layer(x, first.state)
    state, out = numrnn.jit.new_state(net, 3, first.state), np.empty_like(expected.output)
    for x_t, out_t in zip(x, out, strict=True):
        numrnn.jit.step(net, x_t.tolist(), state, out_t)
    same(out, expected.output)
    again, out = numrnn.jit.new_state(net, 3, first.state), np.empty_like(expected.output)
    numrnn.jit.run(net, x, again, out)
    same(out, expected.output)
    same(again.h, expected.h_n)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_run_in_compiled_code_is_the_layer_in_its_layout(batch_first, rng):
    layer = numrnn.LSTM(4, 9, 2, batch_first=batch_first)
    net = layer.jit()
    for shape in ((7, 3, 4), (0, 3, 4), (3, 0, 4)):
        x = rng.standard_normal(shape).astype(np.float32)
        expected = layer(x)
        for run in (numrnn.jit.run, run_in_compiled_code):
            state = numrnn.jit.new_state(net, shape[0 if batch_first else 1])
            out = np.full((*shape[:2], 9), np.nan, np.float32)
            run(net, x, state, out)
            same(out, expected.output)
            same(state.h, expected.h_n)


@compiled_code
def test_states_begin_where_they_are_told_in_compiled_code(rng):
    @numba.njit
    def begin(net, batch_size, state):
        return numrnn.jit.new_state(net, batch_size, state)

    @numba.njit
    def begin_from_zero(net):
        return numrnn.jit.new_state(net, 2, None)

    lstm, gru = numrnn.LSTM(3, 5, 2), numrnn.GRU(3, 5, 2)
    h, c = rng.standard_normal((2, 2, 4, 5))
    made = begin(lstm.jit(), 4, (h, c))
    same(made.h, h.astype(np.float32))
    same(made.c, c.astype(np.float32))
    same(begin(gru.jit(), 4, h[:, :1]).h, np.repeat(h[:, :1], 4, 1).astype(np.float32))
    assert not begin_from_zero(gru.jit()).h.any()
    with pytest.raises(ValueError, match="wrong shape"):
        begin(gru.jit(), 3, h)
    with pytest.raises(ValueError, match="negative"):
        begin(gru.jit(), -1, h)


@compiled_code
def test_arrays_of_any_layout_and_kind_are_taken(rng):
    layer = numrnn.GRU(4, 9)
    net = layer.jit()
    x = rng.standard_normal((5, 3, 4)).astype(np.float32)
    expected = layer(x).output
    for given in (
        x.astype(np.float64),
        np.asfortranarray(x),
        x[:, ::-1][:, ::-1],
        np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
    ):
        out = np.empty((5, 9, 3)).swapaxes(1, 2)  # float64, and its last axis is not its fastest
        whole(net, given, numrnn.jit.new_state(net, 3), out)
        same(out, expected.astype(np.float64))


def test_out_may_be_x(rng):
    layer = numrnn.GRU(8, 8)
    net, start = layer.jit(), draw(layer, 1, 1, rng)
    x, state = start[0].copy(), numrnn.jit.new_state(net, 1)
    closed_loop(net, x, state, 20)
    expected, stream = start[0].copy(), layer.stream(batch_size=1)
    for _ in range(20):
        expected = stream.step(expected)
    same(x, expected)
    by_python, state = start[0].copy(), numrnn.jit.new_state(net, 1)
    for _ in range(20):
        numrnn.jit.step(net, by_python, state, by_python)
    same(by_python, expected)


@compiled_code
def test_a_step_allocates_nothing(rng):
    """In place; for some rows; with a cast, strides, and a second stage."""

    @numba.njit
    def loop(net, x, state, out, n_steps):
        for _ in range(n_steps):
            numrnn.jit.step(net, x, state, out)

    for layer, rows, strides, dtypes in (
        (numrnn.GRU(8, 8), 1, 1, (np.float32, np.float32)),
        (numrnn.GRU(8, 17, 2), 7, 1, (np.float32, np.float32)),
        (numrnn.LSTM(8, 17, proj_size=5), 3, 2, (np.int64, np.float64)),
    ):
        net, state = layer.jit(), numrnn.jit.new_state(layer.jit(), rows)
        x = np.ones((rows, 8 * strides), dtypes[0])[:, ::strides]
        out = np.zeros((rows, layer.signature.output_size * strides), dtypes[1])[:, ::strides]
        loop(net, x, state, out, 1)
        _nrt_python.memsys_enable_stats()
        try:
            before = rtsys.get_allocation_stats().alloc
            loop(net, x, state, out, 1000)
            assert rtsys.get_allocation_stats().alloc - before < 20  # the call wraps its arguments
        finally:
            _nrt_python.memsys_disable_stats()


def test_steps_stay_inside_their_memory(rng):
    for kind in ("lstm", "gru", "gru_reset_before", "projected"):
        layer = make(kind, 3, 17, 2)
        net = layer.jit()
        for batch_size in (1, 4, 7):
            made = numrnn.jit.new_state(net, batch_size)
            size, margin = made.memory.size, 64
            padded = np.full(size + 2 * margin, 7.0, np.float32)
            padded[margin:-margin] = 0
            at = [(network.address(part) - network.address(made.memory)) // 4 for part in (made.h, made.c)]
            own = network.restored(padded[margin:-margin], (at[0], made.h.shape), (at[1], made.c.shape))
            x, out = draw(layer, 3, batch_size, rng), np.empty((3, batch_size, layer.signature.output_size), np.float32)
            whole(net, x, own, out)
            same(out, layer(x).output)
            same(padded[:margin], 7.0)
            same(padded[-margin:], 7.0)


@compiled_code
def test_each_iteration_of_a_parallel_loop_has_its_own_state(rng):
    @numba.njit(parallel=True)
    def sequences(net, x, out):
        for n in numba.prange(x.shape[1]):
            state = numrnn.jit.new_state(net, 1)
            for t in range(x.shape[0]):
                numrnn.jit.step(net, x[t, n : n + 1], state, out[t, n : n + 1])

    layer = numrnn.GRU(4, 9)
    x = draw(layer, 6, 40, rng)
    for _ in range(5):
        out = np.empty((6, 40, 9), np.float32)
        sequences(layer.jit(), x, out)
        same(out, layer(x).output)


@compiled_code
def test_a_frozen_network_runs_in_a_callback_of_scipy(rng):
    layer = numrnn.GRU(1, 4, dtype="float64")
    net = layer.jit()

    @numba.cfunc(types.double(types.intc, types.CPointer(types.double)))
    def integrand(_n, values):
        state = numrnn.jit.new_state(net, 1)
        x, out = np.empty((1, 1)), np.empty((1, 4))
        x[0, 0] = values[0]
        numrnn.jit.step(net, x, state, out)
        return out[0, 0]

    found, _ = integrate.quad(LowLevelCallable(integrand.ctypes), 0.0, 1.0)
    expected, _ = integrate.quad(lambda value: layer(np.full((1, 1, 1), value)).last_output[0, 0], 0.0, 1.0)
    assert found == expected


@compiled_code
def test_a_right_hand_side_leaves_its_state_alone(rng):
    @numba.njit
    def right_hand_side(t, y, net, state, trial, x, out):
        numrnn.jit.copy_state(trial, state)
        x[0, 0], x[0, 1] = t, y[0]
        numrnn.jit.step(net, x, trial, out)
        return out[0, :1] - y

    layer = numrnn.GRU(2, 5, dtype="float64")
    net = layer.jit()
    h_0 = rng.standard_normal((1, 1, 5))
    state, trial = numrnn.jit.new_state(net, 1, h_0), numrnn.jit.new_state(net, 1)
    work = net, state, trial, np.empty((1, 2)), np.empty((1, 5))
    solution = integrate.solve_ivp(right_hand_side, (0.0, 2.0), [0.5], args=work, rtol=1e-8)
    same(state.h, h_0)

    def by_the_layer(t, y):
        return layer(np.array([[[t, y[0]]]]), h_0).last_output[0, :1] - y

    same(solution.y, integrate.solve_ivp(by_the_layer, (0.0, 2.0), [0.5], rtol=1e-8).y)


@compiled_code
def test_denormal_numbers_are_the_callers_again_after_a_step():
    @numba.njit
    def halved(net, x, state, value):
        numrnn.jit.step(net, x, state, x)
        return value * 0.5

    net = numrnn.GRU(8, 8).jit()
    assert halved(net, np.zeros((1, 8), np.float32), numrnn.jit.new_state(net, 1), 3e-308) == 3e-308 / 2 > 0


def test_a_network_keeps_the_weights_that_it_was_made_with(rng):
    layer = numrnn.GRU(3, 5)
    net, x = layer.jit(), draw(layer, 2, 1, rng)
    before = layer(x).output
    layer.set_parameters({name: value * 2 for name, value in layer.parameters.items()})
    out = np.empty_like(before)
    numrnn.jit.run(net, x, numrnn.jit.new_state(net, 1), out)
    same(out, before)
    with pytest.raises(ValueError, match="read-only"):
        net.panels[0] = 0


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_of_states_and_networks_go_on_alone(make_copy, rng):
    layer = numrnn.LSTM(3, 5, 2)
    net, x = layer.jit(), draw(layer, 4, 2, rng)
    state, out = numrnn.jit.new_state(net, 2), np.empty((2, 2, 5), np.float32)
    numrnn.jit.run(net, x[:2], state, out)
    twin, twin_net = make_copy(state), make_copy(net)
    assert np.shares_memory(twin.h, twin.memory)
    numrnn.jit.run(twin_net, x[2:], twin, out)
    same(out, layer(x).output[2:])
    assert np.array_equal(state.h, layer(x[:2]).h_n)


def test_a_network_of_another_version_is_refused_when_it_is_unpickled():
    net = numrnn.RNN(2, 3).jit()
    other = pickle.dumps(net).replace(_jit.digest().encode(), b"0" * 16)
    with pytest.raises(ValueError, match="another version of numrnn"):
        pickle.loads(other)


def test_copy_state_copies():
    net = numrnn.LSTM(3, 5).jit()
    source, target = numrnn.jit.new_state(net, 2, tuple(np.ones((2, 1, 1, 5)))), numrnn.jit.new_state(net, 2)
    numrnn.jit.copy_state(target, source)
    same(target.h, 1.0)
    same(target.c, 1.0)
    assert not np.shares_memory(target.memory, source.memory)


PROGRAM = """
import sys
import numba
import numpy as np
import numrnn

@numba.njit(cache=True)
def last(net, x):
    state = numrnn.jit.new_state(net, x.shape[1])
    out = np.empty((x.shape[1], 3), np.float32)
    for t in range(x.shape[0]):
        numrnn.jit.step(net, x[t], state, out)
    return out

layer = numrnn.RNN(2, 3, seed=int(sys.argv[1]))
x = np.ones((4, 5, 2), np.float32)
assert np.array_equal(last(layer.jit(), x), layer(x).last_output)
print(sum(last.stats.cache_hits.values()), sum(last.stats.cache_misses.values()))
"""


@compiled_code
def test_a_users_disk_cache_sees_new_weights_and_another_version(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    changed = tmp_path / "changed"
    shutil.copytree(ROOT / "numrnn", changed / "numrnn", ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "numrnn" / "kernels" / "step.py").open("a") as file:
        file.write("\n# another version\n")

    def run(seed, folder=ROOT):
        environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        environment.setdefault("NUMRNN_CACHE_DIR", str(tmp_path / "kernels"))
        done = subprocess.run(
            [sys.executable, str(program), str(seed)], env=environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run(0) == ["0", "1"]
    assert run(1) == ["1", "0"]  # other weights, the same code
    assert run(0, changed) == ["0", "1"]
    assert run(0) == ["1", "0"]  # and the old one still stands


FAST = """
import sys
import numba
import numpy as np
import numrnn

@numba.njit(fastmath=sys.argv[1] == "fast")
def last(net, x):
    state = numrnn.jit.new_state(net, x.shape[1])
    out = np.empty((x.shape[1], 17), np.float32)
    for t in range(x.shape[0]):
        numrnn.jit.step(net, x[t], state, out)
    return out

layer = numrnn.RNN(9, 17, seed=0)
x = np.random.default_rng(0).standard_normal((50, 7, 9)).astype(np.float32)
assert np.array_equal(last(layer.jit(), x), layer(x).last_output)
"""


@compiled_code
def test_fast_math_of_a_users_function_is_not_the_kernels(tmp_path):
    """Neither in that process nor, through the disk cache, in later ones."""
    program = tmp_path / "program.py"
    program.write_text(FAST)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMRNN_CACHE_DIR": str(tmp_path / "kernels")}
    for mode in ("fast", "plain"):
        subprocess.run([sys.executable, str(program), mode], env=environment, check=True, timeout=300)


@pytest.mark.parametrize(
    ("layer", "others"),
    [
        (numrnn.GRU(40, 8), [numrnn.GRU(2, 8), numrnn.GRU(40, 8, reset_after=False)]),
        (numrnn.GRU(8, 32, 4, reset_after=False), [numrnn.LSTM(8, 32, 4), numrnn.LSTM(8, 16, 4)]),
    ],
    ids=["input or second stage", "cell state"],
)
def test_a_state_of_other_parts_is_refused(layer, others):
    """Sizes of h alone do not tell that x is longer, that there is a second stage, or a cell state."""
    net, size = layer.jit(), layer.hidden_size
    x, out = np.zeros((1, layer.input_size), np.float32), np.zeros((1, size), np.float32)
    for wrong in others:
        state = numrnn.jit.new_state(wrong.jit(), 1)
        before = state.memory.copy()
        with pytest.raises(ValueError, match="not of this network"):
            numrnn.jit.step(net, x, state, out)
        with pytest.raises(ValueError, match="another network"):
            whole(net, x[None], state, out[None])
        same(state.memory, before)


def test_numbers_beyond_the_range_are_infinite_in_a_step_too():
    gru, x = numrnn.GRU(2, 3, seed=0), np.array([[1e300, 0.0]])
    out = np.empty((1, 3), np.float32)
    numrnn.jit.step(gru.jit(), x, numrnn.jit.new_state(gru.jit(), 1), out)
    same(out, gru(x[None]).last_output)


@compiled_code
def test_x_may_be_a_part_of_the_state(rng):
    layer = numrnn.LSTM(8, 8)
    net, parts = layer.jit(), tuple(rng.standard_normal((2, 1, 1, 8)).astype(np.float32))
    for place in (0, 1):
        state, out = numrnn.jit.new_state(net, 1, parts), np.empty((1, 1, 8), np.float32)
        whole(net, (state.h, state.c)[place], state, out)
        same(out, layer(parts[place], parts).output)


def test_the_reference_answers_where_compiling_is_switched_off():
    code = """
import warnings; warnings.simplefilter("ignore")
import numba, numpy as np, numrnn
@numba.njit
def whole(net, x, out):
    state = numrnn.jit.new_state(net, x.shape[1])
    for t in range(len(x)):
        numrnn.jit.step(net, x[t], state, out[t])
for layer in (numrnn.LSTM(3, 5, 2, proj_size=2), numrnn.GRU(3, 4, bias=False), numrnn.GRU(3, 4, reset_after=False)):
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    expected = layer(x).output
    out = np.empty_like(expected)
    whole(layer.jit(), x, out)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def test_a_bidirectional_layer_has_no_step():
    with pytest.raises(NotImplementedError, match="its reverse half begins at the end"):
        numrnn.LSTM(2, 3, bidirectional=True).jit()
