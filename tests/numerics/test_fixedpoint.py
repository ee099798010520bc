"""Fixed-point multiplication against fractions and the vectors of TFLite and gemmlowp.

The vectors are those of TensorFlow Lite's quantization_util_test and common tests.
"""

import math
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from qstudy.numerics.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    ROUNDING_MODES,
    Multiplier,
    multiply,
    quantize_multiplier,
    rounding_divide_by_power_of_two,
    rounding_doubling_high_multiply,
)

INT32 = st.integers(INT32_MIN, INT32_MAX)
MANTISSAS = st.integers(2**30, INT32_MAX) | st.integers(-INT32_MAX, -(2**30))
EDGES = sorted(
    {
        value
        for power, off in product(range(32), (-2, -1, 0, 1, 2))
        for value in (2**power + off, -(2**power) + off)
        if INT32_MIN <= value <= INT32_MAX
    }
)


def away(value):
    """A fraction rounded to the nearest whole number, ties away from zero."""
    whole = math.floor(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


def up(value):
    """A fraction rounded to the nearest whole number, ties towards plus infinity."""
    return math.floor(value + Fraction(1, 2))


def one(call, x, *rest, **more):
    (got,) = call(torch.tensor([x]), *rest, **more).tolist()
    return got


@pytest.mark.parametrize(
    ("real", "mantissa", "shift"),
    [
        (0.25, 1073741824, -1),
        (0.5 - 5e-9, 2147483627, -1),
        (0.5 - 1e-10, 1073741824, 0),
        (0.5, 1073741824, 0),
        (0.75, 1610612736, 0),
        (1 - 1e-9, 2147483646, 0),
        (1 - 1e-10, 1073741824, 1),
        (1.0, 1073741824, 1),
        (1.25, 1342177280, 1),
        (2.0, 1073741824, 2),
        (2.0**-32, 1073741824, -31),
        (0.99 * 2.0**-32, 0, 0),
        (0.0, 0, 0),
    ],
)
@pytest.mark.parametrize("rounding", ROUNDING_MODES)
def test_multipliers_are_those_of_tflite(real, mantissa, shift, rounding):
    got = quantize_multiplier(real, rounding=rounding)
    assert got == Multiplier(mantissa, shift)


@settings(max_examples=50)
@given(real=st.floats(2.0**-32, 2.0**29))
@example(real=math.nextafter(1, 0))
def test_a_multiplier_is_within_one_part_in_2_to_the_31(real):
    for rounding in ROUNDING_MODES:
        m = quantize_multiplier(real, rounding=rounding)
        assert 2**30 <= m.mantissa <= INT32_MAX
        value = Fraction(m.mantissa) * Fraction(2) ** (m.shift - 31)
        assert abs(value / Fraction(real) - 1) <= Fraction(1, 2**31)
        negative = quantize_multiplier(-real, rounding=rounding)
        assert negative == Multiplier(-m.mantissa, m.shift)


def test_a_multiplier_too_large_for_a_single_rounding_is_the_largest():
    assert quantize_multiplier(2.0**30, rounding="single") == Multiplier(INT32_MAX, 30)
    assert quantize_multiplier(-(2.0**30), rounding="single") == (
        Multiplier(INT32_MIN, 30)
    )
    assert quantize_multiplier(2.0**30, rounding="double") == Multiplier(2**30, 31)
    assert quantize_multiplier(2.0**29, rounding="single") == Multiplier(2**30, 30)


@pytest.mark.parametrize(
    ("x", "real", "wanted"),
    [
        (0, 0.00097656, 0),
        (10000, 0.00097656, 10),
        (-10000, 0.00097656, -10),
        (10000, 1.0, 10000),
        (-10000, 1.0, -10000),
        (10000, 1.25, 12500),
        (-10000, 1.25, -12500),
        (10000, 1.5, 15000),
        (INT32_MIN, 0.00001, -21475),
        (INT32_MAX, 0.00001, 21475),
        (10000, -0.00097656, -10),
        (-10000, -1.25, 12500),
    ],
)
@pytest.mark.parametrize("rounding", ROUNDING_MODES)
def test_products_are_those_of_tflite(x, real, wanted, rounding):
    m = quantize_multiplier(real, rounding=rounding)
    assert one(multiply, x, m.mantissa, m.shift, rounding=rounding) == wanted


def test_the_two_roundings_differ_where_the_first_makes_a_tie():
    assert one(multiply, 7984, 1583594044, -9, rounding="double") == 12
    assert one(multiply, 7984, 1583594044, -9, rounding="single") == 11


@settings(max_examples=50)
@given(x=INT32, mantissa=MANTISSAS, shift=st.integers(-31, 30))
@example(x=-3, mantissa=2**30, shift=0)
@example(x=INT32_MIN, mantissa=INT32_MAX, shift=-31)
def test_a_single_rounding_is_exact_half_up(x, mantissa, shift):
    assume(INT32_MIN <= x * 2 ** max(shift, 0) <= INT32_MAX)
    exact = x * Fraction(mantissa) * Fraction(2) ** (shift - 31)
    got = one(multiply, x, mantissa, shift, rounding="single")
    assert got == up(exact)


@settings(max_examples=50)
@given(x=INT32, mantissa=MANTISSAS, shift=st.integers(-31, 30))
@example(x=7984, mantissa=1583594044, shift=-9)
def test_a_double_rounding_is_two_exact_ones_and_within_one(x, mantissa, shift):
    shifted = x * 2 ** max(shift, 0)
    assume(INT32_MIN <= shifted <= INT32_MAX)
    got = one(multiply, x, mantissa, shift, rounding="double")
    high = up(Fraction(shifted * mantissa, 2**31))
    assert got == away(Fraction(high, 2 ** max(-shift, 0)))
    assert abs(got - x * Fraction(mantissa) * Fraction(2) ** (shift - 31)) <= 1


@settings(max_examples=30)
@given(x=st.integers(-1000, 1000), shift=st.integers(0, 20))
def test_a_left_shift_multiplies_before_it_rounds(x, shift):
    for rounding in ROUNDING_MODES:
        got = one(multiply, x, 2**30, shift + 1, rounding=rounding)
        assert got == x * 2**shift


def test_the_high_half_is_exact_on_gemmlowp_s_edges():
    a, b = torch.tensor(list(product(EDGES, EDGES))).T
    got = rounding_doubling_high_multiply(a, b).tolist()
    wanted = [
        up(Fraction(x * y, 2**31)) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert wanted.count(2**31) == 1
    wanted[wanted.index(2**31)] = INT32_MAX
    assert got == wanted


@settings(max_examples=50)
@given(a=INT32, b=INT32)
def test_the_high_half_is_exact_half_up(a, b):
    assume((a, b) != (INT32_MIN, INT32_MIN))
    got = one(rounding_doubling_high_multiply, a, b)
    assert got == up(Fraction(a * b, 2**31))
    assert one(rounding_doubling_high_multiply, b, a) == got


def test_only_the_product_of_the_two_smallest_saturates():
    high = rounding_doubling_high_multiply
    assert one(high, INT32_MIN, INT32_MIN) == INT32_MAX
    assert one(high, INT32_MIN, INT32_MAX) == -INT32_MAX
    assert one(high, INT32_MAX, INT32_MAX) == INT32_MAX - 1
    assert one(high, INT32_MIN, 1) == -1
    assert one(high, 2**30, 1) == 1
    # gemmlowp's nudge and division, like NEON's shift, send negative ties up.
    assert one(high, -(2**30), 1) == 0
    assert one(high, -3 * 2**29, 2) == -1
    assert one(high, 2**30 - 1, 1) == 0


@pytest.mark.parametrize("exponent", range(32))
def test_division_rounds_half_away_from_zero_on_gemmlowp_s_edges(exponent):
    x = torch.tensor(EDGES)
    wanted = [away(Fraction(value, 2**exponent)) for value in EDGES]
    assert rounding_divide_by_power_of_two(x, exponent).tolist() == wanted


@settings(max_examples=50)
@given(x=INT32, exponent=st.integers(0, 31))
def test_division_rounds_half_away_from_zero(x, exponent):
    got = one(rounding_divide_by_power_of_two, x, exponent)
    assert got == away(Fraction(x, 2**exponent))


@pytest.mark.parametrize("rounding", ROUNDING_MODES)
def test_multipliers_broadcast_over_channels(rounding):
    x = torch.arange(-6, 6, dtype=torch.int32).reshape(2, 3, 2) * 1000
    mantissas = torch.tensor([2**30, 3 * 2**29, INT32_MAX]).reshape(3, 1)
    shifts = torch.tensor([1, 0, -4]).reshape(3, 1)
    got = multiply(x, mantissas, shifts, rounding=rounding)
    assert got.dtype == torch.int64
    for channel in range(3):
        alone = multiply(
            x[:, channel],
            mantissas[channel].item(),
            shifts[channel].item(),
            rounding=rounding,
        )
        assert torch.equal(got[:, channel], alone)


@pytest.mark.parametrize("real", [math.nan, math.inf, -math.inf])
def test_a_multiplier_that_is_not_finite_is_refused(real):
    with pytest.raises(ValueError, match=f"multiplier {real} is not a finite number"):
        quantize_multiplier(real)


def test_an_unknown_rounding_is_refused():
    message = r"rounding 'triple' is not one of \('double', 'single', 'single_away'\)"
    with pytest.raises(ValueError, match=message):
        quantize_multiplier(1.0, rounding="triple")
    with pytest.raises(ValueError, match=message):
        multiply(torch.tensor([1]), 2**30, 0, rounding="triple")


@pytest.mark.parametrize("rounding", ROUNDING_MODES)
def test_floats_and_what_leaves_int32_are_refused(rounding):
    with pytest.raises(ValueError, match=r"x is torch.float32 of shape"):
        multiply(torch.tensor([1.0]), 2**30, 0, rounding=rounding)
    for x, shift in [
        (INT32_MAX + 1, 0),
        (INT32_MIN - 1, -3),
        (2**30, 1),
        (-(2**30) - 1, 1),
        (1, 31),
    ]:
        with pytest.raises(
            ValueError, match=r"x .*from -?\d+ to .* leaves int32|shift 31 is"
        ):
            multiply(torch.tensor([x]), 2**30, shift, rounding=rounding)
    # The last that fit: 2^30 stands for a half, so that a shift of 1 is times one.
    assert one(multiply, -(2**30), 2**30, 1, rounding=rounding) == -(2**30)
    assert one(multiply, 2**30 - 1, 2**30, 1, rounding=rounding) == 2**30 - 1


def test_nothing_times_anything_is_nothing():
    assert multiply(torch.empty(0, dtype=torch.int64), 2**30, 0).shape == (0,)
    for rounding in ROUNDING_MODES:
        m = quantize_multiplier(0.0, rounding=rounding)
        assert one(multiply, INT32_MIN, m.mantissa, m.shift, rounding=rounding) == 0


@pytest.mark.parametrize(("x", "shift"), [(2**40, 30), (1, 71), (5, 64)])
def test_what_leaves_int64_is_refused(x, shift):
    with pytest.raises(ValueError, match=r"leaves int32|shift 31 is not"):
        multiply(torch.tensor([x]), 2**30, shift)


@given(
    x=st.integers(INT32_MIN, INT32_MAX),
    mantissa=st.integers(2**30, INT32_MAX),
    shift=st.integers(-31, 0),
    sign=st.sampled_from([-1, 1]),
)
def test_rounded_once_away_from_zero_is_the_exact_quotient(x, mantissa, shift, sign):
    exact = Fraction(x * sign * mantissa, 2 ** (31 - shift))
    nearest = math.floor(abs(exact) + Fraction(1, 2))
    got = one(multiply, x, sign * mantissa, shift, rounding="single_away")
    assert got == (nearest if exact >= 0 else -nearest)


def test_the_three_roundings_part_where_the_fully_connected_kernel_showed_it():
    # M = 1/8, as from scales of 2^-4, 2^-5 and 2^-6: TensorFlow Lite answers so.
    sums = range(-5, 6)
    told = [
        [one(multiply, x, 2**30, -2, rounding=rounding) for x in sums]
        for rounding in ("double", "single", "single_away")
    ]
    assert told[2] == [-1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert told[1] == [-1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert told[0] != told[2]
