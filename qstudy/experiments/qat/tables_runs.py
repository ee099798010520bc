"""A row a network that is scored on test images, and what was made of which."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.qat.recipe import CHOSEN, WIDTHS
from qstudy.experiments.qat.tables_summary import CONDITIONS
from qstudy.measure.statistics import paired_drop
from qstudy.spec import RunRecord, RunSpec


def networks(records: list[RunRecord]) -> pd.DataFrame:
    """All networks that are scored on test images, with their drop against fp32.

    A drop is paired image by image with the fp32 network of the same seed.
    """
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
        rows.append(network_row(record, widths) | drop)
    frame = pd.DataFrame(rows)
    order = {name: place for place, name in enumerate(CONDITIONS)}
    frame["place"] = frame.condition.map(order)
    wide = {"": 0, **{name: place for place, name in enumerate(WIDTHS, start=1)}}
    frame["wide"] = frame.width.map(wide)
    frame = frame.sort_values(
        ["model", "wide", "place", "seed", "n", "granularity"],
        ignore_index=True,
        kind="stable",
    )
    frame["width"] = frame.width.replace("", None)
    last = ["origin", "run", "baseline_run"]
    kept = [c for c in frame.columns if c not in (*last, "place", "wide")]
    return frame[[*kept, *last]]


def network_row(record: RunRecord, widths: dict[str, str]) -> dict[str, Any]:
    """The row of one record; `widths` has, by key, those that a run does not tell."""
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


def hard_table(records: list[RunRecord]) -> pd.DataFrame:
    """`networks` of one seed, and by how much QAT is ahead, image by image.

    `gain_pp` is QAT of the same width and granularity minus the row's network, and
    `ahead_run` the run of that QAT.
    """
    frame = networks(records)
    right = {r.spec.key: r.arrays["correct"] for r in records}
    trained = frame[frame.condition == "qat"]
    qat = {(row.width, row.granularity): row.run for row in trained.itertuples()}
    ahead = [qat.get((row.width, row.granularity)) for row in frame.itertuples()]
    gains = [
        columns.interval(
            "gain_pp",
            paired_drop(right[better], right[run], seed=0)
            if better not in (None, run)
            else None,
        )
        for better, run in zip(ahead, frame.run, strict=True)
    ]
    return frame.assign(**pd.DataFrame(gains), ahead_run=ahead)
