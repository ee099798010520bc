"""What prose quotes of the LSQ chapter."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import ablation, columns
from qstudy.experiments.baselines.recipe import goal_verdict
from qstudy.experiments.lsq.grid import NAME, STUDY
from qstudy.experiments.lsq.numbers_more import more
from qstudy.experiments.lsq.recipe import (
    COST_GOAL,
    DROP_GOAL,
    EXPLORED,
    GOALS,
    SEEDS,
    WIDTHS,
)
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """lsq.<model>.w<bits>a<bits>.*: .top1 with _min and _max, .drop, .seeds, .epochs.

    .drop is over seeds, or over images where there is one. Of ResNet-20 every width has
    its keys, "–" before its first network, and .goal with .goal_verdict, which waits
    for all seeds. <method>.w<bits>a<bits>.drop is what others lose. lsq.file.*,
    lsq.error.* and lsq.integers.<form>.*: files, steps, integers. Of trials and the
    ablation, lsq.recipe.<condition>.gain and lsq.ablation.<condition>.gain, with .top1
    and .verdict.
    Of a training step, lsq.cost.t<threads>.<baseline>.ratio, .goal and .goal_verdict,
    and lsq.cost.peak.lsq, its memory.
    """
    quoted: dict[str, Number] = {}
    networks = tables.get("lsq.csv", pd.DataFrame())
    if len(networks):
        quoted |= waiting(tuple(networks.run))
    for row in tables.get("lsq_summary.csv", pd.DataFrame()).itertuples():
        quoted |= _network(row, networks)
    quoted |= more(tables) if len(networks) else {}
    for row in tables.get("lsq_recipe.csv", pd.DataFrame()).itertuples():
        if pd.notna(row.gain_pp):
            key = f"{NAME}.recipe.{ablation.plain(row.condition)}.gain"
            quoted[key] = columns.number(row, "gain_pp", "pp", compared=True)
    changes = tables.get("lsq_ablation_summary.csv", pd.DataFrame())
    if len(changes):
        quoted |= ablation.numbers(changes, stem=f"{NAME}.ablation")
    for row in tables.get("lsq_cost.csv", pd.DataFrame()).itertuples():
        if row.candidate != STUDY:
            continue
        key = f"{NAME}.cost.t{row.threads}.{row.baseline}"
        quoted[f"{key}.cost_ratio"] = Number(
            row.cost_ratio,
            "×",
            2,
            row.cost_ratio_lo,
            row.cost_ratio_hi,
            n=int(row.n),
            runs=(row.run,),
        )
        if row.baseline == "same":
            if pd.notna(row.peak_mib):
                told = {"digits": 0, "runs": (row.peak_run,)}
                quoted[f"{NAME}.cost.peak.lsq"] = Number(row.peak_mib, "MiB", **told)
            reached = goal_verdict(-row.cost_ratio, goal=-COST_GOAL)
            quoted[f"{key}.goal"] = Number(COST_GOAL, "×", 2)
            quoted[f"{key}.goal_verdict"] = Number(reached, runs=(row.run,))
    return quoted


def waiting(runs: tuple[str, ...]) -> dict[str, Number]:
    """The keys of every width of ResNet-20, before there is a network of it."""
    made = {f"{NAME}.explored": Number(EXPLORED, "", 0, runs=runs)}
    for width in WIDTHS:
        key = f"{NAME}.resnet20.{width}"
        for name in ("top1", "drop", "seeds", "epochs", "goal_verdict"):
            made[f"{key}.{name}"] = Number("–")
        goal = Number(DROP_GOAL, "pp", 1)
        made[f"{key}.goal"] = Number(GOALS[width], "%", 1) if width in GOALS else goal
    return made


def _network(row: Any, networks: pd.DataFrame) -> dict[str, Number]:
    width = f"w{row.weight_bits}a{row.activation_bits}"
    key = f"{NAME}.{row.model}.{width}"
    mine = networks[
        (networks.model == row.model) & (networks.weight_bits == row.weight_bits)
    ]
    runs, both = tuple(mine.run), columns.runs(mine, compared=True)
    made = {
        f"{key}.{name}": Number(getattr(row, name), "%", 2, n=row.n, runs=runs)
        for name in ("top1", "top1_min", "top1_max")
    }
    made[f"{key}.epochs"] = Number(int(row.epochs), "", 0, runs=runs)
    if pd.notna(row.drop_pp):
        n = row.n if row.drop_over == "seeds" else int(mine.n.iloc[0])
        made[f"{key}.drop"] = Number(
            row.drop_pp, "pp", 2, row.drop_lo, row.drop_hi, n=n, runs=both
        )
    if row.model == "resnet20":
        said = f"{row.n} of {len(SEEDS)}"
        made[f"{key}.seeds"] = Number(said, runs=runs)
        if pd.notna(row.goal_verdict):
            made[f"{key}.goal_verdict"] = Number(row.goal_verdict, runs=both)
    return made
