"""A simulated network in the bytes that it takes: codes of 2 to 8 bits, packed.

What inference needs and nothing else. Of each rounded weight: its codes, packed
without a gap (qstudy.numerics.packing), under the weight's name and the kind of code,
`stage1.0.conv1.conv.weight.int2`, and its scale. Of each quantizer of an activation:
its scale, `activation_quantizers.x.step.uint2`, and its zero point where it has one.
Normalizations, biases and weights left in float are as they are.

A network with learned steps is read back with `fill` and then answers as the one that
was packed, to the last bit: a code times its step rounds to itself.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, fx

from qstudy.methods.bnfold import ConvBn2d
from qstudy.methods.fakequant import FakeQuantize
from qstudy.methods.learned import LearnedQuantize
from qstudy.methods.simulate import layers, quantizers
from qstudy.methods.simulate.ranges import rounded_weight
from qstudy.models import zoo
from qstudy.numerics.lsq_steps import check_step, parameter_of
from qstudy.numerics.mapping import quantize
from qstudy.numerics.packing import pack, unpack


def packed_tensors(simulated: fx.GraphModule) -> dict[str, Tensor]:
    """The tensors of `simulated` for a file, weights packed; detached.

    Raises ValueError for a network without quantizers, and by name for one that has no
    range, or has learned an offset.
    """
    made = {
        name: tensor.detach()
        for name, tensor in simulated.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    weights = {
        id(layer.weight_quantizer): (n, layer) for n, layer in _weights(simulated)
    }
    for path, quantizer in quantizers(simulated).items():
        for name in [name for name in made if name.startswith(f"{path}.")]:
            del made[name]
        qparams, kind = quantizer.qparams(), _kind(quantizer)
        learned = isinstance(quantizer, LearnedQuantize)
        if id(quantizer) not in weights:
            made[f"{path}.step.{kind}"] = qparams.scale.clone()
            if not learned:
                made[f"{path}.zero_point"] = qparams.zero_point.to(torch.uint8)
            continue
        weight, layer = weights[id(quantizer)]
        codes = quantize(rounded_weight(layer).float(), qparams, invert=not learned)
        made[f"{path}.step"] = qparams.scale.clone()
        made[f"{weight}.{kind}"] = pack(codes, bits=quantizer.config.bits, signed=True)
        del made[weight]
    return made


def fill(simulated: fx.GraphModule, found: dict[str, Tensor], path: Path | str) -> None:
    """Copy the tensors `found` (of the file `path`) into `simulated`, all or none.

    Raises ValueError, one line that names the file, for tensors that are not those of
    this network with these bits, a step that is 0 or not finite, damaged codes, and a
    network whose steps are not learned.
    """
    state, own = dict(found), simulated.state_dict()
    weights = {id(layer.weight_quantizer): name for name, layer in _weights(simulated)}
    for place, quantizer in quantizers(simulated).items():
        if not isinstance(quantizer, LearnedQuantize):
            raise ValueError(
                f"network {type(simulated).__name__} has quantizers that are not "
                f"learned ({place}): packed ones are read back into those of LsqConfig"
            )
        kind, weight = _kind(quantizer), weights.get(id(quantizer))
        stored = f"{place}.step" if weight else f"{place}.step.{kind}"
        step = state.pop(stored, None)
        if step is None:
            continue  # named below, with all that is missing
        try:
            check_step(step, name=stored)
            rule = quantizer.config.positivity
            state[f"{place}.step"] = parameter_of(step, rule=rule)
            if weight and f"{weight}.{kind}" in state:
                state[weight] = _unpacked(
                    state.pop(f"{weight}.{kind}"), step, quantizer, own[weight]
                )
        except ValueError as error:
            raise ValueError(f"checkpoint {path} is damaged: {error}") from error
    constant = ("num_batches_tracked", "bits", "observing", "quantizing")
    for name, tensor in own.items():
        if name.rpartition(".")[2] in constant:
            state.setdefault(name, tensor)
    zoo.fill(simulated, state, path)


def _unpacked(
    packed: Tensor, step: Tensor, quantizer: FakeQuantize, weight: Tensor
) -> Tensor:
    codes = unpack(
        packed, bits=quantizer.config.bits, signed=True, shape=tuple(weight.shape)
    )
    layout = quantizer.config.layout
    return codes.to(weight.dtype) * layout.expand(step, weight)


def _weights(simulated: fx.GraphModule) -> list[tuple[str, ConvBn2d]]:
    """Each rounded layer with the name of its weight in the state."""
    return [
        (f"{path}.{'conv' if isinstance(layer, ConvBn2d) else 'layer'}.weight", layer)
        for path, layer in layers(simulated).items()
    ]


def _kind(quantizer: FakeQuantize) -> str:
    config = quantizer.config
    return f"{'' if config.signed else 'u'}int{config.bits}"
