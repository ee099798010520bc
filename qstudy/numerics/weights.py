"""What rounding a weight tensor to 8 bits costs, per tensor and per output channel.

The symmetric int8 quantizer of torch's observers, w' = D clip(round(w / D), -128, 127)
with D = max|w| / 127.5, so that these figures describe the weights that static
quantization makes. Other libraries divide by 127 or 128.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GRANULARITIES = ("per_tensor", "per_channel")
QUANT_MIN, QUANT_MAX = -128, 127


@dataclass(frozen=True, eq=False)
class WeightRanges:
    """max|w|: `per_channel` is (Cout,) in the weight's dtype and unit."""

    per_channel: Tensor

    @property
    def per_tensor(self) -> float:
        return self.per_channel.max().item()

    @property
    def spread(self) -> float:
        """Largest channel range over the median one; 1 where one scale suits all.

        Infinite where half of the channels or more are zero.
        """
        median = self.per_channel.median().item()
        return self.per_tensor / median if median > 0 else math.inf


def weight_ranges(weight: Tensor) -> WeightRanges:
    """Ranges of a float weight (Cout, ...); ValueError if empty or not finite."""
    if weight.numel() == 0 or not bool(torch.isfinite(weight).all()):
        raise ValueError(
            f"weight of shape {tuple(weight.shape)} is empty or holds NaN or infinity: "
            "its range is not defined"
        )
    return WeightRanges(weight.detach().abs().flatten(1).amax(1))


def round_weight(weight: Tensor, *, granularity: str) -> Tensor:
    """`weight` (Cout, ...) rounded to int8 and back, of its own shape and dtype.

    Raises ValueError for a granularity that is not in GRANULARITIES.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity {granularity!r} is not one of {GRANULARITIES}")
    ranges = weight_ranges(weight).per_channel
    if granularity == "per_tensor":
        ranges = ranges.max().expand_as(ranges)
    # The observers' floor: a channel of zeros still has a scale to divide by.
    step = (ranges / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    step = step.reshape(-1, *[1] * (weight.dim() - 1))  # (Cout, 1, 1, 1)
    # Multiplying by the inverse, as the kernels do, decides ties as they decide them.
    codes = (weight.detach() * (1 / step)).round().clamp(QUANT_MIN, QUANT_MAX)
    return codes * step


def weight_sqnr(weight: Tensor, *, granularity: str) -> float:
    """Signal to quantization noise, 10 log10(sum w^2 / sum (w - w')^2), in dB.

    Infinite where nothing is lost. Arguments and errors as for `round_weight`.
    """
    rounded = round_weight(weight, granularity=granularity).double()
    signal = weight.detach().double()
    noise = (signal - rounded).square().sum().item()
    power = signal.square().sum().item()
    return 10 * math.log10(power / noise) if noise > 0 else math.inf
