"""Rounding that a network can be trained through: pure functions on float tensors.

None of them checks or reads a value, so that a training step compiles into one graph.
The derivative of the rounding is taken to be 1 (Bengio et al. 2013, arXiv 1308.3432).

Where a gradient passes is a factor of 0 or 1 made by float arithmetic, no comparison:
what a compiled forward pass keeps for the backward pass it chooses by size, and masks
of bools, which are small, take inductor very long to store on a CPU.
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
) -> Tensor:
    """The nearest values to float `x` that have a code, of its shape and dtype.

    `scale` and `zero_point` are of the dtype that is computed in, float32 or float64,
    and broadcast against x. The arithmetic of mapping.fake_quantize(invert=True),
    unchecked. The gradient of x passes where the code lay in the range before it was
    clipped; scale and zero point have none. With `parts`, x is rounded to whole parts
    of a step first, 1 / parts each, so that a tie that float arithmetic has missed by
    its last bit is a tie again.
    """
    ends = codes.low, codes.high
    return _Rounded.apply(x, scale, 1 / scale, zero_point, *ends, parts)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, inverse, zero_point, low, high, parts):
        ctx.save_for_backward(x, inverse, zero_point)
        ctx.low, ctx.high, ctx.parts = low, high, parts
        unclipped = _unclipped(x.to(scale.dtype), inverse, zero_point, parts)
        clipped = unclipped.clamp(low, high)
        return ((clipped - zero_point) * scale).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, inverse, zero_point = ctx.saved_tensors
        wide = x.to(inverse.dtype)
        unclipped = _unclipped(wide, inverse, zero_point, ctx.parts)
        # Codes are whole, so one that is clipped is so by 1 at least.
        beyond = unclipped - unclipped.clamp(ctx.low, ctx.high)
        passes = 1 - beyond.abs().clamp(max=1)
        return (gradient * passes).to(gradient.dtype), *[None] * 6


def _unclipped(
    x: Tensor, inverse: Tensor, zero_point: Tensor, parts: int | None
) -> Tensor:
    steps = x * inverse
    if parts is not None:
        steps = torch.round(steps * parts) / parts
    return torch.round(steps) + zero_point


def pact_clip(x: Tensor, alpha: Tensor) -> Tensor:
    """x clipped to 0..alpha; d/d alpha is 1 where x >= alpha and 0 elsewhere.

    Choi et al. 2018, equations 1 and 3; `alpha` of shape (), of the dtype of x.
    """
    return _Clipped.apply(x, alpha)


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.save_for_backward(x, alpha)
        return torch.minimum(torch.relu(x), alpha)

    @staticmethod
    def backward(ctx, gradient):
        x, alpha = ctx.saved_tensors
        above = (torch.sign(x - alpha) + 1).clamp(max=1)  # 1 from alpha on
        positive = torch.sign(torch.relu(x))
        return gradient * positive * (1 - above), (gradient * above).sum()


def kept(scalar: Tensor) -> Tensor:
    """`scalar`, (), as it is; in a compiled graph computed once.

    Inductor computes a scalar again with every vector of what it is combined with,
    divisions included, unless it is the result of a reduction.
    """
    return scalar.expand(16).amax() if torch.compiler.is_compiling() else scalar
