"""Which values of a tensor share one scale: all, those of a channel, or a group.

| granularity | x of shape | scale of shape |
|---|---|---|
| PerTensor() | any | () |
| PerChannel(axis=0) | (C, ...) | (C,) |
| PerGroup(size=32) | (..., K) | (..., K / 32) |

`grouped` gathers what shares a scale into rows, for ranges; `expand` lays a parameter
out so that it broadcasts against x, for the mapping.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from qstudy.numerics import checks


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor."""

    def grouped(self, x: Tensor) -> Tensor:
        """`x` as one row, (1, N); `squeeze` of a row statistic has shape ()."""
        return x.reshape(1, -1)

    def shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of the scale of `x`: ()."""
        return ()

    def expand(self, parameter: Tensor, x: Tensor) -> Tensor:
        """`parameter` of shape () as it is. ValueError for another shape."""
        _check(self, parameter, x)
        return parameter


@dataclass(frozen=True)
class PerChannel:
    """One scale for each index along `axis`."""

    axis: int = 0

    def grouped(self, x: Tensor) -> Tensor:
        """(C, N / C): the values of each channel in a row."""
        axis = self._axis(x)
        return x.movedim(axis, 0).flatten(1) if x.dim() > 1 else x[:, None]

    def shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of the scale of `x`: (C,)."""
        return (x.shape[self._axis(x)],)

    def expand(self, parameter: Tensor, x: Tensor) -> Tensor:
        """(C,) as (1, ..., C, ..., 1). ValueError for another channel count."""
        _check(self, parameter, x)
        view = [1] * x.dim()
        view[self._axis(x)] = -1
        return parameter.reshape(view)

    def _axis(self, x: Tensor) -> int:
        checks.whole(self.axis, "axis", -x.dim(), max(x.dim() - 1, 0))
        if not x.dim():
            raise ValueError(
                f"axis {self.axis} is outside the {x.dim()} axes of a tensor of shape "
                f"{tuple(x.shape)}"
            )
        return self.axis % x.dim()


@dataclass(frozen=True)
class PerGroup:
    """One scale for each run of `size` values along the last axis."""

    size: int = 32

    def grouped(self, x: Tensor) -> Tensor:
        """(N / size, size). ValueError where `size` does not divide the last axis."""
        self._check_last(x)
        return x.reshape(-1, self.size)

    def shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of the scale of `x`: its own, the last axis divided by `size`."""
        self._check_last(x)
        return (*x.shape[:-1], x.shape[-1] // self.size)

    def expand(self, parameter: Tensor, x: Tensor) -> Tensor:
        """Each value of `parameter` repeated over its group."""
        _check(self, parameter, x)
        return parameter.repeat_interleave(self.size, dim=-1)

    def _check_last(self, x: Tensor) -> None:
        checks.whole(self.size, "group size", 1)
        if x.dim() < 1 or x.shape[-1] % self.size:
            raise ValueError(
                f"group size {self.size} does not divide the last axis of a tensor of "
                f"shape {tuple(x.shape)}"
            )


Granularity = PerTensor | PerChannel | PerGroup


def _check(granularity: Granularity, parameter: Tensor, x: Tensor) -> None:
    expected = granularity.shape(x)
    if tuple(parameter.shape) != expected:
        raise ValueError(
            f"a parameter of shape {tuple(parameter.shape)} does not fit {granularity} "
            f"of a tensor of shape {tuple(x.shape)}: shape {expected} is needed"
        )
