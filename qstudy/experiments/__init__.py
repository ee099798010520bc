"""One package a chapter, in chapter order; a new chapter is one new package here.

Each has the same rooms: `grid` (the runs, and the configuration that prose quotes),
`tasks` (what is measured), `tables`, `figures` and `numbers`; a room that has grown
has others beside it, named after it (`tasks_training`, `figures_speed`). The package
itself offers the interface, `spec.Experiment`, so that there `grid`, `tables`,
`figures` and `numbers` are the functions and not the modules that hold them. What
several chapters share lies beside the packages: `timing`, `evaluation`.
"""

from __future__ import annotations

from types import ModuleType

from qstudy.experiments import baselines, dynamic, formulas, fusion, qat, speed, static
from qstudy.spec import MODES, RunSpec

ALL = (baselines, fusion, formulas, dynamic, static, qat, speed)
NAMES = tuple(experiment.NAME for experiment in ALL)


def by_name(name: str) -> ModuleType:
    """The experiment module called `name`; ValueError names those there are."""
    for experiment in ALL:
        if name == experiment.NAME:
            return experiment
    raise ValueError(f"experiment {name!r} is not one of {NAMES}")


def grid(name: str, mode: str) -> list[RunSpec]:
    """The runs of one experiment in a mode; none in read mode."""
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {MODES}")
    return [] if mode == "read" else by_name(name).grid(mode)
