"""Real numbers to integer codes and back: quantize, dequantize, fake_quantize.

    q = clip(round(x / s) + z, q_min, q_max),        x' = s (q - z)

s is the real width of one step and z the code of zero, as in Jacob et al. 2018
(arXiv 1712.05877, equation 1) and PyTorch; Wu et al. 2020 (arXiv 2004.09602, equations
1 to 5) call 1/s the scale. How s and z follow from a range: qstudy.numerics.qparams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from qstudy.numerics import checks
from qstudy.numerics.granularity import Granularity, PerTensor

BITS = (2, 16)
INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True)
class CodeRange:
    """The integers from `low` to `high` that a quantizer may use."""

    low: int
    high: int

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            code = checks.whole(getattr(self, name), f"code range's {name}", *INT32)
            object.__setattr__(self, name, code)
        if not self.low < self.high:
            raise ValueError(f"code range {self.low} to {self.high} is reversed or one")

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return self.high - self.low + 1


def code_range(
    bits: int, *, signed: bool = True, narrow: bool = False, reduce_range: bool = False
) -> CodeRange:
    """The codes of `bits` bits: -2^(b-1) to 2^(b-1) - 1 signed, 0 to 2^b - 1 unsigned.

    `narrow` leaves the lowest code unused, which makes signed codes symmetric (Wu et
    al. 2020, section 3.1.2). `reduce_range` gives up one bit, as torch does for engines
    whose 16-bit sums could overflow. Raises ValueError for bits outside 2 to 16.
    """
    least, most = BITS
    bits = checks.whole(bits, "bits", least, most)
    if bits - reduce_range < least:
        raise ValueError(
            f"bits {bits} with reduce_range leaves 1: at least 2 are needed"
        )
    bits -= reduce_range
    low = -(2 ** (bits - 1)) if signed else 0
    return CodeRange(low + narrow, low + 2**bits - 1)


def _half_up(x: Tensor) -> Tensor:
    # x - floor(x) is exact, where x + 0.5 would round 0.49999997 up to 1.
    floor = torch.floor(x)
    return floor + (x - floor >= 0.5)


def _half_toward_zero(x: Tensor) -> Tensor:
    return torch.copysign(-_half_up(-x.abs()), x)


def _half_away(x: Tensor) -> Tensor:
    return torch.copysign(_half_up(x.abs()), x)


# To the nearest integer, all of them; the name says where a tie goes.
ROUNDINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "half_even": torch.round,
    "half_away": _half_away,
    "half_toward_zero": _half_toward_zero,
    "half_up": _half_up,
    "half_down": lambda x: -_half_up(-x),
}


def round_to_integer(x: Tensor, *, rounding: str = "half_even") -> Tensor:
    """`x` rounded to the nearest integers, of its own float dtype.

    Raises ValueError for a rounding that is not in ROUNDINGS, or an x that is no float.
    """
    checks.one_of(rounding, "rounding", ROUNDINGS)
    return ROUNDINGS[rounding](checks.floats(x, "x", finite=False, some=False))


@dataclass(frozen=True, eq=False)
class QParams:
    """Scale and zero point of a tensor, and the codes they map to.

    `scale` is float, `zero_point` integer, both of the shape that `granularity` gives.
    Raises ValueError unless every scale is positive, finite and not subnormal (its
    inverse would overflow) and every zero point is one of the codes, so that real zero
    is exact.
    """

    scale: Tensor
    zero_point: Tensor
    codes: CodeRange
    granularity: Granularity = field(default_factory=PerTensor)

    def __post_init__(self) -> None:
        for name, kind in (("codes", CodeRange), ("granularity", Granularity)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is not "
                    f"{getattr(kind, '__name__', kind)}"
                )
        checks.floats(self.scale, "scale", finite=False, some=False)
        checks.integers(self.zero_point, "zero_point")
        if self.scale.shape != self.zero_point.shape or self.scale.numel() == 0:
            raise ValueError(
                f"scale of shape {tuple(self.scale.shape)} and zero_point of shape "
                f"{tuple(self.zero_point.shape)}: one shape, not empty, is needed"
            )
        # The arithmetic may be float32 whatever the dtype of the scale.
        checks.scales(self.scale, "scale")
        low, high = self.zero_point.min().item(), self.zero_point.max().item()
        if low < self.codes.low or high > self.codes.high:
            raise ValueError(
                f"zero_point {low if low < self.codes.low else high} is outside the "
                f"codes {self.codes.low} to {self.codes.high}"
            )


def quantize(
    x: Tensor,
    qparams: QParams,
    *,
    rounding: str = "half_even",
    invert: bool = False,
    zero_point_first: bool = False,
    fused: bool = True,
) -> Tensor:
    """The codes of float `x`, as int32 of its shape.

    Divides by the scale as the formula does, in float32 for x of a shorter dtype;
    `invert` multiplies by the scale's inverse instead, as torch's kernels do, which can
    decide a near-tie the other way. `zero_point_first` rounds x / s + z, which decides
    a tie the other way where z is odd. Both together are torch.quantize_per_tensor,
    where the product and the sum are one operation that rounds once; without `fused`
    they are two, as in oneDNN's dynamic kernels. Raises ValueError
    for an x that is empty, no float, holds NaN or infinity, or does not fit the
    granularity.
    """
    codes, _ = _map(
        _checked(x),
        qparams,
        rounding=rounding,
        invert=invert,
        zero_point_first=zero_point_first,
        fused=fused,
    )
    return codes.to(torch.int32)


def dequantize(
    codes: Tensor, qparams: QParams, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The real values of integer `codes`, x' = s (q - z), of its shape.

    Computed in `dtype`, or in float32 where that is shorter. Raises ValueError for
    codes outside the range, or a real value beyond `dtype`.
    """
    codes = checks.integers(codes, "codes")
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype {dtype} is not a float dtype such as torch.float32")
    if codes.numel() == 0:
        raise ValueError(
            f"codes are {codes.dtype} of shape {tuple(codes.shape)}: integers are "
            "needed, at least one"
        )
    low, high = codes.min().item(), codes.max().item()
    allowed = qparams.codes
    if low < allowed.low or high > allowed.high:
        raise ValueError(
            f"code {low if low < allowed.low else high} is outside {allowed.low} to "
            f"{allowed.high}"
        )
    return _unmap(codes.to(torch.int32), qparams, dtype)


