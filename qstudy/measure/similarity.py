"""How alike two sets of embeddings are: cosines, and the ranks of their neighbours.

A rank turns on the last bit of a product where two products are nearly equal. So
products are exact: embeddings are taken as whole multiples of a power of two, whose
sums of products are whole numbers below 2^53, in whatever order BLAS adds them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qstudy.measure import portable


def agreement(base: ArrayLike, other: ArrayLike) -> dict[str, float]:
    """How alike the embeddings (n, width) of two forms of a network are; n >= 3.

    `cosine` is the mean over rows, `cosine_min` the worst; `rank_correlation` is
    Spearman's, of the cosines of all pairs of rows. What an embedding has beyond 24
    bits below its set's longest row is rounded away; float16 rows of length 1 lose
    nothing. ValueError for other shapes, a row without length, or values not finite.
    """
    a, b = _whole(base, "base"), _whole(other, "other")
    if a.shape != b.shape or len(a) < 3:
        raise ValueError(
            f"base {a.shape} and other {b.shape}: two of one shape (n, width), n >= 3, "
            "are needed"
        )
    cosines = (a * b).sum(1) / (_lengths(a) * _lengths(b))
    return {
        "cosine": portable.mean(cosines),
        "cosine_min": float(cosines.min()),
        "rank_correlation": rank_correlation(_pairs(a), _pairs(b)),
    }


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of x and y, both (n,); ties share their mean rank.

    ValueError where either is constant: it then has no order.
    """
    # Twice the centred rank is a whole number, also for ties.
    left, right = _doubled_ranks(x), _doubled_ranks(y)
    above = sum(map(int.__mul__, left, right))
    below = sum(r * r for r in left) * sum(r * r for r in right)
    if not below:
        raise ValueError("all values are equal: a constant has no ranks")
    # Scaled before the whole root, which then has more bits than a double.
    return above * 2**64 / math.isqrt(below << 128)


def _doubled_ranks(values: ArrayLike) -> list[int]:
    _, place, counts = np.unique(
        np.asarray(values, np.float64), return_inverse=True, return_counts=True
    )
    ends = np.cumsum(counts)
    # A group of ties from rank e - c + 1 to e has twice the mean rank 2e - c + 1.
    doubled = 2 * ends - counts + 1 - (len(place) + 1)
    return doubled[place].tolist()


def _whole(embeddings: ArrayLike, name: str) -> NDArray[np.float64]:
    """Whole numbers, as doubles, in proportion to `embeddings`: rows below 2^25."""
    array = np.asarray(embeddings, np.float64)
    if array.ndim != 2 or not np.isfinite(array).all() or not array.any(axis=1).all():
        raise ValueError(
            f"{name} {array.shape} must be finite rows (n, width), none of them zero"
        )
    longest = max(math.sqrt(math.fsum(x * x for x in row)) for row in array.tolist())
    # Rows below 2^25 long have products that sum, in any order, below 2^50.
    return np.rint(np.ldexp(array, 25 - math.frexp(longest)[1]))


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt((rows * rows).sum(1))


def _pairs(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosines of all pairs of rows."""
    lengths = _lengths(rows)
    cosines = (rows @ rows.T) / np.outer(lengths, lengths)
    return cosines[np.triu_indices(len(rows), k=1)]
