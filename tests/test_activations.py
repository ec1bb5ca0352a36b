"""Sigmoid and tanh on vectors keep what their module promises."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from numrnn._jit import DISABLED, entry_kernel
from numrnn.kernels import activations, simd

pytestmark = pytest.mark.skipif(DISABLED, reason="kernels are not compiled with NUMBA_DISABLE_JIT=1")

FUNCTIONS = {"sigmoid": activations.sigmoid_array, "tanh": activations.tanh_array}
NAMES = pytest.mark.parametrize("name", FUNCTIONS)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

LARGEST_ULP = {
    ("sigmoid", np.float32): 2.5,
    ("tanh", np.float32): 2.51,
    ("sigmoid", np.float64): 2.5,
    ("tanh", np.float64): 2.7,
}


@entry_kernel
def flushed_sigmoid(x, out):
    mode = simd.flush_denormals()
    activations.sigmoid_array(x, out)
    simd.restore_mode(mode)


@entry_kernel
def flushed_tanh(x, out):
    mode = simd.flush_denormals()
    activations.tanh_array(x, out)
    simd.restore_mode(mode)


def evaluate(name, x):
    out = np.empty_like(x)
    FUNCTIONS[name](x, out)
    return out


def reference(name, x):
    """The function of numbers, in the widest precision at hand."""
    x = x.astype(np.longdouble)
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def ulp_errors(y, expected):
    """Distance to `expected` in units of the last place that its binade has in y's dtype; 0 where it is not normal."""
    info = np.finfo(y.dtype)
    _, exponent = np.frexp(expected)
    unit = np.ldexp(np.longdouble(1), np.maximum(exponent - 1, info.minexp) - info.nmant)
    return np.where(np.abs(expected) < info.smallest_normal, 0, np.abs(y - expected) / unit)


