"""Logarithmic axes whose coordinates are the same on every processor.

Matplotlib's own take logarithms from NumPy, which has several per processor. These take
them from `qstudy.measure.portable`, and put ticks where a reader expects plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from qstudy.measure import portable

# Ticks out of view are not drawn, so these may reach far.
_TICKS = {
    2: tuple(2.0**k for k in range(-10, 21)),
    10: tuple(
        d * 10**k if k >= 0 else d / 10**-k for k in range(-6, 10) for d in (1, 2, 5)
    ),
}
# An axis with values beyond this is bent.
FAR = 10.0
# How far below everything a number without a logarithm is put.
_NOWHERE = -1000.0
# The straight part of a symmetric axis is as long, from 0 to 1, as this share of a
# decade: the slope of Matplotlib's "symlog" at its default.
_STRAIGHT = 10 / 9


def logarithmic(
    axes: Axes, which: str, *, base: int = 10, ticks: Sequence[float] = ()
) -> None:
    """Make axis `which` ("x" or "y") logarithmic, after its data is drawn.

    Ticks are powers of 2, or 1, 2 and 5 times powers of 10, unless `ticks` names them.
    ValueError for another axis or base.
    """
    if base not in _TICKS:
        raise ValueError(f"base {base} is not one of {tuple(_TICKS)}")
    forward = _each(lambda v: portable.log(v, base) if v > 0 else _NOWHERE)
    _set(axes, which, forward, _each(lambda v: portable.power(base, v)))
    _tick(axes, which, ticks or _TICKS[base])


def symmetric(axes: Axes, which: str) -> None:
    """Make axis `which` linear from -1 to 1 and logarithmic (base 10) beyond."""
    _set(axes, which, _each(_bent), _each(_straightened))
    decades = [10**k for k in range(10)]
    _tick(axes, which, [*(-d for d in decades[::-1]), 0, *decades])


def _bent(value: float) -> float:
    if abs(value) <= 1:
        return value * _STRAIGHT
    far = _STRAIGHT + portable.log(abs(value))
    return far if value > 0 else -far


def _straightened(value: float) -> float:
    if abs(value) <= _STRAIGHT:
        return value / _STRAIGHT
    far = portable.power(10, abs(value) - _STRAIGHT)
    return far if value > 0 else -far


def _each(function: Callable[[float], float]) -> Callable[[ArrayLike], NDArray]:
    def over(values: ArrayLike) -> NDArray:
        array = np.asarray(values, np.float64)
        return np.array([function(v) for v in array.ravel().tolist()]).reshape(
            array.shape
        )

    return over


def _set(axes: Axes, which: str, forward: Callable, inverse: Callable) -> None:
    if which not in ("x", "y"):
        raise ValueError(f"axis {which!r} is not one of ('x', 'y')")
    getattr(axes, f"set_{which}scale")("function", functions=(forward, inverse))


def bend(axes: Axes, *, values: Sequence[float], low: float, high: float) -> None:
    """Make x symmetric, its label saying so, where one of `values` is beyond FAR.

    So the small ones can be told; x then ends at ticks around low to high.
    """
    if max(abs(value) for value in values) > FAR:
        symmetric(axes, "x")
        enclose(axes, "x", low, high)
        axes.set_xlabel(f"{axes.get_xlabel()}\nlogarithmic beyond ±1")


def enclose(axes: Axes, which: str, low: float, high: float) -> None:
    """End axis `which` of one of the above at the ticks around low to high.

    So no mark lies beyond the last label. ValueError unless low <= high lie within the
    axis's ticks.
    """
    ticks = [float(t) for t in getattr(axes, f"{which}axis").get_major_locator()()]
    below = [tick for tick in ticks if tick <= low]
    above = [tick for tick in ticks if tick >= high and tick > low]
    if not (low <= high and below and above):
        raise ValueError(
            f"{low} to {high} is not a range within the ticks, {ticks[0]:g} to "
            f"{ticks[-1]:g}"
        )
    getattr(axes, f"set_{which}lim")(max(below), min(above))


def _tick(axes: Axes, which: str, ticks: Sequence[float]) -> None:
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
