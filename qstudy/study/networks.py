"""The trained networks of a results tree, one line away.

network = qstudy.load("resnet20", seed=0)
language_model = qstudy.load("lstm")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qstudy import experiments
from qstudy.spec import RunRecord
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import StudyError, results_root

if TYPE_CHECKING:
    from torch import nn

# Where a network has several checkpoints, the first of these is meant.
STAGES = ("published", "dev")


def load(
    model: str,
    *,
    seed: int = 0,
    stage: str = "",
    method: str = "fp32",
    results: str | os.PathLike = "",
) -> nn.Module:
    """The network `model` that was trained with `seed` by `method`, in eval mode.

    `model` is a ResNet of the baselines, "lstm", "mlp" or "minilm"; the last is the
    encoder, fetched through the data layer, with the head that was trained on it.
    `method` is "fp32", or the name of another training with its bits, as "qat-w4a4".
    `stage` is one of STAGES; "" takes the first that there is, and text networks have
    the first alone. `results` is a results tree ("": the repository's). The
    checkpoint's SHA-256 is checked against the record of the run that made it. Raises
    ValueError for an unknown stage, TypeError for a seed that is no int, and
    StudyError, one line that names what there is, for a network that is missing or
    damaged.
    """
    # True and 0.0 are equal to seeds, and "0" looks like one.
    if type(seed) is not int:
        raise TypeError(f"seed {seed!r} is a {type(seed).__name__}: int is needed")
    if seed < 0:
        raise ValueError(f"seed {seed} is not 0 or above")
    if stage not in ("", *STAGES):
        raise ValueError(f"stage {stage!r} is not one of {STAGES}")
    store = Store(results_root(results))
    kept = [
        r
        for experiment in experiments.ALL
        if experiment.TRAINED is not None
        for r in store.records(experiment.NAME, experiment.VERSION)
        if checkpoint_of(r) is not None
    ]
    fitting = [
        r
        for r in kept
        if (r.spec.params["model"], r.spec.seed) == (model, seed)
        and method_of(r) == method
        and stage in ("", stage_of(r))
    ]
    if not fitting:
        there = ", ".join(sorted(_name(r) for r in kept)) or "none"
        how = "" if method == "fp32" else f" by {method}"
        wanted = f"{model}{how}{', ' + stage if stage else ''}, seed {seed}"
        raise StudyError(
            f"there is no trained network {wanted} in {store.root}; there are: {there}"
        )
    chosen = min(fitting, key=lambda r: STAGES.index(stage_of(r)))
    path = store.checkpoint(chosen)
    experiment = experiments.by_name(chosen.spec.experiment)
    return experiment.TRAINED.load(chosen, path)


def stage_of(record: RunRecord) -> str:
    """One of STAGES; networks that have no stages are published ones."""
    return record.spec.params.get("stage", STAGES[0])


def method_of(record: RunRecord) -> str:
    """How a network was trained, with its bits: "fp32", "qat-w4a4".

    What was fine-tuned without rounding has no bits and is told by its length:
    "finetune-4epochs".
    """
    params = record.spec.params
    method = params.get("method", "fp32")
    if method == "finetune":
        return f"{method}-{params['recipe']['epochs']}epochs"
    return f"{method}-{params['width']}" if "width" in params else method


def _name(record: RunRecord) -> str:
    how = method_of(record)
    told = "" if how == "fp32" else f"{how}, "
    return (
        f"{record.spec.params['model']} ({told}{stage_of(record)}, "
        f"seed {record.spec.seed})"
    )
