"""Sigmoid and tanh on vectors: no tables, no branches, one true division each; the same bits for every vector width.

Both rest on exp(x) = s (1 + h): s = 2**n, h = expm1(r), x = n ln(2) + r, |r| <= ln(2)/2, computed as r + r**2 q(r).
The coefficients of q are our own fit (benchmarks/fit_activations.py): the error of h relative to expm1(r) is below
1.6e-8 in float32 and 2.5e-17 in float64. The steps from h to the result are monotone, rounding included.

              largest error, ulp            of                                   float32 operations and a division
sigmoid       2.5 float32, 2.5 float64      all normal results, also x << 0      17
tanh          2.51 float32, 2.7 float64     all results                          19

float32 is known from all 2**32 arguments (benchmarks/activation_accuracy.py), float64 from dense samples, both with and
without FMA in hardware. Results lie in [0, 1] or [-1, 1] and never fall as x grows; tanh is odd; sigmoid(x) and
sigmoid(-x) sum to 1 up to one unit in its last place. sigmoid(0) = 1/2, tanh keeps zeros, limits are reached at
infinities, NaN stays NaN.
"""

from numrnn._jit import entry_kernel, implements, kernel
from numrnn.kernels.simd import (
    absolute,
    copysign,
    fma,
    lanes,
    load,
    load_tail,
    maximum,
    minimum,
    scale_by_power_of_two,
    splat,
    store,
    store_tail,
)

LN2 = 0.6931471805599453
INVERSE_LN2 = 1.4426950408889634


def sigmoid(x):
    """1 / (1 + exp(-x)) of a vector; for kernels."""
    raise NotImplementedError("sigmoid works on vectors inside kernels")


def tanh(x):
    """The hyperbolic tangent of a vector; for kernels."""
    raise NotImplementedError("tanh works on vectors inside kernels")


@implements(sigmoid)
def _choose_sigmoid(x):
    return {"float32": _sigmoid_single, "float64": _sigmoid_double}[str(x.dtype)]


def _sigmoid_single(x):
    # ln(2) in two parts, the first so short that its product with n is exact
    return _logistic(x, -104.0, 2.0**-24, 0.693359375, -0.00021219444005469057)


def _sigmoid_double(x):
    return _logistic(x, -745.5, 2.0**-53, 0.693147180559663, 2.8235290563031577e-13)


@kernel
def _logistic(x, lowest, unit, ln2_high, ln2_low):
    """unit / (unit + unit exp(-x)): in that unit exp(-x) is finite down to `lowest`, where the result rounds to 0."""
    x = minimum(maximum(x, lowest), 64.0)
    n = _nearest(x, -INVERSE_LN2)
    r = fma(n, -ln2_low, fma(n, -ln2_high, -x))
    s = scale_by_power_of_two(splat(x, unit), n)
    return splat(x, unit) / fma(s, _expm1(r), s + unit)


@implements(tanh)
def _choose_tanh(x):
    return _tanh


def _tanh(x):
    """-t / (t + 2) for t = expm1(-2 |x|), with the sign of x: as t falls to -1, both parts only raise the result."""
    a = maximum(-absolute(x), -20.0)
    n = _nearest(a, 2.0 * INVERSE_LN2)
    r = fma(n, -LN2, a + a)  # one part is enough: what is missing grows with n, its weight s shrinks faster
    s = scale_by_power_of_two(splat(x, 1.0), n)
    t = fma(s, _expm1(r), s - 1.0)
    return copysign(t / (t + 2.0), x)


def _nearest(x, factor):
    """x * factor as a nearest integer: adding 1.5 * 2**(bits of the mantissa) leaves no room for a fraction."""
    raise NotImplementedError


@implements(_nearest)
def _choose_nearest(x, factor):
    return {"float32": _nearest_single, "float64": _nearest_double}[str(x.dtype)]


def _nearest_single(x, factor):
    return fma(x, factor, 12582912.0) - 12582912.0


def _nearest_double(x, factor):
    return fma(x, factor, 6755399441055744.0) - 6755399441055744.0


def _expm1(r):
    """exp(r) - 1 for |r| <= ln(2)/2."""
    raise NotImplementedError


@implements(_expm1)
def _choose_expm1(r):
    return {"float32": _expm1_single, "float64": _expm1_double}[str(r.dtype)]


def _expm1_single(r):
    r2 = r * r
    low = fma(r, 0.16666543, splat(r, 0.5))
    high = fma(r2, 0.0013930434, fma(r, 0.008366581, splat(r, 0.04166651)))
    return fma(r2, fma(r2, high, low), r)


def _expm1_double(r):
    r2 = r * r
    r4 = r2 * r2
    q0 = fma(r, 0.1666666666666667, splat(r, 0.5000000000000006))
    q2 = fma(r, 0.008333333333326136, splat(r, 0.041666666666573066))
    q4 = fma(r, 0.00019841269874820627, splat(r, 0.001388888893251478))
    q6 = fma(r, 2.7557255400206422e-06, splat(r, 2.480150431378554e-05))
    q8 = fma(r, 2.5105217004720745e-08, splat(r, 2.7626371065696354e-07))
    q = fma(r4, fma(r4, q8, fma(r2, q6, q4)), fma(r2, q2, q0))
    return fma(r2, q, r)


@entry_kernel
def sigmoid_array(x, out):
    """`out` = sigmoid of `x`, both of n numbers; `out` is written and may be `x`."""
    width = lanes(x)
    whole = x.size - x.size % width
    for k in range(0, whole, width):
        store(out, k, sigmoid(load(x, k)))
    store_tail(out, whole, sigmoid(load_tail(x, whole, x.size - whole)), x.size - whole)


@entry_kernel
def tanh_array(x, out):
    """`out` = tanh of `x`, both of n numbers; `out` is written and may be `x`."""
    width = lanes(x)
    whole = x.size - x.size % width
    for k in range(0, whole, width):
        store(out, k, tanh(load(x, k)))
    store_tail(out, whole, tanh(load_tail(x, whole, x.size - whole)), x.size - whole)
