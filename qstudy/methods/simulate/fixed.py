"""A simulated network for answering only: weights rounded once, ranges read once.

What `simulate` gives can be trained, and pays for it: every batch folds and rounds the
weights again and passes each activation through seven operations with a mask. `fixed`
computes the same values, bit by bit, in a third of the time.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.simulate.layers import PARTS, RoundedLayer, SameScale
from qstudy.numerics.mapping import QParams


class FixedQuantizer(nn.Module):
    """Rounds float32 of any shape by parameters that no longer change."""

    def __init__(self, qparams: QParams, *, parts: int | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", qparams.scale.float())
        self.register_buffer("inverse", 1 / qparams.scale.float())
        self.zero = int(qparams.zero_point)
        self.low, self.high = qparams.codes.low, qparams.codes.high
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        steps = x * self.inverse
        if self.parts is not None:
            steps.mul_(self.parts).round_().div_(self.parts)
        # Whole numbers this small are exact in float32: one clamp does for both.
        codes = steps.round_().clamp_(self.low - self.zero, self.high - self.zero)
        return codes.mul_(self.scale)


def fixed(simulated: fx.GraphModule) -> fx.GraphModule:
    """A copy of `simulated` in eval mode that can neither be trained nor calibrated.

    Quantizers that are switched off are gone, with them what they would have rounded.
    Raises ValueError, by name, for a quantizer that has no range.
    """
    made = copy.deepcopy(simulated).eval()
    for path, module in list(made.named_modules()):
        if isinstance(module, RoundedLayer | ConvBn2d):
            made.set_submodule(path, plain_layer(module))
        elif isinstance(module, SameScale):
            made.set_submodule(path, _fixed(module.source, parts=PARTS))
    for path, module in list(made.named_modules()):
        if isinstance(module, FakeQuantize):
            made.set_submodule(path, _fixed(module))
    return made


def plain_layer(layer: RoundedLayer | ConvBn2d) -> nn.Conv2d | nn.Linear:
    """The one convolution or linear layer that `layer` is in eval mode, detached.

    Its weight is rounded unless the weight quantizer is switched off. Padding, stride
    and the rest are the layer's.
    """
    with torch.no_grad():
        if isinstance(layer, ConvBn2d):
            old = layer.conv
            weight, bias = layer.folded(quantized=True)
        else:
            old, bias = layer.layer, layer.layer.bias
            weight = layer.weight_quantizer(old.weight)
        made = copy.deepcopy(old).eval()
        made.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        if bias is not None:
            made.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return made


def folded_layers(simulated: fx.GraphModule) -> fx.GraphModule:
    """A copy whose normalizations are folded for good, so that weights can be changed.

    Each ConvBn2d becomes the RoundedLayer of the one convolution with a bias that it is
    in eval mode; quantizers and their ranges are kept. Raises ValueError for the
    strategy "none", which rounds before it folds.
    """
    made = copy.deepcopy(simulated).eval()
    for path, layer in list(made.named_modules()):
        if not isinstance(layer, ConvBn2d):
            continue
        if layer.strategy == "none":
            raise ValueError(
                f"layer {path!r} rounds before it folds (bn_strategy 'none'): simulate "
                "with another strategy"
            )
        conv = copy.deepcopy(layer.conv)
        conv.weight, conv.bias = (nn.Parameter(part) for part in layer.folded())
        made.set_submodule(path, RoundedLayer(conv, layer.weight_quantizer))
    return made.eval()


def _fixed(quantizer: FakeQuantize, *, parts: int | None = None) -> nn.Module:
    if not bool(quantizer.quantizing):
        return nn.Identity()
    return FixedQuantizer(quantizer.qparams(), parts=parts)
