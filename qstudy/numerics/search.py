"""Where to clip: the threshold a on |x| that loses least, searched on a histogram.

Candidates are the upper edges of every `stride`-th bin and the largest magnitude. The
step is a over the largest code, signed or unsigned.

mse: the mean squared error of rounding within a and of clipping beyond it, the values
of a bin taken to lie at its centre.
entropy: the Kullback-Leibler divergence of the clipped distribution from its quantized
one, after Migacz 2017 (8-bit inference with TensorRT), the default of TensorRT. Half of
what a ReLU gives is zero, a spike that no coarser bin resembles, so that the search
then keeps hardly more bins than levels and clips nearly all: `zeros` "as_next" takes
the first bin for as full as the second, as NVIDIA's pytorch-quantization does.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qstudy.numerics import checks
from qstudy.numerics.histogram import MagnitudeHistogram

# What the entropy search makes of the bin that zeros fall into.
ZEROS = ("counted", "as_next")


def steps_of(bits: int, *, signed: bool) -> int:
    """The number of steps between 0 and the threshold: the largest code."""
    checks.whole(bits, "bits", 2, 16)
    return 2 ** (bits - 1) - 1 if signed else 2**bits - 1


def candidates(histogram: MagnitudeHistogram, *, least: int, stride: int) -> list[int]:
    """Bin counts i whose upper edge i w is tried: multiples of stride, then the last.

    `least` is the smallest i that makes sense. The last covers all values.
    """
    checks.whole(stride, "stride", 1)
    checks.whole(least, "least", 1)
    if not histogram.total:
        raise ValueError("the histogram is empty: add at least one batch")
    used = int(histogram.counts.nonzero().max()) + 1
    first = -(-max(least, stride) // stride) * stride
    return [*range(first, used, stride), used]


def mean_squared_error(
    magnitudes: Tensor, weights: Tensor, threshold: float, steps: int
) -> float:
    """The weighted mean of (|x| - x')^2 for one threshold, in float64.

    `magnitudes` float64 (N,), `weights` (N,) how often each occurs.
    """
    step = threshold / steps
    codes = torch.round(magnitudes / step).clamp(max=steps)
    error = (magnitudes - codes * step).square()
    return float((error * weights).sum() / weights.sum())


def mse_threshold(
    histogram: MagnitudeHistogram, *, bits: int, signed: bool, stride: int = 1
) -> float:
    """The threshold with the smallest mean squared error. 0 where all values are 0."""
    checks.whole(stride, "stride", 1)
    if histogram.largest == 0:
        return 0.0
    steps = steps_of(bits, signed=signed)
    centres, counts = histogram.centres(), histogram.counts.to(torch.float64)
    some = counts > 0
    centres, counts = centres[some], counts[some]
    best, lowest = histogram.largest, float("inf")
    for bins in candidates(histogram, least=1, stride=stride):
        threshold = min(bins * histogram.width, histogram.largest)
        error = mean_squared_error(centres, counts, threshold, steps)
        if error < lowest:
            best, lowest = threshold, error
    return best


def entropy_threshold(
    histogram: MagnitudeHistogram,
    *,
    bits: int,
    signed: bool,
    stride: int = 1,
    zeros: str = "counted",
) -> float:
    """The threshold with the smallest divergence. 0 where all values are 0.

    `zeros` is "counted" or "as_next", which is for what comes out of a ReLU.

    At least as many bins as there are levels are kept, and at least half of the values:
    what is left of a distribution that is clipped to one bin is trivial to quantize.
    Where the data need no more bins than levels, nothing can be gained, and the largest
    magnitude is the answer.
    """
    if zeros not in ZEROS:
        raise ValueError(f"zeros {zeros!r} is not one of {ZEROS}")
    if histogram.largest == 0:
        return 0.0
    levels = steps_of(bits, signed=signed) + 1
    counts = histogram.counts.to(torch.float64)
    if zeros == "as_next":
        counts[0] = counts[1]
    half = int((counts.cumsum(0) >= counts.sum() / 2).to(torch.int8).argmax()) + 1
    best, lowest = histogram.largest, float("inf")
    for bins in candidates(histogram, least=max(levels, half), stride=stride):
        divergence = quantized_divergence(counts, bins=bins, levels=levels)
        # Of equal ones the larger: it clips less.
        if divergence <= lowest:
            best, lowest = min(bins * histogram.width, histogram.largest), divergence
    return best


def quantized_divergence(counts: Tensor, *, bins: int, levels: int) -> float:
    """KL(P || Q) in nat for clipping float64 `counts` (N,) after `bins` bins.

    P is the first `bins` counts, all that lies beyond added to the last of them. Q
    spreads what each of `levels` equal runs of the first `bins` counts holds over those
    of its bins that are not empty. A P that has mass where Q has none diverges.
    """
    # Counts are whole numbers, whose sums are exact in any order; in NumPy, where calls
    # on so few values cost a fraction of torch's.
    inside = counts[:bins].numpy()
    reference = inside.copy()
    reference[-1] += float(counts[bins:].sum())
    run = np.arange(bins) * levels // bins
    occupied = inside > 0
    mass = np.bincount(run, weights=inside, minlength=levels)
    places = np.bincount(run, weights=occupied, minlength=levels)
    spread = (mass / np.maximum(places, 1))[run] * occupied
    whole = max(float(torch.from_numpy(spread).sum()), 1e-300)
    p, q = reference / reference.sum(), spread / whole
    seen = p > 0
    p, q = p[seen], q[seen]
    if (q == 0).any():
        return float("inf")
    ratio = torch.from_numpy(p / q)
    return float((torch.from_numpy(p) * torch.log(ratio)).sum())
