"""What one change brings: trials of the recipe on ResNet-20, the ablation on ResNet-8.

Each row is held against the row without the change, image by image; a condition of the
ablation, over its seeds, by Student's interval of the per-seed differences with Holm's
correction within the table.
"""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import ablation, columns
from qstudy.experiments.lsq.recipe import ABLATION, BASES, FACTORS, TRIALS
from qstudy.measure import statistics
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """lsq_recipe.csv, lsq_ablation.csv and lsq_ablation_summary.csv; empty ones too."""
    sort = {"lsq_recipe.csv": TRIALS, "lsq_ablation.csv": ABLATION}
    models = {"lsq_recipe.csv": "resnet20", "lsq_ablation.csv": "resnet8"}
    made = {
        name: _rows(
            [
                r
                for r in records
                if r.spec.params["model"] == models[name]
                and r.spec.params["scored_on"] == "validation"
            ],
            order=list(sort[name]),
        )
        for name in sort
    }
    runs = made["lsq_ablation.csv"]
    made["lsq_ablation_summary.csv"] = (
        ablation.summary(runs, factors=FACTORS, against=BASES) if len(runs) else runs
    )
    return made


def base_of(condition: str) -> str | None:
    """What a condition is compared with; None for what all are compared with."""
    if condition in ("base", "plain"):
        return None
    return BASES.get(condition, "base" if condition in ABLATION else "plain")


def _rows(records: list[RunRecord], *, order: list[str]) -> pd.DataFrame:
    by_name = {(r.spec.params["condition"], r.spec.seed): r for r in records}
    rows = []
    for (condition, seed), record in by_name.items():
        params, recipe = record.spec.params, record.spec.params["recipe"]
        compared = base_of(condition)
        if compared not in order:  # a trial and the ablation share some names
            compared = None if condition == order[0] else order[0]
        base = by_name.get((compared, seed))
        gain = None
        if base is not None:
            gain = statistics.paired_drop(
                record.arrays["correct"], base.arrays["correct"], seed=0
            )
        rows.append(
            {
                "condition": condition,
                "model": params["model"],
                "split": params["scored_on"],
                "weight_bits": params["simulate"]["weight_bits"],
                "activation_bits": params["simulate"]["activation_bits"],
                "seed": seed,
                "n": len(record.arrays["correct"]),
                "epochs": recipe["epochs"],
                "train_loss": record["loss"],
                **columns.interval("top1", record.values["top1"]),
                **columns.interval("gain_pp", gain),
                "compared_with": compared,
                "origin": record.origin,
                "run": record.spec.key,
                "baseline_run": base.spec.key if base is not None else None,
            }
        )
    frame = pd.DataFrame(rows)
    if not len(frame):
        return frame
    place = {name: i for i, name in enumerate(order)}
    return frame.sort_values(
        ["condition", "seed"],
        key=lambda c: c.map(place) if c.name == "condition" else c,
        ignore_index=True,
        kind="stable",
    )
