"""Whatever holds the same numbers gives the same bits, and nothing that is passed in is changed."""

import warnings

import numpy as np
import pytest

import numrnn
from numrnn.engine import memory
from numrnn.engine.plan import _kept, forget_plans

LAYERS = {
    "lstm": numrnn.LSTM(5, 7, num_layers=2, seed=0),
    "gru": numrnn.GRU(5, 7, num_layers=2, seed=0, batch_first=True),
}


def unaligned(array):
    """The same numbers, one byte off."""
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    copy = memory.view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


def strided(array):
    """The same numbers, every second one of a larger array."""
    wide = np.full(tuple(2 * size for size in array.shape), np.nan, array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class Carrier:
    """An array that is no ndarray, as tensors of other libraries are."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Subclass(np.ndarray):
    """An array of a class that kernels do not know."""


FORMS = {
    "plain": np.array,
    "float64": lambda a: a.astype(np.float64),
    "long double": lambda a: a.astype(np.longdouble),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": unaligned,
    "unaligned float64": lambda a: unaligned(a.astype(np.float64)),
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "negative strides": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "swapped axes": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "read-only": read_only,
    "read-only byte-swapped": lambda a: read_only(a.astype(a.dtype.newbyteorder())),
    "nested lists": lambda a: a.tolist(),
    "nested tuples": lambda a: tuple(tuple(map(tuple, rows)) for rows in a.tolist()),
    "subclass": lambda a: a.view(Subclass),
    "array protocol": Carrier,
}


def everything(layer, x, state, d_output):
    """All results and gradients of one call, plain call and `last` included."""
    plain, last = layer(x, state), layer.last(x, state)
    result, pullback = layer.vjp(x, state)
    gradients = pullback(d_output)
    arrays = [plain.output, plain.h_n, last.h_n, result.output, result.h_n, gradients.x, gradients.h_0]
    return arrays + list(gradients.parameters.values())


def numbers(layer, rng):
    """x, h_0 and the cotangent of output in float32, exact in every wider type."""
    x = rng.standard_normal((4, 3, 5)).astype(np.float32)
    batch = 4 if layer.batch_first else 3
    h_0, c_0 = rng.standard_normal((2, 2, batch, 7)).astype(np.float32)
    return x, h_0, c_0, rng.standard_normal((4, 3, 7)).astype(np.float32)


def as_state(layer, h_0, c_0):
    return (h_0, c_0) if isinstance(layer, numrnn.LSTM) else h_0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cell", LAYERS)
def test_the_same_numbers_in_any_form_give_the_same_bits(cell, form, rng):
    """Precision, byte order, alignment, layout and container of x, state and cotangents do not matter."""
    layer, take = LAYERS[cell], FORMS[form]
    x, h_0, c_0, d_output = numbers(layer, rng)
    expected = everything(layer, x, as_state(layer, h_0, c_0), d_output)
    got = everything(layer, take(x), as_state(layer, take(h_0), take(c_0)), take(d_output))
    for one, other in zip(expected, got, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", [form for form in FORMS if "nested" not in form and form != "array protocol"])
@pytest.mark.parametrize("cell", LAYERS)
def test_no_input_is_ever_modified(cell, form, rng):
    """x, states and cotangents keep their bits and their flags; results are not views of them."""
    layer, take = LAYERS[cell], FORMS[form]
    given = [take(array) for array in numbers(layer, rng)]
    before = [(array.tobytes(), str(array.flags)) for array in given]
    x, h_0, c_0, d_output = given
    results = everything(layer, x, as_state(layer, h_0, c_0), d_output)
    assert [(array.tobytes(), str(array.flags)) for array in given] == before
    for result in results:
        assert not any(np.shares_memory(result, array) for array in given)


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "int64", "uint64", "bool"])
def test_real_numbers_of_any_kind_are_cast(dtype, rng):
    """Small integers are the same in every type."""
    layer = LAYERS["lstm"]
    x = rng.integers(0, 2, (4, 3, 5))
    result = layer(x.astype(dtype))
    assert result.output.dtype == np.float32
    np.testing.assert_array_equal(result.output, layer(x.astype(np.float32)).output)


def test_bfloat16_is_a_real_number(rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = rng.integers(0, 2, (4, 3, 5))
    np.testing.assert_array_equal(LAYERS["lstm"](x.astype(bfloat16)).output, LAYERS["lstm"](x).output)


def test_a_tensor_is_an_array():
    torch = pytest.importorskip("torch")
    x = np.ones((4, 3, 5), np.float32)
    np.testing.assert_array_equal(LAYERS["lstm"](torch.from_numpy(x)).output, LAYERS["lstm"](x).output)
    with pytest.raises(TypeError, match=r"`x` \(Tensor\) cannot be read as an array"):
        LAYERS["lstm"](torch.ones(4, 3, 5, requires_grad=True))


def test_a_memory_map_is_an_array(tmp_path, rng):
    """Read where it lies: the plan makes no copy of a contiguous map of the layer's dtype."""
    x = rng.standard_normal((4, 3, 5)).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", np.float32, "r", shape=x.shape)
    np.testing.assert_array_equal(LAYERS["lstm"](mapped).output, LAYERS["lstm"](x).output)


def test_a_broadcast_array_is_an_array(rng):
    x = np.broadcast_to(rng.standard_normal((4, 1, 5)).astype(np.float32), (4, 3, 5))
    output = LAYERS["lstm"](x).output
    np.testing.assert_array_equal(output[:, 0], output[:, 2])


def test_without_word_of_the_memory_every_address_may_be_used(monkeypatch):
    """Where the system does not tell its memory, only the impossible is refused."""

    def unknown(name):
        raise ValueError(f"unrecognized configuration name {name}")

    monkeypatch.setattr("os.sysconf", unknown, raising=False)
    memory._physical.cache_clear()
    try:
        memory.require(2**47, "LSTM", "x")
        with pytest.raises(MemoryError, match=r"this machine has 128\.0 TiB"):
            memory.require(2**47 + 1, "LSTM", "x")
    finally:
        memory._physical.cache_clear()


def test_nan_in_one_row_stays_in_that_row(rng):
    x = rng.standard_normal((4, 3, 5))
    clean = LAYERS["lstm"](x).output
    x[1, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = LAYERS["lstm"](x).output
    np.testing.assert_array_equal(output[:, :2], clean[:, :2])
    assert np.isnan(output[1:, 2]).all()
    assert not np.isnan(output[0]).any()


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("with_state", [False, True])
def test_no_steps_give_an_empty_output_and_the_initial_state(cell, with_state, rng):
    """T = 0: the gradient of the state is the cotangent of the state, and parameters have none."""
    layer = LAYERS[cell]
    shape = (3, 0, 5) if layer.batch_first else (0, 3, 5)
    h_0, c_0 = rng.standard_normal((2, 2, 3, 7)).astype(np.float32)
    state = as_state(layer, h_0, c_0) if with_state else None
    result, pullback = layer.vjp(np.zeros(shape), state)
    assert result.output.shape == (*shape[:2], 7)
    np.testing.assert_array_equal(result.h_n, h_0 if with_state else np.zeros_like(h_0))
    np.testing.assert_array_equal(layer.last(np.zeros(shape), state).h_n, result.h_n)
    gradients = pullback(np.zeros(result.output.shape), h_0)
    np.testing.assert_array_equal(gradients.h_0, h_0)
    assert gradients.x.shape == shape
    assert gradients.norm() == 0.0
    if cell == "lstm":
        np.testing.assert_array_equal(result.c_n, c_0 if with_state else np.zeros_like(c_0))
        assert not np.shares_memory(result.c_n, c_0)
    assert not np.shares_memory(result.h_n, h_0)


@pytest.mark.parametrize("cell", LAYERS)
def test_no_rows_give_empty_results(cell):
    """N = 0, with one state for all rows that there are not."""
    layer = LAYERS[cell]
    shape = (0, 4, 5) if layer.batch_first else (4, 0, 5)
    one = np.ones((2, 1, 7))
    result, pullback = layer.vjp(np.zeros(shape), as_state(layer, one, one))
    assert result.output.shape == (*shape[:2], 7)
    assert result.h_n.shape == result.final_hidden[:, 0].shape == (2, 0, 7)
    gradients = pullback(np.zeros(result.output.shape))
    assert gradients.h_0.shape == (2, 1, 7)
    assert not gradients.h_0.any()
    assert gradients.norm() == 0.0
    assert layer.last(np.zeros(shape)).last_output.shape == (0, 7)


@pytest.mark.parametrize("cell", LAYERS)
def test_one_row_of_state_stands_for_every_row(cell, rng):
    """A batch axis of 1 broadcasts; its gradient is the sum over the rows."""
    layer = LAYERS[cell]
    x, h_0, c_0, d_output = numbers(layer, rng)
    full_h, full_c = (np.repeat(part[:, :1], part.shape[1], axis=1) for part in (h_0, c_0))
    one, one_back = layer.vjp(x, as_state(layer, h_0[:, :1], c_0[:, :1]))
    full, full_back = layer.vjp(x, as_state(layer, full_h, full_c))
    np.testing.assert_array_equal(one.output, full.output)
    ours, theirs = one_back(d_output), full_back(d_output)
    np.testing.assert_array_equal(ours.h_0, theirs.h_0.sum(1, keepdims=True))
    np.testing.assert_array_equal(ours.x, theirs.x)
    if cell == "lstm":
        np.testing.assert_array_equal(ours.c_0, theirs.c_0.sum(1, keepdims=True))
        mixed, mixed_back = layer.vjp(x, (full_h, c_0[:, :1]))
        np.testing.assert_array_equal(mixed.output, full.output)
        assert mixed_back(d_output).h_0.shape == full_h.shape
        assert mixed_back(d_output).c_0.shape == (2, 1, 7)


def test_a_repeated_call_is_planned_once():
    """Plans are kept by signature, for equal layers together; at most 64, and no error is kept."""
    forget_plans()
    x = np.zeros((4, 3, 5), np.float32)
    numrnn.LSTM(5, 7, num_layers=2, seed=1)(x)
    LAYERS["lstm"](x)
    LAYERS["lstm"](x[:, ::-1])
    assert _kept.cache_info().misses == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="4 features"):
            LAYERS["lstm"](x[..., 1:])
    assert _kept.cache_info().currsize == 1
    for steps in range(100):
        LAYERS["lstm"](np.zeros((steps, 1, 5)))
    assert _kept.cache_info().currsize == 64


def test_a_number_beyond_the_range_of_the_layer_becomes_inf_without_a_warning():
    x = np.zeros((2, 1, 1))
    x[0] = 1e300
    layer = numrnn.RNN(1, 1, nonlinearity="relu", bias=False)
    layer.set_parameters({"weight_ih_l0": [[1.0]], "weight_hh_l0": [[0.0]]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert layer(x).output[0, 0, 0] == np.inf


def test_an_array_that_is_no_integer_is_no_number_of_threads():
    with pytest.raises(TypeError, match=r"`n_threads` should be an int \(1 or more, or -1 for all\), got ndarray"):
        numrnn.RNN(1, 1)(np.zeros((2, 1, 1)), n_threads=np.array(1.5))


def test_the_package_lists_its_public_names_alone():
    names = {name for name in dir(numrnn) if not name.startswith("__")}
    need_more = {
        "cells",
        "dask",
        "onnx_backend",
        "plot",
        "sklearn",
        "torch",
    }  # than the package itself, so that `import *` leaves them
    assert names == {name for name in numrnn.__all__ if not name.startswith("__")} | need_more
