"""Every path of the LSQ chapter on generated images, in seconds."""

from __future__ import annotations

from dataclasses import replace

from qstudy.experiments import baselines
from qstudy.experiments.baselines.grid import recipe_smoke
from qstudy.experiments.lsq.grid import (
    STUDY,
    chosen_spec,
    cost_spec,
    evaluate_spec,
    integers_spec,
    lsq_spec,
    memory_spec,
    ratio_spec,
)
from qstudy.experiments.lsq.recipe import ABLATION, FORMS, SHARES
from qstudy.experiments.qat.grid_smoke import smoke as qat_smoke
from qstudy.spec import RunSpec

# Every ingredient of the recipe, small enough for a smoke run.
ALL_FEW = {
    **{"distill": 0.5, "temperature": 4.0, "muon_lr": 0.002},
    **{"ema_decay": 0.9, "bn_batches": 2},
}


def smoke() -> list[RunSpec]:
    """Every path on generated images: trained, evaluated, measured, timed."""
    short = {"epochs": 2, "batch": 64, "precision": "fp32", "compiled": False}
    few = {"images": 64}
    parent = baselines.smoke()
    everything = {**ALL_FEW, **short}
    two = lsq_spec(
        parent,
        "w2a2",
        simulate={"start": "mse"},
        recipe=everything,
        start=few,
        shares={**SHARES, "count": 20},
    )
    step = {"schedule": "step"}
    eight = chosen_spec(parent, "w8a8")
    eight = replace(
        eight,
        params={
            **eight.params,
            "start": few,
            "recipe": {**eight.params["recipe"], **short, "epochs": 1},
        },
    )
    eager = [STUDY.replace(":compiled", ""), "none:bf16:kept", "native:bf16:kept"]
    tuned = next(s for s in qat_smoke() if s.params.get("method") == "qat")
    return [
        two,
        lsq_spec(
            parent,
            "w4a4",
            simulate={"placement": "outputs", "offset": True},
            recipe={**short, **step, "epochs": 1},
            start=few,
            condition="smoke",
        ),
        eight,
        *(
            lsq_spec(
                *(recipe_smoke(), "w2a2"),
                **{"condition": name, "seed": seed, "start": few},
                simulate=ABLATION[name].get("simulate"),
                recipe={**short, "epochs": 1},
            )
            for name in ("base", "gradient none")
            for seed in (0, 1)
        ),
        evaluate_spec(two, "lsq"),
        evaluate_spec(two, "lsq", first=32),
        integers_spec(eight, forms=FORMS["w8a8"], images=32),
        integers_spec(two, forms=FORMS["w2a2"], images=32),
        evaluate_spec(parent, "fp32"),
        evaluate_spec(parent, "static_int8", width="w4a4"),
        evaluate_spec(tuned, "qat"),
        ratio_spec(parent, "full", recipe={**short, "epochs": 1}),
        cost_spec(
            "resnet8",
            threads=1,
            candidates=eager,
            batch=8,
            processes=1,
            rounds=2,
            seconds=0.5,
            warmup_seconds=0.1,
        ),
        memory_spec("resnet8", threads=1, candidates=eager[:1], batch=8, steps=1),
    ]
