"""Sums and averages of codes, against exact reals and TFLite's Add on Python ints."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics.elementwise import (
    ADD_RULES,
    Affine,
    add_fixed_point,
    add_float32,
    average_dequantized,
    average_fixed_point,
    average_float32,
)
from qstudy.numerics.mapping import code_range

INT8, UINT8 = code_range(8), code_range(8, signed=False)
F = np.float32
SEEDS = st.integers(0, 2**31)
SCALES = st.floats(2.0**-7, 1.0, width=32)
ZEROS = st.integers(-128, 127)
# Every pair of codes, 256 x 256.
A, B = (
    part.contiguous()
    for part in torch.meshgrid(*[torch.arange(-128, 128)] * 2, indexing="ij")
)


def exact(a, b, first, second, output):
    """The real code of the sum, not rounded or clipped, in float64."""
    real = (a.double() - first.zero_point) * first.scale
    real = real + (b.double() - second.zero_point) * second.scale
    return real / output.scale + output.zero_point


def tflite_multiplier(real):
    fraction, shift = math.frexp(real)
    mantissa = round(Fraction(fraction) * 2**31)
    return (mantissa // 2, shift + 1) if mantissa == 2**31 else (mantissa, shift)


def tflite_product(x, mantissa, shift):
    """gemmlowp's two steps on Python integers, for a shift of 0 or less."""
    product = x * mantissa
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    high = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
    mask = 2**-shift - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> -shift) + ((high & mask) > threshold)


def tflite_add(a, b, first, second, output):
    twice = 2 * max(first.scale, second.scale)
    total = 0
    for code, affine in ((a, first), (b, second)):
        m = tflite_multiplier(affine.scale / twice)
        total += tflite_product((code - affine.zero_point) * 2**20, *m)
    m = tflite_multiplier(twice / (2**20 * output.scale))
    code = tflite_product(total, *m) + output.zero_point
    return min(max(code, -128), 127)


@pytest.mark.parametrize("rounding", ["double", "single"])
@settings(max_examples=25)
@given(scales=st.tuples(SCALES, SCALES, SCALES), zeros=st.tuples(ZEROS, ZEROS, ZEROS))
def test_integers_add_to_within_a_code_of_the_real_sum(rounding, scales, zeros):
    first, second, output = map(Affine, scales, zeros)
    got = add_fixed_point(
        A, B, first=first, second=second, output=output, codes=INT8, rounding=rounding
    )
    assert got.dtype == torch.int32
    wanted = exact(A, B, first, second, output).clamp(-128, 127)
    error = (got - wanted).abs().max().item()
    # Half a code by rounding, and what 20 bits of fraction leave out.
    assert error <= 0.5 + 1e-3


@settings(max_examples=30)
@given(
    seed=SEEDS,
    scales=st.tuples(SCALES, SCALES, SCALES),
    zeros=st.tuples(ZEROS, ZEROS, ZEROS),
)
def test_integers_add_as_tflite_does(seed, scales, zeros):
    first, second, output = map(Affine, scales, zeros)
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randint(-128, 128, (2, 50), generator=generator)
    got = add_fixed_point(a, b, first=first, second=second, output=output, codes=INT8)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    assert got.tolist() == [tflite_add(x, y, first, second, output) for x, y in pairs]


@pytest.mark.parametrize("rule", ["fixed", *ADD_RULES])
def test_hand_worked_sums_hold_for_every_rule(rule):
    first, second, output = Affine(0.5, 10), Affine(0.25, -4), Affine(1.0, 3)
    a, b = (
        torch.tensor([10, 14, 10, 127, -128, 9]),
        torch.tensor([-4, 4, -16, 127, 0, -8]),
    )
    more = {"first": first, "second": second, "output": output, "codes": INT8}
    if rule == "fixed":
        got = add_fixed_point(a, b, **more)
    else:
        got = add_float32(a, b, **more, rule=rule)
    # Real sums 0, 4, -3, 91.25, -68 and -1.5, plus 3.
    assert got[:5].tolist() == [3, 7, 0, 94, -65]
    # A tie: away from zero, to even, or to even after the zero point.
    assert got[5].item() == {"zero_point_first": 2}.get(rule, 1)


