"""The runs of the controls: the sound network, and one for each fault."""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.spec import RunSpec

NAME = "controls"
VERSION = 1
TRAINED = None  # it keeps no networks
PARAMETERS: dict[str, Any] = {}
# none: the sound quantizer. rounds_down: every code is cut off, not rounded.
# half_scale: activations have half the scale that their range asks for.
FAULTS = ("none", "rounds_down", "half_scale")


def faulty_spec(parent: RunSpec, fault: str, *, images: int = 512) -> RunSpec:
    """Score `parent`'s network in simulated int8 with `fault`."""
    about = parent.params
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={
            "task": "faulty",
            "fault": fault,
            "model": about["model"],
            "dataset": about["dataset"],
            "split": about["split"],
            "parent": parent.as_dict(),
            "bits": 8,
            "granularity": "per_channel",
            "observer": "minmax",
            "calibration_images": images,
            "threads": 1,
        },
        seed=0,
    )


def faulty() -> list[RunSpec]:
    """ResNet-20's first seed with each fault, and without."""
    parent = baselines.published("resnet20", seed=0)
    return [faulty_spec(parent, fault) for fault in FAULTS]


def grid(mode: str) -> list[RunSpec]:
    """smoke: each fault on a tiny network. full: `faulty`. quick: none."""
    parent = baselines.smoke()
    tiny = [faulty_spec(parent, fault, images=64) for fault in FAULTS]
    return {"smoke": tiny, "quick": [], "full": faulty()}[mode]
