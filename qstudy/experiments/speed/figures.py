"""The speed chapter's figures: times of every route, and where the time goes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from qstudy.experiments.speed.figures_maps import crossover_figure, roofline_figure
from qstudy.experiments.speed.selection import fastest, whole
from qstudy.experiments.speed.tables import PARTS
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

METHODS = {"fp32": "fp32", "bf16": "bf16", "int8": "static_int8"}
# Each part has a grey of its own and its name in the legend.
_GREYS = ("#1a1a1a", "#666666", "#a6a6a6", "#e0e0e0")
_PART_LABELS = {
    "kernels": "kernels that multiply",
    "rounding": "quantize, dequantize",
    "other": "other operators",
    "framework": "between operators",
}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """speed_routes, _breakdown, _roofline and _crossover, as far as there is data."""
    if "speed.csv" in tables:
        yield _routes_figure(whole(tables["speed.csv"]))
    if "speed_breakdown.csv" in tables:
        yield _breakdown_figure(tables["speed_breakdown.csv"])
    if "speed_points.csv" in tables:
        yield roofline_figure(tables["speed_roofline.csv"], tables["speed_points.csv"])
    if "speed_crossover.csv" in tables:
        yield crossover_figure(tables["speed_crossover.csv"])


def route_label(candidate: str) -> str:
    """ "int8:ort_qdq" as figures print it: "int8 ort qdq"."""
    return candidate.replace(":", " ").replace("_", " ")


def _routes_figure(frame: pd.DataFrame) -> Figure:
    """Milliseconds of each route, one panel a network: one image, most threads."""
    rows = frame[frame.baseline == "eager_fp32"]
    rows = rows[rows.batch == rows.batch.min()]
    rows = rows[rows.threads == rows.threads.max()]
    models = list(dict.fromkeys(rows.model))
    heights = [len(rows[rows.model == m]) for m in models]
    figure, axes = style.new_figure(
        rows=len(models),
        height=0.8 + 0.24 * sum(heights) + 0.5 * len(models),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    told = []
    for axis, model in zip(axes[:, 0], models, strict=True):
        chosen = rows[rows.model == model].sort_values("ms", kind="stable")
        for position, row in enumerate(chosen[::-1].itertuples()):
            axis.errorbar(
                row.ms,
                position,
                xerr=[[row.ms - row.ms_lo], [row.ms_hi - row.ms]],
                **style.method_style(METHODS[row.precision]) | {"label": None},
            )
        names = [route_label(name) for name in chosen.candidate]
        axis.set_yticks(range(len(names)), names[::-1], fontsize=8)
        axis.set_title(model, fontsize=9, loc="left")
        scales.logarithmic(axis, "x")
        scales.enclose(axis, "x", chosen.ms_lo.min(), chosen.ms_hi.max())
        first, last = chosen.iloc[0], chosen.iloc[-1]
        told.append(
            f"{model}: {route_label(first.candidate)} {first.ms:.2f} ms is fastest, "
            f"{route_label(last.candidate)} {last.ms:.2f} ms slowest"
        )
    axes[-1, 0].set_xlabel(
        "time of one forward pass [ms], logarithmic (left is better)"
    )
    best = fastest(rows)
    span = f"{best.ratio.min():.2f} to {best.ratio.max():.2f}"
    one = rows.iloc[0]
    return Figure(
        name="speed_routes",
        figure=figure,
        data=rows,
        alt=f"Time of one forward pass by route. {'; '.join(told)}.",
        caption=(
            f"The fastest int8 of a network is {span} times as fast as fp32 as users "
            f"write it. Batch {one.batch}, {counted(one.threads, 'thread')}; the "
            "networks for 224 by 224 pixels have weights drawn from a seed. Bars: "
            f"95 % interval over {int(rows.n.min())} fresh processes, on {one.machine}."
        ),
    )


def _breakdown_figure(frame: pd.DataFrame) -> Figure:
    """Shares of time of the int8 routes within PyTorch, at one image and one thread."""
    rows = frame[frame.candidate.str.startswith("int8:")]
    rows = rows[rows.batch == rows.batch.min()]
    rows = rows[rows.threads == rows.threads.min()]
    most = rows.groupby("model").routes.transform("max")
    rows = rows[rows.routes == most].drop_duplicates(["model", "candidate"])
    figure, axis = style.new_figure(height=1.3 + 0.28 * len(rows))
    labels = [f"{r.model}, {route_label(r.candidate)}" for r in rows.itertuples()]
    places = np.arange(len(rows))[::-1]
    left = np.zeros(len(rows))
    for part, grey in zip(PARTS, _GREYS, strict=True):
        share = rows[f"{part}_pct"].to_numpy()
        axis.barh(
            places,
            share,
            left=left,
            color=grey,
            edgecolor="#000000",
            linewidth=0.5,
            label=_PART_LABELS[part],
        )
        left = left + share
    axis.set_yticks(places, labels, fontsize=8)
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of the time of one forward pass [%]")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    worst = rows.loc[rows.framework_pct.idxmax()]
    told = (
        f"Most time between operators: {worst.framework_pct:.0f} % "
        f"({worst.model}, {route_label(worst.candidate)})"
    )
    every = "; ".join(
        f"{label}: kernels {row.kernels_pct:.0f} %, rounding {row.rounding_pct:.0f} %, "
        f"other {row.other_pct:.0f} %, between {row.framework_pct:.0f} %"
        for label, row in zip(labels, rows.itertuples(), strict=True)
    )
    return Figure(
        name="speed_breakdown",
        figure=figure,
        data=rows,
        alt=f"Shares of the time of int8 routes. {every}.",
        caption=(
            f"{told}. By torch's profiler, which itself takes time at each operator, "
            f"so that this share is an upper end; on {worst.machine}."
        ),
    )
