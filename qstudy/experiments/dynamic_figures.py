"""The figures of the dynamic chapter: roofline, speed, size by part, ranges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter, ScalarFormatter

from qstudy.experiments.dynamic_networks import FORMS, HEADLINE
from qstudy.report import style
from qstudy.report.figures import Figure

NAMES = {
    "lstm": "LSTM", "minilm": "MiniLM", "mlp": "MLP", "tiny_lstm": "tiny LSTM",
    "tiny_encoder": "tiny encoder", "tiny_mlp": "tiny MLP",
    "linear_1024": "1024 × 1024", "linear_4096": "4096 × 4096",
}  # fmt: skip
_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
_METHOD = {"fp32": "fp32", "bf16": "bf16", "int8": "dynamic_int8"}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """dynamic_roofline, dynamic_speed, dynamic_size, dynamic_ranges."""
    if "dynamic_latency.csv" in tables:
        timed = tables["dynamic_latency.csv"]
        linear = timed[timed.model.str.startswith("linear_")]
        if len(linear):
            yield _roofline(linear)
        speed = _speed_rows(timed)
        if len(speed):
            yield _speed(speed)
    if "dynamic_size.csv" in tables:
        yield _size(tables["dynamic_size.csv"])
    if "dynamic_ranges.csv" in tables:
        yield _ranges(tables["dynamic_ranges.csv"])


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
            rows = rows.sort_values("batch")
            first = rows.iloc[0]
            looks = style.method_style(_METHOD[precision])
            axis.plot(rows.operations_per_byte, rows.gops, **looks)
            low, high = rows.operations_per_byte.iloc[[0, -1]]
            reach = np.geomspace(low, high, 50)
            roof = np.minimum(reach * fastest, rows.gops.max())
            axis.plot(reach, roof, color=looks["color"], linestyle=":", linewidth=1)
            style.direct_label(
                axis, rows.operations_per_byte.iloc[-1], rows.gops.iloc[-1],
                _METHOD[precision], fontsize=7, offset=(-4, 5), ha="right",
            )  # fmt: skip
            told.append(
                f"{NAMES[f'linear_{width}']} {precision}: {first.gops:.0f} to "
                f"{rows.gops.max():.0f} GOP/s"
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
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
            f"its weights and int8 is {small:.1f} times as fast as fp32; with "
            f"{chosen.batch.max()} rows the arithmetic decides and it is {large:.1f} "
            "times. Dotted: the roof, by the fastest reading of weights and "
            "each precision's best arithmetic. "
            f"Rows {', '.join(map(str, sorted(chosen.batch.unique())))}; medians of "
            f"{int(chosen.n.min())} processes, {int(chosen.threads.max())} threads, on "
            f"{chosen.machine.iloc[0]}."
        ),
    )


def _gain(rows: pd.DataFrame, width: int) -> float:
    ms = rows[rows.width == width].set_index("precision").ms
    return float(ms["fp32"] / ms["int8"])


def _speed_rows(frame: pd.DataFrame) -> pd.DataFrame:
    chosen = frame[(frame.baseline == "eager_fp32") & (frame.forms == "eager")]
    chosen = chosen[chosen.candidate.isin((f"int8:{HEADLINE}", "bf16:eager"))]
    chosen = chosen[chosen.model.isin(("lstm", "minilm", "tiny_lstm"))]
    return chosen[chosen.threads == chosen.threads.max()]


def _speed(frame: pd.DataFrame) -> Figure:
    """int8 and bf16 over eager fp32, by batch and length."""
    models = list(frame.model.unique())
    figure, axes = style.new_figure(columns=len(models), height=4.2, sharex=True)
    told = []
    for axis, model in zip(np.atleast_1d(axes), models, strict=True):
        rows = frame[frame.model == model]
        settings = sorted(
            {(b, int(n)) for b, n in zip(rows.batch, rows.length, strict=True)}
        )
        axis.axvspan(2, 4, color="#eeeeee")
        for precision, offset in (("int8", 0.15), ("bf16", -0.15)):
            for row in rows[rows.precision == precision].itertuples():
                position = (
                    len(settings) - 1 - settings.index((row.batch, int(row.length)))
                )
                axis.errorbar(
                    row.ratio,
                    position + offset,
                    xerr=[
                        [max(0, row.ratio - row.ratio_lo)],
                        [max(0, row.ratio_hi - row.ratio)],
                    ],
                    markersize=4,
                    **style.method_style(_METHOD[precision]) | {"label": None},
                )
                told.append(
                    f"{NAMES[model]} batch {row.batch} length {int(row.length)} "
                    f"{precision}: {row.ratio:.2f}"
                )
        axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
        names = [f"{b} × {n}" for b, n in settings]
        axis.set_yticks(range(len(names)), names[::-1], fontsize=8)
        axis.set_title(NAMES[model], fontsize=9)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("eager fp32 time / time\n(right is better)")
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("batch × tokens")
    for method in ("dynamic_int8", "bf16"):
        first.plot([], [], linestyle="none", **style.method_style(method))
    first.legend(fontsize=7, loc="upper left")
    spans = "; ".join(
        f"{NAMES[model]}: "
        + ", ".join(
            f"{p} {_span(frame[(frame.model == model) & (frame.precision == p)])}"
            for p in ("int8", "bf16")
        )
        for model in models
    )
    return Figure(
        name="dynamic_speed",
        figure=figure,
        data=frame,
        alt=f"Speed over eager fp32, by setting. {'; '.join(told)}.",
        caption=(
            f"Speed over eager fp32. {spans}. Grey: the claim, 2 to 4 times. Bars: "
            f"95 % interval over {int(frame.n.min())} fresh processes, "
            f"{int(frame.threads.max())} threads, on {frame.machine.iloc[0]}."
        ),
    )


def _span(rows: pd.DataFrame) -> str:
    return f"{rows.ratio.min():.2f} to {rows.ratio.max():.2f} times"


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


def _ranges(frame: pd.DataFrame) -> Figure:
    """Per layer: the fixed range, and the ranges that single passages have."""
    figure, axis = style.new_figure(height=3.4)
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
    axis.set_yscale("symlog", linthresh=1.0)
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
        f"The fixed range is {ratio.median():.2f} times as wide as the median "
        f"passage's own in the middle layer, {ratio.max():.2f} times in {worst.layer}"
    )
    return Figure(
        name="dynamic_ranges",
        figure=figure,
        data=frame,
        alt=f"Clipping ranges of {len(frame)} layers, static and dynamic. {told}.",
        caption=(
            f"{told}. Bars: from the 5th to the 95th percentile over "
            f"{int(frame.n.iloc[0])} test passages, triangles: the median. Logarithmic "
            "beyond ±1."
        ),
    )
