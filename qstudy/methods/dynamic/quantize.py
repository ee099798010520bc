"""Dynamic quantization: int8 or fp16 weights, activations quantized as they come.

By torch's eager quantize_dynamic, and by torchao's quantize_, its supported successor.
Both exchange whole modules of known types and say nothing of the others; `coverage`
lists what stays in float, so that a size or a time can be explained.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qstudy.measure.system import check_engine
from qstudy.methods import legacy, plain, quiet
from qstudy.methods.dynamic.under_engine import UnderEngine

DTYPES = ("int8", "fp16")
GRANULARITIES = ("per_tensor", "per_channel")
# The engines with a kernel that reads fp16 weights: FBGEMM's, which x86 uses too.
FP16_ENGINES = ("fbgemm", "x86")
# qnnpack ignores torch's reduce_range: its activations always have 8 bits.
EIGHT_BIT_ENGINES = ("qnnpack",)


@dataclass(frozen=True, kw_only=True)
class DynamicConfig:
    """How to quantize; nothing is taken over from torch's defaults.

    `dtype` is that of the weights: int8 (symmetric, `weight_granularity`, activations
    affine per tensor with `activation_bits`) or fp16 (activations stay float32). 7
    activation bits are torch's reduce_range, which its layers have fixed for every
    engine but qnnpack. `embedding` stores embeddings as 8-bit codes with a scale and
    zero point a row. Raises ValueError for a value that is not allowed, or an engine
    that this machine or the dtype lacks.
    """

    engine: str = "x86"
    dtype: str = "int8"
    weight_granularity: str = "per_tensor"
    activation_bits: int = 7
    embedding: bool = False

    def __post_init__(self) -> None:
        check_engine(self.engine)
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {DTYPES}")
        if self.weight_granularity not in GRANULARITIES:
            raise ValueError(
                f"weight_granularity {self.weight_granularity!r} is not one of "
                f"{GRANULARITIES}"
            )
        if self.dtype == "fp16" and self.engine not in FP16_ENGINES:
            raise ValueError(
                f"engine {self.engine!r} has no kernel for fp16 weights: one of "
                f"{FP16_ENGINES} has"
            )
        if self.activation_bits not in (7, 8):
            raise ValueError(f"activation_bits {self.activation_bits!r} is not 7 or 8")
        eight = self.engine in EIGHT_BIT_ENGINES and self.dtype == "int8"
        if eight and self.activation_bits != 8:
            raise ValueError(
                f"engine {self.engine!r} ignores reduce_range: its activations have "
                f"8 bits, not {self.activation_bits}"
            )


@dataclass(frozen=True)
class Part:
    """One module with parameters of its own, and whether it was quantized."""

    path: str
    kind: str
    parameters: int
    quantized: bool


def quantize_dynamic(model: nn.Module, config: DynamicConfig) -> UnderEngine:
    """A copy of `model` by torch's eager API, in eval mode; `model` stays as it is.

    Modules of the very types Linear and LSTM are exchanged, and embeddings if so asked;
    subclasses, which may compute something else, and what else there is stay in float,
    as `coverage` tells. Raises ValueError, naming the module, where torch would
    exchange one wrongly: without a bias or with a projection (LSTM), with max_norm
    (Embedding), with weights that are not float32, not finite or computed by a hook;
    where 8-bit activations are asked of an LSTM on an engine that halves them; or where
    nothing of `model` can be quantized.
    """
    paths = _exchangeable(model, config)
    # torch exchanges what lies within a network and not the network itself.
    holder = nn.Sequential(plain.copied(model))
    with legacy.engine(config.engine), legacy.announced_removal():
        api = legacy.eager_api()
        (network,) = api.quantize_dynamic(holder, _qconfigs(api, config), inplace=True)
    for path in paths:
        kind = type(network.get_submodule(path))
        if "quantized" not in kind.__module__:
            raise ValueError(
                f"{plain.told(model.get_submodule(path), path)} was left in float by "
                f"torch {torch.__version__}: use quantize_torchao"
            )
    if config.dtype == "int8" and config.activation_bits == 8:
        _eight_bits(network, config)
    return UnderEngine(network, engine=config.engine)


def _exchangeable(model: nn.Module, config: DynamicConfig) -> list[str]:
    """Paths of the modules that torch will exchange; ValueError as quantize_dynamic."""
    kinds, paths = covered_kinds(config), []
    for path, module in model.named_modules():
        if parametrize.type_before_parametrizations(module) not in kinds:
            continue
        reason = plain.departure(module, dtype=torch.float32) or _lost(module, config)
        if reason:
            raise ValueError(f"{plain.told(module, path)} {reason}")
        paths.append(path)
    if not paths:
        related = [
            plain.told(module, path)
            for path, module in model.named_modules()
            if isinstance(module, kinds)
        ]
        also = f"; subclasses such as {related[0]} stay in float" if related else ""
        raise ValueError(
            f"{type(model).__name__} has no module of the types that dynamic "
            f"quantization covers: {', '.join(kind.__name__ for kind in kinds)}{also}"
        )
    return paths


def _lost(module: nn.Module, config: DynamicConfig) -> str:
    """What torch's quantized form of `module` would leave out; "" where nothing."""
    if isinstance(module, nn.LSTM) and module.proj_size:
        return (
            f"has proj_size {module.proj_size}, which torch's dynamic LSTM has not: 0 "
            "is needed, or leave it in float"
        )
    if isinstance(module, nn.LSTM) and not module.bias:
        return (
            "has no bias, which torch's dynamic LSTM needs: give it one of zeros, or "
            "leave it in float"
        )
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return (
            f"has max_norm {module.max_norm}, which torch's quantized embedding has "
            "not: None is needed (normalize its weight once), or leave it in float"
        )
    if config.dtype == "fp16":
        own = [p.detach() for p in module.parameters(recurse=False)]
        largest = max(float(p.abs().max()) for p in own)
        most = torch.finfo(torch.float16).max
        if largest > most:
            return f"has a weight of {largest:.3g}, beyond fp16's {most:.0f}: use int8"
    return ""


