"""The images on which activation ranges are observed, checked before they count."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def checked_batches(batches: Iterable[Tensor]) -> list[Tensor]:
    """`batches` as a list: float (B, 3, H, W) each, at least one image, all finite.

    Raises ValueError, one line that names the batch (from 1), where that is not so.
    """
    kept = list(batches)
    if not kept:
        raise ValueError("there are no calibration batches: give at least one image")
    for number, batch in enumerate(kept, start=1):
        if batch.dim() != 4 or batch.numel() == 0 or not batch.is_floating_point():
            raise ValueError(
                f"calibration batch {number} is {batch.dtype} of shape "
                f"{tuple(batch.shape)}: float (B, 3, H, W) with B at least 1 is needed"
            )
        # An observer keeps a NaN for good, and the network would answer at random.
        if not bool(torch.isfinite(batch).all()):
            raise ValueError(
                f"calibration batch {number} holds NaN or infinity: leave those "
                "images out"
            )
    return kept
