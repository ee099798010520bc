"""What layers back in fp32 are worth, against what they take."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from qstudy.experiments.static.figures_parts import MARKS, SHADES
from qstudy.experiments.static.grid_kept import EVERY, NONE
from qstudy.experiments.static.numbers_kept import spoken
from qstudy.report import style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted


def pareto(frame: pd.DataFrame) -> Figure:
    """Drop at the fewest bits against time at eight, a panel a number of threads."""
    bits = int(frame.bits.min())
    few = frame[frame.bits == bits]
    threads = sorted(few.threads.unique())
    figure, axes = style.new_figure(
        columns=len(threads), height=3.6, sharey=True, squeeze=False
    )
    told = []
    for axis, count in zip(axes[0], threads, strict=True):
        rows = few[few.threads == count]
        _panel(axis, rows)
        axis.set_title(counted(count, "thread"), fontsize=9)
        front = rows[rows.front].sort_values("ms", kind="stable").drop_duplicates("set")
        said = "; ".join(
            f"{spoken(row)}, {row.ms:.2f} ms and {row.drop_pp:.2f} points"
            for row in front.itertuples()
        )
        told.append(f"{counted(count, 'thread')}: {said}")
    axes[0][0].set_ylabel(f"drop of top-1, W{bits}A{bits} [pp]\n(lower is better)")
    marks = {
        text: mark
        for axis in axes[0]
        for mark, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        marks.values(), marks, fontsize=8, ncols=3, loc="outside upper center"
    )
    first = few.iloc[0]
    return Figure(
        name="static_pareto",
        figure=figure,
        data=frame,
        alt=(
            f"Drop of {first.model} against time, by layers back in fp32. The front, "
            f"{'. '.join(told)}."
        ),
        caption=(
            f"The Pareto front, thin black: {'. '.join(told)}. Times are those of the "
            "same layers kept among kernels of 8 bits, one image, medians of "
            f"{int(first.processes)} processes on {first.machine}; drops are "
            f"simulated, on {int(first.n):,} held-out images that chose no layer. "
            "Bars: 95 % intervals."
        ),
    )


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    """One number of threads; the layers kept are counted beside the first order."""
    none = rows[rows.order == NONE]
    orders = [o for o in dict.fromkeys(rows.order) if o not in (NONE, EVERY, "fp32")]
    for place, order in enumerate(orders):
        _marks(
            axis,
            pd.concat([none, rows[rows.order == order]]),
            color=SHADES[place],
            marker=MARKS[place],
            label=order.replace("_", " "),
        )
    for row in rows[rows.order == orders[0]].itertuples() if orders else ():
        axis.annotate(
            f"{row.kept}",
            (row.ms, row.drop_pp),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=7,
        )
    alone = {EVERY: ("every layer", "P"), "fp32": ("fastest fp32", "*")}
    for place, (order, (label, mark)) in enumerate(alone.items(), start=len(orders)):
        found = rows[rows.order == order]
        if len(found):
            shade = SHADES[place % len(SHADES)]
            _marks(axis, found, color=shade, marker=mark, label=label)
    front = rows[rows.front].sort_values("ms", kind="stable")
    axis.step(
        front.ms, front.drop_pp, where="post", color="#000000", linewidth=0.8, zorder=0
    )
    axis.axhline(0, color="#666666", linewidth=1)
    axis.set_xlabel("time [ms] (left is better)")


def _marks(axis: Axes, rows: pd.DataFrame, **looks: str) -> None:
    axis.errorbar(
        rows.ms,
        rows.drop_pp,
        xerr=[(rows.ms - rows.ms_lo).clip(lower=0), (rows.ms_hi - rows.ms).clip(0)],
        yerr=[rows.drop_pp - rows.drop_lo, rows.drop_hi - rows.drop_pp],
        markersize=5,
        linewidth=1,
        elinewidth=0.6,
        **looks,
    )
