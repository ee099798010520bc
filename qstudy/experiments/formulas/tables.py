"""The formulas chapter's records as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """One table a task; a task without a record has none."""
    makers = {
        "conventions": ("conventions.csv", _conventions),
        "operators": ("integer_operators.csv", _operators),
        "overflow": ("overflow.csv", _overflow),
        "executor": ("integer_network.csv", _networks),
        "errors": ("quantization_error.csv", _errors),
        "calibrator_cost": ("calibrator_cost.csv", _costs),
        "conformance": ("conformance.csv", _conformance),
    }
    made = {}
    for task, (name, maker) in makers.items():
        chosen = [r for r in records if r.spec.params["task"] == task]
        if chosen:
            made[name] = maker(chosen)
    if "conventions.csv" in made:
        stated = [r for r in records if r.spec.params["task"] == "conventions"]
        made["rounding_ties.csv"] = _ties(stated)
    executed = [r for r in records if r.spec.params["task"] == "executor"]
    if executed:
        made["integer_layers.csv"] = _layers(executed)
        made["integer_steps.csv"] = _same_input(executed)
    if "conformance.csv" in made:
        made["conformance_summary.csv"] = _conformance_summary(made["conformance.csv"])
    return made


def _common(record: RunRecord) -> dict[str, str]:
    return {"origin": record.origin, "run": record.spec.key}


def _nested(record: RunRecord) -> Iterable[tuple[list[str], Any]]:
    """(parts of the key, value) of every value of a record."""
    return ((key.split("/"), value) for key, value in record.values.items())


def _conventions(records: list[RunRecord]) -> pd.DataFrame:
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        for (scheme, convention, field), value in _nested(record):
            if scheme == "ties":
                continue
            row = cells.setdefault((scheme, convention), {})
            row[field] = value.value
            row["unit"] = value.unit if field == "scale" else row.get("unit", "unit")
            row |= _common(record)
    rows = [{"scheme": s, "convention": c, **row} for (s, c), row in cells.items()]
    order = ["scheme", "convention", "scale", "unit", "zero_point", "code"]
    return pd.DataFrame(rows)[[*order, "origin", "run"]]


def _ties(records: list[RunRecord]) -> pd.DataFrame:
    rows = [
        {
            "call": key.split("/")[1],
            "n": r[f"{key}/after"] + r[f"{key}/before"],
            "after": r[f"{key}/after"],
            "before": r[f"{key}/before"],
            **_common(r),
        }
        for r in records
        for key in (k.rpartition("/")[0] for k in r.values if k.endswith("/after"))
    ]
    return pd.DataFrame(rows)


def _operators(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for r in records:
        trials = {key.rpartition("/")[0] for key in r.values}
        for trial in trials:
            operator, inputs, bits = trial.split("/")
            n, differing = r[f"{trial}/n"], r[f"{trial}/differing"]
            rows.append(
                {
                    "engine": r.spec.params["engine"],
                    "operator": operator,
                    "inputs": inputs,
                    "activation_bits": int(bits),
                    "n": n,
                    "differing": differing,
                    "share": 100 * differing / n,
                    "largest": r[f"{trial}/largest"],
                    **_common(r),
                }
            )
    keys = ["engine", "operator", "activation_bits", "inputs"]
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True, kind="stable")


def _overflow(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for r in records:
        for parts, value in _nested(r):
            if parts[-1] == "saturating":
                operator, engine, _ = parts
                rows.append(
                    {
                        "operator": operator,
                        "engine": engine,
                        "exact_sum": r["exact_sum"],
                        "expected": r[f"{operator}/expected"],
                        "smallest": r[f"{operator}/{engine}/smallest"],
                        "n": r[f"{operator}/cases"],
                        "saturating": value.value,
                        **_common(r),
                    }
                )
    return pd.DataFrame(rows).sort_values(
        ["operator", "engine"], ignore_index=True, kind="stable"
    )


def _networks(records: list[RunRecord]) -> pd.DataFrame:
    from qstudy.measure.statistics import paired_drop

    rows = []
    for r in records:
        params = r.spec.params
        for arithmetic in ("engine", "float32", "double", "single"):
            top1 = r.values[f"{arithmetic}/top1"]
            drop = paired_drop(
                r.arrays["correct_engine"], r.arrays[f"correct_{arithmetic}"], seed=0
            )
            rows.append(
                {
                    "model": params["model"],
                    "dataset": params["dataset"],
                    "split": "test",
                    "engine": params["engine"],
                    "arithmetic": arithmetic,
                    "activation_bits": params["activation_bits"],
                    "n": params["images"],
                    **columns.interval("top1", top1),
                    **columns.interval("drop_pp", drop),
                    "changed": r[f"{arithmetic}/changed"],
                    "other_logits": (
                        r["other_logits"] if arithmetic == "float32" else None
                    ),
                    **_reduced(r, arithmetic, records),
                    **_common(r),
                    "baseline_run": _eight_bits(r, records),
                }
            )
    keys = ["n", "engine", "activation_bits"]
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True, kind="stable")


def _reduced(
    record: RunRecord, arithmetic: str, records: list[RunRecord]
) -> dict[str, float | None]:
    """What 7-bit activations cost against 8 bits, on the same images; else empty."""
    from qstudy.measure.statistics import paired_drop

    eight = {r.spec.key: r for r in records}.get(_eight_bits(record, records))
    drop, name = None, f"correct_{arithmetic}"
    if eight is not None:
        drop = paired_drop(eight.arrays[name], record.arrays[name], seed=0)
    return columns.interval("seven_pp", drop)


def _eight_bits(record: RunRecord, records: list[RunRecord]) -> str | None:
    """The key of the run with 8 bits that one with fewer is compared with."""
    if record.spec.params["activation_bits"] == 8:
        return None
    wanted = {**record.spec.params, "activation_bits": 8}
    return next((r.spec.key for r in records if dict(r.spec.params) == wanted), None)


def _same_input(records: list[RunRecord]) -> pd.DataFrame:
    """What one step changes from the engine's float32 to fixed point, input equal."""
    rows = []
    for r in records:
        for parts, value in _nested(r):
            if parts[0] == "same_input" and parts[-1] == "off_by_one":
                step = parts[1]
                rows.append(
                    {
                        "model": r.spec.params["model"],
                        "engine": r.spec.params["engine"],
                        "activation_bits": r.spec.params["activation_bits"],
                        "n": r.spec.params["images"],
                        "step": step,
                        "off_by_one": value.value,
                        "off_by_more": r[f"same_input/{step}/off_by_more"],
                        "unit": "%",
                        **_common(r),
                    }
                )
    keys = ["n", "engine", "activation_bits", "step"]
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True, kind="stable")


