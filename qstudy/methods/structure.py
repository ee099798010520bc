"""Is a network the ResNet of this study, module by module? Asked before it is read.

Static quantization puts `relu(a + b)` in the place of a block's last two modules and
torch exchanges the rest by type. A block with another activation, another operation in
place of the addition, or a forward of its own would become another network.
"""

from __future__ import annotations

import torch
from torch import nn

from qstudy.methods import plain
from qstudy.models.resnet import Add, BasicBlock, ResNet

_BLOCK = {
    "conv1": nn.Conv2d,
    "bn1": nn.BatchNorm2d,
    "relu1": nn.ReLU,
    "conv2": nn.Conv2d,
    "bn2": nn.BatchNorm2d,
    "add": Add,
    "relu2": nn.ReLU,
}
_NETWORK = {
    "conv1": nn.Conv2d,
    "bn1": nn.BatchNorm2d,
    "relu1": nn.ReLU,
    "stage1": nn.Sequential,
    "stage2": nn.Sequential,
    "stage3": nn.Sequential,
    "pool": nn.AdaptiveAvgPool2d,
    "flatten": nn.Flatten,
    "fc": nn.Linear,
}
_WAY_OUT = "use qstudy.methods.pt2e, which takes any network"


def check_resnet(model: nn.Module) -> None:
    """ValueError, naming the first module that is not what a ResNet here has there.

    The classes are asked for exactly, without hooks, forwards of their own, or weights
    that are computed, not float32 or not finite.
    """
    if not isinstance(model, ResNet):
        raise ValueError(
            f"network {type(model).__name__} is not a qstudy.models.resnet.ResNet, the "
            f"only kind whose additions are known here: {_WAY_OUT}"
        )
    _check(model, "", ResNet)
    _check_children(model, "", _NETWORK)
    for stage in ("stage1", "stage2", "stage3"):
        for name, block in getattr(model, stage).named_children():
            path = f"{stage}.{name}"
            _check(block, path, BasicBlock)
            _check_children(block, path, _BLOCK)
            _check_shortcut(block.shortcut, f"{path}.shortcut")
    size = model.pool.output_size
    if size not in (1, (1, 1)):
        raise ValueError(f"'pool' averages to {size}, not to 1: {_WAY_OUT}")


def _check_children(module: nn.Module, path: str, kinds: dict[str, type]) -> None:
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if name in kinds:
            _check(child, inner, kinds[name])
        elif name != "shortcut" or not isinstance(module, BasicBlock):
            raise ValueError(
                f"{plain.told(child, inner)} has no place in a "
                f"{type(module).__name__}: {_WAY_OUT}"
            )


def _check_shortcut(shortcut: nn.Module, path: str) -> None:
    if type(shortcut) is nn.Sequential and len(shortcut) == 2:
        _check(shortcut, path, nn.Sequential)
        _check(shortcut[0], f"{path}.0", nn.Conv2d)
        _check(shortcut[1], f"{path}.1", nn.BatchNorm2d)
    else:
        _check(shortcut, path, nn.Identity)


def _check(module: nn.Module, path: str, kind: type) -> None:
    reason = plain.departure(module, dtype=torch.float32)
    if type(module) is not kind and not reason:
        reason = f"stands where a ResNet here has {kind.__name__}: {_WAY_OUT}"
    if not reason and plain.hooked(module):
        reason = "has a forward hook, which int8 kernels would not run: remove it"
    if reason:
        raise ValueError(f"{plain.told(module, path)} {reason}")
