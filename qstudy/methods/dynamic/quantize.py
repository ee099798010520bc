"""Dynamic quantization: int8 or fp16 weights, activations quantized as they come.

By torch's eager quantize_dynamic, and by torchao's quantize_, its supported successor.
Both exchange whole modules of known types and say nothing of the others; `coverage`
lists what stays in float, so that a size or a time can be explained.
"""

from __future__ import annotations

import copy
import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qstudy.measure.system import check_engine
from qstudy.methods import legacy, quiet

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


class UnderEngine(nn.Module):
    """A quantized network that runs under the engine its weights are packed for."""

    def __init__(self, network: nn.Module, *, engine: str) -> None:
        super().__init__()
        self.network = network
        self.engine = engine

    def forward(self, *args: Any) -> Any:
        with legacy.engine(self.engine):
            return self.network(*args)


def quantize_dynamic(model: nn.Module, config: DynamicConfig) -> UnderEngine:
    """A copy of `model` by torch's eager API, in eval mode; `model` stays as it is.

    Linear and LSTM modules are exchanged, and embeddings if so asked. Raises ValueError
    where 8-bit activations are asked of an LSTM on an engine that halves them, or where
    nothing of `model` can be quantized.
    """
    kinds = covered_kinds(config)
    owned = copy.deepcopy(model).eval()
    if not any(isinstance(m, kinds) for m in owned.modules()):
        raise ValueError(
            f"{type(model).__name__} has no module of the types that dynamic "
            f"quantization covers: {', '.join(kind.__name__ for kind in kinds)}"
        )
    with legacy.engine(config.engine), legacy.announced_removal():
        api = legacy.eager_api()
        network = api.quantize_dynamic(owned, _qconfigs(api, config), inplace=True)
    if config.dtype == "int8" and config.activation_bits == 8:
        _eight_bits(network, config)
    return UnderEngine(network, engine=config.engine)


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
    bits, or float32 with `weight_only`. Raises ImportError without torchao, ValueError
    where `model` has no Linear.
    """
    if not any(isinstance(module, nn.Linear) for module in model.modules()):
        raise ValueError(
            f"{type(model).__name__} has no Linear, the only type torchao covers here"
        )
    torchao = import_torchao()
    config = (
        torchao.Int8WeightOnlyConfig()
        if weight_only
        else torchao.Int8DynamicActivationInt8WeightConfig()
    )
    owned = copy.deepcopy(model).eval()
    with _quiet_torchao():
        torchao.quantize_(owned, config)
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
    return copy.deepcopy(model).eval().to(torch.bfloat16)


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
