"""Calibrators: feed batches, then ask for the range to quantize.

    calibrator = PercentileCalibrator(percentile=99.99)
    for batch in batches:
        calibrator.update(batch)
    low, high = calibrator.range()

Memory is constant in the number of batches. All but the moving average give the same
range for the same values in any order and any split; the moving average weights late
batches more, and depends on both. Percentile, entropy and mse clip both tails at one
magnitude a: the range is [max(min, -a), min(max, a)]. Wu et al. 2020, section 3.3,
compares max, percentile and entropy; what PyTorch calls an observer is a calibrator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor

from qstudy.numerics import checks, search
from qstudy.numerics.histogram import BINS, MagnitudeHistogram, check_bins, checked


class Calibrator(Protocol):
    """What all calibrators offer."""

    def update(self, x: Tensor) -> None:
        """See the values of float `x`, any shape; ValueError if empty or not finite."""

    def range(self) -> tuple[float, float]:
        """(low, high), low <= high; ValueError where nothing was seen."""


class MaxCalibrator:
    """The smallest and the largest value seen, exactly."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def update(self, x: Tensor) -> None:
        """As `Calibrator.update`."""
        _, low, high = checked(x)
        self._low, self._high = min(self._low, low), max(self._high, high)

    def range(self) -> tuple[float, float]:
        """As `Calibrator.range`."""
        return _seen(self._low, self._high)


class MovingAverageCalibrator:
    """Exponential moving averages of each batch's minimum and maximum.

    m <- m + constant (batch's - m), starting from the first batch (Jacob et al. 2018,
    section 3; constant 0.01 as in torch's observer). The one calibrator whose answer
    depends on the order and the size of the batches.
    """

    def __init__(self, *, constant: float = 0.01) -> None:
        constant = checks.number(constant, "constant", finite=False)
        if not 0 < constant <= 1:
            raise ValueError(f"constant {constant} is outside 0 (excluded) to 1")
        self.constant = constant
        self._low, self._high = math.inf, -math.inf

    def update(self, x: Tensor) -> None:
        """As `Calibrator.update`."""
        _, low, high = checked(x)
        if self._low > self._high:
            self._low, self._high = low, high
        self._low += self.constant * (low - self._low)
        self._high += self.constant * (high - self._high)

    def range(self) -> tuple[float, float]:
        """As `Calibrator.range`."""
        return _seen(self._low, self._high)


class PercentileCalibrator:
    """Clips what lies above a percentile of all magnitudes, to within one bin.

    The answer is the centre of the bin that holds the k-th smallest magnitude, k =
    ceil(percentile / 100 n), so at most half a bin from it; for k = n it is exact.
    """

    def __init__(self, *, percentile: float = 99.99, bins: int = BINS) -> None:
        percentile = checks.number(percentile, "percentile", finite=False)
        if not 0 < percentile <= 100:
            raise ValueError(f"percentile {percentile} is outside 0 (excluded) to 100")
        self.percentile = percentile
        self.histogram = MagnitudeHistogram(bins=bins)

    def update(self, x: Tensor) -> None:
        """As `Calibrator.update`."""
        self.histogram.add(x)

    def range(self) -> tuple[float, float]:
        """As `Calibrator.range`."""
        histogram = self.histogram
        _seen(histogram.low, histogram.high)
        # As a fraction: in floats 99.9 % of 1,000 would round up to 1,000.
        share = Fraction(self.percentile).limit_denominator(10**9) / 100
        rank = math.ceil(share * histogram.total)
        if rank == histogram.total:
            return _clipped(histogram, histogram.largest)
        reached = histogram.counts.cumsum(0) >= rank
        centre = histogram.centres()[int(reached.to(torch.int8).argmax())].item()
        return _clipped(histogram, centre)


class _SearchCalibrator:
    """A histogram and a search for the best threshold on it.

    `signed` codes or unsigned ones; None: signed where a negative value was seen. The
    upper edge of every `stride`-th bin is tried.
    """

    _search: Callable[..., float]
    # How many bins of its histogram make one of the `bins` between trials.
    _fine = 1

    def __init__(
        self,
        *,
        bits: int = 8,
        signed: bool | None = None,
        bins: int = BINS,
        stride: int = 1,
    ) -> None:
        if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
            raise ValueError(
                f"bits {bits!r} is not a whole number from 2 to 8: wider codes need no "
                "clip"
            )
        if signed not in (True, False, None):
            raise ValueError(f"signed {signed!r} is not True, False or None")
        checks.whole(stride, "stride", 1)
        check_bins(bins)
        self.bits, self.signed, self.stride = bits, signed, stride
        # What the search is told besides, by name.
        self._told: dict[str, str] = {}
        self.histogram = MagnitudeHistogram(bins=bins * self._fine)

    def update(self, x: Tensor) -> None:
        """As `Calibrator.update`."""
        self.histogram.add(x)

    def range(self) -> tuple[float, float]:
        """As `Calibrator.range`."""
        _seen(self.histogram.low, self.histogram.high)
        signed = self.histogram.low < 0 if self.signed is None else self.signed
        threshold = type(self)._search(
            self.histogram,
            bits=self.bits,
            signed=signed,
            stride=self.stride * self._fine,
            **self._told,
        )
        return _clipped(self.histogram, threshold)


class EntropyCalibrator(_SearchCalibrator):
    """Clips where the quantized distribution diverges least; qstudy.numerics.search.

    `zeros` "as_next" does not count exact zeros, which are half of what a ReLU gives.
    """

    _search = staticmethod(search.entropy_threshold)

    def __init__(self, *, zeros: str = "counted", **options: Any) -> None:
        if zeros not in search.ZEROS:
            raise ValueError(f"zeros {zeros!r} is not one of {search.ZEROS}")
        super().__init__(**options)
        self._told = {"zeros": zeros}


class MSECalibrator(_SearchCalibrator):
    """Clips where the mean squared error is least; qstudy.numerics.search.

    At 8 bits the error hardly changes from one trial to the next. So that the trial
    that wins on the histogram is, to within one of its `bins`, the one that wins on the
    values themselves, values are known sixteen times as finely as trials lie apart.
    """

    _search = staticmethod(search.mse_threshold)
    _fine = 16


def _clipped(histogram: MagnitudeHistogram, threshold: float) -> tuple[float, float]:
    return tuple(
        min(max(end, -threshold), threshold) for end in (histogram.low, histogram.high)
    )


def _seen(low: float, high: float) -> tuple[float, float]:
    if low > high:
        raise ValueError("the calibrator has seen no data: feed at least one batch")
    return low, high
