"""The LSQ chapter's records as tables: networks, and what each is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.lsq import tables_ablation, tables_more
from qstudy.measure import portable, statistics
from qstudy.spec import RunRecord

METHODS = ("fp32", "static_int8", "qat", "lsq")


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """By file name, each where there are records for it.

    lsq.csv: a row a trained network scored on the test set; lsq_summary.csv: a row a
    network and width, over seeds; lsq_size.csv: accuracy against size, all methods;
    lsq_error.csv: the step that errs least; lsq_recipe.csv and lsq_ablation.csv: what
    changes bring, on images held out; lsq_ratio.csv: how far updates move steps;
    lsq_integers.csv: an engine's codes; lsq_cost.csv: a training step.
    """
    by_task: dict[str, list[RunRecord]] = {}
    for record in records:
        by_task.setdefault(record.spec.params["task"], []).append(record)
    trained = by_task.get("train", [])
    tested = [r for r in trained if r.spec.params["scored_on"] == "test"]
    tested = [r for r in tested if "condition" not in r.spec.params]
    scored = by_task.get("evaluate", [])
    plain = [r for r in scored if r.spec.params["method"] == "fp32"]
    made = {
        "lsq.csv": networks(tested, plain),
        "lsq_size.csv": sizes([*tested, *scored]),
        "lsq_error.csv": tables_more.errors(tested),
        "lsq_ratio.csv": tables_more.ratios(by_task.get("ratio", [])),
        "lsq_integers.csv": tables_more.integers(by_task.get("integers", [])),
        "lsq_cost.csv": tables_more.costs(by_task.get("cost", [])),
        **tables_ablation.tables([r for r in trained if "condition" in r.spec.params]),
    }
    made["lsq_summary.csv"] = summary(made["lsq.csv"])
    return {name: frame for name, frame in made.items() if len(frame)}


def row(record: RunRecord) -> dict[str, Any]:
    """The columns of a scored network."""
    params = record.spec.params
    simulated, recipe = params.get("simulate", {}), params.get("recipe", {})
    if params["method"] in ("lsq", "qat") and not simulated:
        simulated = params["parent"]["params"]["simulate"]
        recipe = params["parent"]["params"]["recipe"]
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "split": params["scored_on"],
        "method": params["method"],
        "weight_bits": simulated.get("weight_bits", 32),
        "activation_bits": simulated.get("activation_bits", 32),
        "granularity": simulated.get("granularity"),
        "seed": record.spec.seed,
        "n": len(record.arrays["correct"]),
        "epochs": recipe.get("epochs", 0),
        "batch": recipe.get("batch"),
        "threads": params["threads"],
        "train_loss": record["loss"] if "loss" in record.values else None,
        **columns.interval("top1", record.values["top1"]),
        "size_kib": record["size"] if "size" in record.values else None,
        "peak_mib": record.peak_mib,
        "origin": record.origin,
        "run": record.spec.key,
    }


def networks(trained: list[RunRecord], plain: Iterable[RunRecord]) -> pd.DataFrame:
    """lsq.csv: each network with its drop from the fp32 network it started from."""
    bases = {(r.spec.params["model"], r.spec.seed): r for r in plain}
    rows = []
    for record in trained:
        base = bases.get((record.spec.params["model"], record.spec.seed))
        drop = None
        if base is not None:
            drop = statistics.paired_drop(
                base.arrays["correct"], record.arrays["correct"], seed=0
            )
        rows.append(
            {
                **row(record),
                **columns.interval("drop_pp", drop),
                "baseline_run": base.spec.key if base is not None else None,
            }
        )
    return _sorted(rows, ["model", "weight_bits", "seed"])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """lsq_summary.csv: by network and width, mean and range of the seeds.

    `drop_pp` is the mean of the per-seed drops with its t interval.
    """
    rows = []
    if not len(frame):
        return frame
    for (model, bits), seeds in frame.groupby(["model", "weight_bits"]):
        drops = seeds.drop_pp.dropna()
        drop = statistics.t_interval(drops) if len(drops) > 1 else None
        rows.append(
            {
                "model": model,
                "weight_bits": bits,
                "activation_bits": seeds.activation_bits.iloc[0],
                "n": len(seeds),
                "top1": portable.mean(seeds.top1),
                "top1_min": seeds.top1.min(),
                "top1_max": seeds.top1.max(),
                **columns.interval("drop_pp", drop),
            }
        )
    return pd.DataFrame(rows)


def sizes(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_size.csv: a row a network, method and width; the mean where there are seeds.

    `front`: no network that is at most as large is more accurate.
    """
    kept = [r for r in records if "size" in r.values]
    # A network that was read back is the one that was trained.
    kept = [
        r
        for r in kept
        if (r.spec.params["task"], r.spec.params["method"]) != ("evaluate", "lsq")
    ]
    if not kept:
        return pd.DataFrame()
    frame = pd.DataFrame([row(r) for r in kept])
    rows = []
    by = ["model", "method", "weight_bits", "activation_bits"]
    for key, seeds in frame.groupby(by, sort=False):
        rows.append(
            {
                **dict(zip(by, key, strict=True)),
                "split": seeds.split.iloc[0],
                "n": len(seeds),
                "size_kib": seeds.size_kib.iloc[0],
                "top1": portable.mean(seeds.top1),
                "run": seeds.run.iloc[0],
            }
        )
    made = _sorted(rows, ["size_kib", "model", "method"])
    made["front"] = [
        not ((made.size_kib <= each.size_kib) & (made.top1 > each.top1)).any()
        for each in made.itertuples()
    ]
    return made


def _sorted(rows: list[dict[str, Any]], by: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if not len(frame):
        return frame
    return frame.sort_values(by, ignore_index=True, kind="stable")
