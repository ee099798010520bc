"""Intervals and verdicts: how sure a figure is, and what may be said of it.

Pure functions on small vectors; imports no torch, so that collecting and narrating stay
quick. Every interval is two-sided at 95 %. All bootstraps are seeded percentile
bootstraps (Efron and Tibshirani 1993, chapter 13). Results are the same to the last bit
on every processor; `portable` says what that rests on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qstudy.measure import inputs, portable

LEVEL = 0.95
RESAMPLES = 10_000

# Fixed before the first measurement; ratios are fp32/int8, drops percentage points.
SIZE_HOLDS = 3.5
SPEED_HOLDS = 2.0
SPEED_ABOVE = 4.0
ALMOST_NO_DROP = 1.0
LOSSLESS = 0.2

HOLDS = "holds"
HOLDS_ABOVE_4 = "holds, above 4"
FAILS = "fails"
UNDECIDED = "undecided here"


@dataclass(frozen=True)
class Interval:
    """An estimate, its 95 % interval and the number of units (n) behind it.

    ValueError unless all are finite, low <= high and n >= 1. `value` may lie outside
    its own interval: a percentile bootstrap of a skewed statistic does not promise it.
    """

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        inputs.check_ordered(self.low, self.high)
        inputs.check_finite(self.value, "value")
        if self.n < 1:
            raise ValueError(f"n {self.n} is not at least 1; an interval needs data")


def wilson(correct: int, n: int) -> Interval:
    """The share of `correct` in `n` trials, in percent, with Wilson's score interval.

    Unlike the normal approximation it never leaves 0 to 100 % and does not collapse
    where all or none are correct (Wilson 1927, equation 5; Brown, Cai, DasGupta 2001).
    ValueError unless 0 <= correct <= n and n >= 1.
    """
    if n < 1:
        raise ValueError(f"n {n} is not at least 1; an accuracy needs one example")
    if not 0 <= correct <= n:
        raise ValueError(f"correct {correct} is outside 0 to {n}")
    z = portable.Z_975
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + (z / n / 2) ** 2)
    # At the two ends rounding may leave an ulp on the wrong side of the estimate.
    low = 0.0 if correct == 0 else 100 * (centre - half)
    high = 100.0 if correct == n else 100 * (centre + half)
    # 100 * share would turn some whole hundredths of a percent into neighbours.
    return Interval(100 * correct / n, low, high, n)


def paired_drop(
    baseline: ArrayLike,
    candidate: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Top-1 drop, baseline minus candidate in percentage points, over the same images.

    `baseline` and `candidate`: 0/1 or bool, shape (n,), 1 where that network is right
    about that image. Positive means the candidate is worse.

    The bootstrap draws n images with replacement. An image enters the drop only through
    its joint outcome (both right, only the baseline right, only the candidate right,
    both wrong), and the four counts of n such draws are one multinomial draw with the
    observed shares. Drawing these counts is therefore the image bootstrap itself, not
    an approximation, in `resamples` draws instead of `resamples` times n. They are
    whole numbers; NumPy's generator compares with logarithms while it draws them, so
    only a rounding error that meets a comparison's very edge could change one.

    Where the two never disagree the interval is the point 0: the sample then shows no
    disagreement to resample. (With n images, 300/n points still bound the drop.)
    ValueError for empty vectors, other lengths, or values other than 0 and 1.
    """
    right, other = (
        inputs.outcomes(baseline, "baseline"),
        inputs.outcomes(candidate, "candidate"),
    )
    inputs.check_same_length(right, other)
    inputs.check_resamples(resamples)
    n = len(right)
    counts = np.bincount(2 * right + other, minlength=4)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    # Column 2 is "only the baseline is right", column 1 "only the candidate is right".
    low, high = percentiles(100 * (draws[:, 2] - draws[:, 1]) / n)
    return Interval(float(100 * (counts[2] - counts[1]) / n), low, high, n)


