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

from qstudy.numerics.granularity import Granularity, PerTensor
from qstudy.numerics.mapping import CodeRange, QParams, round_to_integer

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
    is done in their dtype (float64 for Python floats). A range without zero is widened
    to hold it, or refused where `contain_zero` is false, because padding needs an exact
    zero. A range that is zero alone has scale 1, or `smallest_scale` where that is
    positive (torch's observers: 2^-23). `convention` applies to the scheme "scale" and
    `rounding` to the zero point of "affine".

    Raises ValueError for unknown names, reversed, empty, NaN or infinite ranges, signed
    codes with the convention "unsigned" and the reverse.
    """
    low, high = _range(low, high)
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
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r} is not one of {SCHEMES}")
    low, high = low.clamp(max=0), high.clamp(min=0)
    if scheme == "affine":
        scale = _usable((high - low) / (codes.levels - 1), smallest_scale)
        zero = codes.low - round_to_integer(low / scale, rounding=rounding)
        return scale, zero.clamp(codes.low, codes.high).to(torch.int32)
    scale = _usable(_symmetric(low, high, codes, convention), smallest_scale)
    # Zero among signed codes, the middle of unsigned ones.
    middle = 0 if codes.low < 0 else (codes.low + codes.high + 1) // 2
    return scale, torch.full_like(scale, middle).to(torch.int32)


def _symmetric(low: Tensor, high: Tensor, codes: CodeRange, convention: str) -> Tensor:
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention!r} is not one of {CONVENTIONS}")
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
    """The smallest and largest value of float `x` in each group, in its dtype.

    Raises ValueError for an empty x or one that holds NaN or infinity.
    """
    granularity = granularity or PerTensor()
    if x.numel() == 0 or not bool(torch.isfinite(x).all()):
        raise ValueError(
            f"x of shape {tuple(x.shape)} is empty or holds NaN or infinity: it has no "
            "range"
        )
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
    first, last = _range(low, high)
    low, high = float(first), float(last)
    if low == high == 0:
        raise ValueError("range 0 to 0 has no scale")
    if scheme == "affine":
        s = (2**bits - 1) / (high - low)
        return WuParameters(s, -round(low * s) - 2 ** (bits - 1))
    if scheme == "scale":
        return WuParameters((2 ** (bits - 1) - 1) / max(abs(low), abs(high)), 0)
    raise ValueError(f"scheme {scheme!r} is not one of {SCHEMES}")


def _range(low: Tensor | float, high: Tensor | float) -> tuple[Tensor, Tensor]:
    low, high = (
        v if isinstance(v, Tensor) else torch.tensor(float(v), dtype=torch.float64)
        for v in (low, high)
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


def _usable(scale: Tensor, smallest: float) -> Tensor:
    """`scale` with its zeros, and what is too small to invert, replaced."""
    if smallest > 0:
        return scale.clamp(min=smallest)
    tiny = torch.finfo(torch.float32).tiny  # what QParams takes
    return torch.where(scale == 0, torch.ones_like(scale), scale.clamp(min=tiny))


def _first(values: Tensor) -> float:
    return values.flatten()[0].item()
