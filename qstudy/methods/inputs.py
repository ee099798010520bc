"""What a quantized network is given: float32 and finite, or one line that says so.

torch's int8 kernels make codes even of NaN, and the answer is then finite and wrong.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def check_input(value: object, *, name: int | str = 1, finite: bool = True) -> None:
    """ValueError where a float tensor is not float32 or, if asked, not finite.

    `name` is its keyword or its place, from 1. Anything but float tensors passes.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return
    if value.dtype != torch.float32:
        raise ValueError(
            f"input {name} is {value.dtype}: the quantized network takes torch.float32 "
            "(x.float())"
        )
    # One pass over the values; only where the sum fails can one of them be at fault.
    if (
        finite
        and not math.isfinite(value.sum().item())
        and not bool(torch.isfinite(value).all())
    ):
        raise ValueError(
            f"input {name} holds NaN or infinity, which has no code: leave those "
            "examples out"
        )
