"""Sums to codes: each rule against scalar NumPy, fixed point against fractions.

What the engines themselves compute is compared where they run; here each rule is held
to the order of operations that its name stands for.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    check_int32,
    quantize_multiplier,
)
from qstudy.numerics.mapping import code_range
from qstudy.numerics.requantize import (
    RULES,
    quantize_bias,
    requantize_fixed_point,
    requantize_float32,
)

INT8 = code_range(8)
SEEDS = st.integers(0, 2**31)
F = np.float32


def scalar_code(acc, bias, s_x, s_w, s_y, zero, rule):
    """One code, each operation rounded to float32."""
    s_x, s_w, s_y = F(s_x), F(s_w), F(s_y)
    both = s_x * s_w
    if rule == "real_bias":
        real = F(acc) * both
        real = real if bias is None else real + F(bias)
        return int(np.rint(real * (F(1) / s_y) + F(zero)))
    if rule == "scaled_bias":
        total = F(acc) if bias is None else F(acc) + F(bias) / both
        return int(np.rint(total * (both / s_y))) + zero
    inverse = rule == "int32_bias_inverse"
    if bias is not None:
        steps = F(bias) * (F(1) / both) if inverse else F(bias) / both
        acc = acc + int(np.rint(steps))
    m = both * (F(1) / s_y) if inverse else both / s_y
    return int(np.rint(F(acc) * m)) + zero


def drawn(seed, per_channel, channels=4):
    generator = np.random.default_rng(seed)
    shape = (3, channels, *[2, 5][: seed % 3])
    scales = generator.uniform(1e-3, 1e-2, channels).astype(F)
    s_x, s_y = (float(F(generator.uniform(0.01, 0.2))) for _ in range(2))
    spread = 200 * s_y / (s_x * scales.mean())
    return {
        "acc": torch.tensor(generator.normal(0, spread, shape).astype(np.int32)),
        "bias": torch.tensor(generator.normal(0, 20 * s_y, channels).astype(F)),
        "input_scale": s_x,
        "weight_scale": torch.tensor(scales if per_channel else scales[0]),
        "output_scale": s_y,
        "output_zero_point": int(generator.integers(-128, 128)),
    }


def scalar_codes(rule, acc, bias, input_scale, weight_scale, output_scale,
                 output_zero_point):  # fmt: skip
    scales = weight_scale.expand(acc.shape[1]).tolist()
    wanted = np.empty(acc.shape, np.int32)
    for place in np.ndindex(*acc.shape):
        channel = place[1]
        code = scalar_code(
            acc[place].item(),
            None if bias is None else bias[channel].item(),
            input_scale,
            scales[channel],
            output_scale,
            output_zero_point,
            rule,
        )
        wanted[place] = min(max(code, -128), 127)
    return wanted.tolist()


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=30)
@given(seed=SEEDS, per_channel=st.booleans(), biased=st.booleans())
def test_each_rule_is_its_steps_in_scalar_float32(rule, seed, per_channel, biased):
    case = drawn(seed, per_channel)
    case["bias"] = case["bias"] if biased else None
    got = requantize_float32(**case, codes=INT8, rule=rule)
    assert got.dtype == torch.int32
    assert got.tolist() == scalar_codes(rule, **case)


def test_the_rules_differ_pairwise_by_one_step_somewhere():
    generator = np.random.default_rng(0)
    s_y, s_w = 0.0131, torch.tensor(0.0047)
    case = {
        "acc": torch.tensor(generator.integers(-30000, 30000, (999, 64)).astype("i4")),
        # Halves of a step: ties, that a last bit decides.
        "bias": (torch.arange(64) + 0.5) * s_w * 0.0213,
        "input_scale": 0.0213,
        "weight_scale": s_w,
        "output_scale": s_y,
        "output_zero_point": 3,
    }
    wide = code_range(16)
    got = {r: requantize_float32(**case, codes=wide, rule=r) for r in RULES}
    for first in RULES:
        for second in RULES[RULES.index(first) + 1 :]:
            apart = (got[first] - got[second]).abs()
            assert apart.max() == 1, (first, second)
            assert apart.float().mean() < 0.2
            for row, column in apart.nonzero()[:100].tolist():
                sums = case["acc"][row, column].item(), case["bias"][column].item()
                for rule in (first, second):
                    code = scalar_code(*sums, 0.0213, s_w.item(), s_y, 3, rule)
                    assert got[rule][row, column] == code


@settings(max_examples=30)
@given(seed=SEEDS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_within_one_code_of_the_exact_value(seed, rule):
    case = drawn(seed, True)
    view = (1, -1, *[1] * (case["acc"].dim() - 2))
    real = case["acc"].double() * case["input_scale"] * case["weight_scale"].double(
    ).reshape(view) + case["bias"].double().reshape(view)  # fmt: skip
    exact = real / case["output_scale"] + case["output_zero_point"]
    got = requantize_float32(**case, codes=INT8, rule=rule)
    # Half a step of rounding, the bias's own rounding and float32's.
    slack = (
        0.5
        + 0.5
        * case["weight_scale"].max()
        * case["input_scale"]
        / (case["output_scale"])
    )
    assert bool(((got - exact.clamp(-128, 127)).abs() <= slack + 1e-2).all())


@settings(max_examples=40)
@given(seed=SEEDS, per_channel=st.booleans(), single=st.booleans())
def test_fixed_point_is_exact_arithmetic_of_fractions(seed, per_channel, single):
    generator = np.random.default_rng(seed)
    rounding = "single" if single else "double"
    acc = torch.tensor(generator.integers(-100000, 100000, (4, 3, 2)).astype(np.int32))
    bias = torch.tensor(generator.integers(-50000, 50000, 3).astype(np.int32))
    count = 3 if per_channel else 1
    ms = [
        quantize_multiplier(m, rounding=rounding)
        for m in generator.uniform(1e-4, 2e-3, count)
    ]
    mantissa = torch.tensor([m.mantissa for m in ms])
    shift = torch.tensor([m.shift for m in ms])
    zero = int(generator.integers(-128, 128))
    got = requantize_fixed_point(
        acc,
        bias=bias,
        mantissa=mantissa if per_channel else mantissa[0],
        shift=shift if per_channel else shift[0],
        output_zero_point=zero,
        codes=INT8,
        rounding=rounding,
    )
    assert got.dtype == torch.int32
    for place in np.ndindex(*acc.shape):
        m = ms[place[1] if per_channel else 0]
        total = acc[place].item() + bias[place[1]].item()
        exact = total * Fraction(m.mantissa) * Fraction(2) ** (m.shift - 31)
        if single:
            code = math.floor(exact + Fraction(1, 2)) + zero
            assert got[place] == min(max(code, -128), 127)
        else:
            ends = [min(max(exact + d + zero, -128), 127) for d in (-1, 1)]
            assert ends[0] <= got[place].item() <= ends[1]


def test_fixed_point_without_a_bias_is_that_with_zeros():
    acc = torch.arange(-8, 8, dtype=torch.int32).reshape(2, 2, 4) * 700
    m = quantize_multiplier(0.01)
    rest = {
        "mantissa": torch.tensor(m.mantissa),
        "shift": torch.tensor(m.shift),
        "output_zero_point": -5,
        "codes": INT8,
    }
    without = requantize_fixed_point(acc, bias=None, **rest)
    zeros = torch.zeros(2, dtype=torch.int32)
    assert torch.equal(without, requantize_fixed_point(acc, bias=zeros, **rest))
    assert without.flatten().tolist() == [
        max(-128, round(v * 7) - 5) for v in range(-8, 8)
    ]


def test_codes_are_clipped_to_their_range():
    acc = torch.tensor([[-(2**30), 2**30]], dtype=torch.int32)
    codes = code_range(4, signed=False)
    rest = {"bias": None, "output_zero_point": 3, "codes": codes}
    for rule in RULES:
        got = requantize_float32(
            acc,
            input_scale=1.0,
            weight_scale=torch.tensor(1.0),
            output_scale=1.0,
            rule=rule,
            **rest,
        )
        assert got.tolist() == [[0, 15]]
    half = {"mantissa": torch.tensor(2**30), "shift": torch.tensor(0)}
    assert requantize_fixed_point(acc, **half, **rest).tolist() == [[0, 15]]


@settings(max_examples=30)
@given(seed=SEEDS, per_channel=st.booleans(), invert=st.booleans())
def test_a_bias_is_quantized_at_the_product_of_the_scales(seed, per_channel, invert):
    case = drawn(seed, per_channel)
    got = quantize_bias(
        case["bias"], case["input_scale"], case["weight_scale"], invert=invert
    )
    scales = case["weight_scale"].expand(4).numpy()
    both = F(case["input_scale"]) * scales
    bias = case["bias"].numpy()
    wanted = np.rint(bias * (F(1) / both) if invert else bias / both)
    assert got.dtype == torch.int32
    assert got.tolist() == wanted.astype(int).tolist()
    real = got.double().numpy() * both.astype(np.float64)
    near = both * 0.5 + np.abs(bias) * 1e-6
    assert bool((np.abs(real - bias) <= near).all())


def test_a_bias_that_leaves_int32_is_refused():
    scale = torch.tensor([1.0, 1e-6])
    with pytest.raises(ValueError) as caught:
        quantize_bias(torch.tensor([5.0, 3000.0]), 1.0, scale)
    assert str(caught.value) == (
        "bias 3000 at scale 1e-06 is outside int32, -2147483648 to 2147483647: choose "
        "a larger scale"
    )
    fits = quantize_bias(torch.tensor([5.0, -2000.0]), 1.0, scale)
    assert fits.tolist() == [5, -2_000_000_000]
    for bad in (math.nan, math.inf):
        with pytest.raises(
            ValueError, match=rf"bias (holds )?{bad} ?(at scale 1 is outside int32)?"
        ):
            quantize_bias(torch.tensor([bad]), 1.0, torch.tensor(1.0))


@pytest.mark.parametrize("rule", RULES)
def test_a_bias_that_leaves_int32_is_refused_by_the_rules_that_make_it_one(rule):
    def call():
        return requantize_float32(
            torch.tensor([[1]], dtype=torch.int32),
            bias=torch.tensor([3000.0]),
            input_scale=1.0,
            weight_scale=torch.tensor(1e-6),
            output_scale=100.0,
            output_zero_point=0,
            codes=INT8,
            rule=rule,
        )

    if rule.startswith("int32"):
        with pytest.raises(ValueError, match="bias 3000 at scale 1e-06"):
            call()
    else:
        assert call().tolist() == [[30]]


@pytest.mark.parametrize("over", [INT32_MAX + 1, INT32_MIN - 1])
def test_a_sum_that_leaves_int32_is_refused(over):
    with pytest.raises(ValueError, match=f"it from .*{over}.* leaves int32, -2147483"):
        check_int32(torch.tensor([0, over]), "it")
    m = {"mantissa": torch.tensor(2**30), "shift": torch.tensor(-20)}
    edge = INT32_MAX if over > 0 else INT32_MIN
    with pytest.raises(ValueError, match=f"a sum with its bias from .*{over}"):
        requantize_fixed_point(
            torch.tensor([[edge]], dtype=torch.int32),
            bias=torch.tensor([over - edge], dtype=torch.int32),
            output_zero_point=0,
            codes=INT8,
            **m,
        )


def test_sums_within_int32_pass():
    check_int32(torch.tensor([INT32_MIN, INT32_MAX]), "it")
    check_int32(torch.empty(0, dtype=torch.int64), "it")


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"rule 'magic' is not one of \('scaled_bias'"):
        requantize_float32(**drawn(0, True), codes=INT8, rule="magic")


@pytest.mark.parametrize("name", ["bias", "weight_scale"])
def test_a_parameter_for_other_channels_is_refused(name):
    case = drawn(2, True)
    case[name] = torch.ones(3)
    message = r"parameter of shape \(3,\) does not fit the 4 channels of sums of shape"
    for rule in RULES:
        with pytest.raises(ValueError, match=message):
            requantize_float32(**case, codes=INT8, rule=rule)
    whole = {"bias": torch.ones(4).int(), "mantissa": torch.full((4,), 2**30)}
    whole["shift"] = torch.zeros(4, dtype=torch.int64)
    for other in whole:
        wrong = {**whole, other: whole[other][:3]}
        with pytest.raises(ValueError, match=message):
            requantize_fixed_point(
                case["acc"], **wrong, output_zero_point=0, codes=INT8
            )


@pytest.mark.parametrize("rule", ["int32_bias", "int32_bias_inverse"])
def test_a_sum_with_its_bias_does_not_wrap(rule):
    try:
        got = requantize_float32(
            torch.tensor([[INT32_MAX]], dtype=torch.int32),
            bias=torch.tensor([10.0]),
            input_scale=1.0,
            weight_scale=torch.tensor(1.0),
            output_scale=2.0**25,
            output_zero_point=0,
            codes=INT8,
            rule=rule,
        )
    except ValueError:
        return
    assert got.tolist() == [[64]]


def test_the_inverse_of_the_output_scale_is_multiplied_by_where_the_rule_says_so():
    # Codes of 16 bits lie so near the end of float32 that its last bit decides many.
    acc = torch.arange(0, 1_900_000, 7, dtype=torch.int32)[None]
    s_x, s_w = F(0.0213), F(0.0047)
    differ = 0
    for s_y in (0.0059, 0.0061, 0.0067, 0.0071, 0.0073):
        common = {
            "bias": None,
            "input_scale": float(s_x),
            "weight_scale": torch.tensor(float(s_w)),
            "output_scale": s_y,
            "output_zero_point": 0,
            "codes": code_range(16),
        }
        got = {r: requantize_float32(acc, **common, rule=r) for r in RULES}
        real = acc.numpy().astype(F)
        by_inverse = np.rint(real * (s_x * s_w * (F(1) / F(s_y))))
        by_division = np.rint(real * (s_x * s_w / F(s_y)))
        assert np.array_equal(got["int32_bias_inverse"].numpy(), by_inverse)
        assert np.array_equal(got["int32_bias"].numpy(), by_division)
        assert np.array_equal(got["scaled_bias"].numpy(), by_division)
        differ += int((by_inverse != by_division).sum())
    assert differ > 0
