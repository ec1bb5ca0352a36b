"""Fits the coefficients in numrnn/kernels/activations.py: python -m benchmarks.fit_activations

expm1(r) = r + r**2 q(r) for |r| <= ln(2)/2. The error of this form relative to expm1(r) is close to r times that of q,
so q interpolates where r times the product of all (r - node) stays even: at the roots of the Chebyshev T(n + 1) but 0
when that is odd, otherwise at the square roots of those of a T moved so that one falls on 0. Exact arithmetic.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from math import factorial

import numpy as np

LIMIT = Fraction(np.log(2) / 2 * 1.0001)


def nodes(count: int) -> list[Fraction]:
    """`count` places to interpolate at."""
    half = (count + 1) // 2
    if count % 2:
        roots = np.cos(np.pi * (2 * np.arange(half) + 1) / (2 * half))
        positive = np.sqrt((roots[:-1] - roots[-1]) / (1 - roots[-1]))
        places = [*-positive, 0.0, *positive]
    else:
        positive = np.cos(np.pi * (2 * np.arange(half) + 1) / (2 * (count + 1)))
        places = [*-positive, *positive]
    return [LIMIT * Fraction(float(place)) for place in places]


def quotient(r: Fraction) -> Fraction:
    """(exp(r) - 1 - r) / r**2 to more than 30 digits."""
    return sum((r**k / factorial(k + 2) for k in range(24)), Fraction(0))


def fit(degree: int) -> list[Fraction]:
    """Coefficients of q, the lowest first: Newton's interpolation, multiplied out."""
    places = nodes(degree + 1)
    differences = [quotient(place) for place in places]
    for order in range(1, degree + 1):
        for k in range(degree, order - 1, -1):
            differences[k] = (differences[k] - differences[k - 1]) / (places[k] - places[k - order])
    coefficients = [Fraction(0)] * (degree + 1)
    for difference, place in zip(differences[::-1], places[::-1], strict=True):
        raised = [Fraction(0), *coefficients[:-1]]
        coefficients = [high - place * low for high, low in zip(raised, coefficients, strict=True)]
        coefficients[0] += difference
    return coefficients


def error(coefficients: list[Fraction]) -> float:
    """The largest error of r + r**2 q(r) relative to expm1(r)."""
    worst = 0.0
    for r in (LIMIT * k / 100 for k in range(-100, 101) if k):
        q = sum((c * r**k for k, c in enumerate(coefficients)), Fraction(0))
        exact = quotient(r)
        worst = max(worst, abs(float(r * (q - exact) / (1 + r * exact))))
    return worst


if __name__ == "__main__":
    for degree, dtype in ((4, np.float32), (9, np.float64)):
        rounded = [dtype(float(c)) for c in fit(degree)]
        sys.stdout.write(f"{dtype.__name__}: error {error([Fraction(float(c)) for c in rounded]):.3g}\n")
        sys.stdout.writelines(f"    {c!s}\n" for c in rounded)
