"""The QAT chapter's records as tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.qat.tables_graphs import graph_tables
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat_recipe.csv: a row a trial, all scored on the images held out.

    And qat_graphs.csv, see tables_graphs.
    """
    drawn = graph_tables(records)
    records = [r for r in records if r.spec.params["task"] != "graph"]
    rows = [_row(r) for r in records if r.spec.params["scored_on"] == "validation"]
    if not rows:
        return drawn
    frame = pd.DataFrame(rows)
    order = ["model", "weight_bits", "activation_bits", "method", "peak_lr", "seed"]
    rising = [True, False, False, True, True, True]
    frame = frame.sort_values(order, ascending=rising, kind="stable")
    return {"qat_recipe.csv": frame.reset_index(drop=True), **drawn}


def _row(record: RunRecord) -> dict[str, Any]:
    params = record.spec.params
    simulated, recipe = params.get("simulate", {}), params.get("recipe", {})
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "split": params["scored_on"],
        "method": params["method"],
        "weight_bits": simulated.get("weight_bits", 32),
        "activation_bits": simulated.get("activation_bits", 32),
        "granularity": simulated.get("granularity"),
        "ranges": simulated.get("ranges"),
        "bn_strategy": simulated.get("bn_strategy"),
        "calibrator": params.get("calibration", {}).get("observer"),
        "seed": record.spec.seed,
        "n": len(record.arrays["correct"]),
        "epochs": recipe.get("epochs", 0),
        "batch": recipe.get("batch"),
        "threads": params["threads"],
        "peak_lr": recipe.get("peak_lr", 0.0),
        "train_loss": record.values["loss"].value if "loss" in record.values else None,
        **columns.interval("top1", record.values["top1"]),
        "origin": record.origin,
        "run": record.spec.key,
    }
