"""A simulated network computed in integers, at every width that it was trained for.

No engine here has kernels below 8 bits, so that what a network of 4 bits would answer
in integers is computed by this study's own: the codes of each layer are those that the
network trained with, the sums are exact, and what lies between the sums of one layer
and the codes of the next is one of two arithmetics:

| arithmetic | bias | to the next scale |
|---|---|---|
| fixed_point | int32 at the scale s_x s_w | a multiplier and a shift |
| float32 | as trained | float32, FBGEMM's rule |

The first uses integers alone, as Jacob et al. 2018 (arXiv 1712.05877, section 2.2) do.
They differ where s_x s_w is coarse beside the step of the result: a rounded bias is off
by up to half of s_x s_w, which at 4 bits is no longer small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.integer.arithmetic import IntegerLayer, fixed_point_parameters
from qstudy.methods.integer.network import check_convolution
from qstudy.methods.quantized_modules import integer_weight
from qstudy.methods.simulate.layers import RoundedLayer, SameScale
from qstudy.methods.simulate.network import config_of
from qstudy.methods.simulate.ranges import quantizers
from qstudy.methods.simulate.traced import clamp_bounds, kind_of
from qstudy.numerics import elementwise, fixedpoint, requantize
from qstudy.numerics.elementwise import Affine
from qstudy.numerics.mapping import CodeRange, quantize

ARITHMETICS = ("fixed_point", "float32")
# Two roundings, as in gemmlowp, would come twice as far from the simulated codes.
ROUNDING = "single"
Look = Callable[[str, Tensor], Tensor]


class IntegerNetwork(nn.Module):
    """The integers of a simulated network; float images in, float logits out.

    `sources` are the paths of the quantizers whose codes it computes. Raises ValueError
    for a network that simulate did not make, train mode, an unknown arithmetic, a
    quantizer without a range, and by name for an operation that has no integer form
    here: groups, dilation, pooling but the mean of the whole image, concatenation.
    """

    def __init__(self, simulated: fx.GraphModule, *, arithmetic: str) -> None:
        super().__init__()
        config_of(simulated)
        if arithmetic not in ARITHMETICS:
            raise ValueError(f"arithmetic {arithmetic!r} is not one of {ARITHMETICS}")
        if simulated.training:
            raise ValueError(
                "the simulated network is in train mode: call eval() first, so that "
                "its statistics are the ones it has learned"
            )
        for quantizer in quantizers(simulated).values():
            quantizer.qparams()  # refuses what has no range
        # Not a submodule: its parameters are the simulated network's own.
        self._simulated = (simulated,)
        self.arithmetic = arithmetic
        self.layers: dict[tuple[str, Affine], IntegerLayer] = {}
        self.fixed: dict[IntegerLayer, Any] = {}
        self.sources = frozenset(
            str(node.target)
            for node in simulated.graph.nodes
            if node.op == "call_module"
            and isinstance(
                simulated.get_submodule(node.target), FakeQuantize | SameScale
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, lambda path, codes: codes)

    def run(self, x: Tensor, look: Look) -> Tensor:
        """As `forward`; `look` is given each quantizer's path and int32 codes.

        What it returns are the codes that the network goes on with.
        """
        return _Run(self, self._simulated[0], look).logits(x)

    def layer(
        self, path: str, old: RoundedLayer | ConvBn2d, before: Affine
    ) -> IntegerLayer:
        """The integers of a layer whose input has the scale `before`, read once."""
        if (path, before) not in self.layers:
            codes, scale, bias = integer_weight(old)
            inner = old.layer if isinstance(old, RoundedLayer) else old.conv
            conv = isinstance(inner, nn.Conv2d)
            if conv:
                check_convolution(inner)
            self.layers[path, before] = IntegerLayer(
                weight=codes,
                weight_scale=scale,
                bias=bias,
                input=before,
                output=Affine(1.0, 0),  # who reads its sums decides
                relu=False,
                stride=inner.stride[0] if conv else 1,
                padding=inner.padding[0] if conv else 0,
            )
        return self.layers[path, before]


class _Codes:
    """Codes with what they stand for."""

    def __init__(self, codes: Tensor, affine: Affine) -> None:
        self.codes, self.affine = codes, affine


class _Run:
    """One pass through the graph: layers and additions wait for their quantizer."""

    def __init__(
        self, network: IntegerNetwork, simulated: fx.GraphModule, look: Look
    ) -> None:
        self.network, self.graph, self.look = network, simulated.graph, look
        self.modules = dict(simulated.named_modules())
        self.fixed = network.arithmetic == "fixed_point"
        self.known: dict[fx.Node, Any] = {}

    def logits(self, x: Tensor) -> Tensor:
        for node in self.graph.nodes:
            module = self._module(node)
            if node.op == "placeholder":
                self.known[node] = x
            elif node.op == "output":
                found = self.known[node.args[0]]
                scale = torch.tensor(found.affine.scale, dtype=torch.float32)
                return (found.codes - found.affine.zero_point).float() * scale
            elif isinstance(module, FakeQuantize | SameScale):
                found = self._rounded(node, module)
                found.codes = self.look(str(node.target), found.codes)
                self.known[node] = found
            elif kind_of(node, self.modules) in ("pass", "shape"):
                self.known[node] = self._moved(node, module)
        raise ValueError("the graph has no output: pass what simulate returned")

    def _rounded(self, node: fx.Node, module: FakeQuantize | SameScale) -> _Codes:
        source, bounds = node.args[0], (-math.inf, math.inf)
        if isinstance(module, SameScale):
            return self._average(source)
        if kind_of(source, self.modules) == "clamp":
            bounds = clamp_bounds(source, self.modules)
            source = source.args[0]
        q = module.qparams()
        end = Affine(q.scale.item(), int(q.zero_point))
        inner = self._module(source)
        if source.op == "placeholder":
            codes = quantize(self.known[source], q, invert=True)
        elif isinstance(inner, RoundedLayer | ConvBn2d):
            codes = self._layer(source, inner, end, q.codes)
        elif source in self.known:
            codes = self._narrowed(self.known[source], end, q.codes)
        elif kind_of(source, self.modules) == "add":
            codes = self._sum(source, end, q.codes)
        else:
            raise ValueError(f"{source.name!r} has no integer form here: {_KNOWN}")
        low, high = (
            None if math.isinf(b) else round(b / end.scale) + end.zero_point
            for b in bounds
        )
        if (low, high) != (None, None):
            codes = codes.clamp(low, high)
        return _Codes(codes, end)

    def _layer(
        self,
        node: fx.Node,
        old: RoundedLayer | ConvBn2d,
        end: Affine,
        codes: CodeRange,
    ) -> Tensor:
        before = self.known[node.args[0]]
        layer = self.network.layer(str(node.target), old, before.affine)
        sums = layer.sums(before.codes)
        if not self.fixed:
            return requantize.requantize_float32(
                sums,
                bias=layer.bias,
                input_scale=before.affine.scale,
                weight_scale=layer.weight_scale,
                output_scale=end.scale,
                output_zero_point=end.zero_point,
                codes=codes,
                rule="scaled_bias",
            )
        if layer not in self.network.fixed:
            to = IntegerLayer(**{**vars(layer), "output": end})
            self.network.fixed[layer] = fixed_point_parameters(to, rounding=ROUNDING)
        parameters = self.network.fixed[layer]
        return requantize.requantize_fixed_point(
            sums,
            bias=parameters.bias,
            mantissa=parameters.mantissa,
            shift=parameters.shift,
            output_zero_point=end.zero_point,
            codes=codes,
            rounding=ROUNDING,
        )

    def _narrowed(self, before: _Codes, end: Affine, codes: CodeRange) -> Tensor:
        """Codes at the scale of a second rounding."""
        steps = before.codes - before.affine.zero_point
        if self.fixed:
            m = fixedpoint.quantize_multiplier(
                before.affine.scale / end.scale, rounding=ROUNDING
            )
            return requantize.requantize_fixed_point(
                steps,
                bias=None,
                mantissa=torch.tensor(m.mantissa),
                shift=torch.tensor(m.shift),
                output_zero_point=end.zero_point,
                codes=codes,
                rounding=ROUNDING,
            )
        return requantize.requantize_float32(
            steps,
            bias=None,
            input_scale=before.affine.scale,
            weight_scale=torch.tensor(1.0),
            output_scale=end.scale,
            output_zero_point=end.zero_point,
            codes=codes,
            rule="scaled_bias",
        )

    def _sum(self, node: fx.Node, end: Affine, codes: CodeRange) -> Tensor:
        a, b = (self.known[operand] for operand in node.args)
        add = elementwise.add_fixed_point
        how = {"rounding": ROUNDING}
        if not self.fixed:
            add, how = elementwise.add_float32, {"rule": "fused"}
        ends = {"first": a.affine, "second": b.affine, "output": end}
        return add(a.codes, b.codes, codes=codes, **ends, **how)

    def _average(self, node: fx.Node) -> _Codes:
        pool = self._module(node)
        whole = isinstance(pool, nn.AdaptiveAvgPool2d)
        if not whole or pool.output_size not in (1, (1, 1)):
            raise ValueError(f"{node.name!r} has no integer form here: {_KNOWN}")
        before = self.known[node.args[0]]
        count = before.codes.shape[-1] * before.codes.shape[-2]
        sums = before.codes.to(torch.int64).sum((-1, -2), keepdim=True)
        if self.fixed:
            codes = elementwise.average_fixed_point(sums, count=count)
        else:
            codes = elementwise.average_float32(
                sums,
                count=count,
                zero_point=before.affine.zero_point,
                zero_point_first=True,
            )
        return _Codes(codes, before.affine)

    def _moved(self, node: fx.Node, module: nn.Module | None) -> Any:
        """What moves codes and computes none; of a shape, the shape."""

        def given(value: Any) -> Any:
            found = self.known[value]
            return found.codes if isinstance(found, _Codes) else found

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), given)
        if node.op == "call_method":
            made = getattr(args[0], node.target)(*args[1:], **kwargs)
        else:
            made = (module or node.target)(*args, **kwargs)
        source = self.known[node.args[0]]
        is_codes = isinstance(made, Tensor) and isinstance(source, _Codes)
        return _Codes(made, source.affine) if is_codes else made

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None


_KNOWN = (
    "known are convolutions and linear layers, additions, and the mean of a whole "
    "image as nn.AdaptiveAvgPool2d(1)"
)
