"""The runs on a network that others trained on photographs."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.static.grid_sweeps import NAME, VERSION
from qstudy.spec import RunSpec

# Cures of one scale a tensor.
CURES = ("nearest", "bias", "equalized", "equalized_bias")


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


def equalized(*, images: int = 5000, bias_images: int = 128, **params: Any) -> RunSpec:
    """The same network and head at eight bits and one scale a tensor, cured.

    Only layers with no clamp in between are equalized, which are few here. Nagel et al.
    2019 put ReLU in place of ReLU6 first: what that does to this network in fp32 is
    scored as "unclamped".
    """
    return transfer(
        **{
            "task": "equalized",
            "scored_images": images,
            "bias_images": bias_images,
            "weight_bits": 8,
            "conditions": [
                *({"granularity": "per_tensor", "cure": cure} for cure in CURES),
                {"granularity": "per_channel", "cure": "nearest"},
            ],
            **params,
        }
    )


def equalized_smoke() -> RunSpec:
    """On generated images, with weights from a seed: what takes the most steps."""
    cures = CURES[-2:]
    return equalized(
        dataset="synthetic",
        side=33,
        fitted_images=60,
        pretrained="",
        images=40,
        bias_images=8,
        calibration_images=32,
        conditions=[{"granularity": "per_tensor", "cure": cure} for cure in cures],
    )
