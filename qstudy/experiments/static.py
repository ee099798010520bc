"""Static (post-training) quantization of ResNet-20: accuracy, size, latency.

Two tasks. `evaluate`: quantize one network in one way with one draw of calibration
images and predict the whole test set. `latency`: time fp32, bf16 and int8 candidates of
the same network in interleaved rounds. fp32 itself is one of the methods evaluated, so
that every drop is a paired comparison on the same images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qstudy.experiments import baselines, timing
from qstudy.experiments.static_figures import figures
from qstudy.experiments.static_tables import HEADLINE, NAME, numbers, tables
from qstudy.spec import Context, RunSpec, Value, Values

__all__ = [
    "NAME",
    "PARAMETERS",
    "VERSION",
    "figures",
    "grid",
    "numbers",
    "run",
    "tables",
]

VERSION = 1
PARAMETERS: dict[str, Any] = {"calibration_images": 512}

FP32_CANDIDATES = (
    "fp32:eager",
    "fp32:channels_last",
    "fp32:channels_last_fused",
    "fp32:compiled",
)
BF16_CANDIDATES = ("bf16:eager", "bf16:channels_last_fused", "bf16:compiled")
ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
INT8_CANDIDATES = (*(f"int8:{engine}" for engine in ENGINES), "int8:pt2e")


def evaluate_spec(parent: RunSpec, *, draw: int = 0, **how: Any) -> RunSpec:
    """Evaluate `parent`'s network on the test set: fp32, or int8 as `how` says."""
    common = {
        "task": "evaluate",
        "model": parent.params["model"],
        "dataset": parent.params["dataset"],
        "parent": parent.as_dict(),
        "threads": 2,
    }
    if how:
        images = 64 if parent.params["dataset"] == "synthetic" else 512
        common |= {"method": "static_int8", "calibration_images": images, **how}
    else:
        common |= {"method": "fp32"}
    return RunSpec(experiment=NAME, version=VERSION, params=common, seed=draw)


def latency_spec(parent: RunSpec, *, batch: int, threads: int) -> RunSpec:
    """Time every candidate at one batch and thread count."""
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={
            "task": "latency",
            "model": parent.params["model"],
            "dataset": parent.params["dataset"],
            "parent": parent.as_dict(),
            "batch": batch,
            "threads": threads,
            "candidates": [*FP32_CANDIDATES, *BF16_CANDIDATES, *INT8_CANDIDATES],
            "processes": 5,
            "rounds": 50,
            "seconds": 2.0 if batch == 1 else 15.0,
            "warmup_seconds": 0.7 if batch == 1 else 3.0,
        },
    )


def grid(mode: str) -> list[RunSpec]:
    """quick: fp32 and three int8 networks once, one timing. full: the whole map."""
    if mode == "smoke":
        return _smoke()
    parent = baselines.published()
    quick = [
        evaluate_spec(parent),
        evaluate_spec(parent, **HEADLINE),
        evaluate_spec(parent, **{**HEADLINE, "activation_bits": 7}),
        evaluate_spec(
            parent,
            **{**HEADLINE, "granularity": "per_tensor", "calibrator": "minmax"},
        ),
        latency_spec(parent, batch=1, threads=2),
    ]
    if mode == "quick":
        return quick
    specs = dict.fromkeys(quick)
    for granularity in ("per_tensor", "per_channel"):
        for calibrator in ("minmax", "histogram"):
            for bits in (7, 8):
                for draw in range(3):
                    how = {
                        "engine": HEADLINE["engine"],
                        "granularity": granularity,
                        "calibrator": calibrator,
                        "activation_bits": bits,
                    }
                    specs.setdefault(evaluate_spec(parent, draw=draw, **how))
    for engine in ENGINES:
        for bits in (7, 8):
            how = {**HEADLINE, "engine": engine, "activation_bits": bits}
            specs.setdefault(evaluate_spec(parent, **how))
    for seed in baselines.NETWORKS["published"]["resnet20"]:
        other = baselines.published(seed=seed)
        specs.setdefault(evaluate_spec(other))
        specs.setdefault(evaluate_spec(other, **HEADLINE))
    for threads in (1, 2):
        for batch in (1, 64):
            specs.setdefault(latency_spec(parent, batch=batch, threads=threads))
    return list(specs)


def _smoke() -> list[RunSpec]:
    parent = baselines.smoke()
    timing = latency_spec(parent, batch=1, threads=1)
    quick = {"candidates": ["fp32:eager", "bf16:eager", "int8:x86"]}
    quick |= {"processes": 2, "rounds": 3, "seconds": 0.5, "warmup_seconds": 0.2}
    return [
        evaluate_spec(parent),
        evaluate_spec(parent, **HEADLINE),
        evaluate_spec(parent, **{**HEADLINE, "calibrator": "minmax"}),
        RunSpec(
            experiment=NAME, version=VERSION, params={**timing.params, **quick}, seed=0
        ),
    ]


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names."""
    task = spec.params["task"]
    if task == "evaluate":
        return _evaluate(spec, ctx)
    if task == "latency":
        return _latency(spec, ctx)
    raise ValueError(f"task {task!r} is not one of ('evaluate', 'latency')")


def calibration_batches(images: np.ndarray, *, count: int, draw: int) -> list:
    """`count` training images drawn without replacement, in batches of 64."""
    from qstudy.training.batches import normalise

    if not 1 <= count <= len(images):
        raise ValueError(f"calibration_images {count} is outside 1 to {len(images)}")
    chosen = np.random.default_rng((draw, 2022)).choice(
        len(images), size=count, replace=False
    )
    return [
        normalise(images[chosen[start : start + 64]]) for start in range(0, count, 64)
    ]


def _evaluate(spec: RunSpec, ctx: Context) -> Values:
    from qstudy.measure import accuracy, size, system
    from qstudy.methods import static
    from qstudy.models import zoo
    from qstudy.training.loop import predict

    params = spec.params
    parent = RunSpec.from_dict(params["parent"])
    model = zoo.build(params["model"])
    zoo.load_checkpoint(model, ctx.checkpoint(parent))
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
        predictions = predict(model, images).argmax(1).numpy().astype(np.uint8)
    top1 = accuracy.top1(predictions, labels)
    # Other kernels round differently near ties; a few images of 10,000 may flip.
    values["top1"] = Value(top1.value, "%", "isa", top1.low, top1.high, tolerance=0.3)
    values["size_mib"] = Value(size.safetensors_mib(tensors), "MiB", "exact")
    correct = (predictions == labels).astype(np.uint8)
    return Values(
        values=values, arrays={"predictions": predictions, "correct": correct}
    )


def _latency(spec: RunSpec, ctx: Context) -> Values:
    parent = RunSpec.from_dict(spec.params["parent"])
    images, _ = ctx.images(spec.params["dataset"], parent.params["split"])
    ctx.resume.mkdir(parents=True, exist_ok=True)
    calibration = ctx.resume / "calibration.npy"
    np.save(calibration, images[:64])
    result = timing.measure(
        spec,
        ctx,
        factory=timed_forward,
        arguments={
            "model": spec.params["model"],
            "checkpoint": str(ctx.checkpoint(parent)),
            "calibration": str(calibration),
        },
    )
    pairs = [
        (name, baseline, candidate)
        for name, baseline in timing.baselines(result).items()
        for candidate in result.medians
    ]
    return Values(values=timing.values(result, pairs))


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
