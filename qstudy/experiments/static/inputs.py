"""Images of 32x32 for a network of photographs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from qstudy.models.efficientnet_lite import PIXEL_DEVIATION, PIXEL_MEAN
from qstudy.training.batches import CIFAR10_MEAN, CIFAR10_STD


def enlarge(x: Tensor, side: int) -> Tensor:
    """From what `normalise` gives to (B, 3, side, side) in EfficientNet-Lite's units.

    Bilinear, between the pixels' centres.
    """
    mean = 255 * torch.tensor(CIFAR10_MEAN).reshape(3, 1, 1)
    std = 255 * torch.tensor(CIFAR10_STD).reshape(3, 1, 1)
    pixels = (x * std + mean - PIXEL_MEAN) / PIXEL_DEVIATION
    return interpolate(pixels, size=side, mode="bilinear", align_corners=False)


class Enlarged(nn.Module):
    """`network` after `enlarge`: it takes what the networks for 32x32 take."""

    def __init__(self, network: Callable[[Tensor], Tensor], side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, x: Tensor) -> Tensor:
        return self.network(enlarge(x, self.side))
