"""A linear layer whose activations are quantized as they come.

    y = s_x s_w sum_k (q_x - z_x) q_w + b,      s_x, z_x from the range of this very x

The weight is int8 beforehand, x is float and becomes 8-bit codes in the call, the sum
is an exact integer and y is float again. There are two public ways to choose the range:
one affine range for the whole of x (torch's quantized engines), or one symmetric range
for each row of it, the features of one token (torchao). The order of the last
multiplications decides the last bit, and every kernel has its own.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from qstudy.numerics import checks, integer
from qstudy.numerics.granularity import PerChannel, PerTensor
from qstudy.numerics.mapping import CodeRange, QParams, code_range, quantize
from qstudy.numerics.qparams import choose_qparams, range_of

ACTIVATIONS = ("per_tensor", "per_token")
# How float32 y follows from the sum a: a (s_x s_w) + b with two roundings, the same
# with one (fused multiply-add), (a s_x) s_w + b, or that with each scale as the inverse
# of its inverse, which is not always the same number.
ORDERS = ("product", "fused", "sequence", "inverse")
ACTIVATION_BITS = (7, 8)


def activation_qparams(
    x: Tensor, *, activation: str = "per_tensor", bits: int = 8
) -> QParams:
    """Scale and zero point of float32 `x` (N, K), from its own range.

    per_tensor: affine, unsigned codes 0 to 2^bits - 1, a float64 scale; 7 bits are
    torch's reduce_range. per_token: symmetric by row, s = max|x| / 127.5, signed codes,
    8 bits only. Raises ValueError for other names or bits, an empty x, NaN or infinity.
    """
    checks.one_of(activation, "activation", ACTIVATIONS)
    checks.floats(x, "x")
    if bits not in ACTIVATION_BITS or (activation == "per_token" and bits != 8):
        raise ValueError(
            f"activation bits {bits!r} with {activation}: 8, or 7 with per_tensor"
        )
    if activation == "per_token":
        rows = PerChannel(0)
        return choose_qparams(
            *range_of(x, rows),
            codes=CodeRange(-128, 127),
            scheme="scale",
            convention="half_range",
            granularity=rows,
            smallest_scale=torch.finfo(torch.float32).eps,
        )
    low, high = range_of(x, PerTensor())
    # float64, as torch reckons them; what multiplies or divides float32 is float32.
    return choose_qparams(
        low.double(), high.double(), codes=code_range(bits, signed=False)
    )


def dynamic_linear(
    x: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str = "per_tensor",
    activation_bits: int = 8,
    order: str = "fused",
) -> Tensor:
    """float32 (..., C) from float32 `x` (..., K) and int8 codes `weight` (C, K).

    `weight_scale` is float32 () or (C,), the weight's zero points are 0. `activation`
    and its bits as for `activation_qparams`; `order` is one of ORDERS. Bit-exact with
    fbgemm and x86 (fused), qnnpack (product, always 8 bits), onednn (inverse) and
    torchao (per_token, sequence). Below a scale of 6.1e-5 FBGEMM moves the range and
    this does not. Raises ValueError for an unknown order, shapes
    that do not fit, and as `activation_qparams`.
    """
    checks.one_of(order, "order", ORDERS)
    if checks.floats(x, "x").dtype != torch.float32:
        raise ValueError(f"x is {x.dtype}: torch.float32 is needed, as in the kernels")
    if checks.integers(weight, "weight").dtype != torch.int8:
        raise ValueError(f"weight is {weight.dtype}: codes of torch.int8 are needed")
    weight_scale = checks.scales(weight_scale, "weight_scale").float()
    if tuple(weight_scale.shape) not in ((), (len(weight),)):
        raise ValueError(
            f"weight_scale has shape {tuple(weight_scale.shape)}: () or "
            f"({len(weight)},) is needed"
        )
    if bias is not None and checks.floats(bias, "bias").shape != (len(weight),):
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}: ({len(weight)},) is needed"
        )
    rows = x.reshape(-1, x.shape[-1]) if x.dim() else x
    qparams = activation_qparams(rows, activation=activation, bits=activation_bits)
    if order == "inverse":
        # oneDNN is handed the inverse, rounded to float32 once, and inverts it again;
        # it adds the zero point in a second operation.
        qparams = replace(qparams, scale=1 / (1 / qparams.scale).float())
    codes = quantize(
        rows,
        qparams,
        invert=True,
        zero_point_first=activation == "per_tensor",
        fused=order != "inverse",
    )
    zero_point = 0 if activation == "per_token" else int(qparams.zero_point)
    sums = integer.linear_sums(codes, weight, input_zero_point=zero_point)
    scale = qparams.scale.reshape(-1, 1) if activation == "per_token" else qparams.scale
    y = _to_real(sums, scale, weight_scale, bias, order=order)
    return y.reshape(*x.shape[:-1], len(weight))


def _to_real(
    sums: Tensor, s_x: Tensor, s_w: Tensor, bias: Tensor | None, *, order: str
) -> Tensor:
    offset = torch.zeros(()) if bias is None else bias
    if order == "fused":
        # float64 holds the product of two float32, and the sum is rounded once.
        exact = sums.float().double() * (s_x.float() * s_w).double() + offset.double()
        return exact.float()
    if order == "product":
        return sums.float() * (s_x.float() * s_w) + offset
    if order == "inverse":
        s_w = 1 / (1 / s_w)
    s_x = s_x.float()
    return sums.float() * s_x * s_w + offset
