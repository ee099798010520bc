"""Is a module what its class says? Asked before its weights are read in its place.

A quantizer that exchanges a layer, or folds one into another, takes the weights out and
leaves the layer's own code behind. That is right only where the layer computes what its
class computes, from parameters of its own: a subclass, a replaced `forward`, a hook, a
pruned or parametrized weight would be lost without a word.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin
from torch.nn.utils import parametrize


def told(module: nn.Module, path: str) -> str:
    """The module as an error names it: its class, and where it stands."""
    kind = type(module).__name__
    return f"{kind} {path!r}" if path else f"{kind} (the network itself)"


def departure(
    module: nn.Module, *, dtype: torch.dtype | None = None, computed: bool = False
) -> str:
    """Why `module` is not what its class says, with the way out; "" where it is.

    Looked at are its own forward and its own parameters, which must be plain, finite,
    not empty and, where `dtype` is given, of that dtype. With `computed` weights that
    hooks compute and forwards of its own pass: who traces the module runs them too.
    Hooks are told by `hooked`.
    """
    if not computed and (reason := _other_code(module)):
        return reason
    for name, value in module.named_parameters(recurse=False):
        if isinstance(value, UninitializedTensorMixin) or value.device.type == "meta":
            return f"has a {name} without values: run it once, or load its weights"
        if dtype is not None and value.dtype != dtype:
            return f"has a {name} of {value.dtype}: {dtype} is needed, convert it first"
        if value.numel() == 0:
            return f"has a {name} of shape {tuple(value.shape)}, which is empty"
        if not bool(torch.isfinite(value).all()):
            return f"has a {name} that holds NaN or infinity: load other weights"
    return ""


def _other_code(module: nn.Module) -> str:
    if "forward" in vars(module):
        return "has a forward of its own: make that a class, or leave the layer out"
    if parametrize.is_parametrized(module):
        return (
            "is parametrized: make its weight permanent first "
            "(torch.nn.utils.parametrize.remove_parametrizations)"
        )
    # A weight that is no parameter but an attribute is written there by a hook.
    if any(isinstance(v, Tensor) for k, v in vars(module).items() if "weight" in k):
        return (
            "has a weight that a hook computes: make it permanent first "
            "(torch.nn.utils.prune.remove, remove_weight_norm, remove_spectral_norm)"
        )
    return ""


def hooked(module: nn.Module) -> bool:
    """Whether a forward hook may change what `module` takes or gives."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of `model` in eval mode.

    Raises ValueError, naming the layer, where a weight is the result of a computation
    that torch cannot copy: that of a pruned layer.
    """
    for path, module in model.named_modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                raise ValueError(f"{told(module, path)} {departure(module)}")
    return copy.deepcopy(model).eval()