def scalar_add(a, b, first, second, output, rule):
    if rule == "shifted_integers":
        ratios = [F(affine.scale) / F(output.scale) for affine in (first, second)]
        shift = 20 - math.floor(math.log2(max(ratios)))
        m_a, m_b = (int(np.rint(float(ratio) * 2**shift)) for ratio in ratios)
        total = (a - first.zero_point) * m_a + (b - second.zero_point) * m_b
        code = abs(total) + 2 ** (shift - 1) >> shift
        code = (code if total >= 0 else -code) + output.zero_point
    else:
        parts = []
        for q, affine in ((a, first), (b, second)):
            s = F(affine.scale)
            if rule == "fused":
                # One rounding of the exact product and sum.
                offset = Fraction(float(-s * F(affine.zero_point)))
                whole = Fraction(float(s)) * q + offset
                assert Fraction(float(whole)) == whole
                parts.append(F(float(whole)))
            else:
                parts.append(F(q - affine.zero_point) * s)
        steps = (parts[0] + parts[1]) * (F(1) / F(output.scale))
        if rule == "fused":
            code = int(np.rint(steps)) + output.zero_point
        else:
            code = int(np.rint(steps + F(output.zero_point)))
    return min(max(code, -128), 127)


@pytest.mark.parametrize("rule", ADD_RULES)
@settings(max_examples=30)
@given(
    seed=SEEDS,
    scales=st.tuples(SCALES, SCALES, SCALES),
    zeros=st.tuples(ZEROS, ZEROS, ZEROS),
)
def test_each_rule_is_its_steps_in_scalar_arithmetic(rule, seed, scales, zeros):
    first, second, output = map(Affine, scales, zeros)
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randint(-128, 128, (2, 60), generator=generator)
    more = {"first": first, "second": second, "output": output, "rule": rule}
    got = add_float32(a, b, codes=INT8, **more)
    assert got.dtype == torch.int32
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    assert got.tolist() == [scalar_add(x, y, **more) for x, y in pairs]


@pytest.mark.parametrize("rule", ADD_RULES)
@pytest.mark.parametrize("zeros", [(3, -7, 2), (77, 101, -5), (-119, 13, 1)])
def test_each_rule_decides_ties_by_its_own_last_bits(rule, zeros):
    first, second, output = map(Affine, (0.1, 0.1, 0.2), zeros)
    a, b = A.flatten()[::61], B.flatten()[::61]
    more = {"first": first, "second": second, "output": output, "rule": rule}
    got = add_float32(a, b, codes=INT8, **more).tolist()
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    assert got == [scalar_add(x, y, **more) for x, y in pairs]


@pytest.mark.parametrize("rule", ADD_RULES)
@settings(max_examples=25)
@given(scales=st.tuples(SCALES, SCALES, SCALES), zeros=st.tuples(ZEROS, ZEROS, ZEROS))
def test_every_rule_adds_to_within_a_code_of_the_real_sum(rule, scales, zeros):
    first, second, output = map(Affine, scales, zeros)
    more = {"first": first, "second": second, "output": output}
    got = add_float32(A, B, **more, codes=INT8, rule=rule)
    wanted = exact(A, B, **more).clamp(-128, 127)
    assert (got - wanted).abs().max() <= 0.5 + 1e-2


def test_the_rules_differ():
    first, second, output = Affine(0.5, 1), Affine(0.5, 0), Affine(1.0, 1)
    more = {"first": first, "second": second, "output": output, "codes": INT8}
    got = [add_float32(A, B, **more, rule=rule) for rule in ADD_RULES]
    for index, one in enumerate(got):
        for other in got[index + 1 :]:
            assert (one - other).abs().max() == 1


@pytest.mark.parametrize("codes", [INT8, UINT8, code_range(4)])
def test_sums_are_clipped_to_the_codes(codes):
    same = Affine(1.0, codes.low)
    ends = torch.tensor([codes.low, codes.high])
    more = {"first": same, "second": same, "output": same, "codes": codes}
    wanted = [codes.low, codes.high]
    assert add_fixed_point(ends, ends, **more).tolist() == wanted
    for rule in ADD_RULES:
        assert add_float32(ends, ends, **more, rule=rule).tolist() == wanted


def test_bytes_are_added_without_wrapping():
    one = Affine(1.0, 0)
    x = torch.tensor([127, -128], dtype=torch.int8)
    more = {"first": one, "second": one, "output": Affine(2.0, 0), "codes": INT8}
    assert add_fixed_point(x, x, **more).tolist() == [127, -128]
    for rule in ADD_RULES:
        assert add_float32(x, x, **more, rule=rule).tolist() == [127, -128]


