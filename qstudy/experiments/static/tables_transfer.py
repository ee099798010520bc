"""The pretrained network's records as tables."""

from __future__ import annotations

from typing import Any

from qstudy.experiments.static.tables_parts import end, scores, swept
from qstudy.spec import RunRecord


def transfer(records: list[RunRecord]) -> list[dict[str, Any]]:
    """The network that ImageNet trained; `seed` drew what its head was fitted to."""
    return [
        {
            **{key: record.spec.params[key] for key in ("model", "dataset")},
            "split": record.spec.params["scored_on"],
            "seed": record.spec.seed,
            **{key: record.spec.params[key] for key in ("side", "fitted_images")},
            **condition,
            "fp32_top1": record["top1.fp32"],
            **found,
            **end(record),
        }
        for record in records
        for condition, _, found in swept(record)
    ]


def equalized(records: list[RunRecord]) -> list[dict[str, Any]]:
    """The first row is fp32 with ReLU in place of ReLU6, and has no granularity."""
    rows = []
    for record in records:
        params = record.spec.params
        fp32 = {"granularity": None, "cure": "unclamped"}, "unclamped"
        of = [(*fp32, scores(record, "unclamped")), *swept(record)]
        for condition, _, found in of:
            bits = 32 if condition["granularity"] is None else params["weight_bits"]
            rows.append(
                {
                    **{key: params[key] for key in ("model", "dataset")},
                    "split": params["scored_on"],
                    "seed": record.spec.seed,
                    "weight_bits": bits,
                    "activation_bits": bits if bits == 32 else 8,
                    **condition,
                    "fp32_top1": record["top1.fp32"],
                    **found,
                    **end(record),
                }
            )
    return rows
