"""Layers of a simulated integer network: weights rounded, a pooling's mean rounded."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from qstudy.methods.fakequant import FakeQuantize

# Finer than the mean of up to a thousand codes can be, and coarser than its rounding.
PARTS = 1024


class RoundedLayer(nn.Module):
    """A convolution or linear layer that computes with its rounded weight.

    `layer` is kept as a submodule, its weight and bias with it; input and output are
    the layer's. `weight_quantizer` maps the weight (Cout, ...) to its rounded form.
    """

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, weight_quantizer: nn.Module
    ) -> None:
        super().__init__()
        self.layer = layer
        self.weight_quantizer = weight_quantizer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        weight = self.weight_quantizer(layer.weight)
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        # Conv2d's own forward with another weight: it knows the padding modes.
        return layer._conv_forward(x, weight, layer.bias)


class SameScale(nn.Module):
    """Rounds to the codes of a quantizer that stands elsewhere in the network.

    An integer average pooling rounds the mean of codes, at the scale they have. Of few
    codes the mean often is a tie, which the same mean in floats misses by its last bit,
    so that is rounded away first. The quantizer is not a submodule, so that its state
    is the network's once.
    """

    def __init__(self, quantizer: FakeQuantize) -> None:
        super().__init__()
        self._source = (quantizer,)

    @property
    def source(self) -> FakeQuantize:
        """The quantizer whose scale this is."""
        return self._source[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.source.round(x, parts=PARTS)
