"""The fusion chapter's records as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """A file a task: fusion.csv, fusion_latency.csv, _rounding.csv and _ranges.csv."""
    files = {
        "agreement": "fusion.csv",
        "latency": "fusion_latency.csv",
        "rounding": "fusion_rounding.csv",
        "ranges": "fusion_ranges.csv",
    }
    makers = {
        "agreement": lambda r: [{name: v.value for name, v in r.values.items()}],
        "latency": _latency_rows,
        "rounding": _rounding_rows,
        "ranges": _range_rows,
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for r in records:
        task = r.spec.params["task"]
        for row in makers[task](r):
            model = r.spec.params.get("pretrained", r.spec.params["model"])
            named = {"model": model, **row}
            rows.setdefault(files[task], []).append(
                named | {"origin": r.origin, "run": r.spec.key}
            )
    order = {"fusion_latency.csv": ["model", "batch"]}
    return {
        name: pd.DataFrame(made).sort_values(
            order.get(name, ["model"]), kind="stable", ignore_index=True
        )
        for name, made in rows.items()
    }


def _latency_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    (row,) = timing.rows(record)
    unfused = record.values[f"ms/unfused/b{row['batch']}"]
    row |= {"ms_unfused": unfused.value, "ms_fused": row.pop("ms")}
    for dropped in ("candidate", "ms_lo", "ms_hi", "baseline"):
        row.pop(dropped)
    yield row


def _rounding_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    from qstudy.measure.statistics import paired_drop

    for name in ("fp32", *(n for n in record.arrays if n != "fp32")):
        when, _, granularity = name.partition("_")
        top1 = record.values[f"{name.replace('_', '/', 1)}/top1"]
        row = {
            "weights": "fp32" if when == "fp32" else when,
            "granularity": granularity or None,
            "n": len(record.arrays[name]),
            **columns.interval("top1", top1),
        }
        if name != "fp32":
            drop = paired_drop(record.arrays["fp32"], record.arrays[name], seed=0)
            row |= columns.interval("drop_pp", drop)
        yield row


def _range_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    # A layer's own name may hold dots, never slashes.
    layers: dict[str, dict[str, Any]] = {}
    for key, value in record.values.items():
        layer, *rest = key.split("/")
        layers.setdefault(layer, {})["_".join(reversed(rest))] = value.value
    for layer, row in layers.items():
        inputs = row.pop("inputs")
        kind = "depthwise" if inputs == 1 else "dense"
        yield {"layer": layer, "kind": kind, **row}