def covered_kinds(config: DynamicConfig) -> tuple[type[nn.Module], ...]:
    """The module types that `quantize_dynamic` exchanges."""
    return (nn.Linear, nn.LSTM, *((nn.Embedding,) if config.embedding else ()))


def _qconfigs(api: Any, config: DynamicConfig) -> dict[type[nn.Module], Any]:
    if config.dtype == "fp16":
        linear = api.float16_dynamic_qconfig
    elif config.weight_granularity == "per_tensor":
        linear = api.default_dynamic_qconfig
    else:
        linear = api.per_channel_dynamic_qconfig
    # torch's LSTM cells have no per-channel form; its layers are per tensor always.
    lstm = linear if config.dtype == "fp16" else api.default_dynamic_qconfig
    chosen = {nn.Linear: linear, nn.LSTM: lstm}
    if config.embedding:
        chosen[nn.Embedding] = api.float_qparams_weight_only_qconfig
    return chosen


def _eight_bits(network: nn.Module, config: DynamicConfig) -> None:
    """Make the layers use all 8 bits of their activations.

    torch's Linear reads the version of its serialised form: up to 3 it ran without
    reduce_range. The LSTM fixes it in its packed weights, out of reach.
    """
    if config.engine in EIGHT_BIT_ENGINES:
        return
    for module in network.modules():
        kind = type(module)
        if "quantized.dynamic" not in kind.__module__:
            continue
        if kind.__name__ == "Linear":
            module.version = 3
        elif kind.__name__ == "LSTM":
            raise ValueError(
                "torch's dynamic LSTM has 7-bit activations on every engine but "
                f"{', '.join(EIGHT_BIT_ENGINES)}: ask for activation_bits 7"
            )


def quantize_torchao(model: nn.Module, *, weight_only: bool = False) -> nn.Module:
    """A copy of `model` by torchao's quantize_, in eval mode: Linear modules only.

    Weights symmetric int8 per output channel; activations symmetric int8 per token, 8
    bits, or float32 with `weight_only`. A subclass keeps its code. Raises ImportError
    without torchao; ValueError where `model` has no Linear or torchao takes none of
    them, or, naming the module, where a weight is not finite, float64, computed by a
    hook or parametrized.
    """
    linear = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    if not linear:
        raise ValueError(
            f"{type(model).__name__} has no Linear, the only type torchao covers here"
        )
    for path, module in linear:
        reason = plain.departure(module)
        if not reason and module.weight.dtype == torch.float64:
            reason = "has a weight of torch.float64: torch.float32 is needed"
        if reason:
            raise ValueError(f"{plain.told(module, path)} {reason}")
    torchao = import_torchao()
    config = (
        torchao.Int8WeightOnlyConfig()
        if weight_only
        else torchao.Int8DynamicActivationInt8WeightConfig()
    )
    owned = plain.copied(model)
    with _quiet_torchao():
        torchao.quantize_(owned, config)
    if not any(holds_codes(module) for module in owned.modules()):
        path, module = linear[0]
        raise ValueError(
            f"{type(model).__name__} has no Linear that torchao exchanges: "
            f"{plain.told(module, path)} stays in float"
        )
    return owned


def import_torchao() -> Any:
    """torchao.quantization; ImportError, with the way out, where it is missing."""
    try:
        with _quiet_torchao():
            return importlib.import_module("torchao.quantization")
    except ImportError as error:
        raise ImportError(
            "torchao is not installed: pip install 'qstudy[engines]', or use "
            "quantize_dynamic"
        ) from error


def _quiet_torchao() -> AbstractContextManager[None]:
    """It logs GPU libraries that do not load here, and a needless registration."""
    return quiet.loggers("torchao", "torch.utils._pytree")


def half_weights(model: nn.Module) -> nn.Module:
    """A bfloat16 copy of `model`, weights and activations, in eval mode."""
    return plain.copied(model).to(torch.bfloat16)


def coverage(model: nn.Module, quantized: nn.Module) -> tuple[Part, ...]:
    """Every module of `model` with parameters of its own, as it is in `quantized`.

    `quantized` is what `quantize_dynamic` or `quantize_torchao` made of `model`. A
    weight that two modules share counts with the first of them.
    """
    inner = quantized.network if isinstance(quantized, UnderEngine) else quantized
    found, seen = [], set()
    for path, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        shared = list(module.parameters(recurse=False))
        if not shared:
            continue
        seen |= {id(p) for p in own}
        other = inner.get_submodule(path)
        changed = type(other) is not type(module) or holds_codes(other)
        count = sum(p.numel() for p in own)
        found.append(Part(path, type(module).__name__, count, changed))
    return tuple(found)


def holds_codes(module: nn.Module) -> bool:
    """Whether torchao has put codes in the place of this module's weight."""
    weight = module._parameters.get("weight")
    return weight is not None and type(weight.data) is not Tensor
