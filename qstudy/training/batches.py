"""Shuffled, cropped and flipped training batches, drawn from (seed, epoch) alone.

The whole of an epoch's randomness comes from a generator seeded by the run's seed and
the epoch's number, so a resumed run needs no random state to be saved: it draws what an
uninterrupted run would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


def normalise(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W), stored channels last.

    Pixels are scaled to 0..1 and standardised with CIFAR-10's training mean and
    deviation.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"images of dtype {images.dtype} and shape {images.shape}: "
            "uint8 of shape (N, H, W, 3) is needed"
        )
    mean = torch.tensor(CIFAR10_MEAN) * 255.0
    scale = 1.0 / (torch.tensor(CIFAR10_STD) * 255.0)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float()
    return ((pixels - mean) * scale).permute(0, 3, 1, 2)


def augmented_batches(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch: int,
    crop_padding: int,
    flip: bool,
    seed: int,
    epoch: int,
    alternate_flip: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (images, labels): float32 (B, 3, H, W), int64 (B,).

    The last, shorter batch is dropped, so that every step has one shape. Crop and flip
    are one gather from the padded bytes: a flipped crop reads its columns backwards.
    """
    count, height, width, _ = images.shape
    if count < batch:
        raise ValueError(f"{count} images do not fill one batch of {batch}")
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(count)
    offsets = rng.integers(0, 2 * crop_padding + 1, size=(count, 2))
    flipped = rng.random(count) < 0.5 if flip else np.zeros(count, dtype=bool)
    if flip and alternate_flip:
        # The first epoch's flips, drawn again, and all turned over in odd epochs.
        first = np.random.default_rng((seed, 0, 1)).random(count) < 0.5
        flipped = first ^ (epoch % 2 == 1)

    # The border holds the mean colour, which standardisation maps to about zero.
    padded = np.empty(
        (count, height + 2 * crop_padding, width + 2 * crop_padding, 3), np.uint8
    )
    padded[:] = np.round(np.array(CIFAR10_MEAN) * 255.0).astype(np.uint8)
    inside = slice(crop_padding, crop_padding + height)
    across = slice(crop_padding, crop_padding + width)
    padded[:, inside, across] = images

    down = np.arange(height)
    right = np.arange(width)
    for start in range(0, count - batch + 1, batch):
        chosen = order[start : start + batch]
        rows = offsets[chosen, :1] + down  # (B, H)
        columns = np.where(flipped[chosen, None], right[::-1], right)
        columns = columns + offsets[chosen, 1:]  # (B, W)
        crops = padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        yield normalise(crops), torch.from_numpy(labels[chosen].astype(np.int64))
