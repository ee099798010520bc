"""What the sweeps' tables share: which row of answers is whose, drops, columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qstudy.experiments import columns
from qstudy.experiments.static import grid_kept
from qstudy.experiments.static.grid_sweeps import ORDERS, label
from qstudy.measure.statistics import Interval, paired_drop
from qstudy.spec import RunRecord, RunSpec


def names(record: RunRecord) -> list[str]:
    """Whose answers the rows of a sweep's arrays are, in order; "fp32" is the first.

    Then a condition's label. In `engines` the simulated network comes before these, in
    `equalized` fp32 without clamps; `kept`: grid_kept.names. In `partial` "0" stands
    for no layer kept, then RANKING-COUNT; in `sensitivity` "all" for every layer
    quantized, then out.LAYER and in.LAYER.
    """
    params = record.spec.params
    if params["task"] == "partial":
        return ["fp32", "0"] + [
            f"{ranking}-{count}"
            for ranking in ORDERS
            for count in range(1, len(record[f"order.{ranking}"].split()) + 1)
        ]
    if params["task"] == "sensitivity":
        layers = record["layers"].split()
        return ["fp32", "all"] + [f"{k}.{n}" for n in layers for k in ("out", "in")]
    if params["task"] == "kept":
        return grid_kept.names(params)
    beside = {"engines": ["simulated"], "equalized": ["unclamped"]}
    first = ["fp32", *beside.get(params["task"], [])]
    return first + [label(condition) for condition in params["conditions"]]


def about(record: RunRecord) -> dict[str, Any]:
    """The columns that say which network was scored on what."""
    params = record.spec.params
    parent = RunSpec.from_dict(params["parent"])
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "stage": parent.params["stage"],
        "split": params["scored_on"],
        "seed": parent.seed,
    }


def end(record: RunRecord) -> dict[str, Any]:
    """The columns that end every row."""
    return {"origin": record.origin, "run": record.spec.key}


def drop(record: RunRecord, name: str) -> Interval | None:
    """The drop of network `name`, paired with fp32's answers; None of fp32 itself."""
    correct = record.arrays["correct"]
    place = names(record).index(name)
    return paired_drop(correct[0], correct[place], seed=0) if place else None


def scores(record: RunRecord, name: str) -> dict[str, Any]:
    """Top-1 of the network called `name`, and its drop."""
    return {
        "n": record.arrays["correct"].shape[1],
        **columns.interval("top1", record.values[f"top1.{name}"]),
        **columns.interval("drop_pp", drop(record, name)),
    }


def swept(record: RunRecord) -> Iterable[tuple[dict[str, Any], str, dict[str, Any]]]:
    """(condition, its name, its scores), one after the other."""
    for condition in record.spec.params["conditions"]:
        name = label(condition)
        yield dict(condition), name, scores(record, name)


def calibrator(condition: dict[str, Any]) -> str:
    """One text for a calibrator with its percentile."""
    if "percentile" in condition:
        return f"percentile {condition['percentile']}"
    return condition["calibrator"]


def ordered(records: list[RunRecord]) -> list[RunRecord]:
    """By network, the smaller name first, then by seed of training, then by draw."""
    return sorted(
        records,
        key=lambda r: (
            len(r.spec.params["model"]),
            r.spec.params["model"],
            RunSpec.from_dict(r.spec.params["parent"]).seed,
            r.spec.seed,
        ),
    )
