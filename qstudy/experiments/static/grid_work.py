"""The run that times quantizing itself, and scoring what it made."""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.static.grid_sweeps import NAME, VERSION
from qstudy.spec import RunSpec

# Set before it was measured: each of the works below, in seconds.
GOAL_SECONDS = 5.0
# `quantize`: the study's own route, of any network; `quantize_static`: torch's eager
# API with its histogram observer; `evaluate`: the test set through the first's result.
WORKS = ("quantize", "quantize_static", "evaluate")


def work(parent: RunSpec, **params: Any) -> RunSpec:
    """Seconds from a checkpoint to int8, and of the test set in int8."""
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={
            "task": "work",
            "model": parent.params["model"],
            "dataset": parent.params["dataset"],
            "scored_on": "test",
            "parent": parent.as_dict(),
            "threads": 2,
            "engine": "x86",
            "calibration_images": 512,
            "rounds": 5,
            **params,
        },
    )


def specs() -> list[RunSpec]:
    """Of the headline's network."""
    return [work(baselines.published("resnet20"))]


def smoke() -> RunSpec:
    """The same on generated images, once."""
    few = {"calibration_images": 64, "rounds": 1, "scored_images": 64}
    return work(baselines.smoke(), **few, threads=1)
