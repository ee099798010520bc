"""Arithmetic whose every bit is the same on every processor.

What is derived from the records must not depend on which kernel ran. Relied on, since
IEEE 754 rounds them correctly everywhere: +, -, *, / and sqrt of two doubles one at a
time, comparison, sorting of values, and conversion between doubles, integers and
decimal text. Not relied on: the order of a sum (SIMD width), products summed by BLAS or
LAPACK (fused or not), and exp, log and their kin, of which the C library and NumPy hold
several per processor that differ in the last bit. In their place stand exact sums of
integers or fractions, rounded once, and mpmath, which computes with Python's integers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache

import mpmath
import numpy as np
from numpy.typing import ArrayLike, NDArray

# The 97.5 % point of the normal distribution, to 16 digits.
Z_975 = 1.959963984540054
# Working precision of mpmath, in decimal digits: far more than a double's 17.
_DIGITS = 40


@cache
def exp(x: float) -> float:
    """e to the x, from 40 digits rounded once to a double."""
    with mpmath.workdps(_DIGITS):
        return _double(mpmath.exp(x))


@cache
def expm1(x: float) -> float:
    """e to the x, minus 1, without cancellation."""
    with mpmath.workdps(_DIGITS):
        return _double(mpmath.expm1(x))


@cache
def log(x: float, base: int = 10) -> float:
    """The logarithm of x to `base`; ValueError unless x is positive and finite."""
    if not 0 < x < math.inf:
        raise ValueError(f"log of {x!r}: only positive finite numbers have one here")
    with mpmath.workdps(_DIGITS):
        return _double(mpmath.log(x) / mpmath.log(base))


@cache
def power(base: int, x: float) -> float:
    """`base` to the x: the inverse of `log`."""
    with mpmath.workdps(_DIGITS):
        return _double(mpmath.power(base, x))


@cache
def t_tails(t: float, freedom: int) -> float:
    """The share of Student's distribution beyond -|t| and |t| (two-sided p)."""
    with mpmath.workdps(_DIGITS):
        share = freedom / (freedom + mpmath.mpf(t) ** 2)
        return _double(mpmath.betainc(freedom / 2, 0.5, 0, share, regularized=True))


@cache
def t_975(freedom: int) -> float:
    """The 97.5 % point of Student's distribution, for 1 degree of freedom or more.

    Its two tails hold 5 %: I(y; freedom / 2, 1 / 2) = 0.05 with y = freedom /
    (freedom + t^2), an incomplete beta function (Abramowitz and Stegun 1964, 26.7.1),
    solved by bisection for the monotone tail.
    """
    with mpmath.workdps(_DIGITS):
        half, wanted = mpmath.mpf(freedom) / 2, mpmath.mpf(1) / 20
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(100):
            middle = (low + high) / 2
            tail = mpmath.betainc(half, 0.5, 0, middle, regularized=True)
            low, high = (middle, high) if tail < wanted else (low, middle)
        return _double(mpmath.sqrt(freedom * (1 - low) / low))


def mean(values: Iterable[float]) -> float:
    """The mean, exact before its one rounding; ValueError for no values."""
    return statistics.mean(_floats(values))


def spread(values: Iterable[float]) -> float:
    """The standard deviation with n - 1, exact before its one rounding; n >= 2."""
    return statistics.stdev(_floats(values))


def median(values: Iterable[float]) -> float:
    """The median, or the mean of the middle two; ValueError for no values."""
    return statistics.median(_floats(values))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of the least-squares line through (x, y), exact before its rounding.

    ValueError for other lengths or fewer than two different x.
    """
    across, up = (list(map(Fraction, _floats(values))) for values in (x, y))
    if len(across) != len(up) or len(set(across)) < 2:
        raise ValueError(
            f"{len(across)} x and {len(up)} y give no slope: pairs with at least two "
            "different x do"
        )
    centre = sum(across) / len(across)
    height = sum(up) / len(up)
    above = sum((a - centre) * (b - height) for a, b in zip(across, up, strict=True))
    return float(above / sum((a - centre) ** 2 for a in across))


def whole_multiples(values: ArrayLike, *, terms: int) -> tuple[NDArray[np.int64], int]:
    """(m, k) with values = m / 2^k, so that sums of `terms` of the m are exact.

    `values` are finite, shape (n,). k is the largest for which int64 holds every such
    sum; what a value has beyond its 2^-k is rounded to even, some 1e-16 of the
    largest sum.
    """
    array = np.asarray(values, np.float64)
    largest = float(np.abs(array).max(initial=0.0))
    # frexp: largest < 2^exponent; the sum stays below 2^62.
    room = 62 - math.frexp(largest)[1] - max(terms, 1).bit_length()
    return np.rint(np.ldexp(array, room)).astype(np.int64), room


def _floats(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values]


def _double(value: mpmath.mpf) -> float:
    with mpmath.workprec(53):
        return float(+value)
