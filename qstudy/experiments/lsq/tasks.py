"""What the LSQ chapter measures: networks trained, scored, weighed and converted."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.evaluation import (
    calibration_batches,
    parent_network,
    scored,
)
from qstudy.experiments.lsq.tasks_cost import cost, memory
from qstudy.experiments.lsq.tasks_integers import integers
from qstudy.experiments.lsq.tasks_training import ratio, train
from qstudy.experiments.lsq.trained import network_of
from qstudy.spec import Context, RunSpec, Value, Values


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names; ValueError for another."""
    from qstudy.measure import system

    tasks = {
        "train": train,
        "evaluate": _evaluate,
        "integers": integers,
        "ratio": ratio,
        "cost": cost,
        "memory": memory,
    }
    task = spec.params["task"]
    if task not in tasks:
        raise ValueError(f"task {task!r} is not one of {tuple(tasks)}")
    with system.threads(spec.params["threads"]):
        return tasks[task](spec, ctx)


def _evaluate(spec: RunSpec, ctx: Context) -> Values:
    """Top-1, of the `first` test images or of all, and the size of the network's file.

    Of a trained one what was read back is weighed, so that the size is the file's own.
    """
    from qstudy.measure.size import float_tensors, safetensors_mib
    from qstudy.methods.packed import packed_tensors

    params, tensors = spec.params, packed_tensors
    if params["method"] in ("lsq", "qat"):
        parent = RunSpec.from_dict(params["parent"])
        model = network_of(parent, ctx.checkpoint(parent))
    elif params["method"] == "static_int8":
        model = _calibrated(spec, ctx)
    else:
        model, tensors = parent_network(spec, ctx), float_tensors
    images, labels = ctx.images(params["dataset"], params["scored_on"])
    first = params.get("first", len(images))
    top1, arrays = scored(
        model, images[:first], labels[:first], kind="isa", tolerance=0.3
    )
    size = safetensors_mib(tensors(model)) * 1024
    return Values({"top1": top1, "size": Value(size, "KiB", "exact")}, arrays=arrays)


def _calibrated(spec: RunSpec, ctx: Context) -> Any:
    from qstudy.methods import simulate

    params = spec.params
    images, _ = ctx.images(params["dataset"], params["split"])
    asked = params["calibration"]
    config = simulate.SimulateConfig(**params["simulate"])
    made = simulate.simulate(parent_network(spec, ctx), config)
    batches = calibration_batches(images, count=asked["images"], draw=spec.seed)
    simulate.calibrate(made, batches, observer=asked["observer"])
    return made
