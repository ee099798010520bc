"""What the speed chapter measures; torch comes inside."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from qstudy.experiments import timing
from qstudy.experiments.speed.grid import NAME
from qstudy.measure import conditions, latency
from qstudy.measure.latency import LatencyResult
from qstudy.spec import Context, RunSpec, Value, Values

TASKS = ("route", "zoo", "tried", "roofline", "crossover")
PARTS = ("kernels", "rounding", "other", "framework")


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names; ValueError for another.

    What others use of the machine beforehand is kept, and told where it is too much.
    """
    task = spec.params["task"]
    if task not in TASKS:
        raise ValueError(f"task {task!r} of {NAME} is not one of {TASKS}")
    conditions.check_threads(spec.params["threads"])
    load = conditions.other_load()
    if note := conditions.busy_note(load):
        print(note, file=sys.stderr)
    done = {
        "route": _route,
        "zoo": _route,
        "tried": _tried,
        "roofline": _roofline,
        "crossover": _crossover,
    }[task](spec, ctx)
    return Values(values={"load": Value(load, "%", "timing"), **done})


def network(spec: RunSpec, ctx: Context, model: str) -> Any:
    """`model` in eval mode: its parent's checkpoint, else weights from a seed."""
    from qstudy.experiments.evaluation import parent_network
    from qstudy.models import imagenet, served, zoo

    if "parent" in spec.params:
        return parent_network(spec, ctx)
    if model in served.NAMES:
        return getattr(served, model)()
    if model in imagenet.NAMES:
        return imagenet.build(model)
    return zoo.build(model).eval()


def shape_of(model: str) -> tuple[int, ...]:
    """(channels, height, width) of one image of `model`, or (tokens,) of one text."""
    from qstudy.models import imagenet, served, zoo

    if model in served.NAMES:
        return (served.LENGTH,)
    known = imagenet if model in imagenet.NAMES else zoo
    return known.input_shape(model)


def _handed(spec: RunSpec, ctx: Context, folder: str) -> dict[str, Any]:
    """The network of `spec` as timed.timed_forward takes it, written into `folder`."""
    from pathlib import Path

    from qstudy.methods.routes import handover
    from qstudy.models import served

    model = spec.params["model"]
    of_text = model in served.NAMES
    # By its function, for an LSTM holds more than is data.
    place = f"{served.__name__}:{model}" if of_text else ""
    made = network(spec, ctx, model)
    return {
        "network": handover.hand_over(made, Path(folder), place=place),
        "shape": shape_of(model),
        "folder": folder,
        **({"vocabulary": served.vocabulary(model)} if of_text else {}),
    }


def _route(spec: RunSpec, ctx: Context) -> dict[str, Value]:
    """Times of every route that takes the network, and what ran in each."""
    import tempfile
    import warnings
    from pathlib import Path

    from qstudy.measure import system
    from qstudy.methods.routes import examine, timed

    params = spec.params
    with tempfile.TemporaryDirectory() as folder, system.threads(params["threads"]):
        handed = _handed(spec, ctx, folder)
        source = timed.source(
            handed["network"],
            shape=(params["batch"], *handed["shape"]),
            folder=Path(folder),
            vocabulary=handed.get("vocabulary", 0),
        )
        names = params["candidates"]
        with (
            ctx.progress(len(names), f"examining {params['model']}") as step,
            warnings.catch_warnings(),
        ):
            # What engines remark about a network is none of its results.
            warnings.simplefilter("ignore")
            found = examine.examine(source, names, step=step)
        taken = [name for name in names if not found[name].refused]
        result = timing.measure(
            replace(spec, params={**params, "candidates": taken}),
            ctx,
            factory=timed.timed_forward,
            arguments=handed,
        )
    values = timing.values(result, pairs(result))
    for name, examined in found.items():
        values |= {f"{key}/{name}": v for key, v in _examined(examined).items()}
    return values


def _tried(spec: RunSpec, ctx: Context) -> dict[str, Value]:
    """Times of routes as they are and changed, each against itself unchanged."""
    import tempfile

    from qstudy.measure import system
    from qstudy.methods.routes import changes, timed

    params = spec.params
    names = params["candidates"]
    with tempfile.TemporaryDirectory() as folder, system.threads(params["threads"]):
        result = timing.measure(
            spec,
            ctx,
            factory=timed.timed_forward,
            arguments=_handed(spec, ctx, folder),
            environments={n: made for n in names if (made := changes.environment(n))},
        )
    routes = {name: changes.parts(name)[0] for name in names}
    changed = [(name, route) for name, route in routes.items() if name != route]
    return timing.values(result, [("unchanged", r, n) for n, r in changed])


