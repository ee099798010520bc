"""A growing histogram of magnitudes: the same data, in any order, the same counts.

Bin j counts the values with j w <= |x| < (j + 1) w. The width w is a power of two and
bins start at zero. Where a larger value comes, pairs of neighbours are merged and w is
doubled, as often as needed; division by a power of two is exact, so the counts and the
final w depend on the values alone and not on how they were batched. Between half and
all of the bins are in use. Memory is constant.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qstudy.numerics import checks

BINS = 2048
# The smallest width: one that float32 divides by exactly.
_SMALLEST = 2.0**-126
_PART = 2**18


class MagnitudeHistogram:
    """Counts of |x| over `bins` bins of one width, with the exact extremes of x."""

    def __init__(self, *, bins: int = BINS) -> None:
        check_bins(bins)
        self.bins = bins
        self.counts = torch.zeros(bins, dtype=torch.int64)
        self.width = _SMALLEST
        self.low = math.inf
        self.high = -math.inf

    @property
    def largest(self) -> float:
        """The largest magnitude seen, exactly."""
        return max(-self.low, self.high)

    @property
    def total(self) -> int:
        """How many values were seen."""
        return int(self.counts.sum())

    def add(self, x: Tensor) -> None:
        """Count the values of float `x`, any shape; kept in float32 at least.

        Raises ValueError for an x that is empty or holds NaN or infinity; the counts
        then stay as they were.
        """
        values, low, high = checked(x)
        largest = max(-low, high)
        width = self.width
        while largest >= self.bins * width:
            width *= 2
        self._widen(width)
        # Scaling by a power of two is exact, and so is cutting off what follows the
        # point. In parts, to bound the memory that is used.
        for part in values.split(_PART):
            bins = part.mul(1 / width).abs_().to(torch.int64)
            self.counts += torch.bincount(bins, minlength=self.bins)
        self.low, self.high = min(self.low, low), max(self.high, high)

    def _widen(self, width: float) -> None:
        doublings = math.frexp(width)[1] - math.frexp(self.width)[1]
        # Beyond that many, all that was counted lies in the first bin.
        for _ in range(min(doublings, math.ceil(math.log2(self.bins)))):
            pairs = self.counts.reshape(-1, 2).sum(1)
            self.counts = torch.cat([pairs, torch.zeros_like(pairs)])
        self.width = width

    def edges(self) -> Tensor:
        """The upper edge of each bin, float64 (bins,)."""
        return torch.arange(1, self.bins + 1, dtype=torch.float64) * self.width

    def centres(self) -> Tensor:
        """The middle of each bin, float64 (bins,)."""
        return self.edges() - self.width / 2


def check_bins(bins: int) -> None:
    """ValueError where `bins` cannot be halved: pairs of them are merged."""
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2 or bins % 2:
        raise ValueError(f"bins {bins!r} is not an even whole number of at least 2")


def checked(x: Tensor) -> tuple[Tensor, float, float]:
    """(`x` flat and detached, float32 or float64; its smallest; its largest value).

    Raises ValueError where it is empty, no float, or holds NaN or infinity.
    """
    x = checks.tensor(x, "a batch")
    if x.numel() == 0 or not x.is_floating_point():
        raise ValueError(
            f"a batch of {x.dtype} and shape {tuple(x.shape)} cannot be calibrated on: "
            "floats are needed, at least one"
        )
    values = checks.wide(x.detach().flatten())
    low, high = (value.item() for value in torch.aminmax(values))
    # aminmax passes a NaN on, so the two ends tell of all values.
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("a batch holds NaN or infinity: leave those examples out")
    return values, low, high
