"""What prose quotes of the fusion chapter."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.fusion.grid import NAME
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """fusion.<model>.*: differences, counts, ratios, ranges, accuracies."""
    quoted = {}
    nothing = pd.DataFrame()
    for row in tables.get("fusion.csv", nothing).to_dict("records"):
        key, runs = f"{NAME}.{row['model']}", (row["run"],)
        for name in ("", "torch_"):
            for dtype in ("float64", "fp32"):
                quantity = f"{name}{dtype}_difference"
                quoted[f"{key}.{quantity}"] = Number(f"{row[quantity]:.1e}", runs=runs)
        for name in ("modules", "operations"):
            for when in ("before", "after"):
                quantity = f"{name}_{when}"
                quoted[f"{key}.{quantity}"] = Number(
                    int(row[quantity]), "", 0, runs=runs
                )
    for row in tables.get("fusion_latency.csv", nothing).itertuples():
        quoted[f"{NAME}.{row.model}.ratio_b{int(row.batch)}"] = columns.number(
            row, "ratio", "×"
        )
        quoted[f"{NAME}.{row.model}.verdict_b{int(row.batch)}"] = Number(
            _verdict(row.ratio_lo, row.ratio_hi), runs=(row.run,)
        )
    for row in tables.get("fusion_rounding.csv", nothing).itertuples():
        if row.weights == "fp32":
            continue
        quoted[f"{NAME}.{row.model}.drop_{row.weights}_{row.granularity}"] = (
            columns.number(row, "drop_pp", "pp")
        )
    if "fusion_ranges.csv" in tables:
        for model, layers in tables["fusion_ranges.csv"].groupby("model"):
            quoted |= _range_numbers(f"{NAME}.{model}", layers)
    return quoted


def _verdict(low: float, high: float) -> str:
    if low <= 1 <= high:
        return "not resolved"
    return "faster" if low > 1 else "slower"


def _range_numbers(key: str, layers: pd.DataFrame) -> dict[str, Number]:
    runs, n = tuple(layers.run.unique()), len(layers)
    widening = layers.spread_fused / layers.spread_unfused
    quoted = {
        f"{key}.range_widening": Number(
            portable.median(widening), "×", 2, n=n, runs=runs
        ),
        f"{key}.range_widening_max": Number(widening.max(), "×", 2, n=n, runs=runs),
        f"{key}.layers_widened": Number(int((widening > 1).sum()), "", 0, runs=runs),
        f"{key}.layers": Number(n, "", 0, runs=runs),
    }
    for short in ("tensor", "channel"):
        before = layers[f"per_{short}_sqnr_unfused"]
        loss = before - layers[f"per_{short}_sqnr_fused"]
        quoted[f"{key}.{short}_sqnr_loss"] = Number(
            portable.median(loss), "dB", 2, n=n, runs=runs
        )
        quoted[f"{key}.{short}_sqnr_loss_max"] = Number(
            loss.max(), "dB", 2, n=n, runs=runs
        )
        depthwise = loss[layers.kind == "depthwise"]
        if len(depthwise):
            quoted[f"{key}.{short}_sqnr_loss_depthwise"] = Number(
                portable.median(depthwise), "dB", 2, n=len(depthwise), runs=runs
            )
    return quoted
