"""Which images belong to a split: one fixed permutation, a tenth of it held out.

Every choice is made on `validation`; the test set chooses nothing.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

SPLITS = ("train", "train45k", "validation", "test")
SEED = 45_000  # fixed for good: another seed is another study


def indices(count: int, split: str) -> np.ndarray:
    """The members of a part of `count` training images, ascending: int64 (M,).

    `validation` is the last tenth of a permutation of `count` by NumPy's default
    generator, `train45k` the rest (45,000 of CIFAR-10's 50,000). Raises ValueError for
    any other name: train and test are whole.
    """
    if split not in ("train45k", "validation"):
        raise ValueError(f"split {split!r} is not a part: train45k or validation is")
    order = np.random.default_rng(SEED).permutation(count)
    kept = count - count // 10
    return np.sort(order[:kept] if split == "train45k" else order[kept:])


@lru_cache
def indices_sha256(count: int, split: str) -> str:
    """SHA-256 of `indices(count, split)` as little-endian int64, 64 digits."""
    return hashlib.sha256(indices(count, split).astype("<i8")).hexdigest()
