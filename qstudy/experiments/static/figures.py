"""The figures of the static chapter: drops, speed-ups, times of every candidate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from qstudy.experiments.static import figures_sweeps
from qstudy.experiments.static.tables import HEADLINE
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """static_drop, static_latency and static_candidates; then those of the sweeps."""
    frame = tables["static.csv"]
    first = frame[frame.seed == frame.seed.min()]
    yield _drop_figure(first[(first.method == "static_int8") & first.drop_pp.notna()])
    if "static_latency.csv" in tables:
        latency = tables["static_latency.csv"]
        yield _latency_figure(latency)
        yield _candidates_figure(latency)
    yield from figures_sweeps.figures(tables)


def _drop_figure(frame: pd.DataFrame) -> Figure:
    keys = ["engine", "granularity", "calibrator", "activation_bits"]
    groups = list(frame.groupby(keys, sort=True))
    figure, axis = style.new_figure(height=1.2 + 0.32 * len(groups))
    labels = []
    looks = style.method_style("static_int8") | {"label": None}
    for position, (key, rows) in enumerate(groups[::-1]):
        engine, granularity, calibrator, bits = key
        labels.append(
            f"{engine}, {granularity.replace('_', ' ')}, {calibrator}, {bits} bit"
        )
        offsets = np.linspace(0.2, -0.2, len(rows)) if len(rows) > 1 else [0.0]
        axis.errorbar(
            rows.drop_pp,
            position + np.asarray(offsets),
            xerr=[rows.drop_pp - rows.drop_lo, rows.drop_hi - rows.drop_pp],
            linestyle="none",
            markersize=4,
            capsize=2,
            **{k: v for k, v in looks.items() if k != "label"},
        )
    axis.axvline(0, color="#666666", linewidth=1)
    axis.axvline(1.0, color="#666666", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_xlabel("drop of top-1 against fp32 [pp] (left is better)")
    best, worst = frame.loc[frame.drop_pp.idxmin()], frame.loc[frame.drop_pp.idxmax()]
    n, network = int(frame.n.iloc[0]), frame.model.iloc[0]
    told = (
        f"The smallest drop is {best.drop_pp:.2f} points, the largest "
        f"{worst.drop_pp:.2f} ({worst.engine}, {worst.granularity.replace('_', ' ')}, "
        f"{worst.calibrator}, {worst.activation_bits} bit)"
    )
    return Figure(
        name="static_drop",
        figure=figure,
        data=frame,
        alt=f"Top-1 drop of {network} for {len(groups)} int8 configurations. {told}.",
        caption=(
            f"{told}. A point a draw of calibration images, bars: paired 95 % interval "
            f"over {n:,} test images; dashed: the one point that still counts as "
            "almost no drop."
        ),
    )


def _latency_figure(latency: pd.DataFrame) -> Figure:
    engine = f"int8:{HEADLINE['engine']}"
    frame = latency[latency.candidate == engine]
    settings = list(frame.groupby(["batch", "threads"]))
    figure, axis = style.new_figure(height=1.3 + 0.75 * len(settings))
    axis.axvspan(2, 4, color="#eeeeee")
    baselines = {
        "eager_fp32": ("fp32", "eager fp32", 0.22),
        "best_fp32": ("fp32", "best fp32", 0.0),
        "best_bf16": ("bf16", "best bf16", -0.22),
    }
    labels, told = [], []
    for position, ((batch, threads), rows) in enumerate(settings[::-1]):
        labels.append(f"batch {batch}\n{counted(threads, 'thread')}")
        for row in rows.itertuples():
            method, name, offset = baselines[row.baseline]
            looks = style.method_style(method) | {"label": None}
            if row.baseline == "eager_fp32":
                looks["marker"] = "x"
            axis.errorbar(
                row.ratio,
                position + offset,
                xerr=[[row.ratio - row.ratio_lo], [row.ratio_hi - row.ratio]],
                **looks,
            )
            axis.annotate(
                f"{row.ratio:.2f}× {name}",
                (row.ratio_hi, position + offset),
                xytext=(6, -3),
                textcoords="offset points",
                fontsize=8,
            )
            told.append(
                f"batch {batch}, {counted(threads, 'thread')}, {name}: {row.ratio:.2f}"
            )
    axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
    axis.set_xlim(0, 1.35 * max(4.0, frame.ratio_hi.max()))
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlabel("baseline time / int8 time (right is better)")
    machines = ", ".join(sorted(frame.machine.unique()))
    eager = frame[frame.baseline == "eager_fp32"].ratio
    best = frame[frame.baseline == "best_fp32"].ratio
    return Figure(
        name="static_latency",
        figure=figure,
        data=frame,
        alt=f"Speed-up of int8 ({engine[5:]}) over three baselines. {'; '.join(told)}.",
        caption=(
            f"Int8 on engine {engine[5:]} is {_span(eager)} times as fast as eager "
            f"fp32 and {_span(best)} times as fast as the best fp32. Grey: the claim, "
            f"2 to 4 times. Bars: 95 % interval over {int(frame.n.min())} fresh "
            f"processes, on {machines}."
        ),
    )


def _span(ratios: pd.Series) -> str:
    low, high = ratios.min(), ratios.max()
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def _candidates_figure(latency: pd.DataFrame) -> Figure:
    """Milliseconds of every candidate at the smallest batch and the most threads."""
    chosen = latency[latency.baseline == latency.baseline.iloc[0]]
    chosen = chosen[chosen.batch == chosen.batch.min()]
    chosen = chosen[chosen.threads == chosen.threads.max()].sort_values(
        "ms", kind="stable"
    )
    figure, axis = style.new_figure(height=1.0 + 0.3 * len(chosen))
    for position, row in enumerate(chosen[::-1].itertuples()):
        method = "static_int8" if row.precision == "int8" else row.precision
        axis.errorbar(
            row.ms,
            position,
            xerr=[[row.ms - row.ms_lo], [row.ms_hi - row.ms]],
            **style.method_style(method) | {"label": None},
        )
    names = [f"{r.precision} {r.how.replace('_', ' ')}" for r in chosen.itertuples()]
    axis.set_yticks(range(len(names)), names[::-1])
    scales.logarithmic(axis, "x")
    scales.enclose(axis, "x", chosen.ms_lo.min(), chosen.ms_hi.max())
    axis.set_xlabel("time of one forward pass [ms], logarithmic (left is better)")
    first, last = chosen.iloc[0], chosen.iloc[-1]
    told = "; ".join(
        f"{name} {row.ms:.2f} ms"
        for name, row in zip(names, chosen.itertuples(), strict=True)
    )
    return Figure(
        name="static_candidates",
        figure=figure,
        data=chosen,
        alt=f"Time of one forward pass by candidate: {told}.",
        caption=(
            f"Batch {first.batch}, {counted(first.threads, 'thread')}: "
            f"{names[0]} is fastest ({first.ms:.2f} ms), {names[-1]} slowest "
            f"({last.ms:.2f} ms). Medians "
            f"of {int(chosen.n.min())} fresh processes, on {first.machine}."
        ),
    )
