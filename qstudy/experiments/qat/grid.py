"""The runs of the QAT chapter: trials of the recipe, then each published seed.

`method` is "qat" (trained with rounding), "finetune" (the same fine-tuning without
it, the control) or "static_int8" (calibrated alone, in the same simulated form).
"""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.qat.recipe import (
    ABLATION,
    ABLATION_EPOCHS,
    ABLATION_SEEDS,
    CALIBRATION,
    CALIBRATORS,
    CHOSEN,
    FINE_TUNING,
    SCHEDULE,
    SIMULATION,
    WIDTHS,
)
from qstudy.spec import RunSpec

NAME = "qat"
VERSION = 1
PARAMETERS: dict[str, Any] = {}

_SIMULATED = {
    **{"averaging_constant": 0.01, "first_last_bits": 8, "skip_bits": 8},
    **SIMULATION,
}


def _spec(
    parent: RunSpec, task: str, *, seed: int | None = None, **params: Any
) -> RunSpec:
    about = parent.params
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=parent.seed if seed is None else seed,
        params={
            "task": task,
            "model": about["model"],
            "dataset": about["dataset"],
            "split": about["split"],
            "scored_on": about.get("scored_on", "test"),
            "parent": parent.as_dict(),
            "threads": 1,
            **params,
        },
    )


def qat_spec(
    parent: RunSpec,
    width: str,
    *,
    seed: int | None = None,
    simulate: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    calibration: dict[str, Any] | None = None,
) -> RunSpec:
    """Train `parent`'s network with rounding; changed fields override the recipe's.

    Another `seed` than the parent's is for repetitions from one network.
    """
    return _spec(
        parent,
        "train",
        seed=seed,
        method="qat",
        width=width,
        simulate={**_SIMULATED, **WIDTHS[width], **(simulate or {})},
        calibration={**CALIBRATION, **(calibration or {})},
        schedule=SCHEDULE,
        recipe={**FINE_TUNING, **CHOSEN[width], **(recipe or {})},
    )


def finetune_spec(
    parent: RunSpec,
    width: str,
    *,
    seed: int | None = None,
    recipe: dict[str, Any] | None = None,
) -> RunSpec:
    """The control: the fine-tuning of `width`, without rounding."""
    return _spec(
        parent,
        "train",
        seed=seed,
        method="finetune",
        recipe={**FINE_TUNING, **CHOSEN[width], **(recipe or {})},
    )


def ptq_spec(
    parent: RunSpec,
    width: str,
    *,
    observer: str = CALIBRATION["observer"],
    images: int = CALIBRATION["images"],
) -> RunSpec:
    """Calibrate `parent`'s network, trained or fine-tuned, and train nothing."""
    return _spec(
        parent,
        "ptq",
        method="static_int8",
        width=width,
        simulate={**_SIMULATED, **WIDTHS[width]},
        calibration={"images": images, "observer": observer},
    )


def trials() -> list[RunSpec]:
    """ResNet-20 from dev, scored on the images held out: what chooses a calibrator."""
    dev = baselines.dev("resnet20")
    return [ptq_spec(dev, w, observer=o) for w in WIDTHS for o in CALIBRATORS]


def core() -> list[RunSpec]:
    """Each seed of ResNet-20, by width: trained with rounding, without, calibrated."""
    parents = [baselines.published("resnet20", seed=s) for s in baselines.SEEDS]
    return [
        spec
        for width in WIDTHS
        for parent in parents
        for spec in (
            qat_spec(parent, width),
            finetune_spec(parent, width),
            ptq_spec(parent, width),
            ptq_spec(finetune_spec(parent, width), width),
        )
    ]


def ablation() -> list[RunSpec]:
    """ResNet-8 from dev, one thing changed at a time, scored on the images held out."""
    dev = baselines.dev("resnet8")
    short = {"epochs": ABLATION_EPOCHS}
    tuned = [finetune_spec(dev, "w4a4", seed=s, recipe=short) for s in ABLATION_SEEDS]
    return tuned + [
        qat_spec(
            dev,
            "w4a4",
            seed=seed,
            simulate=changed.get("simulate"),
            recipe={**short, **changed.get("recipe", {})},
        )
        for changed in ABLATION.values()
        for seed in ABLATION_SEEDS
    ]


def smoke() -> list[RunSpec]:
    """Every path on generated images: both trainings, and calibration of each."""
    short = {
        **{"epochs": 2, "batch": 64, "precision": "fp32", "compiled": False},
        **{"peak_lr": 0.01},
    }
    few = {"images": 64}
    parent = baselines.smoke()
    tuned = finetune_spec(parent, "w4a4", recipe=short)
    moving = {"ranges": "moving_average", "bn_strategy": "one_pass"}
    return [
        qat_spec(parent, "w8a8", recipe=short, calibration=few),
        qat_spec(parent, "w4a4", simulate=moving, recipe=short, calibration=few),
        tuned,
        ptq_spec(parent, "w4a4", images=64),
        ptq_spec(tuned, "w4a4", images=64),
    ]


def grid(mode: str) -> list[RunSpec]:
    """full: trials, core and ablation. quick: none before they are trained."""
    from qstudy.experiments.qat import grid_graphs  # which builds on this module

    full = [*trials(), *core(), *ablation()]
    small = [*smoke(), *grid_graphs.smoke()]
    return {"smoke": small, "quick": [], "full": full}[mode]
