"""The QAT chapter's runs beside its core: what matters in the recipe, the hard network.

The ablation and PyTorch's own trainings start from ResNet-8's dev network and are
scored on the images held out.
"""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.evaluation import child_spec
from qstudy.experiments.qat.grid import (
    NAME,
    VERSION,
    finetune_spec,
    fp32_spec,
    ptq_spec,
    qat_spec,
)
from qstudy.experiments.qat.recipe import (
    ABLATION,
    ABLATION_EPOCHS,
    ABLATION_SEEDS,
    CHOSEN,
    FINE_TUNING,
    FOLDED,
    HARD_EPOCHS,
    SCHEDULE,
    W8A8,
    WIDTHS,
)
from qstudy.spec import RunSpec


def reference_spec(parent: RunSpec, route: str, *, seed: int, **recipe: Any) -> RunSpec:
    """PyTorch's own QAT at 8 bits: ablation "bits 8" in data, length and rates.

    The eager route's fake-quantizers take float32 only; neither is compiled.
    """
    how = {"precision": {"eager": "fp32", "pt2e": "bf16"}[route], "compiled": False}
    base = {**FINE_TUNING, **CHOSEN["w4a4"], "epochs": ABLATION_EPOCHS}
    return child_spec(
        parent,
        "reference",
        name=NAME,
        version=VERSION,
        seed=seed,
        method=f"torch_{route}",
        schedule=SCHEDULE,
        recipe={**base, **how, **recipe},
        **W8A8,
    )


def ablated(condition: str) -> list[RunSpec]:
    """The trainings of one condition, a seed each."""
    changed = ABLATION[condition]
    return [
        qat_spec(
            baselines.dev("resnet8"),
            "w4a4",
            seed=seed,
            simulate=changed.get("simulate"),
            recipe={"epochs": ABLATION_EPOCHS, **changed.get("recipe", {})},
        )
        for seed in ABLATION_SEEDS
    ]


def ablation() -> list[RunSpec]:
    """ResNet-8, one thing changed at a time, and the same without rounding."""
    dev = baselines.dev("resnet8")
    short = {"epochs": ABLATION_EPOCHS}
    tuned = [finetune_spec(dev, "w4a4", seed=s, recipe=short) for s in ABLATION_SEEDS]
    return tuned + [spec for name in ABLATION for spec in ablated(name)]


def references() -> list[RunSpec]:
    """PyTorch's own two trainings of ResNet-8, one seed."""
    dev = baselines.dev("resnet8")
    return [
        reference_spec(dev, route, seed=ABLATION_SEEDS[0])
        for route in ("eager", "pt2e")
    ]


def live() -> RunSpec:
    """The short training that a quick run repeats: an ablation, one epoch, seed 0."""
    return ablated("epochs 1")[0]


def hard() -> list[RunSpec]:
    """MobileNetV2: does one scale per tensor fail, do more of them cure it, does QAT?

    Calibrated and trained with rounding by width and granularity; the same fine-tuning
    without rounding, calibrated, as the control.
    """
    parent = baselines.published(DEPTHWISE)
    runs = [fp32_spec(parent)]
    for width in WIDTHS:
        short = {"recipe": {"epochs": HARD_EPOCHS[width]}}
        tuned = finetune_spec(parent, width, **short)
        runs.append(tuned)
        for granularity in ("per_tensor", "per_channel"):
            how = {**FOLDED, "granularity": granularity}
            runs += [
                ptq_spec(parent, width, simulate=how),
                ptq_spec(tuned, width, simulate=how),
                qat_spec(parent, width, simulate=how, **short),
            ]
    return runs
