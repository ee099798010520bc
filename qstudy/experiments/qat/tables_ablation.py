"""ResNet-8, one thing changed at a time, and PyTorch's own training beside it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import ablation, columns
from qstudy.experiments.qat.recipe import ABLATION, BASES, FACTORS
from qstudy.spec import RunRecord

_CONTROLS = ("fp32", "finetune")
ORDER = (*_CONTROLS, *ABLATION)


def ablation_tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat_ablation_runs.csv: a row a training; qat_ablation.csv: a row a condition.

    qat_reference.csv: a row a training by PyTorch's own QAT. All on images held out.
    """
    mine = [r for r in records if r.spec.params.get("model") == "resnet8"]
    held_out = [r for r in mine if r.spec.params.get("scored_on") == "validation"]
    made = {}
    tried = [r for r in held_out if r.spec.params["task"] in ("train", "fp32")]
    if tried:
        frame = pd.DataFrame([_row(r, condition_of(r.spec.params)) for r in tried])
        frame["place"] = frame.condition.map(ORDER.index)
        frame = frame.sort_values(["place", "seed"], ignore_index=True, kind="stable")
        made["qat_ablation_runs.csv"] = frame.drop(columns="place")
        if "base" in set(frame.condition):  # what the others are compared with
            made["qat_ablation.csv"] = ablation.summary(
                frame, factors=FACTORS, against=BASES
            )
    theirs = [r for r in mine if r.spec.params["task"] == "reference"]
    if theirs:
        rows = [_row(r, r.spec.params["method"]) | _converted(r) for r in theirs]
        frame = pd.DataFrame(rows).sort_values(
            ["condition", "seed"], ignore_index=True, kind="stable"
        )
        made["qat_reference.csv"] = frame
    return made


def condition_of(params: dict[str, Any]) -> str:
    """The name that ABLATION has for what `params` change; "base" for nothing named.

    Without rounding it is the method.
    """
    if params["method"] in _CONTROLS:
        return params["method"]
    changed = _unlike_base(params["simulate"])
    fitting = [
        name
        for name, condition in ABLATION.items()
        if condition.get("simulate", {}) == changed
        and condition.get("recipe", {}).items() <= params["recipe"].items()
    ]
    # Of several, the one that asks most of the recipe.
    return max(
        fitting, key=lambda n: len(ABLATION[n].get("recipe", {})), default="base"
    )


def _unlike_base(simulated: dict[str, Any]) -> dict[str, Any]:
    """The fields in which a simulation differs from what the ablations start from."""
    from qstudy.experiments.qat.grid import SIMULATED_W4A4

    return {k: v for k, v in simulated.items() if v != SIMULATED_W4A4[k]}


def _row(record: RunRecord, condition: str) -> dict[str, Any]:
    params = record.spec.params
    simulated, recipe = params.get("simulate", params), params.get("recipe", {})
    return {
        "condition": condition,
        "factor": ablation.factor_of(condition, FACTORS),
        "model": params["model"],
        "dataset": params["dataset"],
        "split": params["scored_on"],
        "weight_bits": simulated.get("weight_bits", 32),
        "activation_bits": simulated.get("activation_bits", 32),
        "seed": record.spec.seed,
        "n": len(record.arrays["correct"]),
        "epochs": recipe.get("epochs", 0),
        "peak_lr": recipe.get("peak_lr", 0.0),
        "precision": recipe.get("precision", "fp32"),
        **columns.interval("top1", record.values["top1"]),
        "origin": record.origin,
        "run": record.spec.key,
    }


def _converted(record: RunRecord) -> dict[str, Any]:
    value = record.values.get("top1_int8")
    return {"top1_int8": None if value is None else value.value}
