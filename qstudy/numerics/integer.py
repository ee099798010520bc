"""Integer sums of products: what a quantized linear or convolution layer adds up.

    sum_k (x_k - z_x)(w_k - z_w)
        = sum x w  -  z_x sum w  -  z_w sum x  +  K z_x z_w

The first term is a matrix product of bytes; the second is known beforehand and folds
into the bias; the third depends on the input and vanishes for weights with z_w = 0 (Wu
et al. 2020, equation 11; Jacob et al. 2018, equation 7). Sums are exact: int8 operands
go through an int32 product where torch has one, all others through int64, and a sum
that would not fit int32 is an error.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from qstudy.numerics import checks
from qstudy.numerics.fixedpoint import check_int32

# The codes of up to 16 bits, signed or not.
CODES = (-(2**15), 2**16 - 1)
# (x - z_x) and w are at most 255 and 128 in magnitude: fewer products fit an int32.
_MOST_PRODUCTS = 2**31 // (255 * 128)


def linear_sums(
    x: Tensor,
    weight: Tensor,
    *,
    input_zero_point: int,
    weight_zero_point: Tensor | int = 0,
    fast: bool = True,
) -> Tensor:
    """int32 (N, C): sums over K of (x - z_x)(w - z_w) for codes (N, K) and (C, K).

    Codes are integers of any dtype, up to 16 bits; `weight_zero_point` is an int or an
    integer tensor (C,). `fast` allows the int8 product, which changes nothing but the
    time. Raises ValueError for floats, shapes that do not fit, or a sum outside int32.
    """
    _check(x, weight, 2)
    input_zero_point = checks.whole(input_zero_point, "input_zero_point", *CODES)
    if x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"codes of shape {tuple(x.shape)} have {x.shape[1]} columns and the weight "
            f"of shape {tuple(weight.shape)} needs {weight.shape[1]}"
        )
    x, z_x = _as_bytes(x, input_zero_point) if fast else (x, input_zero_point)
    zero = _weight_zeros(weight_zero_point, weight)
    return _sums(x, weight, z_x, zero, fast=fast)


def conv2d_sums(
    x: Tensor,
    weight: Tensor,
    *,
    input_zero_point: int,
    weight_zero_point: Tensor | int = 0,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    fast: bool = True,
) -> Tensor:
    """int32 (N, Cout, H', W'): the sums of a convolution.

    Codes (N, Cin, H, W), weight (Cout, Cin / groups, kh, kw). The border is padded
    with the code of zero, z_x. Arguments and errors as for `linear_sums`.
    """
    _check(x, weight, 4)
    input_zero_point = checks.whole(input_zero_point, "input_zero_point", *CODES)
    stride, dilation, groups = (
        checks.whole(value, name, 1)
        for name, value in (
            ("stride", stride),
            ("dilation", dilation),
            ("groups", groups),
        )
    )
    padding = checks.whole(padding, "padding", 0)
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"{x.shape[1]} input channels in {groups} groups do not fit a weight of "
            f"shape {tuple(weight.shape)}"
        )
    x, z_x = _as_bytes(x, input_zero_point) if fast else (x, input_zero_point)
    rows, shape = _windows(
        x, weight.shape[2:], pad_code=z_x, stride=stride, padding=padding,
        dilation=dilation,
    )  # fmt: skip
    outputs, count = weight.shape[0] // groups, weight.shape[1]
    zero = _weight_zeros(weight_zero_point, weight)
    parts = [
        _sums(
            rows[:, g * count : (g + 1) * count].flatten(1),
            weight[g * outputs : (g + 1) * outputs].flatten(1),
            z_x,
            zero[g * outputs : (g + 1) * outputs],
            fast=fast,
        )
        for g in range(groups)
    ]
    sums = torch.cat(parts, dim=1)  # (N H' W', Cout)
    return sums.reshape(*shape, -1).permute(0, 3, 1, 2)


def window_sums(x: Tensor, *, size: int, stride: int) -> Tensor:
    """int64 (N, C, H', W'): the sum of the codes in each size x size window."""
    return _pool_windows(x, size, stride).to(torch.int64).sum((-1, -2))


def max_pool2d(x: Tensor, *, size: int, stride: int) -> Tensor:
    """The largest code of each window: exact, because the mapping is monotone."""
    return _pool_windows(x, size, stride).amax((-1, -2))


def clamp_relu(x: Tensor, *, zero_point: int, six: int | None = None) -> Tensor:
    """ReLU on codes: no less than the code of 0; with `six`, no more than that of 6."""
    zero_point = checks.whole(zero_point, "zero_point", *CODES)
    if six is not None:
        six = checks.whole(six, "six", zero_point)
    return checks.integers(x, "codes").clamp(min=zero_point, max=six)


def _weight_zeros(zero_point: Tensor | int, weight: Tensor) -> Tensor:
    """`zero_point` as int64 (C,); ValueError where it is no integer or does not fit."""
    zero = checks.in_range(zero_point, "weight_zero_point", *CODES)
    if tuple(zero.shape) not in ((), (len(weight),)):
        raise ValueError(
            f"weight_zero_point has shape {tuple(zero.shape)}: an integer, or integers "
            f"of shape ({len(weight)},), are needed"
        )
    return zero.to(torch.int64).expand(len(weight))


def _sums(x: Tensor, weight: Tensor, z_x: int, z_w: Tensor, *, fast: bool) -> Tensor:
    """The four terms of the module's formula; the int32 product where both are int8."""
    w_low, w_high = _ends(weight, "weight")
    if x.dtype != torch.int8:
        _ends(x, "codes")
    byte = fast and x.dtype == torch.int8 and w_low >= -128 and w_high <= 127
    if byte and x.shape[1] < _MOST_PRODUCTS:
        products = _byte_products(x, weight.to(torch.int8))
        if not bool((z_w != 0).any()):
            # So few that none of the sums can leave int32: nothing need be widened.
            return products.sub_((z_x * weight.to(torch.int64).sum(1)).to(torch.int32))
        products = products.to(torch.int64)
    else:
        products = x.to(torch.int64) @ weight.to(torch.int64).t()
    total = products - z_x * weight.to(torch.int64).sum(1)
    if bool((z_w != 0).any()):
        row_sums = x.to(torch.int64).sum(1, keepdim=True)
        total = total - z_w * row_sums + x.shape[1] * z_x * z_w
    check_int32(total, "a sum of products")
    return total.to(torch.int32)


