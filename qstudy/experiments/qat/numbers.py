"""What prose quotes of the QAT chapter."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import ablation, columns
from qstudy.experiments.qat.grid import NAME
from qstudy.experiments.qat.numbers_gap import cost_numbers, gap_numbers
from qstudy.experiments.qat.recipe import CHOSEN, DROP_GOAL, W4A4_GOAL
from qstudy.experiments.qat.tables_summary import goal_reached
from qstudy.measure import statistics
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """qat.<width>.<condition>.* over seeds, qat.ablation.<condition>.*, qat.claim.*.

    qat.<width>.epochs is the recipe's. Of a condition .top1 (mean), .top1_min,
    .top1_max, .drop and .behind: what QAT is ahead of it by. qat.recipe.* is of the
    trials, qat.mobilenet.<width>.<granularity>.<condition>.* of the hard network, with
    intervals over images; numbers_gap has qat.gap.*, qat.cost.* and qat.price.*.
    """
    quoted: dict[str, Number] = {}
    if "qat_summary.csv" in tables:
        quoted |= _summary(tables["qat_summary.csv"])
    for row in tables.get("qat_recipe.csv", pd.DataFrame()).itertuples():
        key = f"{NAME}.recipe.{row.model}.w{row.weight_bits}a{row.activation_bits}"
        quoted[f"{key}.{row.calibrator}"] = columns.number(row, "top1", "%")
    quoted |= _hard(tables.get("qat_mobilenet.csv", pd.DataFrame()))
    if "qat_ablation.csv" in tables:
        table = tables["qat_ablation.csv"]
        quoted |= ablation.numbers(table, stem=f"{NAME}.ablation")
    for row in tables.get("qat_reference.csv", pd.DataFrame()).itertuples():
        quoted[f"{NAME}.reference.{row.condition}.top1"] = columns.number(
            row, "top1", "%"
        )
    costs = tables.get("qat_cost.csv", pd.DataFrame())
    quoted |= gap_numbers(tables.get("qat_gap.csv", pd.DataFrame()), tables)
    return quoted | cost_numbers(costs, quoted)


def _summary(table: pd.DataFrame) -> dict[str, Number]:
    quoted: dict[str, Number] = {}
    for row in table.itertuples():
        condition = row.condition.replace("+", "_")
        key, runs = f"{NAME}.{row.width}.{condition}", tuple(row.runs.split())
        quoted[f"{key}.top1"] = Number(row.top1, "%", 2, n=row.n, runs=runs)
        for end in ("min", "max"):
            found = getattr(row, f"top1_{end}")
            quoted[f"{key}.top1_{end}"] = Number(found, "%", 2, n=row.n, runs=runs)
        if pd.notna(row.drop_pp):
            quoted[f"{key}.drop"] = _points(row, "drop_pp", runs)
        if pd.notna(row.gain_pp):
            quoted[f"{key}.behind"] = _points(row, "gain_pp", runs)
            said = _resolved(row.resolved, row.gain_pp)
            quoted[f"{key}.verdict"] = Number(said, runs=runs)
    for width in CHOSEN:
        quoted |= _claims(table[table.width == width].set_index("condition"), width)
    return quoted


def _claims(table: pd.DataFrame, width: str) -> dict[str, Number]:
    """Whether a goal is reached, and whether each of the deck's claims holds here."""
    quoted: dict[str, Number] = {}
    if "qat" not in table.index:
        return quoted
    qat = table.loc["qat"]
    runs = tuple(qat.runs.split())
    epochs = CHOSEN[width]["epochs"]
    quoted[f"{NAME}.{width}.epochs"] = Number(epochs, "", 0, runs=runs)
    if width == "w8a8" and pd.notna(qat.drop_pp):
        said = goal_reached(qat.drop_pp, qat.drop_hi, goal=DROP_GOAL)
        quoted[f"{NAME}.{width}.goal"] = Number(DROP_GOAL, "pp", 1)
        quoted[f"{NAME}.{width}.goal_verdict"] = Number(said, runs=runs)
    if width == "w4a4":
        said = "reached" if qat.top1 >= W4A4_GOAL else "missed"
        quoted[f"{NAME}.{width}.goal"] = Number(W4A4_GOAL, "%", 1)
        quoted[f"{NAME}.{width}.goal_verdict"] = Number(said, runs=runs)
    if pd.notna(qat.drop_pp):
        said = statistics.accuracy_verdict(qat.drop_hi, low=qat.drop_lo)
        quoted[f"{NAME}.claim.drop_{width}"] = Number(said, runs=runs)
    for condition, claim in (("ptq", "best"), ("finetune+ptq", "own")):
        if condition in table.index and pd.notna(table.gain_pp[condition]):
            row = table.loc[condition]
            said = _better(row.gain_lo, row.gain_hi)
            behind = (*runs, *row.runs.split())
            quoted[f"{NAME}.claim.{claim}_{width}"] = Number(said, runs=behind)
    return quoted


def _hard(table: pd.DataFrame) -> dict[str, Number]:
    quoted: dict[str, Number] = {}
    for row in table.itertuples():
        told = (row.width, row.granularity, row.condition.replace("+", "_"))
        key = ".".join(
            [f"{NAME}.mobilenet", *(part for part in told if pd.notna(part))]
        )
        quoted[f"{key}.top1"] = columns.number(row, "top1", "%")
        if pd.notna(row.drop_pp):
            quoted[f"{key}.drop"] = columns.number(row, "drop_pp", "pp", compared=True)
        if pd.notna(row.gain_pp):
            quoted[f"{key}.behind"] = _points(row, "gain_pp", (row.ahead_run, row.run))
    return quoted


def _points(row: Any, column: str, runs: tuple[str, ...]) -> Number:
    """A difference in points with its interval."""
    stem = column.removesuffix("_pp")
    low, high = getattr(row, f"{stem}_lo"), getattr(row, f"{stem}_hi")
    return Number(getattr(row, column), "pp", 2, low, high, row.n, runs)


def _resolved(resolved: Any, value: float) -> str:
    if resolved is None or pd.isna(resolved) or not resolved:
        return "not resolved"
    return "QAT is ahead" if value > 0 else "behind"


def _better(low: float, high: float) -> str:
    """On "QAT loses least": by the interval of what it is ahead by."""
    if low > 0:
        return statistics.HOLDS
    return statistics.FAILS if high < 0 else statistics.UNDECIDED
