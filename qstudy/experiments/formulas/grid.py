"""The runs of the formulas chapter."""

from __future__ import annotations

import hashlib
from typing import Any

from qstudy.experiments import baselines
from qstudy.spec import RunSpec

NAME = "formulas"
VERSION = 1
TRAINED = None  # it keeps no networks
PARAMETERS: dict[str, Any] = {"images": 500}
ENGINES = ("fbgemm", "x86", "onednn", "qnnpack", "onnxruntime")
# Of a package that is no dependency here (engines.tflite): in full mode alone.
OPTIONAL_ENGINES = ("tflite",)
CALIBRATORS = ("max", "moving_average", "percentile", "entropy", "mse")
BITS = (2, 3, 4, 5, 6, 7, 8)
# Of the three stages one layer each, near the input, in the middle, near the output.
LAYERS = ("conv1", "stage2.0.conv2", "stage3.2.conv2")
# FBGEMM is the engine whose rule is known to the last bit for all of ResNet-20.
EXECUTOR_ENGINES = ("fbgemm", "qnnpack", "x86", "onednn")


def _spec(task: str, **params: Any) -> RunSpec:
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={"task": task, "threads": 2, **params},
    )


def executor_spec(
    parent: RunSpec, *, engine: str, images: int, activation_bits: int = 8
) -> RunSpec:
    """Run `images` test images through `parent`'s network, quantized for `engine`."""
    return _spec(
        "executor",
        model=parent.params["model"],
        dataset=parent.params["dataset"],
        parent=parent.as_dict(),
        engine=engine,
        images=images,
        activation_bits=activation_bits,
        calibration_images=64 if parent.params["dataset"] == "synthetic" else 512,
    )


def errors_spec(parent: RunSpec, *, bits: tuple[int, ...] = BITS) -> RunSpec:
    """Quantize synthetic data, weights and activations in every way."""
    return _spec(
        "errors",
        model=parent.params["model"],
        dataset=parent.params["dataset"],
        parent=parent.as_dict(),
        bits=list(bits),
        layers=list(LAYERS if parent.params["model"] == "resnet20" else ["conv1"]),
        values=65_536,
        activation_images=16,
    )


def conformance_spec() -> RunSpec:
    """Every vector of the published file, named by its SHA-256."""
    from qstudy.methods.conformance import VECTORS

    return _spec(
        "conformance", vectors=hashlib.sha256(VECTORS.read_bytes()).hexdigest()
    )


def cost_spec(*, values: int, seconds: float) -> RunSpec:
    """Time one batch of `values` activations through each calibrator."""
    return _spec(
        "calibrator_cost",
        model="activations",
        values=values,
        batch=1,
        candidates=["observer:histogram", *(f"calibrator:{c}" for c in CALIBRATORS)],
        # One process in several is half as fast: nine keep it from the interval.
        processes=9 if seconds > 0.1 else 2,
        rounds=40 if seconds > 0.1 else 3,
        seconds=seconds,
        warmup_seconds=seconds / 4,
    )


def grid(mode: str) -> list[RunSpec]:
    """quick: all but the whole test set and optional engines. full: those too."""
    if mode == "smoke":
        parent = baselines.smoke()
        return [
            _spec("conventions"),
            _spec("operators", engine="fbgemm", cases=1),
            _spec("overflow"),
            executor_spec(parent, engine="fbgemm", images=32),
            executor_spec(parent, engine="fbgemm", images=32, activation_bits=7),
            errors_spec(parent, bits=(4, 8)),
            cost_spec(values=4096, seconds=0.05),
            conformance_spec(),
        ]
    parent = baselines.published()
    quick = [
        _spec("conventions"),
        *(_spec("operators", engine=engine, cases=4) for engine in ENGINES),
        _spec("overflow"),
        executor_spec(parent, engine="fbgemm", images=500),
        errors_spec(parent),
        cost_spec(values=1_048_576, seconds=0.3),
        conformance_spec(),
    ]
    if mode == "quick":
        return quick
    whole = [
        executor_spec(parent, engine=engine, images=10_000)
        for engine in EXECUTOR_ENGINES
    ]
    reduced = executor_spec(parent, engine="fbgemm", images=10_000, activation_bits=7)
    others = [_spec("operators", engine=e, cases=4) for e in OPTIONAL_ENGINES]
    return [*quick, *whole, reduced, *others]
