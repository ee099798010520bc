"""torch.ao's quantized modules for the layers and sums of a simulated network.

Their weights are the codes that the network trained with, their output is rounded by
the scale and zero point of the fake-quantizer behind them. qstudy.methods.convert puts
them together.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from qstudy.methods import legacy
from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fusion import bn_affine
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.methods.simulate.ranges import rounded_weight
from qstudy.numerics.mapping import CodeRange, QParams, quantize

UINT8, INT8 = CodeRange(0, 255), CodeRange(-128, 127)


class QuantizedAdd(nn.Module):
    """a + b, or relu(a + b), as one operation on codes."""

    def __init__(self, qparams: QParams, *, relu: bool) -> None:
        super().__init__()
        self.op = _scaled(legacy.quantized_modules().QFunctional(), qparams)
        self.relu = relu

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.op.add_relu(a, b) if self.relu else self.op.add(a, b)


class QuantizedCat(nn.Module):
    """Tensors of codes, each brought to one scale, side by side along `dim`."""

    def __init__(self, qparams: QParams, *, dim: int) -> None:
        super().__init__()
        self.op = _scaled(legacy.quantized_modules().QFunctional(), qparams)
        self.dim = dim

    def forward(self, *parts: Tensor) -> Tensor:
        return self.op.cat(list(parts), dim=self.dim)


def quantized_layer(
    layer: RoundedLayer | ConvBn2d, qparams: QParams, *, relu: bool
) -> nn.Module:
    """torch.ao's quantized module for a layer, its output rounded by `qparams`."""
    plain, fused = legacy.quantized_modules(), legacy.fused_quantized_modules()
    codes, scale, bias = integer_weight(layer)
    weight = _packed(codes, scale)
    old = layer.layer if isinstance(layer, RoundedLayer) else layer.conv
    if isinstance(old, nn.Linear):
        kind = fused.LinearReLU if relu else plain.Linear
        made = kind(old.in_features, old.out_features)
    else:
        kind = fused.ConvReLU2d if relu else plain.Conv2d
        made = kind(
            old.in_channels,
            old.out_channels,
            old.kernel_size,
            old.stride,
            _padding(old),
            old.dilation,
            old.groups,
            padding_mode=old.padding_mode,
        )
    made.set_weight_bias(weight, bias)
    return _scaled(made, qparams)


def integer_weight(
    layer: RoundedLayer | ConvBn2d,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(int8 codes, float32 scale () or (Cout,), float32 bias or None) of a layer.

    The strategy "none" rounds before it folds: what it has folded are the codes of the
    unfolded weight at a scale times |s|, negated where s is negative; -128 becomes 127.
    """
    qparams = layer.weight_quantizer.qparams()
    weight = rounded_weight(layer)
    codes = quantize(weight.float(), qparams, invert=True)
    if isinstance(layer, RoundedLayer):
        bias = layer.layer.bias
        bias = None if bias is None else bias.detach().float()
        return codes.to(torch.int8), qparams.scale.float(), bias
    bias = layer.folded()[1].float()
    if layer.strategy != "none":
        return codes.to(torch.int8), qparams.scale.float(), bias
    bn = layer.bn
    factor, _ = bn_affine(
        bias=None,
        mean=bn.running_mean,
        var=bn.running_var,
        gamma=bn.weight,
        beta=bn.bias,
        eps=bn.eps,
    )
    factor = factor.detach().float()
    codes = codes * torch.sign(factor).to(codes.dtype).reshape(-1, 1, 1, 1)
    scale = (qparams.scale.float() * factor.abs()).clamp(
        min=torch.finfo(torch.float32).tiny
    )
    return codes.clamp(INT8.low, INT8.high).to(torch.int8), scale, bias


def _packed(codes: Tensor, scale: Tensor) -> Tensor:
    if scale.dim() == 0:
        return torch._make_per_tensor_quantized_tensor(codes, scale.item(), 0)
    zero = torch.zeros(len(scale), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(codes, scale.double(), zero, 0)


def _scaled(module: Any, qparams: QParams) -> Any:
    module.scale = qparams.scale.item()
    module.zero_point = int(qparams.zero_point)
    return module


def quantize_module(qparams: QParams) -> nn.Module:
    """What turns floats into codes from 0 to 255."""
    kind = legacy.quantized_modules().Quantize
    return kind(qparams.scale.item(), int(qparams.zero_point), torch.quint8)


def saturates(qparams: QParams, bounds: tuple[float, float]) -> bool:
    """Whether clipping codes to 0..255, after a ReLU if there is one, is the clamp."""
    scale, zero = qparams.scale.item(), int(qparams.zero_point)
    low, high = bounds
    below = low in (-math.inf, 0.0) or round(low / scale) + zero <= UINT8.low
    return below and (high == math.inf or round(high / scale) + zero >= UINT8.high)


def _padding(conv: nn.Conv2d) -> tuple[int, ...]:
    """`padding` in numbers, the same on both sides."""
    if not isinstance(conv.padding, str):
        return conv.padding
    if conv.padding == "valid":
        return (0, 0)
    total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if any(t % 2 for t in total):
        raise ValueError(
            f"padding 'same' of a kernel of size {conv.kernel_size} is longer on one "
            "side, which no engine offers: pad in a way that is even"
        )
    return tuple(t // 2 for t in total)