def _layers(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for r in records:
        places = sum(key.startswith("double/off_by_one/") for key in r.values)
        for rounding in ("double", "single"):
            for place in range(places):
                # The stem is place 0 and the logits come last; between them, blocks.
                name = {0: "stem", places - 1: "logits"}.get(place, f"block {place}")
                rows.append(
                    {
                        "model": r.spec.params["model"],
                        "engine": r.spec.params["engine"],
                        "activation_bits": r.spec.params["activation_bits"],
                        "n": r.spec.params["images"],
                        "rounding": rounding,
                        "place": place,
                        "after": name,
                        "off_by_one": r[f"{rounding}/off_by_one/{place}"],
                        "off_by_more": r[f"{rounding}/off_by_more/{place}"],
                        "unit": "%",
                        **_common(r),
                    }
                )
    keys = ["n", "engine", "activation_bits", "rounding", "place"]
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True, kind="stable")


def _errors(records: list[RunRecord]) -> pd.DataFrame:
    cells: dict[tuple, dict[str, Any]] = {}
    for r in records:
        for parts, value in _nested(r):
            if len(parts) == 5:
                source, bits, granularity, calibrator, measure = parts
                key = (source, int(bits), granularity, calibrator)
                row = cells.setdefault(key, {"crest": r[f"{source}/crest"]})
                row |= {measure: value.value, **_common(r)}
    keys = ["source", "bits", "granularity", "calibrator"]
    rows = [{**dict(zip(keys, key, strict=True)), **row} for key, row in cells.items()]
    measures = ["sqnr", "theory", "mse", "mae", "kl", "cosine", "crest"]
    frame = pd.DataFrame(rows)[[*keys, *measures, "origin", "run"]]
    return frame.sort_values(keys, ignore_index=True, kind="stable")


def _costs(records: list[RunRecord]) -> pd.DataFrame:
    rows = [row for r in records for row in timing.rows(r)]
    frame = pd.DataFrame(rows)
    values = {r.spec.key: r.spec.params["values"] for r in records}
    counts = frame.run.map(values)
    frame.insert(2, "values", counts)
    frame.insert(3, "ns_a_value", frame.ms * 1e6 / counts)
    return frame.sort_values(["values", "candidate"], ignore_index=True, kind="stable")


def _conformance(records: list[RunRecord]) -> pd.DataFrame:
    from qstudy.methods.conformance import load

    known = {v.id: v for v in load()}
    rows = []
    for r in records:
        for parts, value in _nested(r):
            implementation, vector = parts[0], known.get(parts[1])
            if len(parts) == 2 and vector is not None:
                found = r.values.get(f"{implementation}/{vector.id}/found")
                rows.append(
                    {
                        "implementation": implementation,
                        "op": vector.op,
                        "id": vector.id,
                        "derived": "yes" if vector.derived else "no",
                        "result": value.value,
                        "found": found.value if found else None,
                        "convention": vector.convention,
                        "source": vector.source,
                        **_common(r),
                    }
                )
    return pd.DataFrame(rows).sort_values(
        ["implementation", "id"], ignore_index=True, kind="stable"
    )


def _conformance_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A row an operation: of the vectors offered, how many each implementation passes.

    A cell is "passed / offered"; empty where the implementation offers none.
    """
    rows = []
    for op, of_op in frame.groupby("op"):
        row: dict[str, Any] = {"op": op, "n": of_op.id.nunique()}
        for implementation, part in of_op.groupby("implementation"):
            offered = part[part.result != "not offered"]
            passed = int((offered.result == "passes").sum())
            row[implementation] = f"{passed} / {len(offered)}" if len(offered) else None
        rows.append(row)
    return pd.DataFrame(rows)
