"""What is saved of a dynamically quantized network: plain tensors by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qstudy.measure import size
from qstudy.methods.dynamic.quantize import UnderEngine, holds_codes


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What is saved of a network of any kind here: plain tensors by name.

    Integer codes, scales, zero points and biases of what is quantized; fp16 weights as
    fp16; the rest as it is, a shared tensor once.
    """
    network = model.network if isinstance(model, UnderEngine) else model
    if any(holds_codes(m) for m in network.modules()):
        return _torchao_tensors(network)
    kinds = {type(m).__module__ for m in network.modules()}
    if any("quantized" in kind for kind in kinds):
        return _eager_tensors(network)
    return size.float_tensors(network)


def _torchao_tensors(network: nn.Module) -> dict[str, Tensor]:
    tensors = {}
    for name, value in network.named_parameters():
        if type(value.data) is Tensor:
            tensors[name] = value.detach()
        else:
            tensors[f"{name}.codes"] = value.data.qdata
            tensors[f"{name}.scale"] = value.data.scale.flatten()
    return tensors


def _eager_tensors(network: nn.Module) -> dict[str, Tensor]:
    halves = {}
    for path, module in network.named_modules():
        if _dtype(module) is torch.float16:
            halves[path] = module
    if not halves:
        return size.quantized_tensors(network)
    tensors = {}
    for path, module in network.named_modules():
        if path in halves:
            for name, tensor in _half_tensors(module).items():
                tensors[f"{path}.{name}"] = tensor
        elif not any(path.startswith(f"{half}.") for half in halves):
            for name, tensor in module._parameters.items():
                if tensor is not None:
                    tensors[f"{path}.{name}"] = tensor.detach()
    return tensors


def _dtype(module: nn.Module) -> Any:
    if "quantized.dynamic" not in type(module).__module__:
        return None
    packed = getattr(module, "_packed_params", None)
    return getattr(packed, "dtype", None) or getattr(module, "dtype", None)


def _half_tensors(module: nn.Module) -> dict[str, Tensor]:
    if callable(getattr(module, "get_weight", None)):
        weights = {**module.get_weight(), **module.get_bias()}
    else:
        weights = {"weight": module.weight(), "bias": module.bias()}
    return {
        name: tensor.detach().to(torch.float16 if "weight" in name else torch.float32)
        for name, tensor in weights.items()
        if tensor is not None
    }
