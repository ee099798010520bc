"""Where each network stands: under the roofs of the processor, and on the map.

Williams, Waterman and Patterson 2009: a layer needs at least the longer of operations
over the processor's peak and bytes over its bandwidth. The map has single layers; a
network's layer is put into the nearest of its cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from qstudy.experiments.speed.selection import best_engine, fastest
from qstudy.spec import RunRecord

# Of a kernel 3 x 3: weights of an output channel, by inputs an output; stride 1 and 2.
_THREE = (9.0, 9.0 / 4)
_FORMS = {"kernel": "kernel_ratio", "with ends": "ratio"}
ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}


def roofline_table(records: list[RunRecord]) -> pd.DataFrame:
    """Peaks as rows of kind "peak", bandwidths "level", layers "conv" and the like.

    A layer's `bound_ms` is the shortest time that the peak and the bandwidth of memory
    allow, `intensity` its operations a byte; both by precision.
    """
    rows = []
    for record in records:
        ends = {
            "threads": record.spec.params["threads"],
            "machine": record.machine,
            "origin": record.origin,
            "run": record.spec.key,
        }
        peaks = _under(record, "peak")
        bandwidths = _under(record, "bandwidth")
        for name, rate in peaks.items():
            rows.append({"kind": "peak", "precision": name, "gops": rate, **ends})
        for name, rate in bandwidths.items():
            rows.append({"kind": "level", "layer": name, "gb_s": rate, **ends})
        for layer in _layers_of(record):
            elements = sum(layer[k] for k in ("input", "weight", "output"))
            operations = 2 * layer["macs"]
            for precision, peak in peaks.items():
                moved = ELEMENT_BYTES[precision] * elements
                arithmetic = operations / (peak * 1e6)
                memory = moved / (bandwidths["memory"] * 1e6)
                rows.append(
                    {
                        **layer,
                        "precision": precision,
                        "bytes": moved,
                        "intensity": operations / moved,
                        "bound_ms": max(arithmetic, memory),
                        "bound_by": "peak" if arithmetic >= memory else "memory",
                        **ends,
                    }
                )
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    first = ["threads", "kind", "model", "number", "layer", "precision"]
    frame = frame.reindex(columns=[*first, *(c for c in frame if c not in first)])
    return frame.reset_index(drop=True)


def _under(record: RunRecord, group: str) -> dict[str, float]:
    start = f"{group}/"
    return {
        key.removeprefix(start): value.value
        for key, value in record.values.items()
        if key.startswith(start)
    }


def _layers_of(record: RunRecord) -> Iterable[dict[str, Any]]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for key, value in record.values.items():
        if key.startswith("layer/"):
            _, model, number, field = key.split("/")
            row = found.setdefault(
                (model, int(number)), {"model": model, "number": int(number)}
            )
            row["layer" if field == "name" else field] = value.value
    return found.values()


def points(roofline: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """A row a (network, threads, precision) of the fastest route, one image.

    `bound_ms` is the sum of the layers' own shortest times, `reached_pct` its share of
    the time that was measured, `peak_pct` the share of the peak.
    """
    made = []
    for (threads, precision), group in _layers(roofline).groupby(
        ["threads", "precision"], sort=False
    ):
        timed = speed[(speed.batch == 1) & (speed.threads == threads)]
        timed = fastest(timed[timed.baseline == "eager_fp32"], precision=str(precision))
        peak = roofline[
            (roofline.kind == "peak")
            & (roofline.threads == threads)
            & (roofline.precision == precision)
        ].gops.iloc[0]
        for model, layers in group.groupby("model", sort=False):
            for best in timed[timed.model == model].head(1).itertuples():
                operations = 2 * sum(layers.macs.tolist())
                gops = operations / (best.ms * 1e6)
                bound = sum(layers.bound_ms.tolist())
                by_memory = layers[layers.bound_by == "memory"].bound_ms.tolist()
                made.append(
                    {
                        "model": model,
                        "threads": threads,
                        "precision": precision,
                        "candidate": best.candidate,
                        "intensity": operations / sum(layers.bytes.tolist()),
                        "ms": best.ms,
                        "gops": gops,
                        "peak_pct": 100 * gops / peak,
                        "bound_ms": bound,
                        "memory_pct": 100 * sum(by_memory) / bound,
                        "reached_pct": 100 * bound / best.ms,
                        "machine": best.machine,
                        "origin": best.origin,
                        "run": best.run,
                        "baseline_run": layers.run.iloc[0],
                    }
                )
    return pd.DataFrame(made)


def places(roofline: pd.DataFrame, crossover: pd.DataFrame) -> pd.DataFrame:
    """A row a (network, cell of the map at one image) that a layer of it lies nearest.

    `layers` and `ops_pct` are how many of the network's layers and operations; `ratio`
    is the cell's own with quantize and dequantize, `kernel_ratio` without.
    """
    layers = _layers(roofline)
    layers = layers[layers.precision == "int8"]
    layers = layers[layers.threads == layers.threads.min()]
    cells = best_engine(crossover)
    cells = cells[cells.batch == 1]
    made = []
    for model, group in layers.groupby("model", sort=False):
        all_operations = sum(group.macs.tolist())
        found: dict[tuple[str, int, int], list[int]] = {}
        for layer in group.itertuples():
            cell = _cell(layer, cells)
            if cell:
                found.setdefault(cell, []).append(int(layer.macs))
        for (operator, first, second), macs in sorted(found.items()):
            row: dict[str, Any] = {
                "model": model,
                "operator": operator,
                "first": first,
                "second": second,
                "layers": len(macs),
                "ops_pct": 100 * sum(macs) / all_operations,
            }
            here = cells[
                (cells.operator == operator)
                & (cells["first"] == first)
                & (cells["second"] == second)
            ].set_index("form")
            for form, column in _FORMS.items():
                own = here.loc[form]
                row[column] = own.ratio
                row[f"{column}_lo"], row[f"{column}_hi"] = own.ratio_lo, own.ratio_hi
            row |= {
                "threads": here.threads.iloc[0],
                "machine": here.machine.iloc[0],
                "origin": here.origin.iloc[0],
                "run": here.run.iloc[0],
                "baseline_run": group.run.iloc[0],
            }
            made.append(row)
    return pd.DataFrame(made)


def _layers(roofline: pd.DataFrame) -> pd.DataFrame:
    if "model" not in roofline:
        return roofline.assign(model=None).head(0)
    return roofline[roofline.model.notna()]


def _cell(layer: Any, cells: pd.DataFrame) -> tuple[str, int, int] | None:
    """The nearest cell of the map; None for a kernel that is not on it."""
    taps = layer.macs / layer.output  # weights behind each output
    channels = layer.weight / taps
    if layer.kind == "linear":
        sides = taps, channels
    else:
        pixels = layer.output / channels
        inputs = 1.0 if layer.kind == "depthwise" else layer.input / pixels
        if layer.kind == "conv" and taps / inputs not in _THREE:
            return None
        sides = channels, math.sqrt(pixels)
    own = cells[cells.operator == layer.kind]
    known = sorted(set(zip(own["first"].tolist(), own["second"].tolist(), strict=True)))
    if not known:
        return None

    def apart(cell: tuple[int, int]) -> float:
        # As on a logarithmic scale, without logarithms.
        apart = 1.0
        for mine, its in zip(sides, cell, strict=True):
            apart *= max(mine / its, its / mine)
        return apart

    return (layer.kind, *min(known, key=apart))
