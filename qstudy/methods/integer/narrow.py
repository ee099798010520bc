"""One layer on integers alone, each tensor in the narrowest type that holds it.

    uint8 codes x int8 weight -> int32 sums, + int32 bias -> int32,
    x M (int32 mantissa, int8 shift) -> int32, + zero point, clamp -> uint8 codes

This is figure 1.1a of Jacob et al. 2018 with signed weights. `FixedPoint` of
qstudy.methods.integer.arithmetic computes the same codes in wider tensors, where
nothing can wrap unseen; here the types say how many bits a chip would need.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qstudy.methods.engines.rules import UINT8
from qstudy.methods.integer.arithmetic import IntegerLayer, fixed_point_parameters
from qstudy.numerics import fixedpoint
from qstudy.numerics.integer import conv2d_sums, linear_sums


class NarrowLayer(nn.Module):
    """uint8 codes (N, Cin, H, W) or (N, K) to the uint8 codes of `layer`'s output.

    Buffers: `weight` int8, `bias` int32 (C,), `mantissa` int32 and `shift` int8, ()
    or (C,). Raises ValueError where the bias overflows int32 at the layer's scales;
    a layer without bias has one of zeros.
    """

    weight: Tensor
    bias: Tensor
    mantissa: Tensor
    shift: Tensor

    def __init__(self, layer: IntegerLayer, *, rounding: str = "double") -> None:
        super().__init__()
        made = fixed_point_parameters(layer, rounding=rounding)
        bias = made.bias
        if bias is None:
            bias = torch.zeros(len(layer.weight), dtype=torch.int32)
        # Channels stand on axis 1 of the sums.
        axes = (-1, *[1] * (layer.weight.dim() - 2))
        self.register_buffer("weight", layer.weight)
        self.register_buffer("bias", bias.reshape(axes))
        for name in ("mantissa", "shift"):
            value = getattr(made, name)
            value = value if value.dim() == 0 else value.reshape(axes)
            narrow = torch.int32 if name == "mantissa" else torch.int8
            self.register_buffer(name, value.to(narrow))
        self.rounding = rounding
        self.convolution = layer.weight.dim() == 4
        self.window = {"stride": layer.stride, "padding": layer.padding}
        self.input_zero_point = layer.input.zero_point
        self.zero_point = layer.output.zero_point
        self.least = self.zero_point if layer.relu else UINT8.low

    def forward(self, codes: Tensor) -> Tensor:
        if self.convolution:
            sums = conv2d_sums(
                codes,
                self.weight,
                input_zero_point=self.input_zero_point,
                **self.window,
            )
        else:
            sums = linear_sums(
                codes, self.weight, input_zero_point=self.input_zero_point
            )
        total = add_bias(sums, self.bias)
        scaled = multiply(total, self.mantissa, self.shift, rounding=self.rounding)
        return clamp_to_codes(scaled, zero_point=self.zero_point, least=self.least)


def add_bias(sums: Tensor, bias: Tensor) -> Tensor:
    """int32 sums plus int32 bias, int32; ValueError where that would wrap."""
    fixedpoint.check_int32(
        sums.to(torch.int64) + bias.to(torch.int64), "a sum with its bias"
    )
    return sums + bias


def multiply(
    total: Tensor, mantissa: Tensor, shift: Tensor, *, rounding: str
) -> Tensor:
    """int32 `total` times M, int32: fixedpoint.multiply, whose product fits int32."""
    product = fixedpoint.multiply(total, mantissa, shift, rounding=rounding)
    fixedpoint.check_int32(product, "a sum times its multiplier")
    return product.to(torch.int32)


def clamp_to_codes(scaled: Tensor, *, zero_point: int, least: int) -> Tensor:
    """uint8 codes `least` to 255 of int32 values without their zero point.

    The code of 0 as `least` makes it a ReLU as well. The sum is taken in 64 bits.
    """
    moved = scaled.to(torch.int64) + zero_point
    return moved.clamp(least, UINT8.high).to(torch.uint8)
