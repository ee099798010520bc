"""What prose quotes of the speed chapter, and its goals, set before it was measured."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.speed.grid import NAME
from qstudy.spec import Number

# (model, baseline): the ratio that the fastest int8 of PyTorch should reach, one image,
# two threads.
GOALS = {
    ("resnet18", "eager_fp32"): 6.0,
    ("resnet18", "best_fp32"): 3.0,
    ("resnet18", "ort_int8"): 1.5,
    ("resnet18", "openvino_int8"): 1.0,
    ("mobilenet_v2", "eager_fp32"): 4.0,
    ("mobilenet_v2", "openvino_int8"): 1.0,
}
GOAL_SETTING = (1, 2)  # batch, threads


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """speed.<model>.<route>.<baseline>_b<batch>_t<threads>, .ms_ and .sqnr of each.

    Routes of whole runs alone; "int8" and "torch_int8" are the fastest of all engines
    and of PyTorch's, with their names in .route_. speed.goal.<model>_<baseline>: the
    goal, what was reached, and the verdict. speed.peak.*, speed.crossover.*.
    """
    quoted: dict[str, Number] = {}
    for name in ("speed.csv", "speed_zoo.csv"):
        if name in tables:
            quoted |= _routes(whole(tables[name]))
    if "speed.csv" in tables:
        quoted |= _goals(whole(tables["speed.csv"]))
    if "speed_roofline.csv" in tables:
        quoted |= _peaks(tables["speed_roofline.csv"])
    if "speed_crossover.csv" in tables:
        quoted |= _crossover(tables["speed_crossover.csv"])
    return quoted


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Of speed.csv, each setting's run of the most routes; others are quick ones."""
    most = frame.groupby(["model", "batch", "threads"]).routes.transform("max")
    return frame[frame.routes == most]


def fastest(frame: pd.DataFrame, *, torch_alone: bool = False) -> pd.DataFrame:
    """The rows of the fastest int8 of each setting, one a baseline."""
    rows = frame[frame.precision == "int8"]
    if torch_alone:
        rows = rows[rows.engine == "torch"]
    least = rows.groupby(["model", "batch", "threads"]).ms.transform("min")
    return rows[rows.ms == least]


def verdict(low: float, high: float, goal: float) -> str:
    """Of a ratio with its interval against a goal."""
    if low >= goal:
        return "holds"
    return "fails" if high < goal else "undecided here"


def _routes(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    named = [(row.candidate.replace(":", "_"), row) for row in frame.itertuples()]
    for short, alone in (("int8", False), ("torch_int8", True)):
        named += [
            (short, row) for row in fastest(frame, torch_alone=alone).itertuples()
        ]
    for short, row in named:
        key, setting = f"{NAME}.{row.model}.{short}", f"b{row.batch}_t{row.threads}"
        quoted[f"{key}.{row.baseline}_{setting}"] = columns.number(row, "ratio", "×")
        quoted[f"{key}.ms_{setting}"] = columns.number(row, "ms", "ms")
        if short in ("int8", "torch_int8"):
            quoted[f"{key}.route_{setting}"] = Number(row.candidate, runs=(row.run,))
        if not pd.isna(row.sqnr_db):
            quoted[f"{key}.sqnr_{setting}"] = Number(
                row.sqnr_db, "dB", 1, runs=(row.run,)
            )
    return quoted


def _goals(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    rows = fastest(frame, torch_alone=True)
    batch, threads = GOAL_SETTING
    rows = rows[(rows.batch == batch) & (rows.threads == threads)]
    for (model, baseline), goal in GOALS.items():
        found = rows[(rows.model == model) & (rows.baseline == baseline)]
        key = f"{NAME}.{model}_{baseline}"
        quoted[f"{key}.goal"] = Number(goal, "×", 1)
        for row in found.itertuples():
            quoted[f"{key}.reached"] = columns.number(row, "ratio", "×")
            quoted[f"{key}.verdict"] = Number(
                verdict(row.ratio_lo, row.ratio_hi, goal), runs=(row.run,)
            )
    return quoted


def _peaks(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    for row in frame.itertuples():
        if row.kind == "peak":
            key, value, unit = row.precision, row.gops, "Gop/s"
        elif row.kind == "level":
            key, value, unit = row.layer, row.gb_s, "GB/s"
        else:
            continue
        quoted[f"{NAME}.peak.{key}_t{row.threads}"] = Number(
            value, unit, 0, runs=(row.run,)
        )
    return quoted


def _crossover(frame: pd.DataFrame) -> dict[str, Number]:
    """How many shapes int8 wins, ties and loses, as a kernel and with its ends."""
    quoted = {}
    rows: Any = best_engine(frame).groupby(["operator", "batch", "threads", "form"])
    for (operator, batch, threads, form), group in rows:
        key = f"{NAME}.crossover.{operator}.{form.replace(' ', '_')}"
        counts = {
            "wins": int((group.ratio_lo > 1).sum()),
            "loses": int((group.ratio_hi < 1).sum()),
        }
        counts["ties"] = len(group) - sum(counts.values())
        for name, count in counts.items():
            quoted[f"{key}.{name}_b{batch}_t{threads}"] = Number(
                count, "", 0, n=len(group), runs=columns.runs(group)
            )
    return quoted


def best_engine(frame: pd.DataFrame) -> pd.DataFrame:
    """Of speed_crossover.csv, the faster engine of each shape and form, whole runs."""
    setting = ["operator", "batch", "threads"]
    most = frame.groupby(setting).shapes.transform("max")
    rows = frame[frame.shapes == most]
    place = [*setting, "first", "second", "form"]
    least = rows.groupby(place).ms.transform("min")
    return rows[rows.ms == least].drop_duplicates(place)
