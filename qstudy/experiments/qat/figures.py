"""The QAT chapter's figures: each seed by condition, the ablation, the gap by layer."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from qstudy.experiments import ablation
from qstudy.experiments.qat.figures_graphs import graph_figures
from qstudy.experiments.qat.recipe import WIDTHS
from qstudy.experiments.qat.tables_gap import ROUNDS_BIAS, most_traced
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

_LOOKS = {
    "fp32": "fp32",
    "ptq": "static_int8",
    "finetune": "fp32",
    "finetune+ptq": "static_int8",
    "qat": "qat",
}
_LABELS = {
    "fp32": "fp32",
    "ptq": "calibrated (PTQ)",
    "finetune": "fine-tuned in fp32",
    "finetune+ptq": "fine-tuned, then PTQ",
    "qat": "QAT",
}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """qat_core, qat_ablation, qat_gap and qat_graph_*, of the tables that there are."""
    if "qat_summary.csv" in tables:
        yield _core(tables["qat.csv"], tables["qat_summary.csv"])
    if "qat_ablation.csv" in tables:
        runs, summary = tables["qat_ablation_runs.csv"], tables["qat_ablation.csv"]
        if summary.gain_pp.notna().any():
            yield ablation.figure(runs, summary, name="qat_ablation", method="qat")
    if "qat_gap_layers.csv" in tables:
        yield _gap(tables["qat_gap_layers.csv"])
    yield from graph_figures(tables)


def _core(runs: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Every seed's drop against its fp32 network, and the mean with its t interval."""
    model = summary.model.iloc[0]
    runs = runs[(runs.model == model) & (runs.n == runs.n.max())]
    widths = [w for w in WIDTHS if w in set(summary.width)]
    figure, axes = style.new_figure(
        rows=len(widths), height=0.6 + 1.5 * len(widths), sharex=True, squeeze=False
    )
    for axis, width in zip(axes.flat, widths, strict=True):
        mine = summary[(summary.width == width) & (summary.condition != "fp32")]
        for place, row in enumerate(mine[::-1].itertuples()):
            here = runs[(runs.condition == row.condition) & (runs.width == width)]
            looks = style.method_style(_LOOKS[row.condition]) | {"label": None}
            hollow = row.condition.startswith("finetune")
            axis.plot(
                here.drop_pp,
                [place + 0.12] * len(here),
                linestyle="none",
                markersize=6,
                markerfacecolor="white" if hollow else looks["color"],
                **looks,
            )
            if pd.notna(row.drop_pp):
                axis.errorbar(
                    row.drop_pp,
                    place - 0.2,
                    xerr=[[row.drop_pp - row.drop_lo], [row.drop_hi - row.drop_pp]],
                    color="#666666",
                    marker="|",
                    capsize=2,
                )
        axis.axvline(0, color="#000000", linewidth=1)
        labels = [_LABELS[condition] for condition in mine.condition[::-1]]
        axis.set_yticks(range(len(labels)), labels, fontsize=9)
        axis.set_ylim(-0.6, len(labels) - 0.4)
        axis.set_title(width.upper(), loc="left", fontsize=10)
    axes.flat[-1].set_xlabel("drop of top-1 against fp32 [pp] (left is better)")
    told = "; ".join(_told(summary[summary.width == width], width) for width in widths)
    ahead = [_ahead(summary[summary.width == width], width) for width in widths]
    seeds = counted(int(summary.n.max()), "seed")
    return Figure(
        name="qat_core",
        figure=figure,
        data=runs,
        alt=f"Top-1 of {model} by width and method, means of {seeds}. {told}.",
        caption=" ".join(
            [
                *filter(None, ahead),
                f"A mark a seed of training, {seeds}, against its own fp32 network; "
                "grey: mean and 95 % t interval; hollow: fine-tuned without rounding. "
                f"{model}, {int(runs.n.max()):,} test images.",
            ]
        ),
    )


def _told(rows: pd.DataFrame, width: str) -> str:
    means = (f"{_LABELS[r.condition]} {r.top1:.2f} %" for r in rows.itertuples())
    return f"{width.upper()}: {', '.join(means)}"


def _ahead(rows: pd.DataFrame, width: str) -> str:
    """In a sentence: by how much QAT is ahead of calibration, or behind it."""
    ptq = rows[(rows.condition == "ptq") & rows.gain_pp.notna()]
    if not len(ptq):
        return ""
    row = ptq.iloc[0]
    return (
        f"{width.upper()}: QAT minus calibration alone is {row.gain_pp:+.2f} pp "
        f"(95 % from {row.gain_lo:+.2f} to {row.gain_hi:+.2f})."
    )


def _gap(layers: pd.DataFrame) -> Figure:
    """The share of codes that differ, kernel by kernel, of the first seed."""
    whole = most_traced(layers)
    first = whole[whole.seed == whole.seed.min()]
    widths = [w for w in WIDTHS if w in set(first.width)]
    figure, axes = style.new_figure(
        rows=len(widths), height=0.8 + 2.2 * len(widths), squeeze=False
    )
    marks = ("o", "s", "^", "D")
    told = []
    for axis, width in zip(axes.flat, widths, strict=True):
        mine = first[first.width == width]
        ends = mine.groupby("form").free_pct.last().sort_values(kind="stable")
        for number, (form, rows) in enumerate(mine.groupby("form", sort=False)):
            some = rows[rows.free_pct > 0]
            last = rows.free_pct.iloc[-1]
            told.append(f"{width.upper()}, {_form(form)}: {last:.3g} % at the end")
            if not len(some):
                continue
            colour = style.method("static_int8" if form in ROUNDS_BIAS else "qat")
            axis.plot(
                some.kernel_number,
                some.free_pct,
                marker=marks[number % len(marks)],
                markersize=4,
                linewidth=1,
                color=colour.colour,
                markerfacecolor="white" if number % 2 else colour.colour,
            )
            end = some.iloc[-1]
            axis.annotate(
                _form(form),
                (end.kernel_number, end.free_pct),
                # One above the other, in the order of their ends.
                xytext=(6, 9 * (list(ends.index).index(form) - len(ends) / 2)),
                textcoords="offset points",
                fontsize=8,
                annotation_clip=False,
            )
        if (mine.free_pct > 0).any():
            shown = mine[mine.free_pct > 0].free_pct
            scales.logarithmic(axis, "y", ticks=[10.0**k for k in range(-6, 3)])
            scales.enclose(axis, "y", shown.min(), shown.max())
        axis.set_xlim(-0.5, 1.3 * max(1, mine.kernel_number.max()))
        axis.set_title(width.upper(), loc="left", fontsize=10)
        axis.set_ylabel("codes that differ [%]")
    axes.flat[-1].set_xlabel("kernel, in calling order")
    n = int(first.n.max())
    return Figure(
        name="qat_gap",
        figure=figure,
        data=first,
        alt=(
            "Share of codes that differ between the trained network and its integer "
            f"form, by kernel. {'; '.join(told)}."
        ),
        caption=(
            "Codes that differ where both run on their own, logarithmic (down is "
            f"better). {'; '.join(told)}. Where biases are rounded to integers the "
            f"line is blue. {first.model.iloc[0]}, first seed, {n} test images."
        ),
    )


def _form(form: str) -> str:
    return form.removeprefix("integer_").replace("_", " ")
