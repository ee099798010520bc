"""Every path of the QAT chapter on generated images, in seconds."""

from __future__ import annotations

from qstudy.experiments import baselines
from qstudy.experiments.baselines.grid import recipe_smoke
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.qat.grid import (
    cost_spec,
    finetune_spec,
    fp32_spec,
    gap_spec,
    ptq_spec,
    qat_spec,
)
from qstudy.experiments.qat.grid_side import reference_spec
from qstudy.experiments.qat.recipe import ABLATION, FOLDED
from qstudy.spec import RunSpec


def smoke() -> list[RunSpec]:
    """Both trainings, what is made of each, an ablation, a reference, a cost."""
    short = {
        **{"epochs": 2, "batch": 64, "precision": "fp32", "compiled": False},
        **{"peak_lr": 0.01},
    }
    few = {"images": 64}
    parent = baselines.smoke()
    tuned = finetune_spec(parent, "w4a4", recipe=short)
    moving = {"ranges": "moving_average", "bn_strategy": "one_pass"}
    dev = recipe_smoke()
    depthwise = baselines.smoke(model=DEPTHWISE)
    folded = {**FOLDED, "granularity": "per_tensor"}
    # A rate and a length that no condition names: they are those of the base.
    tiny = {**short, "epochs": 2, "peak_lr": 0.02}
    changed = ({}, ABLATION["per_tensor"]["simulate"])
    eight = qat_spec(parent, "w8a8", recipe=short, calibration=few)
    four = qat_spec(parent, "w4a4", simulate=moving, recipe=short, calibration=few)
    timed = {"processes": 1, "rounds": 2, "seconds": 0.3, "warmup_seconds": 0.1}
    timed |= {"candidates": ["fp32:fp32", "qat-w4a4:fp32", "torch_eager:fp32"]}
    return [
        fp32_spec(parent),
        eight,
        four,
        tuned,
        ptq_spec(parent, "w4a4", images=64),
        ptq_spec(tuned, "w4a4", images=64),
        gap_spec(eight, forms=("x86", "qnnpack"), traced=16),
        gap_spec(four, first=16, traced=8),
        ptq_spec(dev, "w4a4", images=64),
        *(
            qat_spec(
                *(dev, "w4a4"),
                **{"seed": seed, "simulate": how, "recipe": tiny, "calibration": few},
            )
            for how in changed
            for seed in (0, 1)
        ),
        fp32_spec(depthwise),
        ptq_spec(depthwise, "w8a8", simulate=folded, images=64),
        qat_spec(
            *(depthwise, "w8a8"),
            **{"simulate": folded, "recipe": {**short, "epochs": 1}},
            calibration=few,
        ),
        reference_spec(dev, "eager", seed=0, epochs=1, batch=64, peak_lr=0.01),
        cost_spec("resnet8", threads=1, batch=8, **timed),
    ]
