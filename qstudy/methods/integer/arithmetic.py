"""Between the sums of one integer layer and the codes of the next: two arithmetics.

`FixedPoint` uses integers alone, as a chip without floating point would: no float
tensor exists between the input codes and the codes of the logits. `EngineFloat32`
requantizes in float32 by the rule of one of torch's engines (engine_rules).
`SideBySide` runs one and counts where another would have differed on the same input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from qstudy.methods.engines.rules import UINT8, average, rules_of
from qstudy.numerics import elementwise, fixedpoint, integer, requantize
from qstudy.numerics.elementwise import Affine


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


class Arithmetic(Protocol):
    """What lies between the sums of one layer and the codes of the next."""

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """uint8-valued int32 codes of the layer's output, ReLU included."""

    def add_relu(self, a: Tensor, b: Tensor, ends: tuple[Affine, ...]) -> Tensor:
        """Codes of relu(a + b); `ends` are the scales of a, b and the output."""

    def average(self, x: Tensor, affine: Affine) -> Tensor:
        """Codes of the mean over the last two axes, (N, C)."""


@dataclass(frozen=True, eq=False)
class FixedPointParameters:
    """A layer's int32 bias and int64 mantissas and shifts, () or (C,)."""

    bias: Tensor | None
    mantissa: Tensor
    shift: Tensor


@dataclass(frozen=True)
class FixedPoint:
    """Integers alone: no float tensor from the input codes to the logits' codes.

    `parameters` holds those of each layer, made beforehand by `of`.
    """

    rounding: str
    parameters: Mapping[IntegerLayer, FixedPointParameters]

    @classmethod
    def of(
        cls, layers: Iterable[IntegerLayer], *, rounding: str = "double"
    ) -> FixedPoint:
        """The arithmetic for `layers`: biases and multipliers become integers here.

        Raises ValueError for an unknown rounding, or where a bias overflows int32.
        """
        return cls(
            rounding,
            {
                layer: fixed_point_parameters(layer, rounding=rounding)
                for layer in layers
            },
        )

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """As `Arithmetic.requantize`; KeyError for a layer that `of` was not given."""
        parameters = self.parameters[layer]
        codes = requantize.requantize_fixed_point(
            sums,
            bias=parameters.bias,
            mantissa=parameters.mantissa,
            shift=parameters.shift,
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


@dataclass(frozen=True)
class EngineFloat32:
    """Integer sums, then the engine's own float32 rule. ValueError for another name."""

    engine: str

    def __post_init__(self) -> None:
        rules_of(self.engine)

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """As `Arithmetic.requantize`."""
        rules = rules_of(self.engine)
        codes = requantize.requantize_float32(
            sums,
            bias=layer.bias,
            input_scale=layer.input.scale,
            weight_scale=layer.weight_scale,
            output_scale=layer.output.scale,
            output_zero_point=layer.output.zero_point,
            codes=UINT8,
            rule=rules.linear if layer.weight.dim() == 2 else rules.conv2d,
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
            rule=rules_of(self.engine).add,
        )
        return integer.clamp_relu(codes, zero_point=output.zero_point)

    def average(self, x: Tensor, affine: Affine) -> Tensor:
        """As `Arithmetic.average`."""
        side = x.shape[-1]
        return average(x, affine, engine=self.engine, size=side, stride=1).flatten(1)


@dataclass(frozen=True)
class SideBySide:
    """`main` decides; `counts[step]` gathers how `other` does on the same inputs.

    Steps are requantize, add and average; counts are [off by one, by more, of all].
    """

    main: Arithmetic
    other: Arithmetic
    counts: dict[str, list[int]] = field(default_factory=dict)

    def requantize(self, sums: Tensor, layer: IntegerLayer) -> Tensor:
        """As `Arithmetic.requantize`."""
        return self._both("requantize", sums, layer)

    def add_relu(self, a: Tensor, b: Tensor, ends: tuple[Affine, ...]) -> Tensor:
        """As `Arithmetic.add_relu`."""
        return self._both("add_relu", a, b, ends)

    def average(self, x: Tensor, affine: Affine) -> Tensor:
        """As `Arithmetic.average`."""
        return self._both("average", x, affine)

    def _both(self, step: str, *inputs: object) -> Tensor:
        codes = getattr(self.main, step)(*inputs)
        off = (codes - getattr(self.other, step)(*inputs)).abs()
        found = [int((off == 1).sum()), int((off > 1).sum()), off.numel()]
        before = self.counts.get(step, [0, 0, 0])
        self.counts[step] = [a + b for a, b in zip(before, found, strict=True)]
        return codes


def fixed_point_parameters(
    layer: IntegerLayer, *, rounding: str
) -> FixedPointParameters:
    """The integers that stand for a layer's bias and multipliers.

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
    return FixedPointParameters(bias, mantissa.reshape(shape), shift.reshape(shape))


def _activated(codes: Tensor, layer: IntegerLayer) -> Tensor:
    if not layer.relu:
        return codes
    return integer.clamp_relu(codes, zero_point=layer.output.zero_point)
