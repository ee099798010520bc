"""The figures of the dynamic chapter: roofline, speed, size by part, ranges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from qstudy.experiments.dynamic import figures_ranges, figures_speed
from qstudy.experiments.dynamic.forms import FORMS, NAMES
from qstudy.experiments.dynamic.grid import HEADLINE
from qstudy.report import scales, style
from qstudy.report.figures import Figure

_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
# Ticks of operations per byte: every second power of 2 has room for its label.
_OPERATIONS = [2.0**k for k in range(-1, 14, 2)]
_METHOD = {"fp32": "fp32", "bf16": "bf16", "int8": "dynamic_int8"}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """dynamic_roofline, dynamic_speed, _speed_best, _size, _ranges."""
    if "dynamic_latency.csv" in tables:
        timed = tables["dynamic_latency.csv"]
        linear = timed[timed.model.str.startswith("linear_")]
        if len(linear):
            yield _roofline(linear)
        yield from figures_speed.figures(timed)
    if "dynamic_size.csv" in tables:
        yield _size(tables["dynamic_size.csv"])
    if "dynamic_ranges.csv" in tables:
        yield figures_ranges.figure(tables["dynamic_ranges.csv"])


def _roofline(frame: pd.DataFrame) -> Figure:
    """Operations a second against rows, with what reading the weights alone allows."""
    chosen = frame[frame.baseline == "eager_fp32"].copy()
    chosen["width"] = chosen.model.str.removeprefix("linear_").astype(int)
    chosen["weight_mib"] = chosen.width**2 * chosen.precision.map(_BYTES) / 2**20
    chosen["operations_per_byte"] = 2 * chosen.batch / chosen.precision.map(_BYTES)
    chosen["gops"] = 2 * chosen.width**2 * chosen.batch / chosen.ms / 1e6
    chosen["weights_gb_per_s"] = (
        chosen.width**2 * chosen.precision.map(_BYTES) / chosen.ms / 1e6
    )
    widths = sorted(chosen.width.unique())
    figure, axes = style.new_figure(columns=len(widths), height=3.6, sharey=True)
    told = []
    for axis, width in zip(np.atleast_1d(axes), widths, strict=True):
        panel = chosen[chosen.width == width]
        fastest = panel.weights_gb_per_s.max()
        for precision, rows in panel.groupby("precision"):
            rows = rows.sort_values("batch", kind="stable")
            first = rows.iloc[0]
            looks = style.method_style(_METHOD[precision])
            axis.plot(rows.operations_per_byte, rows.gops, **looks)
            low, high = rows.operations_per_byte.iloc[[0, -1]]
            most = rows.gops.max()
            # Straight on both logarithmic axes, with one bend where arithmetic ends it.
            reach = [low, min(max(low, most / fastest), high), high]
            roof = [min(x * fastest, most) for x in reach]
            axis.plot(reach, roof, color=looks["color"], linestyle=":", linewidth=1)
            style.direct_label(
                axis, rows.operations_per_byte.iloc[-1], rows.gops.iloc[-1],
                _METHOD[precision], fontsize=7, offset=(-4, 5), ha="right",
            )  # fmt: skip
            told.append(
                f"{NAMES[f'linear_{width}']} {precision}: {first.gops:.0f} to "
                f"{rows.gops.max():.0f} GOP/s"
            )
        scales.logarithmic(axis, "x", base=2, ticks=_OPERATIONS)
        scales.logarithmic(axis, "y")
        axis.set_title(f"{width} × {width}", fontsize=9)
        axis.set_xlabel("operations per byte of weights")
    np.atleast_1d(axes)[0].set_ylabel("10⁹ operations a second (up is better)")
    small, large = (
        _gain(chosen[chosen.batch == b], widths[-1])
        for b in (chosen.batch.min(), chosen.batch.max())
    )
    return Figure(
        name="dynamic_roofline",
        figure=figure,
        data=chosen,
        alt=f"Speed of one linear layer against rows of input. {'; '.join(told)}.",
        caption=(
            f"With one row the {widths[-1]} × {widths[-1]} layer is bound by reading "
            f"its weights and int8 is {small:.2f} times as fast as fp32; with "
            f"{chosen.batch.max()} rows the arithmetic decides and it is {large:.2f} "
            "times. Dotted: the roof, by the fastest reading of weights and "
            "each precision's best arithmetic. "
            f"Rows {', '.join(map(str, sorted(chosen.batch.unique())))}; medians of "
            f"{int(chosen.n.min())} processes, {int(chosen.threads.max())} threads, on "
            f"{chosen.machine.iloc[0]}."
        ),
    )


def _gain(rows: pd.DataFrame, width: int) -> float:
    """The ratio of the table and the text: paired by process, not that of medians."""
    return float(rows[rows.width == width].set_index("precision").ratio["int8"])


def _size(frame: pd.DataFrame) -> Figure:
    """MiB by part, a bar a form."""
    wanted = ("fp32", "bf16", HEADLINE, "x86_embedding")
    chosen = frame[frame.form.isin(wanted)]
    figure, axis = style.new_figure(height=0.9 + 0.33 * len(chosen))
    colours = {"embedding": "#56B4E9", "weight": "#E69F00", "other": "#000000"}
    hatches = {"embedding": "//", "weight": "", "other": "xx"}
    labels, told = [], []
    largest = chosen.groupby("model").size_mib.transform("max")
    for position, (row, most) in enumerate(
        zip(chosen[::-1].itertuples(), largest[::-1], strict=True)
    ):
        left = 0.0
        for part, colour in colours.items():
            width = 100 * getattr(row, f"{part}_mib") / most
            axis.barh(
                position, width, left=left, color=colour, hatch=hatches[part],
                edgecolor="#ffffff", linewidth=0.5,
                label=part if position == 0 else None,
            )  # fmt: skip
            left += width
        axis.annotate(
            f"{row.size_mib:.1f} MiB", (left, position), xytext=(4, -3),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
        label = "int8" if row.form == HEADLINE else FORMS[row.form].label
        label = "int8, embedding too" if row.form == "x86_embedding" else label
        labels.append(f"{NAMES[row.model]}, {label}")
        told.append(
            f"{labels[-1]}: {row.size_mib:.2f} MiB, of it embedding "
            f"{row.embedding_mib:.2f}, weights {row.weight_mib:.2f}"
        )
    axis.axvline(25, color="#666666", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_xlim(0, 125)
    axis.set_xlabel("size, percent of the fp32 file (left is better)")
    axis.legend(fontsize=8, loc="lower right", frameon=True)
    ratios = "; ".join(
        f"{NAMES[r.model]} {r.ratio:.2f}"
        for r in chosen[chosen.form == HEADLINE].itertuples()
    )
    return Figure(
        name="dynamic_size",
        figure=figure,
        data=chosen,
        alt=f"Size by part. {'; '.join(told[::-1])}.",
        caption=(
            f"How many times smaller the int8 file is: {ratios}. Dashed: a quarter. "
            "What is left is the embedding, which dynamic quantization does not touch "
            "unless it is asked to."
        ),
    )
