"""Checks of what statistics are given; every ValueError is one line with the value."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sample(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """`values` as float64 of shape (n,); ValueError where empty or not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}; it must be (n,), n >= 1")
    if not np.isfinite(array).all():
        at = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{at}] is {array[at]}; all must be finite")
    return array


def positive(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """As `sample`, and ValueError where a value is not above 0."""
    array = sample(values, name)
    if array.min() <= 0:
        raise ValueError(f"{name} has {array.min()}; a time must be positive")
    return array


def outcomes(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """0/1 or bool `values` as int64 of shape (n,); ValueError for any other value."""
    array = sample(values, name)
    outside = array[(array != 0) & (array != 1)]
    if len(outside):
        raise ValueError(f"{name} has {outside[0]}; it must be 0 (wrong) or 1 (right)")
    return array.astype(np.int64)


def check_same_length(baseline: NDArray, candidate: NDArray) -> None:
    """ValueError where two vectors of shape (n,) are not of the same n."""
    if len(baseline) != len(candidate):
        raise ValueError(
            f"baseline has {len(baseline)} entries, candidate {len(candidate)}; a "
            "paired comparison needs both from the same units"
        )


def check_resamples(resamples: int) -> None:
    """ValueError for too few bootstrap draws to have 2.5 % tails."""
    if resamples < 100:
        raise ValueError(f"resamples {resamples} is below 100, too few for 2.5 % tails")


def check_finite(number: float, name: str) -> None:
    """ValueError for NaN or an infinity."""
    if not math.isfinite(number):
        raise ValueError(f"{name} {number!r} is not finite")


def check_ordered(low: float, high: float) -> None:
    """ValueError unless both are finite and low <= high."""
    check_finite(low, "low")
    check_finite(high, "high")
    if low > high:
        raise ValueError(f"low {low} is above high {high}; give the lower end first")
