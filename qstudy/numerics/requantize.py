"""From a 32-bit sum of products to the 8-bit code of the next layer, by two rules.

The exact value is s_x s_w acc + bias, and its code round(value / s_y) + z_y clipped.
With M = s_x s_w / s_y:

fixed_point: integers alone. The bias is an int32 at the scale s_x s_w, M is a mantissa
and a shift (Jacob et al. 2018, equations 5 and 6; qstudy.numerics.fixedpoint).

float32: the sum is an integer, what follows is float32, and libraries differ in the
order of the operations, which can move a result by one step:

| rule | steps | found in |
|---|---|---|
| scaled_bias | round((acc + bias / (s_x s_w)) M) + z | FBGEMM |
| int32_bias | round((acc + round(bias / (s_x s_w))) M) + z | ONNX Runtime |
| int32_bias_inverse | the same, multiplying by 1 / (s_x s_w) and 1 / s_y | QNNPACK |
| real_bias | round((acc (s_x s_w) + bias) (1 / s_y) + z) | oneDNN |

Which engine follows which rule was found by comparing them; the tests hold them to it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qstudy.numerics import checks
from qstudy.numerics.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    check_int32,
    multiply,
)
from qstudy.numerics.mapping import CodeRange

RULES = ("scaled_bias", "int32_bias", "int32_bias_inverse", "real_bias")


def quantize_bias(
    bias: Tensor,
    input_scale: float | Tensor,
    weight_scale: Tensor,
    *,
    invert: bool = False,
) -> Tensor:
    """float32 `bias` (C,) as int32 codes at the scale s_x s_w, zero point 0.

    `weight_scale` is () or (C,). Computed in float32 as the libraries do; `invert`
    multiplies by the scale's inverse in place of dividing. Raises ValueError where a
    code leaves int32: the scales are then too small for the bias.
    """
    if not isinstance(input_scale, Tensor):
        input_scale = torch.tensor(checks.scale(input_scale, "input_scale"))
    s_x = checks.scales(input_scale, "input_scale").float()
    bias = checks.floats(bias, "bias", some=False)
    scale = checks.scales(
        s_x * checks.scales(weight_scale, "weight_scale").float(), "s_x s_w"
    )
    codes = torch.round(bias.float() * (1 / scale) if invert else bias.float() / scale)
    # 2^31 - 1 is no float32: the largest one below it bounds what converts unharmed.
    fits = torch.isfinite(codes) & (codes.abs() < 2.0**31)
    if not bool(fits.all()):
        place = int((~fits).flatten().to(torch.int8).argmax())
        raise ValueError(
            f"bias {bias.flatten()[place].item():.6g} at scale "
            f"{scale.expand_as(codes).flatten()[place].item():.3g} is outside int32, "
            f"{INT32_MIN} to {INT32_MAX}: choose a larger scale"
        )
    return codes.to(torch.int32)


def requantize_float32(
    acc: Tensor,
    *,
    bias: Tensor | None,
    input_scale: float,
    weight_scale: Tensor,
    output_scale: float,
    output_zero_point: int,
    codes: CodeRange,
    rule: str,
) -> Tensor:
    """int32 codes of the integer sums `acc` (N, C, ...), channels on axis 1.

    `bias` float32 (C,), `weight_scale` () or (C,). Raises ValueError for an unknown
    rule or a bias that overflows int32 under the rules that make it one.
    """
    checks.one_of(rule, "rule", RULES)
    _check_sums(acc)
    output_zero_point = checks.whole(
        output_zero_point, "output_zero_point", codes.low, codes.high
    )
    s_x, s_y = (
        torch.tensor(checks.scale(value, name), dtype=torch.float32)
        for name, value in (
            ("input_scale", input_scale),
            ("output_scale", output_scale),
        )
    )
    s_w = _along_channels(checks.scales(weight_scale, "weight_scale").float(), acc)
    b = None
    if bias is not None:
        b = _along_channels(checks.floats(bias, "bias").float(), acc)
    product = s_x * s_w
    if rule == "real_bias":
        real = acc.float() * product
        real = real if b is None else real + b
        code = torch.round(real * (1 / s_y) + output_zero_point)
    else:
        inverse = rule == "int32_bias_inverse"
        if b is None:
            total = acc.float()
        elif rule == "scaled_bias":
            total = acc.float() + b / product
        else:
            bias_codes = quantize_bias(b, s_x, s_w, invert=inverse)
            total = (acc.to(torch.int64) + bias_codes).float()
        multiplier = product * (1 / s_y) if inverse else product / s_y
        code = torch.round(total * multiplier) + output_zero_point
    return code.clamp(codes.low, codes.high).to(torch.int32)


def requantize_fixed_point(
    acc: Tensor,
    *,
    bias: Tensor | None,
    mantissa: Tensor,
    shift: Tensor,
    output_zero_point: int,
    codes: CodeRange,
    rounding: str = "double",
) -> Tensor:
    """int32 codes of the integer sums `acc` (N, C, ...), with integers alone.

    `bias` int32 (C,) from `quantize_bias`; `mantissa` and `shift` int64, () or (C,),
    from fixedpoint.quantize_multiplier. Raises ValueError where sum plus bias leaves
    int32.
    """
    _check_sums(acc)
    output_zero_point = checks.whole(
        output_zero_point, "output_zero_point", codes.low, codes.high
    )
    # A float mantissa would be cut to a whole number without a word.
    checks.integers(mantissa, "mantissa"), checks.integers(shift, "shift")
    total = acc.to(torch.int64)
    if bias is not None:
        bias = checks.in_range(
            checks.integers(bias, "bias"), "bias", INT32_MIN, INT32_MAX
        )
        total = total + _along_channels(bias, acc)
    check_int32(total, "a sum with its bias")
    scaled = multiply(
        total,
        _along_channels(mantissa, acc),
        _along_channels(shift, acc),
        rounding=rounding,
    )
    return (scaled + output_zero_point).clamp(codes.low, codes.high).to(torch.int32)


def _check_sums(acc: Tensor) -> None:
    if checks.integers(acc, "sums").dim() < 2:
        raise ValueError(
            f"sums have shape {tuple(acc.shape)}: (N, C, ...) is needed, channels on "
            "axis 1"
        )


def _along_channels(parameter: Tensor, acc: Tensor) -> Tensor:
    if parameter.dim() == 0 or parameter.dim() == acc.dim():
        return parameter
    if parameter.shape != (acc.shape[1],):
        raise ValueError(
            f"a parameter of shape {tuple(parameter.shape)} does not fit the "
            f"{acc.shape[1]} channels of sums of shape {tuple(acc.shape)}"
        )
    return parameter.reshape(1, -1, *[1] * (acc.dim() - 2))
