"""Addition and average pooling of codes, by integers alone or by the engines' float32.

Addition brings both operands to the output's scale. With integers (TensorFlow Lite,
reference_ops::Add): both are shifted left by 20 bits, scaled by fixed-point multipliers
below one, added, and scaled to the output. In float32 the engines dequantize, add and
quantize; they differ in whether the zero point is added before or after rounding, and
in whether dequantization is one fused operation. QNNPACK adds with integers of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qstudy.numerics import checks
from qstudy.numerics.fixedpoint import (
    multiply,
    quantize_multiplier,
    rounding_divide_by_power_of_two,
)
from qstudy.numerics.mapping import CodeRange

ADD_RULES = ("fused", "zero_point_first", "shifted_integers")
_LEFT_SHIFT = 20


@dataclass(frozen=True)
class Affine:
    """The scale and zero point of one tensor, as Python numbers.

    ValueError unless the scale is positive and finite in float32 and the zero point a
    code of up to 16 bits.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        checks.scale(self.scale, "scale")
        checks.whole(self.zero_point, "zero_point", -(2**15), 2**16 - 1)


def add_fixed_point(
    a: Tensor,
    b: Tensor,
    *,
    first: Affine,
    second: Affine,
    output: Affine,
    codes: CodeRange,
    rounding: str = "double",
) -> Tensor:
    """int32 codes of a + b, both integer codes of one shape, by integers alone."""
    _same_shape(a, b)
    twice = 2 * max(first.scale, second.scale)
    total = torch.zeros_like(a, dtype=torch.int64)
    for x, affine in ((a, first), (b, second)):
        m = quantize_multiplier(affine.scale / twice, rounding=rounding)
        shifted = (x.to(torch.int64) - affine.zero_point) << _LEFT_SHIFT
        total = total + multiply(shifted, m.mantissa, m.shift, rounding=rounding)
    m = quantize_multiplier(twice / (2**_LEFT_SHIFT * output.scale), rounding=rounding)
    scaled = multiply(total, m.mantissa, m.shift, rounding=rounding)
    scaled = scaled + output.zero_point
    return scaled.clamp(codes.low, codes.high).to(torch.int32)


def add_float32(
    a: Tensor,
    b: Tensor,
    *,
    first: Affine,
    second: Affine,
    output: Affine,
    codes: CodeRange,
    rule: str,
) -> Tensor:
    """int32 codes of a + b as an engine computes them.

    fused: torch's own kernel, s q - s z in one rounding, the zero point after rounding.
    zero_point_first: ONNX Runtime, the zero point before rounding. shifted_integers:
    QNNPACK, multipliers of 22 bits and one rounding shift. Raises ValueError for an
    unknown rule or two shapes.
    """
    _same_shape(a, b)
    checks.one_of(rule, "rule", ADD_RULES)
    if rule == "shifted_integers":
        code = _add_shifted(a, b, first, second, output)
    else:
        one = torch.tensor(1.0, dtype=torch.float32)
        total = _real(a, first, rule) + _real(b, second, rule)
        steps = total * (one / output.scale)
        if rule == "fused":
            code = torch.round(steps) + output.zero_point
        else:
            code = torch.round(steps + output.zero_point)
    return code.clamp(codes.low, codes.high).to(torch.int32)


def _real(x: Tensor, affine: Affine, rule: str) -> Tensor:
    scale = torch.tensor(affine.scale, dtype=torch.float32)
    if rule != "fused":
        return (x.float() - affine.zero_point) * scale
    # A fused multiply-add rounds once: float64 holds its product and sum exactly.
    offset = (-scale * affine.zero_point).double()
    return (x.double() * scale.double() + offset).float()


def _add_shifted(
    a: Tensor, b: Tensor, first: Affine, second: Affine, output: Affine
) -> Tensor:
    one = torch.tensor(1.0, dtype=torch.float32)
    ratios = [float(one * s.scale / output.scale) for s in (first, second)]
    shift = 21 - math.floor(math.log2(max(ratios)))
    m_a, m_b = (round(ratio * 2**shift) for ratio in ratios)
    total = (a.to(torch.int64) - first.zero_point) * m_a
    total = total + (b.to(torch.int64) - second.zero_point) * m_b
    return rounding_divide_by_power_of_two(total, shift) + output.zero_point


def average_fixed_point(sums: Tensor, *, count: int) -> Tensor:
    """int32: `sums` of codes over windows of `count`, divided, ties away from zero.

    Scale and zero point stay as they are. (TensorFlow Lite, AveragePool.)
    """
    count = checks.whole(count, "count", 1)
    sums = checks.integers(sums, "sums")
    half = torch.where(sums >= 0, count // 2, -(count // 2))
    return torch.div(sums + half, count, rounding_mode="trunc").to(torch.int32)


def average_float32(
    sums: Tensor, *, count: int, zero_point: int, zero_point_first: bool
) -> Tensor:
    """int32 averages as the engines round them, half to even.

    `zero_point_first`: the mean of the codes is rounded (torch on contiguous tensors).
    Without: the mean distance from the zero point is (channels last, QNNPACK, ONNX
    Runtime). They differ at ties where the zero point is odd.
    """
    count = checks.whole(count, "count", 1)
    sums = checks.integers(sums, "sums")
    zero_point = checks.whole(zero_point, "zero_point", -(2**15), 2**16 - 1)
    offset = 0 if zero_point_first else zero_point
    mean = (sums - count * offset).float() / count
    return (torch.round(mean) + offset).to(torch.int32)


def average_dequantized(
    x: Tensor, *, size: int, stride: int, affine: Affine, codes: CodeRange
) -> Tensor:
    """int32 averages of integer codes (N, C, H, W) as ONNX Runtime computes them.

    Each code of a window becomes a float32, row by row they are added and divided, and
    the mean is quantized with the zero point before rounding.
    """
    size, stride = checks.whole(size, "size", 1), checks.whole(stride, "stride", 1)
    if checks.integers(x, "codes").dim() != 4 or min(x.shape[2:]) < size:
        raise ValueError(
            f"codes of shape {tuple(x.shape)}: (N, C, H, W) with H and W of at least "
            f"{size} are needed"
        )
    scale = torch.tensor(affine.scale, dtype=torch.float32)
    real = (x.float() - affine.zero_point) * scale
    values = real.unfold(2, size, stride).unfold(3, size, stride).flatten(-2)
    total = values[..., 0]
    for place in range(1, size * size):
        total = total + values[..., place]
    code = torch.round(total / (size * size) / scale + affine.zero_point)
    return code.clamp(codes.low, codes.high).to(torch.int32)


def _same_shape(a: Tensor, b: Tensor) -> None:
    checks.tensor(a, "a"), checks.tensor(b, "b")
    if a.shape != b.shape or a.is_floating_point() or b.is_floating_point():
        raise ValueError(
            f"operands are {a.dtype} of shape {tuple(a.shape)} and {b.dtype} of shape "
            f"{tuple(b.shape)}: integers of one shape are needed"
        )
