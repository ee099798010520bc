"""How much a network has to do: multiply-adds and bytes of every layer, exactly.

These place a layer on a roofline (Williams, Waterman and Patterson 2009): operations a
byte, against what the processor can do a second of each. Bytes are those that must move
at least once: input, weight and output of the layer, each read or written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.Linear)
ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class LayerWork:
    """One call of a layer: multiply-adds, and elements of input, weight and output."""

    name: str
    kind: str
    macs: int
    input: int
    weight: int
    output: int

    @property
    def operations(self) -> int:
        """A multiply-add is two."""
        return 2 * self.macs

    def bytes(self, precision: str) -> int:
        """Bytes that move at least once; biases and scales are not counted."""
        if precision not in ELEMENT_BYTES:
            raise ValueError(
                f"precision {precision!r} is not one of {tuple(ELEMENT_BYTES)}"
            )
        return ELEMENT_BYTES[precision] * (self.input + self.weight + self.output)

    def intensity(self, precision: str) -> float:
        """Operations a byte."""
        return self.operations / self.bytes(precision)


def layer_work(model: nn.Module, example: Tensor) -> list[LayerWork]:
    """The work of every convolution and linear layer, in the order of their calls.

    `example` (B, ...) is run through `model` once, in the mode that it is in. A
    depthwise convolution has kind "depthwise". A layer called twice counts twice.
    """
    found: list[LayerWork] = []
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        found.append(_work(names[module], module, inputs[0], output))

    hooks = [m.register_forward_hook(note) for m in names if isinstance(m, LAYERS)]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _work(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> LayerWork:
    weight = layer.weight
    # Each output element is a sum over one output channel's weights.
    macs = y.numel() * weight[0].numel()
    kind = "linear"
    if isinstance(layer, nn.Conv2d):
        alone = layer.groups == layer.in_channels > 1
        kind = "depthwise" if alone else "conv"
    return LayerWork(name, kind, macs, x.numel(), weight.numel(), y.numel())
