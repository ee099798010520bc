"""The baselines' records as tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.experiments.baselines.recipe import CONDITIONS
from qstudy.measure import portable
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """baselines.csv and recipe.csv: a row a trained network; recipe_summary.csv: a row
    a condition, in the order of CONDITIONS; training_cost.csv: a row a way to compute
    a step.
    """
    trained = [r for r in records if "stage" in r.spec.params]
    trials = [r for r in records if r.spec.params["task"] == "recipe"]
    timed = [r for r in records if r.spec.params["task"] == "cost"]
    made = {}
    if timed:
        made["training_cost.csv"] = _cost(timed)
    if trained:
        frame = pd.DataFrame([_row(r, "stage") for r in trained])
        made["baselines.csv"] = frame.sort_values(
            ["parameters", "stage", "seed"], ignore_index=True, kind="stable"
        )
    if trials:
        bases = {_setting(r): r for r in trials if r.spec.params["condition"] == "base"}
        frame = pd.DataFrame(
            [
                _row(r, "condition") | _gain(r, over=bases.get(_setting(r)))
                for r in trials
            ]
        )
        order = {name: place for place, name in enumerate(CONDITIONS)}
        frame = frame.sort_values(
            ["model", "epochs", "threads", "condition", "seed"],
            key=lambda c: c.map(order) if c.name == "condition" else c,
            ignore_index=True,
            kind="stable",
        )
        made["recipe.csv"] = frame
        made["recipe_summary.csv"] = _recipe_summary(frame)
    return made


def _row(record: RunRecord, kind: str) -> dict[str, Any]:
    """`kind` is "stage" for a kept network, "condition" for a trial."""
    params = record.spec.params
    recipe = params["recipe"]
    network = kind == "stage"
    return {
        **({} if network else {"condition": params["condition"]}),
        "model": params["model"],
        "dataset": params["dataset"],
        **({"stage": params["stage"]} if network else {}),
        "split": params.get("scored_on", "test"),
        "method": "fp32",
        "precision": recipe["precision"],
        "seed": record.spec.seed,
        "n": len(next(iter(record.arrays.values()))),
        "epochs": recipe["epochs"],
        "batch": recipe["batch"],
        "threads": params["threads"],
        **({"parameters": record["parameters"]} if network else {}),
        "train_loss": record["loss"],
        **columns.interval("top1", record.values["top1"]),
        "origin": record.origin,
        "run": record.spec.key,
    }


def _setting(record: RunRecord) -> tuple[Any, ...]:
    """What a trial and the base that it is compared with have in common."""
    params = record.spec.params
    named = (params["model"], params["recipe"]["epochs"], params["threads"])
    return (*named, record.spec.seed)


def _gain(record: RunRecord, *, over: RunRecord | None) -> dict[str, Any]:
    """What a trial brings over the base, paired image by image, for a trial's row."""
    from qstudy.measure import statistics

    if over is None or record.spec.params["condition"] == "base":
        return columns.interval("gain_pp", None)
    gain = statistics.paired_drop(
        record.arrays["correct"], over.arrays["correct"], seed=0
    )
    return columns.interval("gain_pp", gain) | {"baseline_run": over.spec.key}


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
        base = (*where, "base")
        gains = (tried - by_seed[base]).dropna() if base in by_seed else tried[:0]
        compared = condition != "base" and len(gains) > 1
        gain = statistics.t_interval(gains) if compared else None
        rows.append(
            {
                **dict(zip(setting, (*where, condition), strict=True)),
                "n": int(tried.notna().sum()),
                "top1": portable.mean(tried.dropna()),
                "top1_min": tried.min(),
                "top1_max": tried.max(),
                **columns.interval("gain_pp", gain),
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


def _cost(records: list[RunRecord]) -> pd.DataFrame:
    """training_cost.csv: one row a candidate, images a second and the ratio."""
    rows: list[dict[str, Any]] = []
    for record in records:
        for row in timing.rows(record):
            precision, layout, *how = row["candidate"].split(":")
            rows.append(
                {
                    "model": row["model"],
                    "candidate": row["candidate"],
                    "precision": precision,
                    "layout": layout,
                    "compiled": "compiled" in how,
                    "kept_memory": "kept" in how,
                    "optimizer": "muon" if "muon" in how else "sgd",
                    **{k: v for k, v in row.items() if k not in ("model", "candidate")},
                    "images_per_second": 1000 * row["batch"] / row["ms"],
                }
            )
    frame = pd.DataFrame(rows)
    return frame.sort_values(
        ["model", "threads", "candidate"], ignore_index=True, kind="stable"
    )
