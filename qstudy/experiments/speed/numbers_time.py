"""What prose quotes of where the time goes, and of what was tried to make it less."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.speed.grid import NAME
from qstudy.experiments.speed.tables_selection import fastest
from qstudy.spec import Number

PARTS = {
    "kernels": "kernels that multiply",
    "rounding": "quantize and dequantize",
    "other": "operators that do not multiply",
    "framework": "calls between operators",
}
# Whose modules are called one by one, and the same kernels called by a trace.
CALLED = ("int8:x86", "int8:x86_traced")


def spent(speed: pd.DataFrame, breakdown: pd.DataFrame) -> dict[str, Number]:
    """Shares of the fastest int8 of PyTorch, and the largest beside its kernels.

    .calls: the share of calls between operators in each of CALLED.
    """
    quoted = {}
    rows = fastest(speed, torch_alone=True).drop_duplicates(
        ["model", "batch", "threads"]
    )
    for row in rows.itertuples():
        own = breakdown[breakdown.run == row.run]
        setting = f"b{row.batch}_t{row.threads}"
        for found in own[own.candidate == row.candidate].itertuples():
            shares = {part: getattr(found, f"{part}_pct") for part in PARTS}
            key = f"{NAME}.{row.model}.spent"
            for part, share in shares.items():
                quoted[f"{key}.{part}_{setting}"] = Number(
                    share, "%", 0, runs=(row.run,)
                )
            shares.pop("kernels")
            largest = max(shares, key=lambda part: shares[part])
            quoted[f"{key}.largest_{setting}"] = Number(
                f"{PARTS[largest]}, {shares[largest]:.0f} %", runs=(row.run,)
            )
        for found in own[own.candidate.isin(CALLED)].itertuples():
            route = found.candidate.replace(":", "_")
            quoted[f"{NAME}.{row.model}.calls.{route}_{setting}"] = Number(
                found.framework_pct, "%", 0, runs=(row.run,)
            )
    return quoted


def tried(frame: pd.DataFrame) -> dict[str, Number]:
    """speed.<model>.tried.<route>.<change>_t<threads>: over the route unchanged."""
    quoted = {}
    for row in frame.itertuples():
        route = row.route.replace(":", "_")
        key = f"{NAME}.{row.model}.tried.{route}.{row.change}_t{row.threads}"
        quoted[key] = columns.number(row, "ratio", "×")
    return quoted