def fake_quantize(
    x: Tensor,
    qparams: QParams,
    *,
    rounding: str = "half_even",
    invert: bool = False,
    straight_through: bool = False,
) -> Tensor:
    """Quantized and dequantized: float in, float of the same dtype and shape out.

    With `straight_through` the gradient of x is passed where the unclipped code lies in
    the range and 0 elsewhere (Bengio et al. 2013, arXiv 1308.3432); without, there is
    none. Errors as for `quantize`. (Wu et al. 2020, equation 12.)
    """
    codes, inside = _map(_checked(x), qparams, rounding=rounding, invert=invert)
    y = _unmap(codes, qparams, x.dtype)
    return _StraightThrough.apply(x, y, inside) if straight_through else y


class _StraightThrough(torch.autograd.Function):
    """Forward: y as computed. Backward: the gradient of x where `inside`."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, inside: Tensor) -> Tensor:
        ctx.save_for_backward(inside)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def _checked(x: Tensor) -> Tensor:
    return checks.floats(x, "x").detach()


def _map(
    x: Tensor,
    qparams: QParams,
    *,
    rounding: str,
    invert: bool,
    zero_point_first: bool = False,
    fused: bool = True,
) -> tuple[Tensor, Tensor]:
    """(codes as floats, whether each lies in the range before clipping)."""
    wide = torch.promote_types(x.dtype, torch.float32)
    scale = qparams.granularity.expand(qparams.scale.to(wide), x)
    zero = qparams.granularity.expand(qparams.zero_point.to(wide), x)
    steps = x.to(wide) * (1 / scale) if invert else x.to(wide) / scale
    if zero_point_first and invert and fused:
        # A fused multiply-add: float64 holds the product and the sum of float32.
        fused = x.double() * (1 / scale).double() + zero
        codes = round_to_integer(fused.to(wide), rounding=rounding)
    elif zero_point_first:
        codes = round_to_integer(steps + zero, rounding=rounding)
    else:
        codes = round_to_integer(steps, rounding=rounding) + zero
    low, high = qparams.codes.low, qparams.codes.high
    return codes.clamp(low, high), (codes >= low) & (codes <= high)


def _unmap(codes: Tensor, qparams: QParams, dtype: torch.dtype) -> Tensor:
    wide = torch.promote_types(dtype, torch.float32)
    scale = qparams.granularity.expand(qparams.scale.to(wide), codes)
    zero = qparams.granularity.expand(qparams.zero_point.to(wide), codes)
    real = ((codes.to(wide) - zero) * scale).to(dtype)
    if not bool(torch.isfinite(real).all()):
        largest = float(scale.max()) * (qparams.codes.high - qparams.codes.low)
        raise ValueError(
            f"codes stand for values up to {largest:.6g}, beyond {dtype}: "
            "use a wider dtype"
        )
    return real
