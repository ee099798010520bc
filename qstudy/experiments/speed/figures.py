"""The speed chapter's figures: where the time goes; others beside this module."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from qstudy.experiments.speed.figures_maps import crossover_figure, roofline_figure
from qstudy.experiments.speed.figures_routes import (
    TITLES,
    networks,
    route_label,
    routes_figure,
    summary_figure,
)
from qstudy.experiments.speed.tables import PARTS
from qstudy.experiments.speed.tables_selection import whole
from qstudy.report import style
from qstudy.report.figures import Figure

# Each part has a grey of its own and its name in the legend.
_GREYS = ("#1a1a1a", "#666666", "#a6a6a6", "#e0e0e0")
_PART_LABELS = {
    "kernels": "kernels that multiply",
    "rounding": "quantize, dequantize",
    "other": "other operators",
    "framework": "between operators",
}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """speed_summary, _routes, _breakdown, _roofline, _crossover: those with data."""
    if "speed.csv" in tables:
        yield summary_figure(whole(tables["speed.csv"]))
        yield routes_figure(whole(tables["speed.csv"]))
    if "speed_breakdown.csv" in tables:
        yield _breakdown_figure(tables["speed_breakdown.csv"])
    if "speed_points.csv" in tables:
        yield roofline_figure(tables["speed_roofline.csv"], tables["speed_points.csv"])
    if "speed_crossover.csv" in tables:
        yield crossover_figure(tables["speed_crossover.csv"])


def _breakdown_figure(frame: pd.DataFrame) -> Figure:
    """Shares of time of the int8 routes within PyTorch, at one image and one thread."""
    rows = frame[frame.candidate.str.startswith("int8:")]
    rows = rows[rows.batch == rows.batch.min()]
    rows = rows[rows.threads == rows.threads.min()]
    most = rows.groupby("model").routes.transform("max")
    rows = rows[rows.routes == most].drop_duplicates(["model", "candidate"])
    order = {model: place for place, model in enumerate(networks(rows))}
    rows = rows.sort_values("model", key=lambda m: m.map(order), kind="stable")
    figure, axis = style.new_figure(height=1.3 + 0.28 * len(rows))
    labels = [
        f"{TITLES.get(r.model, r.model)}, {route_label(r.candidate)}"
        for r in rows.itertuples()
    ]
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
        f"({TITLES.get(worst.model, worst.model)}, {route_label(worst.candidate)})"
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
