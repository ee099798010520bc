"""The figure of the encoder's clipping ranges, layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qstudy.measure import portable
from qstudy.report import scales, style
from qstudy.report.figures import Figure


def figure(frame: pd.DataFrame) -> Figure:
    """Per layer: the fixed range, and the ranges that single passages have."""
    drawn, axis = style.new_figure(height=3.4)
    positions = np.arange(len(frame))
    static, dynamic = (style.method_style(m) for m in ("static_int8", "dynamic_int8"))
    lone = {"linestyle": "none", "markersize": 4}
    for end in ("low", "high"):
        said = end == "low"
        middle = frame[f"dynamic_{end}_p50"]
        spread = [
            middle - frame[f"dynamic_{end}_p5"],
            frame[f"dynamic_{end}_p95"] - middle,
        ]
        axis.plot(
            positions,
            frame[f"static_max_{end}"],
            **lone,
            **static | {"label": "static, min-max" if said else None},
        )
        axis.errorbar(
            positions,
            middle,
            yerr=spread,
            capsize=0,
            **lone,
            **dynamic | {"label": "dynamic, each passage" if said else None},
        )
        axis.plot(
            positions,
            frame[f"static_percentile_{end}"],
            marker="_",
            color=static["color"],
            label="static, 99.99 percentile" if said else None,
            **lone,
        )
    scales.symmetric(axis, "y")
    step = max(1, len(frame) // 6)
    ticks = positions[::step]
    axis.set_xticks(
        ticks, [frame.layer.iloc[i] for i in ticks], fontsize=7, rotation=20
    )
    axis.set_ylabel("activation entering the layer")
    axis.set_xlabel("linear layer, first to last")
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    fixed = frame.static_max_high - frame.static_max_low
    own = frame.dynamic_high_p50 - frame.dynamic_low_p50
    ratio = fixed / own
    worst = frame.loc[ratio.idxmax()]
    told = (
        f"The fixed range is {portable.median(ratio):.2f} times as wide as the median "
        f"passage's own in the middle layer, {ratio.max():.2f} times in {worst.layer}"
    )
    return Figure(
        name="dynamic_ranges",
        figure=drawn,
        data=frame,
        alt=f"Clipping ranges of {len(frame)} layers, static and dynamic. {told}.",
        caption=(
            f"{told}. Bars: from the 5th to the 95th percentile over "
            f"{int(frame.n.iloc[0])} test passages, triangles: the median. Logarithmic "
            "beyond ±1."
        ),
    )
