"""Static quantization's records as tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.experiments.static import tables_sweeps
from qstudy.experiments.static.grid import HEADLINE
from qstudy.spec import RunRecord, RunSpec

_SEEDS = (
    "model",
    "stage",
    "seed",
    "n",
    "fp32_top1",
    "top1",
    "drop_pp",
    "drop_lo",
    "drop_hi",
    "origin",
    "run",
    "baseline_run",
)


def _drops(records: list[RunRecord]) -> dict[str, dict[str, Any]]:
    """Key of an int8 run -> columns: its drop against fp32 of the same network."""
    from qstudy.measure.statistics import paired_drop

    references = {
        RunSpec.from_dict(r.spec.params["parent"]).key: r
        for r in records
        if r.spec.params["method"] == "fp32"
    }
    drops = {}
    for r in records:
        if r.spec.params["method"] == "fp32":
            continue
        reference = references.get(RunSpec.from_dict(r.spec.params["parent"]).key)
        if reference is not None:
            drop = paired_drop(reference.arrays["correct"], r.arrays["correct"], seed=0)
            drops[r.spec.key] = {
                **columns.interval("drop_pp", drop),
                "baseline_run": reference.spec.key,
            }
    return drops


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """fp32.csv and static.csv: a row a network; static_latency.csv: a row a ratio.

    static_seeds.csv: the headline configuration, a row a seed of training. The sweeps'
    tables: qstudy.experiments.static.tables_sweeps.
    """
    evaluated = [r for r in records if r.spec.params["task"] == "evaluate"]
    drops = _drops(evaluated)
    rows = [
        _row(r, drops.get(r.spec.key, columns.interval("drop_pp", None)))
        for r in evaluated
    ]
    order = ["engine", "granularity", "calibrator", "activation_bits", "draw"]
    frame = pd.DataFrame(rows).sort_values(
        ["method", *order], ignore_index=True, kind="stable"
    )
    fp32 = frame[frame.method == "fp32"].drop(columns=[*order[:3], "draw"])
    made = {
        "fp32.csv": fp32.dropna(axis="columns", how="all").reset_index(drop=True),
        "static.csv": frame,
    }
    seeds = headline(frame, seed=None).groupby("seed", as_index=False).first()
    tops = fp32.set_index("seed").top1.rename("fp32_top1")
    made["static_seeds.csv"] = seeds.join(tops, on="seed")[[*_SEEDS]]
    timed = [
        row
        for r in records
        if r.spec.params["task"] == "latency"
        for row in timing.rows(r)
    ]
    if timed:
        latency = pd.DataFrame(timed)
        split = latency.candidate.str.split(":", expand=True)
        latency.insert(1, "precision", split[0])
        latency.insert(2, "how", split[1])
        keys = ["threads", "batch", "baseline", "precision", "how"]
        made["static_latency.csv"] = latency.sort_values(
            keys, ignore_index=True, kind="stable"
        )
    return made | tables_sweeps.tables(records)


def _row(record: RunRecord, drop: dict[str, Any]) -> dict[str, Any]:
    params = record.spec.params
    int8 = params["method"] == "static_int8"
    parent = RunSpec.from_dict(params["parent"])
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "stage": parent.params["stage"],
        "split": "test",
        "method": params["method"],
        "engine": params["engine"] if int8 else None,
        "weight_bits": 8 if int8 else 32,
        "activation_bits": params["activation_bits"] if int8 else 32,
        "granularity": params["granularity"] if int8 else None,
        "calibrator": params["calibrator"] if int8 else None,
        "calibration_images": params["calibration_images"] if int8 else None,
        "seed": parent.seed,
        "draw": record.spec.seed if int8 else None,
        "n": len(record.arrays["correct"]),
        "threads": params["threads"],
        **columns.interval("top1", record.values["top1"]),
        **{name: value for name, value in drop.items() if name != "baseline_run"},
        "size_mib": record["size_mib"],
        "origin": record.origin,
        "run": record.spec.key,
        "baseline_run": drop.get("baseline_run"),
    }


def headline(frame: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    """The rows of the headline configuration, or of one that differs in `changes`.

    They are those of the first seed of training; `seed=None` takes all seeds.
    """
    wanted = {**HEADLINE, "seed": frame.seed.min(), **changes}
    chosen = frame[frame.method == "static_int8"]
    for column, value in wanted.items():
        if value is not None:
            chosen = chosen[chosen[column] == value]
    return chosen.sort_values(["seed", "draw"], kind="stable")
