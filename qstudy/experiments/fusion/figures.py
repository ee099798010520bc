"""The figures of the fusion chapter."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from qstudy.measure import portable
from qstudy.report import style
from qstudy.report.figures import Figure


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """fusion_latency: ratios; fusion_ranges: int8 errors layer by layer."""
    if "fusion_latency.csv" in tables:
        yield _latency_figure(tables["fusion_latency.csv"])
    if "fusion_ranges.csv" in tables:
        yield _ranges_figure(tables["fusion_ranges.csv"])


def _latency_figure(timed: pd.DataFrame) -> Figure:
    figure, axis = style.new_figure(height=0.9 + 0.35 * len(timed))
    labels = [f"{r.model}, batch {int(r.batch)}" for r in timed.itertuples()]
    positions = range(len(timed))[::-1]
    errors = [timed.ratio - timed.ratio_lo, timed.ratio_hi - timed.ratio]
    looks = style.method_style("fp32") | {"label": None}
    axis.errorbar(timed.ratio, positions, xerr=errors, linestyle="none", **looks)
    for position, row in zip(positions, timed.itertuples(), strict=True):
        axis.annotate(
            f"{row.ratio:.2f}×",
            (row.ratio, position),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
        )
    axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
    axis.set_yticks(list(positions), labels)
    axis.set_ylim(-0.6, len(timed) - 0.3)
    axis.set_xlabel("unfused time / fused time (right is better)")
    told = "; ".join(
        f"{label} {row.ratio:.2f} times ({row.ratio_lo:.2f} to {row.ratio_hi:.2f})"
        for label, row in zip(labels, timed.itertuples(), strict=True)
    )
    machines = ", ".join(sorted(timed.machine.unique()))
    best = timed.ratio_lo.idxmax()
    resolved = int(((timed.ratio_lo > 1) | (timed.ratio_hi < 1)).sum())
    return Figure(
        name="fusion_latency",
        figure=figure,
        data=timed,
        alt=f"Speed of the fused network over the unfused one, eager fp32: {told}.",
        caption=(
            f"Fusion alone makes {labels[best]}, {timed.ratio[best]:.2f} times as "
            f"fast; {resolved} of {len(timed)} intervals lie clear of 1. Bars: 95 % "
            f"interval over {int(timed.n.min())} fresh processes, "
            f"{int(timed.threads.min())} threads, on {machines}."
        ),
    )


def _ranges_figure(ranges: pd.DataFrame) -> Figure:
    models = sorted(ranges.model.unique(), reverse=True)  # ResNets first
    figure, axes = style.new_figure(
        columns=len(models), height=3.8, sharey=True, squeeze=False
    )
    looks = {
        "per_channel_sqnr_unfused": ("#0072B2", "D", "none", "per channel, unfolded"),
        "per_channel_sqnr_fused": ("#0072B2", "D", "full", "per channel, folded"),
        "per_tensor_sqnr_unfused": ("#D55E00", "o", "none", "per tensor, unfolded"),
        "per_tensor_sqnr_fused": ("#D55E00", "o", "full", "per tensor, folded"),
    }
    told = []
    for axis, model in zip(axes[0], models, strict=True):
        layers = ranges[ranges.model == model]
        for column, (colour, marker, fill, label) in looks.items():
            axis.plot(
                range(1, len(layers) + 1),
                layers[column],
                color=colour,
                marker=marker,
                markersize=4,
                fillstyle=fill,
                linewidth=0.8,
                linestyle="-" if fill == "full" else ":",
                label=label,
            )
        axis.set_xlabel(f"convolution, input to output\n{model}")
        loss = layers.per_tensor_sqnr_unfused - layers.per_tensor_sqnr_fused
        channel = layers.per_channel_sqnr_unfused - layers.per_channel_sqnr_fused
        told.append(
            f"{model}, {len(layers)} convolutions: with one scale a tensor folding "
            f"costs {portable.median(loss):.1f} dB in the median layer and "
            f"{loss.max():.1f} dB in the worst, with one scale a channel at most "
            f"{channel.max():.1f} dB"
        )
    axes[0, 0].set_ylabel("int8 weights: SQNR [dB]\n(up is better)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return Figure(
        name="fusion_ranges",
        figure=figure,
        data=ranges,
        alt=f"Signal-to-quantization-noise ratio of int8 weights. {'; '.join(told)}.",
        caption=f"What folding does to int8 weights. {'; '.join(told)}.",
    )
