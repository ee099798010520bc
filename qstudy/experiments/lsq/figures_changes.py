"""What a change of the method does: to accuracy, and to the updates of the steps."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments.lsq.tables_ablation import base_of
from qstudy.measure import portable
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

# What the gradient of a step is multiplied by.
_SCALES = {"full": "1/√(N·Q)", "sqrt_n": "1/√N", "none": "1"}
# Ratios that the picture of updates shows.
_DECADES = tuple(10.0**k for k in range(-3, 4))


def ablation(frame: pd.DataFrame) -> Figure:
    """What one change brings over what it is compared with, by condition."""
    shown = frame[frame.gain_pp.notna()].iloc[::-1]
    figure, axis = style.new_figure(height=1.2 + 0.26 * len(shown))
    looks = {k: v for k, v in style.method_style("lsq").items() if k != "label"}
    for place, row in enumerate(shown.itertuples()):
        axis.errorbar(
            row.gain_pp,
            place,
            xerr=[[row.gain_pp - row.gain_lo], [row.gain_hi - row.gain_pp]],
            capsize=2,
            markersize=5,
            markerfacecolor=looks["color"] if row.resolved else "#ffffff",
            **looks,
        )
    axis.axvline(0, color="#666666", linewidth=1)
    axis.set_yticks(range(len(shown)), list(shown.condition), fontsize=8)
    axis.set_xlabel("gain of top-1 over the base [pp] (right is better)")
    ends = {"low": shown.gain_lo.min(), "high": shown.gain_hi.max()}
    scales.bend(axis, values=shown.gain_pp, **ends)
    best, worst = (
        shown.loc[shown.gain_pp.idxmax()],
        shown.loc[shown.gain_pp.idxmin()],
    )
    told = (
        f"The most is brought by '{best.condition}' ({best.gain_pp:+.2f} points), the "
        f"most is lost by '{worst.condition}' ({worst.gain_pp:+.2f})"
    )
    others = sorted({c for c in shown.compared_with if base_of(c) is not None})
    apart = f" Conditions that build on {' or '.join(others)} are held against it."
    return Figure(
        name="lsq_ablation",
        figure=figure,
        data=frame,
        alt=f"Gain in top-1 of {len(shown)} changes to LSQ at 2 bits. {told}.",
        caption=(
            f"{told}. Means over {int(shown.n.iloc[0])} seeds on the images held out, "
            "bars: 95 % t interval of the per-seed gains; filled: resolved after "
            f"Holm's correction.{apart if others else ''}"
        ),
    )


def ratio(frame: pd.DataFrame) -> Figure:
    """R of each layer, of weights and of what it reads, by the gradient's scale."""
    figure, axes = style.new_figure(columns=2, height=3.4, sharey=True)
    layers = list(dict.fromkeys(frame.layer))
    told = []
    for line, (scaled, label) in zip(("-", "--", ":"), _SCALES.items(), strict=True):
        rows = frame[frame.gradient == scaled]
        if not len(rows):
            continue
        for axis, tensor in zip(axes, ("weight", "activation"), strict=True):
            shown = rows[rows.tensor == tensor].set_index("layer").ratio
            # Two layers that read one tensor share its step.
            axis.plot(
                [place for place, layer in enumerate(layers) if layer in shown],
                [float(shown[layer]) for layer in layers if layer in shown],
                color=style.method("lsq").colour,
                marker="o",
                linestyle=line,
                label=label,
            )
        middle = {
            tensor: portable.median(of_one.ratio)
            for tensor, of_one in rows.groupby("tensor", sort=False)
        }
        words = f"{label}: weights {middle['weight']:.2g}"
        words += f", activations {middle['activation']:.2g}"
        told.append(f"{words}, loss at the end {rows.loss.iloc[0]:.2f}")
    for axis, title in zip(axes, ("weights", "activations"), strict=True):
        axis.axhline(1, color="#666666", linewidth=1)
        axis.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=8)
        axis.set_title(f"steps of {title}", fontsize=9)
    axes[0].set_ylabel("update of the step\nover that of the weights")
    axes[0].legend(title="gradient times", fontsize=8)
    low, *_, high = _DECADES
    scales.logarithmic(axes[0], "y", ticks=_DECADES)
    axes[0].set_ylim(low, high)
    beyond = int(((frame.ratio < low) | (frame.ratio > high)).sum())
    out = f" Out of view: {counted(beyond, 'value')}." if beyond else ""
    return Figure(
        name="lsq_ratio",
        figure=figure,
        data=frame,
        alt=f"Ratio of updates by layer. {'; '.join(told)}.",
        caption=(
            "How far an update moves a step, over how far it moves the weights, both "
            f"by their own size, medians over layers. {'; '.join(told)}. Means over an "
            "epoch, of the updates in which the weights had a gradient; 1 is balance."
            f"{out}"
        ),
    )
