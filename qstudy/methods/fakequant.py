"""The fake-quantizer: rounds in the forward pass, lets gradients through.

    q = clip(round(x / s) + z, q_min, q_max),        y = s (q - z)

computed on floats, so that a network trains on what its integer form will compute
(Jacob et al. 2018, arXiv 1712.05877, section 3). The derivative of the rounding is
taken to be 1 (Bengio et al. 2013, arXiv 1308.3432), and that of the clipping is its
own: the gradient passes where the code lay in the range before it was clipped.

Where the range of x comes from is `FakeQuantizeConfig.ranges`:

| ranges | low and high | learned |
|---|---|---|
| fixed | as `set_range` was told | no |
| moving_average | m <- m + c (batch's - m) of each batch's extremes | no |
| pact | 0 to alpha, Choi et al. 2018, arXiv 1805.06085, equations 1 to 3 | alpha |

A step that is learned (LSQ) has a class of its own: qstudy.methods.learned.

The arithmetic is that of qstudy.numerics, in float32 whatever the dtype of x, as
products with 1 / s as in torch's kernels. It reads no value back from a tensor, so a
whole network compiles into one graph, and `observing` and `quantizing` are tensors: a
schedule that turns them compiles nothing again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qstudy.numerics.fakequant import (
    kept,
    pact_clip,
    round_to_codes,
    straight_through,
)
from qstudy.numerics.granularity import Granularity, PerChannel, PerTensor
from qstudy.numerics.mapping import CodeRange, QParams, code_range
from qstudy.numerics.qparams import CONVENTIONS, SCHEMES, scale_and_zero_point
from qstudy.numerics.weights import GRANULARITIES

RANGES = ("fixed", "moving_average", "pact")
BITS = (2, 3, 4, 5, 6, 7, 8)
# The floor of torch's observers: a channel of zeros still has a scale to divide by.
SMALLEST_SCALE = torch.finfo(torch.float32).eps


@dataclass(frozen=True, kw_only=True)
class FakeQuantizeConfig:
    """One quantizer, described in full.

    `scheme` "scale" is the symmetric one, zero point 0, for signed codes; `convention`
    says how its scale follows from the range (qstudy.numerics.qparams). A per-channel
    scale is one for each index of axis 0. `averaging_constant` is c of the moving
    average; 1 follows the tensor itself, as suits weights. PACT is for unsigned affine
    codes with one scale: what a ReLU gives. Raises ValueError for a value or a
    combination that is not allowed.
    """

    bits: int = 8
    signed: bool = False
    scheme: str = "affine"
    granularity: str = "per_tensor"
    ranges: str = "fixed"
    averaging_constant: float = 0.01
    convention: str = "half_range"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("bits", BITS),
            ("signed", (True, False)),
            ("scheme", SCHEMES),
            ("granularity", GRANULARITIES),
            ("ranges", RANGES),
            ("convention", CONVENTIONS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {allowed}")
        if not 0 < self.averaging_constant <= 1:
            raise ValueError(
                f"averaging_constant {self.averaging_constant} is outside 0 (excluded) "
                "to 1"
            )
        if self.scheme == "scale" and not self.signed:
            raise ValueError(
                "scheme 'scale' with signed False would spend half of its codes on "
                "nothing where values are positive: use scheme 'affine'"
            )
        affine = self.scheme == "affine" and self.granularity == "per_tensor"
        if self.ranges == "pact" and (self.signed or not affine):
            raise ValueError(
                f"ranges 'pact' with signed {self.signed}, scheme {self.scheme!r} and "
                f"granularity {self.granularity!r}: it is defined for unsigned affine "
                "codes per tensor"
            )

    @property
    def codes(self) -> CodeRange:
        """quant_min and quant_max, as `low` and `high`."""
        return code_range(self.bits, signed=self.signed)

    @property
    def layout(self) -> Granularity:
        """`granularity` as qstudy.numerics has it."""
        return PerTensor() if self.granularity == "per_tensor" else PerChannel(0)


class FakeQuantize(nn.Module):
    """Float in, the nearest values that have a code out, of the same shape and dtype.

    `channels` is the size of axis 0 for a per-channel scale; `name` is what errors call
    the module by. A range starts as NaN, which stands for none; it is set by
    `set_range`, or by the batches of training mode while `observing` is on. With
    `quantizing` off x passes as it is. Both are bool tensors of shape (), set by
    `observe` and `quantize`; they, the range and PACT's alpha are all of the state.

    Raises ValueError, from the eager forward pass, where no range has been set. In a
    compiled graph, where no tensor can be asked, the output is then NaN.
    """

    low: Tensor
    high: Tensor
    observing: Tensor
    quantizing: Tensor

    def __init__(
        self, config: FakeQuantizeConfig, *, channels: int | None = None, name: str = ""
    ) -> None:
        super().__init__()
        if (channels is None) != (config.granularity == "per_tensor"):
            raise ValueError(
                f"channels {channels} does not fit granularity {config.granularity!r}: "
                "a per-channel scale needs their number, a per-tensor one has none"
            )
        self.config = config
        self.name = name
        self._hold_range(() if channels is None else (channels,))
        on = config.ranges == "moving_average"
        self.register_buffer("observing", torch.tensor(on))
        self.register_buffer("quantizing", torch.tensor(True))

    def _hold_range(self, shape: tuple[int, ...]) -> None:
        if self.config.ranges == "pact":
            self.alpha = nn.Parameter(torch.full((), math.nan))
        else:
            self.register_buffer("low", torch.full(shape, math.nan))
            self.register_buffer("high", torch.full(shape, math.nan))

    def observe(self, on: bool) -> None:
        """Let the batches that training shows move the range, or keep it."""
        if on and self.config.ranges != "moving_average":
            raise ValueError(
                f"{self._said()} has {self.config.ranges} ranges, which observe "
                "nothing: only moving_average ones do"
            )
        self.observing.fill_(on)

    def quantize(self, on: bool) -> None:
        """Round, or let x pass as it is."""
        self.quantizing.fill_(on)

    def range(self) -> tuple[Tensor, Tensor]:
        """(low, high), each float32 (), or (C,) per channel; detached."""
        if self.config.ranges == "pact":
            high = self.alpha.detach()
            return torch.zeros_like(high), high
        return self.low.detach(), self.high.detach()

    def set_range(self, low: Tensor | float, high: Tensor | float) -> None:
        """Copy a range into the module's own tensors, which are never rebound.

        Raises ValueError as `checked_range`.
        """
        low, high = self.checked_range(low, high)
        with torch.no_grad():
            if self.config.ranges == "pact":
                self.alpha.copy_(high)
            else:
                self.low.copy_(low)
                self.high.copy_(high)

    def checked_range(
        self, low: Tensor | float, high: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """`low` and `high` as tensors that this quantizer can have for its range.

        Raises ValueError for another shape, NaN, infinite or reversed ranges, for one
        that is zero throughout, and for negative values under PACT.
        """
        shape, dtype = self.range()[0].shape, self.range()[0].dtype
        low, high = (torch.as_tensor(end, dtype=dtype).detach() for end in (low, high))
        if low.shape != shape or high.shape != shape:
            raise ValueError(
                f"{self._said()} is given a range of shape {tuple(low.shape)} and "
                f"{tuple(high.shape)}: {tuple(shape)} is needed"
            )
        _check_ends(low, high, self._said())
        if not bool((low != 0).any() or (high != 0).any()):
            raise ValueError(
                f"{self._said()} is given the range 0 to 0: what it quantizes was all "
                "zero; calibrate on other data, or leave the layer out"
            )
        if self.config.ranges == "pact" and not bool((low >= 0) & (high > 0)):
            raise ValueError(
                f"{self._said()} is given the range {low.item()} to {high.item()}: "
                "PACT clips what a ReLU gives, 0 to alpha"
            )
        return low, high

    def qparams(self) -> QParams:
        """Scale, zero point and codes, as an integer network needs them; checked.

        Raises ValueError where there is no range or it is not finite.
        """
        self._check_range()
        scale, zero = self._scale_and_zero_point()
        return QParams(scale.detach(), zero, self.config.codes, self.config.layout)

    def forward(self, x: Tensor) -> Tensor:
        if self.config.ranges == "moving_average" and self.training:
            self._observe(x.detach())
        return self.round(x)

    def round(self, x: Tensor, *, parts: int | None = None) -> Tensor:
        """What `forward` gives, the range left as it is.

        With `parts`, x is brought to whole parts of a step first, 1 / parts each.
        """
        if not torch.compiler.is_compiling():
            self._check(x)
        dtype = torch.promote_types(x.dtype, torch.float32)
        scale, zero = (
            self._laid_out(part.detach().to(dtype), x)
            for part in self._scale_and_zero_point()
        )
        options = {"zero_point": zero, "codes": self.config.codes, "parts": parts}
        if self.config.ranges == "pact":
            clipped = pact_clip(x, self._alpha().to(dtype))
            rounded = round_to_codes(clipped.detach(), scale=scale, **options)
            y = straight_through(rounded, clipped).to(x.dtype)
        else:
            y = round_to_codes(x, scale=scale, **options)
        return torch.where(self.quantizing, y, x)

    def _laid_out(self, parameter: Tensor, x: Tensor) -> Tensor:
        if self.config.granularity == "per_tensor":
            return kept(parameter)
        return self.config.layout.expand(parameter, x)

    def _scale_and_zero_point(self) -> tuple[Tensor, Tensor]:
        if self.config.ranges == "pact":
            high = self._alpha()
            low = torch.zeros_like(high)
        else:
            low, high = self.low, self.high
        return scale_and_zero_point(
            low,
            high,
            codes=self.config.codes,
            scheme=self.config.scheme,
            convention=self.config.convention,
            smallest_scale=SMALLEST_SCALE,
        )

    def _alpha(self) -> Tensor:
        # Never at 0 or below, and still with a gradient there that can bring it back.
        least = SMALLEST_SCALE * (self.config.codes.levels - 1)
        return straight_through(self.alpha.clamp(min=least), self.alpha)

    def _observe(self, x: Tensor) -> None:
        if self.config.granularity == "per_tensor":
            low, high = torch.aminmax(x)  # in any layout, without a copy
        else:
            low, high = torch.aminmax(self.config.layout.grouped(x), dim=1)
        for held, seen in ((self.low, low), (self.high, high)):
            seen = seen.to(held.dtype)
            moved = held + self.config.averaging_constant * (seen - held)
            moved = torch.where(torch.isnan(held), seen, moved)
            held.copy_(torch.where(self.observing, moved, held))

    def _check(self, x: Tensor) -> None:
        if not x.is_floating_point():
            raise ValueError(f"{self._said()} is given {x.dtype}: floats are needed")
        if bool(self.quantizing):
            self._check_range()

    def _check_range(self) -> None:
        low, high = self.range()
        if bool(torch.isnan(low).any() | torch.isnan(high).any()):
            raise ValueError(
                f"{self._said()} has no range: calibrate it (set_range), or train with "
                "observing on, and look for NaN in what it was shown"
            )
        if self.config.ranges != "pact":
            _check_ends(low, high, self._said())

    def _said(self) -> str:
        return f"fake-quantizer {self.name!r}"

    def extra_repr(self) -> str:
        c = self.config
        sort = "signed" if c.signed else "unsigned"
        return f"{c.bits} bits, {sort}, {c.scheme}, {c.granularity}, {c.ranges}"


def _check_ends(low: Tensor, high: Tensor, who: str) -> None:
    fine = torch.isfinite(low) & torch.isfinite(high) & (low <= high)
    if not bool(fine.all()):
        bad = ~fine
        raise ValueError(
            f"{who} is given the range {low[bad].flatten()[0].item()} to "
            f"{high[bad].flatten()[0].item()}: two finite numbers, the smaller first, "
            "are needed"
        )
