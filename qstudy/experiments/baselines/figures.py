"""The figure of the introduction: the rules that the claims are judged by, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qstudy.measure import statistics
from qstudy.report import style
from qstudy.report.figures import Figure

# Of each claim: what is measured, the ends of its axis, and intervals that show its
# verdicts. A size has no interval.
_CLAIMS = {
    "a quarter of the size": (
        "fp32 file over int8 file",
        (2.0, 5.0),
        [(2.8, 2.8), (3.9, 3.9)],
    ),
    "2 to 4 times faster": (
        "fp32 time over int8 time, 95 % interval",
        (1.0, 6.0),
        [(1.3, 1.7), (1.7, 2.4), (2.3, 2.9), (4.2, 4.7)],
    ),
    "almost no drop": (
        "drop of accuracy [points], 95 % interval",
        (-0.5, 2.5),
        [(-0.15, 0.15), (0.4, 0.8), (0.7, 1.3), (1.3, 1.9)],
    ),
}
_LIMITS = {
    "a quarter of the size": (statistics.SIZE_HOLDS,),
    "2 to 4 times faster": (statistics.SPEED_HOLDS, statistics.SPEED_ABOVE),
    "almost no drop": (statistics.LOSSLESS, statistics.ALMOST_NO_DROP),
}
# Never by colour alone: a verdict is written beside its interval.
_LOOKS = {
    "holds": ("#0072B2", "o"),
    "fails": ("#D55E00", "X"),
    "undecided": ("#767676", "s"),
}


def figures(tables: dict[str, Any]) -> Iterator[Figure]:
    """baselines_verdicts, drawn from the rules and from no measurement."""
    yield _verdicts_figure()


def _verdict(claim: str, low: float, high: float) -> str:
    """What the study's own rules say of an interval."""
    if claim == "a quarter of the size":
        return statistics.size_verdict(low)
    if claim == "2 to 4 times faster":
        return statistics.speed_verdict(low, high)
    told = statistics.accuracy_verdict(high, low=low)
    return f"{told}, lossless" if statistics.lossless(high) else told


def _verdicts_figure() -> Figure:
    rows = [
        {"claim": claim, "quantity": quantity, "low": low, "high": high}
        | {"verdict": _verdict(claim, low, high)}
        for claim, (quantity, _, intervals) in _CLAIMS.items()
        for low, high in intervals
    ]
    data = pd.DataFrame(rows)
    figure, axes = style.new_figure(rows=len(_CLAIMS), height=4.3)
    for axis, (claim, (quantity, ends, _)) in zip(axes, _CLAIMS.items(), strict=True):
        mine = data[data.claim == claim]
        for limit in _LIMITS[claim]:
            axis.axvline(limit, color="#666666", linestyle="--", linewidth=1)
        for place, row in enumerate(mine.itertuples()):
            _draw(axis, place, row)
        axis.set(xlim=ends, ylim=(len(mine) - 0.3, -0.7), yticks=[], xlabel=quantity)
        axis.set_title(f"“{claim}”", loc="left", fontsize=10)
        axis.spines["left"].set_visible(False)
    told = (
        "A claim holds where its whole interval lies on the good side of the limit: a "
        f"file at least {statistics.SIZE_HOLDS} times smaller, a ratio above "
        f"{statistics.SPEED_HOLDS:.0f}, a drop of at most "
        f"{statistics.ALMOST_NO_DROP} point"
    )
    return Figure(
        name="baselines_verdicts",
        figure=figure,
        data=data,
        alt=(
            "Three number lines, one a claim, with made-up intervals and the verdict "
            f"on each. {told}."
        ),
        caption=(
            f"{told}. The intervals are examples, not measurements. Dashed: the "
            f"limits; a second one says above {statistics.SPEED_ABOVE:.0f}, or "
            f"lossless ({statistics.LOSSLESS} points)."
        ),
    )


def _draw(axis: Any, place: int, row: Any) -> None:
    """One interval and, beside it, the verdict on it."""
    sort = row.verdict.split()[0].strip(",")
    colour, marker = _LOOKS[sort]
    axis.plot([row.low, row.high], [place, place], color=colour, linewidth=4)
    if row.low == row.high:
        axis.plot([row.low], [place], color=colour, marker=marker)
    axis.annotate(
        row.verdict,
        (row.high, place),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 1},
    )
