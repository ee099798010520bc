"""What the fusion chapter measures; torch comes inside."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from qstudy.experiments import timing
from qstudy.experiments.fusion.grid import VARIANTS
from qstudy.spec import Context, RunSpec, Value, Values


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names."""
    from qstudy.measure import system

    tasks = {
        "agreement": _agreement,
        "latency": _latency,
        "ranges": _ranges,
        "rounding": _rounding,
    }
    if spec.params["task"] not in tasks:
        raise ValueError(f"task {spec.params['task']!r} is not one of {tuple(tasks)}")
    with system.threads(spec.params["threads"]):
        return tasks[spec.params["task"]](spec, ctx)


def network(model: str, checkpoint: str = "") -> Any:
    """`model` in eval mode: trained where there is a checkpoint, else random weights.

    A random network gets batch statistics from noise, for with its initial ones (mean
    0, variance 1) folding would do nothing and prove nothing.
    """
    import torch

    from qstudy.models import zoo

    built = zoo.build(model)
    if checkpoint:
        zoo.load_checkpoint(built, checkpoint)
    else:
        noise = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for _ in range(2):
                built(torch.randn(8, *zoo.input_shape(model), generator=noise))
    return built.eval()


def _checkpoint(spec: RunSpec, ctx: Context) -> str:
    parent = spec.params.get("parent")
    return str(ctx.checkpoint(RunSpec.from_dict(parent))) if parent else ""


def _agreement(spec: RunSpec, ctx: Context) -> Values:
    import torch

    from qstudy.methods import fusion
    from qstudy.models import zoo

    unfused = network(spec.params["model"], _checkpoint(spec, ctx))
    noise = torch.Generator().manual_seed(1)
    shape = zoo.input_shape(spec.params["model"])
    x = torch.randn(4, *shape, generator=noise, dtype=torch.float64)
    values = {}
    with torch.no_grad():
        for name, dtype in (("float64", torch.float64), ("fp32", torch.float32)):
            model = unfused.to(dtype)
            expected = model(x.to(dtype))
            for prefix, fuse in (("", fusion.fuse), ("torch_", fusion.fuse_torch)):
                difference = (fuse(model)(x.to(dtype)) - expected).abs().max().item()
                # Rounding depends on the kernels; ten times as much is another thing.
                values[f"{prefix}{name}_difference"] = Value(
                    difference, "", "isa", tolerance=10 * difference + 1e-12
                )
            values[f"{name}_largest_logit"] = Value(
                expected.abs().max().item(), "", "isa", tolerance=1e-2
            )
    fused = fusion.fuse_torch(unfused)
    for name, model in (("before", unfused), ("after", fused)):
        leaves = [m for m in model.modules() if not list(m.children())]
        kept = [m for m in leaves if not isinstance(m, torch.nn.Identity)]
        values[f"modules_{name}"] = Value(len(kept), "count", "exact")
        # ConvReLU2d holds two modules and is one operation.
        called = sum(fusion.operations(model).values())
        values[f"operations_{name}"] = Value(called, "count", "exact")
    return Values(values=values)


def _latency(spec: RunSpec, ctx: Context) -> Values:
    result = timing.measure(
        spec,
        ctx,
        factory=timed_forward,
        arguments={
            "model": spec.params["model"],
            "checkpoint": _checkpoint(spec, ctx),
        },
    )
    return Values(values=timing.values(result, [("unfused", *VARIANTS)]))


def timed_forward(*, name: str, model: str, checkpoint: str, batch: int) -> Any:
    """What a timing worker times: one eager fp32 forward pass, fused or not."""
    import torch

    from qstudy.methods import fusion
    from qstudy.models import zoo

    forward = network(model, checkpoint)
    if name == "fused":
        forward = fusion.fuse(forward)
    x = torch.randn(batch, *zoo.input_shape(model))

    def call() -> None:
        with torch.inference_mode():
            forward(x)

    return call


def _ranges(spec: RunSpec, ctx: Context) -> Values:
    from qstudy.numerics import weights

    values = {}
    for layer, unfused, fused in _folded_weights(spec, ctx):
        inputs = Value(unfused.shape[1], "count", "exact")
        values[f"{layer}/inputs"] = inputs  # per output channel: 1 where depthwise
        for when, weight in (("unfused", unfused), ("fused", fused)):
            spread = weights.weight_ranges(weight).spread
            key = f"{layer}/{when}"
            values[f"{key}/spread"] = Value(spread, "", "isa", tolerance=1e-3 * spread)
            for granularity in weights.GRANULARITIES:
                sqnr = weights.weight_sqnr(weight, granularity=granularity)
                values[f"{key}/{granularity}_sqnr"] = Value(
                    sqnr, "dB", "isa", tolerance=0.01
                )
    return Values(values=values)


def _folded_weights(spec: RunSpec, ctx: Context) -> Iterator[tuple[str, Any, Any]]:
    """(layer, its weight before folding, after) of a network that was trained."""
    from safetensors.torch import load_file

    from qstudy.methods import fusion
    from qstudy.models import efficientnet_lite

    pretrained = spec.params.get("pretrained", "")
    if pretrained == "efficientnet_lite0":
        state = load_file(ctx.pretrained(pretrained))
        for conv in efficientnet_lite.convolutions(state):
            folded, _ = fusion.fold_bn(
                conv.weight,
                None,
                mean=conv.mean,
                var=conv.var,
                gamma=conv.gamma,
                beta=conv.beta,
                eps=efficientnet_lite.EPSILON,
            )
            yield conv.name, conv.weight, folded
        return
    if pretrained:
        model = network(pretrained, str(ctx.pretrained(pretrained)))
    else:
        model = network(spec.params["model"], _checkpoint(spec, ctx))
    fused = fusion.fuse(model)
    for pair in fusion.find_pairs(model):
        yield (
            pair.conv,
            model.get_submodule(pair.conv).weight,
            fused.get_submodule(pair.conv).weight,
        )


def _rounding(spec: RunSpec, ctx: Context) -> Values:
    """Top-1 with int8 weights: folded then rounded, or rounded then folded."""
    import torch

    from qstudy.measure import accuracy
    from qstudy.methods import fusion
    from qstudy.numerics import weights
    from qstudy.training.loop import predict

    model = network(spec.params["model"], _checkpoint(spec, ctx))
    images, labels = ctx.images(spec.params["dataset"], "test")
    convolutions = [pair.conv for pair in fusion.find_pairs(model)]
    values, arrays = {}, {}

    def rounded(source: Any, granularity: str) -> Any:
        twin = copy.deepcopy(source)
        with torch.no_grad():
            for path in convolutions:
                weight = twin.get_submodule(path).weight
                weight.copy_(weights.round_weight(weight, granularity=granularity))
        return twin

    variants = {"fp32": fusion.fuse(model)}
    for granularity in weights.GRANULARITIES:
        variants[f"fused/{granularity}"] = rounded(fusion.fuse(model), granularity)
        variants[f"unfused/{granularity}"] = fusion.fuse(rounded(model, granularity))
    with ctx.progress(len(variants), "rounded weights") as step:
        for name, variant in variants.items():
            predictions = accuracy.classes(predict(variant, images))
            arrays[name.replace("/", "_")] = accuracy.correct(predictions, labels)
            top1 = accuracy.top1(predictions, labels)
            values[f"{name}/top1"] = Value(
                top1.value, "%", "isa", top1.low, top1.high, tolerance=0.3
            )
            step(name)
    return Values(values=values, arrays=arrays)
