"""The steps that LSQ learns: where they start, how fast they move, how they stay valid.

    s_0 = 2 <|v|> / sqrt(Q_P)                                            (4)
    g   = 1 / sqrt(N Q_P)

g multiplies the gradient of the step so that an update moves a step and the weights
beside it by about the same share. N is the number of weights of a layer, or the number
of its features, the values of one image. (Esser et al. 2020, arXiv 1902.08153, sections
2.1 and 2.2.) Other implementations count a whole batch, which makes g depend on its
size, start from the largest value, or keep steps positive in other ways: all are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from qstudy.numerics.granularity import Granularity, PerTensor
from qstudy.numerics.mapping import CodeRange

# What g is by name: 1 / sqrt(N Q_P) times or without what the ablation changes.
GRADIENT_SCALES = ("full", "sqrt_n", "none", "times_10", "over_10")
STARTS = ("paper", "min_max", "mse")
POSITIVITY = ("clamp", "abs", "softplus")
# What a dead channel gets, and the least that a step may become: torch's observers'.
SMALLEST_STEP = torch.finfo(torch.float32).eps
# What `mse` tries: so many equal shares of the step that clips nothing, on at most so
# many values of a row.
_SHARES, _SAMPLE = 80, 2**18


def feature_count(shape: Sequence[int], *, with_batch: bool = False) -> int:
    """N of an activation (B, ...): the values of one image, or of all `with_batch`.

    N of a weight is its number of values, `weight.numel()`. ValueError where no values.
    """
    count = math.prod(shape if with_batch else shape[1:])
    if len(shape) < 2 or count < 1:
        raise ValueError(f"shape {tuple(shape)} is not (batch, features, ...)")
    return count


def gradient_scale(count: int, *, codes: CodeRange, how: str = "full") -> float:
    """g for `count` = N values that share the step, by `how`, of GRADIENT_SCALES.

    `full` is 1 / sqrt(N Q_P), as published; `times_10` and `over_10` are multiples of
    it; `sqrt_n` is 1 / sqrt(N); `none` is 1. ValueError for another name, no values, or
    codes without a positive one.
    """
    if how not in GRADIENT_SCALES:
        raise ValueError(f"gradient scale {how!r} is not one of {GRADIENT_SCALES}")
    if count < 1:
        raise ValueError(f"count {count}: at least one value has to share the step")
    _check(codes)
    full = 1 / math.sqrt(count * codes.high)
    return {
        "full": full,
        "sqrt_n": 1 / math.sqrt(count),
        "none": 1.0,
        "times_10": 10 * full,
        "over_10": full / 10,
    }[how]


def initial_step(
    v: Tensor,
    *,
    codes: CodeRange,
    how: str = "paper",
    granularity: Granularity | None = None,
) -> Tensor:
    """The step to start from, of the shape that `granularity` gives v, in float32.

    `paper` is 2 <|v|> / sqrt(Q_P) (equation 4), `min_max` the least step with which
    nothing is clipped, `mse` that of 80 equal shares of it whose rounding has the least
    mean squared error, on 2^18 evenly spaced values where there are more. Float64 for a
    float64 v. At least SMALLEST_STEP, so that a channel of zeros has a step to divide
    by. ValueError for another name, for codes without a positive one, and for v that is
    empty, no float, or not finite.
    """
    if how not in STARTS:
        raise ValueError(f"start {how!r} is not one of {STARTS}")
    _check(codes)
    granularity = granularity or PerTensor()
    rows = _rows(v, granularity)
    if how == "paper":
        step = 2 * rows.abs().mean(1) / math.sqrt(codes.high)
    else:
        step = rows.amax(1) / codes.high
        if codes.low < 0:
            step = torch.maximum(step, rows.amin(1) / codes.low)
        if how == "mse":
            step = _least_squares(rows, step.clamp(min=SMALLEST_STEP), codes)
    return step.clamp(min=SMALLEST_STEP).reshape(granularity.shape(v))


def initial_offset(
    v: Tensor, *, codes: CodeRange, granularity: Granularity | None = None
) -> tuple[Tensor, Tensor]:
    """(step, offset) of LSQ+ that map the least and largest of v to the outer codes.

    Shapes, dtypes and errors as for `initial_step`. (Bhalgat et al. 2020, arXiv
    2004.09576, start from a range and learn both.)
    """
    _check(codes)
    granularity = granularity or PerTensor()
    rows = _rows(v, granularity)
    low, high = rows.amin(1), rows.amax(1)
    step = ((high - low) / (codes.levels - 1)).clamp(min=SMALLEST_STEP)
    shape = granularity.shape(v)
    return step.reshape(shape), (low - codes.low * step).reshape(shape)


def positive(parameter: Tensor, *, rule: str = "clamp") -> Tensor:
    """The step that a learned `parameter` of any sign stands for: at least the least.

    `clamp` takes SMALLEST_STEP in its place where it is below and lets the gradient
    through, so that a step that was pushed out can come back; `abs` and `softplus` are
    those functions. ValueError for a rule that is not in POSITIVITY.
    """
    if rule not in POSITIVITY:
        raise ValueError(f"rule {rule!r} is not one of {POSITIVITY}")
    if rule == "softplus":
        return softplus(parameter) + SMALLEST_STEP
    free = parameter.abs() if rule == "abs" else parameter
    # The difference is exactly 0, whatever the parameter, and its slope is 1.
    least = SMALLEST_STEP + (free - free.detach())
    return torch.where(free < SMALLEST_STEP, least, free)


def parameter_of(step: Tensor, *, rule: str = "clamp") -> Tensor:
    """The parameter for which `positive` gives `step`. ValueError for another rule."""
    if rule not in POSITIVITY:
        raise ValueError(f"rule {rule!r} is not one of {POSITIVITY}")
    if rule != "softplus":
        return step.clone()
    free = (step - SMALLEST_STEP).clamp(min=SMALLEST_STEP)
    return free + torch.log(-torch.expm1(-free))


def check_step(step: Tensor, *, name: str) -> None:
    """Raise ValueError, with `name`, unless every step is a finite number above 0.

    Below the least normal float32 counts as 0: its inverse overflows.
    """
    least = torch.finfo(torch.float32).tiny
    fine = torch.isfinite(step) & (step >= least)
    if step.numel() == 0 or not bool(fine.all()):
        bad = step[~fine].flatten()[0].item() if step.numel() else "missing"
        raise ValueError(
            f"step {name} is {bad}: a finite number above 0 is needed; initialise it "
            "from its tensor, or train from an undamaged checkpoint"
        )


def _least_squares(rows: Tensor, most: Tensor, codes: CodeRange) -> Tensor:
    """The share of the step `most` (C,) whose rounding of `rows` (C, N) errs least."""
    rows = rows[:, :: math.ceil(rows.shape[1] / _SAMPLE)]
    best, lowest = most, torch.full_like(most, math.inf, dtype=torch.float64)
    for share in range(_SHARES, 0, -1):
        step = most * (share / _SHARES)
        rounded = torch.round((rows / step[:, None]).clamp(codes.low, codes.high))
        error = (rounded * step[:, None] - rows).square().mean(1, dtype=torch.float64)
        best = torch.where(error < lowest, step, best)
        lowest = torch.minimum(error, lowest)
    return best


def _check(codes: CodeRange) -> None:
    if codes.high < 1:
        raise ValueError(f"codes {codes.low} to {codes.high} have none above 0")


def _rows(v: Tensor, granularity: Granularity) -> Tensor:
    if not v.is_floating_point() or v.numel() == 0:
        raise ValueError(
            f"v is {v.dtype} of shape {tuple(v.shape)}: floats are needed, at least one"
        )
    v = v.detach().to(torch.promote_types(v.dtype, torch.float32))
    if not bool(torch.isfinite(v).all()):
        bad = v[~torch.isfinite(v)].flatten()[0].item()
        raise ValueError(f"v holds {bad}: a step follows from finite numbers only")
    return granularity.grouped(v)
