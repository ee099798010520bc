"""The LSQ chapter's figures: size, what a change brings, how far updates move steps."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from qstudy.experiments.lsq.tables_ablation import base_of
from qstudy.report import scales, style
from qstudy.report.figures import Figure


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """lsq_size, lsq_ablation and lsq_ratio, each where its table is there."""
    if "lsq_size.csv" in tables:
        yield _size(tables["lsq_size.csv"])
    if "lsq_ablation_summary.csv" in tables:
        yield _ablation(tables["lsq_ablation_summary.csv"])
    if "lsq_ratio.csv" in tables:
        yield _ratio(tables["lsq_ratio.csv"])


def _size(frame: pd.DataFrame) -> Figure:
    """Accuracy against the size of the file, all methods, with the Pareto front."""
    figure, axis = style.new_figure(height=3.8)
    front = frame[frame.front].sort_values("size_kib", kind="stable")
    axis.plot(
        front.size_kib,
        front.top1,
        color="#666666",
        linestyle="--",
        linewidth=1,
        drawstyle="steps-post",
        zorder=1,
    )
    for method in [name for name in style.METHODS if name in set(frame.method)]:
        rows = frame[frame.method == method]
        axis.plot(
            rows.size_kib, rows.top1, linestyle="none", **style.method_style(method)
        )
    for row in front.itertuples():
        depth = row.model.removeprefix("resnet")
        axis.annotate(
            f"ResNet-{depth}, {row.weight_bits} bit",
            (row.size_kib, row.top1),
            xytext=(5, -11),
            textcoords="offset points",
            fontsize=8,
        )
    scales.logarithmic(axis, "x", base=2)
    axis.set_xlabel("size of the file [KiB] (left is better)")
    axis.set_ylabel("top-1 on the test set [%] (up is better)")
    axis.legend(loc="lower right", fontsize=8)
    small = front.iloc[0]
    bits = ", ".join(str(b) for b in sorted(set(front.weight_bits)))
    told = (
        f"No smaller network is as accurate as these {len(front)}, which have "
        f"{bits} bits a weight; the smallest takes {small.size_kib:.0f} KiB for "
        f"{small.top1:.1f} %"
    )
    return Figure(
        name="lsq_size",
        figure=figure,
        data=frame,
        alt=f"Top-1 against file size for {len(frame)} networks. {told}.",
        caption=(
            f"{told}. A point a network, the mean of its seeds; dashed: the Pareto "
            "front. Files hold packed codes, steps, normalizations and biases."
        ),
    )


def _ablation(frame: pd.DataFrame) -> Figure:
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


def _ratio(frame: pd.DataFrame) -> Figure:
    """R of each layer's weights, by what scales the gradient of the step."""
    figure, axis = style.new_figure(height=3.2)
    weights = frame[frame.tensor == "weight"]
    layers = list(dict.fromkeys(weights.layer))
    lines = ("-", "--", ":", "-.")
    told = []
    for line, (gradient, rows) in zip(
        lines, weights.groupby("gradient", sort=False), strict=False
    ):
        values = [float(rows[rows.layer == layer].ratio.iloc[0]) for layer in layers]
        axis.plot(
            range(len(layers)),
            values,
            color=style.method("lsq").colour,
            marker="o",
            linestyle=line,
            label=gradient,
        )
        told.append(f"{gradient}: {min(values):.2g} to {max(values):.2g}")
    axis.axhline(1, color="#666666", linewidth=1)
    axis.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=8)
    axis.set_ylabel("update of the step over that of the weights")
    axis.legend(title="scale of the gradient", fontsize=8)
    scales.logarithmic(axis, "y")
    return Figure(
        name="lsq_ratio",
        figure=figure,
        data=frame,
        alt=f"Ratio of updates by layer. {'; '.join(told)}.",
        caption=(
            f"How far an update moves a step, over how far it moves the weights, both "
            f"by their own size: {'; '.join(told)}. Means over the first epoch; 1 is "
            "balance."
        ),
    )
