"""Ten classes of small generated images, for tests and smoke runs: no download, 3 MiB.

Each class has a pattern of 8x8 coloured tiles, drowned in noise, so that a small
network learns something within seconds. All arithmetic is on integers: the bytes are
the same on every machine.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

TRAIN_COUNT = 640
TEST_COUNT = 256
SEED = 10


def arrays() -> dict[str, np.ndarray]:
    """The four arrays, named and shaped as CIFAR-10's: 640 for training, 256 for test.

    uint8 images (N, 32, 32, 3), uint8 labels (N,), classes in equal parts (as far as
    256 is divisible). New arrays on each call.
    """
    rng = np.random.default_rng(SEED)
    tiles = rng.integers(-28, 29, size=(10, 8, 8, 3), dtype=np.int16)
    patterns = 128 + tiles.repeat(4, axis=1).repeat(4, axis=2)  # (10, 32, 32, 3)
    found = {}
    for part, count in (("train", TRAIN_COUNT), ("test", TEST_COUNT)):
        labels = rng.permutation(np.arange(count) % 10).astype(np.uint8)
        noise = rng.integers(-90, 91, size=(count, 32, 32, 3), dtype=np.int16)
        noisy = np.clip(patterns[labels] + noise, 0, 255)
        found[f"{part}_images"] = noisy.astype(np.uint8)
        found[f"{part}_labels"] = labels
    return found


@cache
def digests() -> dict[str, str]:
    """SHA-256 of each array's bytes, 64 digits, by the array's name."""
    return {name: hashlib.sha256(array).hexdigest() for name, array in arrays().items()}
