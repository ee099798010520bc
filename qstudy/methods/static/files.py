"""A quantized network in a file of integers, and back.

The file is safetensors. Of each rounded layer it holds the codes (int8, for fewer bits
too), their scale (float32) and the bias (float32), of a layer kept in fp32 its folded
weight and bias, and of each activation the two ends of its range. The configuration
stands in the header. What is not in the file is the network's code: `load` is given a
network of the same architecture, whose weights do not matter.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, fx, nn

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.quantized_modules import integer_weight
from qstudy.methods.simulate import keep_float, layers, quantizers, simulate
from qstudy.methods.simulate.fixed import plain_layer
from qstudy.methods.simulate.layers import RoundedLayer
from qstudy.methods.simulate.ranges import kept_quantizers
from qstudy.methods.static.quantize import QuantizeConfig, StaticNetwork, finished
from qstudy.numerics.mapping import CodeRange

FORMAT = "qstudy.static.1"


def save(quantized: StaticNetwork, path: Path | str) -> None:
    """Write `quantized` to the file `path`, which is replaced."""
    config = dataclasses.asdict(quantized.config)
    header = {"format": FORMAT, "config": json.dumps(config, sort_keys=True)}
    save_file(_tensors(quantized.simulated), path, metadata=header)


def load(model: nn.Module, path: Path | str) -> StaticNetwork:
    """The network that `save` wrote, on the architecture of `model`, which is kept.

    It answers as the saved one did, bit by bit. Raises FileNotFoundError where the file
    is absent, ValueError, one line, where it is damaged, of another kind, or of another
    architecture.
    """
    tensors, config = _read(Path(path))
    simulated = simulate(model, config.simulation()).eval()
    keep_float(simulated, config.kept_float)
    expected = {
        *_layer_names(simulated),
        *(f"{p}.range" for p in _active(simulated)),
    }
    wrong = expected ^ {name for name in tensors if not name.endswith(".bias")}
    if wrong:
        raise ValueError(
            f"file {path} does not fit {type(model).__name__} (first at "
            f"{min(wrong)!r}): give the architecture that was quantized"
        )
    for name, layer in layers(simulated).items():
        _fill(simulated, name, layer, tensors, path)
    for name, quantizer in _active(simulated).items():
        quantizer.set_range(*tensors[f"{name}.range"])
    return finished(simulated, config)


def _tensors(simulated: fx.GraphModule) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}
    off = kept_quantizers(simulated)
    for path, layer in layers(simulated).items():
        if f"{path}.weight_quantizer" in off:
            plain = plain_layer(layer)
            made[f"{path}.weight"], bias = plain.weight.detach(), plain.bias
        else:
            codes, scale, bias = integer_weight(layer)
            made |= {f"{path}.codes": codes, f"{path}.scale": scale}
        if bias is not None:
            made[f"{path}.bias"] = bias.detach()
    for path, quantizer in _active(simulated).items():
        made[f"{path}.range"] = torch.stack(quantizer.range())
    return {name: tensor.clone().contiguous() for name, tensor in made.items()}


def _active(simulated: fx.GraphModule) -> dict[str, Any]:
    """The activation quantizers that round."""
    off = kept_quantizers(simulated)
    return {
        path: quantizer
        for path, quantizer in quantizers(simulated).items()
        if path not in off and not path.endswith(".weight_quantizer")
    }


def _layer_names(simulated: fx.GraphModule) -> list[str]:
    off = kept_quantizers(simulated)
    return [
        f"{path}.{part}"
        for path in layers(simulated)
        for part in (
            ("weight",) if f"{path}.weight_quantizer" in off else ("codes", "scale")
        )
    ]


def _fill(
    simulated: fx.GraphModule,
    name: str,
    layer: RoundedLayer | ConvBn2d,
    tensors: dict[str, Tensor],
    path: Path | str,
) -> None:
    """Put a layer of the file in the place of `layer`, its normalization folded."""
    old = copy.deepcopy(layer.layer if isinstance(layer, RoundedLayer) else layer.conv)
    quantizer, bias = layer.weight_quantizer, tensors.get(f"{name}.bias")
    if f"{name}.weight" in tensors:
        weight = tensors[f"{name}.weight"]
    else:
        codes, scale = tensors[f"{name}.codes"], tensors[f"{name}.scale"]
        shape = [-1] + [1] * (codes.dim() - 1) if scale.dim() else []
        weight = codes.float() * scale.reshape(shape)
    if weight.shape != old.weight.shape:
        raise ValueError(
            f"file {path} has {name!r} of shape {tuple(weight.shape)} where "
            f"{tuple(old.weight.shape)} is needed: give the architecture that was "
            "quantized"
        )
    old.weight = nn.Parameter(weight)
    old.bias = None if bias is None else nn.Parameter(bias)
    if f"{name}.codes" in tensors:
        end = _end(tensors[f"{name}.scale"], quantizer.config.codes)
        quantizer.set_range(-end, end)
    simulated.set_submodule(name, RoundedLayer(old, quantizer))


def _end(scale: Tensor, codes: CodeRange) -> Tensor:
    """The largest magnitude whose half-range scale is `scale`, to the last bit.

    The product is off by a bit or two; the scale came from such a quotient, so one of
    the product's neighbours gives it back.
    """
    half = (codes.high - codes.low) / 2
    end = scale * half
    for steps in (0, -1, 1, -2, 2):
        near = end.clone()
        for _ in range(abs(steps)):
            near = torch.nextafter(near, torch.tensor(float(steps) * torch.inf))
        found = near / half == scale
        end = torch.where((end / half != scale) & found, near, end)
    return end


def _read(path: Path) -> tuple[dict[str, Tensor], QuantizeConfig]:
    if not path.is_file():
        raise FileNotFoundError(f"file {path} does not exist: save a network there")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header.get("format") != FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
        told = json.loads(header["config"])
        told["kept_float"] = tuple(told["kept_float"])
        told["options"] = tuple(map(tuple, told["options"]))
        return tensors, QuantizeConfig(**told)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"file {path} is no network that save wrote ({error}): save it again"
        ) from error
