"""What the functions of this package are given, checked at the door in one line each.

Every check names the value received and the values allowed, and gives back what may be
used, so that one that is forgotten is seen. Tensors are torch's: a list or a NumPy
array is refused with the call that converts it, because its dtype would be a guess.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# The scales that QParams takes: what float32 can hold and invert.
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
LARGEST_SCALE = torch.finfo(torch.float32).max


def tensor(value: Any, name: str) -> Tensor:
    """`value` if it is a torch tensor."""
    if isinstance(value, Tensor):
        return value
    kind = type(value).__name__
    raise ValueError(
        f"{name} is a {kind}: a torch tensor is needed (torch.as_tensor({name}))"
    )


def floats(value: Any, name: str, *, finite: bool = True, some: bool = True) -> Tensor:
    """A float tensor, without NaN and infinity if `finite`, not empty if `some`."""
    x = tensor(value, name)
    if not x.is_floating_point() or (some and not x.numel()):
        least = ", at least one" if some else ""
        raise ValueError(
            f"{name} is {x.dtype} of shape {tuple(x.shape)}: floats are needed{least}"
        )
    if finite and not bool(torch.isfinite(x).all()):
        bad = x.detach()[~torch.isfinite(x)].flatten()[0].item()
        raise ValueError(f"{name} holds {bad}: only finite numbers are allowed")
    return x


def wide(x: Tensor) -> Tensor:
    """`x` in float32 at least: ranges and scales of shorter dtypes vanish or overflow.

    The smallest float16 over 255 steps is 0 in float16, and twice the largest infinite.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def integers(value: Any, name: str) -> Tensor:
    """A tensor of integers of any width; bool is none."""
    x = tensor(value, name)
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise ValueError(
            f"{name} is {x.dtype} of shape {tuple(x.shape)}: integers are needed"
        )
    return x


def whole(value: Any, name: str, low: int, high: int | None = None) -> int:
    """`value` as an int from `low` to `high`, or of at least `low`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    # A tensor of one integer would pass for an int.
    if isinstance(value, Tensor) or number is None:
        raise ValueError(f"{name} {_shown(value)} is not {_whole_range(low, high)}")
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} {number} is not {_whole_range(low, high)}")
    return number


def _whole_range(low: int, high: int | None) -> str:
    if high is None:
        return f"a whole number of at least {low}"
    return f"a whole number from {low} to {high}"


def in_range(value: Any, name: str, low: int, high: int) -> Tensor:
    """An int, or a tensor of integers, from `low` to `high`, as an int64 tensor."""
    if not isinstance(value, Tensor):
        return torch.tensor(whole(value, name, low, high), dtype=torch.int64)
    x = integers(value, name).to(torch.int64)
    if x.numel():
        first, last = (int(end) for end in torch.aminmax(x))
        if first < low or last > high:
            bad = first if first < low else last
            raise ValueError(f"{name} {bad} is not {_whole_range(low, high)}")
    return x


def number(value: Any, name: str, *, finite: bool = True) -> float:
    """`value` as a float: a real Python or NumPy number, or a tensor of one."""
    try:
        found = None if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, RuntimeError):
        found = None
    except OverflowError:
        found = math.inf
    if found is None:
        raise ValueError(f"{name} {_shown(value)} is not a real number")
    if finite and not math.isfinite(found):
        raise ValueError(f"{name} {found} is not a finite number")
    return found


def scale(value: Any, name: str) -> float:
    """A step width as a float: positive, and finite and invertible in float32."""
    found = number(value, name)
    if not SMALLEST_SCALE <= found <= LARGEST_SCALE:
        raise ValueError(f"{name} {found} is not {_scale_range()}")
    return found


def scales(value: Any, name: str) -> Tensor:
    """A tensor of step widths, each as `scale` asks."""
    x = floats(value, name, finite=False)
    fine = (x >= SMALLEST_SCALE) & (x <= LARGEST_SCALE)
    if not bool(fine.all()):
        bad = x.detach()[~fine].flatten()[0].item()
        raise ValueError(f"{name} {bad} is not {_scale_range()}")
    return x


def _scale_range() -> str:
    return f"a finite number from {SMALLEST_SCALE:.3g} to {LARGEST_SCALE:.3g}"


def one_of(value: Any, name: str, allowed: Iterable[str]) -> None:
    """ValueError where `value` is not among the names `allowed`."""
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} {_shown(value)} is not one of {names}")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
