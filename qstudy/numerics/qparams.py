"""Scale and zero point from a range of real numbers, by every public convention.

Affine: the codes cover [low, high], s = (high - low) / (levels - 1) and z is the code
of zero (Jacob et al. 2018, section 3; Wu et al. 2020, equations 1 and 2, whose scale is
1/s). Scale (symmetric) quantization has z fixed and s from m = max(|low|, |high|), for
which libraries do not agree; for 8 bits:

| convention | s | who |
|---|---|---|
| max_code | m / 127 | Wu et al. 2020, TensorRT, ONNX Runtime on -127 to 127 |
| half_range | m / 127.5 | torch's and torchao's observers |
| both_ends | max(-low / 128, high / 127) | torch's C++ QuantUtils, AIMET |
| min_code | m / 128 | Brevitas, signed and not narrow |
| unsigned | 2 m / 255, z = 128 | ONNX Runtime on 0 to 255 |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qstudy.numerics import checks
from qstudy.numerics.granularity import Granularity, PerTensor
from qstudy.numerics.mapping import BITS, CodeRange, QParams, round_to_integer

SCHEMES = ("affine", "scale")
CONVENTIONS = ("max_code", "half_range", "both_ends", "min_code", "unsigned")


def choose_qparams(
    low: Tensor | float,
    high: Tensor | float,
    *,
    codes: CodeRange,
    scheme: str = "affine",
    convention: str = "max_code",
    granularity: Granularity | None = None,
    contain_zero: bool = True,
    smallest_scale: float = 0.0,
    rounding: str = "half_even",
) -> QParams:
    """The parameters that map the real range [low, high] to `codes`.

    `low` and `high`: floats or float tensors of the granularity's shape; the arithmetic
    is done in their dtype, float32 at least (float64 for Python floats). A range
    without zero is widened to hold it, or refused where `contain_zero` is false, for
    padding needs an exact zero. A range that is zero alone has scale 1, or
    `smallest_scale` where that is positive (torch's observers: 2^-23). `convention`
    applies to the scheme "scale" and `rounding` to the zero point of "affine".

    Raises ValueError for unknown names, reversed, empty, NaN or infinite ranges, signed
    codes with the convention "unsigned" and the reverse, and a range so wide that
    float32 has no scale for it. One so narrow has the smallest that it can invert.
    """
    low, high = _range(low, high)
    if not isinstance(codes, CodeRange):
        raise ValueError(f"codes {codes!r} is not a CodeRange, such as code_range(8)")
    smallest_scale = checks.number(smallest_scale, "smallest_scale")
    if smallest_scale < 0:
        raise ValueError(f"smallest_scale {smallest_scale} is not at least 0")
    if bool(((low > 0) | (high < 0)).any()) and not contain_zero:
        raise ValueError(
            f"range {_first(low)} to {_first(high)} does not contain zero: let it be "
            "widened (contain_zero=True)"
        )
    scale, zero = scale_and_zero_point(
        low,
        high,
        codes=codes,
        scheme=scheme,
        convention=convention,
        smallest_scale=smallest_scale,
        rounding=rounding,
    )
    if not bool((scale <= checks.LARGEST_SCALE).all()):
        raise ValueError(
            f"a range needs the scale {scale.max().item():.6g}, beyond float32's "
            f"{checks.LARGEST_SCALE:.3g}: scale the values down first"
        )
    return QParams(scale, zero, codes, granularity or PerTensor())


def scale_and_zero_point(
    low: Tensor,
    high: Tensor,
    *,
    codes: CodeRange,
    scheme: str = "affine",
    convention: str = "max_code",
    smallest_scale: float = 0.0,
    rounding: str = "half_even",
) -> tuple[Tensor, Tensor]:
    """The arithmetic of `choose_qparams`: (float scale, int32 zero point).

    Reads no value of its tensors, so that a training step can be compiled: a range that
    is NaN, infinite or reversed is not refused but gives a scale that is none. Raises
    ValueError for unknown names.
    """
    checks.one_of(scheme, "scheme", SCHEMES)
    checks.one_of(convention, "convention", CONVENTIONS)
    low, high = low.clamp(max=0), high.clamp(min=0)
    empty = (low == 0) & (high == 0)
    if scheme == "affine":
        # Divided first: twice the largest float32 is none.
        steps = codes.levels - 1
        width = high - low
        width = torch.where(
            torch.isfinite(width), width / steps, high / steps - low / steps
        )
        scale = _usable(width, empty, smallest_scale)
        zero = codes.low - round_to_integer(low / scale, rounding=rounding)
        return scale, zero.clamp(codes.low, codes.high).to(torch.int32)
    scale = _usable(_symmetric(low, high, codes, convention), empty, smallest_scale)
    # Zero among signed codes, the middle of unsigned ones.
    middle = 0 if codes.low < 0 else (codes.low + codes.high + 1) // 2
    return scale, torch.full_like(scale, middle).to(torch.int32)


def _symmetric(low: Tensor, high: Tensor, codes: CodeRange, convention: str) -> Tensor:
    if (convention == "unsigned") != (codes.low >= 0):
        sort = "unsigned" if codes.low >= 0 else "signed"
        raise ValueError(f"convention {convention!r} does not fit {sort} codes")
    largest = torch.maximum(-low, high)
    if convention == "max_code":
        return largest / codes.high
    if convention == "both_ends":
        return torch.maximum(low / codes.low, high / codes.high)
    if convention == "min_code":
        return largest / -codes.low
    # torch computes the same quotient for both: twice the range over the code steps.
    return largest / ((codes.high - codes.low) / 2)


def range_of(
    x: Tensor, granularity: Granularity | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest and largest value of float `x` in each group, in float32 at least.

    Raises ValueError for an empty x or one that holds NaN or infinity.
    """
    granularity = granularity or PerTensor()
    x = checks.wide(checks.floats(x, "x"))
    low, high = torch.aminmax(granularity.grouped(x.detach()), dim=1)
    shape = granularity.shape(x)
    return low.reshape(shape), high.reshape(shape)


@dataclass(frozen=True)
class WuParameters:
    """The parameters of Wu et al. 2020: `s` multiplies, real to integer.

    Affine: q = clip(round(s x + z)); the step width of Jacob et al. and PyTorch is 1/s.
    """

    s: float
    z: int


def wu_parameters(low: float, high: float, *, bits: int, scheme: str) -> WuParameters:
    """Wu et al. 2020, equations 1 and 2 (affine) and 6 (scale), signed codes.

    Affine: s = (2^b - 1) / (high - low), z = -round(low s) - 2^(b-1). Scale:
    s = (2^(b-1) - 1) / max(|low|, |high|), z = 0. Raises ValueError as
    `choose_qparams`, and for a range that is zero alone.
    """
    checks.one_of(scheme, "scheme", SCHEMES)
    bits = checks.whole(bits, "bits", *BITS)
    first, last = _range(
        checks.number(low, "low", finite=False),
        checks.number(high, "high", finite=False),
    )
    low, high = float(first), float(last)
    if low == high == 0:
        raise ValueError("range 0 to 0 has no scale")
    if scheme == "affine":
        s = (2**bits - 1) / (high - low)
        return WuParameters(s, -round(low * s) - 2 ** (bits - 1))
    return WuParameters((2 ** (bits - 1) - 1) / max(abs(low), abs(high)), 0)


def _range(low: Tensor | float, high: Tensor | float) -> tuple[Tensor, Tensor]:
    low, high = (
        checks.wide(checks.floats(v, name, finite=False, some=False))
        if isinstance(v, Tensor)
        else torch.tensor(checks.number(v, name, finite=False), dtype=torch.float64)
        for name, v in (("low", low), ("high", high))
    )
    if low.shape != high.shape or low.numel() == 0:
        raise ValueError(
            f"low has shape {tuple(low.shape)} and high {tuple(high.shape)}: one "
            "shape, not empty, is needed"
        )
    if not bool((torch.isfinite(low) & torch.isfinite(high)).all()):
        raise ValueError(f"range {_first(low)} to {_first(high)} is not finite")
    reversed_ = low > high
    if bool(reversed_.any()):
        raise ValueError(
            f"range {_first(low[reversed_])} to {_first(high[reversed_])} is reversed"
        )
    return low, high


def _usable(scale: Tensor, empty: Tensor, smallest: float) -> Tensor:
    """`scale` with 1 where the range is zero alone; never too small to invert.

    Where `smallest` is positive, it bounds both.
    """
    if smallest > 0:
        return scale.clamp(min=smallest)
    scale = scale.clamp(min=checks.SMALLEST_SCALE)
    return torch.where(empty, torch.ones_like(scale), scale)


def _first(values: Tensor) -> float:
    return values.flatten()[0].item()
