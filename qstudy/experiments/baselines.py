"""Train the fp32 networks that every later chapter starts from.

For now one network stands in: a ResNet-20 trained for 20 epochs on all 50,000 training
images, called interim wherever it appears.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

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
    # Measured slower than the eager step on this network at bf16, channels last.
    "compiled": False,
}


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


def grid(mode: str) -> list[RunSpec]:
    """smoke: ResNet-8 on generated data. full: the interim ResNet-20. quick: none."""
    return {"smoke": [smoke()], "quick": [], "full": [interim()]}[mode]


def run(spec: RunSpec, ctx: Context) -> Values:
    """Train, evaluate once on the test images at the last epoch, keep the network."""
    from qstudy.measure import accuracy, system
    from qstudy.models import zoo
    from qstudy.training.loop import predict, train
    from qstudy.training.recipe import Recipe
    from qstudy.training.resume import write_tensors

    params = spec.params
    recipe = Recipe(**params["recipe"])
    images, labels = ctx.images(params["dataset"], params["split"])
    test_images, test_labels = ctx.images(params["dataset"], "test")
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
        predictions = predict(model, test_images).argmax(1).numpy().astype("uint8")
    top1 = accuracy.top1(predictions, test_labels)
    before = log[: len(log) - len(epochs_here)]
    checkpoint = write_tensors(
        model.state_dict(), ctx.resume / "checkpoint.safetensors"
    )
    stage = f"{params['stage']}-s{spec.seed}"
    return Values(
        values={
            "top1": Value(top1.value, "%", "stochastic", top1.low, top1.high),
            "loss": Value(log[-1]["loss"], "nat", "stochastic"),
            "parameters": Value(
                sum(p.numel() for p in model.parameters()), "count", "exact"
            ),
        },
        arrays={"predictions": predictions},
        checkpoint=checkpoint,
        checkpoint_name=f"{params['model']}-{params['dataset']}-fp32-{stage}.safetensors",
        earlier_seconds=sum(epoch["seconds"] for epoch in before),
    )


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """baselines.csv: one row a trained network."""
    rows = [
        {
            "model": r.spec.params["model"],
            "dataset": r.spec.params["dataset"],
            "stage": r.spec.params["stage"],
            "split": "test",
            "method": "fp32",
            "precision": r.spec.params["recipe"]["precision"],
            "seed": r.spec.seed,
            "n": len(r.arrays["predictions"]),
            "epochs": r.spec.params["recipe"]["epochs"],
            "batch": r.spec.params["recipe"]["batch"],
            "threads": r.spec.params["threads"],
            "parameters": r["parameters"],
            "top1": r["top1"],
            "top1_lo": r.values["top1"].low,
            "top1_hi": r.values["top1"].high,
            "origin": r.origin,
            "run": r.spec.key,
        }
        for r in records
    ]
    frame = pd.DataFrame(rows).sort_values(["model", "seed"], ignore_index=True)
    return {"baselines.csv": frame}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Any]:
    """None: the chapters that use the networks draw them."""
    return iter(())


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """baselines.<model>.<stage>.top1, .epochs and .parameters of seed 0."""
    quoted = {}
    frame = tables["baselines.csv"]
    for row in frame[frame.seed == 0].itertuples():
        key, runs = f"{NAME}.{row.model}.{row.stage}", (row.run,)
        quoted[f"{key}.top1"] = Number(
            row.top1, "%", 2, row.top1_lo, row.top1_hi, row.n, runs
        )
        quoted[f"{key}.epochs"] = Number(int(row.epochs), "", 0, runs=runs)
        quoted[f"{key}.parameters"] = Number(int(row.parameters), "", 0, runs=runs)
    return quoted
