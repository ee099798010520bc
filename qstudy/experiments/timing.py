"""What the latency tasks of all chapters share: values for a record, rows for a table.

Not an experiment itself. Ratios are stored with their interval, because a rerun is
judged by them; which candidate was the fastest fp32 is read from the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
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
    environments: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> LatencyResult:
    """Time spec's candidates at its batch, threads, processes and rounds.

    `environments` as in latency.measure.
    """
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
            environments=environments,
            progress=step,
        )


Pairs = Sequence[tuple[str, str, str]]


def against_baselines(result: LatencyResult) -> Callable[[int], Pairs]:
    """`values`' pairs: every candidate against each baseline that was timed.

    Baselines are "fp32:eager" and the fastest fp32 and bf16 at the batch.
    """

    def pairs(batch: int) -> Pairs:
        found = {}
        if "fp32:eager" in result.medians:
            found["eager_fp32"] = "fp32:eager"
        for precision in ("fp32", "bf16"):
            timed = [
                name for name in result.medians if name.startswith(f"{precision}:")
            ]
            if timed:
                found[f"best_{precision}"] = latency.fastest(result, timed, batch=batch)
        return [
            (name, baseline, candidate)
            for name, baseline in found.items()
            for candidate in result.medians
        ]

    return pairs


def values(
    result: LatencyResult, pairs: Pairs | Callable[[int], Pairs]
) -> dict[str, Value]:
    """ms of every candidate, and a "ratio/<name>/<candidate>/b<batch>" for each pair.

    A pair is (baseline's name, baseline candidate, candidate); `pairs` are those of
    every batch, or a function that gives those of one.
    """
    made = latency.to_values(result)
    for batch in next(iter(result.medians.values())):
        chosen = pairs(batch) if callable(pairs) else pairs
        for name, baseline, candidate in chosen:
            ratio = latency.ratio(result, baseline, candidate, batch=batch)
            made[f"ratio/{name}/{candidate}/b{batch}"] = Value(
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
        baseline, candidate, sized = rest.split("/")
        batch = int(sized.removeprefix("b"))
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
