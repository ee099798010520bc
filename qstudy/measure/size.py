"""The size of a network as a file: what a safetensors file of its tensors takes.

A pickled state_dict measures torch's containers, and a network with simulated
quantization does not shrink at all; so int8 networks are taken apart into integer
codes, scales, zero points and biases before they are weighed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from safetensors.torch import save
from torch import Tensor, nn

# For these zero points are rounded floats, as embeddings use them.
_FLOAT_ZERO_POINTS = (torch.per_channel_affine_float_qparams,)
_CODES = {torch.qint8: torch.int8, torch.quint8: torch.uint8}


def safetensors_mib(tensors: Mapping[str, Tensor]) -> float:
    """Size in MiB of the safetensors file of exactly `tensors`, header included.

    The same for the same names, dtypes and shapes. ValueError for no tensors, or for a
    quantized one, which safetensors cannot hold.
    """
    if not tensors:
        raise ValueError("no tensors to weigh; give a network's tensors by name")
    quantized = [name for name, tensor in tensors.items() if tensor.is_quantized]
    if quantized:
        raise ValueError(
            f"{quantized[0]} is a torch quantized tensor; quantized_tensors() takes a "
            "network apart into plain ones"
        )
    # Copies, because safetensors refuses tensors that share memory.
    plain = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    whole = {name: tensor.contiguous() for name, tensor in plain.items()}
    return len(save(whole)) / 2**20


def float_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What inference with a float network needs: parameters and persistent buffers.

    A tied tensor counts once. Batch norm's num_batches_tracked, which only training
    reads, is left out. Dtypes as they are.
    """
    kept = set(model.state_dict())
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: tensor.detach()
        for name, tensor in named
        if name in kept and not name.endswith("num_batches_tracked")
    }


def quantized_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The plain tensors of a network that torch.ao's eager `convert` made.

    Of each quantized weight: codes (int8, or uint8 for quint8, the weight's shape),
    scale (float32, () or (channels,)) and zero_point (the codes' dtype, same shape);
    its bias (float32); of each layer that quantizes its output: scale (float32, ()) and
    zero_point (uint8, ()). Dynamic layers, LSTMs too, have no output scale. Tensors of
    layers left in float are kept as they are. ValueError where nothing is quantized, or
    a weight has other codes than 8-bit.
    """
    tensors: dict[str, Tensor] = {}
    quantized = False
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, tensor in _own_tensors(module):
            if tensor.is_quantized:
                quantized = True
                tensors |= _parts(f"{prefix}{name}", tensor)
            else:
                tensors[f"{prefix}{name}"] = tensor.detach()
        tensors |= {f"{prefix}{k}": v for k, v in _output_parameters(module).items()}
    if not quantized:
        raise ValueError(
            f"{type(model).__name__} has no quantized weight; convert() it first, or "
            "use float_tensors() for a float network"
        )
    return tensors


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and biases of one module, its children's not included."""
    # Quantized layers keep both in a packed object and unpack them by method; the
    # static ones by weight() and bias(), recurrent ones by get_weight(), get_bias().
    if callable(getattr(module, "get_weight", None)):
        yield from module.get_weight().items()
        yield from module.get_bias().items()
    elif callable(getattr(module, "weight", None)):
        yield "weight", module.weight()
        bias = module.bias() if callable(getattr(module, "bias", None)) else None
        if bias is not None:
            yield "bias", bias
    else:
        own = {**module._parameters, **module._buffers}
        left_out = {*module._non_persistent_buffers_set, "num_batches_tracked"}
        if _quantizes_output(module):
            left_out |= {"scale", "zero_point"}
        for name, tensor in own.items():
            if tensor is not None and name not in left_out:
                yield name, tensor


def _parts(name: str, weight: Tensor) -> dict[str, Tensor]:
    if weight.dtype not in _CODES:
        raise ValueError(f"{name} is {weight.dtype}, not one of {list(_CODES)}")
    if weight.qscheme() == torch.per_tensor_affine:
        scale = torch.tensor(weight.q_scale())
        zero_point = torch.tensor(weight.q_zero_point())
    else:
        scale = weight.q_per_channel_scales()
        zero_point = weight.q_per_channel_zero_points()
    floating = weight.qscheme() in _FLOAT_ZERO_POINTS
    return {
        f"{name}.codes": weight.int_repr(),
        # Observers compute scales in float32; torch only hands them out as float64.
        f"{name}.scale": scale.to(torch.float32),
        f"{name}.zero_point": zero_point.to(
            torch.float32 if floating else _CODES[weight.dtype]
        ),
    }


def _quantizes_output(module: nn.Module) -> bool:
    kind = type(module).__module__
    return (
        kind.startswith(("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized."))
        # A dynamic layer inherits both fields from the static one and reads neither.
        and ".dynamic." not in kind
        and hasattr(module, "scale")
        and hasattr(module, "zero_point")
    )


def _output_parameters(module: nn.Module) -> dict[str, Tensor]:
    if not _quantizes_output(module):
        return {}
    return {
        "scale": torch.tensor(float(module.scale), dtype=torch.float32),
        "zero_point": torch.tensor(int(module.zero_point), dtype=torch.uint8),
    }
