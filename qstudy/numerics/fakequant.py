"""Rounding that a network can be trained through: pure functions on float tensors.

None of them checks or reads a value, so that a training step compiles into one graph.
The derivative of the rounding is taken to be 1 (Bengio et al. 2013, arXiv 1308.3432).

A compiled forward pass chooses by size what it keeps for the backward pass, and would
keep masks of bools, which inductor takes very long to store on a CPU. So the masks here
depend on the gradient in name (`tied`): they cannot be made before the backward pass.
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
        wide = tied(x, gradient).to(inverse.dtype)
        unclipped = _unclipped(wide, inverse, zero_point, ctx.parts)
        inside = (unclipped >= ctx.low) & (unclipped <= ctx.high)
        return torch.where(inside, gradient, 0.0), *[None] * 6


def tied(x: Tensor, gradient: Tensor) -> Tensor:
    """x itself, for a finite `gradient` of its shape: it waits for the gradient."""
    return x + (0.0 * gradient).to(x.dtype)


def _unclipped(
    x: Tensor, inverse: Tensor, zero_point: Tensor, parts: int | None
) -> Tensor:
    steps = x * inverse
    if parts is not None:
        steps = torch.round(steps * parts) / parts
    return torch.round(steps) + zero_point


def pact_clip(x: Tensor, alpha: Tensor) -> Tensor:
    """x clipped to 0..alpha; d/d alpha is 1 where x >= alpha and 0 elsewhere.

    Choi et al. 2018, equations 1 and 3; `alpha` of shape () has the dtype to compute
    in, which is the result's.
    """
    return _Clipped.apply(x, alpha)


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.save_for_backward(x, alpha)
        return torch.minimum(torch.relu(x.to(alpha.dtype)), alpha)

    @staticmethod
    def backward(ctx, gradient):
        x, alpha = ctx.saved_tensors
        wide = tied(x, gradient).to(alpha.dtype)
        above = wide >= alpha
        passed = torch.where((wide > 0) & ~above, gradient, 0.0).to(x.dtype)
        return passed, torch.where(above, gradient, 0.0).sum()


def kept(scalar: Tensor) -> Tensor:
    """`scalar`, (), as it is; in a compiled graph computed once.

    Inductor computes a scalar again with every vector of what it is combined with,
    divisions included, unless it is the result of a reduction.
    """
    return scalar.expand(16).amax() if torch.compiler.is_compiling() else scalar
