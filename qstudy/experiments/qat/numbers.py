"""What prose quotes of the QAT chapter."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.qat.grid import NAME
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """qat.recipe.<model>.<method>.w<bits>a<bits>.lr<rate>.top1, of each trial."""
    quoted = {}
    for row in tables.get("qat_recipe.csv", pd.DataFrame()).itertuples():
        width = f"w{row.weight_bits}a{row.activation_bits}"
        key = f"{NAME}.recipe.{row.model}.{row.method}.{width}.lr{row.peak_lr:g}.top1"
        quoted[key] = columns.number(row, "top1", "%")
    return quoted
