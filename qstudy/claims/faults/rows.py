"""Faults in the rows of a table, and rows as they would be if a claim were true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qstudy.claims.ledger import Change, Evidence


def supposed(name: str, values: dict[str, Any], **where: Any) -> Change:
    """Other `values` in the rows of a table that `where` names."""

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(name).copy()
        chosen = evidence.rows(name, **where).index
        for column, value in values.items():
            frame.loc[chosen, column] = value
        return evidence.put(name, frame)

    return change


def after(*changes: Change) -> Change:
    """Several changes, one after the other."""

    def change(evidence: Evidence) -> Evidence:
        for one in changes:
            evidence = one(evidence)
        return evidence

    return change


def ratio_of(value: float, spread: float = 0.1) -> dict[str, float]:
    """The columns of a ratio with an interval of +- `spread`."""
    return {"ratio": value, "ratio_lo": value - spread, "ratio_hi": value + spread}


def drop_of(value: float, spread: float) -> dict[str, float]:
    """The columns of a drop with an interval of +- `spread`."""
    return {"drop_pp": value, "drop_lo": value - spread, "drop_hi": value + spread}


def fp32_file_as_int8(evidence: Evidence) -> Evidence:
    """The int8 row weighs the fp32 file: nothing was stored in 8 bits."""
    fp32 = evidence.row("static.csv", model="resnet20", method="fp32", seed=0)
    return supposed("static.csv", {"size_mib": fp32.size_mib}, method="static_int8")(
        evidence
    )


def embedding_left_out(model: str, form: str) -> Change:
    """A ratio computed on both sides with the embedding in fp32 counted once more."""

    def change(evidence: Evidence) -> Evidence:
        row = evidence.row("dynamic_size.csv", model=model, form=form)
        base = evidence.row("dynamic_size.csv", model=model, form="fp32")
        return supposed(
            "dynamic_size.csv",
            {"ratio": base.size_mib / (row.size_mib + base.size_mib)},
            model=model,
            form=form,
        )(evidence)

    return change


def one_process(table: str) -> Change:
    """All ratios come from a single process, which can be slow as a whole."""

    def change(evidence: Evidence) -> Evidence:
        return evidence.put(table, evidence.table(table).assign(n=1))

    return change


def eager_as_best(table: str, baseline: str) -> Change:
    """The slow, eager form of a precision is passed off as its fastest."""
    precision = baseline.removeprefix("best_")

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(table).copy()
        of_best = frame[frame.baseline == baseline]
        eager = of_best[of_best.candidate == f"{precision}:eager"]
        keys = ["run", "batch"]
        by = {tuple(row[k] for k in keys): row.ratio for _, row in eager.iterrows()}
        for index, row in of_best.iterrows():
            scale = by.get((row.run, row.batch), 1.0)
            for column in ("ratio", "ratio_lo", "ratio_hi"):
                frame.loc[index, column] = row[column] / scale
        return evidence.put(table, frame)

    return change


def swapped(table: str) -> Change:
    """Times are divided the wrong way round: candidate by baseline."""

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(table)
        turned = {
            "ratio": 1 / frame.ratio,
            "ratio_lo": 1 / frame.ratio_hi,
            "ratio_hi": 1 / frame.ratio_lo,
        }
        return evidence.put(table, frame.assign(**turned))

    return change


def other_split(table: str, split: str = "train") -> Change:
    """Scored on the very part of the data that calibration saw."""

    def change(evidence: Evidence) -> Evidence:
        return evidence.put(table, evidence.table(table).assign(split=split))

    return change


def cell(
    name: str, function: Callable[[Any], Any], column: str, **where: Any
) -> Change:
    """Another value in each named cell, computed from the row."""

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(name).copy()
        for index, row in evidence.rows(name, **where).iterrows():
            frame.loc[index, column] = function(row)
        return evidence.put(name, frame)

    return change


def rounds_down(value: float, **where: Any) -> Change:
    """The quantizer cuts the fraction off instead of rounding to the nearest code."""
    return cell(
        "conventions.csv", lambda row: int(value / row["scale"]), "code", **where
    )


def scale_twice(value: float, **where: Any) -> Change:
    """The scale is twice what the range asks for."""

    def code(row: Any) -> int:
        return round(value / (2 * row["scale"]))

    return cell("conventions.csv", code, "code", **where)
