"""What prose quotes of the speed chapter, and its goals, set before it was measured."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.speed.grid import NAME
from qstudy.experiments.speed.numbers_time import spent, tried
from qstudy.experiments.speed.tables_selection import best_engine, fastest, whole
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
    and of PyTorch's, with their names in .route_; "best_fp32" and the like stand for
    the fastest of a precision. speed.<model>_<baseline>: a goal, what was reached, and
    the verdict; speed.goals: how many there are, and hold. speed.<model>.spent.* and
    .calls.*, .tried.*, .roof.* and .map.*: where time goes, what was tried, under the
    roofs, on the map. speed.peak.*, speed.crossover.*.
    """
    quoted: dict[str, Number] = {}
    for name in ("speed.csv", "speed_zoo.csv"):
        if name in tables:
            quoted |= _routes(whole(tables[name]))
    if "speed.csv" in tables:
        speed = whole(tables["speed.csv"])
        quoted |= _goals(speed)
        machines = "; ".join(sorted(set(speed.machine)))
        quoted[f"{NAME}.machine"] = Number(machines, runs=columns.runs(speed))
    if {"speed.csv", "speed_breakdown.csv"} <= set(tables):
        quoted |= spent(whole(tables["speed.csv"]), tables["speed_breakdown.csv"])
    if "speed_tried.csv" in tables:
        quoted |= tried(tables["speed_tried.csv"])
    if "speed_roofline.csv" in tables:
        quoted |= _peaks(tables["speed_roofline.csv"])
    if "speed_points.csv" in tables:
        quoted |= _points(tables["speed_points.csv"])
    if "speed_crossover.csv" in tables:
        quoted |= _crossover(tables["speed_crossover.csv"])
    if "speed_places.csv" in tables:
        quoted |= _places(tables["speed_places.csv"])
    return quoted


def verdict(low: float, high: float, goal: float) -> str:
    """Of a ratio with its interval against a goal."""
    if low >= goal:
        return "holds"
    return "fails" if high < goal else "undecided here"


def _routes(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    for row in frame.itertuples():
        quoted |= _route(row, row.candidate.replace(":", "_"))
    for short, rows in _shortcuts(frame):
        for row in rows.itertuples():
            quoted |= _route(row, short)
            key = f"{NAME}.{row.model}.{short}.route_b{row.batch}_t{row.threads}"
            quoted[key] = Number(row.candidate, runs=(row.run,))
    return quoted


def _route(row: Any, short: str) -> dict[str, Number]:
    key, setting = f"{NAME}.{row.model}.{short}", f"b{row.batch}_t{row.threads}"
    quoted = {
        f"{key}.{row.baseline}_{setting}": columns.number(row, "ratio", "×"),
        f"{key}.ms_{setting}": columns.number(row, "ms", "ms"),
    }
    for name, value, unit, digits in (
        ("sqnr", row.sqnr_db, "dB", 1),
        ("size", row.size_mib, "MiB", 1),
    ):
        if not pd.isna(value):  # SQNR has none where no bit differs
            number = Number(value, unit, digits, runs=(row.run,))
            quoted[f"{key}.{name}_{setting}"] = number
    return quoted


def _shortcuts(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The fastest of all engines and of torch's, int8 and the fastest of each float."""
    return [
        ("int8", fastest(frame)),
        ("torch_int8", fastest(frame, torch_alone=True)),
        *(
            (f"{whose}_{precision}", fastest(frame, precision=precision, torch_alone=t))
            for precision in ("fp32", "bf16")
            for whose, t in (("best", False), ("torch", True))
        ),
    ]


def _goals(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    rows = fastest(frame, torch_alone=True)
    batch, threads = GOAL_SETTING
    rows = rows[(rows.batch == batch) & (rows.threads == threads)]
    judged, held, runs = 0, 0, set()
    for (model, baseline), goal in GOALS.items():
        found = rows[(rows.model == model) & (rows.baseline == baseline)]
        key = f"{NAME}.{model}_{baseline}"
        quoted[f"{key}.goal"] = Number(goal, "×", 1)
        for row in found.itertuples():
            told = verdict(row.ratio_lo, row.ratio_hi, goal)
            quoted[f"{key}.reached"] = columns.number(row, "ratio", "×")
            quoted[f"{key}.verdict"] = Number(told, runs=(row.run,))
            judged, held = judged + 1, held + (told == "holds")
            runs.add(row.run)
    if judged:
        for name, count in (("judged", judged), ("held", held)):
            quoted[f"{NAME}.goals.{name}"] = Number(
                count, "", 0, runs=tuple(sorted(runs))
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
    for threads, rows in frame[frame.kind == "peak"].groupby("threads"):
        rates = rows.set_index("precision").gops
        for precision in rates.index.drop("fp32"):
            quoted[f"{NAME}.peak.{precision}_over_fp32_t{threads}"] = Number(
                rates[precision] / rates["fp32"], "×", 2, runs=columns.runs(rows)
            )
    return quoted


def _points(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    for row in frame.itertuples():
        key = f"{NAME}.{row.model}.roof"
        runs = columns.runs(row, compared=True)
        for name, value, unit, digits in (
            ("peak", row.peak_pct, "%", 0),
            ("reached", row.reached_pct, "%", 0),
            ("memory", row.memory_pct, "%", 0),
            ("bound", row.bound_ms, "ms", 2),
        ):
            quoted[f"{key}.{row.precision}_{name}_t{row.threads}"] = Number(
                value, unit, digits, runs=runs
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
        setting, runs = f"b{batch}_t{threads}", columns.runs(group)
        for name, count in counts.items():
            quoted[f"{key}.{name}_{setting}"] = Number(
                count, "", 0, n=len(group), runs=runs
            )
        for name, place in (
            ("least", group.ratio.idxmin()),
            ("most", group.ratio.idxmax()),
        ):
            quoted[f"{key}.{name}_{setting}"] = columns.number(
                group.loc[place], "ratio", "×"
            )
    return quoted


def _places(frame: pd.DataFrame) -> dict[str, Number]:
    """What the map says of each network's layers, by operator.

    `gain`: of all of them together where fp32 takes as long as it has operations.
    """
    quoted = {}
    for (model, operator), group in frame.groupby(["model", "operator"], sort=False):
        key = f"{NAME}.{model}.map.{operator}"
        runs = columns.runs(group, compared=True)
        share = group.ops_pct.tolist()
        quoted[f"{key}.ops"] = Number(sum(share), "%", 0, runs=runs)
        quoted[f"{key}.layers"] = Number(int(group.layers.sum()), "", 0, runs=runs)
        for name, column in (("ends", "ratio"), ("kernel", "kernel_ratio")):
            values = group[column].tolist()
            time = sum(ops / ratio for ops, ratio in zip(share, values, strict=True))
            for which, value in (
                ("least", min(values)),
                ("most", max(values)),
                ("gain", sum(share) / time),
            ):
                quoted[f"{key}.{name}_{which}"] = Number(value, "×", 2, runs=runs)
    return quoted
