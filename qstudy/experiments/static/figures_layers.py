"""Figures of layers: what each costs, which to keep in fp32, how the error grows."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from qstudy.experiments.static.figures_parts import MARKS, SHADES, line
from qstudy.experiments.static.grid_sweeps import RANKINGS
from qstudy.measure import portable
from qstudy.report import style
from qstudy.report.figures import Figure


def sensitivity(frame: pd.DataFrame) -> Figure:
    """What each layer costs alone, left out or quantized alone."""
    layers = list(dict.fromkeys(frame.layer))
    figure, axes = style.new_figure(
        columns=3, height=1.0 + 0.17 * len(layers), sharey=True
    )
    titles = {
        "leave_one_out": "kept in fp32\nsaves [nat]",
        "one_in": "alone in 4 bits\ncosts [nat]",
        "noise": "noise of it alone\n−SQNR [dB]",
    }
    told = []
    for axis, measure, shade in zip(axes, RANKINGS, SHADES, strict=False):
        means = []
        for place, layer in enumerate(layers):
            values = frame[frame.layer == layer][measure].tolist()
            means.append(portable.mean(values))
            # Decibels have no zero to begin at.
            low = min(frame[measure]) if measure == "noise" else 0.0
            axis.barh(place, means[-1] - low, left=low, height=0.7, color=shade)
            axis.plot(values, [place] * len(values), "k|", markersize=4)
        axis.set_title(titles[measure], fontsize=8)
        axis.tick_params(labelsize=7)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        order = sorted(range(len(layers)), key=lambda i, m=means: -m[i])
        told.append(f"{measure.replace('_', ' ')}: {layers[order[0]]}")
    axes[0].set_yticks(range(len(layers)), layers, fontsize=6.5)
    axes[0].invert_yaxis()
    draws = frame.draw.nunique()
    first = frame.iloc[0]
    return Figure(
        name="static_sensitivity",
        figure=figure,
        data=frame,
        alt=(
            f"Bars: what each of {len(layers)} layers costs by three measures. Most "
            f"sensitive by {'; by '.join(told)}."
        ),
        caption=(
            f"The most sensitive layer of {first.model} at W{first.bits}A{first.bits} "
            f"by {'; by '.join(told)}. Bars: mean of {draws} draws of calibration "
            f"images, ticks each draw; losses on {first.n:,} held-out images."
        ),
    )


def partial(frame: pd.DataFrame) -> Figure:
    """Drop of top-1 against how many layers stay in fp32, by ranking."""
    figure, axis = style.new_figure(height=3.4)
    none = frame[frame.ranking == "none"]
    told = []
    rankings = [r for r in dict.fromkeys(frame.ranking) if r != "none"]
    for place, ranking in enumerate(rankings):
        rows = pd.concat([none, frame[frame.ranking == ranking]])
        line(axis, rows, "kept", place, ranking.replace("_", " "))
        last = rows.iloc[-1]
        name = ranking.replace("_", " ")
        told.append(f"{name}: {last.drop_pp:.2f} points with {last.kept} layers")
    front = _pareto(frame)
    axis.plot(front.kept, front.drop_pp, color="#000000", linewidth=0.8, zorder=0)
    axis.set_xlabel("layers kept in fp32")
    axis.set_ylabel("drop of top-1 [pp] (lower is better)")
    axis.axhline(0, color="#666666", linewidth=1)
    axis.legend(fontsize=8)
    first = frame.iloc[0]
    start = none.iloc[0].drop_pp
    return Figure(
        name="static_partial",
        figure=figure,
        data=frame.assign(front=frame.index.isin(front.index)),
        alt=(
            f"Drop of {first.model} by layers kept in fp32, from {start:.2f} points "
            f"with none. {'; '.join(told)}."
        ),
        caption=(
            f"From {start:.2f} points with every layer at {first.bits} bits: "
            f"{'; '.join(told)}. Thin black: the Pareto front. Chosen on other "
            "held-out "
            f"images than the {first.n:,} scored; bars: paired 95 % interval."
        ),
    )


def _pareto(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that no row with as few kept layers beats."""
    rows, best = [], float("inf")
    for index, row in frame.sort_values(["kept", "drop_pp"], kind="stable").iterrows():
        if row.drop_pp < best:
            rows, best = [*rows, index], row.drop_pp
    return frame.loc[rows]


def depth(frame: pd.DataFrame) -> Figure:
    """SQNR in dB after each layer, as simulated and as converted."""
    figure, axis = style.new_figure(height=3.4)
    told = []
    kernels = frame[frame.form == "simulated"].sort_values("place", kind="stable")
    for place, form in enumerate(("simulated", "converted")):
        rows = frame[frame.form == form].sort_values("place", kind="stable")
        axis.plot(
            rows.place,
            rows.sqnr_db,
            color=SHADES[place],
            marker=MARKS[place],
            markersize=4,
            linestyle="-" if place else "--",
            label=form,
        )
        worst = rows.loc[rows.sqnr_db.idxmin()]
        told.append(
            f"{form}: {rows.iloc[0].sqnr_db:.1f} dB at the input, {worst.sqnr_db:.1f} "
            f"at {worst.kernel}, {rows.iloc[-1].sqnr_db:.1f} at the end"
        )
    axis.set_xticks(kernels.place, kernels.kernel, rotation=90, fontsize=6)
    axis.set_ylabel("SQNR against fp32 [dB]\n(higher is better)")
    axis.legend(fontsize=8)
    first = frame.iloc[0]
    return Figure(
        name="static_depth",
        figure=figure,
        data=frame,
        alt=f"SQNR by kernel, in both forms. {'; '.join(told)}.",
        caption=(
            f"{'; '.join(told)}. {first.model}, W8A8, converted for {first.engine}, "
            f"{first.n} images."
        ),
    )
