"""The trained networks of a results tree, one line away.

network = qstudy.load("resnet20", seed=0)
language_model = qstudy.load("lstm")
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from qstudy.experiments import baselines, dynamic
from qstudy.spec import RunRecord
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import StudyError, results_root

if TYPE_CHECKING:
    from torch import nn

# Where a network has several checkpoints, the first of these is meant.
STAGES = ("published", "dev")


def load(
    model: str, *, seed: int = 0, stage: str = "", results: str | os.PathLike = ""
) -> nn.Module:
    """The fp32 network `model` that was trained with `seed`, in eval mode.

    `model` is a ResNet of the baselines, "lstm", "mlp" or "minilm"; the last is the
    encoder, fetched through the data layer, with the head that was trained on it.
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
        for experiment in (baselines, dynamic)
        for r in store.records(experiment.NAME, experiment.VERSION)
        if checkpoint_of(r) is not None
    ]
    fitting = [
        r
        for r in kept
        if (r.spec.params["model"], r.spec.seed) == (model, seed)
        and stage in ("", stage_of(r))
    ]
    if not fitting:
        there = ", ".join(sorted(_name(r) for r in kept)) or "none"
        wanted = f"{model}{', ' + stage if stage else ''}, seed {seed}"
        raise StudyError(
            f"there is no trained network {wanted} in {store.root}; there are: {there}"
        )
    chosen = min(fitting, key=lambda r: STAGES.index(stage_of(r)))
    path = store.checkpoint(chosen)
    if chosen.spec.experiment == dynamic.NAME:
        return _text_network(chosen, path).eval()
    from qstudy.models import zoo  # loads torch, which naming what there is need not

    network = zoo.build(model)
    zoo.load_checkpoint(network, path)
    return network.eval()


def _text_network(record: RunRecord, path: Path) -> nn.Module:
    """The LSTM or MLP of `record`, or its head behind the encoder that it reads."""
    from torch import nn

    from qstudy.data import weights
    from qstudy.experiments.dynamic import inputs as dynamic_inputs
    from qstudy.models import text

    model = record.spec.params["model"]
    if model.endswith("lstm"):
        network = text.build(model)
    else:
        network = dynamic_inputs.classifier(record.spec)
    text.load_weights(network, path)
    if not dynamic_inputs.is_encoder(model):
        return network
    encoder = text.build(model)
    text.load_weights(encoder, weights.path(model))
    return nn.Sequential(encoder, network)


def stage_of(record: RunRecord) -> str:
    """One of STAGES; networks that have no stages are published ones."""
    return record.spec.params.get("stage", STAGES[0])


def _name(record: RunRecord) -> str:
    return (
        f"{record.spec.params['model']} ({stage_of(record)}, seed {record.spec.seed})"
    )
