"""A network with learned steps in integers alone; what lies between layers is wide.

LSQ rounds what a layer reads and nothing else (Esser et al. 2020, arXiv 1902.08153,
section 2 and figure 1). Between two layers lie a normalization, additions and a ReLU,
on reals that no quantizer has seen. Here they are int32, in units of 2^-FRACTION:

    int8 codes x int8 codes -> int32 sums, x M_c + shift_c -> wide,
    + skip path -> wide, max(., 0) -> wide, x 2^-FRACTION / s, round, clip -> codes

with M_c = s_x s_w gamma_c / sigma_c 2^FRACTION as a mantissa and a shift for each
channel (qstudy.numerics.fixedpoint). Codes of 2 to 8 bits lie in int8 and uint8. A code
can differ from the simulated one only where the real was so close to a tie that the
rounding of a float32, or half of 2^-FRACTION, decides it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.fusion import bn_affine, per_channel
from qstudy.methods.integer.network import check_convolution
from qstudy.methods.integer.simulated import Look
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.methods.simulate.network import config_of
from qstudy.methods.simulate.ranges import layers, quantizers, rounded_weight
from qstudy.methods.simulate.traced import clamp_bounds, kind_of
from qstudy.numerics import fixedpoint
from qstudy.numerics.elementwise import average_fixed_point
from qstudy.numerics.integer import conv2d_sums, linear_sums
from qstudy.numerics.mapping import QParams, quantize

# As fine as the float32 of a value near 8, and room for values up to 2,048.
FRACTION = 20
ROUNDING = "single"


class WideNetwork(nn.Module):
    """The integers of a network simulated with LsqConfig, placement "inputs".

    Float images in, float logits out; `sources` are the paths of the quantizers whose
    codes it computes. All that is no integer is made into integers here. Raises
    ValueError for another network or placement, train mode, a quantizer without a step
    or with an offset, and by name for an operation that has no form here: groups,
    dilation, pooling but the mean of the whole image, concatenation.
    """

    def __init__(self, simulated: fx.GraphModule) -> None:
        super().__init__()
        config = config_of(simulated)
        if config.placement != "inputs":
            raise ValueError(
                f"placement {config.placement!r} rounds sums as engines do: "
                "methods.integer.simulated computes it; this is for 'inputs'"
            )
        if simulated.training:
            raise ValueError(
                "the simulated network is in train mode: call eval() first, so that "
                "its statistics are the ones it has learned"
            )
        rounded = layers(simulated)
        of_weights = {layer.weight_quantizer for layer in rounded.values()}
        self.steps = {
            path: _Step.of(quantizer)
            for path, quantizer in quantizers(simulated).items()
            if quantizer not in of_weights
        }
        self.sources = frozenset(self.steps)
        # Not a submodule: its parameters are the simulated network's own.
        self._simulated = (simulated,)
        self.layers = {
            str(node.target): _Layer.of(rounded[node.target], self._before(node))
            for node in simulated.graph.nodes
            if str(node.target) in rounded
        }

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, lambda path, codes: codes)

    def run(self, x: Tensor, look: Look) -> Tensor:
        """As `forward`; `look` is given each quantizer's path and int32 codes.

        What it returns are the codes that the network goes on with. Raises ValueError
        where a wide value would leave int32.
        """
        return self.wide_logits(x, look).float() * 2.0**-FRACTION

    def wide_logits(self, x: Tensor, look: Look) -> Tensor:
        """The logits as int64 (B, classes) that fit int32, in units of 2^-FRACTION."""
        (simulated,) = self._simulated
        modules = dict(simulated.named_modules())
        known: dict[fx.Node, Any] = {}
        for node in simulated.graph.nodes:
            if node.op == "output":
                return known[node.args[0]]
            if node.op == "placeholder":
                known[node] = x
                continue
            known[node] = self._computed(node, modules, known, look)
        raise ValueError("the graph has no output: pass what simulate returned")

    def _computed(
        self, node: fx.Node, modules: dict, known: dict[fx.Node, Any], look: Look
    ) -> Any:
        path, kind = str(node.target), kind_of(node, modules)
        if path in self.steps:
            step, real = self.steps[path], known[node.args[0]]
            first = node.args[0].op == "placeholder"
            codes = quantize(real, step.qparams) if first else step.of_wide(real)
            return look(path, codes)
        if path in self.layers:
            return self.layers[path].wide(known[node.args[0]])
        if kind == "add":
            a, b = (known[operand] for operand in node.args)
            return _wide(a + b, node.name)
        if kind == "clamp":
            ends = clamp_bounds(node, modules)
            low, high = (
                None if math.isinf(end) else round(end * 2**FRACTION) for end in ends
            )
            return known[node.args[0]].clamp(low, high)
        if kind == "average":
            return _mean(known[node.args[0]], modules.get(path), node.name)
        if kind in ("pass", "shape"):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.get)
            if node.op == "call_method":
                return getattr(args[0], path)(*args[1:], **kwargs)
            return modules.get(path, node.target)(*args, **kwargs)
        raise ValueError(f"{node.name!r} has no integer form here: {_KNOWN}")

    def _before(self, node: fx.Node) -> QParams:
        """What the codes that a layer reads stand for."""
        return self.steps[str(node.args[0].target)].qparams


@dataclass(frozen=True, eq=False)
class _Step:
    """One quantizer of an activation: from wide reals to codes."""

    qparams: QParams
    multiplier: fixedpoint.Multiplier

    @classmethod
    def of(cls, quantizer: FakeQuantize) -> _Step:
        made = quantizer.qparams()
        real = 2.0**-FRACTION / made.scale.item()
        return cls(made, fixedpoint.quantize_multiplier(real, rounding=ROUNDING))

    def of_wide(self, wide: Tensor) -> Tensor:
        """int32 codes, ties upwards."""
        steps = fixedpoint.multiply(
            wide, self.multiplier.mantissa, self.multiplier.shift, rounding=ROUNDING
        )
        codes, zero = self.qparams.codes, int(self.qparams.zero_point)
        return (steps + zero).clamp(codes.low, codes.high).to(torch.int32)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer with its normalization: codes to wide reals.

    `weight` int8 codes; `mantissa`, `shift` and `bias` int64, broadcasting against
    the sums.
    """

    weight: Tensor
    zero_point: int
    mantissa: Tensor
    shift: Tensor
    bias: Tensor
    window: dict[str, int]

    @classmethod
    def of(cls, layer: RoundedLayer | ConvBn2d, before: QParams) -> _Layer:
        inner = layer.conv if isinstance(layer, ConvBn2d) else layer.layer
        window: dict[str, int] = {}
        if isinstance(inner, nn.Conv2d):
            check_convolution(inner)
            window = {"stride": inner.stride[0], "padding": inner.padding[0]}
        qparams = layer.weight_quantizer.qparams()
        weight = quantize(rounded_weight(layer).float(), qparams).to(torch.int8)
        factor, bias = _affine(layer, inner)
        real = factor * qparams.scale.double() * before.scale.double() * 2.0**FRACTION
        multipliers = [
            fixedpoint.quantize_multiplier(r, rounding=ROUNDING) for r in real.tolist()
        ]
        wide = torch.round(bias * 2.0**FRACTION).to(torch.int64)
        fixedpoint.check_int32(wide, "a bias in wide units")
        mantissa, shift, bias = (
            per_channel(vector, inner.weight.dim(), axis=1)
            for vector in (
                torch.tensor([m.mantissa for m in multipliers]),
                torch.tensor([m.shift for m in multipliers]),
                wide,
            )
        )
        zero = int(before.zero_point)
        return cls(weight, zero, mantissa, shift, bias, window)

    def wide(self, codes: Tensor) -> Tensor:
        """int64 (B, C, ...) within int32."""
        sums = conv2d_sums if self.weight.dim() == 4 else linear_sums
        found = sums(
            codes, self.weight, input_zero_point=self.zero_point, **self.window
        )
        scaled = fixedpoint.multiply(
            found, self.mantissa, self.shift, rounding=ROUNDING
        )
        return _wide(scaled + self.bias, "a layer's result")


