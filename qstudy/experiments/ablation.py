"""One thing changed at a time: what each change brings, seed by seed.

Not an experiment itself. A condition is compared with the base, or with another one
that `against` names, by the differences of the seeds that both have. Conditions that
vary the same thing are a factor, and Holm's correction (1979) is within one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from qstudy.experiments import columns
from qstudy.measure import portable, statistics
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted
from qstudy.spec import Number

BASE = "base"
# Nothing is varied in the first; the second is where all start, and is not compared.
_START = "fp32"
Factors = Mapping[str, tuple[str, ...]]


def factor_of(condition: str, factors: Factors) -> str | None:
    """The factor that `condition` varies; None for the base and the controls."""
    found = [name for name, varied in factors.items() if condition in varied]
    return found[0] if found else None


def summary(
    frame: pd.DataFrame, *, factors: Factors, against: Mapping[str, str]
) -> pd.DataFrame:
    """A row a condition of `frame`, which has a row a training (condition, seed, top1).

    `top1` is the mean over seeds with its range; `gain_pp` the mean of the condition
    minus what it is compared with, seed by seed, with its t interval; `resolved` says
    whether Holm's correction within the factor leaves that at 5 %.
    """
    by_seed = frame.pivot_table(index="seed", columns="condition", values="top1")
    rows = []
    for condition in frame.condition.drop_duplicates():
        tops = by_seed[condition].dropna()
        base = None if condition in (BASE, _START) else against.get(condition, BASE)
        gains = (tops - by_seed[base]).dropna() if base in by_seed else tops[:0]
        compared = len(gains) > 1
        mine = frame[frame.condition == condition]
        rows.append(
            {
                "factor": factor_of(condition, factors),
                "condition": condition,
                "model": mine.model.iloc[0],
                "weight_bits": mine.weight_bits.iloc[0],
                "activation_bits": mine.activation_bits.iloc[0],
                "n": len(tops),
                "top1": portable.mean(tops),
                "top1_min": tops.min(),
                "top1_max": tops.max(),
                "compared_with": base if len(gains) else None,
                **columns.interval(
                    "gain_pp", statistics.t_interval(gains) if compared else None
                ),
                "p": statistics.t_p_value(gains) if compared else None,
                "p_holm": None,
                "resolved": None,
                "runs": " ".join(mine.run),
            }
        )
    for name in factors:
        judged = [r for r in rows if r["factor"] == name and r["p"] is not None]
        adjusted = statistics.holm([row["p"] for row in judged]) if judged else []
        for row, p in zip(judged, adjusted, strict=True):
            row["p_holm"], row["resolved"] = p, p <= 0.05
    return pd.DataFrame(rows)


def numbers(table: pd.DataFrame, *, stem: str) -> dict[str, Number]:
    """<stem>.<condition>.top1, .gain and .verdict; <stem>.judged and .resolved."""
    quoted: dict[str, Number] = {}
    behind = {row.condition: tuple(row.runs.split()) for row in table.itertuples()}
    for row in table.itertuples():
        key, runs = f"{stem}.{plain(row.condition)}", behind[row.condition]
        quoted[f"{key}.top1"] = Number(row.top1, "%", 2, n=row.n, runs=runs)
        if pd.isna(row.gain_pp):
            continue
        both = (*runs, *behind[row.compared_with])
        quoted[f"{key}.gain"] = Number(
            row.gain_pp, "pp", 2, row.gain_lo, row.gain_hi, row.n, both
        )
        if pd.notna(row.resolved):
            said = "better" if row.gain_pp > 0 else "worse"
            said = said if row.resolved else "not resolved"
            quoted[f"{key}.verdict"] = Number(said, runs=both)
    judged = table[table.resolved.notna()]
    if len(judged):
        runs = tuple(" ".join(judged.runs).split())
        count = int(judged.resolved.map(bool).sum())
        quoted[f"{stem}.judged"] = Number(len(judged), "", 0, runs=runs)
        quoted[f"{stem}.resolved"] = Number(count, "", 0, runs=runs)
    return quoted


def figure(
    runs: pd.DataFrame, table: pd.DataFrame, *, name: str, method: str
) -> Figure:
    """What each change brings: mean and t interval, filled if resolved, and each seed.

    `runs` has a row a training, `table` is its summary, in which something is compared.
    """
    rows = table[table.gain_pp.notna()]
    tops = runs.set_index(["condition", "seed"]).top1
    drawn, axis = style.new_figure(height=1.2 + 0.3 * len(rows))
    looks = style.method_style(method) | {"label": None}
    for place, row in enumerate(rows[::-1].itertuples()):
        each = (tops[row.condition] - tops[row.compared_with]).dropna()
        axis.plot(
            each, [place] * len(each), linestyle="none", marker="|", color="#666666"
        )
        axis.errorbar(
            row.gain_pp,
            place,
            xerr=[[row.gain_pp - row.gain_lo], [row.gain_hi - row.gain_pp]],
            capsize=2,
            markersize=5,
            markerfacecolor=looks["color"] if _is_true(row.resolved) else "white",
            **looks,
        )
    axis.axvline(0, color="#666666", linewidth=1)
    labels = [condition.replace("_", " ") for condition in rows.condition[::-1]]
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_xlabel("top-1 minus that of the base [pp] (right is better)")
    ends = {"low": rows.gain_lo.min(), "high": rows.gain_hi.max()}
    scales.bend(axis, values=rows.gain_pp, **ends)
    resolved = [r.condition for r in rows.itertuples() if _is_true(r.resolved)]
    said = ", ".join(resolved).replace("_", " ") if resolved else "none"
    told = "; ".join(f"{r.condition} {r.gain_pp:+.2f}" for r in rows.itertuples())
    others = [c for c in dict.fromkeys(rows.compared_with) if c != BASE]
    apart = " A condition that builds on {} is held against that.".format(
        " or ".join(others).replace("_", " ")
    )
    return Figure(
        name=name,
        figure=drawn,
        data=rows,
        alt=f"Difference to the base in points, by what is changed. {told}.",
        caption=(
            f"Resolved, as corrected by Holm within a factor: {said}. Filled: "
            "resolved; bars: 95 % t interval of the per-seed differences, "
            f"{counted(int(rows.n.max()), 'seed')}; ticks: each seed."
            f"{apart if others else ''} {runs.model.iloc[0]}, images held out."
        ),
    )


def plain(condition: str) -> str:
    """The name of a condition as part of the key of a number."""
    return re.sub("[^a-z0-9]+", "_", condition)


def _is_true(value: object) -> bool:
    return value is not None and not pd.isna(value) and bool(value)
