"""Train the fp32 networks that every later chapter starts from.

Three tasks. `train`: the published networks, on all 50,000 training images. `recipe`:
what each ingredient of a recipe brings, one at a time, to a ResNet-8 trained on 45,000
images and scored on the 5,000 held out; of these, the dev networks are kept. `cost`:
what a training step takes in each precision and layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from qstudy.experiments import baselines_cost, baselines_tables
from qstudy.experiments.baselines_recipe import (
    CONDITIONS,
    NAME,
    NETWORKS,
    PLAIN,
    TRIALS,
    VERSION,
    dev,
    published,
    recipe_trial,
)
from qstudy.experiments.baselines_tables import numbers
from qstudy.spec import Context, RunRecord, RunSpec, Value, Values

__all__ = [
    "NAME",
    "PARAMETERS",
    "VERSION",
    "figures",
    "grid",
    "numbers",
    "published",
    "run",
    "tables",
]

PARAMETERS: dict[str, Any] = {}


def cost_spec(model: str, *, threads: int, **quicker: Any) -> RunSpec:
    """Time a training step of `model` in each precision and layout, batch 128."""
    params = {
        "task": "cost",
        "model": model,
        "candidates": list(baselines_cost.CANDIDATES),
        "batch": PLAIN["batch"],
        "threads": threads,
        "processes": 5,
        "rounds": 30,
        "seconds": 8.0,
        "warmup_seconds": 1.0,
        **quicker,
    }
    # What a process does with its memory depends on all that runs in it.
    params["alone"] = params["candidates"]
    return RunSpec(experiment=NAME, version=VERSION, params=params)


def smoke(seed: int = 0) -> RunSpec:
    """ResNet-8 on generated images: the same code path in seconds."""
    recipe = {**PLAIN, "epochs": 2, "batch": 64, "precision": "fp32"}
    spec = published("resnet8", seed=seed)
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=seed,
        params={
            **spec.params,
            "dataset": "synthetic",
            "recipe": recipe,
        },
    )


def recipe_smoke(seed: int = 0) -> RunSpec:
    """A recipe trial on generated images: every ingredient at once, in seconds."""
    spec = recipe_trial("base", seed=seed, stage="dev")
    recipe = {**spec.params["recipe"], "epochs": 1, "batch": 64, "precision": "fp32"}
    recipe |= {"ema_decay": 0.9, "alternate_flip": True, "label_smoothing": 0.1}
    recipe |= {"muon_lr": 0.02}
    params = {**spec.params, "dataset": "synthetic", "recipe": recipe}
    return replace(spec, params=params)


def cost_smoke() -> RunSpec:
    """A training step timed in seconds: the plain one and the study's own."""
    few = [baselines_cost.BASELINE, baselines_cost.STUDY]
    short = {"processes": 1, "rounds": 2, "seconds": 0.5, "warmup_seconds": 0.1}
    return cost_spec("resnet8", threads=1, candidates=few, batch=8, **short)


def grid(mode: str) -> list[RunSpec]:
    """smoke: ResNet-8 on generated data. full: all networks and trials. quick: none."""
    trials = [
        recipe_trial(condition, seed=seed, model=model, epochs=epochs, threads=threads)
        for (model, epochs, threads), conditions in TRIALS.items()
        for condition, seeds in conditions.items()
        for seed in seeds
    ]
    networks = [
        {"dev": dev, "published": published}[stage](model, seed=seed)
        for stage, models in NETWORKS.items()
        for model, seeds in models.items()
        for seed in seeds
    ]
    costs = [cost_spec("resnet20", threads=threads) for threads in (1, 2)]
    return {
        "smoke": [smoke(), recipe_smoke(), cost_smoke()],
        "quick": [],
        "full": [*trials, *networks, *costs],
    }[mode]


def run(spec: RunSpec, ctx: Context) -> Values:
    """Train and score once, at the last epoch, or time a step (task `cost`).

    A network with a `stage` is kept.
    """
    from qstudy.measure import accuracy, system
    from qstudy.models import zoo
    from qstudy.training.loop import predict, train
    from qstudy.training.recipe import Recipe
    from qstudy.training.resume import write_tensors

    params = spec.params
    if params["task"] == "cost":
        return baselines_cost.cost(spec, ctx)
    recipe = Recipe(**params["recipe"])
    images, labels = ctx.images(params["dataset"], params["split"])
    held_out, answers = ctx.images(params["dataset"], params.get("scored_on", "test"))
    model = zoo.build(params["model"], seed=spec.seed)
    epochs_here: list[Any] = []
    with (
        system.threads(params["threads"]),
        ctx.progress(recipe.epochs, params["model"]) as step,
    ):
        log = train(
            model,
            images,
            labels,
            recipe=recipe,
            seed=spec.seed,
            resume=ctx.resume,
            report=lambda progress: (epochs_here.append(progress), step(str(progress))),
        )
        predictions = predict(model, held_out).argmax(1).numpy().astype("uint8")
    top1 = accuracy.top1(predictions, answers)
    before = log[: len(log) - len(epochs_here)]
    values = {
        "top1": Value(top1.value, "%", "stochastic", top1.low, top1.high),
        "loss": Value(log[-1]["loss"], "nat", "stochastic"),
    }
    # Paired comparisons of trials need which images, those of networks what was said.
    arrays = {"predictions": predictions}
    if params["task"] == "recipe":
        arrays = {"correct": (predictions == answers).astype("uint8")}
    kept: dict[str, Any] = {}
    if "stage" in params:
        count = sum(p.numel() for p in model.parameters())
        values["parameters"] = Value(count, "count", "exact")
        name = f"{params['model']}-{params['dataset']}-fp32-{params['stage']}"
        kept["checkpoint"] = write_tensors(
            model.state_dict(), ctx.resume / "checkpoint.safetensors"
        )
        kept["checkpoint_name"] = f"{name}-s{spec.seed}.safetensors"
    earlier = sum(epoch["seconds"] for epoch in before)
    return Values(values, arrays=arrays, earlier_seconds=earlier, **kept)


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """baselines.csv, recipe.csv, recipe_summary.csv and training_cost.csv."""
    return baselines_tables.tables(records, conditions=tuple(CONDITIONS))


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Any]:
    """None: the chapters that use the networks draw them."""
    return iter(())
