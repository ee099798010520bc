"""The records of the baselines as tables: networks, trials, what a step costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import baselines_cost
from qstudy.spec import RunRecord


def tables(
    records: list[RunRecord], *, conditions: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    """baselines.csv and recipe.csv: a row a trained network; recipe_summary.csv: a row
    a condition, in the order of `conditions`; training_cost.csv: a row a way to compute
    a step.
    """
    trained = [r for r in records if r.spec.params["task"] == "train"]
    trials = [r for r in records if r.spec.params["task"] == "recipe"]
    timed = [r for r in records if r.spec.params["task"] == "cost"]
    made = {}
    if timed:
        made["training_cost.csv"] = baselines_cost.table(timed)
    if trained:
        frame = pd.DataFrame([_row(r) for r in trained])
        made["baselines.csv"] = frame.sort_values(["model", "seed"], ignore_index=True)
    if trials:
        frame = pd.DataFrame([_row(r) for r in trials])
        order = {name: place for place, name in enumerate(conditions)}
        frame = frame.sort_values(
            ["model", "epochs", "threads", "condition", "seed"],
            key=lambda c: c.map(order) if c.name == "condition" else c,
            ignore_index=True,
        )
        made["recipe.csv"] = frame
        made["recipe_summary.csv"] = _recipe_summary(frame)
    return made


def _row(record: RunRecord) -> dict[str, Any]:
    params = record.spec.params
    recipe = params["recipe"]
    trial = params["task"] == "recipe"
    return {
        **({"condition": params["condition"]} if trial else {}),
        "model": params["model"],
        "dataset": params["dataset"],
        **({} if trial else {"stage": params["stage"]}),
        "split": params.get("scored_on", "test"),
        "method": "fp32",
        "precision": recipe["precision"],
        "seed": record.spec.seed,
        "n": len(next(iter(record.arrays.values()))),
        "epochs": recipe["epochs"],
        "batch": recipe["batch"],
        "threads": params["threads"],
        **({} if trial else {"parameters": record["parameters"]}),
        "top1": record["top1"],
        "top1_lo": record.values["top1"].low,
        "top1_hi": record.values["top1"].high,
        "origin": record.origin,
        "run": record.spec.key,
    }


def _recipe_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a network and condition: its mean, what it brings over the base by seed.

    `gain_pp` is the mean of the per-seed differences to the base, with its t interval;
    `resolved` says whether Holm's correction within the table leaves it at 5 %.
    """
    from qstudy.measure import statistics

    setting = ["model", "epochs", "threads", "condition"]
    by_seed = frame.pivot(index="seed", columns=setting, values="top1")
    rows = []
    for *where, condition in frame[setting].drop_duplicates().values:
        tried = by_seed[*where, condition]
        gains = (tried - by_seed[*where, "base"]).dropna()
        compared = condition != "base" and len(gains) > 1
        gain = statistics.t_interval(gains) if compared else None
        rows.append(
            {
                **dict(zip(setting, (*where, condition), strict=True)),
                "n": int(tried.notna().sum()),
                "top1": tried.mean(),
                "top1_min": tried.min(),
                "top1_max": tried.max(),
                "gain_pp": gain.value if gain else None,
                "gain_lo": gain.low if gain else None,
                "gain_hi": gain.high if gain else None,
                "p": statistics.t_p_value(gains) if compared else None,
            }
        )
    summary = pd.DataFrame(rows)
    judged = summary.p.notna()
    summary["resolved"] = None
    if judged.any():
        adjusted = statistics.holm(summary.p[judged].tolist())
        summary.loc[judged, "resolved"] = [p <= 0.05 for p in adjusted]
    return summary
