"""Networks trained with learned steps, and what is looked at while they are."""

from __future__ import annotations

import math
from typing import Any

from qstudy.experiments.evaluation import (
    calibration_batches,
    parent_network,
    scored,
)
from qstudy.spec import Context, RunSpec, Value, Values


def train(spec: RunSpec, ctx: Context) -> Values:
    """Train once, score at the last epoch, weigh, and keep what no trial is.

    With `shares`, the learned steps are held against others (see `_errors`).
    """
    from qstudy.measure.size import safetensors_mib
    from qstudy.methods.packed import packed_tensors
    from qstudy.training.resume import write_tensors

    params = spec.params
    images, labels = ctx.images(params["dataset"], params["scored_on"])
    model, log, here = _trained(spec, ctx)
    values = {"loss": Value(log[-1]["loss"], "nat", "stochastic")}
    if "shares" in params:
        values |= _errors(spec, ctx, model)
    kept: dict[str, Any] = {}
    if not params["simulate"]["offset"]:
        # What is read back from it answers to the last bit as the network does.
        tensors = packed_tensors(model)
        values["size"] = Value(safetensors_mib(tensors) * 1024, "KiB", "exact")
        path = write_tensors(tensors, ctx.resume / "checkpoint.safetensors")
        if params["scored_on"] == "test":  # trials keep no network
            kept["checkpoint"] = path
            kept["checkpoint_name"] = (
                f"{params['model']}-{params['dataset']}-lsq-{params['width']}"
                f"-published-s{spec.seed}.safetensors"
            )
    top1, arrays = scored(model, images, labels, kind="stochastic")
    earlier = sum(epoch["seconds"] for epoch in log[: len(log) - here])
    return Values(
        {"top1": top1, **values}, arrays=arrays, earlier_seconds=earlier, **kept
    )


def ratio(spec: RunSpec, ctx: Context) -> Values:
    """R of each layer: how far an update moves its step, over how far its weights.

    R = (|dL/ds| / s) / (||dL/dw|| / ||w||), the mean over all updates of the training
    (Esser et al. 2020, arXiv 1902.08153, section 2.2), for weights and for what the
    layer reads. `alive` is the share of updates in which a layer's weights had a
    gradient at all; the mean is over these, and there is none where they never had.
    """
    ratios, log, _ = _trained(spec, ctx, watch=True)
    values = {"loss": Value(log[-1]["loss"], "nat", "stochastic")}
    for layer, share in ratios.alive().items():
        values[f"alive/{layer}"] = Value(100 * share, "%", "stochastic")
    for name, mean in ratios.means().items():
        if math.isfinite(mean):
            values[f"ratio/{name}"] = Value(mean, "ratio", "stochastic")
    return Values(values)


def _trained(
    spec: RunSpec, ctx: Context, *, watch: bool = False
) -> tuple[Any, list[dict], int]:
    """(the network, or what watched it; the log; epochs that ran in this call)."""
    import torch

    from qstudy.methods import lsq, simulate
    from qstudy.training.recipe import Recipe

    params = spec.params
    images, labels = ctx.images(params["dataset"], params["split"])
    recipe = Recipe(**params["recipe"])
    parent = parent_network(spec, ctx)
    model = simulate.simulate(parent, simulate.LsqConfig(**params["simulate"]))
    batches = calibration_batches(
        images, count=params["start"]["images"], draw=spec.seed
    )
    lsq.start(model, torch.cat(batches))
    ratios = lsq.UpdateRatios(model) if watch else None
    here: list[Any] = []
    told = f"{params['model']} lsq {params['width']} {params.get('condition', '')}"
    with ctx.progress(recipe.epochs, told) as step:
        log = lsq.train(
            model,
            images,
            labels,
            recipe=recipe,
            seed=spec.seed,
            teacher=parent if recipe.distill else None,
            resume=None if watch else ctx.resume,
            report=lambda p: (here.append(p), step(str(p))),
        )
    return (ratios if watch else model), log, len(here)


def _errors(spec: RunSpec, ctx: Context, model: Any) -> dict[str, Value]:
    """share/<tensor>/<measure>: the share of the learned step that errs least.

    Of each weight, and of what each layer reads of the images that its steps started
    from, drawn anew as the training's own.
    """
    import torch

    from qstudy.methods.lsq import rounded_tensors
    from qstudy.numerics.step_errors import best_steps

    shares = spec.params["shares"]
    tried = torch.linspace(
        shares["first"], shares["last"], shares["count"], dtype=torch.float64
    )
    images, _ = ctx.images(spec.params["dataset"], spec.params["split"])
    batch = torch.cat(
        calibration_batches(
            images, count=spec.params["start"]["images"], draw=spec.seed
        )
    )
    made = {}
    for quantizer, tensor in rounded_tensors(model, batch):
        codes, step = quantizer.config.codes, quantizer.scale().detach()
        if step.dim():
            raise ValueError("shares of a step are tried for one step a tensor")
        found = best_steps(tensor, float(step), codes=codes, shares=tried)
        for measure, share in found.items():
            key = f"share/{quantizer.name}/{measure}"
            made[key] = Value(share, "ratio", "stochastic")
    return made
