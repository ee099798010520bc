"""The convolutions of EfficientNet-Lite0 with their batch normalisation, as trained.

The study reads this network's weights and never runs it: it stands for the networks
with depthwise convolutions, MobileNetV2's kind, whose ImageNet weights can be had from
a package registry (qstudy.data.weights). Tan and Le 2019; the Lite variant drops
squeeze-and-excitation and swish so that it quantizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

# Of the architecture, not of the file: every EfficientNet normalises with this epsilon.
EPSILON = 1e-3
_STEM_AND_HEAD = (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
_IN_BLOCK = (
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)


@dataclass(frozen=True, eq=False)
class NormalisedConv:
    """A weight (Cout, Cin/groups, kH, kW) and the (Cout,) vectors of its batch norm."""

    name: str
    weight: Tensor
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor


def convolutions(state: Mapping[str, Tensor]) -> Iterator[NormalisedConv]:
    """Every convolution of the state dict, stem first, head last.

    Raises ValueError where a tensor is missing, naming it.
    """
    blocks = sorted({int(k.split(".")[1]) for k in state if k.startswith("_blocks.")})
    pairs = [_STEM_AND_HEAD[0]]
    for block in blocks:
        for conv, bn in _IN_BLOCK:
            # The first block does not expand its input.
            if conv != "_expand_conv" or f"_blocks.{block}.{conv}.weight" in state:
                pairs.append((f"_blocks.{block}.{conv}", f"_blocks.{block}.{bn}"))
    pairs.append(_STEM_AND_HEAD[1])
    for conv, bn in pairs:
        try:
            yield NormalisedConv(
                name=conv.replace("_blocks", "blocks").replace("._", "."),
                weight=state[f"{conv}.weight"],
                gamma=state[f"{bn}.weight"],
                beta=state[f"{bn}.bias"],
                mean=state[f"{bn}.running_mean"],
                var=state[f"{bn}.running_var"],
            )
        except KeyError as error:
            raise ValueError(
                f"the state dict has no {error}: these are not EfficientNet-Lite0's "
                "weights"
            ) from error
