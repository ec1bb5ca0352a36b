"""Sigmoid and tanh on vectors: no tables, no branches, one true division each.

Both rest on exp(r) = 1 + r + r**2 q(r) for |r| <= ln(2)/2, with x = n ln(2) + r. The coefficients of q are our own fit:
benchmarks/fit_activations.py interpolates q where the error of r + r**2 q(r), relative to expm1(r), is nearly even
(1.6e-8 in float32, 2.5e-17 in float64, rounding of the coefficients included).
"""

from numrnn._jit import entry_kernel, implements
from numrnn.kernels.simd import (
    absolute,
    copysign,
    fma,
    lanes,
    load_tail,
    maximum,
    minimum,
    scale_by_power_of_two,
    splat,
    store_tail,
)

INVERSE_LN2 = 1.4426950408889634
LN2 = 0.6931471805599453

# adding and subtracting 1.5 * 2**(mantissa bits) rounds to an integer
ROUND_SINGLE = 12582912.0
ROUND_DOUBLE = 6755399441055744.0

# ln(2) in two parts, the first so short that its product with n is exact
LN2_HIGH_SINGLE, LN2_LOW_SINGLE = 0.693359375, -0.00021219444005469059
LN2_HIGH_DOUBLE, LN2_LOW_DOUBLE = 0.693147180559663, 2.8235290563031577e-13


def sigmoid(x):
    """1 / (1 + exp(-x)) of a vector."""
    raise NotImplementedError("sigmoid exists inside kernels only")


def tanh(x):
    """The hyperbolic tangent of a vector."""
    raise NotImplementedError("tanh exists inside kernels only")


def _quotient_single(r):
    """(exp(r) - 1 - r) / r**2."""
    q = fma(r, splat(r, 0.0013930434), 0.008366581)
    q = fma(r, q, 0.04166651)
    q = fma(r, q, 0.16666543)
    return fma(r, q, 0.5)


def _quotient_double(r):
    """(exp(r) - 1 - r) / r**2."""
    q = fma(r, splat(r, 2.5105217004720745e-08), 2.7626371065696354e-07)
    q = fma(r, q, 2.7557255400206422e-06)
    q = fma(r, q, 2.480150431378554e-05)
    q = fma(r, q, 0.00019841269874820627)
    q = fma(r, q, 0.001388888893251478)
    q = fma(r, q, 0.008333333333326136)
    q = fma(r, q, 0.041666666666573066)
    q = fma(r, q, 0.1666666666666667)
    return fma(r, q, 0.5000000000000006)


def _quotient(r):
    raise NotImplementedError


@implements(_quotient)
def _implement_quotient(r):
    return {"float32": _quotient_single, "float64": _quotient_double}[str(r.dtype)]


def _sigmoid_single(x):
    x = minimum(maximum(x, -104.0), 64.0)
    n = fma(x, -INVERSE_LN2, ROUND_SINGLE) - ROUND_SINGLE
    r = fma(n, -LN2_LOW_SINGLE, fma(n, -LN2_HIGH_SINGLE, -x))
    # exp(-x) / 2**24 stays finite at the lower bound, where the result rounds to 0
    e = scale_by_power_of_two(fma(r, fma(r, _quotient(r), 1.0), 1.0), n - 24.0)
    return splat(x, 2.0**-24) / (e + 2.0**-24)


def _sigmoid_double(x):
    x = minimum(maximum(x, -745.5), 64.0)
    n = fma(x, -INVERSE_LN2, ROUND_DOUBLE) - ROUND_DOUBLE
    r = fma(n, -LN2_LOW_DOUBLE, fma(n, -LN2_HIGH_DOUBLE, -x))
    e = scale_by_power_of_two(fma(r, fma(r, _quotient(r), 1.0), 1.0), n - 53.0)
    return splat(x, 2.0**-53) / (e + 2.0**-53)


def _tanh_single(x):
    a = maximum(-absolute(x), -10.0)
    n = fma(a, 2.0 * INVERSE_LN2, ROUND_SINGLE) - ROUND_SINGLE
    r = fma(n, -0.5 * LN2, a)
    h = fma(r * r, 2.0 * _quotient(2.0 * r), r)
    s = scale_by_power_of_two(splat(x, 1.0), n)
    t = fma(s, h, fma(s, 0.5, -0.5))
    return copysign(t / (t + 1.0), x)


def _tanh_double(x):
    a = maximum(-absolute(x), -20.0)
    n = fma(a, 2.0 * INVERSE_LN2, ROUND_DOUBLE) - ROUND_DOUBLE
    r = fma(n, -0.5 * LN2, a)
    h = fma(r * r, 2.0 * _quotient(2.0 * r), r)
    s = scale_by_power_of_two(splat(x, 1.0), n)
    t = fma(s, h, fma(s, 0.5, -0.5))
    return copysign(t / (t + 1.0), x)


@implements(sigmoid)
def _implement_sigmoid(x):
    return {"float32": _sigmoid_single, "float64": _sigmoid_double}[str(x.dtype)]


@implements(tanh)
def _implement_tanh(x):
    return {"float32": _tanh_single, "float64": _tanh_double}[str(x.dtype)]


@entry_kernel
def sigmoid_array(x, out):
    """`out` = sigmoid of `x`: vectors of n numbers; `out` is written and may be `x`."""
    for k in range(0, x.size, lanes(x)):
        store_tail(out, k, sigmoid(load_tail(x, k, x.size - k)), x.size - k)


@entry_kernel
def tanh_array(x, out):
    """`out` = tanh of `x`: vectors of n numbers; `out` is written and may be `x`."""
    for k in range(0, x.size, lanes(x)):
        store_tail(out, k, tanh(load_tail(x, k, x.size - k)), x.size - k)