def _affine(layer: RoundedLayer | ConvBn2d, inner: nn.Module) -> tuple[Tensor, Tensor]:
    """What follows a sum of products, by channel: (factor, shift), float64 (C,)."""
    count, bias = len(inner.weight), inner.bias
    bias = torch.zeros(count) if bias is None else bias.detach()
    # Strategies that fold before they round have no normalization left to apply.
    if isinstance(layer, RoundedLayer) or layer.strategy != "none":
        if isinstance(layer, ConvBn2d):
            bias = layer.folded()[1]
        return torch.ones(count, dtype=torch.float64), bias.double()
    bn = layer.bn
    told = (bn.running_mean, bn.running_var, bn.weight, bn.bias)
    names = ("mean", "var", "gamma", "beta")
    known = {
        name: None if value is None else value.detach().double()
        for name, value in zip(names, told, strict=True)
    }
    return bn_affine(bias=bias.double(), eps=bn.eps, **known)


def _mean(wide: Tensor, pool: nn.Module | None, name: str) -> Tensor:
    """The mean of the whole image, (B, C, 1, 1)."""
    whole = isinstance(pool, nn.AdaptiveAvgPool2d)
    if not whole or pool.output_size not in (1, (1, 1)):
        raise ValueError(f"{name!r} has no integer form here: {_KNOWN}")
    count = wide.shape[-1] * wide.shape[-2]
    sums = wide.sum((-1, -2), keepdim=True)
    return average_fixed_point(sums, count=count).to(torch.int64)


def _wide(value: Tensor, told: str) -> Tensor:
    fixedpoint.check_int32(value, told)
    return value


_KNOWN = (
    "known are convolutions and linear layers, additions, clamps, and the mean of a "
    "whole image as nn.AdaptiveAvgPool2d(1)"
)
