"""Numbers that only the guide quotes: single causes of a slow network, time to wait.

Ratios are from static_latency.csv, on ResNet-20 and two threads; minutes are what the
records of ResNet-20's runs took, with whatever ran beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from qstudy.claims.rules import STATIC
from qstudy.experiments import columns
from qstudy.measure import portable
from qstudy.report.absent import NOT_MEASURED
from qstudy.spec import Number, RunRecord

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
# Key after "guide.minutes.": a table, and its rows.
TIMED: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "fp32": ("baselines.csv", {"model": "resnet20", "stage": "published"}),
    "static": ("static.csv", STATIC),
    **{
        f"{method}_w{bits}a{bits}": (
            f"{method}.csv",
            {"model": "resnet20", "method": method, "weight_bits": bits},
        )
        for method, bits in (("qat", 8), ("qat", 4), ("lsq", 4), ("lsq", 2))
    },
}


def numbers(
    tables: Mapping[str, pd.DataFrame], records: Sequence[RunRecord]
) -> dict[str, Number]:
    """guide.* from a tree; NOT_MEASURED for those whose rows it lacks."""
    seconds = {record.spec.key: record.seconds for record in records}
    made = {}
    for name, (candidate, baseline, batch) in RATIOS.items():
        where = {"model": "resnet20", "threads": 2, "batch": batch}
        where |= {"candidate": candidate, "baseline": baseline}
        rows = _rows(tables, LATENCY, where)
        made[f"guide.{name}"] = (
            columns.number(rows.iloc[0], "ratio", "×", 2)
            if len(rows)
            else Number(NOT_MEASURED)
        )
    for name, (table, where) in TIMED.items():
        made[f"guide.minutes.{name}"] = _minutes(_rows(tables, table, where), seconds)
    return made


def _rows(
    tables: Mapping[str, pd.DataFrame], name: str, where: Mapping[str, object]
) -> pd.DataFrame:
    frame = tables.get(name, pd.DataFrame())
    for column, value in where.items():
        if column not in frame:
            return pd.DataFrame()
        frame = frame[frame[column] == value]
    return frame


def _minutes(rows: pd.DataFrame, seconds: Mapping[str, float]) -> Number:
    """The mean wall time of the runs behind `rows`."""
    if not len(rows):
        return Number(NOT_MEASURED)
    runs = columns.runs(rows)
    mean = portable.mean([seconds[run] / 60 for run in runs])
    return Number(mean, "min", 0 if mean >= 10 else 1, n=len(runs), runs=runs)
