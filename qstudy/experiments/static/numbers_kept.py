"""What prose quotes of layers back in fp32, of seconds, and of equalization."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_kept import EVERY, NONE
from qstudy.experiments.static.grid_sweeps import NAME
from qstudy.experiments.static.numbers_parts import drop_number, of_tables
from qstudy.report.numbers import counted
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.kept.*, static.work.* and static.equalized.*, of the tables there are."""
    return of_tables(
        tables,
        {
            "kept": _kept,
            "pareto": _pareto,
            "work": _work,
            "equalized": _equalized,
        },
    )


def _kept(frame: pd.DataFrame) -> dict[str, Number]:
    """static.kept.wBITS.ORDER.kCOUNT.drop, and .none.drop, .every.drop.

    static.kept.wBITS.resolved: of the distinct sets, those whose drop has its whole
    interval above 0.
    """
    made = {}
    for row in frame.itertuples():
        made[f"{_place(row, f'w{row.bits}')}.drop"] = drop_number(row)
    for bits, rows in frame.groupby("bits"):
        of = rows.drop_duplicates("set")
        above = int((of.drop_lo > 0).sum())
        made[f"{NAME}.kept.w{bits}.resolved"] = Number(
            above, "", 0, n=len(of), runs=columns.runs(of)
        )
    return made


def _pareto(frame: pd.DataFrame) -> dict[str, Number]:
    """static.kept.tTHREADS.ORDER.kCOUNT.ms and .cost; of fp32 the fastest form.

    The cost is how much longer than with no layer kept, in percent. .tT.sets are the
    distinct sets that keep a layer, .tT.faster those of them with a median below
    fp32's; .wBITS.tT.front names the Pareto front.
    """
    made = {}
    first = frame[frame.bits == frame.bits.min()]
    for row in first.itertuples():
        key, runs = _place(row, f"t{row.threads}"), (row.baseline_run,)
        made[f"{key}.ms"] = Number(
            row.ms, "ms", 3, row.ms_lo, row.ms_hi, int(row.processes), runs
        )
        if row.set != NONE:
            ends = (100 / r - 100 for r in (row.ratio, row.ratio_hi, row.ratio_lo))
            made[f"{key}.cost"] = Number(
                next(ends), "%", 0, *ends, int(row.processes), runs
            )
    for threads, rows in first.groupby("threads"):
        fp32 = rows[rows.order == "fp32"]
        kept = rows[~rows.order.isin(("fp32", NONE))].drop_duplicates("set")
        runs = (rows.baseline_run.iloc[0],)
        key = f"{NAME}.kept.t{threads}"
        made[f"{key}.sets"] = Number(len(kept), "", 0, runs=runs)
        if len(fp32):
            below = int((kept.ms < fp32.ms.iloc[0]).sum())
            made[f"{key}.faster"] = Number(below, "", 0, n=len(kept), runs=runs)
            form = fp32.set.iloc[0].replace("_", " ")
            made[f"{key}.fp32.form"] = Number(form, runs=runs)
    for (bits, threads), rows in frame[frame.front].groupby(["bits", "threads"]):
        of = rows.sort_values("ms", kind="stable").drop_duplicates("set")
        told = ", then ".join(spoken(row) for row in of.itertuples())
        runs = tuple(sorted({*of.run, *of.baseline_run}))
        made[f"{NAME}.kept.w{bits}.t{threads}.front"] = Number(told, runs=runs)
    return made


def spoken(row: Any) -> str:
    """A set as prose and figures name it: one layer by its name."""
    if row.order == "fp32":
        return f"fp32 {row.set.replace('_', ' ')}"
    if row.set in (NONE, EVERY):
        return {NONE: "none kept", EVERY: "every layer kept"}[row.set]
    if row.kept == 1:
        return f"{row.layers} kept"
    order = row.set.rpartition("-")[0].replace("_", " ")
    return f"{counted(row.kept, 'layer')} by {order}"


def _place(row: Any, among: str) -> str:
    key = f"{NAME}.kept.{among}.{row.order}"
    return key if row.order in (NONE, EVERY, "fp32") else f"{key}.k{row.kept}"


def _work(frame: pd.DataFrame) -> dict[str, Number]:
    """static.work.WORK.seconds, .most and .goal; static.claim.work.WORK.

    Holds where the slowest round is within the goal, fails where the quickest is not.
    """
    from qstudy.measure import statistics

    made = {}
    for row in frame.itertuples():
        key, runs = f"{NAME}.work.{row.work}", (row.run,)
        made[f"{key}.seconds"] = columns.number(row, "s", "s", 1)
        made[f"{key}.most"] = Number(row.s_hi, "s", 1, n=int(row.n), runs=runs)
        made[f"{key}.images"] = Number(int(row.images), "", 0, runs=runs)
        made[f"{NAME}.work.goal"] = Number(row.goal_s, "s", 0, runs=runs)
        said = statistics.UNDECIDED
        if row.s_hi < row.goal_s:
            said = statistics.HOLDS
        elif row.s_lo >= row.goal_s:
            said = statistics.FAILS
        made[f"{NAME}.claim.work.{row.work}"] = Number(said, runs=runs)
    return made


def _equalized(frame: pd.DataFrame) -> dict[str, Number]:
    """static.equalized.GRANULARITY.CURE.drop; .fp32.unclamped.drop: ReLU for ReLU6.

    static.claim.equalized: whether equalization, biases corrected, has almost no drop.
    """
    from qstudy.measure import statistics

    made = {}
    for row in frame.itertuples():
        granularity = "fp32" if pd.isna(row.granularity) else row.granularity
        made[f"{NAME}.equalized.{granularity}.{row.cure}.drop"] = drop_number(row)
        if (granularity, row.cure) == ("per_tensor", "equalized_bias"):
            said = statistics.accuracy_verdict(row.drop_hi, low=row.drop_lo)
            made[f"{NAME}.claim.equalized"] = Number(said, runs=(row.run,))
    return made
