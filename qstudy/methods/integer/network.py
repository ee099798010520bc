"""A statically quantized ResNet, run with this study's own integer arithmetic.

`read_integers` takes the codes, scales and zero points out of a network that
qstudy.methods.static has converted; `predict_codes` runs them from the codes of the
images to the codes of the logits under an arithmetic of integer_arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qstudy.methods.integer.arithmetic import UINT8, Arithmetic, IntegerLayer
from qstudy.methods.static import QuantizedResNet
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.mapping import QParams, quantize


@dataclass(frozen=True)
class IntegerBlock:
    """conv, conv, the shortcut (a convolution, or None for identity), their sum."""

    conv1: IntegerLayer
    conv2: IntegerLayer
    shortcut: IntegerLayer | None
    output: Affine


@dataclass(frozen=True)
class IntegerResNet:
    """All that a quantized ResNet consists of."""

    input: Affine
    stem: IntegerLayer
    blocks: tuple[IntegerBlock, ...]
    fc: IntegerLayer

    @property
    def layers(self) -> list[IntegerLayer]:
        """Every layer that has weights."""
        inner = [(b.conv1, b.conv2, b.shortcut) for b in self.blocks]
        found = [self.stem, *(layer for block in inner for layer in block), self.fc]
        return [layer for layer in found if layer is not None]


def read_integers(model: QuantizedResNet) -> IntegerResNet:
    """The integers of a network converted by qstudy.methods.static.quantize_static.

    Raises ValueError for what is no such network, or a convolution that IntegerLayer
    has no words for: groups, dilation, padding other than zeros, two strides.
    """
    if not isinstance(model, QuantizedResNet):
        raise ValueError(
            f"network {type(model).__name__} is not what static.quantize_static gives"
        )
    network = model.network
    start = _affine(model.quantize)
    stem = _layer(network.conv1, start)
    blocks, before = [], stem.output
    for stage in (network.stage1, network.stage2, network.stage3):
        for block in stage:
            conv1 = _layer(block.conv1, before)
            conv2 = _layer(block.conv2, conv1.output)
            identity = isinstance(block.shortcut, torch.nn.Identity)
            shortcut = None if identity else _layer(block.shortcut[0], before)
            before = _affine(block.add.op)
            blocks.append(IntegerBlock(conv1, conv2, shortcut, before))
    return IntegerResNet(start, stem, tuple(blocks), _layer(network.fc, before))


def input_codes(network: IntegerResNet, images: Tensor) -> Tensor:
    """int32 codes of float32 images (N, 3, H, W), as torch's own kernel rounds them."""
    qparams = QParams(
        torch.tensor(network.input.scale, dtype=torch.float32),
        torch.tensor(network.input.zero_point),
        UINT8,
    )
    return quantize(images, qparams, invert=True, zero_point_first=True)


def predict_codes(
    network: IntegerResNet,
    codes: Tensor,
    arithmetic: Arithmetic,
    *,
    observe: Callable[[Tensor], None] = lambda codes: None,
) -> Tensor:
    """int32 codes of the logits, (N, classes), for input codes (N, 3, H, W).

    `observe` is shown the codes after the stem, after each block and of the logits.
    """

    def apply(layer: IntegerLayer, x: Tensor) -> Tensor:
        return arithmetic.requantize(layer.sums(x), layer)

    x, before = apply(network.stem, codes), network.stem.output
    for block in network.blocks:
        observe(x)
        y = apply(block.conv2, apply(block.conv1, x))
        side, side_affine = x, before
        if block.shortcut is not None:
            side, side_affine = apply(block.shortcut, x), block.shortcut.output
        ends = (block.conv2.output, side_affine, block.output)
        x, before = arithmetic.add_relu(y, side, ends), block.output
    observe(x)
    x = apply(network.fc, arithmetic.average(x, before))
    observe(x)
    return x


def logits(network: IntegerResNet, codes: Tensor) -> Tensor:
    """float32 logits of their codes."""
    output = network.fc.output
    scale = torch.tensor(output.scale, dtype=torch.float32)
    return (codes - output.zero_point).float() * scale


def _affine(module: Any) -> Affine:
    return Affine(float(module.scale), int(module.zero_point))


def _layer(module: Any, before: Affine) -> IntegerLayer:
    weight, bias = module.weight(), module.bias()
    if weight.dim() == 4:
        check_convolution(module)
    per_channel = weight.qscheme() in (
        torch.per_channel_affine,
        torch.per_channel_symmetric,
    )
    scale = (
        weight.q_per_channel_scales()
        if per_channel
        else torch.tensor(weight.q_scale(), dtype=torch.float64)
    )
    return IntegerLayer(
        weight=weight.int_repr(),
        weight_scale=scale.float(),
        bias=None if bias is None else bias.detach(),
        input=before,
        output=_affine(module),
        relu="ReLU" in type(module).__name__,
        stride=module.stride[0] if weight.dim() == 4 else 1,
        padding=module.padding[0] if weight.dim() == 4 else 0,
    )


def check_convolution(module: Any) -> None:
    """ValueError for a convolution that IntegerLayer has no words for."""
    for name, allowed in (
        ("groups", 1),
        ("dilation", (1, 1)),
        ("padding_mode", "zeros"),
        ("stride", (module.stride[0],) * 2),
        ("padding", (module.padding[0],) * 2),
    ):
        value = getattr(module, name)
        if value != allowed:
            raise ValueError(f"a convolution has {name} {value!r}: {allowed!r} is read")
