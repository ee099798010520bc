"""The runs of the baselines: networks, trials of their recipe, a step timed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qstudy.experiments.baselines.recipe import (
    CHOSEN,
    CONDITIONS,
    DEPTHWISE,
    EPOCHS,
    LENGTHS,
    NETWORKS,
    PLAIN,
    TRIALS,
)
from qstudy.spec import RunSpec

NAME = "baselines"
VERSION = 1
PARAMETERS: dict[str, Any] = {}
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


def recipe_trial(
    condition: str,
    *,
    seed: int,
    model: str = "resnet8",
    epochs: int = 20,
    threads: int = 1,
    stage: str = "",
) -> RunSpec:
    """`model` on train45k with one ingredient changed, scored on validation.

    With a `stage` its network is kept under that name.
    """
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
            **({"stage": stage} if stage else {}),
            "threads": threads,
            "recipe": {**PLAIN, "epochs": epochs, **CONDITIONS[condition]},
        },
    )


def dev(model: str, *, seed: int = 0) -> RunSpec:
    """`model` by the chosen recipe on train45k: where every further choice starts."""
    return recipe_trial(CHOSEN, seed=seed, model=model, epochs=EPOCHS, stage="dev")


def published(model: str = "resnet20", *, seed: int = 0) -> RunSpec:
    """`model` by the chosen recipe on all training images, scored on the test set."""
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=seed,
        params={
            "task": "train",
            "model": model,
            "dataset": "cifar10",
            "split": "train",
            "stage": "published",
            "threads": 1,
            "recipe": {
                **PLAIN,
                "epochs": LENGTHS.get(model, EPOCHS),
                **CONDITIONS[CHOSEN],
            },
        },
    )


def cost_spec(model: str, *, threads: int, **quicker: Any) -> RunSpec:
    """Time a training step of `model` in each precision and layout, batch 128."""
    params = {
        "task": "cost",
        "model": model,
        "candidates": list(CANDIDATES),
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


def smoke(seed: int = 0, *, model: str = "resnet8") -> RunSpec:
    """A small network on generated images: the same code path in seconds."""
    recipe = {**PLAIN, "epochs": 2, "batch": 64, "precision": "fp32"}
    spec = published(model, seed=seed)
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
    few = [BASELINE, STUDY]
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
        "smoke": [smoke(), smoke(model=DEPTHWISE), recipe_smoke(), cost_smoke()],
        "quick": [],
        "full": [*trials, *networks, *costs],
    }[mode]
