"""Run a statically quantized ResNet with this study's own integer arithmetic.

`read_integers` takes the codes, scales and zero points out of a network that
qstudy.methods.static has converted; `predict_codes` runs them from input codes to the
codes of the logits under one of two arithmetics. `FixedPoint` uses integers alone, as a
chip without floating point would. `EngineFloat32` requantizes in float32 by the rule of
one of torch's engines, and is held to agree with that engine to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from qstudy.methods.static import QuantizedResNet
from qstudy.numerics import elementwise, fixedpoint, integer, requantize
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.mapping import CodeRange, QParams, quantize

UINT8 = CodeRange(0, 255)


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A convolution (weight of four axes) or a linear layer (two), in integers.

    `weight` int8 codes, `weight_scale` float32 () or (C,), `bias` float32 (C,) or None.
    """

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None
    input: Affine
    output: Affine
    relu: bool
    stride: int = 1
    padding: int = 0

    def sums(self, x: Tensor) -> Tensor:
        """int32 sums of products for the input codes `x`."""
        if self.weight.dim() == 2:
            return integer.linear_sums(
                x, self.weight, input_zero_point=self.input.zero_point
            )
        return integer.conv2d_sums(
            x,
            self.weight,
            input_zero_point=self.input.zero_point,
            stride=self.stride,
            padding=self.padding,
        )


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


class Arithmetic(Protocol):
    """What lies between the sums of one layer and the codes of the next."""

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """uint8-valued int32 codes of the layer's output, ReLU included."""

    def add_relu(self, a: Tensor, b: Tensor, ends: tuple[Affine, ...]) -> Tensor:
        """Codes of relu(a + b); `ends` are the scales of a, b and the output."""

    def average(self, x: Tensor, affine: Affine) -> Tensor:
        """Codes of the mean over the last two axes, (N, C)."""


@dataclass(frozen=True)
class FixedPoint:
    """Integers alone: no float tensor from the input codes to the logits' codes."""

    rounding: str = "double"

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """As `Arithmetic.requantize`."""
        bias, mantissa, shift = fixed_point_parameters(layer, rounding=self.rounding)
        codes = requantize.requantize_fixed_point(
            sums,
            bias=bias,
            mantissa=mantissa,
            shift=shift,
            output_zero_point=layer.output.zero_point,
            codes=UINT8,
            rounding=self.rounding,
        )
        return _activated(codes, layer)

    def add_relu(self, a: Tensor, b: Tensor, ends: tuple[Affine, ...]) -> Tensor:
        """As `Arithmetic.add_relu`."""
        first, second, output = ends
        codes = elementwise.add_fixed_point(
            a,
            b,
            first=first,
            second=second,
            output=output,
            codes=UINT8,
            rounding=self.rounding,
        )
        return integer.clamp_relu(codes, zero_point=output.zero_point)

    def average(self, x: Tensor, affine: Affine) -> Tensor:
        """As `Arithmetic.average`."""
        sums = integer.window_sums(x, size=x.shape[-1], stride=1)
        return elementwise.average_fixed_point(
            sums, count=x.shape[-1] * x.shape[-2]
        ).flatten(1)


# What each of torch's engines does on x86, found by comparison: the requantization rule
# of convolutions, that of linear layers, the rule of addition, and whether the average
# of a contiguous tensor is rounded with its zero point. x86 hands convolutions to
# oneDNN and linear layers to FBGEMM.
ENGINE_RULES = {
    "fbgemm": ("scaled_bias", "scaled_bias", "fused", True),
    "x86": ("real_bias", "scaled_bias", "fused", True),
    "onednn": ("real_bias", "real_bias", "fused", True),
    "qnnpack": ("int32_bias_inverse", "int32_bias_inverse", "shifted_integers", False),
}


