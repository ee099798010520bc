"""The run on a network that others trained on photographs."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.static.grid_sweeps import NAME, VERSION
from qstudy.spec import RunSpec


def transfer(
    *,
    dataset: str = "cifar10",
    side: int = 97,
    fitted_images: int = 20000,
    bits: tuple[int, ...] = (8, 6),
    **params: Any,
) -> RunSpec:
    """EfficientNet-Lite0 with ImageNet's weights and a new head, by granularity."""
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        params={
            "task": "transfer",
            "model": "efficientnet_lite0",
            "pretrained": "efficientnet_lite0",
            "dataset": dataset,
            "scored_on": "test",
            "threads": 1,
            "side": side,
            "fitted_images": fitted_images,
            "penalty": 1e-3,
            "calibration_images": 256,
            "conditions": [
                {
                    "granularity": granularity,
                    "calibrator": calibrator,
                    "weight_bits": b,
                    "activation_bits": b,
                }
                for granularity in ("per_tensor", "per_channel")
                for calibrator, b in [("minmax", 8), *(("mse", b) for b in bits)]
            ],
            **params,
        },
    )


def smoke() -> RunSpec:
    """The same on generated images, with weights from a seed."""
    return transfer(
        dataset="synthetic",
        side=33,
        fitted_images=60,
        bits=(8,),
        pretrained="",
        scored_images=40,
        calibration_images=32,
    )
