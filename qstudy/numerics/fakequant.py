"""Rounding that a network can be trained through: pure functions on float tensors.

None of them checks or reads a value, so that a training step compiles into one graph.
The derivative of the rounding is taken to be 1 (Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qstudy.numerics.mapping import CodeRange


def straight_through(value: Tensor, surrogate: Tensor) -> Tensor:
    """`value`, with the gradient of `surrogate`, which is finite; one shape.

    Exactly `value`: the difference that carries the gradient is 0.
    """
    return value.detach() + (surrogate - surrogate.detach())


def round_to_codes(
    x: Tensor,
    *,
    scale: Tensor,
    zero_point: Tensor,
    codes: CodeRange,
    parts: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(the nearest values that have a code, where the code needed no clipping).

    All floats of one dtype, `scale` and `zero_point` broadcasting against x; the
    arithmetic of qstudy.numerics.mapping.fake_quantize(invert=True), unchecked. With
    `parts`, x is rounded to whole parts of a step first, 1 / parts each, so that a tie
    that float arithmetic has missed by its last bit is a tie again.
    """
    steps = x * (1 / scale)
    if parts is not None:
        steps = torch.round(steps * parts) / parts
    unclipped = torch.round(steps) + zero_point
    inside = (unclipped >= codes.low) & (unclipped <= codes.high)
    return (unclipped.clamp(codes.low, codes.high) - zero_point) * scale, inside


def pact_clip(x: Tensor, alpha: Tensor) -> Tensor:
    """x clipped to 0..alpha; d/d alpha is 1 where x >= alpha and 0 elsewhere.

    Choi et al. 2018, equations 1 and 3; `alpha` of shape ().
    """
    return torch.where(x >= alpha, alpha, torch.relu(x))
