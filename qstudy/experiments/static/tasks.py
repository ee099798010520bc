"""What the static chapter measures; torch comes inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qstudy.experiments import timing
from qstudy.experiments.evaluation import (
    calibration_batches,
    parent_network,
    scored,
)
from qstudy.experiments.static.grid import HEADLINE
from qstudy.experiments.static.grid_sweeps import APART, SWEEPS
from qstudy.spec import Context, RunSpec, Value, Values


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names."""
    task = spec.params["task"]
    if task == "evaluate":
        return _evaluate(spec, ctx)
    if task == "latency":
        return _latency(spec, ctx)
    if task in (*SWEEPS, *APART):
        return _sweep(spec, ctx)
    known = ("evaluate", "latency", *SWEEPS, *APART)
    raise ValueError(f"task {task!r} is not one of {known}")


def _sweep(spec: RunSpec, ctx: Context) -> Values:
    from qstudy.experiments.static import (
        tasks_kept,
        tasks_layers,
        tasks_models,
        tasks_ranges,
        tasks_transfer,
        tasks_work,
    )
    from qstudy.measure import system

    task = spec.params["task"]
    of_sweeps = (tasks_ranges, tasks_layers, tasks_models)
    for module in (*of_sweeps, tasks_transfer, tasks_kept, tasks_work):
        if hasattr(module, task):
            with system.threads(spec.params["threads"]):
                return getattr(module, task)(spec, ctx)
    raise AssertionError(f"task {task!r} has no function")


def _evaluate(spec: RunSpec, ctx: Context) -> Values:
    from qstudy.measure import size, system
    from qstudy.methods import static

    params = spec.params
    parent = RunSpec.from_dict(params["parent"])
    model = parent_network(spec, ctx)
    images, labels = ctx.images(params["dataset"], "test")
    values = {}
    with system.threads(params["threads"]):
        if params["method"] == "static_int8":
            training, _ = ctx.images(params["dataset"], parent.params["split"])
            config = static.StaticConfig(
                engine=params["engine"],
                weight_granularity=params["granularity"],
                observer=params["calibrator"],
                activation_bits=params["activation_bits"],
            )
            batches = calibration_batches(
                training, count=params["calibration_images"], draw=spec.seed
            )
            model = static.quantize_static(model, batches, config)
            share = static.quantized_share(model)
            values["quantized_layers"] = Value(share.quantized, "count", "exact")
            values["float_layers"] = Value(share.floating, "count", "exact")
            tensors = size.quantized_tensors(model)
        else:
            tensors = size.float_tensors(model)
        # Other kernels round differently near ties; a few images of 10,000 may flip.
        values["top1"], arrays = scored(
            model, images, labels, kind="isa", tolerance=0.3
        )
    values["size_mib"] = Value(size.safetensors_mib(tensors), "MiB", "exact")
    return Values(values=values, arrays=arrays)


def calibration_file(spec: RunSpec, ctx: Context) -> Path:
    """A .npy of 64 uint8 images of what trained the network, for timing workers."""
    parent = RunSpec.from_dict(spec.params["parent"])
    images, _ = ctx.images(spec.params["dataset"], parent.params["split"])
    ctx.resume.mkdir(parents=True, exist_ok=True)
    path = ctx.resume / "calibration.npy"
    np.save(path, images[:64])
    return path


def _latency(spec: RunSpec, ctx: Context) -> Values:
    parent = RunSpec.from_dict(spec.params["parent"])
    result = timing.measure(
        spec,
        ctx,
        factory=timed_forward,
        arguments={
            "model": spec.params["model"],
            "checkpoint": str(ctx.checkpoint(parent)),
            "calibration": str(calibration_file(spec, ctx)),
        },
    )
    return Values(values=timing.values(result, timing.against_baselines(result)))


def timed_forward(
    *, name: str, model: str, checkpoint: str, calibration: str, batch: int
) -> Any:
    """What a timing worker times: one forward pass of candidate `name`.

    `calibration` is a .npy of uint8 images, which also serve as the input. The observer
    is min-max, which calibrates faster and leaves the arithmetic of a forward pass
    alone.
    """
    import torch

    from qstudy.methods import fp32, pt2e, static
    from qstudy.models import zoo
    from qstudy.training.batches import normalise

    network = zoo.build(model).eval()
    zoo.load_checkpoint(network, checkpoint)
    precision, _, how = name.partition(":")
    images = np.load(calibration, allow_pickle=False)
    x = normalise(np.resize(images, (batch, *images.shape[1:])))
    if name == "int8:pt2e":
        forward = pt2e.compiled(pt2e.quantize_pt2e(network, [normalise(images)]))
    elif precision == "int8":
        config = static.StaticConfig(
            engine=how,
            weight_granularity=HEADLINE["granularity"],
            observer="minmax",
            activation_bits=HEADLINE["activation_bits"],
        )
        forward = static.quantize_static(network, [normalise(images)], config)
    else:
        x = x.contiguous() if how == "eager" else x
        forward = fp32.candidate(network, how, precision=precision)

    def call() -> None:
        with torch.inference_mode():
            forward(x)

    return call
