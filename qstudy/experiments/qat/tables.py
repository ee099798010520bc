"""The QAT chapter's records as tables.

What a table compares stands in a module of its own: tables_summary, tables_ablation,
tables_gap, tables_graphs. Each leaves out what its records are missing for.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.qat.recipe import CHOSEN, WIDTHS
from qstudy.experiments.qat.tables_ablation import ablation_tables
from qstudy.experiments.qat.tables_gap import cost_table, gap_tables
from qstudy.experiments.qat.tables_graphs import graph_tables
from qstudy.experiments.qat.tables_summary import CONDITIONS, summary
from qstudy.spec import RunRecord, RunSpec

# Whose predictions are an accuracy of their own row, not a comparison.
_SCORED = ("fp32", "train", "ptq")


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat.csv: a row a published network and what was made of it; qat_summary.csv: a
    row a width and condition, over seeds. qat_recipe.csv: a row a calibrator tried.

    The others: ablation_tables, gap_tables and cost_table.
    """
    made = {}
    scored = [r for r in records if r.spec.params["task"] in _SCORED]
    test = [r for r in scored if r.spec.params["scored_on"] == "test"]
    if test:
        frame = _core(test)
        made["qat.csv"] = frame
        if len(whole := summary(frame)):
            made["qat_summary.csv"] = whole
    tried = [r for r in scored if r not in test and r.spec.params["task"] == "ptq"]
    if tried:
        keys = ["model", "weight_bits", "activation_bits", "calibrator"]
        rows = pd.DataFrame([_row(r, {}) for r in tried])
        made["qat_recipe.csv"] = rows.sort_values(
            keys, kind="stable", ignore_index=True
        )
    made |= ablation_tables(records)
    made |= gap_tables([r for r in records if r.spec.params["task"] == "gap"])
    made |= cost_table([r for r in records if r.spec.params["task"] == "cost"])
    return made | graph_tables(records)


def _core(records: list[RunRecord]) -> pd.DataFrame:
    """All networks that are scored on test images, with their drop against fp32.

    A drop is paired image by image with the fp32 network of the same seed.
    """
    from qstudy.measure.statistics import paired_drop

    original = {
        _root(r.spec).key: r for r in records if r.spec.params["task"] == "fp32"
    }
    widths = _widths_of_controls(records)
    rows = []
    for record in records:
        base = original.get(_root(record.spec).key)
        drop: dict[str, Any] = columns.interval("drop_pp", None)
        drop["baseline_run"] = None
        if base is not None and base is not record:
            right = record.arrays["correct"]
            found = paired_drop(base.arrays["correct"][: len(right)], right, seed=0)
            drop = columns.interval("drop_pp", found)
            drop["baseline_run"] = base.spec.key
        rows.append(_row(record, widths) | drop)
    frame = pd.DataFrame(rows)
    order = {name: place for place, name in enumerate(CONDITIONS)}
    frame["place"] = frame.condition.map(order)
    wide = {"": 0, **{name: place for place, name in enumerate(WIDTHS, start=1)}}
    frame["wide"] = frame.width.map(wide)
    frame = frame.sort_values(
        ["model", "wide", "place", "seed", "n"], ignore_index=True, kind="stable"
    )
    frame["width"] = frame.width.replace("", None)
    last = ["origin", "run", "baseline_run"]
    kept = [c for c in frame.columns if c not in (*last, "place", "wide")]
    return frame[[*kept, *last]]


def _row(record: RunRecord, widths: dict[str, str]) -> dict[str, Any]:
    params = record.spec.params
    simulated, recipe = params.get("simulate", {}), params.get("recipe", {})
    trained = params["parent"]["params"].get("method") == "finetune"
    condition = {"static_int8": "finetune+ptq" if trained else "ptq"}
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "split": params["scored_on"],
        "width": params.get("width") or widths.get(record.spec.key, ""),
        "condition": condition.get(params["method"], params["method"]),
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


def _root(spec: RunSpec) -> RunSpec:
    """The run of the fp32 network that everything began with."""
    parent = RunSpec.from_dict(spec.params["parent"])
    return _root(parent) if parent.experiment == spec.experiment else parent


def _widths_of_controls(records: list[RunRecord]) -> dict[str, str]:
    """Key of a fine-tuning without rounding -> the width whose control it is.

    Its recipe says so, or the width at which it was calibrated afterwards.
    """
    found = {}
    for record in records:
        params = record.spec.params
        if params["method"] == "finetune":
            for width, chosen in CHOSEN.items():
                if chosen.items() <= params["recipe"].items():
                    found[record.spec.key] = width
    for record in records:
        parent = RunSpec.from_dict(record.spec.params["parent"])
        if parent.params.get("method") == "finetune":
            found.setdefault(parent.key, record.spec.params["width"])
    return found
