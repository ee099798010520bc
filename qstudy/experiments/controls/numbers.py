"""What prose quotes of the controls."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.controls.grid import NAME
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """controls.<model>.<fault>.top1, and .drop against the sound quantizer."""
    quoted = {}
    for row in tables["controls.csv"].itertuples():
        key = f"{NAME}.{row.model}.{row.fault}"
        quoted[f"{key}.top1"] = columns.number(row, "top1", "%")
        if not pd.isna(row.drop_pp):
            drop = columns.number(row, "drop_pp", "pp", compared=True)
            quoted[f"{key}.drop"] = drop
    return quoted
