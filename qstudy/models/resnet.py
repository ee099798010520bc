"""CIFAR ResNets of depth 6n + 2 (He et al. 2015, section 4.2), ready for quantization.

Three stages of n basic blocks at widths 16, 32, 64. Two things differ from the paper
and are done for the quantizers' sake: every ReLU and every addition is a module of its
own (a module called twice can carry only one scale, and the export-based route refuses
it), and a block that changes shape has a 1x1 convolution on its shortcut, which is a
quantizable operation, in place of zero padding. Depth 8 has one block a stage and is
the ResNet-8 of MLPerf Tiny's size class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DEPTHS = (8, 14, 20, 32)


class Add(nn.Module):
    """Addition of two tensors of one shape, as a module that a quantizer can find."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn, plus the shortcut, then ReLU: (B, Cin, H, W) in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(self.add(y, self.shortcut(x)))


class ResNet(nn.Module):
    """(B, 3, 32, 32) float images in, (B, classes) logits out."""

    def __init__(self, depth: int, *, classes: int = 10) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"ResNet depth {depth} is not one of {DEPTHS}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        stages = []
        width = 16
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            stage = [BasicBlock(width, outputs, stride)]
            stage += [BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*stage))
            width = outputs
        self.stage1, self.stage2, self.stage3 = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(self.flatten(self.pool(x)))


def resnet(depth: int, *, classes: int = 10, seed: int = 0) -> ResNet:
    """A ResNet of `depth` with weights drawn from `seed`, the global RNG untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNet(depth, classes=classes)
