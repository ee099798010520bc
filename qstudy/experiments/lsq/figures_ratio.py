"""How far updates move the steps, by what their gradient is multiplied by."""

from __future__ import annotations

import pandas as pd

from qstudy.measure import portable
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

# What the gradient of a step is multiplied by.
_SCALES = {"full": "1/√(N·Q)", "sqrt_n": "1/√N", "none": "1"}
# Ratios that the picture of updates shows.
_DECADES = tuple(10.0**k for k in range(-3, 4))


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
