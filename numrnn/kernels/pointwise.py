"""What a user's own cell computes with: functions of vectors inside kernels, of NumPy arrays and numbers elsewhere.

So the same source is a kernel's and a reference's. `+ - * /` and unary minus are the language's own.
"""

import numpy as np

from numrnn import reference_cells
from numrnn._jit import implements
from numrnn.kernels import activations, simd


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return reference_cells.sigmoid(np.asarray(x))


def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


def absolute(x):
    """x without its sign."""
    return np.abs(x)


def maximum(a, b):
    """The larger one; `maximum(x, 0.0)` is the rectifier. NaN stays."""
    return np.maximum(a, b)


def minimum(a, b):
    """The smaller one. NaN stays."""
    return np.minimum(a, b)


def select_less(a, b, if_true, if_false):
    """`if_true` where a < b, otherwise, also for NaN, `if_false`."""
    return np.where(np.less(a, b), if_true, if_false)


def fma(a, b, c):
    """a * b + c; with one rounding in kernels, where the processor has that."""
    return a * b + c


def _is_vector(kind):
    return hasattr(kind, "lanes")


@implements(sigmoid)
def _choose_sigmoid(x):
    return _sigmoid if _is_vector(x) else None


def _sigmoid(x):
    return activations.sigmoid(x)


@implements(tanh)
def _choose_tanh(x):
    return _tanh if _is_vector(x) else None


def _tanh(x):
    return activations.tanh(x)


@implements(absolute)
def _choose_absolute(x):
    return _absolute if _is_vector(x) else None


def _absolute(x):
    return simd.absolute(x)


@implements(maximum)
def _choose_maximum(a, b):
    return _maximum if _is_vector(a) else _maximum_turned if _is_vector(b) else None


def _maximum(a, b):
    return simd.maximum(a, b)


def _maximum_turned(a, b):
    return simd.maximum(b, a)


@implements(minimum)
def _choose_minimum(a, b):
    return _minimum if _is_vector(a) else _minimum_turned if _is_vector(b) else None


def _minimum(a, b):
    return simd.minimum(a, b)


def _minimum_turned(a, b):
    return simd.minimum(b, a)


@implements(select_less)
def _choose_select_less(a, b, if_true, if_false):
    return _select_less if _is_vector(a) else _select_less_than if _is_vector(b) else None


def _select_less(a, b, if_true, if_false):
    return simd.select_less(a, b, if_true, if_false)


def _select_less_than(a, b, if_true, if_false):
    return simd.select_less(simd.splat(b, a), b, if_true, if_false)


@implements(fma)
def _choose_fma(a, b, c):
    return _fma if _is_vector(a) or _is_vector(b) or _is_vector(c) else None


def _fma(a, b, c):
    return simd.fma(a, b, c)
