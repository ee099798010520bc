"""What prose quotes of the static chapter."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static import numbers_kept, numbers_networks, numbers_sweeps
from qstudy.experiments.static.grid import HEADLINE, NAME
from qstudy.experiments.static.tables import headline
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.<model>.* of the headline configuration, and static.claim.*.

    .runs_7bit and .runs_8bit count the first seed's runs, of all settings and draws of
    calibration images; .resolved_* those whose drop has its whole interval above 0.
    Other numbers: numbers_sweeps, numbers_networks and numbers_kept of this package.
    """
    from qstudy.measure import statistics

    frame = tables["static.csv"]
    fp32 = frame[frame.method == "fp32"].sort_values("seed", kind="stable").iloc[0]
    chosen = headline(frame)
    first = chosen.iloc[0]
    key, runs = f"{NAME}.{first.model}", (fp32.run, first.run)
    ratio = fp32.size_mib / first.size_mib
    quoted = {
        f"{key}.fp32_top1": columns.number(fp32, "top1", "%"),
        f"{key}.top1": columns.number(first, "top1", "%"),
        f"{key}.drop": _drop(first),
        f"{key}.size_ratio": Number(ratio, "×", 2, runs=runs),
        f"{key}.fp32_mib": Number(fp32.size_mib, "MiB", 2, runs=(fp32.run,)),
        f"{key}.int8_mib": Number(first.size_mib, "MiB", 2, runs=(first.run,)),
        f"{key}.calibration_images": Number(
            int(first.calibration_images), "", 0, runs=(first.run,)
        ),
        f"{NAME}.claim.size": Number(statistics.size_verdict(ratio), runs=runs),
        f"{NAME}.claim.accuracy": Number(
            statistics.accuracy_verdict(first.drop_hi, low=first.drop_lo), runs=runs
        ),
    }
    for name, of in (("min", min), ("max", max)):
        quoted[f"{key}.top1_{name}"] = Number(
            of(chosen.top1), "%", 2, n=len(chosen), runs=columns.runs(chosen)
        )
    for name, changes in (
        ("drop_7bit", {"activation_bits": 7}),
        ("drop_per_tensor", {"granularity": "per_tensor", "calibrator": "minmax"}),
    ):
        other = headline(frame, **changes)
        if len(other):
            quoted[f"{key}.{name}"] = _drop(other.iloc[0])
    for bits in (7, 8):
        rows = frame[(frame.activation_bits == bits) & (frame.seed == first.seed)]
        resolved = rows[rows.drop_lo > 0]
        behind = columns.runs(rows, compared=True)
        quoted[f"{key}.runs_{bits}bit"] = Number(len(rows), "", 0, runs=behind)
        quoted[f"{key}.resolved_{bits}bit"] = Number(
            len(resolved), "", 0, n=len(rows), runs=behind
        )
    seeds = tables["static_seeds.csv"]
    over = {"mean": portable.mean, "min": min, "max": max}
    behind = columns.runs(seeds, compared=True)
    for name, of in over.items() if len(seeds) > 1 else ():
        quoted[f"{key}.drop_{name}"] = Number(
            of(seeds.drop_pp), "pp", 2, n=len(seeds), runs=behind
        )
    if "static_latency.csv" in tables:
        quoted |= _speed_numbers(key, tables["static_latency.csv"])
    for others in (numbers_sweeps, numbers_networks, numbers_kept):
        quoted |= others.numbers(tables)
    return quoted


def _drop(row: Any) -> Number:
    return columns.number(row, "drop_pp", "pp", compared=True)


def _speed_numbers(key: str, latency: pd.DataFrame) -> dict[str, Number]:
    """The headline engine's ratios: batch 1, 2 threads as ...; all as ..._b1_t2."""
    from qstudy.measure import statistics

    quoted = {}
    engine = latency[latency.candidate == f"int8:{HEADLINE['engine']}"]
    for row in engine.itertuples():
        short = "eager" if row.baseline == "eager_fp32" else row.baseline
        number = columns.number(row, "ratio", "×")
        verdict = Number(
            statistics.speed_verdict(row.ratio_lo, row.ratio_hi), runs=(row.run,)
        )
        setting = f"{short}_b{row.batch}_t{row.threads}"
        quoted[f"{key}.speed_{setting}"] = number
        quoted[f"{NAME}.claim.speed_{setting}"] = verdict
        if (row.batch, row.threads) == (1, 2):
            quoted[f"{key}.speed_{short}"] = number
            quoted[f"{NAME}.claim.speed_{short}"] = verdict
            quoted[f"{NAME}.machine"] = Number(row.machine, runs=(row.run,))
    return quoted
