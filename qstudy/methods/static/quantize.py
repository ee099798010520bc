"""Quantize a trained network in one call: its ranges from data, its weights as it has.

    quantized = quantize(model, batches, QuantizeConfig())
    logits = quantized(images)

The network is any nn.Module of convolution, linear, batch normalization, ReLU,
addition, concatenation and pooling; what is fused with what is read from its graph
(qstudy.methods.simulate). One configuration gives both forms: `simulated` computes in
floats what integers will, for every width from 2 to 8; `converted` holds the int8
kernels of an engine, which exist for 8 bits alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from qstudy.measure.system import check_engine
from qstudy.methods.calibration import checked_batches
from qstudy.methods.convert import QuantizedNetwork, convert
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.inputs import check_input
from qstudy.methods.simulate import (
    OBSERVERS,
    SimulateConfig,
    calibrate,
    fixed,
    keep_float,
    layers,
    simulate,
)
from qstudy.methods.simulate.ranges import rounded_weight

# Ranges of fewer examples are mostly luck; the chapter measures how much.
FEW = 32


class QuantizationWarning(UserWarning):
    """The result is right, and something about the network or the data is odd."""


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
    """How to quantize; nothing is taken over from an engine's defaults.

    `granularity` is that of the weights. `calibrator` is one of
    qstudy.methods.simulate.OBSERVERS, `options` its own as pairs, such as
    (("percentile", 99.9),). `kept_float` are the paths of layers that stay in fp32;
    `first_last_bits` and `skip_bits`: qstudy.methods.simulate.placement. `engine` None
    keeps the network simulated, as fewer than 8 bits anywhere do. Raises ValueError for
    a value that is not allowed, or an engine this machine lacks.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    granularity: str = "per_channel"
    calibrator: str = "mse"
    options: tuple[tuple[str, Any], ...] = ()
    kept_float: tuple[str, ...] = ()
    first_last_bits: int = 8
    skip_bits: int = 8
    engine: str | None = "x86"

    def __post_init__(self) -> None:
        if self.engine is not None:
            check_engine(self.engine)
        if self.calibrator not in OBSERVERS:
            raise ValueError(
                f"calibrator {self.calibrator!r} is not one of {tuple(OBSERVERS)}"
            )
        if isinstance(self.kept_float, str):
            raise ValueError(
                f"kept_float {self.kept_float!r} is one text: give a tuple of layers, "
                f"({self.kept_float!r},)"
            )
        self.simulation()  # checks the rest

    def simulation(self) -> SimulateConfig:
        """The part that the simulated form is built by."""
        return SimulateConfig(
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            granularity=self.granularity,
            first_last_bits=self.first_last_bits,
            skip_bits=self.skip_bits,
        )

    @property
    def narrowest(self) -> int:
        """The fewest bits that anything has."""
        return min(
            self.weight_bits,
            self.activation_bits,
            self.first_last_bits,
            self.skip_bits,
        )


@dataclass(eq=False)
class _Forms:
    simulated: fx.GraphModule
    converted: QuantizedNetwork | None
    fast: fx.GraphModule = field(repr=False)


class StaticNetwork(nn.Module):
    """A quantized network: float32 (B, ...) in, float32 out, as the original's.

    It runs its converted form where there is one, else the simulated one; `form` says
    which: "int8" or "simulated". Raises ValueError for an input that is not float32, or
    holds NaN or infinity, of which integer kernels would make codes.
    """

    def __init__(
        self,
        config: QuantizeConfig,
        *,
        simulated: fx.GraphModule,
        converted: QuantizedNetwork | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.simulated = simulated
        self.converted = converted
        # Not a submodule: its tensors are those of `simulated` once more.
        self._forms = _Forms(simulated, converted, fixed(simulated))
        self.eval()

    @property
    def form(self) -> str:
        """What `forward` runs."""
        return "simulated" if self.converted is None else "int8"

    def forward(self, x: Tensor) -> Tensor:
        check_input(x)
        return (self.converted or self._forms.fast)(x)

    def extra_repr(self) -> str:
        return f"form={self.form!r}, config={self.config}"


def quantize(
    model: nn.Module, calibration: Iterable[Any], config: QuantizeConfig
) -> StaticNetwork:
    """`model` quantized as `config` says, in eval mode; `model` is left as it is.

    `calibration` are float32 batches (B, C, H, W), prepared as for evaluation, alone or
    first in a tuple with labels. Raises ValueError, one line that names the layer or
    the batch, for a network that is quantized already, an operation without an integer
    form, a layer that is called twice, values that are not finite or all zero, batches
    that `checked_batches` refuses. Warns by name of layers that the network never runs,
    channels whose weights are all zero, fewer than FEW examples, and an engine that has
    no kernels for so few bits.
    """
    _refuse_quantized(model)
    batches = checked_batches(calibration)
    count = sum(len(batch) for batch in batches)
    if count < FEW:
        _warn(
            f"calibrated on {count} examples: ranges of fewer than {FEW} depend on "
            "which they are"
        )
    simulated = simulate(model, config.simulation()).eval()
    keep_float(simulated, config.kept_float)
    calibrate(simulated, batches, observer=config.calibrator, **dict(config.options))
    _warn_of_layers(model, simulated)
    return finished(simulated, config)


def finished(simulated: fx.GraphModule, config: QuantizeConfig) -> StaticNetwork:
    """The network of a calibrated `simulated`, converted where that can be."""
    converted = None
    if config.engine is not None and config.narrowest < 8:
        _warn(
            f"{config.narrowest} bits have no kernels in engine {config.engine!r}: the "
            "network stays simulated, in floats (engine=None says so beforehand)"
        )
    elif config.engine is not None:
        converted = convert(simulated, engine=config.engine)
    return StaticNetwork(config, simulated=simulated, converted=converted)


def _refuse_quantized(model: nn.Module) -> None:
    for path, module in model.named_modules():
        kind = type(module)
        quantized = ".quantized" in kind.__module__ and ".ao.nn" in kind.__module__
        if quantized or isinstance(module, FakeQuantize | QuantizedNetwork):
            where = f"at {path!r}" if path else "as a whole"
            raise ValueError(
                f"network {type(model).__name__} is quantized already, {where} "
                f"({kind.__name__}): start from the fp32 network"
            )


def _warn_of_layers(model: nn.Module, simulated: fx.GraphModule) -> None:
    run = layers(simulated)
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and path not in run:
            _warn(f"layer {path!r} is never run by the network: it was left as it is")
    for path, layer in run.items():
        weight = rounded_weight(layer)
        dead = int((weight.flatten(1) == 0).all(1).sum())
        if dead:
            _warn(
                f"layer {path!r} has {dead} of {len(weight)} channels whose weights "
                "are all zero: they give a constant, and cost what the others cost"
            )


def _warn(message: str) -> None:
    warnings.warn(message, QuantizationWarning, stacklevel=3)
