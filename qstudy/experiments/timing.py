"""What the latency tasks of all chapters share: values for a record, rows for a table.

Not an experiment itself. Ratios are stored with their interval, because a rerun is
judged by them; which candidate was the fastest fp32 is read from the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qstudy.experiments import columns
from qstudy.measure import latency
from qstudy.measure.latency import LatencyResult
from qstudy.spec import Context, RunRecord, RunSpec, Value

BASELINES = ("eager_fp32", "best_fp32", "best_bf16")


def measure(
    spec: RunSpec,
    ctx: Context,
    *,
    factory: Callable[..., Callable[[], object]],
    arguments: Mapping[str, Any],
) -> LatencyResult:
    """Time spec's candidates at its batch, threads, processes and rounds."""
    params = spec.params
    batches = params["batches"] if "batches" in params else [params["batch"]]
    told = f"timing batch {', '.join(map(str, batches))}"
    with ctx.progress(params["processes"], told) as step:
        return latency.measure(
            {name: {"name": name, **arguments} for name in params["candidates"]},
            factory=f"{factory.__module__}:{factory.__name__}",
            threads=params["threads"],
            batches=batches,
            processes=params["processes"],
            rounds=params["rounds"],
            seconds=params["seconds"],
            warmup_seconds=params["warmup_seconds"],
            seed=spec.seed,
            alone=params.get("alone", ()),
            progress=step,
        )


def baselines(result: LatencyResult, *, batch: int | None = None) -> dict[str, str]:
    """Baseline name -> the candidate that is it: "fp32:eager" and the fastest of each.

    A baseline of which no candidate was timed is left out. `batch` may be left out
    where only one was timed.
    """
    found = {}
    if "fp32:eager" in result.medians:
        found["eager_fp32"] = "fp32:eager"
    for precision in ("fp32", "bf16"):
        timed = [name for name in result.medians if name.startswith(f"{precision}:")]
        if timed:
            found[f"best_{precision}"] = latency.fastest(result, timed, batch=batch)
    return found


def values(result: LatencyResult, pairs: Sequence[tuple[str, str, str]]) -> dict:
    """ms of every candidate, and a "ratio/<name>/<candidate>" for each of `pairs`.

    A pair is (baseline's name, baseline candidate, candidate).
    """
    made = latency.to_values(result)
    for name, baseline, candidate in pairs:
        ratio = latency.ratio(result, baseline, candidate)
        made[f"ratio/{name}/{candidate}"] = Value(
            ratio.value, "ratio", "timing", ratio.low, ratio.high
        )
    return made


def rows(record: RunRecord) -> list[dict[str, Any]]:
    """One row a (candidate, baseline) pair, in the columns of the tables."""
    params = record.spec.params
    made = []
    for key, value in record.values.items():
        sort, _, rest = key.partition("/")
        if sort != "ratio":
            continue
        baseline, candidate, *sized = rest.split("/")
        # A run of several batches says in each key which one is meant.
        batch = int(sized[0][1:]) if sized else params["batch"]
        ms = record.values[f"ms/{candidate}/b{batch}"]
        made.append(
            {
                "model": params["model"],
                "candidate": candidate,
                "batch": batch,
                "threads": params["threads"],
                "n": params["processes"],
                **columns.interval("ms", ms),
                "baseline": baseline,
                **columns.interval("ratio", value),
                "machine": record.machine,
                "origin": record.origin,
                "run": record.spec.key,
            }
        )
    return made
