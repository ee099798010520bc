"""How far a quantized tensor is from the original, and what theory predicts.

For a quantizer with step D whose error is uniform over a step, the noise power is
D^2 / 12 (Bennett 1948); each further bit halves D and so gains 20 log10(2) = 6.02 dB.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qstudy.numerics import checks

# float64 holds the sum of the squares of a million such numbers.
_LARGEST = 1e150
DECIBEL_A_BIT = 20 * math.log10(2)


def mse(x: Tensor, y: Tensor) -> float:
    """Mean squared error, in the square of x's unit; float64 inside."""
    x, y = _pair(x, y)
    return float((x - y).square().mean())


def mae(x: Tensor, y: Tensor) -> float:
    """Mean absolute error, in x's unit."""
    x, y = _pair(x, y)
    return float((x - y).abs().mean())


def sqnr(x: Tensor, y: Tensor) -> float:
    """Signal to quantization noise, 10 log10(sum x^2 / sum (x - y)^2), in dB.

    Infinite where nothing is lost, minus infinite for the noise of a signal that is 0.
    """
    x, y = _pair(x, y)
    power, noise = float(x.square().sum()), float((x - y).square().sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power > 0 else -math.inf


def cosine(x: Tensor, y: Tensor) -> float:
    """Cosine of the angle between x and y, -1 to 1. ValueError where one is all 0."""
    x, y = _pair(x, y)
    ends = [float(v.abs().max()) for v in (x, y)]
    if 0 in ends:
        raise ValueError("one of the tensors is all zeros: it has no direction")
    # Divided by their largest value first, so that no square underflows.
    x, y = x / ends[0], y / ends[1]
    return float(x @ y) / float(x.norm() * y.norm())


def kl_divergence(x: Tensor, y: Tensor, *, bins: int = 256) -> float:
    """KL(P_x || P_y) in nat of two histograms over the range of both.

    A bin that only x fills counts as holding half an example of y, so that the result
    stays finite: a comparison, not an estimate of the true divergence.
    """
    x, y = _pair(x, y)
    bins = checks.whole(bins, "bins", 1)
    low = min(x.min().item(), y.min().item())
    high = max(x.max().item(), y.max().item())
    if low == high:
        return 0.0
    if not math.isfinite(high - low):
        raise ValueError(f"a range of {low:.3g} to {high:.3g} overflows: scale it down")
    p = torch.histc(x, bins, min=low, max=high)
    q = torch.histc(y, bins, min=low, max=high)
    q = torch.where((p > 0) & (q == 0), 0.5, q)
    p, q = p / p.sum(), q / q.sum()
    seen = p > 0
    return float((p[seen] * torch.log(p[seen] / q[seen])).sum())


def uniform_sqnr(x: Tensor, step: float) -> float:
    """The SQNR in dB that theory gives for rounding `x` with `step` and no clipping."""
    x, _ = _pair(x, x)
    step = checks.number(step, "step")
    if not step > 0:
        raise ValueError(f"step {step} is not positive")
    power = float(x.square().mean())
    return 10 * math.log10(power / (step * step / 12)) if power > 0 else -math.inf


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    for name, value in (("x", x), ("y", y)):
        checks.tensor(value, name)
        if value.is_complex() or value.dtype == torch.bool:
            raise ValueError(f"{name} is {value.dtype}: real numbers are needed")
    if x.shape != y.shape or x.numel() == 0:
        raise ValueError(
            f"tensors of shape {tuple(x.shape)} and {tuple(y.shape)}: one shape, not "
            "empty, is needed"
        )
    x, y = x.detach().double().flatten(), y.detach().double().flatten()
    if not bool((torch.isfinite(x) & torch.isfinite(y)).all()):
        raise ValueError("a tensor holds NaN or infinity: its error is not defined")
    largest = max(float(v.abs().max()) for v in (x, y))
    if largest > _LARGEST:
        raise ValueError(
            f"a tensor holds {largest:.3g}: above {_LARGEST:.0e} squares overflow, "
            "scale both down"
        )
    return x, y
