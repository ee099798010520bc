"""The runs of the static chapter, and the configuration that it quotes."""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.static import (
    grid_depthwise,
    grid_kept,
    grid_sweeps,
    grid_transfer,
    grid_work,
)
from qstudy.experiments.static.grid_sweeps import ENGINES, NAME, VERSION
from qstudy.spec import RunSpec

TRAINED = None  # it keeps no networks
PARAMETERS: dict[str, Any] = {"calibration_images": 512, "imagenet": ""}
# The configuration that prose and front page quote, fixed before it was measured.
HEADLINE = {
    "engine": "x86",
    "granularity": "per_channel",
    "calibrator": "histogram",
    "activation_bits": 8,
}
FP32_CANDIDATES = (
    "fp32:eager",
    "fp32:channels_last",
    "fp32:channels_last_fused",
    "fp32:compiled",
)
BF16_CANDIDATES = ("bf16:eager", "bf16:channels_last_fused", "bf16:compiled")
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
    """quick: fp32 and three int8 networks once, one timing, the sweeps of seconds.

    full: the whole map, and every sweep.
    """
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
        *grid_sweeps.quick(),
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
    for seed in baselines.SEEDS:
        other = baselines.published(seed=seed)
        specs.setdefault(evaluate_spec(other))
        specs.setdefault(evaluate_spec(other, **HEADLINE))
    for threads in (1, 2):
        for batch in (1, 64):
            specs.setdefault(latency_spec(parent, batch=batch, threads=threads))
    specs |= dict.fromkeys([*grid_sweeps.second(), grid_transfer.transfer()])
    specs |= dict.fromkeys([*grid_kept.specs(), *grid_work.specs()])
    specs |= dict.fromkeys(grid_depthwise.specs())
    specs.setdefault(grid_transfer.equalized())
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
        *grid_sweeps.smoke(),
        grid_transfer.smoke(),
        grid_transfer.equalized_smoke(),
        *grid_kept.smoke(),
        grid_work.smoke(),
    ]
