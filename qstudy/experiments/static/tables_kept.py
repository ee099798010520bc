"""Layers back in fp32: their drops, their times, and both of one set side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qstudy.experiments import timing
from qstudy.experiments.static import grid_kept
from qstudy.experiments.static.tables_parts import about, end, ordered, scores
from qstudy.spec import RunRecord, RunSpec

_TIMES = ("ms", "ms_lo", "ms_hi", "ratio", "ratio_lo", "ratio_hi")


def tables(
    scored: list[RunRecord], timed: list[RunRecord]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """static_kept.csv: drops; static_kept_latency.csv: times; static_pareto.csv: both.

    Each where its runs are there; `scored` are of task `kept`, `timed` of
    `kept_latency`.
    """
    drops = pd.DataFrame([row for record in ordered(scored) for row in _kept(record)])
    if len(drops):
        yield "static_kept.csv", drops
    times = pd.DataFrame([row for record in timed for row in _times(record)])
    if not len(times):
        return
    times = times.sort_values(
        ["threads", "baseline", "ms"], ignore_index=True, kind="stable"
    )
    yield "static_kept_latency.csv", times
    if len(drops) and (both := _both(drops, times)):
        yield "static_pareto.csv", _fronts(pd.DataFrame(both))


def _kept(record: RunRecord) -> Iterator[dict[str, Any]]:
    """A row a width and set of layers, once for each order that has the set."""
    params = record.spec.params
    for bits in params["bits"]:
        for order, count, name in grid_kept.places(params):
            layers = params["orders"].get(order, [])[:count]
            yield {
                **about(record),
                "bits": bits,
                "engine": params["engine"] if bits == 8 else "simulated",
                "order": order,
                "kept": int(record["layers"]) if count is None else count,
                "set": name,
                "layers": " ".join(layers),
                **scores(record, f"w{bits}.{name}"),
                **end(record),
            }


def _times(record: RunRecord) -> Iterator[dict[str, Any]]:
    """As timing.rows, and which network it was."""
    parent = RunSpec.from_dict(record.spec.params["parent"])
    for row in timing.rows(record):
        yield {**row, "stage": parent.params["stage"], "seed": parent.seed}


def _both(drops: pd.DataFrame, times: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a width, number of threads and set; the fastest fp32, which drops nothing.

    `ratio` is the time with no layer kept over that of the row, in 8 bits as all times.
    """
    rows = []
    of_int8 = times[times.baseline == "int8"]
    for keys, timed in of_int8.groupby(["model", "stage", "seed", "threads"]):
        model, stage, seed, threads = keys
        chosen = (drops.model == model) & (drops.stage == stage) & (drops.seed == seed)
        by_name = timed.set_index("candidate")
        fp32 = timed[timed.candidate.str.startswith("fp32:")]
        fastest = fp32.loc[fp32.ms.idxmin()] if len(fp32) else None
        for bits, scored in drops[chosen].groupby("bits"):
            for row in scored.to_dict("records"):
                if f"int8:{row['set']}" in by_name.index:
                    time = by_name.loc[f"int8:{row['set']}"]
                    rows.append(_joined(row, time, int(threads)))
            if fastest is not None:
                none = dict.fromkeys(("drop_pp", "drop_lo", "drop_hi"), 0.0)
                name = fastest.candidate.partition(":")[2]
                told = {"bits": bits, "order": "fp32", "set": name, "layers": ""}
                base = {**scored.iloc[-1].to_dict(), **told, **none}
                rows.append(_joined(base, fastest, int(threads)))
    return rows


def _joined(row: dict[str, Any], time: pd.Series, threads: int) -> dict[str, Any]:
    taken = ("model", "stage", "split", "seed", "bits", "order", "kept", "set")
    return {
        **{name: row[name] for name in (*taken, "layers", "n")},
        **{name: row[name] for name in ("drop_pp", "drop_lo", "drop_hi")},
        "threads": threads,
        "batch": int(time.batch),
        **{name: time[name] for name in _TIMES},
        "processes": int(time.n),
        "machine": time.machine,
        "origin": row["origin"],
        "run": row["run"],
        "baseline_run": time.run,
    }


def _fronts(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with `front`: no set is as fast and drops less. By the medians alone."""
    on: set[tuple[Any, ...]] = set()
    keys = ["model", "stage", "seed", "bits", "threads"]
    for key, rows in frame.groupby(keys):
        least = float("inf")
        for row in rows.sort_values(["ms", "drop_pp"], kind="stable").itertuples():
            if row.drop_pp < least:
                least = row.drop_pp
                on.add((*key, row.set))
    marks = [tuple(row) in on for row in frame[[*keys, "set"]].itertuples(index=False)]
    return frame.assign(front=marks)
