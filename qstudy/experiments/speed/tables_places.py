"""Where each network stands: under the roofs of the processor, and on the map.

Williams, Waterman and Patterson 2009: a layer needs at least the longer of operations
over the processor's peak and bytes over its bandwidth. The map has single layers; a
network's layer is read from between its cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd

from qstudy.experiments.speed.tables_selection import best_engine, fastest
from qstudy.measure import portable
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
    """A row a (network, shape of layers that the map at one image has an operator for).

    `first` and `second` are the layer's own sides, as the map has them; `layers` and
    `ops_pct` how many of the network's layers and operations have them. `ratio` (with
    quantize and dequantize) and `kernel_ratio` are read from the map.
    """
    layers = _layers(roofline)
    layers = layers[layers.precision == "int8"]
    layers = layers[layers.threads == layers.threads.min()]
    cells = best_engine(crossover)
    cells = cells[cells.batch == 1]
    maps = {key: _Map(group) for key, group in cells.groupby(["operator", "form"])}
    made = []
    for model, group in layers.groupby("model", sort=False):
        all_operations = sum(group.macs.tolist())
        found: dict[tuple[str, int, int], list[int]] = {}
        for layer in group.itertuples():
            shape = _shape(layer)
            if shape and (shape[0], "kernel") in maps:
                found.setdefault(shape, []).append(int(layer.macs))
        for (operator, first, second), macs in sorted(found.items()):
            made.append(
                {
                    "model": model,
                    "operator": operator,
                    "first": first,
                    "second": second,
                    "layers": len(macs),
                    "ops_pct": 100 * sum(macs) / all_operations,
                    **{
                        column: maps[operator, form].at(first, second)
                        for form, column in _FORMS.items()
                    },
                    **maps[operator, "kernel"].ends,
                    "baseline_run": group.run.iloc[0],
                }
            )
    return pd.DataFrame(made)


class _Map:
    """Ratios over a grid of shapes, read between its cells.

    Straight in the logarithms of the two sides and of the ratio; beyond the grid's edge
    as at the edge.
    """

    def __init__(self, cells: pd.DataFrame) -> None:
        self.ratios = {
            (row.first, row.second): portable.log(row.ratio, 2)
            for row in cells.itertuples()
        }
        self.sides = [sorted(set(side)) for side in zip(*self.ratios, strict=True)]
        first = cells.iloc[0]
        self.ends = {k: first[k] for k in ("threads", "machine", "origin", "run")}

    def at(self, first: float, second: float) -> float:
        """The ratio at (first, second)."""
        (a, b, right), (c, d, up) = (
            _between(value, side)
            for value, side in zip((first, second), self.sides, strict=True)
        )
        low = (1 - right) * self.ratios[a, c] + right * self.ratios[b, c]
        high = (1 - right) * self.ratios[a, d] + right * self.ratios[b, d]
        return portable.power(2, (1 - up) * low + up * high)


def _between(value: float, sides: list[int]) -> tuple[int, int, float]:
    """The neighbours of `value` in `sides`, and how far it is from one to the other."""
    inside = min(max(value, sides[0]), sides[-1])
    for low, high in pairwise(sides):
        if low <= inside <= high:
            at, start, end = (portable.log(v, 2) for v in (inside, low, high))
            return low, high, (at - start) / (end - start)
    return sides[0], sides[0], 0.0


def _layers(roofline: pd.DataFrame) -> pd.DataFrame:
    if "model" not in roofline:
        return roofline.assign(model=None).head(0)
    return roofline[roofline.model.notna()]


def _shape(layer: Any) -> tuple[str, int, int] | None:
    """(operator, first, second) as the map has them; None for another kernel."""
    taps = layer.macs // layer.output  # weights behind each output
    channels = layer.weight // taps
    if layer.kind == "linear":
        return "linear", taps, channels
    pixels = layer.output // channels
    inputs = 1 if layer.kind == "depthwise" else layer.input / pixels
    if layer.kind == "conv" and taps / inputs not in _THREE:
        return None
    return layer.kind, int(channels), math.isqrt(int(pixels))
