"""Read a buffer that the same step updates, so that a compiled backward pass is right.

torch.compile saves memory by computing again in the backward pass what it can. If that
starts from a buffer which the forward pass has updated meanwhile (a running statistic,
an observed range), the gradient is computed from the new value, silently: wrong, or an
error about an in-place operation (pytorch pull request 197039, open in September 2026).
What an operator of our own returns is not computed again but kept.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("qstudy::snapshot", mutates_args=())
def snapshot(buffer: Tensor) -> Tensor:
    """A copy of `buffer`, of any shape and dtype; it carries no gradient.

    Read through it whatever a forward pass both uses and updates, and compute with the
    copy alone.
    """
    return buffer.clone()


@snapshot.register_fake
def _(buffer: Tensor) -> Tensor:
    return torch.empty_like(buffer)
