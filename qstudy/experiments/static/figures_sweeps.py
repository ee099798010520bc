"""The figures of the sweeps; here networks and cures."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from qstudy.experiments.static import (
    figures_clips,
    figures_kept,
    figures_layers,
    figures_settings,
    figures_tree,
)
from qstudy.experiments.static.figures_parts import MARKS, SHADES, drop_axis
from qstudy.report import scales, style
from qstudy.report.figures import Figure


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """static_weights, _calibration, _clips, _variance, and so on; last _tree."""
    for name, draw in (
        ("weights", figures_settings.weights),
        ("calibration", figures_settings.calibration),
        ("clips", figures_clips.clips),
        ("variance_summary", figures_settings.variance),
        ("sensitivity", figures_layers.sensitivity),
        ("partial", figures_layers.partial),
        ("pareto", figures_kept.pareto),
        ("models", _models),
        ("depth", figures_layers.depth),
        ("cures", _cures),
    ):
        if f"static_{name}.csv" in tables:
            yield draw(tables[f"static_{name}.csv"])
    if all(f"static_{name}.csv" in tables for name in figures_tree.NEEDED):
        yield figures_tree.tree(tables)


def _models(frame: pd.DataFrame) -> Figure:
    figure, axis = style.new_figure(height=3.4)
    names = list(dict.fromkeys(frame.model))
    told = []
    for place, bits in enumerate(sorted(frame.weight_bits.unique(), reverse=True)):
        rows = frame[frame.weight_bits == bits]
        at = [
            names.index(m) + 0.16 * (place - 1) + 0.04 * s
            for m, s in zip(rows.model, rows.seed, strict=True)
        ]
        axis.errorbar(
            at,
            rows.drop_pp,
            yerr=[rows.drop_pp - rows.drop_lo, rows.drop_hi - rows.drop_pp],
            linestyle="none",
            color=SHADES[place],
            marker=MARKS[place],
            markersize=5,
            label=f"W{bits}A{bits}",
        )
        ends = ", ".join(_ends(rows[rows.model == name], name) for name in names)
        told.append(f"W{bits}A{bits}: {ends}")
    axis.set_xticks(range(len(names)), names)
    drop_axis(axis, frame)
    axis.set_ylim(min(-1.0, frame.drop_lo.min()), max(2.0, 2 * frame.drop_hi.max()))
    axis.legend(fontsize=8)
    return Figure(
        name="static_models",
        figure=figure,
        data=frame,
        alt=f"Drop by network and width, in points. {'; '.join(told)}.",
        caption=(
            f"Drop in points: {'; '.join(told)}. A mark a seed; "
            f"bars: paired 95 % interval over {int(frame.n.iloc[0]):,} test images; "
            "dashed: one point. The axis is linear up to 1 and logarithmic above."
        ),
    )


def _ends(rows: pd.DataFrame, name: str) -> str:
    """A network and its drop, or the least and the largest of its seeds."""
    low, high = rows.drop_pp.min(), rows.drop_pp.max()
    told = f"{low:.2f}" if len(rows) == 1 else f"{low:.2f} to {high:.2f}"
    return f"{name} {told}"


def _cures(frame: pd.DataFrame) -> Figure:
    cures = list(dict.fromkeys(frame.cure))
    models = list(dict.fromkeys(frame.model))
    figure, axes = style.new_figure(
        columns=len(models),
        height=1.3 + 0.42 * len(cures),
        sharey=True,
        squeeze=False,
    )
    told = []
    for axis, model in zip(axes.flat, models, strict=True):
        mine = frame[frame.model == model]
        for place, granularity in enumerate(dict.fromkeys(mine.granularity)):
            rows = mine[mine.granularity == granularity]
            axis.errorbar(
                rows.drop_pp,
                [cures.index(c) + 0.15 * (2 * place - 1) for c in rows.cure],
                xerr=[rows.drop_pp - rows.drop_lo, rows.drop_hi - rows.drop_pp],
                linestyle="none",
                color=SHADES[place],
                marker=MARKS[place],
                label=granularity.replace("_", " "),
            )
            first, best = rows.iloc[0], rows.loc[rows.drop_pp.idxmin()]
            told.append(
                f"{model} {granularity.replace('_', ' ')}: from {first.drop_pp:.2f} "
                f"points to {best.drop_pp:.2f} ({best.cure.replace('_', ' with ')})"
            )
        axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
        scales.symmetric(axis, "x")
        axis.set_xlim(min(-1.0, frame.drop_lo.min()), 100)
        axis.set_xlabel("drop of top-1 [pp] (left is better)", fontsize=8)
        axis.set_title(model, fontsize=9)
    axes.flat[0].set_yticks(
        range(len(cures)), [c.replace("_", " with ") for c in cures]
    )
    axes.flat[0].invert_yaxis()
    handles = axes.flat[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=8, ncols=2, loc="outside upper center")
    first = frame.iloc[0]
    return Figure(
        name="static_cures",
        figure=figure,
        data=frame,
        alt=f"Drop with {first.weight_bits}-bit weights by cure. {'; '.join(told)}.",
        caption=(
            f"Weights {first.weight_bits} bits, activations 8: {'; '.join(told)}. "
            f"Bars: paired 95 % interval over {first.n:,} test images; calibrated on "
            f"{first.calibration_images}."
        ),
    )
