"""The figure of clips: how much of an activation's range each calibrator keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from qstudy.experiments.static.figures_parts import SHADES, spoken
from qstudy.experiments.static.grid_sweeps import CALIBRATORS, label
from qstudy.measure import portable
from qstudy.report import style
from qstudy.report.figures import Figure


def clips(frame: pd.DataFrame) -> Figure:
    """A line a calibrator, up to its clip, before the histogram of activations."""
    layers = list(dict.fromkeys(frame.layer))
    named = frame[frame.calibrator.notna()]
    present = set(named.calibrator)
    order = [name for name in map(label, CALIBRATORS) if name in present]
    figure, axes = style.new_figure(
        rows=len(layers), height=(0.55 + 0.17 * len(order)) * len(layers) + 0.3
    )
    told = []
    for axis, layer in zip(np.atleast_1d(axes), layers, strict=True):
        rows = frame[frame.layer == layer]
        bins = rows[rows.calibrator.isna()]
        clips = rows[rows.calibrator.notna()]
        _histogram(axis, bins, height=len(order))
        for clip in clips.itertuples():
            y = len(order) - order.index(clip.calibrator) - 0.5
            axis.plot([0, clip.value], [y, y], color=SHADES[0], linewidth=1)
            axis.plot([clip.value], [y], color=SHADES[0], marker="|", markersize=8)
            axis.annotate(
                f"{clip.value:.2f}",
                (clip.value, y),
                xytext=(4, -2.5),
                textcoords="offset points",
                fontsize=7,
            )
        seen = bins[bins["count"] > 0].value.max()
        axis.set_xlim(0, 1.14 * max(seen, clips.value.max()))
        axis.set_ylim(0, len(order))
        axis.set_yticks(
            [len(order) - place - 0.5 for place in range(len(order))],
            [spoken(name) for name in order],
            fontsize=7,
        )
        axis.grid(visible=False, axis="y")
        axis.set_title(layer, fontsize=8, loc="left")
        least, most = clips.loc[clips.value.idxmin()], clips.loc[clips.value.idxmax()]
        told.append(
            f"{layer}: from {least.value:.2f} ({spoken(least.calibrator)}) to "
            f"{most.value:.2f} ({spoken(most.calibrator)})"
        )
    np.atleast_1d(axes)[-1].set_xlabel("magnitude of the activation")
    return Figure(
        name="static_clips",
        figure=figure,
        data=frame,
        alt=f"Histograms of activations and each calibrator's clip. {'; '.join(told)}.",
        caption=(
            f"Where each calibrator clips for four bits: {'; '.join(told)}. Grey: how "
            "many values it has seen of each magnitude, on a logarithmic scale."
        ),
    )


def _histogram(axis: Axes, bins: pd.DataFrame, *, height: float) -> None:
    """Counts as a grey shape behind the lines, logarithmic, from 1 to the largest."""
    logs = [portable.log(max(1.0, float(c))) for c in bins["count"]]
    top = max(logs) or 1.0
    axis.fill_between(
        bins.value, 0, [height * v / top for v in logs], step="mid", color="#dddddd"
    )
