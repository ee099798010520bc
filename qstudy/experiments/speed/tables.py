"""The speed chapter's records as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.experiments.speed.recipe import CANDIDATES
from qstudy.experiments.speed.tables_places import places, points, roofline_table
from qstudy.experiments.speed.tables_selection import whole
from qstudy.spec import RunRecord

PARTS = ("kernels", "rounding", "other", "framework")
_OTHER_ENGINES = {
    "onnxruntime": "onnxruntime",
    "ort": "onnxruntime",
    "openvino": "openvino",
}


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """speed.csv and speed_zoo.csv: a row a (network, setting, route, baseline).

    speed_tried.csv: a row a changed route, over itself. speed_breakdown.csv: where a
    route spends its time. speed_refused.csv: the routes that did not take a network,
    and why. speed_roofline.csv: peaks, then layers.
    speed_crossover.csv: a row a shape and int8 form. speed_points.csv and _places.csv:
    each network under the roofs and on the map. A table without rows is left out.
    """
    by_task: dict[str, list[RunRecord]] = {}
    for record in records:
        by_task.setdefault(record.spec.params["task"], []).append(record)
    routed = [*by_task.get("route", []), *by_task.get("zoo", [])]
    made = {
        "speed.csv": _routes(by_task.get("route", [])),
        "speed_zoo.csv": _routes(by_task.get("zoo", [])),
        "speed_tried.csv": _tried(by_task.get("tried", [])),
        "speed_breakdown.csv": _breakdown(routed),
        "speed_refused.csv": _refused(routed),
        "speed_roofline.csv": roofline_table(by_task.get("roofline", [])),
        "speed_crossover.csv": _crossover(by_task.get("crossover", [])),
    }
    if len(made["speed_roofline.csv"]):
        speed, crossover = made["speed.csv"], made["speed_crossover.csv"]
        if len(speed):
            made["speed_points.csv"] = points(made["speed_roofline.csv"], whole(speed))
        if len(crossover):
            made["speed_places.csv"] = places(made["speed_roofline.csv"], crossover)
    return {name: frame for name, frame in made.items() if len(frame)}


def engine_of(candidate: str) -> str:
    """Whose kernels a route runs: torch, onnxruntime or openvino."""
    how = candidate.partition(":")[2].partition("_")[0]
    return _OTHER_ENGINES.get(how, "torch")


def _sorted(rows: Iterable[dict[str, Any]], keys: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    if frame.empty:
        return frame
    order = {name: place for place, name in enumerate(CANDIDATES)}

    def place(column: pd.Series) -> pd.Series:
        if column.name != "candidate":
            return column
        return column.map(lambda name: (order.get(name, len(order)), name))

    return frame.sort_values(keys, key=place, ignore_index=True, kind="stable")


def _shared(record: RunRecord) -> dict[str, Any]:
    params = record.spec.params
    return {
        "model": params["model"],
        "batch": params["batch"],
        "threads": params["threads"],
        "routes": len(params["candidates"]),
    }


def _routes(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for record in records:
        # A quick run times fewer routes: its best is of those.
        company = {"routes": len(record.spec.params["candidates"])}
        for row in timing.rows(record):
            name = row["candidate"]
            about = {
                "precision": name.partition(":")[0],
                "engine": engine_of(name),
                "sqnr_db": _maybe(record, f"sqnr/{name}"),
                "agreement_pct": _maybe(record, f"agreement/{name}"),
                "size_mib": _maybe(record, f"size/{name}"),
                "int8_kernels": _maybe(record, f"kernels_int8/{name}"),
                "float_kernels": _maybe(record, f"kernels_float/{name}"),
                "kernels": _kernels(record, name),
                "load_pct": _maybe(record, "load"),
            }
            rows.append({**row, **company, **about})
    keys = ["model", "threads", "batch", "routes", "baseline", "candidate"]
    return _sorted(rows, keys)


def _tried(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for record in records:
        for row in timing.rows(record):
            route, _, change = row["candidate"].partition("+")
            rows.append({**row, "route": route, "change": change})
    return _sorted(rows, ["model", "threads", "candidate"])


def _kernels(record: RunRecord, candidate: str) -> str:
    """The kernels that ran, counted: "20 quantized::conv2d_relu; ..."."""
    end = f"/{candidate}"
    found = [
        (key.removeprefix("kernel ").removesuffix(end), value.value)
        for key, value in record.values.items()
        if key.startswith("kernel ") and key.endswith(end)
    ]
    ordered = sorted(found, key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{count} {name}" for name, count in ordered)


def _maybe(record: RunRecord, key: str) -> Any:
    return record.values[key].value if key in record.values else None


def _breakdown(records: list[RunRecord]) -> pd.DataFrame:
    rows = [
        {
            **_shared(record),
            "candidate": name,
            **{
                f"{part}_pct": record.values[f"spent_{part}/{name}"].value
                for part in PARTS
            },
            "machine": record.machine,
            "origin": record.origin,
            "run": record.spec.key,
        }
        for record in records
        for name in record.spec.params["candidates"]
        if f"spent_kernels/{name}" in record.values
    ]
    return _sorted(rows, ["model", "threads", "batch", "routes", "candidate"])


def _refused(records: list[RunRecord]) -> pd.DataFrame:
    rows = [
        {
            **_shared(record),
            "candidate": name,
            "reason": record.values[f"refused/{name}"].value,
            "origin": record.origin,
            "run": record.spec.key,
        }
        for record in records
        for name in record.spec.params["candidates"]
        if f"refused/{name}" in record.values
    ]
    return _sorted(rows, ["model", "threads", "batch", "routes", "candidate"])


def _crossover(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for record in records:
        params = record.spec.params
        for key, value in record.values.items():
            if not key.startswith("ratio/"):
                continue
            _, _, name, sized = key.split("/")
            layer, _, form = name.partition(".")
            operator, first, second = layer.split("-")
            engine = form.partition(":")[2]
            rows.append(
                {
                    "operator": operator,
                    "first": int(first),
                    "second": int(second),
                    "batch": int(sized.removeprefix("b")),
                    "threads": params["threads"],
                    "shapes": len(params["shapes"]),
                    "engine": engine.removesuffix("-ends"),
                    "form": "with ends" if engine.endswith("-ends") else "kernel",
                    "n": params["processes"],
                    **columns.interval("ms", record.values[f"ms/{name}/{sized}"]),
                    "baseline": "best_fp32",
                    **columns.interval("ratio", value),
                    "machine": record.machine,
                    "origin": record.origin,
                    "run": record.spec.key,
                }
            )
    keys = ["operator", "threads", "batch", "shapes", "engine", "form"]
    return _sorted(rows, [*keys, "first", "second"])
