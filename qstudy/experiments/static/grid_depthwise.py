"""The sweeps over the network whose depthwise layers are hard to quantize."""

from __future__ import annotations

from qstudy.experiments import baselines
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.static.grid_sweeps import cures, models, weights
from qstudy.spec import RunSpec


def specs() -> list[RunSpec]:
    """Weights alone by granularity, both at 8 to 4 bits, and the cures at 4."""
    parent = baselines.published(DEPTHWISE)
    return [weights(parent), models(parent), cures(parent)]
