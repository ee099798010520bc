"""A network that computes in floats what its integer form will compute.

`simulate` puts fake-quantizers where an integer engine rounds: on the weights of every
layer, and on what each kernel gives back, which is a layer with its normalization and
clamp, an addition with its clamp, a concatenation, a pooling, and the input. Where and
how wide is one rule for all chapters: qstudy.methods.simulate.placement.

Activations have unsigned affine codes, so that what a ReLU gives has zero point 0 and
codes 0 to 2^b - 1; weights have signed symmetric ones. What an average pooling gives
keeps the scale of its input, as in the engines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import fx, nn

from qstudy.methods.bnfold import BN_STRATEGIES, ConvBn2d
from qstudy.methods.fakequant import FakeQuantize, FakeQuantizeConfig
from qstudy.methods.learned import quantizer_of
from qstudy.methods.simulate.layers import RoundedLayer, SameScale
from qstudy.methods.simulate.learned import LsqConfig
from qstudy.methods.simulate.placement import (
    PLACEMENTS,
    Placement,
    Rounding,
    check_widths,
)
from qstudy.methods.simulate.ranges import calibrate
from qstudy.methods.simulate.traced import LAYERS, Group, Traced, trace

QUANTIZERS = "activation_quantizers"
WEIGHT_RANGES = ("fixed", "moving_average")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """How a network is quantized; every width from 2 to 8.

    `granularity` is that of the weights. `ranges` are those of the activations
    (qstudy.methods.fakequant); under "pact" a tensor that can be negative has fixed
    ones. `weight_ranges` "moving_average" follows each weight's own extremes at every
    step of training. `bn_strategy`: qstudy.methods.bnfold. Raises ValueError for a
    value that is not allowed.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    granularity: str = "per_channel"
    ranges: str = "fixed"
    weight_ranges: str = "fixed"
    averaging_constant: float = 0.01
    first_last_bits: int = 8
    skip_bits: int = 8
    bn_strategy: str = "frozen"
    # Where engines round. The one rule for ranges that are not learned.
    placement: ClassVar[str] = "outputs"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("weight_ranges", WEIGHT_RANGES),
            ("bn_strategy", BN_STRATEGIES),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {allowed}")
        check_widths(self)

    def weight(self, bits: int) -> FakeQuantizeConfig:
        """The quantizer of a weight."""
        return FakeQuantizeConfig(
            bits=bits,
            signed=True,
            scheme="scale",
            granularity=self.granularity,
            ranges=self.weight_ranges,
            averaging_constant=1.0,
        )

    def activation(self, bits: int, *, signed: bool) -> FakeQuantizeConfig:
        """The quantizer of an activation, `signed` where it can be negative."""
        fixed = signed and self.ranges == "pact"
        return FakeQuantizeConfig(
            bits=bits,
            ranges="fixed" if fixed else self.ranges,
            averaging_constant=self.averaging_constant,
        )


def simulate(
    model: nn.Module,
    config: SimulateConfig | LsqConfig,
    *,
    calibration: Iterable[Any] | None = None,
) -> fx.GraphModule:
    """A copy of `model` with fake-quantizers in place; `model` is left as it is.

    A layer keeps its path, where it is a RoundedLayer, or a ConvBn2d that holds its
    normalization too; quantizers of activations are submodules of
    `activation_quantizers`.
    `calibration` batches, (image, label) pairs among them, set the ranges by
    `calibrate` with its defaults; without, that is still to be done. Learned steps are
    rather set by qstudy.methods.lsq.start. Raises ValueError for what `trace` refuses.
    """
    traced = trace(model)
    placement = PLACEMENTS[config.placement](traced, config)
    _round_weights(traced, config, placement)
    _round_activations(traced, config, placement)
    for group in traced.groups:
        if group.bn is not None:  # now a part of its convolution's module
            group.bn.replace_all_uses_with(group.first)
            traced.graph.erase_node(group.bn)
    name = f"Simulated{type(model).__name__}"
    simulated = fx.GraphModule(traced.root, traced.graph, class_name=name)
    simulated.train(model.training)
    # A GraphModule keeps `meta` when it is copied, and no other attribute.
    simulated.meta["config"] = config
    if calibration is not None:
        calibrate(simulated, calibration)
    return simulated


def config_of(simulated: nn.Module) -> SimulateConfig | LsqConfig:
    """The configuration a network was made with; ValueError for any other network."""
    config = getattr(simulated, "meta", {}).get("config")
    if not isinstance(config, SimulateConfig | LsqConfig):
        raise ValueError(
            f"network {type(simulated).__name__} was not made by simulate: pass what "
            "qstudy.methods.simulate.simulate returned"
        )
    return config


def _round_weights(
    traced: Traced, config: SimulateConfig | LsqConfig, placement: Placement
) -> None:
    for group in traced.groups:
        if group.kind not in LAYERS:
            continue
        layer = traced.root.get_submodule(group.name)
        per_channel = config.granularity == "per_channel"
        quantizer = quantizer_of(
            config.weight(placement.weights[group]),
            channels=len(layer.weight) if per_channel else None,
            name=f"{group.name}.weight",
        )
        if group.bn is None:
            rounded = RoundedLayer(layer, quantizer)
        else:
            rounded = ConvBn2d(
                layer,
                traced.root.get_submodule(group.bn.target),
                strategy=config.bn_strategy,
                weight_quantizer=quantizer,
            )
        traced.root.set_submodule(group.name, rounded)


def _round_activations(
    traced: Traced, config: SimulateConfig | LsqConfig, placement: Placement
) -> None:
    if hasattr(traced.root, QUANTIZERS):
        raise ValueError(
            f"the network has an attribute {QUANTIZERS!r} of its own: rename it"
        )
    traced.root.add_module(QUANTIZERS, nn.Module())

    def insert(module: nn.Module, node: fx.Node, name: str) -> fx.Node:
        path = f"{QUANTIZERS}.{name.replace('.', '_')}"
        while hasattr(traced.root.get_submodule(QUANTIZERS), path.split(".")[1]):
            path += "_"
        traced.root.set_submodule(path, module)
        with traced.graph.inserting_after(node):
            return traced.graph.call_module(path, (node,))

    def quantizer(rounding: Rounding, name: str) -> FakeQuantize:
        described = config.activation(rounding.bits, signed=rounding.signed)
        return quantizer_of(described, name=name)

    placed: dict[fx.Node, fx.Node] = {}
    made: dict[Group, FakeQuantize] = {}
    for group, rounding in placement.outputs.items():
        if group in placement.sources:
            made[group] = made[placement.sources[group]]
            module: nn.Module = SameScale(made[group])
        else:
            name = group.name if group.kind == "input" else f"{group.name}.output"
            module = made[group] = quantizer(rounding, name)
        users = list(group.last.users)
        placed[group.last] = insert(module, group.last, group.name)
        for user in users:
            user.replace_input_with(group.last, placed[group.last])
    for rounding, readers in placement.inputs.items():
        name = f"{readers[0].name}.input"
        node = placed.get(rounding.node, rounding.node)
        narrow = insert(quantizer(rounding, name), node, name)
        for group in readers:
            group.first.replace_input_with(node, narrow)
