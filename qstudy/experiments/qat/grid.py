"""The runs of the QAT chapter: trials of the recipe, then each published seed.

`method` is "qat" (trained with rounding), "finetune" (the same fine-tuning without
it, the control) or "static_int8" (calibrated alone, in the same simulated form).
"""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.qat.recipe import (
    CALIBRATION,
    FINE_TUNING,
    RATES,
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


def _spec(parent: RunSpec, task: str, **params: Any) -> RunSpec:
    about = parent.params
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=parent.seed,
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
    peak_lr: float,
    simulate: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    calibration: dict[str, Any] | None = None,
) -> RunSpec:
    """Train `parent`'s network with rounding; changed fields override the recipe's."""
    return _spec(
        parent,
        "train",
        method="qat",
        width=width,
        simulate={**_SIMULATED, **WIDTHS[width], **(simulate or {})},
        calibration={**CALIBRATION, **(calibration or {})},
        schedule=SCHEDULE,
        recipe={**FINE_TUNING, "peak_lr": peak_lr, **(recipe or {})},
    )


def finetune_spec(
    parent: RunSpec, *, peak_lr: float, recipe: dict[str, Any] | None = None
) -> RunSpec:
    """The control: the same fine-tuning of `parent`'s network, without rounding."""
    return _spec(
        parent,
        "train",
        method="finetune",
        recipe={**FINE_TUNING, "peak_lr": peak_lr, **(recipe or {})},
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
    """What chooses the recipe: ResNet-20 from dev, scored on the images held out."""
    dev = baselines.dev("resnet20")
    rates = {rate for tried in RATES.values() for rate in tried}
    return [
        *(
            qat_spec(dev, w, peak_lr=rate)
            for w, tried in RATES.items()
            for rate in tried
        ),
        *(finetune_spec(dev, peak_lr=rate) for rate in sorted(rates)),
    ]


def smoke() -> list[RunSpec]:
    """Every path on generated images: both trainings, and calibration of each."""
    short = {"epochs": 2, "batch": 64, "precision": "fp32", "compiled": False}
    few = {"images": 64}
    parent = baselines.smoke()
    tuned = finetune_spec(parent, peak_lr=0.01, recipe=short)
    moving = {"ranges": "moving_average", "bn_strategy": "one_pass"}
    return [
        qat_spec(parent, "w8a8", peak_lr=0.01, recipe=short, calibration=few),
        qat_spec(
            parent,
            "w4a4",
            peak_lr=0.01,
            simulate=moving,
            recipe=short,
            calibration=few,
        ),
        tuned,
        ptq_spec(parent, "w4a4", images=64),
        ptq_spec(tuned, "w4a4", images=64),
    ]


def grid(mode: str) -> list[RunSpec]:
    """full and quick: none before the trials are trained; then full is `trials()`."""
    return {"smoke": smoke(), "quick": [], "full": []}[mode]
