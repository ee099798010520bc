"""EfficientNet-Lite0, and its convolutions with their normalization, as trained.

It stands for the networks with depthwise convolutions, MobileNetV2's kind, whose
ImageNet weights can be had from a package registry (qstudy.data.weights). Tan and Le
2019; the Lite variant drops squeeze-and-excitation and swish so that it quantizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qstudy.models.mobilenet import InvertedResidual, normalised_conv

# Of the architecture, not of the file: every EfficientNet normalises with this epsilon.
EPSILON = 1e-3
# Expansion, output channels, blocks, stride of the first, depthwise kernel.
GROUPS = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, LAST = 32, 1280
# What a pixel from 0 to 255 is brought to: (x - PIXEL_MEAN) / PIXEL_DEVIATION.
PIXEL_MEAN, PIXEL_DEVIATION = 127.0, 128.0
_STEM_AND_HEAD = (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
_IN_BLOCK = (
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)


class EfficientNetLite0(nn.Module):
    """(B, 3, H, W) float images in, (B, classes) logits out; pixels (x - 127) / 128.

    Padding is the same on both sides. The published weights were trained with
    TensorFlow's, which is that where H and W are multiples of 32, plus 1.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(*normalised_conv(3, STEM, 3, 2, 1, epsilon=EPSILON))
        blocks, channels = [], STEM
        for expansion, outputs, count, stride, size in GROUPS:
            for block in range(count):
                blocks.append(
                    InvertedResidual(
                        channels,
                        outputs,
                        stride if block == 0 else 1,
                        expansion,
                        size=size,
                        epsilon=EPSILON,
                    )
                )
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        head = normalised_conv(channels, LAST, 1, 1, 1, epsilon=EPSILON)
        self.head = nn.Sequential(*head)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(LAST, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # keeps the size of what passes through
                nn.init.kaiming_normal_(module.weight, mode="fan_in")

    def features(self, x: Tensor) -> Tensor:
        """(B, LAST): what the last layer is given."""
        return self.flatten(self.pool(self.head(self.blocks(self.stem(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def efficientnet_lite0(*, classes: int = 1000, seed: int = 0) -> EfficientNetLite0:
    """An EfficientNetLite0, weights drawn from `seed`, the global RNG untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EfficientNetLite0(classes=classes)


def fill(model: EfficientNetLite0, state: Mapping[str, Tensor]) -> None:
    """Copy the published state dict into `model`, its last layer if it has ImageNet's.

    Raises ValueError where a tensor is missing or has another shape, naming it.
    """
    modules = list(model.modules())
    convs = [m for m in modules if isinstance(m, nn.Conv2d)]
    norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
    found = list(convolutions(state))
    if len(found) != len(convs):
        raise ValueError(
            f"the state dict has {len(found)} convolutions, EfficientNet-Lite0 "
            f"{len(convs)}: these are not its weights"
        )
    pairs: list[tuple[str, Tensor, Tensor]] = []
    for conv, norm, told in zip(convs, norms, found, strict=True):
        pairs += [
            (told.name, conv.weight, told.weight),
            (told.name, norm.weight, told.gamma),
            (told.name, norm.bias, told.beta),
            (told.name, norm.running_mean, told.mean),
            (told.name, norm.running_var, told.var),
        ]
    if len(model.fc.weight) == len(state.get("_fc.weight", ())):
        pairs += [
            ("fc", model.fc.weight, state["_fc.weight"]),
            ("fc", model.fc.bias, state["_fc.bias"]),
        ]
    for name, own, other in pairs:
        if own.shape != other.shape:
            raise ValueError(
                f"{name} has the shape {tuple(other.shape)} in the state dict and "
                f"{tuple(own.shape)} in EfficientNet-Lite0: these are not its weights"
            )
    with torch.no_grad():
        for _, own, other in pairs:
            own.copy_(other)


@dataclass(frozen=True, eq=False)
class NormalisedConv:
    """A weight (Cout, Cin/groups, kH, kW) and the (Cout,) vectors of its batch norm."""

    name: str
    weight: Tensor
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor


def convolutions(state: Mapping[str, Tensor]) -> Iterator[NormalisedConv]:
    """Every convolution of the state dict, stem first, head last.

    Raises ValueError where a tensor is missing, naming it.
    """
    blocks = sorted({int(k.split(".")[1]) for k in state if k.startswith("_blocks.")})
    pairs = [_STEM_AND_HEAD[0]]
    for block in blocks:
        for conv, bn in _IN_BLOCK:
            # The first block does not expand its input.
            if conv != "_expand_conv" or f"_blocks.{block}.{conv}.weight" in state:
                pairs.append((f"_blocks.{block}.{conv}", f"_blocks.{block}.{bn}"))
    pairs.append(_STEM_AND_HEAD[1])
    for conv, bn in pairs:
        try:
            yield NormalisedConv(
                name=conv.replace("_blocks", "blocks").replace("._", "."),
                weight=state[f"{conv}.weight"],
                gamma=state[f"{bn}.weight"],
                beta=state[f"{bn}.bias"],
                mean=state[f"{bn}.running_mean"],
                var=state[f"{bn}.running_var"],
            )
        except KeyError as error:
            raise ValueError(
                f"the state dict has no {error}: these are not EfficientNet-Lite0's "
                "weights"
            ) from error
