"""Figures of settings: bits of weights, calibrators, draws of calibration images."""

from __future__ import annotations

import pandas as pd
from matplotlib.patches import Rectangle

from qstudy.experiments.static.figures_parts import (
    MARKS,
    SHADES,
    drop_axis,
    line,
    spoken,
)
from qstudy.report import scales, style
from qstudy.report.figures import Figure


def weights(frame: pd.DataFrame) -> Figure:
    """Drop of top-1 against the bits of the weights, a panel a network.

    By granularity and folding.
    """
    models = list(dict.fromkeys(frame.model))
    figure, axes = style.new_figure(
        columns=len(models), height=3.6, sharey=True, squeeze=False
    )
    told = []
    for axis, model in zip(axes.flat, models, strict=True):
        mine, fewest = frame[frame.model == model], []
        groups = mine.groupby(["granularity", "bn"], sort=False)
        for place, ((granularity, bn), rows) in enumerate(groups):
            rows = rows.sort_values("weight_bits", kind="stable")
            name = f"{granularity.replace('_', ' ')}, BN {bn}"
            line(axis, rows, "weight_bits", place, name)
            least = rows[rows.drop_hi <= 1.0].weight_bits.min()
            said = "none" if least != least else f"{least} bits"
            fewest.append(f"{name} {said}")
        axis.set_xlabel("bits of the weights")
        axis.set_xticks(sorted(frame.weight_bits.unique()))
        axis.set_title(model, fontsize=9)
        drop_axis(axis, frame)
        told.append(f"{model}: {', '.join(fewest)}")
    for axis in axes.flat[1:]:
        axis.set_ylabel("")
    axes.flat[0].legend(fontsize=8)
    return Figure(
        name="static_weights",
        figure=figure,
        data=frame,
        alt=(
            "Drop by bits of the weights, one line a granularity and place of the "
            "batch normalization. Fewest bits with almost no drop: "
            f"{'; '.join(told)}."
        ),
        caption=(
            f"The fewest bits of weights that cost at most one point (dashed): "
            f"{'; '.join(told)}. Activations in fp32. Bars: paired 95 % interval over "
            f"{frame.n.iloc[0]:,} images. The vertical axis is linear up to 1 and "
            "logarithmic above."
        ),
    )


def calibration(frame: pd.DataFrame) -> Figure:
    """Drop of top-1 by calibrator and bits; the symmetric scheme as hollow marks."""
    names = list(dict.fromkeys(frame.calibrator))
    widths = sorted(frame.activation_bits.unique(), reverse=True)
    figure, axis = style.new_figure(height=1.1 + 0.44 * len(names))
    told = []
    for place, bits in enumerate(widths):
        of_width = frame[frame.activation_bits == bits]
        for scheme, filled in (("affine", True), ("scale", False)):
            rows = of_width[of_width.scheme == scheme]
            shift = 0.24 * (place - (len(widths) - 1) / 2) + (0 if filled else 0.1)
            axis.errorbar(
                rows.drop_pp,
                [names.index(name) + shift for name in rows.calibrator],
                xerr=[rows.drop_pp - rows.drop_lo, rows.drop_hi - rows.drop_pp],
                linestyle="none",
                color=SHADES[place],
                marker=MARKS[place],
                markersize=5,
                markerfacecolor=SHADES[place] if filled else "#ffffff",
                capsize=2,
                label=f"{bits} bits, {scheme}",
            )
        affine = of_width[of_width.scheme == "affine"]
        best, worst = (
            affine.loc[f] for f in (affine.drop_pp.idxmin(), affine.drop_pp.idxmax())
        )
        told.append(
            f"{bits} bits: {spoken(best.calibrator)} {best.drop_pp:.2f}, "
            f"{spoken(worst.calibrator)} {worst.drop_pp:.2f}"
        )
    axis.set_yticks(range(len(names)), [spoken(n) for n in names], fontsize=8)
    axis.invert_yaxis()
    scales.symmetric(axis, "x")
    axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
    axis.set_xlim(min(-1.0, frame.drop_lo.min()), 100)
    axis.set_xlabel("drop of top-1 [pp] (left is better)")
    figure.legend(fontsize=7.5, ncols=3, loc="outside upper center")
    first = frame.iloc[0]
    return Figure(
        name="static_calibration",
        figure=figure,
        data=frame,
        alt=(
            f"Drop of {first.model} by calibrator of its activations. Least and most "
            f"with a zero point, in points: {'; '.join(told)}."
        ),
        caption=(
            f"Least and largest drop with a zero point, in points: {'; '.join(told)}. "
            f"{first.model}, weights 8 bits, {first.n:,} held-out images. Hollow: "
            "scale quantization, the zero point in the middle. Bars: paired 95 % "
            "interval; dashed: one point. The axis is linear up to 1 and logarithmic "
            "above."
        ),
    )


def variance(frame: pd.DataFrame) -> Figure:
    """Drop against the number of calibration images, by calibrator and draw."""
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
            f"{row.drop_mean:.2f}",
            (x, y - 0.16),
            ha="center",
            va="center",
            fontsize=8,
        )
        axis.annotate(
            f"{row.drop_best:.2f} to {row.drop_worst:.2f}",
            (x, y + 0.2),
            ha="center",
            va="center",
            fontsize=6.5,
        )
    axis.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axis.set_yticks(range(len(names)), [spoken(n) for n in names], fontsize=8)
    axis.set_xlim(-0.5, len(sizes) - 0.5)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(visible=False)
    axis.set_xlabel("calibration images")
    first = frame.iloc[0]
    few, many = (
        frame[frame.calibration_images == size].set_index("calibrator")
        for size in (sizes[0], sizes[-1])
    )
    unlucky, steady = many.drop_worst.idxmax(), many.range_pp.idxmin()
    told = (
        f"The unluckiest draw of {spoken(unlucky)} costs "
        f"{few.drop_worst[unlucky]:.2f} points with {sizes[0]} images and "
        f"{many.drop_worst[unlucky]:.2f} with {sizes[-1]:,}; the {first.draws} draws "
        f"of {spoken(steady)} lie within {few.range_pp[steady]:.2f} and "
        f"{many.range_pp[steady]:.2f} points"
    )
    return Figure(
        name="static_variance",
        figure=figure,
        data=frame,
        alt=f"Map of mean drop and range by calibrator and number of images. {told}.",
        caption=(
            f"{told}. In each field the mean drop [pp] of {first.model} over "
            f"{first.draws} draws, below it the best and the worst draw; the further "
            f"apart, the darker. Weights 8 bits, activations {first.activation_bits}; "
            f"{first.n:,} held-out images scored."
        ),
    )


def _square(x: int, y: int, colour: tuple[float, float, float]) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=colour, linewidth=0)