def median_interval(
    values: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """The median of `values`, shape (n,), with its bootstrap interval; unit unchanged.

    One value has no spread to resample: its interval is the point itself.
    ValueError for an empty vector or values that are not finite.
    """
    sample = inputs.sample(values, "values")
    drawn = _draw(len(sample), seed=seed, resamples=resamples)
    low, high = percentiles(np.median(sample[drawn], axis=1))
    return Interval(float(np.median(sample)), low, high, len(sample))


def median_ratio(
    baseline: ArrayLike,
    candidate: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The median over processes of baseline time / candidate time; above 1 is faster.

    Both of shape (processes,), positive, same unit; entry i of both was timed in
    process i, where the two took turns. The ratio is formed inside each process, since
    one process can be twice as slow as the next: whatever slowed it slows both and
    cancels, which a ratio of two medians, from two different processes, would not. The
    bootstrap draws processes. With 5 the interval reaches about from the lowest to the
    highest ratio (coverage about 94 %); with 1 it is a point and says nothing, so
    published runs use at least 5.
    ValueError for empty vectors, other lengths, values not finite or not positive.
    """
    above = inputs.positive(baseline, "baseline")
    below = inputs.positive(candidate, "candidate")
    inputs.check_same_length(above, below)
    return median_interval(above / below, seed=seed, resamples=resamples)


def t_interval(values: ArrayLike) -> Interval:
    """The mean of `values` (one a seed, shape (n,), n >= 2) with Student's interval.

    Unit unchanged. ValueError for fewer than two values or values not finite.
    """
    mean, spread, n = _mean_and_spread(values)
    return _student(mean, spread / math.sqrt(n), n)


def prediction_interval(values: ArrayLike) -> Interval:
    """Where one further seed's value lies: mean +- t(n-1) s sqrt(1 + 1/n).

    Assumes seeds are normal draws; `value` is the mean. Shape (n,), n >= 2, unit
    unchanged (Hahn and Meeker 1991, section 4.7). ValueError as for `t_interval`.
    """
    mean, spread, n = _mean_and_spread(values)
    return _student(mean, spread * math.sqrt(1 + 1 / n), n)


def t_p_value(differences: ArrayLike) -> float:
    """Two-sided p of "the mean per-seed difference is zero", one-sample t test.

    `differences`: shape (n,), n >= 2. Without any spread p is 1 where all are zero,
    else 0. ValueError as for `t_interval`.
    """
    mean, spread, n = _mean_and_spread(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return portable.t_tails(mean / (spread / math.sqrt(n)), n - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the given order (Holm 1979).

    A comparison of the family is resolved at 5 % where its adjusted p is at most 0.05.
    ValueError for an empty family or a p outside 0 to 1.
    """
    p = inputs.sample(p_values, "p_values")
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"p_values {p.tolist()} are not all in 0 to 1")
    order = np.argsort(p, kind="stable")
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted.tolist()


def size_verdict(ratio: float) -> str:
    """On "a quarter of the size": holds where fp32/int8 is at least SIZE_HOLDS."""
    if not 0 < ratio < math.inf:
        raise ValueError(f"ratio {ratio!r} is not positive and finite")
    return HOLDS if ratio >= SIZE_HOLDS else FAILS


def speed_verdict(low: float, high: float) -> str:
    """On "2 to 4 times faster", by the 95 % interval of baseline/candidate time.

    Holds where all of it lies above SPEED_HOLDS (all above SPEED_ABOVE is said), fails
    where all lies below SPEED_HOLDS, else undecided here. ValueError unless
    0 < low <= high.
    """
    inputs.check_ordered(low, high)
    if low <= 0:
        raise ValueError(f"low {low} is not positive; a ratio of times is")
    if low > SPEED_HOLDS:
        return HOLDS_ABOVE_4 if low > SPEED_ABOVE else HOLDS
    return FAILS if high < SPEED_HOLDS else UNDECIDED


def accuracy_verdict(high: float, *, low: float | None = None) -> str:
    """On "almost no drop", by the 95 % interval of the drop in percentage points.

    Holds where its upper end is at most ALMOST_NO_DROP; fails where its lower end lies
    above it; else undecided here, which is all that can be said without `low`.
    """
    inputs.check_ordered(high if low is None else low, high)
    if high <= ALMOST_NO_DROP:
        return HOLDS
    return FAILS if low is not None and low > ALMOST_NO_DROP else UNDECIDED


def lossless(high: float) -> bool:
    """Whether the drop's upper end is at most LOSSLESS percentage points."""
    inputs.check_finite(high, "high")
    return high <= LOSSLESS


def percentiles(statistics: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the middle 95 % of `statistics` (n,): linear between neighbours."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(statistics, [tail, 1 - tail])
    return float(low), float(high)


def _draw(n: int, *, seed: int, resamples: int) -> NDArray[np.int64]:
    inputs.check_resamples(resamples)
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def _student(mean: float, scale: float, n: int) -> Interval:
    half = portable.t_975(n - 1) * scale
    return Interval(mean, mean - half, mean + half, n)


def _mean_and_spread(values: ArrayLike) -> tuple[float, float, int]:
    sample = inputs.sample(values, "values")
    if len(sample) < 2:
        raise ValueError("1 value has no spread; run at least 2 seeds")
    return portable.mean(sample), portable.spread(sample), len(sample)
