"""The fake-quantizer whose step is learned: LSQ, and every variant that is compared.

    v_hat = s round(clip(v / s, -Q_N, Q_P)),      s = positive(parameter)

(Esser et al. 2020, arXiv 1902.08153; the arithmetic and its gradients are those of
qstudy.numerics.lsq and lsq_steps.) The step is a parameter from construction on and is
never rebound, so that an optimizer built at any time updates it. It starts as NaN,
which stands for none; `start` sets it from a tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qstudy.methods.fakequant import FakeQuantize, FakeQuantizeConfig
from qstudy.numerics import lsq_steps
from qstudy.numerics.fakequant import kept, straight_through
from qstudy.numerics.granularity import Granularity, PerChannel, PerTensor
from qstudy.numerics.lsq import BOUNDS, fake_quantize, learned_codes
from qstudy.numerics.lsq_steps import (
    GRADIENT_SCALES,
    POSITIVITY,
    STARTS,
    check_step,
    feature_count,
    gradient_scale,
    initial_offset,
    initial_step,
    parameter_of,
    positive,
)
from qstudy.numerics.mapping import CodeRange, QParams, code_range
from qstudy.numerics.weights import GRANULARITIES

# Which values N counts: those of one image, of the whole batch, or of a weight.
COUNTS = ("features", "batch", "weight")


@dataclass(frozen=True, kw_only=True)
class LearnedStepConfig:
    """One quantizer with a learned step, described in full.

    Codes are -2^(b-1) to 2^(b-1) - 1 where `signed`, else 0 to 2^b - 1. `count` says
    what N is in the gradient's scale 1 / sqrt(N Q_P), which `gradient` varies; `start`
    is where the step begins, `positivity` how it stays above 0, `bounds` which values
    count as inside, `offset` whether one is learned (LSQ+). Per channel, N is the
    share of one channel. Raises ValueError for a value that is not allowed.
    """

    bits: int = 2
    signed: bool = False
    granularity: str = "per_tensor"
    count: str = "features"
    gradient: str = "full"
    bounds: str = "paper"
    start: str = "paper"
    positivity: str = "clamp"
    offset: bool = False

    def __post_init__(self) -> None:
        learned_codes(self.bits, signed=self.signed)
        for name, allowed in (
            ("signed", (True, False)),
            ("granularity", GRANULARITIES),
            ("count", COUNTS),
            ("gradient", GRADIENT_SCALES),
            ("bounds", BOUNDS),
            ("start", STARTS),
            ("positivity", POSITIVITY),
            ("offset", (True, False)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {allowed}")
        if self.granularity == "per_channel" and self.count != "weight":
            raise ValueError(
                f"granularity 'per_channel' with count {self.count!r}: axis 0 of an "
                "activation is its batch, so only a weight has channels there"
            )

    @property
    def ranges(self) -> str:
        """Where the range comes from, as FakeQuantizeConfig has it."""
        return "lsq"

    @property
    def codes(self) -> CodeRange:
        """-Q_N and Q_P, as `low` and `high`."""
        return learned_codes(self.bits, signed=self.signed)

    @property
    def layout(self) -> Granularity:
        """`granularity` as qstudy.numerics has it."""
        return PerTensor() if self.granularity == "per_tensor" else PerChannel(0)


class LearnedQuantize(FakeQuantize):
    """A FakeQuantize whose parameter `step`, and `offset` if there is one, is learned.

    Both are float32 () or (C,). `observing` is off for good. `bits` is kept in the
    state, so that a checkpoint of another width is refused; so is a step of 0, NaN or
    infinity. Errors are ValueErrors with the quantizer's name.
    """

    config: LearnedStepConfig
    bits: Tensor

    def __init__(
        self, config: LearnedStepConfig, *, channels: int | None = None, name: str = ""
    ) -> None:
        super().__init__(config, channels=channels, name=name)
        # A float, which an average over updates leaves exactly as it is.
        self.register_buffer("bits", torch.tensor(float(config.bits)))

    def _hold_range(self, shape: tuple[int, ...]) -> None:
        self.step = nn.Parameter(torch.full(shape, math.nan))
        self.offset = nn.Parameter(torch.zeros(shape)) if self.config.offset else None

    def scale(self) -> Tensor:
        """The step that the parameter stands for, float32, with its gradient."""
        return positive(self.step, rule=self.config.positivity)

    def start(self, v: Tensor) -> None:
        """Set the step, and the offset, from the tensor to be rounded."""
        options = {"codes": self.config.codes, "granularity": self.config.layout}
        try:
            if self.config.offset:
                self._set(*initial_offset(v, **options))
            else:
                self._set(initial_step(v, how=self.config.start, **options))
        except ValueError as error:
            raise ValueError(f"{self._said()}: {error}") from error

    def settle(self) -> None:
        """Put the step itself in the place of a parameter that is not one.

        What is computed stays, to the bit. After softplus a parameter never is a step.
        """
        if self.config.positivity != "softplus":
            self._set(self.scale().detach())

    def check(self) -> None:
        """Raise ValueError where no step has been set, or it is not finite."""
        self._check_range()

    def range(self) -> tuple[Tensor, Tensor]:
        """The least and the largest value that have a code; detached."""
        step, codes = self.scale().detach(), self.config.codes
        base = 0.0 if self.offset is None else self.offset.detach()
        return base + codes.low * step, base + codes.high * step

    def set_range(self, low: Tensor | float, high: Tensor | float) -> None:
        """The least step that has a code for both ends; raises as `checked_range`."""
        low, high = self.checked_range(low, high)
        codes = self.config.codes
        if self.offset is not None:
            step = (high - low) / (codes.levels - 1)
            self._set(step, low - codes.low * step)
            return
        step = high.clamp(min=0) / codes.high
        if codes.low < 0:
            step = torch.maximum(step, low.clamp(max=0) / codes.low)
        self._set(step)

    def qparams(self) -> QParams:
        """Scale, zero point and codes; unsigned with zero point Q_N for an activation.

        Engines have unsigned activations: the signed codes, each Q_N higher. Raises
        ValueError for no step, and for a learned offset, which no zero point stands
        for.
        """
        self._check_range()
        if self.offset is not None:
            raise ValueError(
                f"{self._said()} has learned an offset, which need not be a whole "
                "number of steps: there is no integer zero point for it"
            )
        step, codes = self.scale().detach(), self.config.codes
        zero = 0
        if self.config.count != "weight":
            zero, codes = -codes.low, code_range(self.config.bits, signed=False)
        points = torch.full(step.shape, zero, dtype=torch.int64)
        return QParams(step, points, codes, self.config.layout)

    def round(self, x: Tensor, *, parts: int | None = None) -> Tensor:
        """As FakeQuantize.round, with the gradients of LSQ."""
        if not torch.compiler.is_compiling():
            self._check(x)
        config = self.config
        step = self.scale()
        if step.dim() == 0:
            step = kept(step)
        if parts is not None:
            fine = step.detach() / parts
            x = straight_through(torch.round(x.detach() / fine) * fine, x)
        y = fake_quantize(
            x,
            step,
            codes=config.codes,
            gradient_scale=self.gradient_scale(x),
            bounds=config.bounds,
            granularity=config.layout,
            offset=self.offset,
        )
        return torch.where(self.quantizing, y.to(x.dtype), x)

    def extra_repr(self) -> str:
        sort = "signed" if self.config.signed else "unsigned"
        return f"{self.config.bits} bits, {sort}, {self.config.granularity}, lsq"

    def gradient_scale(self, x: Tensor) -> float:
        """What the gradient of the step is multiplied by where `x` is rounded."""
        config = self.config
        if config.count == "weight":
            count = x.numel() // self.step.numel()
        else:
            count = feature_count(x.shape, with_batch=config.count == "batch")
        return gradient_scale(count, codes=config.codes, how=config.gradient)

    def _set(self, step: Tensor, offset: Tensor | None = None) -> None:
        step = step.to(self.step.dtype).clamp(min=lsq_steps.SMALLEST_STEP)
        check_step(step, name=self.name)
        with torch.no_grad():
            self.step.copy_(parameter_of(step, rule=self.config.positivity))
            if offset is not None:
                self.offset.copy_(offset)

    def _check_range(self) -> None:
        if bool(torch.isnan(self.step).any()):
            raise ValueError(
                f"{self._said()} has no step: start it from what it rounds, and look "
                "for NaN in what it was shown"
            )
        check_step(self.scale().detach(), name=self.name)

    def _load_from_state_dict(self, state: dict, prefix: str, *rest: Any) -> None:
        found = state.get(f"{prefix}bits")
        if found is not None and int(found) != self.config.bits:
            raise ValueError(
                f"{self._said()} has {self.config.bits} bits and the checkpoint "
                f"{int(found)}: build the network with the bits that it was saved with"
            )
        step, rule = state.get(f"{prefix}step"), self.config.positivity
        if step is not None and rule == "softplus":
            check_step(positive(step, rule=rule), name=self.name)
        elif step is not None:
            # In the middle of a training one that was pushed below 0 can come back.
            free = self.training or rule == "abs"
            check_step(step.abs() if free else step, name=self.name)
        super()._load_from_state_dict(state, prefix, *rest)


def quantizer_of(
    config: FakeQuantizeConfig | LearnedStepConfig,
    *,
    channels: int | None = None,
    name: str = "",
) -> FakeQuantize:
    """The fake-quantizer that `config` describes."""
    kind = LearnedQuantize if isinstance(config, LearnedStepConfig) else FakeQuantize
    return kind(config, channels=channels, name=name)
