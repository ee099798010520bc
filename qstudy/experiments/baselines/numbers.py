"""What prose quotes of the baselines."""

from __future__ import annotations

import re

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.baselines.grid import NAME, STUDY
from qstudy.experiments.baselines.recipe import (
    GOALS,
    SEEDS,
    STEP_GOAL,
    goal_verdict,
)
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """baselines.<model>.<stage>.top1, .epochs and .parameters of seed 0.

    Where there are several seeds also .top1_mean, _min and _max over them, and .goal
    with .goal_verdict where all seeds that the goal is for are there. Of trials,
    baselines.recipe.<model>.e<epochs>.t<threads>.<condition>: the gain with seed 0. Of
    training steps, baselines.cost.t<threads>.*: see `_cost`.
    """
    quoted = {}
    if "training_cost.csv" in tables:
        quoted |= _cost(tables["training_cost.csv"])
    if "recipe.csv" in tables:
        gains = tables["recipe.csv"]
        gains = gains[(gains.seed == 0) & gains.gain_pp.notna()]
        for row in gains.itertuples():
            condition = re.sub("[^a-z0-9]+", "_", row.condition)
            key = f"{NAME}.recipe.{row.model}.e{row.epochs}.t{row.threads}.{condition}"
            quoted[key] = columns.number(row, "gain_pp", "pp", compared=True)
    if "baselines.csv" not in tables:
        return quoted
    frame = tables["baselines.csv"]
    for row in frame[frame.seed == 0].itertuples():
        key, runs = f"{NAME}.{row.model}.{row.stage}", (row.run,)
        quoted[f"{key}.top1"] = columns.number(row, "top1", "%")
        quoted[f"{key}.epochs"] = Number(int(row.epochs), "", 0, runs=runs)
        quoted[f"{key}.parameters"] = Number(int(row.parameters), "", 0, runs=runs)
        seeds = frame[(frame.model == row.model) & (frame.stage == row.stage)]
        over = {"mean": portable.mean, "min": min, "max": max}
        for name, of in over.items() if len(seeds) > 1 else ():
            quoted[f"{key}.top1_{name}"] = Number(
                of(seeds.top1), "%", 2, n=len(seeds), runs=tuple(seeds.run)
            )
        goal = GOALS.get(row.model) if row.stage == "published" else None
        if goal is not None and set(seeds.seed) == set(SEEDS):
            quoted[f"{key}.goal"] = Number(goal, "%", 1)
            quoted[f"{key}.goal_verdict"] = Number(
                goal_verdict(portable.mean(seeds.top1), goal=goal),
                runs=tuple(seeds.run),
            )
    return quoted


def _cost(table: pd.DataFrame) -> dict[str, Number]:
    """baselines.cost.t<threads>.<candidate>.ratio (to BASELINE), .images_per_second.

    .goal and .goal_verdict are of the study's own step; .machine names the machine.
    """
    quoted: dict[str, Number] = {}
    for row in table.itertuples():
        key = f"{NAME}.cost.t{row.threads}"
        step, runs = f"{key}.{row.candidate.replace(':', '_')}", (row.run,)
        quoted[f"{step}.ratio"] = columns.number(row, "ratio", "×")
        quoted[f"{step}.images_per_second"] = Number(
            row.images_per_second, "images/s", 0, n=row.n, runs=runs
        )
        if row.candidate == STUDY:
            verdict = goal_verdict(row.ratio, goal=STEP_GOAL)
            quoted[f"{key}.goal"] = Number(STEP_GOAL, "×", 1)
            quoted[f"{key}.goal_verdict"] = Number(verdict, runs=runs)
            quoted[f"{NAME}.cost.machine"] = Number(row.machine, runs=runs)
    return quoted
