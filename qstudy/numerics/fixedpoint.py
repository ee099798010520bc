"""Multiply by a real number with integers alone: M = M0 2^shift, |M0| in [1/2, 1).

M0 is kept as an int32 that stands for M0 2^31 (Jacob et al. 2018, section 2.2). Three
roundings are in use. *double* rounds the high half of the product, and then again when
shifting right, as gemmlowp and TensorFlow Lite's convolutions and additions do;
*single* rounds once, ties upwards, as TensorFlow Lite does where it is built with
TFLITE_SINGLE_ROUNDING; *single_away* rounds once, ties away from zero, as its fully
connected kernel does. Double and single differ by one where the first rounding creates
a tie, the two single ones at ties of negative products. All functions take and give
int64 tensors that hold int32 values, so that nothing can wrap unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qstudy.numerics import checks

ROUNDING_MODES = ("double", "single", "single_away")
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
# That of the largest float; a left shift that leaves int32 is refused where it does.
_LARGEST_SHIFT = 1024


@dataclass(frozen=True)
class Multiplier:
    """M0 as an int32 (`mantissa`) and the power of two (`shift`)."""

    mantissa: int
    shift: int


def quantize_multiplier(real: float, *, rounding: str = "double") -> Multiplier:
    """`real` as mantissa and shift, to within one part in 2^31.

    Values too small for a shift of -31 become 0. With one rounding a shift beyond 30
    gives the largest multiplier, as there. Raises ValueError for NaN, an infinite value
    or an unknown rounding.
    """
    checks.one_of(rounding, "rounding", ROUNDING_MODES)
    real = checks.number(real, "multiplier")
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    mantissa = math.floor(abs(fraction) * 2**31 + 0.5)
    if mantissa == 2**31:
        mantissa, shift = 2**30, shift + 1
    mantissa = -mantissa if real < 0 else mantissa
    if shift < -31:
        return Multiplier(0, 0)
    if rounding != "double" and shift > 30:
        return Multiplier(INT32_MAX if real > 0 else INT32_MIN, 30)
    return Multiplier(mantissa, shift)


def rounding_doubling_high_multiply(a: Tensor, b: Tensor | int) -> Tensor:
    """round(a b / 2^31), ties upwards, saturating: SQRDMULH of ARM's NEON.

    The product of the two smallest int32 alone saturates. (gemmlowp, fixedpoint.h.)
    """
    a, b = (
        checks.in_range(v, n, INT32_MIN, INT32_MAX) for n, v in (("a", a), ("b", b))
    )
    return _high_multiply(a, b)


def _high_multiply(a: Tensor, b: Tensor) -> Tensor:
    # gemmlowp adds 2^30 to a product that is not negative and 1 - 2^30 to one that is,
    # and divides by 2^31 towards zero: both are the floor of (product + 2^30) / 2^31.
    # Past int32 lies the product of the two smallest int32 alone.
    return (a * b).add_(2**30).bitwise_right_shift_(31).clamp_(max=INT32_MAX)


def rounding_divide_by_power_of_two(x: Tensor, exponent: Tensor | int) -> Tensor:
    """round(x / 2^exponent), ties away from zero; exponent 0 to 62. (gemmlowp.)"""
    x = checks.integers(x, "x").to(torch.int64)
    exponent = checks.in_range(exponent, "exponent", 0, 62)
    mask = (torch.ones_like(exponent) << exponent) - 1
    threshold = (mask >> 1) + (x < 0).to(torch.int64)
    return (x >> exponent) + ((x & mask) > threshold).to(torch.int64)


def multiply(
    x: Tensor, mantissa: Tensor | int, shift: Tensor | int, *, rounding: str = "double"
) -> Tensor:
    """x M rounded to an integer, for int64 `x` within int32: int64 of its shape.

    `mantissa` and `shift` (from `quantize_multiplier`) are integers or int64 tensors
    that broadcast against x. Raises ValueError for floats, an x outside int32, or one
    that a left shift moves out of it.
    """
    checks.one_of(rounding, "rounding", ROUNDING_MODES)
    x = checks.integers(x, "x").to(torch.int64)
    check_int32(x, "x")
    mantissa = checks.in_range(mantissa, "mantissa", INT32_MIN, INT32_MAX)
    most = _LARGEST_SHIFT if rounding == "double" else 30
    shift = checks.in_range(shift, "shift", -31, most)
    left, right = shift.clamp(min=0), (-shift).clamp(min=0)
    shifted, most = x, int(left.max())
    if most > 0:
        # An int32 shifted by 32 still fits an int64, and has left int32 unless it is 0.
        shifted = x << left.clamp(max=32)
        check_int32(shifted, f"x shifted left by {most}")
    if rounding == "double":
        high = _high_multiply(shifted, mantissa)
        return rounding_divide_by_power_of_two(high, right)
    total = 31 - shift
    product, half = x * mantissa, torch.ones_like(total) << (total - 1)
    if rounding == "single":
        return (product + half) >> total
    return torch.sign(product) * ((product.abs() + half) >> total)


def check_int32(values: Tensor, told: str) -> None:
    """ValueError, naming `told`, where an int64 value does not fit an int32."""
    if checks.integers(values, told).numel() == 0:
        return
    low, high = (int(end) for end in torch.aminmax(values))
    if low < INT32_MIN or high > INT32_MAX:
        raise ValueError(
            f"{told} from {low} to {high} leaves int32, {INT32_MIN} to {INT32_MAX}"
        )
