"""How fast the dynamic chapter's forms are, as two figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qstudy.experiments.dynamic.forms import NAMES
from qstudy.experiments.dynamic.grid import HEADLINE
from qstudy.experiments.dynamic.tables_speed import fastest_int8
from qstudy.report import scales, style
from qstudy.report.figures import Figure


def figures(latency: pd.DataFrame) -> Iterator[Figure]:
    """dynamic_speed and dynamic_speed_best, where their networks were timed."""
    yield from filter(None, (_over_eager(latency), _over_best(latency)))


@dataclass(frozen=True)
class _Series:
    """Ratios of one kind, as one mark a setting: its rows, its label, whose looks."""

    rows: pd.DataFrame
    label: str
    method: str


def _over_eager(timed: pd.DataFrame) -> Figure | None:
    """int8 and bf16 over eager fp32, by batch and length."""
    rows = timed[(timed.baseline == "eager_fp32") & (timed.forms == "eager")]
    series = [
        _Series(rows[rows.candidate == f"int8:{HEADLINE}"], "int8", "dynamic_int8"),
        _Series(rows[rows.candidate == "bf16:eager"], "bf16", "bf16"),
    ]
    return _ratios("dynamic_speed", series, than="eager fp32", note="")


def _over_best(timed: pd.DataFrame) -> Figure | None:
    """The fastest int8 over the fastest fp32 and the fastest bf16."""
    rows = fastest_int8(timed)
    series = [
        _Series(rows[rows.baseline == "best_fp32"], "over the best fp32", "fp32"),
        _Series(rows[rows.baseline == "best_bf16"], "over the best bf16", "bf16"),
    ]
    return _ratios(
        "dynamic_speed_best",
        series,
        than="the fastest of its kind",
        note=" Compiled forms compete where torch.compile helps, for MiniLM.",
    )


def _ratios(name: str, series: list[_Series], *, than: str, note: str) -> Figure | None:
    """One panel a network, one line a setting; None where nothing was timed."""
    shown = pd.concat([s.rows for s in series])
    shown = shown[shown.model.isin(("lstm", "minilm", "tiny_lstm"))]
    shown = shown[shown.threads == shown.threads.max()]
    if not len(shown):
        return None
    models = list(shown.model.unique())
    figure, axes = style.new_figure(columns=len(models), height=4.2, sharex=True)
    told, spans = [], []
    for axis, model in zip(np.atleast_1d(axes), models, strict=True):
        rows = shown[shown.model == model]
        settings = sorted(
            {(b, int(n)) for b, n in zip(rows.batch, rows.length, strict=True)}
        )
        axis.axvspan(2, 4, color="#eeeeee")
        for one, offset in zip(series, (0.15, -0.15), strict=True):
            marks = rows.loc[rows.index.intersection(one.rows.index)]
            looks = style.method_style(one.method) | {"label": None}
            for row in marks.itertuples():
                place = settings.index((row.batch, int(row.length)))
                ends = [[max(0, row.ratio - row.ratio_lo)]]
                ends += [[max(0, row.ratio_hi - row.ratio)]]
                height = len(settings) - 1 - place + offset
                axis.errorbar(row.ratio, height, xerr=ends, markersize=4, **looks)
                told.append(
                    f"{NAMES[model]} batch {row.batch} length {int(row.length)} "
                    f"{one.label}: {row.ratio:.2f}"
                )
            spans.append(f"{NAMES[model]}, {one.label}: {_span(marks)}")
        axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
        names = [f"{b} × {n}" for b, n in settings]
        axis.set_yticks(range(len(names)), names[::-1], fontsize=8)
        axis.set_title(NAMES[model], fontsize=9)
        scales.logarithmic(axis, "x", base=2)
        # Shared by the panels, and wide enough for every bar and the claim.
        low, high = min(1.0, shown.ratio_lo.min()), max(4.0, shown.ratio_hi.max())
        scales.enclose(axis, "x", low, high)
        axis.set_xlabel("speed-up (right is better)")
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("batch × tokens")
    for one in series:
        looks = style.method_style(one.method) | {"label": one.label}
        first.plot([], [], linestyle="none", **looks)
    first.legend(fontsize=7, loc="upper left")
    return Figure(
        name=name,
        figure=figure,
        data=shown,
        alt=f"Speed over {than}, by setting. {'; '.join(told)}.",
        caption=(
            f"Speed over {than}. {'; '.join(spans)}.{note} Grey: the claim, 2 to 4 "
            f"times. Bars: 95 % interval over {int(shown.n.min())} fresh processes, "
            f"{int(shown.threads.max())} threads, on {shown.machine.iloc[0]}."
        ),
    )


def _span(rows: pd.DataFrame) -> str:
    return f"{rows.ratio.min():.2f} to {rows.ratio.max():.2f} times"
