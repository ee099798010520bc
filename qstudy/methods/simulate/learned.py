"""How LSQ quantizes a network: every step learned, where the paper places them.

Esser et al. 2020 (arXiv 1902.08153, section 2): the input and the weight of each
convolution and linear layer, one step for each tensor, 8 bits in the first and last
layer; normalization stays apart. Everything else is a variant that is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from qstudy.methods.bnfold import BN_STRATEGIES
from qstudy.methods.learned import LearnedStepConfig
from qstudy.methods.simulate.placement import PLACEMENTS, check_widths

# What N counts of an activation; of a weight it is always its own values.
COUNTS = ("features", "batch")


@dataclass(frozen=True, kw_only=True)
class LsqConfig:
    """A network with learned steps; every width from 2 to 8.

    `placement` "inputs" is the paper's; "outputs" is that of the engines, whose skip
    path is rounded to `skip_bits` (qstudy.methods.simulate.placement). `granularity`
    is that of the weights, `offset` that of activations after LSQ+; the other variants,
    for both, are those of qstudy.methods.learned. Raises ValueError for a value that is
    not allowed.
    """

    weight_bits: int = 2
    activation_bits: int = 2
    first_last_bits: int = 8
    skip_bits: int = 8
    placement: str = "inputs"
    granularity: str = "per_tensor"
    bn_strategy: str = "none"
    start: str = "paper"
    count: str = "features"
    gradient: str = "full"
    bounds: str = "paper"
    positivity: str = "clamp"
    offset: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("placement", tuple(PLACEMENTS)),
            ("bn_strategy", BN_STRATEGIES),
            ("count", COUNTS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {allowed}")
        check_widths(self)

    def weight(self, bits: int) -> LearnedStepConfig:
        """The quantizer of a weight: signed codes, N the weights that share a step."""
        return LearnedStepConfig(
            bits=bits,
            signed=True,
            granularity=self.granularity,
            count="weight",
            **self._variants(),
        )

    def activation(self, bits: int, *, signed: bool) -> LearnedStepConfig:
        """The quantizer of an activation, `signed` where it can be negative."""
        return LearnedStepConfig(
            bits=bits,
            signed=signed,
            count=self.count,
            offset=self.offset,
            **self._variants(),
        )

    def _variants(self) -> dict[str, str]:
        names = ("start", "gradient", "bounds", "positivity")
        return {name: getattr(self, name) for name in names}
