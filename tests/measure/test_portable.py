"""Portable arithmetic: correctly rounded, and the same whatever the order."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from qstudy.measure import portable

finite = st.floats(-1e6, 1e6)


@given(st.floats(-50, 50))
def test_elementary_functions_are_the_nearest_double(x):
    with mpmath.workdps(60):
        for ours, exact in (
            (portable.exp(x), mpmath.exp(x)),
            (portable.expm1(x), mpmath.expm1(x)),
            (portable.power(10, x), mpmath.power(10, x)),
            (portable.log(abs(x) + 0.1, 2), mpmath.log(abs(x) + 0.1, 2)),
        ):
            error = abs(mpmath.mpf(ours) - exact)
            assert error <= mpmath.mpf(math.ulp(ours)) * 0.5000001


def test_logarithms_of_powers_are_whole():
    assert [portable.log(10.0**k) for k in range(-5, 6)] == list(range(-5, 6))
    assert [portable.log(2.0**k, 2) for k in range(-9, 9)] == list(range(-9, 9))
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="only positive finite"):
            portable.log(wrong)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 200])
def test_students_distribution_is_scipys(freedom):
    assert portable.t_975(freedom) == pytest.approx(
        scipy.stats.t.ppf(0.975, freedom), rel=1e-13
    )
    for t in (-3.0, 0.0, 0.5, 12.0):
        theirs = 2 * scipy.special.stdtr(freedom, -abs(t))
        assert portable.t_tails(t, freedom) == pytest.approx(theirs, rel=1e-11)


def test_the_normal_point_is_scipys():
    assert float(scipy.special.ndtri(0.975)) == pytest.approx(portable.Z_975, rel=1e-15)


@given(st.lists(finite, min_size=2, max_size=20), st.randoms())
def test_the_order_does_not_matter(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    for function in (portable.mean, portable.spread, portable.median):
        assert function(values) == function(shuffled)
    exact = sum(map(Fraction, values)) / len(values)
    assert portable.mean(values) == float(exact)
    assert portable.spread([values[0]] * 3) == 0.0


@given(
    st.lists(
        st.tuples(st.integers(-50, 50), finite),
        min_size=2,
        max_size=10,
        unique_by=lambda pair: pair[0],
    )
)
def test_the_slope_is_numpys(pairs):
    x, y = zip(*pairs, strict=True)
    theirs = np.polyfit(x, y, 1)[0]
    assert portable.slope(x, y) == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_a_slope_needs_two_places():
    assert portable.slope([1, 2, 4], [0.5, 1.0, 2.0]) == 0.5
    with pytest.raises(ValueError, match="2 x and 2 y give no slope"):
        portable.slope([1, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="2 x and 1 y give no slope"):
        portable.slope([1, 2], [1.0])


@given(st.lists(finite, min_size=1, max_size=50))
def test_whole_multiples_sum_exactly_and_lose_nothing_that_counts(values):
    whole, places = portable.whole_multiples(values, terms=len(values))
    total = sum(whole.tolist())
    assert int(whole.sum()) == total and abs(total) < 2**62
    exact = sum(map(Fraction, values))
    largest = max(map(abs, values))
    error = abs(Fraction(total) / Fraction(2) ** places - exact)
    assert error <= Fraction(largest or 1) * len(values) * Fraction(2) ** -50


def test_whole_numbers_stay_whole_multiples():
    whole, places = portable.whole_multiples([3.0, -7.0, 0.0], terms=3)
    assert [Fraction(w) / 2**places for w in whole.tolist()] == [3, -7, 0]
