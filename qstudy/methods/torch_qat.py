"""Quantization-aware training as PyTorch ships it: the references beside this study's.

Two routes, one interface. "eager" is torch.ao.quantization.prepare_qat, which PyTorch
is removing, for this study's ResNets; "pt2e" is its successor, torchao's
prepare_qat_pt2e, for any network that exports. In both, weights are int8 symmetric per
output channel and activations affine uint8, each range a moving average of minima and
maxima, and batch normalization is folded by the one-pass approximation (bnfold).

Prepare, train with any loop, freeze late in it, convert:

    trainable = prepare(model, example, route="pt2e")
    ...                             # most of the epochs
    freeze_ranges(trainable)
    freeze_statistics(trainable)
    ...                             # the others
    network = convert(trainable)
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, Self

import torch
from torch import Tensor, fx, nn

from qstudy.methods import fusion, legacy
from qstudy.methods.pt2e import torchao
from qstudy.methods.static import ACTIVATION_BITS, AddReLU, QuantizedResNet
from qstudy.models.resnet import BasicBlock, ResNet
from qstudy.numerics.weights import QUANT_MAX, QUANT_MIN

ROUTES = ("eager", "pt2e")


class ExportedQAT(nn.Module):
    """A network prepared by torchao, with `train` and `eval` as modules have them.

    An exported graph fixes its mode; torchao rewrites the graph where normalization
    (and dropout) have to change it.
    """

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__()
        self.network = network
        self.frozen = False
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) float32 as the example, any B, to what the network gives."""
        return self.network(x)

    def train(self, mode: bool = True) -> Self:
        self.training = mode
        api = torchao("export_utils")
        if mode and not self.frozen:
            api._move_exported_model_to_train(self.network)
        else:
            api._move_exported_model_to_eval(self.network)
        return self


def prepare(
    model: nn.Module,
    example: Tensor,
    *,
    route: str,
    engine: str = "x86",
    activation_bits: int = 8,
) -> QuantizedResNet | ExportedQAT:
    """A copy of `model` that simulates int8, in train mode.

    `example` is a float32 batch, (B, 3, H, W); it is exported, not learned from.
    `engine` is the one to convert for, and concerns the eager route alone. With 7
    `activation_bits` codes end at 127, PyTorch's default for x86; see StaticConfig.
    Evaluating moves the ranges too until `freeze_ranges`. Raises ValueError for another
    route, bits or engine, and a network that is no ResNet of this study on the eager
    route; ImportError where the route is not installed.
    """
    if route not in ROUTES:
        raise ValueError(f"route {route!r} is not one of {ROUTES}")
    if activation_bits not in ACTIVATION_BITS:
        raise ValueError(
            f"activation_bits {activation_bits!r} is not one of {ACTIVATION_BITS}"
        )
    model = copy.deepcopy(model).train()
    if route == "eager":
        return _prepare_eager(model, engine, activation_bits)
    return _prepare_pt2e(model, example, activation_bits)


def freeze_ranges(trainable: QuantizedResNet | ExportedQAT) -> None:
    """Stop the moving averages of weights and activations; rounding goes on."""
    for module in trainable.modules():
        # Both libraries' fake quantizers, which share a history and this name.
        if hasattr(module, "disable_observer"):
            module.disable_observer()


def freeze_statistics(trainable: QuantizedResNet | ExportedQAT) -> None:
    """Normalize by the running statistics from now on, in train mode as well."""
    if isinstance(trainable, ExportedQAT):
        trainable.frozen = True
        trainable.train(trainable.training)
    else:
        trainable.apply(legacy.qat_modules().freeze_bn_stats)


def convert(trainable: QuantizedResNet | ExportedQAT) -> nn.Module:
    """The int8 network in eval mode; `trainable` is left as it is.

    Eager: a QuantizedResNet that runs int8 kernels. PT2E: an fx.GraphModule with
    quantize and dequantize nodes, int8 once `pt2e.compiled` has lowered it.
    """
    with warnings.catch_warnings():
        # torch's own words about how it copies an exported graph's signature.
        warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)
        final = copy.deepcopy(trainable).eval()
    if isinstance(final, ExportedQAT):
        return torchao("quantize_pt2e").convert_pt2e(final.network)
    with legacy.engine(final.engine), legacy.announced_removal(), torch.no_grad():
        return legacy.eager_api().convert(final, inplace=True)


def _prepare_eager(
    model: nn.Module, engine: str, activation_bits: int
) -> QuantizedResNet:
    if not isinstance(model, ResNet):
        raise ValueError(
            f"network {type(model).__name__} is not a qstudy.models.resnet.ResNet, the "
            "only kind whose additions are known here: use the route 'pt2e'"
        )
    api = legacy.eager_api()
    groups = [
        [path for path in (pair.conv, pair.bn, pair.relu) if path]
        for pair in fusion.find_pairs(model)
    ]
    network = api.fuse_modules_qat(model, groups)
    for block in network.modules():
        if isinstance(block, BasicBlock):
            block.add, block.relu2 = AddReLU(), nn.Identity()
    wrapped = QuantizedResNet(network, engine=engine).train()
    wrapped.qconfig = _qconfig(activation_bits)
    with legacy.engine(engine), legacy.announced_removal():
        return api.prepare_qat(wrapped, inplace=True)


def _qconfig(activation_bits: int) -> Any:
    """PyTorch's default for x86 (version 1), spelled out."""
    api = legacy.eager_api()
    return api.QConfig(
        activation=api.FusedMovingAvgObsFakeQuantize.with_args(
            observer=api.MovingAverageMinMaxObserver,
            averaging_constant=0.01,
            dtype=torch.quint8,
            qscheme=torch.per_tensor_affine,
            quant_min=0,
            quant_max=2**activation_bits - 1,
        ),
        weight=api.FusedMovingAvgObsFakeQuantize.with_args(
            observer=api.MovingAveragePerChannelMinMaxObserver,
            averaging_constant=0.01,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            quant_min=QUANT_MIN,
            quant_max=QUANT_MAX,
        ),
    )


def _prepare_pt2e(
    model: nn.Module, example: Tensor, activation_bits: int
) -> ExportedQAT:
    x86 = torchao("quantizer.x86_inductor_quantizer")
    # Two images or more: a batch of one would be exported as the only size there is.
    batch = torch.cat([example, example])
    exported = torch.export.export(
        model, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    quantizer = x86.X86InductorQuantizer().set_global(
        x86.get_default_x86_inductor_quantization_config(
            is_qat=True, reduce_range=activation_bits == 7
        )
    )
    return ExportedQAT(torchao("quantize_pt2e").prepare_qat_pt2e(exported, quantizer))
