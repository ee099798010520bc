"""What one training step costs in each precision and memory layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from qstudy.experiments import timing
from qstudy.spec import Context, RunRecord, RunSpec, Values

# "precision:layout", and ":compiled" through torch.compile. The first is what a user
# writes who changes nothing.
CANDIDATES = (
    "fp32:contiguous",
    "fp32:channels_last",
    "bf16:channels_last",
    "bf16:channels_last:compiled",
)
BASELINE = "fp32:contiguous"


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
    from qstudy.training.recipe import Recipe
    from qstudy.training.updates import updates

    precision, layout, *how = name.split(":")
    recipe = Recipe(precision=precision, compiled=bool(how), batch=batch)
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
                    "compiled": bool(how),
                    **{k: v for k, v in row.items() if k not in ("model", "candidate")},
                    "images_per_second": 1000 * row["batch"] / row["ms"],
                }
            )
    frame = pd.DataFrame(rows)
    return frame.sort_values(["model", "threads", "candidate"], ignore_index=True)
