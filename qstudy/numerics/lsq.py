"""Learned step size quantization: the fake quantizer and the gradient of its step.

    v_bar = round(clip(v / s, -Q_N, Q_P))                                (1)
    v_hat = v_bar s                                                      (2)

    d v_hat / d s = v_bar - v / s   where -Q_N < v / s < Q_P             (3)
                    -Q_N            where v / s <= -Q_N
                    Q_P             where v / s >= Q_P
    d v_hat / d v = 1               where -Q_N < v / s < Q_P, else 0     (5)

Equations of Esser et al. 2020 (arXiv 1902.08153); equation 4, the step to start from,
and the scale of the step's gradient are in qstudy.numerics.lsq_steps. The step is the
real width of a code, the `scale` of qstudy.numerics.mapping with zero point 0.

Two public rules differ on which values count as inside. The paper asks the quotient
itself. torch's learnable fake quantizer asks its rounded value, and so also takes in
the half step beyond either end, from Q_P to Q_P + 1/2 and from -Q_N - 1/2 to -Q_N:
there its gradient is 1 for v and v_bar - v / s for s, where the paper's is 0 and the
bound. A tie at the outer edge goes to the even code, as everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qstudy.numerics.fakequant import tied
from qstudy.numerics.granularity import Granularity, PerTensor
from qstudy.numerics.mapping import CodeRange, code_range

BITS = (2, 8)
BOUNDS = ("paper", "torch")


def learned_codes(bits: int, *, signed: bool) -> CodeRange:
    """From -Q_N to Q_P: -2^(b-1) to 2^(b-1) - 1 signed, 0 to 2^b - 1 unsigned.

    Weights and normalised images are signed, what follows a ReLU is not. ValueError for
    bits outside 2 to 8: one signed bit has Q_P = 0, by which the method divides.
    """
    least, most = BITS
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= most:
        raise ValueError(
            f"bits {bits!r} is not a whole number from {least} to {most}, which LSQ "
            "and packed codes are defined for here"
        )
    return code_range(bits, signed=signed)


def fake_quantize(
    v: Tensor,
    step: Tensor,
    *,
    codes: CodeRange,
    gradient_scale: float = 1.0,
    bounds: str = "paper",
    granularity: Granularity | None = None,
    offset: Tensor | None = None,
) -> Tensor:
    """v_hat, float of v's shape, differentiable in `v`, `step` and `offset`.

    `step` is float and positive, of the shape that `granularity` gives: () for one step
    a tensor, as published and by default, (C,) for PerChannel. The arithmetic and the
    result are float32 for a shorter dtype, under autocast too, and float64 for float64.
    The gradient of the step is multiplied by `gradient_scale`. `bounds` is one of
    BOUNDS. With an `offset` b of the step's shape, v_hat = s v_bar((v - b) / s) + b,
    and the gradient of b, 0 inside and 1 outside, is scaled as the step's is (LSQ+,
    Bhalgat et al. 2020, arXiv 2004.09576).

    No value is inspected, so that a compiler finds no branch on data: a step of 0 gives
    NaN. `lsq_steps` keeps steps positive and refuses others. Raises ValueError for
    other bounds, for integers, and for a step or offset that does not fit.
    """
    if bounds not in BOUNDS:
        raise ValueError(f"bounds {bounds!r} is not one of {BOUNDS}")
    if not v.is_floating_point() or not step.is_floating_point():
        raise ValueError(f"v is {v.dtype} and step {step.dtype}: floats are needed")
    granularity = granularity or PerTensor()
    wide = torch.promote_types(v.dtype, torch.float32)
    shared = granularity.expand(step.to(wide), v)
    v = v.to(wide)
    rest = (codes.low, codes.high, gradient_scale, bounds)
    if offset is None:
        return _LearnedStep.apply(v, shared, *rest)
    b = granularity.expand(offset.to(wide), v)
    # The same value to the last bit, with its gradient multiplied.
    b = b.detach() + (b - b.detach()) * gradient_scale
    # v - b and + b give b the gradient -1 + 1 inside and 0 + 1 outside: LSQ+'s.
    return _LearnedStep.apply(v - b, shared, *rest) + b


def step_gradient(
    v: Tensor, step: Tensor, *, codes: CodeRange, bounds: str = "paper"
) -> Tensor:
    """d v_hat / d s of each value of float `v` (equation 3), of its shape, unscaled.

    `step` is () or broadcasts against v. Raises ValueError for other bounds.
    """
    if bounds not in BOUNDS:
        raise ValueError(f"bounds {bounds!r} is not one of {BOUNDS}")
    by_step, _ = _derivatives(v / step, codes.low, codes.high, bounds)
    return by_step


def _derivatives(
    quotient: Tensor, low: int, high: int, bounds: str
) -> tuple[Tensor, Tensor]:
    """(d v_hat / d s, whether d v_hat / d v is 1 or 0) by v / s: equations 3 and 5."""
    rounded = torch.round(quotient.clamp(low, high))
    if bounds == "paper":
        inside = (quotient > low) & (quotient < high)
    else:
        nearest = torch.round(quotient)
        inside = (nearest >= low) & (nearest <= high)
    # Outside, what is clipped is the bound itself.
    return torch.where(inside, rounded - quotient, rounded), inside


class _LearnedStep(torch.autograd.Function):
    """Forward: equations 1 and 2. Backward: 3 and 5, from v and s alone."""

    @staticmethod
    def forward(
        ctx,
        v: Tensor,
        step: Tensor,
        low: int,
        high: int,
        gradient_scale: float,
        bounds: str,
    ) -> Tensor:
        ctx.save_for_backward(v, step)
        ctx.low, ctx.high, ctx.bounds = low, high, bounds
        ctx.gradient_scale = gradient_scale
        return torch.round((v / step).clamp(low, high)) * step

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        v, step = ctx.saved_tensors
        # Tied to the gradient, or a compiler would keep the mask (see fakequant).
        quotient = tied(v, gradient) / step
        by_step, inside = _derivatives(quotient, ctx.low, ctx.high, ctx.bounds)
        of_step = (gradient * by_step).sum_to_size(step.shape) * ctx.gradient_scale
        return torch.where(inside, gradient, 0.0), of_step, None, None, None, None
