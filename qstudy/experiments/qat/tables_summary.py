"""Over the seeds of training: what each condition reaches, and what QAT adds to it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.qat.recipe import WIDTHS
from qstudy.measure import portable, statistics

# In the order of the page: as it was, calibrated, trained on, both, with rounding.
CONDITIONS = ("fp32", "ptq", "finetune", "finetune+ptq", "qat")
REACHED, BY_MEAN, MISSED = "reached", "reached by the mean alone", "missed"


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """qat_summary.csv of qat.csv: a row a network, width and condition.

    `n` seeds; `top1` is their mean, `drop_pp` the mean drop against fp32 seed by seed
    with its t interval, `gain_pp` QAT minus the row's condition, seed by seed, with its
    t interval. `resolved`: Holm's correction within the width leaves it at 5 %.
    """
    whole = frame[frame.n == frame.groupby("model").n.transform("max")]
    rows: list[dict[str, Any]] = []
    for model in whole.model.drop_duplicates():
        mine = whole[whole.model == model]
        for width in WIDTHS:
            here = mine[(mine.width == width) | (mine.condition == "fp32")]
            if len(here.condition.unique()) > 1:
                rows += _judged(_of_width(here, model=model, width=width))
    return pd.DataFrame(rows)


def goal_reached(value: float, high: float | None, *, goal: float) -> str:
    """Of a mean that is to be at most `goal`: whether it is, with its interval."""
    if value > goal:
        return MISSED
    return REACHED if high is not None and high <= goal else BY_MEAN


def mean_difference(differences: pd.Series) -> statistics.Interval | None:
    """The mean of per-seed differences with its t interval; None below two seeds."""
    found = differences.dropna()
    return statistics.t_interval(found) if len(found) > 1 else None


def _of_width(here: pd.DataFrame, *, model: str, width: str) -> list[dict[str, Any]]:
    by_seed = here.pivot_table(index="seed", columns="condition", values="top1")
    rows = []
    for condition in (c for c in CONDITIONS if c in by_seed):
        tops = by_seed[condition].dropna()
        drops = tops[:0]
        if "fp32" in by_seed and condition != "fp32":
            drops = (by_seed["fp32"] - tops).dropna()
        gains = tops[:0]
        if "qat" in by_seed and condition != "qat":
            gains = (by_seed["qat"] - tops).dropna()
        rows.append(
            {
                "model": model,
                "width": width,
                "condition": condition,
                "n": len(tops),
                "top1": portable.mean(tops),
                "top1_min": tops.min(),
                "top1_max": tops.max(),
                **columns.interval("drop_pp", mean_difference(drops)),
                **columns.interval("gain_pp", mean_difference(gains)),
                "p": statistics.t_p_value(gains) if len(gains) > 1 else None,
                "runs": " ".join(here[here.condition == condition].run),
            }
        )
    return rows


def _judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`rows` with `resolved`, by Holm's correction over those that have a p."""
    judged = [row for row in rows if row["p"] is not None]
    adjusted = statistics.holm([row["p"] for row in judged]) if judged else []
    for row in rows:
        row["resolved"] = None
    for row, p in zip(judged, adjusted, strict=True):
        row["resolved"] = p <= 0.05
    return rows
