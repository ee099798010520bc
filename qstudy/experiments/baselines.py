"""Train the fp32 networks that every later chapter starts from.

Three tasks. `train`: for now one network stands in, a ResNet-20 trained for 20 epochs
on all 50,000 training images, called interim wherever it appears. `recipe`: what each
ingredient of a recipe brings, one at a time, to a ResNet-8 trained on 45,000 images and
scored on the 5,000 held out; these networks are not kept. `cost`: what a training step
takes in each precision and layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from qstudy.experiments import baselines_cost, baselines_tables
from qstudy.spec import Context, Number, RunRecord, RunSpec, Value, Values

NAME = "baselines"
VERSION = 1
PARAMETERS: dict[str, Any] = {}

_RECIPE = {
    "epochs": 20,
    "batch": 128,
    "peak_lr": 0.2,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup": 0.15,
    "crop_padding": 4,
    "flip": True,
    "label_smoothing": 0.0,
    "precision": "bf16",
    # No faster than the eager step at bf16, channels last: see training_cost.csv.
    "compiled": False,
}


# One change each to the recipe that the side table starts from.
CONDITIONS: dict[str, dict[str, Any]] = {
    "base": {},
    "peak_lr 0.1": {"peak_lr": 0.1},
    "peak_lr 0.4": {"peak_lr": 0.4},
    "weight_decay 1e-3": {"weight_decay": 1e-3},
    "weight_decay 2.5e-4": {"weight_decay": 2.5e-4},
    "alternate_flip": {"alternate_flip": True},
    "muon": {"muon_lr": 0.02},
}
# (network, epochs, threads): which conditions, with which seeds. The search goes on:
# what is tried next is a further entry. Two trials side by side, on one thread each,
# train more images a second than one on two.
TRIALS: dict[tuple[str, int, int], tuple[tuple[str, ...], tuple[int, ...]]] = {
    ("resnet8", 20, 2): (tuple(c for c in CONDITIONS if c != "muon"), (0,)),
}


def recipe_trial(
    condition: str,
    *,
    seed: int,
    model: str = "resnet8",
    epochs: int = 20,
    threads: int = 2,
) -> RunSpec:
    """`model` on train45k with one ingredient changed, scored on validation."""
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=seed,
        params={
            "task": "recipe",
            "condition": condition,
            "model": model,
            "dataset": "cifar10",
            "split": "train45k",
            "scored_on": "validation",
            "threads": threads,
            "recipe": {**_RECIPE, "epochs": epochs, **CONDITIONS[condition]},
        },
    )


def cost_spec(model: str, *, threads: int, **quicker: Any) -> RunSpec:
    """Time a training step of `model` in each precision and layout, batch 128."""
    params = {
        "task": "cost",
        "model": model,
        "candidates": list(baselines_cost.CANDIDATES),
        "batch": _RECIPE["batch"],
        "threads": threads,
        "processes": 5,
        "rounds": 30,
        "seconds": 12.0,
        "warmup_seconds": 1.0,
    }
    return RunSpec(experiment=NAME, version=VERSION, params={**params, **quicker})


def interim(seed: int = 0) -> RunSpec:
    """ResNet-20 on CIFAR-10, 20 epochs: the network of the first chapters."""
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=seed,
        params={
            "task": "train",
            "model": "resnet20",
            "dataset": "cifar10",
            "split": "train",
            "stage": "interim",
            "threads": 2,
            "recipe": dict(_RECIPE),
        },
    )


def smoke(seed: int = 0) -> RunSpec:
    """ResNet-8 on generated images: the same code path in seconds."""
    recipe = {**_RECIPE, "epochs": 2, "batch": 64, "precision": "fp32"}
    spec = interim(seed)
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=seed,
        params={
            **spec.params,
            "model": "resnet8",
            "dataset": "synthetic",
            "recipe": recipe,
        },
    )


def recipe_smoke(seed: int = 0) -> RunSpec:
    """A recipe trial on generated images: every ingredient at once, in seconds."""
    spec = recipe_trial("base", seed=seed)
    recipe = {**spec.params["recipe"], "epochs": 1, "batch": 64, "precision": "fp32"}
    recipe |= {"ema_decay": 0.9, "alternate_flip": True, "label_smoothing": 0.1}
    recipe |= {"muon_lr": 0.02}
    params = {**spec.params, "dataset": "synthetic", "recipe": recipe}
    return replace(spec, params=params)


def cost_smoke() -> RunSpec:
    """A training step timed in seconds: two candidates, one process."""
    few = list(baselines_cost.CANDIDATES[:3:2])
    short = {"processes": 1, "rounds": 2, "seconds": 0.5, "warmup_seconds": 0.1}
    return cost_spec("resnet8", threads=1, candidates=few, batch=8, **short)


def grid(mode: str) -> list[RunSpec]:
    """smoke: ResNet-8 on generated data. full: all networks and trials. quick: none."""
    trials = [
        recipe_trial(condition, seed=seed, model=model, epochs=epochs, threads=threads)
        for (model, epochs, threads), (conditions, seeds) in TRIALS.items()
        for seed in seeds
        for condition in conditions
    ]
    costs = [cost_spec("resnet20", threads=threads) for threads in (1, 2)]
    return {
        "smoke": [smoke(), recipe_smoke(), cost_smoke()],
        "quick": [],
        "full": [interim(), *trials, *costs],
    }[mode]


def run(spec: RunSpec, ctx: Context) -> Values:
    """Train and score once, at the last epoch, or time a step (task `cost`).

    Task `train` keeps the network.
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
    earlier = sum(epoch["seconds"] for epoch in before)
    if params["task"] == "recipe":
        correct = (predictions == answers).astype("uint8")
        return Values(values, arrays={"correct": correct}, earlier_seconds=earlier)
    count = sum(p.numel() for p in model.parameters())
    stage = f"{params['stage']}-s{spec.seed}"
    return Values(
        values={**values, "parameters": Value(count, "count", "exact")},
        arrays={"predictions": predictions},
        checkpoint=write_tensors(
            model.state_dict(), ctx.resume / "checkpoint.safetensors"
        ),
        checkpoint_name=f"{params['model']}-{params['dataset']}-fp32-{stage}.safetensors",
        earlier_seconds=earlier,
    )


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """baselines.csv, recipe.csv, recipe_summary.csv and training_cost.csv."""
    return baselines_tables.tables(records, conditions=tuple(CONDITIONS))


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Any]:
    """None: the chapters that use the networks draw them."""
    return iter(())


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """baselines.<model>.<stage>.top1, .epochs and .parameters of seed 0."""
    quoted = {}
    if "baselines.csv" not in tables:
        return quoted
    frame = tables["baselines.csv"]
    for row in frame[frame.seed == 0].itertuples():
        key, runs = f"{NAME}.{row.model}.{row.stage}", (row.run,)
        quoted[f"{key}.top1"] = Number(
            row.top1, "%", 2, row.top1_lo, row.top1_hi, row.n, runs
        )
        quoted[f"{key}.epochs"] = Number(int(row.epochs), "", 0, runs=runs)
        quoted[f"{key}.parameters"] = Number(int(row.parameters), "", 0, runs=runs)
    return quoted
