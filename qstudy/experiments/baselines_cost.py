"""What one training step costs in each precision and memory layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from qstudy.experiments import timing
from qstudy.experiments.baselines_recipe import (
    CHOSEN,
    CONDITIONS,
    NAME,
    STEP_GOAL,
    goal_verdict,
)
from qstudy.spec import Context, Number, RunRecord, RunSpec, Values

# "precision:layout", then any of ":compiled" (through torch.compile), ":kept" (freed
# memory stays with the process, see training.memory) and ":muon" (its updates
# in place of SGD's). The first is what a user writes who changes nothing, the last is
# how the study trains.
CANDIDATES = (
    "fp32:contiguous",
    "fp32:contiguous:kept",
    "fp32:channels_last",
    "bf16:channels_last",
    "bf16:channels_last:compiled",
    "bf16:channels_last:compiled:kept",
    "bf16:channels_last:kept",
    "bf16:channels_last:kept:muon",
)
BASELINE, STUDY = CANDIDATES[0], CANDIDATES[-1]


def cost(spec: RunSpec, ctx: Context) -> Values:
    """Milliseconds of one step of each candidate, and its ratio to BASELINE."""
    result = timing.measure(
        spec, ctx, factory=training_step, arguments={"model": spec.params["model"]}
    )
    pairs = [(BASELINE, BASELINE, name) for name in spec.params["candidates"]]
    return Values(values=timing.values(result, pairs))


def training_step(*, name: str, model: str, batch: int) -> Callable[[], None]:
    """What a timing worker times: one update of `model`, computed as `name` says."""
    import torch

    from qstudy.models import zoo
    from qstudy.training.loop import train_step
    from qstudy.training.memory import keep_freed_memory
    from qstudy.training.recipe import Recipe
    from qstudy.training.updates import updates

    precision, layout, *how = name.split(":")
    if "kept" in how and not keep_freed_memory():
        raise RuntimeError("only glibc can be told to keep freed memory")
    recipe = Recipe(
        precision=precision,
        compiled="compiled" in how,
        batch=batch,
        **(CONDITIONS[CHOSEN] if "muon" in how else {}),
    )
    memory = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    network = zoo.build(model).to(memory_format=memory).train()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *zoo.input_shape(model), generator=generator)
    x = x.to(memory_format=memory)
    y = torch.randint(0, 10, (batch,), generator=generator)
    optimizer = updates(network, recipe)
    forward = torch.compile(network) if recipe.compiled else network

    def step() -> None:
        train_step(forward, optimizer, x, y, recipe=recipe)

    return step


def table(records: list[RunRecord]) -> pd.DataFrame:
    """training_cost.csv: one row a candidate, images a second and the ratio."""
    rows: list[dict[str, Any]] = []
    for record in records:
        for row in timing.rows(record):
            precision, layout, *how = row["candidate"].split(":")
            rows.append(
                {
                    "model": row["model"],
                    "candidate": row["candidate"],
                    "precision": precision,
                    "layout": layout,
                    "compiled": "compiled" in how,
                    "kept_memory": "kept" in how,
                    "optimizer": "muon" if "muon" in how else "sgd",
                    **{k: v for k, v in row.items() if k not in ("model", "candidate")},
                    "images_per_second": 1000 * row["batch"] / row["ms"],
                }
            )
    frame = pd.DataFrame(rows)
    return frame.sort_values(["model", "threads", "candidate"], ignore_index=True)


def numbers(table: pd.DataFrame) -> dict[str, Number]:
    """baselines.cost.t<threads>.<candidate>.ratio (to BASELINE), .images_per_second.

    .goal and .goal_verdict are of the study's own step; .machine names the machine.
    """
    quoted: dict[str, Number] = {}
    for row in table.itertuples():
        key = f"{NAME}.cost.t{row.threads}"
        step, runs = f"{key}.{row.candidate.replace(':', '_')}", (row.run,)
        quoted[f"{step}.ratio"] = Number(
            row.ratio, "×", 2, row.ratio_lo, row.ratio_hi, row.n, runs
        )
        quoted[f"{step}.images_per_second"] = Number(
            row.images_per_second, "images/s", 0, n=row.n, runs=runs
        )
        if row.candidate == STUDY:
            verdict = goal_verdict(row.ratio, goal=STEP_GOAL)
            quoted[f"{key}.goal"] = Number(STEP_GOAL, "×", 1)
            quoted[f"{key}.goal_verdict"] = Number(verdict, runs=runs)
            quoted[f"{NAME}.cost.machine"] = Number(row.machine)
    return quoted