def bits_of(x):
    """The numbers' memory as integers."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def neighbours(places, distances):
    """For each of the positive `places` the numbers that lie `distances` further on."""
    bits = bits_of(places)
    return (bits[:, None] + distances.astype(bits.dtype)).view(places.dtype)


def joins(name, dtype, count):
    """Runs of `count` neighbouring numbers across each place where the reduction changes its integer, ascending."""
    step = np.log(2) / (1 if name == "sigmoid" else 2)
    highest = {"sigmoid": 104 if dtype == np.float32 else 745, "tanh": 20}[name]
    places = (np.arange(highest / step) + 0.5) * step
    runs = neighbours(places.astype(dtype), np.arange(-(count // 2), count - count // 2))
    return np.concatenate([-runs[::-1, ::-1], runs])


def stratified(name, dtype, rng, size):
    """Numbers of every sign and exponent, more of them where the functions bend, and the joins."""
    info = np.finfo(dtype)
    exponents = rng.integers(info.minexp, 10, size // 4)
    magnitudes = [np.ldexp(rng.uniform(1, 2, size // 4), exponents), np.abs(rng.normal(0, 4, size // 4))]
    every = np.concatenate([*magnitudes, -np.concatenate(magnitudes), rng.uniform(-110, 20, size // 8)])
    if dtype == np.float64:
        every = np.concatenate([every, rng.uniform(-745, 20, size // 8)])
    return np.concatenate([every.astype(dtype), joins(name, dtype, 64).ravel()])


@NAMES
@DTYPES
def test_errors_stay_below_the_stated_ulps(name, dtype, rng):
    if np.finfo(np.longdouble).nmant <= np.finfo(dtype).nmant:
        pytest.skip("nothing wider than float64 to compare with")
    x = stratified(name, dtype, rng, 1_000_000)
    y = evaluate(name, x)
    errors = ulp_errors(y, reference(name, x))
    worst = errors.argmax()
    assert errors[worst] <= LARGEST_ULP[name, dtype], f"{name}({x[worst]!r}) = {y[worst]!r}"


@NAMES
@DTYPES
def test_results_never_fall_between_neighbours(name, dtype, rng):
    """Across joins, and along runs anywhere."""
    anywhere = neighbours(rng.choice(np.abs(stratified(name, dtype, rng, 10_000)), 2000), np.arange(512))
    for runs in (joins(name, dtype, 256), anywhere, np.ascontiguousarray(-anywhere[:, ::-1])):
        results = evaluate(name, runs.ravel()).reshape(runs.shape)
        assert (np.diff(results) >= 0).all()


@NAMES
@DTYPES
def test_results_rise_over_the_whole_line_and_stay_in_range(name, dtype, rng):
    x = np.sort(stratified(name, dtype, rng, 200_000))
    y = evaluate(name, x)
    assert (np.diff(y) >= 0).all()
    assert y.min() >= (0 if name == "sigmoid" else -1)
    assert y.max() <= 1


@DTYPES
def test_tanh_is_odd(dtype, rng):
    x = stratified("tanh", dtype, rng, 100_000)
    np.testing.assert_array_equal(evaluate("tanh", -x), -evaluate("tanh", x))


@DTYPES
def test_sigmoids_of_opposite_numbers_sum_to_one(dtype, rng):
    """Up to one unit in the last place of 1."""
    x = stratified("sigmoid", dtype, rng, 100_000)
    total = evaluate("sigmoid", x).astype(np.longdouble) + evaluate("sigmoid", -x)
    assert np.abs(total - 1).max() <= np.finfo(dtype).eps


@DTYPES
def test_special_numbers(dtype):
    info = np.finfo(dtype)
    far = np.array([np.inf, info.max, 1e4, 1e3], dtype)
    np.testing.assert_array_equal(evaluate("tanh", far), 1)
    np.testing.assert_array_equal(evaluate("tanh", -far), -1)
    np.testing.assert_array_equal(evaluate("sigmoid", far), 1)
    np.testing.assert_array_equal(evaluate("sigmoid", -far), 0)
    near = np.array([0.0, -0.0, info.smallest_subnormal, -info.smallest_subnormal, info.smallest_normal, -1e-30], dtype)
    np.testing.assert_array_equal(evaluate("sigmoid", near), 0.5)
    np.testing.assert_array_equal(evaluate("tanh", near), near)
    np.testing.assert_array_equal(np.signbit(evaluate("tanh", near)), np.signbit(near))


@NAMES
@DTYPES
def test_nan_stays_nan_and_alone(name, dtype):
    quiet, signalling = np.array([np.nan], dtype), np.array([np.inf], dtype)
    bits_of(signalling)[:] += 1
    for lane, nan in enumerate([quiet, -quiet, signalling, -signalling]):
        x = np.ones(40, dtype)
        x[lane * 9 : lane * 9 + 1] = nan
        np.testing.assert_array_equal(np.isnan(evaluate(name, x)), np.isnan(x))


@NAMES
@DTYPES
def test_subnormal_results_are_right_or_flushed(name, dtype, rng):
    """Without flush-to-zero the error stays below one smallest step; with it the same bits, but 0 for subnormals."""
    info = np.finfo(dtype)
    low, high = (-104.5, -86) if dtype == np.float32 else (-746.0, -707)
    if name == "sigmoid":
        x = rng.uniform(low, high, 1001).astype(dtype)
    else:
        x = (rng.uniform(-4, 4, 1001) * info.smallest_normal).astype(dtype)
    y = evaluate(name, x)
    np.testing.assert_array_less(
        np.abs(y - reference(name, x)), 2.7 * np.maximum(np.spacing(y), info.smallest_subnormal)
    )
    if simd.FLUSHES_DENORMALS:
        flushed = np.empty_like(x)
        {"sigmoid": flushed_sigmoid, "tanh": flushed_tanh}[name](x, flushed)
        np.testing.assert_array_equal(flushed, np.where(np.abs(y) < info.smallest_normal, 0, y))


@NAMES
@DTYPES
def test_every_length_writes_its_numbers_and_no_others(name, dtype, rng):
    numbers = rng.normal(0, 3, 70).astype(dtype)
    expected = evaluate(name, np.repeat(numbers, 16))[::16]
    for size in range(71):
        memory = np.full(size + 40, 7, dtype)
        FUNCTIONS[name](numbers[:size], memory[20 : 20 + size])
        np.testing.assert_array_equal(memory[20 : 20 + size], expected[:size])
        assert (memory[:20] == 7).all()
        assert (memory[20 + size :] == 7).all()
        in_place = numbers[:size].copy()
        FUNCTIONS[name](in_place, in_place)
        np.testing.assert_array_equal(in_place, expected[:size])


CHILD = """
import sys
import numpy as np
from numrnn.kernels import activations, simd
data = dict(np.load(sys.argv[1]))
for key, x in list(data.items()):
    name = key.split()[0]
    data[key] = np.empty_like(x)
    getattr(activations, name + "_array")(x, data[key])
np.savez(sys.argv[1], width=simd.VECTOR_BYTES, fma=simd.HAS_FMA, **data)
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names CPUs of x86-64")
@pytest.mark.skipif("NUMBA_CPU_NAME" in os.environ, reason="the CPU is named already")
@pytest.mark.parametrize(("cpu", "width", "fma"), [("haswell", 32, True), ("x86-64-v2", 16, False)])
def test_narrower_vectors(cpu, width, fma, rng, tmp_path):
    """The same bits with FMA, whatever the width; the same promises without."""
    if width > simd.VECTOR_BYTES:
        pytest.skip("the machine has no vectors of that width")
    samples = {f"{name} {dtype.__name__}": stratified(name, dtype, rng, 20_000) for name, dtype in LARGEST_ULP}
    path = tmp_path / "samples.npz"
    np.savez(path, **samples)
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu}
    subprocess.run([sys.executable, "-c", CHILD, str(path)], env=environment, check=True)
    results = np.load(path)
    assert (results["width"], results["fma"]) == (width, fma)
    for name, dtype in LARGEST_ULP:
        x = samples[f"{name} {dtype.__name__}"]
        y = results[f"{name} {dtype.__name__}"]
        if fma and simd.HAS_FMA:
            np.testing.assert_array_equal(y, evaluate(name, x))
        if np.finfo(np.longdouble).nmant > np.finfo(dtype).nmant:
            assert ulp_errors(y, reference(name, x)).max() <= LARGEST_ULP[name, dtype]
        assert (np.diff(y[np.argsort(x)]) >= 0).all()
