"""Figures over texts, not over the words or passages in them.

Words of one text are alike, so the text is the unit that is drawn: a percentile
bootstrap over texts, within each genre (stratified), of a ratio of sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qstudy.measure import inputs
from qstudy.measure.statistics import LEVEL, RESAMPLES, Interval


def by_text(
    amounts: ArrayLike,
    counts: ArrayLike,
    strata: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Sum of `amounts` over sum of `counts`, (texts,) each, with its interval.

    Amounts may be differences of two candidates on the same text, which makes the
    comparison paired. `strata` names each text's genre; as many texts of each genre are
    drawn as there are. n counts texts. Raises ValueError for lengths that differ, no
    texts, counts that are not positive, or amounts that are not finite.
    """
    amount = np.asarray(amounts, np.float64)
    count = np.asarray(counts, np.float64)
    group = np.asarray(strata)
    if not (amount.ndim == 1 and amount.shape == count.shape == group.shape):
        raise ValueError(
            f"amounts {amount.shape}, counts {count.shape} and strata {group.shape}: "
            "one of each a text, shape (n,), is needed"
        )
    if not len(amount) or not (count > 0).all() or not np.isfinite(amount).all():
        raise ValueError("every text needs a positive count and a finite amount")
    ratios = _resampled(amount, count, group, seed=seed, resamples=resamples)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(
        float(amount.sum() / count.sum()), float(low), float(high), len(count)
    )


def _resampled(
    amount: NDArray, count: NDArray, group: NDArray, *, seed: int, resamples: int
) -> NDArray[np.float64]:
    inputs.check_resamples(resamples)
    rng = np.random.default_rng(seed)
    above, below = np.zeros(resamples), np.zeros(resamples)
    for name in np.unique(group):
        members = np.flatnonzero(group == name)
        drawn = members[rng.integers(len(members), size=(resamples, len(members)))]
        above += amount[drawn].sum(1)
        below += count[drawn].sum(1)
    return above / below


def per_text(values: ArrayLike, owner: ArrayLike, *, texts: int) -> NDArray[np.float64]:
    """The sum of `values` (n,) over each text's members: float64 (texts,)."""
    return np.bincount(
        np.asarray(owner), weights=np.asarray(values, np.float64), minlength=texts
    )
