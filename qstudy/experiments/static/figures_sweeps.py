"""The figures of the sweeps; here networks, cures and the decision tree."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from qstudy.experiments.static import figures_layers, figures_settings
from qstudy.experiments.static.figures_parts import MARKS, SHADES, drop_axis
from qstudy.report import scales, style
from qstudy.report.figures import Figure

_STATIC = style.METHODS["static_int8"].colour


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """static_weights, _clips, _variance, _sensitivity, _partial, _models, _tree, ..."""
    for name, draw in (
        ("weights", figures_settings.weights),
        ("clips", figures_settings.clips),
        ("variance_summary", figures_settings.variance),
        ("sensitivity", figures_layers.sensitivity),
        ("partial", figures_layers.partial),
        ("models", _models),
        ("depth", figures_layers.depth),
        ("cures", _cures),
    ):
        if f"static_{name}.csv" in tables:
            yield draw(tables[f"static_{name}.csv"])
    needed = ("weights", "calibration", "models", "cures")
    if all(f"static_{name}.csv" in tables for name in needed):
        yield _tree(tables)


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
        first = rows[rows.seed == rows.seed.min()]
        spoken = ", ".join(f"{r.model} {r.drop_pp:.2f}" for r in first.itertuples())
        told.append(f"W{bits}A{bits}: {spoken}")
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
            f"Drop in points, first seed: {'; '.join(told)}. A mark a seed; "
            f"bars: paired 95 % interval over {int(frame.n.iloc[0]):,} test images; "
            "dashed: one point. The axis is linear up to 1 and logarithmic above."
        ),
    )


def _cures(frame: pd.DataFrame) -> Figure:
    cures = list(dict.fromkeys(frame.cure))
    figure, axis = style.new_figure(height=0.9 + 0.42 * len(cures))
    told = []
    for place, granularity in enumerate(dict.fromkeys(frame.granularity)):
        rows = frame[frame.granularity == granularity]
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
            f"{granularity.replace('_', ' ')}: from {first.drop_pp:.2f} points to "
            f"{best.drop_pp:.2f} ({best.cure.replace('_', ' with ')})"
        )
    axis.set_yticks(range(len(cures)), [c.replace("_", " with ") for c in cures])
    axis.invert_yaxis()
    axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
    scales.symmetric(axis, "x")
    axis.set_xlim(min(-1.0, frame.drop_lo.min()), 100)
    axis.set_xlabel("drop of top-1 [pp] (left is better)")
    axis.legend(fontsize=8)
    first = frame.iloc[0]
    return Figure(
        name="static_cures",
        figure=figure,
        data=frame,
        alt=f"Drop of {first.model} with 4-bit weights by cure. {'; '.join(told)}.",
        caption=(
            f"{first.model}, weights {first.weight_bits} bits, activations 8: "
            f"{'; '.join(told)}. Bars: paired 95 % interval over {first.n:,} test "
            f"images; calibrated on {first.calibration_images}."
        ),
    )


def _tree(tables: dict[str, pd.DataFrame]) -> Figure:
    """What to try in which order, each leaf with the drop that was measured for it."""
    weights, models = tables["static_weights.csv"], tables["static_models.csv"]
    cures, calibration = tables["static_cures.csv"], tables["static_calibration.csv"]
    large = models[(models.model == models.model.iloc[-1]) & (models.seed == 0)]
    full = large[large.weight_bits == 8].iloc[0]
    four = large[large.weight_bits == 4].iloc[0]
    affine = calibration[calibration.scheme == "affine"]
    narrow = affine[affine.activation_bits == affine.activation_bits.min()]
    best, worst = (narrow.loc[f(narrow.drop_pp)] for f in (_least, _most))
    per = {
        g: weights[(weights.granularity == g) & (weights.bn == "folded")]
        for g in ("per_tensor", "per_channel")
    }
    fours = {g: rows[rows.weight_bits == 4].drop_pp for g, rows in per.items()}
    cured = cures.loc[cures.drop_pp.idxmin()]
    steps = [
        ("8 bits will do?", f"per channel, {full.calibrator}: {full.drop_pp:.2f} pp"),
        (
            "Fewer bits for weights?",
            "4 bits, "
            + "; ".join(
                f"{g.replace('_', ' ')}: {d.iloc[0]:.2f} pp"
                for g, d in fours.items()
                if len(d)
            ),
        ),
        (
            "Too much? Cure them.",
            f"{cured.cure.replace('_', ' with ')}, "
            f"{cured.granularity.replace('_', ' ')}"
            f": {cured.drop_pp:.2f} pp",
        ),
        (
            "Fewer bits for activations?",
            f"{int(best.activation_bits)} bits: {best.calibrator} "
            f"{best.drop_pp:.2f} pp, {worst.calibrator} {worst.drop_pp:.2f} pp",
        ),
        ("Both at 4 bits?", f"{four.drop_pp:.2f} pp: train it (QAT)"),
    ]
    figure, axis = style.new_figure(height=0.3 + 0.85 * len(steps))
    axis.set_axis_off()
    axis.set_xlim(0, 10)
    axis.set_ylim(-len(steps) + 0.4, 0.6)
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#ffffff", "edgecolor": "#000000"}
    leaf = {**box, "edgecolor": _STATIC}
    arrow = {"arrowstyle": "->", "color": "#000000"}
    for place, (question, answer) in enumerate(steps):
        axis.text(0.1, -place, question, fontsize=8.5, va="center", bbox=box)
        axis.text(4.1, -place, answer, fontsize=7.5, va="center", bbox=leaf)
        axis.annotate("", (4.0, -place), (3.3, -place), arrowprops=arrow)
        if place:
            axis.annotate(
                "", (0.6, -place + 0.3), (0.6, -place + 0.7), arrowprops=arrow
            )
    told = "; ".join(f"{question} {answer}" for question, answer in steps)
    data = pd.DataFrame(steps, columns=["question", "answer"])
    data["origin"] = full.origin
    return Figure(
        name="static_tree",
        figure=figure,
        data=data,
        alt=f"A decision tree, from the cheapest remedy down: {told}.",
        caption=(
            "What to try, from the cheapest down; every leaf is a measured row of this "
            f"page's tables. Drops are of {full.model}, activations on held-out "
            "images, the others on the test set."
        ),
    )


def _least(column: pd.Series) -> int:
    return column.idxmin()


def _most(column: pd.Series) -> int:
    return column.idxmax()
