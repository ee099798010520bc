"""Dynamic quantization of an LSTM, a transformer encoder and an MLP, on real text.

Tasks. `train`: the LSTM language model, the encoder's linear head, the MLP. `ngram`:
the Kneser-Ney yardstick. `quality`: one network in one form on the test texts, and its
size by part. `ranges`: what dynamic and static clipping see, layer by layer. `kernels`:
the study's own dynamic linear beside the engines'. `latency`: forms in interleaved
rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qstudy.experiments import dynamic_tasks as tasks
from qstudy.experiments import dynamic_timing, dynamic_training
from qstudy.experiments.dynamic_figures import figures
from qstudy.experiments.dynamic_networks import HEADLINE
from qstudy.experiments.dynamic_numbers import numbers
from qstudy.experiments.dynamic_specs import (
    FLOAT,
    NAME,
    PARAMETERS,
    QUICK_LENGTH,
    VERSION,
    kernels_spec,
    latency_grid,
    latency_spec,
    ngram_spec,
    quality_forms,
    quality_spec,
    ranges_spec,
    train_spec,
)
from qstudy.experiments.dynamic_tables import tables
from qstudy.spec import Context, RunSpec, Values

__all__ = [
    "NAME",
    "PARAMETERS",
    "VERSION",
    "figures",
    "grid",
    "numbers",
    "run",
    "tables",
]


def grid(mode: str) -> list[RunSpec]:
    """quick: fp32 and torch's int8 scored, batch 1 timed once. full: the whole map."""
    if mode == "smoke":
        return _smoke()
    encoder = train_spec("minilm")
    timed = latency_grid()
    quick = [
        quality_spec(train_spec(m), how)
        for m in dynamic_training.TRAINED
        for how in ("fp32", HEADLINE)
    ]
    quick += [kernels_spec(encoder)]
    quick += [
        spec
        for spec in timed
        if spec.params["length"] == QUICK_LENGTH
        and spec.params["threads"] == 2
        and spec.params["batches"] == [1]
        and spec.params["model"] in ("lstm", "minilm")
    ]
    if mode == "quick":
        return quick
    specs = [train_spec(model) for model in dynamic_training.TRAINED]
    specs += [ngram_spec()]
    specs += [
        quality_spec(train_spec(model), how)
        for model in dynamic_training.TRAINED
        for how in quality_forms(model)
    ]
    specs += [ranges_spec(encoder), *quick, *timed]
    return list(dict.fromkeys(specs))


def _smoke() -> list[RunSpec]:
    trained = [
        train_spec(model, dataset="synthetic_text")
        for model in ("tiny_lstm", "tiny_encoder", "tiny_mlp")
    ]
    encoder = trained[1]
    timing = latency_spec(
        "tiny_lstm", ("fp32:eager", "bf16:eager", "int8:x86"), batches=(1,), length=8,
        threads=2, parent=trained[0],
    )  # fmt: skip
    layer = latency_spec("linear_1024", (*FLOAT[:2], "int8:x86"), batches=(1, 4))
    short = {"processes": 2, "rounds": 3, "seconds": 0.5, "warmup_seconds": 0.05}
    return [
        *trained,
        ngram_spec("synthetic_text"),
        *(
            quality_spec(parent, how)
            for parent in trained
            for how in ("fp32", HEADLINE)
        ),
        quality_spec(encoder, "simulated_dynamic"),
        quality_spec(encoder, "simulated_static_max"),
        ranges_spec(encoder),
        kernels_spec(encoder),
        *(replace(t, params={**t.params, **short}) for t in (timing, layer)),
    ]


_TASKS: Mapping[str, Any] = {
    "train": dynamic_training.train,
    "ngram": dynamic_training.ngram,
    "quality": tasks.quality,
    "ranges": tasks.ranges,
    "kernels": tasks.kernels,
    "latency": dynamic_timing.latency,
}


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names; ValueError for another."""
    from qstudy.measure import system

    task = spec.params["task"]
    if task not in _TASKS:
        raise ValueError(f"task {task!r} is not one of {tuple(_TASKS)}")
    if task == "latency":  # its workers set their own threads
        return _TASKS[task](spec, ctx)
    with system.threads(spec.params["threads"]):
        return _TASKS[task](spec, ctx)
