"""Which tensors of a network are rounded to how many bits: one rule for all chapters.

The result of each kernel (a Group of qstudy.methods.simulate.traced) is rounded once.
How finely follows from who reads it:

| reader | bits |
|---|---|
| a convolution or linear layer | `activation_bits` |
| the first and the last of them | `first_last_bits` |
| an addition, a concatenation, an average pooling | `skip_bits` |
| whoever takes the network's output | `first_last_bits` |

First is a layer that reads the network's input, last one whose result no other layer
reads; their weights have `first_last_bits` too, those of the others `weight_bits`.
A tensor with several readers has the largest of these, and a layer that wants fewer
bits rounds once more at its own input. So the skip path of a residual block keeps 8
bits where its convolutions see 2, and the whole network can still run in integers.
Where all bits are equal nothing is rounded twice: W8A8 is what the engines compute.

`place_inputs` is the other rule, that of LSQ (Esser et al. 2020, arXiv 1902.08153,
section 2): what a convolution or linear layer reads is rounded, once for all layers
that read it as finely, and nothing else; sums and the skip path stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import fx

from qstudy.methods.simulate.traced import LAYERS, Group, Traced


class Widths(Protocol):
    """The part of a configuration that decides about bits, each from 2 to 8."""

    weight_bits: int
    activation_bits: int
    first_last_bits: int
    skip_bits: int

    def weight(self, bits: int) -> object:
        """The quantizer of a weight; ValueError for `bits` that it cannot have."""

    def activation(self, bits: int, *, signed: bool) -> object:
        """The quantizer of an activation; ValueError likewise."""


def check_widths(widths: Widths) -> None:
    """ValueError, naming the field, for a width that some quantizer cannot have."""
    for name in ("weight_bits", "activation_bits", "first_last_bits", "skip_bits"):
        try:
            widths.weight(getattr(widths, name))
            widths.activation(getattr(widths, name), signed=False)
        except ValueError as error:
            told = str(error).replace("bits ", f"{name} ", 1)
            raise ValueError(told) from None


@dataclass(frozen=True)
class Rounding:
    """What a quantizer after `node` does; `signed` where values can be negative."""

    node: fx.Node
    bits: int
    signed: bool


@dataclass(frozen=True)
class Placement:
    """Bits of each layer's weight, and where activations are rounded.

    `outputs`: the result of each group. `sources`: an average pooling and the group
    whose scale it keeps. `inputs`: second roundings, and the layers that read them.
    """

    weights: dict[Group, int]
    outputs: dict[Group, Rounding]
    sources: dict[Group, Group]
    inputs: dict[Rounding, list[Group]]


def place(traced: Traced, widths: Widths) -> Placement:
    """Where the rule above puts quantizers in `traced`, a graph without any."""
    weights, reads = _bits(traced, widths)
    made = Placement(weights, {}, {}, {})
    for group in traced.groups:
        readers = traced.readers(group)
        bits = max(
            reads.get(reader, widths.skip_bits) if reader else widths.first_last_bits
            for reader, _ in readers
        )
        if group.kind == "average":
            made.sources[group] = traced.origin(group.first.args[0])
            bits = made.outputs[made.sources[group]].bits
        signed = not traced.never_negative(group.last)
        made.outputs[group] = Rounding(group.last, bits, signed)
        for reader, node in readers:
            if reader in reads and reads[reader] < bits:
                _read(made, traced, reader, node, reads[reader])
    return made


def place_inputs(traced: Traced, widths: Widths) -> Placement:
    """Quantizers at what layers read, and nowhere else; `skip_bits` is not asked."""
    weights, reads = _bits(traced, widths)
    made = Placement(weights, {}, {}, {})
    for group in traced.groups:
        for reader, node in traced.readers(group):
            if reader in reads:
                _read(made, traced, reader, node, reads[reader])
    return made


PLACEMENTS = {"outputs": place, "inputs": place_inputs}


def _bits(traced: Traced, widths: Widths) -> tuple[dict[Group, int], dict[Group, int]]:
    """By layer, the bits of its weight and of what it reads."""
    weights, reads = {}, {}
    for group in traced.groups:
        if group.kind in LAYERS:
            edge = _is_edge(group, traced)
            weights[group] = widths.first_last_bits if edge else widths.weight_bits
            reads[group] = widths.first_last_bits if edge else widths.activation_bits
    return weights, reads


def _read(
    made: Placement, traced: Traced, reader: Group, node: fx.Node, bits: int
) -> None:
    rounding = Rounding(node, bits, not traced.never_negative(node))
    made.inputs.setdefault(rounding, []).append(reader)


def _is_edge(group: Group, traced: Traced) -> bool:
    """Whether a layer reads the network's input, or none reads its result."""
    if traced.origin(group.first.args[0]).kind == "input":
        return True
    ahead, seen = [group], {group}
    while ahead:
        for reader, _ in traced.readers(ahead.pop()):
            if reader is None or reader in seen:
                continue
            if reader.kind in LAYERS:
                return False
            seen.add(reader)
            ahead.append(reader)
    return True