def test_two_shapes_floats_and_unknown_rules_are_refused():
    one, x = Affine(1.0, 0), torch.tensor([1, 2])
    more = {"first": one, "second": one, "output": one, "codes": INT8}
    for a, b in [(x, x[:1]), (x.float(), x), (x, x.float())]:
        with pytest.raises(ValueError, match="integers of one shape are needed"):
            add_fixed_point(a, b, **more)
        for rule in ADD_RULES:
            with pytest.raises(ValueError, match="integers of one shape are needed"):
                add_float32(a, b, **more, rule=rule)
    with pytest.raises(ValueError, match=r"rule 'odd' is not one of \('fused', 'zero"):
        add_float32(x, x, **more, rule="odd")
    with pytest.raises(ValueError, match="rounding 'odd' is not one of"):
        add_fixed_point(x, x, **more, rounding="odd")


@settings(max_examples=30)
@given(count=st.integers(1, 70), sums=st.lists(st.integers(-9000, 9000), min_size=1))
def test_integer_averages_round_ties_away_from_zero(count, sums):
    got = average_fixed_point(torch.tensor(sums), count=count)
    half = Fraction(1, 2)
    wanted = [
        math.floor(abs(Fraction(s, count)) + half) * (1 if s >= 0 else -1) for s in sums
    ]
    assert got.dtype == torch.int32
    assert got.tolist() == wanted


def test_integer_averages_of_ties_are_tflite_s():
    sums = torch.tensor([-6, -2, 2, 6, -5, 5, 0])
    assert average_fixed_point(sums, count=4).tolist() == [-2, -1, 1, 2, -1, 1, 0]


@settings(max_examples=30)
@given(
    count=st.integers(1, 70),
    zero=st.integers(-128, 255),
    first=st.booleans(),
    sums=st.lists(st.integers(-9000, 9000), min_size=1),
)
def test_float_averages_round_half_to_even(count, zero, first, sums):
    got = average_float32(
        torch.tensor(sums), count=count, zero_point=zero, zero_point_first=first
    )
    offset = 0 if first else zero
    # Fraction's round is half to even; none of these is so near a tie as to miss it.
    wanted = [round(Fraction(s - count * offset, count)) + offset for s in sums]
    assert got.dtype == torch.int32
    assert got.tolist() == wanted


def test_the_two_orders_differ_at_ties_with_an_odd_zero_point_alone():
    sums = torch.arange(-40, 41)
    for zero in range(-5, 6):
        one, other = (
            average_float32(sums, count=4, zero_point=zero, zero_point_first=first)
            for first in (True, False)
        )
        ties = sums % 4 == 2
        if zero % 2:
            assert torch.equal((one - other).abs() == 1, ties)
            assert torch.equal(one != other, ties)
        else:
            assert torch.equal(one, other)


@settings(max_examples=30)
@given(
    seed=SEEDS, scale=SCALES, zero=ZEROS, size=st.integers(1, 3),
    stride=st.integers(1, 3),
)  # fmt: skip
def test_dequantized_averages_are_their_steps_in_scalar_float32(
    seed, scale, zero, size, stride
):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-128, 128, (2, 2, 5, 4), generator=generator).to(torch.int8)
    got = average_dequantized(
        x, size=size, stride=stride, affine=Affine(scale, zero), codes=INT8
    )
    assert got.dtype == torch.int32
    assert got.shape == (2, 2, (5 - size) // stride + 1, (4 - size) // stride + 1)
    for n, c, i, j in np.ndindex(*got.shape):
        total = F(0)
        for row in range(i * stride, i * stride + size):
            for column in range(j * stride, j * stride + size):
                total += F(x[n, c, row, column].item() - zero) * F(scale)
        code = int(np.rint(total / F(size * size) / F(scale) + F(zero)))
        assert got[n, c, i, j] == min(max(code, -128), 127)


def test_dequantized_averages_are_clipped_to_the_codes():
    x = torch.full((1, 1, 2, 2), 20)
    more = {"size": 2, "stride": 2, "affine": Affine(0.5, 3)}
    assert average_dequantized(x, **more, codes=code_range(4)).item() == 7
    assert average_dequantized(x, **more, codes=INT8).item() == 20
