"""The trained networks of a results tree, one line away.

network = qstudy.load("resnet20", seed=0)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qstudy.experiments import baselines
from qstudy.spec import RunRecord
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import StudyError, results_root

if TYPE_CHECKING:
    from torch import nn

# Where a network has several checkpoints, the first of these is meant.
STAGES = ("published", "dev", "interim")


def load(
    model: str, *, seed: int = 0, stage: str = "", results: str | os.PathLike = ""
) -> nn.Module:
    """The fp32 network `model` that was trained with `seed`, in eval mode.

    `stage` is one of STAGES; "" takes the first that there is. `results` is a results
    tree ("": the repository's). The checkpoint's SHA-256 is checked against the record
    of the run that made it. Raises ValueError for an unknown stage and StudyError, one
    line that names what there is, for a network that is missing or damaged.
    """
    if stage and stage not in STAGES:
        raise ValueError(f"stage {stage!r} is not one of {STAGES}")
    store = Store(results_root(results))
    kept = [
        r
        for r in store.records(baselines.NAME, baselines.VERSION)
        if checkpoint_of(r) is not None
    ]
    fitting = [
        r
        for r in kept
        if (r.spec.params["model"], r.spec.seed) == (model, seed)
        and stage in ("", r.spec.params["stage"])
    ]
    if not fitting:
        there = ", ".join(sorted(_name(r) for r in kept)) or "none"
        wanted = f"{model}{', ' + stage if stage else ''}, seed {seed}"
        raise StudyError(
            f"there is no trained network {wanted} in {store.root}; there are: {there}"
        )
    chosen = min(fitting, key=lambda r: STAGES.index(r.spec.params["stage"]))
    path = store.checkpoint(chosen)
    from qstudy.models import zoo  # loads torch, which naming what there is need not

    network = zoo.build(model)
    zoo.load_checkpoint(network, path)
    return network.eval()


def _name(record: RunRecord) -> str:
    params = record.spec.params
    return f"{params['model']} ({params['stage']}, seed {record.spec.seed})"