@dataclass(frozen=True)
class EngineFloat32:
    """Integer sums, then the engine's own float32 rule. ValueError for another name."""

    engine: str

    def __post_init__(self) -> None:
        if self.engine not in ENGINE_RULES:
            raise ValueError(
                f"engine {self.engine!r} is not one of {tuple(ENGINE_RULES)}"
            )

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """As `Arithmetic.requantize`."""
        conv, linear, _, _ = ENGINE_RULES[self.engine]
        codes = requantize.requantize_float32(
            sums,
            bias=layer.bias,
            input_scale=layer.input.scale,
            weight_scale=layer.weight_scale,
            output_scale=layer.output.scale,
            output_zero_point=layer.output.zero_point,
            codes=UINT8,
            rule=linear if layer.weight.dim() == 2 else conv,
        )
        return _activated(codes, layer)

    def add_relu(self, a: Tensor, b: Tensor, ends: tuple[Affine, ...]) -> Tensor:
        """As `Arithmetic.add_relu`."""
        first, second, output = ends
        codes = elementwise.add_float32(
            a,
            b,
            first=first,
            second=second,
            output=output,
            codes=UINT8,
            rule=ENGINE_RULES[self.engine][2],
        )
        return integer.clamp_relu(codes, zero_point=output.zero_point)

    def average(self, x: Tensor, affine: Affine) -> Tensor:
        """As `Arithmetic.average`."""
        return elementwise.average_float32(
            integer.window_sums(x, size=x.shape[-1], stride=1),
            count=x.shape[-1] * x.shape[-2],
            zero_point=affine.zero_point,
            zero_point_first=ENGINE_RULES[self.engine][3],
        ).flatten(1)


def fixed_point_parameters(
    layer: IntegerLayer, *, rounding: str
) -> tuple[Tensor | None, Tensor, Tensor]:
    """(int32 bias, int64 mantissas, int64 shifts) of a layer: computed beforehand.

    Raises ValueError where the bias overflows int32 at the layer's scales.
    """
    bias = None
    if layer.bias is not None:
        bias = requantize.quantize_bias(
            layer.bias, layer.input.scale, layer.weight_scale
        )
    multipliers = [
        fixedpoint.quantize_multiplier(
            layer.input.scale * scale / layer.output.scale, rounding=rounding
        )
        for scale in layer.weight_scale.flatten().tolist()
    ]
    shape = layer.weight_scale.shape
    mantissa = torch.tensor([m.mantissa for m in multipliers], dtype=torch.int64)
    shift = torch.tensor([m.shift for m in multipliers], dtype=torch.int64)
    return bias, mantissa.reshape(shape), shift.reshape(shape)


def read_integers(model: QuantizedResNet) -> IntegerResNet:
    """The integers of a network converted by qstudy.methods.static.quantize_static."""
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
    return quantize(images, qparams, invert=True)


def predict_codes(
    network: IntegerResNet, codes: Tensor, arithmetic: Arithmetic
) -> Tensor:
    """int32 codes of the logits, (N, classes), for input codes (N, 3, H, W)."""

    def apply(layer: IntegerLayer, x: Tensor) -> Tensor:
        return arithmetic.requantize(layer.sums(x), layer)

    x, before = apply(network.stem, codes), network.stem.output
    for block in network.blocks:
        y = apply(block.conv2, apply(block.conv1, x))
        side, side_affine = x, before
        if block.shortcut is not None:
            side, side_affine = apply(block.shortcut, x), block.shortcut.output
        ends = (block.conv2.output, side_affine, block.output)
        x, before = arithmetic.add_relu(y, side, ends), block.output
    return apply(network.fc, arithmetic.average(x, before))


def logits(network: IntegerResNet, codes: Tensor) -> Tensor:
    """float32 logits of their codes."""
    output = network.fc.output
    scale = torch.tensor(output.scale, dtype=torch.float32)
    return (codes - output.zero_point).float() * scale


def _activated(codes: Tensor, layer: IntegerLayer) -> Tensor:
    if not layer.relu:
        return codes
    return integer.clamp_relu(codes, zero_point=layer.output.zero_point)


def _affine(module: Any) -> Affine:
    return Affine(float(module.scale), int(module.zero_point))


def _layer(module: Any, before: Affine) -> IntegerLayer:
    weight, bias = module.weight(), module.bias()
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
