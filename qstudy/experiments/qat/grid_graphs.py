"""The run that reads the graphs of ResNet-20's forms, and its short form."""

from __future__ import annotations

from qstudy.experiments import baselines
from qstudy.experiments.qat.grid import NAME, VERSION
from qstudy.experiments.qat.recipe import SIMULATION, W8A8
from qstudy.spec import RunSpec


def graph_spec(parent: RunSpec) -> RunSpec:
    """Trace the end of `parent`'s network in each form; the ranges decide nothing."""
    about = parent.params
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={
            "task": "graph",
            "model": about["model"],
            "dataset": about["dataset"],
            "split": about["split"],
            "parent": parent.as_dict(),
            "engine": "x86",
            "simulate": {**SIMULATION, **W8A8},
            "calibration": {"images": 64, "observer": "minmax"},
            "threads": 1,
        },
    )


def graphs() -> list[RunSpec]:
    """The published ResNet-20, seed 0: seconds."""
    return [graph_spec(baselines.published("resnet20"))]


def smoke() -> list[RunSpec]:
    """The same of ResNet-8, trained on generated images."""
    return [graph_spec(baselines.smoke())]
