"""Numbers that the guide quotes and no chapter does: single causes of a slow network.

All are ratios from static_latency.csv, on ResNet-20 and two threads.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from qstudy.experiments import columns
from qstudy.spec import Number

LATENCY = "static_latency.csv"
# Key after "guide.": candidate, baseline, batch.
RATIOS: Mapping[str, tuple[str, str, int]] = {
    "fp32_compiled_b1": ("fp32:compiled", "eager_fp32", 1),
    "fp32_compiled_b64": ("fp32:compiled", "eager_fp32", 64),
    "bf16_eager_b1": ("bf16:eager", "eager_fp32", 1),
    "bf16_compiled_b1": ("bf16:compiled", "best_fp32", 1),
    "bf16_compiled_b64": ("bf16:compiled", "best_fp32", 64),
    "qnnpack_b1": ("int8:qnnpack", "eager_fp32", 1),
    "qnnpack_b64": ("int8:qnnpack", "eager_fp32", 64),
    "fbgemm_b64": ("int8:fbgemm", "best_fp32", 64),
    "onednn_b64": ("int8:onednn", "best_fp32", 64),
    "pt2e_b1": ("int8:pt2e", "best_fp32", 1),
    "pt2e_b64": ("int8:pt2e", "best_fp32", 64),
}


def numbers(tables: Mapping[str, pd.DataFrame]) -> dict[str, Number]:
    """guide.* from a tree's tables; those whose rows are missing are left out."""
    made: dict[str, Number] = {}
    if LATENCY not in tables:
        return made
    frame = tables[LATENCY]
    frame = frame[(frame.model == "resnet20") & (frame.threads == 2)]
    for name, (candidate, baseline, batch) in RATIOS.items():
        rows = frame[
            (frame.candidate == candidate)
            & (frame.baseline == baseline)
            & (frame.batch == batch)
        ]
        for row in rows.itertuples():
            made[f"guide.{name}"] = columns.number(row, "ratio", "×", 2)
    return made