def _ends(codes: Tensor, name: str) -> tuple[int, int]:
    """The smallest and largest of `codes`; ValueError beyond 16 bits."""
    low, high = (int(end) for end in torch.aminmax(codes))
    if low < CODES[0] or high > CODES[1]:
        bad = low if low < CODES[0] else high
        raise ValueError(f"{name} hold {bad}: codes are {CODES[0]} to {CODES[1]}")
    return low, high


def _byte_products(x: Tensor, weight: Tensor) -> Tensor:
    """int32 (N, C) products of int8 (N, K) and (C, K), exact on any processor.

    Without VNNI, torch's int8 product adds pairs of products in 16 bits, and saturates.
    Half of each weight leaves room for the pair, and its last bit makes up the rest.
    """
    # A clone, since contiguous() leaves one row as it is, whose strides _int_mm then
    # misreads.
    halves, bits = (
        part.t().clone(memory_format=torch.contiguous_format)
        for part in (weight >> 1, weight & 1)
    )
    return torch._int_mm(x, halves).mul_(2).add_(torch._int_mm(x, bits))


def _as_bytes(x: Tensor, zero_point: int) -> tuple[Tensor, int]:
    """(x, z_x) as int8 where its codes have 8 bits; unsigned ones move by 128."""
    low, high = _ends(x, "codes")
    low, high = min(low, zero_point), max(high, zero_point)
    if low >= -128 and high <= 127:
        return x.to(torch.int8), zero_point
    if low >= 0 and high <= 255:
        return (x.to(torch.int16) - 128).to(torch.int8), zero_point - 128
    return x, zero_point


def _windows(
    x: Tensor, kernel: tuple[int, int], *, pad_code: int, stride: int, padding: int,
    dilation: int,
) -> tuple[Tensor, tuple[int, int, int]]:  # fmt: skip
    """(rows (N H' W', Cin, kh kw), (N, H', W')): what each output position sees."""
    x = functional.pad(x, [padding] * 4, value=pad_code)
    for axis, length in ((2, kernel[0]), (3, kernel[1])):
        span = dilation * (length - 1) + 1
        if x.shape[axis] < span:
            raise ValueError(
                f"a kernel that spans {span} does not fit codes of shape "
                f"{tuple(x.shape)}"
            )
        x = x.unfold(axis, span, stride)
    x = x[..., ::dilation, ::dilation]  # (N, Cin, H', W', kh, kw)
    batch, channels, height, width = x.shape[:4]
    rows = x.permute(0, 2, 3, 1, 4, 5)
    return rows.reshape(-1, channels, kernel[0] * kernel[1]), (batch, height, width)


def _pool_windows(x: Tensor, size: int, stride: int) -> Tensor:
    _check(x, x, 4)
    size, stride = checks.whole(size, "size", 1), checks.whole(stride, "stride", 1)
    if min(x.shape[2:]) < size:
        raise ValueError(f"a window of {size} does not fit codes of {tuple(x.shape)}")
    return x.unfold(2, size, stride).unfold(3, size, stride)


def _check(x: Tensor, weight: Tensor, dimensions: int) -> None:
    for name, codes in (("codes", x), ("weight", weight)):
        checks.integers(codes, name)
        if codes.dim() != dimensions or not codes.numel():
            raise ValueError(
                f"{name} are {codes.dtype} of shape {tuple(codes.shape)}: integers "
                f"with {dimensions} axes are needed, at least one"
            )
