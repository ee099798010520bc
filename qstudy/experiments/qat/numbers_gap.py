"""What prose quotes of the way to integers, of the cost of a step, and of the price."""

from __future__ import annotations

import math

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.qat.grid import NAME
from qstudy.experiments.qat.recipe import CHOSEN, COST_GOAL, FORMS, GAP_GOAL
from qstudy.experiments.qat.tables_gap import most_traced
from qstudy.measure import portable
from qstudy.spec import Number

_TRAINING_IMAGES = 50_000


def gap_numbers(
    table: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> dict[str, Number]:
    """qat.gap.<form>.* over seeds, and the causes that were found.

    .differing is the mean share of predictions, .worst the largest of a seed, .drop the
    mean of what integers lose. qat.gap.w8a8.* is of the first engine's kernels.
    """
    quoted: dict[str, Number] = {}
    if not len(table):
        return quoted
    whole = most_traced(table[table.differing.notna()])
    for form, rows in whole.groupby("form", sort=False):
        key, runs = f"{NAME}.gap.{form}", tuple(rows.run)
        n = int(rows.n.iloc[0])
        mean = portable.mean(rows.differing_pct)
        lost = portable.mean(rows.simulated_top1 - rows.top1)
        quoted[f"{key}.differing"] = Number(mean, "%", 3, n=n, runs=runs)
        quoted[f"{key}.worst"] = Number(
            rows.differing_pct.max(), "%", 2, n=n, runs=runs
        )
        quoted[f"{key}.drop"] = Number(lost, "pp", 3, n=n, runs=runs)
        margins = rows.margin_steps.dropna().tolist()
        quoted[f"{key}.margin"] = Number(
            max(margins, default=0.0), "steps", 1, runs=runs
        )
    best = whole[whole.form == FORMS["w8a8"][0]]
    if len(best):
        worst, runs = best.differing_pct.max(), tuple(best.run)
        said = "reached" if worst <= GAP_GOAL else "missed"
        quoted[f"{NAME}.gap.w8a8.goal"] = Number(GAP_GOAL, "%", 1)
        quoted[f"{NAME}.gap.w8a8.goal_verdict"] = Number(said, runs=runs)
        every = whole[(whole.width == "w8a8")]
        within = every.groupby("form").differing_pct.max() <= GAP_GOAL
        quoted[f"{NAME}.gap.w8a8.engines"] = Number(
            len(within), "", 0, runs=columns.runs(every)
        )
        quoted[f"{NAME}.gap.w8a8.engines_within"] = Number(
            int(within.sum()), "", 0, runs=columns.runs(every)
        )
    return quoted | _causes(tables.get("qat_gap_layers.csv", pd.DataFrame()))


def _causes(layers: pd.DataFrame) -> dict[str, Number]:
    """Of each form .begins, .cause of most codes, .largest and .last_codes."""
    quoted: dict[str, Number] = {}
    if not len(layers):
        return quoted
    for form, rows in most_traced(layers).groupby("form", sort=False):
        own = rows[rows.alone_pct > 0]
        key, runs = f"{NAME}.gap.{form}", columns.runs(rows)
        last = rows.sort_values("kernel_number", kind="stable")
        last = last.groupby("seed").last()
        quoted[f"{key}.last_codes"] = Number(
            portable.mean(last.free_pct), "%", 2, runs=runs
        )
        shares = own.groupby("cause").alone_pct.agg(math.fsum)
        quoted[f"{key}.cause"] = Number(
            shares.idxmax() if len(own) else "none", runs=runs
        )
        if len(own):
            top = own.loc[own.alone_pct.idxmax()]
            quoted[f"{key}.largest"] = Number(top.alone_pct, "%", 4, runs=(top.run,))
            quoted[f"{key}.largest_at"] = Number(top.kernel, runs=(top.run,))
            begins = own.sort_values("kernel_number", kind="stable").kernel.iloc[0]
            quoted[f"{key}.begins"] = Number(begins, runs=runs)
    return quoted


def cost_numbers(
    table: pd.DataFrame, quoted_before: dict[str, Number]
) -> dict[str, Number]:
    """qat.cost.<method>.ratio and .ms, .goal of this study's; qat.price.<width>.*.

    A price is .core_hours, of the recipe's steps at the time of one, on all its
    threads, and .per_point, these hours by each point that QAT is ahead of calibration.
    """
    quoted: dict[str, Number] = {}
    for row in table.itertuples():
        name = row.method.replace("-", "_")
        name += "_compiled" if row.compiled else ""
        name += "" if row.method != "fp32" else f"_{row.precision}"
        key, runs = f"{NAME}.cost.{name}", (row.run,)
        quoted[f"{key}.ms"] = columns.number(row, "ms", "ms", 0)
        quoted[f"{key}.ratio"] = columns.number(row, "cost_ratio", "×")
        quoted[f"{NAME}.cost.machine"] = Number(row.machine, runs=runs)
        _, _, width = row.method.partition("-")
        if width not in CHOSEN:
            continue
        said = "reached" if row.cost_ratio <= COST_GOAL else "missed"
        quoted[f"{NAME}.cost.goal"] = Number(COST_GOAL, "×", 1)
        quoted[f"{NAME}.cost.{width}_verdict"] = Number(said, runs=runs)
        steps = CHOSEN[width]["epochs"] * (_TRAINING_IMAGES // row.batch)
        hours = steps * row.ms * row.threads / 3.6e6
        quoted[f"{NAME}.price.{width}.core_hours"] = Number(hours, "h", 2, runs=runs)
    return quoted
