"""Cross-layer equalization: the same function, weights that one scale suits better.

Between two layers with nothing but a ReLU in between, channel i may be divided by any
s_i > 0 on the way out and multiplied by it on the way in: ReLU(x / s) = ReLU(x) / s.
Nagel et al. 2019 (arXiv 1906.04721, section 4.1, equation 11) choose

    s_i = sqrt(r1_i r2_i) / r2_i

with r1_i the largest magnitude of what makes channel i and r2_i of what reads it: both
then reach sqrt(r1_i r2_i), and the product of precisions is largest. Pairs overlap in a
chain, so all are equalized in turn until nothing moves. A clamp from above (ReLU6) has
no such freedom and ends a chain; `without_clamps` takes it away first, as the paper
does. Its absorption of high biases is left out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qstudy.methods import fusion
from qstudy.methods.simulate.traced import LAYERS, Group, trace


@dataclass(frozen=True)
class LayerPair:
    """Paths of two layers, the second of which alone reads the first's result."""

    first: str
    second: str


def equalize(
    model: nn.Module, *, rounds: int = 40, tolerance: float = 1e-4
) -> nn.Module:
    """A copy of `model`, normalizations folded, whose pairs of layers are equalized.

    It computes what `model` computes in eval mode, to float32's rounding. At most
    `rounds` passes over all pairs; fewer once no s differs from 1 by more than
    `tolerance`. Raises ValueError for rounds below 1, and as qstudy.methods.fusion.fuse
    and qstudy.methods.simulate.simulate for networks that they refuse.
    """
    if rounds < 1:
        raise ValueError(f"rounds {rounds} is below 1: nothing would be equalized")
    equalized = fusion.fuse(model)
    pairs = find_layer_pairs(equalized)
    for _ in range(rounds):
        moved = 0.0
        for pair in pairs:
            factors = _equalize_pair(
                equalized.get_submodule(pair.first),
                equalized.get_submodule(pair.second),
            )
            moved = max(moved, (factors - 1).abs().max().item())
        if moved <= tolerance:
            break
    return equalized


def without_clamps(model: nn.Module) -> nn.Module:
    """A copy of `model` with a ReLU where it has a ReLU6; another function than before.

    Where activations seldom reach 6 it answers nearly alike, and layers on both sides
    can be equalized; score it first, for where they often do the network is ruined.
    Only modules are found; ValueError where there is none.
    """
    made = copy.deepcopy(model)
    clamps = [p for p, m in made.named_modules() if isinstance(m, nn.ReLU6)]
    if not clamps:
        raise ValueError(f"network {type(model).__name__} has no module ReLU6")
    for path in clamps:
        made.set_submodule(path, nn.ReLU())
    return made


def find_layer_pairs(fused: nn.Module) -> list[LayerPair]:
    """The pairs of a network whose normalizations are folded, in calling order."""
    traced = trace(fused)
    pairs = []
    for group in traced.groups:
        if group.kind not in LAYERS or group.bn is not None or group.bounds[1] < _INF:
            continue
        if group.bounds[0] not in (0.0, -_INF):
            continue
        readers = traced.readers(group)
        if len(readers) != 1 or len(group.last.users) != 1:
            continue
        reader, node = readers[0]
        if reader is not None and node is group.last and _fits(traced.root, reader):
            pairs.append(LayerPair(group.name, reader.name))
    return pairs


_INF = float("inf")


def _fits(root: nn.Module, reader: Group) -> bool:
    """Whether a layer's input channels can be told apart in its weight."""
    if reader.kind not in LAYERS:
        return False
    layer = root.get_submodule(reader.name)
    if isinstance(layer, nn.Linear):
        return True
    return layer.groups in (1, layer.in_channels)


def _equalize_pair(
    first: nn.Conv2d | nn.Linear, second: nn.Conv2d | nn.Linear
) -> Tensor:
    """Rescale both in place; the factors s, (channels,)."""
    with torch.no_grad():
        depthwise = isinstance(second, nn.Conv2d) and second.groups > 1
        # Channel i of the first reads row i of its weight; of the second, column i.
        made = first.weight.abs().flatten(1).amax(1)
        columns = second.weight.transpose(0, 1) if not depthwise else second.weight
        if depthwise:  # each input channel has the same number of outputs, in a row
            columns = second.weight.reshape(second.groups, -1)
        read = columns.abs().flatten(1).amax(1)
        factors = (made * read).sqrt() / read
        # A channel that is zero on one side has nothing to trade.
        dead = (made == 0) | (read == 0)
        factors = torch.where(dead, torch.ones_like(factors), factors)
        first.weight.div_(fusion.per_channel(factors, first.weight.dim()))
        if first.bias is not None:
            first.bias.div_(factors)
        if depthwise:
            wide = factors.repeat_interleave(len(second.weight) // second.groups)
            second.weight.mul_(fusion.per_channel(wide, second.weight.dim()))
        else:
            second.weight.mul_(fusion.per_channel(factors, second.weight.dim(), axis=1))
    return factors
