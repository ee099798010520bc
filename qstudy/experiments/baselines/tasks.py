"""Train a network and score it once, at the last epoch; torch comes inside."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.baselines.tasks_cost import cost
from qstudy.spec import Context, RunSpec, Value, Values


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
        return cost(spec, ctx)
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
        predictions = accuracy.classes(predict(model, held_out))
    top1 = accuracy.top1(predictions, answers)
    before = log[: len(log) - len(epochs_here)]
    values = {
        "top1": Value(top1.value, "%", "stochastic", top1.low, top1.high),
        "loss": Value(log[-1]["loss"], "nat", "stochastic"),
    }
    # Paired comparisons of trials need which images, those of networks what was said.
    arrays = {"predictions": predictions}
    if params["task"] == "recipe":
        arrays = {"correct": accuracy.correct(predictions, answers).astype("uint8")}
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