def _examined(examined: Any) -> dict[str, Value]:
    """What a record keeps of a route beside its times."""
    if examined.refused:
        return {"refused": Value(examined.refused, "text", "exact")}
    kernels = examined.kernels
    values = {
        "size": Value(examined.size_mib, "MiB", "isa", tolerance=0.1),
        "agreement": Value(100 * examined.agreement, "%", "isa", tolerance=20.0),
        # Which kernels an engine takes depends on the processor's instructions.
        **{
            f"kernels_{kind}": Value(kernels.total(kind), "count", "isa", tolerance=99)
            for kind in ("int8", "float", "rounding")
        },
    }
    for name, count in kernels.counts.items():
        told = name.replace("/", "_")
        values[f"kernel {told}"] = Value(count, "count", "isa", tolerance=99)
    if examined.sqnr is not None:
        values["sqnr"] = Value(examined.sqnr, "dB", "isa", tolerance=6.0)
    if examined.spent is not None:
        for part, share in examined.spent.shares.items():
            values[f"spent_{part}"] = Value(100 * share, "%", "timing")
    return values


def pairs(result: LatencyResult) -> Any:
    """As timing.against_baselines, and against the best within each engine.

    "torch_fp32" is the fastest fp32 that PyTorch has, "x86_int8" its int8 called
    module by module, "ort_int8" and "openvino_int8" the fastest int8 of the other two.
    """
    whole = timing.against_baselines(result)
    names = list(result.medians)
    own = [n for n in names if n.startswith("fp32:") and n[5:] not in _OTHERS]
    groups = {
        "torch_fp32": own,
        "x86_int8": [n for n in names if n == "int8:x86"],
        "ort_int8": [n for n in names if n.startswith("int8:ort_")],
        "openvino_int8": [n for n in names if n == "int8:openvino"],
    }

    def of(batch: int) -> list[tuple[str, str, str]]:
        found = list(whole(batch))
        for name, members in groups.items():
            if members:
                baseline = latency.fastest(result, members, batch=batch)
                found += [(name, baseline, candidate) for candidate in names]
        return found

    return of


_OTHERS = ("onnxruntime", "openvino")


def _roofline(spec: RunSpec, ctx: Context) -> dict[str, Value]:
    """Peaks of the processor, and the work of each layer."""
    import torch

    from qstudy.measure import peaks, work

    params = spec.params
    with ctx.progress(1 + len(params["models"]), "peaks of this processor") as step:
        found = peaks.measure(threads=params["threads"], seconds=params["seconds"])
        step("peaks")
        values = {
            **{
                f"peak/{name}": Value(rate, "Gop/s", "timing")
                for name, rate in found.operations.items()
            },
            **{
                f"bandwidth/{level}": Value(rate, "GB/s", "timing")
                for level, rate in found.bandwidth.items()
            },
        }
        for model in params["models"]:
            built = network(replace(spec, params={"model": model}), ctx, model)
            example = torch.zeros(1, *shape_of(model))
            for number, layer in enumerate(work.layer_work(built, example)):
                key = f"layer/{model}/{number:03}"
                values[f"{key}/name"] = Value(layer.name, "text", "exact")
                values[f"{key}/kind"] = Value(layer.kind, "text", "exact")
                for field in ("macs", "input", "weight", "output"):
                    count = getattr(layer, field)
                    values[f"{key}/{field}"] = Value(count, "count", "exact")
            step(model)
    return values


def _crossover(spec: RunSpec, ctx: Context) -> dict[str, Value]:
    """Times of one operator over its shapes, and int8 against the better fp32."""
    from qstudy.methods.routes import operators

    params = spec.params
    names = operators.names(params["operator"], params["shapes"], params["engines"])
    result = timing.measure(
        replace(spec, params={**params, "candidates": names}),
        ctx,
        factory=operators.timed_operator,
        arguments={},
    )

    def best_of(batch: int) -> list[tuple[str, str, str]]:
        made = []
        for name in names:
            layer, _, form = name.partition(".")
            if form.startswith("int8:"):
                floats = [f"{layer}.fp32:{how}" for how in operators.FLOATS]
                best = latency.fastest(result, floats, batch=batch)
                made.append(("best_fp32", best, name))
        return made

    return timing.values(result, best_of)
