"""What several chapters do with one network: draw the images that calibrate it."""

from __future__ import annotations

import numpy as np


def calibration_batches(images: np.ndarray, *, count: int, draw: int) -> list:
    """`count` training images drawn without replacement, in batches of 64."""
    from qstudy.training.batches import normalise

    if not 1 <= count <= len(images):
        raise ValueError(f"calibration_images {count} is outside 1 to {len(images)}")
    chosen = np.random.default_rng((draw, 2022)).choice(
        len(images), size=count, replace=False
    )
    return [
        normalise(images[chosen[start : start + 64]]) for start in range(0, count, 64)
    ]
