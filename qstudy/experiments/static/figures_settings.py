"""Figures of how ranges are found: bits of weights, clips, the variance map."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from qstudy.experiments.static.figures_parts import SHADES, drop_axis, line
from qstudy.report import scales, style
from qstudy.report.figures import Figure


def weights(frame: pd.DataFrame) -> Figure:
    figure, axis = style.new_figure(height=3.6)
    told = []
    groups = list(frame.groupby(["granularity", "bn"], sort=False))
    for place, ((granularity, bn), rows) in enumerate(groups):
        rows = rows.sort_values("weight_bits")
        name = f"{granularity.replace('_', ' ')}, BN {bn}"
        line(axis, rows, "weight_bits", place, name)
        least = rows[rows.drop_hi <= 1.0].weight_bits.min()
        told.append(f"{name}: {least} bits" if least == least else f"{name}: none")
    axis.set_xlabel("bits of the weights (activations fp32)")
    axis.set_xticks(sorted(frame.weight_bits.unique()))
    drop_axis(axis, frame)
    axis.legend(fontsize=8)
    first = frame.iloc[0]
    return Figure(
        name="static_weights",
        figure=figure,
        data=frame,
        alt=(
            f"Drop of {first.model} by bits of its weights, one line a granularity and "
            f"place of the batch normalization. Fewest bits with almost no drop: "
            f"{'; '.join(told)}."
        ),
        caption=(
            f"The fewest bits of weights that cost at most one point (dashed): "
            f"{'; '.join(told)}. Bars: paired 95 % interval over {first.n:,} images. "
            "The vertical axis is linear up to 1 and logarithmic above."
        ),
    )


def clips(frame: pd.DataFrame) -> Figure:
    layers = list(dict.fromkeys(frame.layer))
    figure, axes = style.new_figure(rows=len(layers), height=1.9 * len(layers) + 0.6)
    axes = np.atleast_1d(axes)
    told = []
    for axis, layer in zip(axes, layers, strict=True):
        rows = frame[frame.layer == layer]
        bins = rows[rows.calibrator.isna()]
        seen = bins[bins["count"] > 0]
        axis.fill_between(bins.value, 1, bins["count"] + 1, step="mid", color="#cccccc")
        clips = rows[rows.calibrator.notna()].sort_values("value", kind="stable")
        for place, clip in enumerate(clips.itertuples()):
            shade = SHADES[place % len(SHADES)]
            axis.axvline(clip.value, color=shade, linewidth=1.2)
            axis.annotate(
                _short(clip.calibrator),
                (clip.value, 1),
                xytext=(1, 4 + 7 * place),
                textcoords="offset points",
                fontsize=6.5,
            )
        scales.logarithmic(axis, "y", ticks=tuple(10.0**k for k in range(0, 9, 2)))
        axis.set_ylim(1, 2.0 * bins["count"].max())
        axis.set_xlim(0, 1.12 * max(seen.value.max(), clips.value.max()))
        axis.set_title(layer, fontsize=8, loc="left")
        axis.set_ylabel("values a bin")
        least, most = clips.iloc[0], clips.iloc[-1]
        told.append(
            f"{layer}: from {least.value:.2f} ({_short(least.calibrator)}) to "
            f"{most.value:.2f} ({_short(most.calibrator)})"
        )
    axes[-1].set_xlabel("magnitude of the activation")
    return Figure(
        name="static_clips",
        figure=figure,
        data=frame,
        alt=f"Histograms of activations and each calibrator's clip. {'; '.join(told)}.",
        caption=(
            "Where each calibrator clips for four bits, on the histogram of what "
            f"it has seen: {'; '.join(told)}. Counts are on a logarithmic axis."
        ),
    )


def _short(calibrator: str) -> str:
    return calibrator.replace("percentile-", "").replace("moving_average", "moving av.")


def variance(frame: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(frame.calibrator))
    sizes = sorted(frame.calibration_images.unique())
    figure, axis = style.new_figure(height=0.9 + 0.55 * len(names))
    top = frame.range_pp.max()
    for row in frame.itertuples():
        x, y = sizes.index(row.calibration_images), names.index(row.calibrator)
        shade = 1 - 0.75 * (row.range_pp / top if top else 0)
        axis.add_patch(
            _square(x, y, (shade, shade + (1 - shade) * 0.35, 1 - (1 - shade) * 0.3))
        )
        axis.annotate(
            f"{row.drop_mean:.2f}\n±{row.range_pp / 2:.2f}",
            (x, y),
            ha="center",
            va="center",
            fontsize=7.5,
        )
    axis.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(-0.5, len(sizes) - 0.5)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(visible=False)
    axis.set_xlabel("calibration images")
    first = frame.iloc[0]
    few, many = (frame[frame.calibration_images == s] for s in (sizes[0], sizes[-1]))
    unlucky = few.loc[few.drop_worst.idxmax()]
    steady = many.loc[many.range_pp.idxmin()]
    told = (
        f"With {sizes[0]} images the unluckiest draw of {unlucky.calibrator} costs "
        f"{unlucky.drop_worst:.2f} points; with {sizes[-1]:,} the {first.draws} draws "
        f"of {steady.calibrator} lie within {steady.range_pp:.2f} points"
    )
    return Figure(
        name="static_variance",
        figure=figure,
        data=frame,
        alt=f"Map of mean drop and range by calibrator and number of images. {told}.",
        caption=(
            f"{told}. In each field the mean drop [pp] of {first.model} over "
            f"{first.draws} draws, and half of the range from the best draw to the "
            f"worst, which also makes it darker; weights 8 bits, activations "
            f"{first.activation_bits}; {first.n:,} images scored."
        ),
    )


def _square(x: int, y: int, colour: tuple[float, float, float]) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=colour, linewidth=0)
