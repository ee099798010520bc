"""Static post-training quantization of the CIFAR ResNets to int8, by the eager API.

Scales are fixed before the network runs: weights are rounded once, and the range of
every activation is observed on calibration images. Weights are symmetric int8, -128 to
127, and their range is always their own minimum and maximum; `observer` concerns the
activations, affine uint8. The supported successor of this route is qstudy.methods.pt2e.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qstudy.measure.system import check_engine
from qstudy.methods import fusion, legacy
from qstudy.methods.calibration import checked_batches, observe
from qstudy.methods.inputs import check_input
from qstudy.methods.structure import check_resnet
from qstudy.models.resnet import Add, BasicBlock, ResNet
from qstudy.numerics.weights import GRANULARITIES, QUANT_MAX, QUANT_MIN

OBSERVERS = ("minmax", "histogram")
ACTIVATION_BITS = (7, 8)
WEIGHT_BITS = (8,)


@dataclass(frozen=True, kw_only=True)
class StaticConfig:
    """How to quantize; nothing is taken over from the engine's defaults.

    `activation_bits` 7 is what torch calls reduce_range, codes 0 to 127: the default of
    its x86 and fbgemm configurations, because two 8-bit products can exceed the 16-bit
    sums of processors without VNNI. At 7 bits torch's histogram search still reckons
    with 256 levels. `weight_bits` is 8, the only width the kernels have. Raises
    ValueError for a value that is not allowed or an engine this machine lacks.
    """

    engine: str
    weight_granularity: str = "per_channel"
    observer: str = "histogram"
    activation_bits: int = 8
    weight_bits: int = 8

    def __post_init__(self) -> None:
        check_engine(self.engine)
        for name, allowed in (
            ("weight_granularity", GRANULARITIES),
            ("observer", OBSERVERS),
            ("activation_bits", ACTIVATION_BITS),
            ("weight_bits", WEIGHT_BITS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {allowed}")


class QuantizedResNet(nn.Module):
    """A converted network that runs under the engine its weights are packed for.

    (B, 3, H, W) float32 in, (B, classes) float32 out; every call sets torch's engine
    and restores it (see legacy.engine). ValueError for another dtype, NaN or infinity.
    """

    def __init__(self, network: nn.Module, *, engine: str) -> None:
        super().__init__()
        api = legacy.eager_api()
        self.quantize = api.QuantStub()
        self.network = network
        self.dequantize = api.DeQuantStub()
        self.engine = engine

    def forward(self, x: Tensor) -> Tensor:
        check_input(x)
        with legacy.engine(self.engine):
            return self.dequantize(self.network(self.quantize(x)))


class AddReLU(nn.Module):
    """relu(a + b) as one operation, so that the sum is rounded once and not twice."""

    def __init__(self) -> None:
        super().__init__()
        self.op = legacy.quantized_modules().FloatFunctional()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.op.add_relu(a, b)


def quantize_static(
    model: ResNet, calibration_batches: Iterable[Tensor], config: StaticConfig
) -> QuantizedResNet:
    """An int8 copy of `model`, in eval mode; `model` itself is left as it is.

    `calibration_batches` are float32 (B, 3, H, W), normalized as for evaluation, alone
    or first in a tuple with labels. Raises ValueError, naming the module, for a network
    that `check_resnet` refuses, or batches that `checked_batches` refuses, ImportError
    where torch no longer has the eager API.
    """
    api = legacy.eager_api()
    check_resnet(model)
    batches = checked_batches(calibration_batches, channels=model.conv1.in_channels)
    with (
        legacy.engine(config.engine),
        legacy.announced_removal(),
        torch.no_grad(),
    ):
        observed = prepare(model, config)
        observe(observed, batches)
        return api.convert(observed, inplace=True)


def prepare(model: ResNet, config: StaticConfig) -> QuantizedResNet:
    """A fused copy of `model` with observers in place: run it to calibrate.

    Raises ValueError, naming the module, where the network is not what `check_resnet`
    asks for, or has float16 or float64 weights.
    """
    check_resnet(model)
    api = legacy.eager_api()
    network = fusion.fuse_torch(model)
    for block in network.modules():
        if isinstance(block, BasicBlock):
            block.add, block.relu2 = AddReLU(), nn.Identity()
    wrapped = QuantizedResNet(network, engine=config.engine).eval()
    wrapped.qconfig = qconfig(config)
    with legacy.announced_removal():
        return api.prepare(wrapped, inplace=True)


def qconfig(config: StaticConfig) -> Any:
    """The torch.ao QConfig that `config` stands for, every range spelled out."""
    api = legacy.eager_api()
    activation = {"minmax": api.MinMaxObserver, "histogram": api.HistogramObserver}
    weight, scheme = {
        "per_tensor": (api.MinMaxObserver, torch.per_tensor_symmetric),
        "per_channel": (api.PerChannelMinMaxObserver, torch.per_channel_symmetric),
    }[config.weight_granularity]
    return api.QConfig(
        activation=activation[config.observer].with_args(
            dtype=torch.quint8,
            qscheme=torch.per_tensor_affine,
            quant_min=0,
            quant_max=2**config.activation_bits - 1,
        ),
        weight=weight.with_args(
            dtype=torch.qint8,
            qscheme=scheme,
            quant_min=QUANT_MIN,
            quant_max=QUANT_MAX,
        ),
    )


@dataclass(frozen=True)
class QuantizedShare:
    """Compute modules by type name: those with int8 kernels and those left in float."""

    quantized_types: dict[str, int]
    floating_types: dict[str, int]

    @property
    def quantized(self) -> int:
        return sum(self.quantized_types.values())

    @property
    def floating(self) -> int:
        return sum(self.floating_types.values())


def quantized_share(model: nn.Module) -> QuantizedShare:
    """Count the convolutions, linear layers and additions of `model` by arithmetic.

    A quantized module holds packed integers and can call no float kernel, so a count of
    0 floating ones proves that int8 ran. Pooling and ReLU work on either and are not
    counted; a batch normalization that was not folded counts as floating.
    """
    quantized = legacy.quantized_modules()
    # Layers fused with a ReLU derive from the plain ones, or hold one.
    integer = (quantized.Conv2d, quantized.Linear, quantized.QFunctional)
    floating = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, Add, quantized.FloatFunctional)
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for module in model.modules():
        if isinstance(module, integer):
            counts[0][type(module).__name__] += 1
        elif isinstance(module, floating):
            counts[1][type(module).__name__] += 1
    return QuantizedShare(*(dict(sorted(count.items())) for count in counts))
