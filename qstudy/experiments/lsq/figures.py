"""The LSQ chapter's figures: accuracy by bits, and by size.

How far updates move the steps is figures_ratio; the steps themselves, figures_steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qstudy.experiments import ablation
from qstudy.experiments.lsq.figures_ratio import ratio
from qstudy.experiments.lsq.figures_steps import errors, gradient
from qstudy.measure import portable
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

_LABELS = {
    "fp32": "fp32",
    "static_int8": "calibrated (PTQ)",
    "qat": "QAT",
    "lsq": "LSQ",
}
# Points below the best network that the picture of sizes reaches.
_REACH = 12.0


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """lsq_gradient, and lsq_core, _error, _size, _ablation, _ratio of their tables."""
    yield gradient()
    if "lsq_methods.csv" in tables:
        rows = tables["lsq_methods.csv"]
        rows = rows[rows.drop_pp.notna()]
        if "lsq" in set(rows.method):
            yield _core(rows)
    if "lsq_error_summary.csv" in tables:
        yield errors(tables["lsq_error.csv"])
    if "lsq_size.csv" in tables:
        yield _size(tables["lsq_size.csv"])
    if "lsq_ablation_summary.csv" in tables:
        changes = tables["lsq_ablation_summary.csv"]
        if changes.gain_pp.notna().any():
            runs = tables["lsq_ablation.csv"]
            yield ablation.figure(runs, changes, name="lsq_ablation", method="lsq")
    if "lsq_ratio.csv" in tables:
        yield ratio(tables["lsq_ratio.csv"])


def _core(rows: pd.DataFrame) -> Figure:
    """Each network's drop against its fp32 network, by bits and method."""
    model = max(set(rows[rows.method == "lsq"].model), key=lambda m: int(m[6:]))
    shown = rows[(rows.model == model) & (rows.split == "test")]
    bits = sorted(set(shown.weight_bits))
    methods = [m for m in style.METHODS if m in set(shown.method)]
    figure, axis = style.new_figure(height=3.4)
    told = []
    for number, method in enumerate(methods):
        mine = shown[shown.method == method]
        looks = style.method_style(method) | {"label": _LABELS[method]}
        apart = 0.14 * (number - (len(methods) - 1) / 2)
        places = [bits.index(b) + apart for b in mine.weight_bits]
        axis.errorbar(
            places,
            mine.drop_pp,
            yerr=[
                (mine.drop_pp - mine.drop_lo).clip(lower=0),
                (mine.drop_hi - mine.drop_pp).clip(lower=0),
            ],
            linestyle="none",
            capsize=2,
            **looks,
        )
        means = mine.groupby("weight_bits").drop_pp.agg(portable.mean)
        said = ", ".join(f"{drop:.2f} at {b} bits" for b, drop in means.items())
        told.append(f"{_LABELS[method]} {said}")
    axis.axhline(0, color="#000000", linewidth=1)
    scales.symmetric(axis, "y")
    most, least = shown.drop_hi.max(), shown.drop_lo.min()
    axis.set_ylim(min(-1.0, 1.3 * least), max(1.0, 1.5 * most))
    axis.set_xticks(range(len(bits)), [f"W{b}A{b}" for b in bits])
    axis.set_ylabel("drop of top-1 against fp32 [pp]\n(down is better)")
    axis.legend(fontsize=8, loc="upper right")
    seeds = shown[shown.method == "lsq"].groupby("weight_bits").seed.nunique()
    each = ", ".join(f"{counted(int(n), 'seed')} at {b} bits" for b, n in seeds.items())
    return Figure(
        name="lsq_core",
        figure=figure,
        data=shown,
        alt=f"Drop of top-1 of {model} in points, by bits. {'; '.join(told)}.",
        caption=(
            f"Points of top-1 lost to fp32: {'; '.join(told)}. Linear up to 1 point, "
            "logarithmic beyond. A mark a network against the fp32 network it started "
            f"from, bars: 95 % interval over {int(shown.n.max()):,} test images; "
            f"{model}, of LSQ {each}."
        ),
    )


def _size(frame: pd.DataFrame) -> Figure:
    """Accuracy against the size of the file, all methods, with the Pareto front."""
    figure, axis = style.new_figure(height=3.8)
    floor = frame.top1.max() - _REACH
    seen = frame[frame.top1 >= floor]
    front = seen[seen.front].sort_values("size_kib", kind="stable")
    axis.plot(
        front.size_kib,
        front.top1,
        color="#666666",
        linestyle="--",
        linewidth=1,
        drawstyle="steps-post",
        zorder=1,
    )
    for method in [name for name in style.METHODS if name in set(seen.method)]:
        rows = seen[seen.method == method]
        looks = style.method_style(method) | {"label": _LABELS[method]}
        bars = [rows.top1 - rows.top1_lo, rows.top1_hi - rows.top1]
        axis.errorbar(
            rows.size_kib, rows.top1, yerr=bars, linestyle="none", capsize=2, **looks
        )
    learned = seen[seen.method == "lsq"]
    for model, rows in learned.groupby("model", sort=False):
        colour = style.method("lsq").colour
        axis.plot(rows.size_kib, rows.top1, color=colour, linewidth=1, zorder=1)
        for row in rows.itertuples():
            _label(axis, row, f"{row.weight_bits}", at=(-9, 4))
        name = f"ResNet-{model.removeprefix('resnet')}"
        _label(axis, rows.iloc[-1], name, at=(8, -12))
    scales.logarithmic(axis, "x", base=2)
    axis.set_xlabel("size of the file [KiB] (left is better)")
    axis.set_ylabel("top-1 on the test set [%] (up is better)")
    axis.legend(loc="lower right", fontsize=8)
    told = "; ".join(
        f"{row.model} by {_LABELS[row.method]} at {row.weight_bits} bits, "
        f"{row.size_kib:.0f} KiB, {row.top1:.2f} %"
        for row in front.itertuples()
    )
    lower = len(frame) - len(seen)
    out = f" {lower} networks lie further down." if lower else ""
    return Figure(
        name="lsq_size",
        figure=figure,
        data=frame,
        alt=f"Top-1 against file size for {len(seen)} networks. The front: {told}.",
        caption=(
            f"No network of these that is as small is as accurate: {told}. A point a "
            "network, the first seed of each, bars: 95 % interval over "
            f"{int(frame.n.max()):,} test images; dashed: that front; digits: bits of "
            "LSQ. Files hold packed codes, steps, normalizations and biases."
            f"{out}"
        ),
    )


def _label(axis: Any, row: Any, text: str, *, at: tuple[int, int]) -> None:
    """A word beside the point of a network, `at` so many points from it."""
    place = (row.size_kib, row.top1)
    axis.annotate(text, place, xytext=at, textcoords="offset points", fontsize=8)
