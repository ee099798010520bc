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

from qstudy.numerics import checks, error
from qstudy.numerics.granularity import PerChannel, PerTensor
from qstudy.numerics.mapping import CodeRange, fake_quantize
from qstudy.numerics.qparams import choose_qparams, range_of

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
    if checks.floats(weight, "weight", finite=False, some=False).dim() < 1:
        raise ValueError("weight has shape (): (Cout, ...) is needed")
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
    checks.one_of(granularity, "granularity", GRANULARITIES)
    weight_ranges(weight)  # refuses what has no range
    shared = PerTensor() if granularity == "per_tensor" else PerChannel(0)
    low, high = range_of(weight, shared)
    qparams = choose_qparams(
        low,
        high,
        codes=CodeRange(QUANT_MIN, QUANT_MAX),
        scheme="scale",
        convention="half_range",
        granularity=shared,
        # The observers' floor: a channel of zeros still has a scale to divide by.
        smallest_scale=torch.finfo(torch.float32).eps,
    )
    # Multiplying by the inverse, as the kernels do, decides ties as they decide them.
    return fake_quantize(weight.detach(), qparams, invert=True)


def weight_sqnr(weight: Tensor, *, granularity: str) -> float:
    """Signal to quantization noise of the rounded weight, in dB; see error.sqnr.

    Infinite where nothing is lost. Arguments and errors as for `round_weight`.
    """
    return error.sqnr(weight, round_weight(weight, granularity=granularity))
