"""Figures over texts, not over the words or passages in them.

Words of one text are alike, so the text is the unit that is drawn: a percentile
bootstrap over texts, within each genre (stratified), of a ratio of sums. Sums are
exact, see `portable`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qstudy.measure import inputs, portable
from qstudy.measure.statistics import RESAMPLES, Interval, percentiles


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
    drawn = _drawn(tuple(group.tolist()), seed, resamples)
    above, places = portable.whole_multiples(amount, terms=len(amount))
    below, more = portable.whole_multiples(count, terms=len(count))
    # Whole numbers have one sum in any order; the quotient is rounded once.
    ratios = np.ldexp((drawn @ above) / (drawn @ below), more - places)
    low, high = percentiles(ratios)
    return Interval(math.fsum(amount) / math.fsum(count), low, high, len(count))


@lru_cache(maxsize=4)
def _drawn(strata: tuple, seed: int, resamples: int) -> NDArray[np.int64]:
    """How often each draw of texts has each text: (resamples, texts)."""
    inputs.check_resamples(resamples)
    rng, group = np.random.default_rng(seed), np.array(strata)
    times = np.zeros((resamples, len(group)), np.int64)
    rows = np.arange(resamples)[:, None]
    for name in np.unique(group):
        members = np.flatnonzero(group == name)
        drawn = members[rng.integers(len(members), size=(resamples, len(members)))]
        np.add.at(times, (rows, drawn), 1)
    return times


def per_text(values: ArrayLike, owner: ArrayLike, *, texts: int) -> NDArray[np.float64]:
    """The sum of `values` (n,) over each text's members: float64 (texts,)."""
    return np.bincount(
        np.asarray(owner), weights=np.asarray(values, np.float64), minlength=texts
    )
