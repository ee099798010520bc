"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for images of 32x32.

The blocks are those of the paper's table 2, at a width of one's choice. Images of 32x32
would shrink to one pixel, so the first convolution and the second group of blocks keep
their resolution, which leaves 4x4 before the pooling. As in the ResNets, every ReLU6
and every addition is a module of its own. Depthwise convolutions, whose channels differ
widely in range, make it the hard case for one scale per tensor.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from qstudy.models.resnet import Add

# Expansion, output channels at width 1, blocks, stride of the first of them.
GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
WIDTHS = (0.1, 2.0)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise, 1x1 projection without ReLU: (B, Cin, H, W) in.

    Where the shape stays the same the input is added. `size` is that of the depthwise
    kernel, `epsilon` of every normalization.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        expansion: int,
        *,
        size: int = 3,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        conv = partial(normalised_conv, epsilon=epsilon)
        layers = [] if expansion == 1 else conv(inputs, hidden, 1, 1, 1)
        layers += conv(hidden, hidden, size, stride, hidden)
        layers += conv(hidden, outputs, 1, 1, 1)[:2]
        self.layers = nn.Sequential(*layers)
        self.add = Add() if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return y if self.add is None else self.add(x, y)


class MobileNetV2(nn.Module):
    """(B, 3, 32, 32) float images in, (B, classes) logits out.

    `width` multiplies every number of channels, which is then rounded to a multiple of
    8 but not below nine tenths, as in the authors' code; the last convolution has at
    least 1280. Raises ValueError for a width outside WIDTHS.
    """

    def __init__(self, *, width: float = 0.25, classes: int = 10) -> None:
        super().__init__()
        least, most = WIDTHS
        if not least <= width <= most:
            raise ValueError(f"width {width} is outside {least} to {most}")
        channels = _scaled(32, width)
        self.stem = nn.Sequential(*normalised_conv(3, channels, 3, 1, 1))
        blocks = []
        for expansion, outputs, count, stride in GROUPS:
            outputs = _scaled(outputs, width)
            for block in range(count):
                step = stride if block == 0 else 1
                blocks.append(InvertedResidual(channels, outputs, step, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        last = _scaled(1280, max(1.0, width))
        self.head = nn.Sequential(*normalised_conv(channels, last, 1, 1, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.fc(self.flatten(self.pool(x)))


def mobilenetv2_32(
    *, width: float = 0.25, classes: int = 10, seed: int = 0
) -> MobileNetV2:
    """A MobileNetV2 with weights drawn from `seed`, the global RNG untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MobileNetV2(width=width, classes=classes)


def normalised_conv(
    inputs: int,
    outputs: int,
    size: int,
    stride: int,
    groups: int,
    *,
    epsilon: float = 1e-5,
) -> list[nn.Module]:
    """A convolution without bias that keeps the resolution but for its stride, its
    batch normalization, ReLU6."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=epsilon),
        nn.ReLU6(),
    ]


def _scaled(channels: int, width: float) -> int:
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
