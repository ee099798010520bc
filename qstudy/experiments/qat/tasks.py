"""What the QAT chapter measures: networks fine-tuned, with rounding or without it.

What a trained network loses on its way to integers is tasks_gap, what a step costs
tasks_cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qstudy.experiments.evaluation import (
    calibration_batches,
    parent_network,
    scored,
)
from qstudy.experiments.qat.tasks_cost import cost
from qstudy.experiments.qat.tasks_gap import gap
from qstudy.experiments.qat.tasks_graphs import graph
from qstudy.spec import Context, RunSpec, Value, Values


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names; ValueError for another."""
    from qstudy.measure import system

    tasks = {
        "train": _train,
        "ptq": _calibrated,
        "fp32": _original,
        "reference": _reference,
        "gap": gap,
        "cost": cost,
        "graph": graph,
    }
    task = spec.params["task"]
    if task not in tasks:
        raise ValueError(f"task {task!r} is not one of {tuple(tasks)}")
    with system.threads(spec.params["threads"]):
        return tasks[task](spec, ctx)


def _simulated(spec: RunSpec, ctx: Context, model: Any) -> Any:
    """`model` with fake-quantizers, calibrated on training images."""
    from qstudy.methods import simulate

    params = spec.params
    images, _ = ctx.images(params["dataset"], params["split"])
    calibration = params["calibration"]
    simulated = simulate.simulate(model, simulate.SimulateConfig(**params["simulate"]))
    simulate.calibrate(
        simulated,
        calibration_batches(images, count=calibration["images"], draw=spec.seed),
        observer=calibration["observer"],
    )
    return simulated


def _train(spec: RunSpec, ctx: Context) -> Values:
    """Fine-tune once and score at the last epoch."""
    from qstudy.methods import qat
    from qstudy.training.loop import train
    from qstudy.training.recipe import Recipe
    from qstudy.training.resume import write_tensors

    params = spec.params
    images, labels = ctx.images(params["dataset"], params["split"])
    recipe = Recipe(**params["recipe"])
    model = parent_network(spec, ctx)
    if params["method"] == "qat":
        model = _simulated(spec, ctx, model)
    epochs_here: list[Any] = []
    told = f"{params['model']} {params['method']} {params.get('width', '')}"
    with ctx.progress(recipe.epochs, told) as step:
        common = {
            "recipe": recipe,
            "seed": spec.seed,
            "resume": ctx.resume,
            "report": lambda p: (epochs_here.append(p), step(str(p))),
        }
        if params["method"] == "qat":
            schedule = qat.Schedule(**params["schedule"])
            log = qat.train(model, images, labels, schedule=schedule, **common)
        else:
            log = train(model, images, labels, **common)
    outcome = _scored(spec, ctx, model)
    values = {**outcome.values, "loss": Value(log[-1]["loss"], "nat", "stochastic")}
    kept: dict[str, Any] = {}
    if params["scored_on"] == "test":  # trials keep no network
        kept["checkpoint"] = write_tensors(
            model.state_dict(), ctx.resume / "checkpoint.safetensors"
        )
        kept["checkpoint_name"] = checkpoint_name(spec)
    before = log[: len(log) - len(epochs_here)]
    earlier = sum(epoch["seconds"] for epoch in before)
    return replace(outcome, values=values, earlier_seconds=earlier, **kept)


def checkpoint_name(spec: RunSpec) -> str:
    """The file of a trained network.

    A control has no bits, and one for each width: its epochs tell them apart. Of
    weights with one scale per tensor it is said.
    """
    params = spec.params
    told = params.get("width") or f"{params['recipe']['epochs']}epochs"
    if params.get("simulate", {}).get("granularity") == "per_tensor":
        told += "-per_tensor"
    return (
        f"{params['model']}-{params['dataset']}-{params['method']}-{told}"
        f"-published-s{spec.seed}.safetensors"
    )


def _calibrated(spec: RunSpec, ctx: Context) -> Values:
    """Post-training quantization in the simulated form, nothing trained."""
    return _scored(spec, ctx, _simulated(spec, ctx, parent_network(spec, ctx)))


def _original(spec: RunSpec, ctx: Context) -> Values:
    """The network that others start from, as it is."""
    return _scored(spec, ctx, parent_network(spec, ctx))


def _reference(spec: RunSpec, ctx: Context) -> Values:
    """PyTorch's own QAT by the one loop; ranges rest as the schedule says.

    On the eager route what it converts to is scored too.
    """
    import torch

    from qstudy.methods import torch_qat
    from qstudy.training.batches import normalise
    from qstudy.training.loop import train
    from qstudy.training.recipe import Recipe

    params = spec.params
    images, labels = ctx.images(params["dataset"], params["split"])
    recipe = Recipe(**params["recipe"])
    route = params["method"].removeprefix("torch_")
    example = normalise(images[:2])
    trainable = torch_qat.prepare(parent_network(spec, ctx), example, route=route)
    with torch.no_grad():
        trainable(normalise(images[:64]))  # ranges of the first step are not empty
    resting: list[int] = []

    def rest(step: int, steps: int) -> None:
        if step >= params["schedule"]["observe"] * steps and not resting:
            torch_qat.freeze_ranges(trainable)
            resting.append(step)

    with ctx.progress(recipe.epochs, f"{params['model']} {params['method']}") as step:
        log = train(
            trainable,
            images,
            labels,
            recipe=recipe,
            seed=spec.seed,
            resume=ctx.resume,
            report=lambda progress: step(str(progress)),
            before_step=rest,
        )
    torch_qat.freeze_ranges(trainable)
    outcome = _scored(spec, ctx, trainable)
    values = {**outcome.values, "loss": Value(log[-1]["loss"], "nat", "stochastic")}
    if route == "eager":
        converted = _scored(spec, ctx, torch_qat.convert(trainable))
        values["top1_int8"] = converted.values["top1"]
    return replace(outcome, values=values)


def _scored(spec: RunSpec, ctx: Context, model: Any) -> Values:
    """Top-1 on the split that `spec` names, with what was said of each image."""
    params = spec.params
    images, labels = ctx.images(params["dataset"], params["scored_on"])
    first = params.get("first", len(images))
    images, labels = images[:first], labels[:first]
    trained = params["task"] in ("train", "reference")
    top1, arrays = scored(
        model,
        images,
        labels,
        kind="stochastic" if trained else "isa",
        tolerance=None if trained else 0.3,
    )
    return Values({"top1": top1}, arrays=arrays)
