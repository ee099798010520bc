"""The roofline of the processor, and the map of where int8 wins."""

from __future__ import annotations

import pandas as pd
from matplotlib.patches import Rectangle

from qstudy.experiments.speed.figures_routes import METHODS, TITLES
from qstudy.experiments.speed.tables_selection import best_engine
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

# Light enough for black digits; the digits and a mark say it too.
_COLOURS = {"wins": "#9ecae1", "ties": "#eeeeee", "loses": "#fdae6b"}
_MARKS = {"wins": "", "ties": "≈", "loses": "↓"}
_NAMES = {"conv": "3 × 3 conv", "depthwise": "depthwise", "linear": "linear"}
_SIDES = {
    "conv": ("channels", "image side"),
    "depthwise": ("channels", "image side"),
    "linear": ("inputs", "outputs"),
}


def roofline_figure(roofline: pd.DataFrame, every: pd.DataFrame) -> Figure:
    """Each network's best form of each precision under the processor's roofs."""
    threads = roofline.threads.min()
    rows = roofline[roofline.threads == threads]
    memory = rows[(rows.kind == "level") & (rows.layer == "memory")].gb_s.iloc[0]
    peaks = rows[rows.kind == "peak"].set_index("precision").gops
    points = every[every.threads == threads]
    figure, axis = style.new_figure(height=3.8)
    low = min(points.intensity.min(), (peaks / memory).min()) / 2
    high = max(points.intensity.max(), (peaks / memory).max()) * 2
    for precision, peak in peaks.items():
        knee = peak / memory
        colour = style.method(METHODS[precision]).colour
        axis.plot([low, knee, high], [low * memory, peak, peak], color=colour)
        axis.annotate(
            f"{precision} peak {peak:,.0f} Gop/s",
            (knee, peak),  # where few networks are
            xytext=(2, 3),
            textcoords="offset points",
            fontsize=8,
        )
    for row in points.itertuples():
        axis.plot(
            row.intensity,
            row.gops,
            linestyle="none",
            **style.method_style(METHODS[row.precision]) | {"label": None},
        )
        axis.annotate(
            TITLES.get(row.model, row.model),
            (row.intensity, row.gops),
            xytext=(5, 5) if row.precision == "int8" else (5, -9),
            textcoords="offset points",
            fontsize=7,
        )
    for which in ("x", "y"):
        scales.logarithmic(axis, which)
    axis.set_xlim(low, high)
    axis.set_xlabel("operations a byte that must move [op/B], logarithmic")
    axis.set_ylabel("speed [Gop/s], logarithmic (up is better)")
    int8 = points[points.precision == "int8"]
    said = "; ".join(
        f"{r.model} {r.precision} {r.peak_pct:.0f} %" for r in points.itertuples()
    )
    best = int8.loc[int8.peak_pct.idxmax()] if len(int8) else points.iloc[0]
    return Figure(
        name="speed_roofline",
        figure=figure,
        data=points,
        alt=f"Share of the peak that each network's best form reaches: {said}.",
        caption=(
            f"Of the {best.precision} peak, {TITLES.get(best.model, best.model)} "
            f"reaches {best.peak_pct:.0f} %, the most. Sloped: what memory could feed, "
            f"{memory:.0f} GB/s. The fastest of each precision, whole networks, one "
            f"image, {counted(int(threads), 'thread')}, on "
            f"{rows.machine.iloc[0]}."
        ),
    )


def crossover_figure(frame: pd.DataFrame) -> Figure:
    """Panels by operator and batch: int8 with its ends against the better fp32."""
    best = best_engine(frame)
    rows = best[best.form == "with ends"]
    panels = list(rows.groupby(["operator", "batch"], sort=False))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = style.new_figure(
        rows=lines, columns=columns, height=0.4 + 2.0 * lines, squeeze=False
    )
    for axis in axes.ravel()[len(panels) :]:
        axis.set_axis_off()
    counts = dict.fromkeys(_COLOURS, 0)
    told = []
    for axis, ((operator, batch), group) in zip(axes.ravel(), panels, strict=False):
        across, up = sorted(set(group["first"])), sorted(set(group["second"]))
        for row in group.itertuples():
            result = _result(row.ratio_lo, row.ratio_hi)
            counts[result] += 1
            x, y = across.index(row.first), up.index(row.second)
            axis.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, color=_COLOURS[result], linewidth=0)
            )
            axis.text(
                *(x, y, f"{row.ratio:.1f}{_MARKS[result]}"),
                ha="center",
                va="center",
                fontsize=8,
            )
            told.append(
                f"{operator} {row.first}, {row.second}, batch {batch}: {row.ratio:.2f}"
            )
        axis.set_xlim(-0.5, len(across) - 0.5)
        axis.set_ylim(-0.5, len(up) - 0.5)
        axis.set_xticks(range(len(across)), [str(v) for v in across])
        axis.set_yticks(range(len(up)), [str(v) for v in up])
        axis.grid(False)
        horizontal, vertical = _SIDES[operator]
        axis.set_xlabel(horizontal, fontsize=8)
        axis.set_ylabel(vertical, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.set_title(f"{_NAMES[operator]}, batch {batch}", fontsize=9, loc="left")
    total, one = sum(counts.values()), rows.iloc[0]
    return Figure(
        name="speed_crossover",
        figure=figure,
        data=best,
        alt=f"fp32 time over int8 time by shape: {'; '.join(told)}.",
        caption=(
            f"int8 wins in {counts['wins']} of {total} shapes, loses in "
            f"{counts['loses']} (↓) and is not told apart in {counts['ties']} (≈). "
            "Digits: the better fp32's time over int8's, quantize and dequantize "
            f"included, {counted(int(one.threads), 'thread')}, medians of "
            f"{int(one.n)} fresh processes, on {one.machine}."
        ),
    )


def _result(low: float, high: float) -> str:
    if low > 1:
        return "wins"
    return "loses" if high < 1 else "ties"
