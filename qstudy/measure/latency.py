"""How long candidates take, compared in interleaved rounds in fresh processes.

A process has its own memory layout, thread placement and compiled code, and these move
a latency more than the rounds inside one process do; so a process yields one median a
candidate, and the interval comes from a bootstrap over processes. Within a process the
candidates take turns (`worker.interleave`), so a slow minute hits all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from qstudy.measure import processes as workers
from qstudy.measure.statistics import Interval, median_interval, median_ratio
from qstudy.spec import Value

# Published runs use at least this many processes: fewer give no usable interval.
PROCESSES = 5


@dataclass(frozen=True)
class LatencyResult:
    """Per-process medians: `medians[candidate][batch]` is ms, one entry a process.

    Entry i of every tuple comes from process i. ValueError for no candidate, times that
    are not positive, or candidates with other batches or numbers of processes.
    """

    medians: Mapping[str, Mapping[int, tuple[float, ...]]]

    def __post_init__(self) -> None:
        cells = [cell for batches in self.medians.values() for cell in batches.values()]
        if not cells or not all(cells):
            raise ValueError("a latency result needs a candidate, a batch, a process")
        if len({tuple(sorted(batches)) for batches in self.medians.values()}) > 1:
            raise ValueError("the candidates were not timed at the same batch sizes")
        if len({len(cell) for cell in cells}) > 1:
            raise ValueError("the candidates were not timed in the same processes")
        if not all(0 < ms < float("inf") for cell in cells for ms in cell):
            raise ValueError("a latency is not positive and finite")

    def cell(self, candidate: str, batch: int | None = None) -> tuple[float, ...]:
        """ms of one candidate, one a process; `batch` may be left out if only one.

        ValueError names the candidates or batch sizes that there are.
        """
        if candidate not in self.medians:
            raise ValueError(
                f"candidate {candidate!r} is not one of {list(self.medians)}"
            )
        batches = self.medians[candidate]
        if batch is None and len(batches) == 1:
            (batch,) = batches
        if batch not in batches:
            raise ValueError(f"batch {batch!r} is not one of {list(batches)}")
        return batches[batch]


def ratio(
    result: LatencyResult,
    baseline: str,
    candidate: str,
    *,
    batch: int | None = None,
    seed: int = 0,
) -> Interval:
    """Baseline time over candidate time, above 1 is faster; n counts processes.

    See `statistics.median_ratio`. ValueError as `LatencyResult.cell`.
    """
    above, below = result.cell(baseline, batch), result.cell(candidate, batch)
    return median_ratio(above, below, seed=seed)


def milliseconds(
    result: LatencyResult, candidate: str, *, batch: int | None = None, seed: int = 0
) -> Interval:
    """The median ms of a call, with its bootstrap interval over processes."""
    return median_interval(result.cell(candidate, batch), seed=seed)


def fastest(
    result: LatencyResult, candidates: Sequence[str], *, batch: int | None = None
) -> str:
    """The candidate with the lowest median ms, for instance best_fp32 of all fp32 ones.

    The first of equals. ValueError as `LatencyResult.cell`, or for no candidates.
    """
    if not candidates:
        raise ValueError("no candidates to choose the fastest from")
    return min(candidates, key=lambda name: np.median(result.cell(name, batch)))


def aggregate(answers: Sequence[Mapping[str, Any]]) -> LatencyResult:
    """Workers' samples ({candidate: {batch: [ms a round]}}, one a process) to medians.

    ValueError where the processes did not time the same candidates and batches.
    """
    if not answers:
        raise ValueError("no answers of worker processes to aggregate")
    shape = {name: set(batches) for name, batches in answers[0].items()}
    for answer in answers:
        if {name: set(batches) for name, batches in answer.items()} != shape:
            raise ValueError("the processes did not time the same candidates, batches")
    return LatencyResult(
        {
            name: {
                int(batch): tuple(float(np.median(a[name][batch])) for a in answers)
                for batch in batches
            }
            for name, batches in answers[0].items()
        }
    )


def to_values(result: LatencyResult, *, seed: int = 0) -> dict[str, Value]:
    """A result for a run's record, kind "timing", unit ms; `from_values` reads it back.

    "ms/<candidate>/b<batch>" is the median over processes with its interval,
    ".../p<i>" process i's own median.
    """
    values = {}
    for name, batches in result.medians.items():
        for batch, cell in batches.items():
            key, whole = f"ms/{name}/b{batch}", median_interval(cell, seed=seed)
            values[key] = Value(whole.value, "ms", "timing", whole.low, whole.high)
            for i, ms in enumerate(cell):
                values[f"{key}/p{i}"] = Value(ms, "ms", "timing")
    return values


def from_values(values: Mapping[str, Value]) -> LatencyResult:
    """The result that `to_values` put into a record; other values are passed over.

    ValueError where there is none.
    """
    found: dict[str, dict[int, dict[int, float]]] = {}
    for key, value in values.items():
        match key.split("/"):
            case ["ms", name, batch, process]:
                cell = found.setdefault(name, {}).setdefault(int(batch[1:]), {})
                cell[int(process[1:])] = float(value.value)
    return LatencyResult(
        {
            name: {
                batch: tuple(ms for _, ms in sorted(cell.items()))
                for batch, cell in batches.items()
            }
            for name, batches in found.items()
        }
    )


def measure(
    candidates: Mapping[str, Mapping[str, Any]],
    *,
    factory: str,
    threads: int,
    batches: Sequence[int] = (1,),
    processes: int = PROCESSES,
    rounds: int = 50,
    seconds: float = 20.0,
    warmup_seconds: float = 5.0,
    seed: int = 0,
    timeout: float = 3600.0,
    alone: Collection[str] = (),
    environments: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    progress: Callable[[str], None] | None = None,
) -> LatencyResult:
    """Time `candidates` (name -> arguments of the factory) side by side.

    factory: "module:function", called in the worker as function(batch=..., **args),
    returns the callable of no arguments that is timed. threads: of torch and OpenMP.
    rounds: at most so many samples; seconds: of timed rounds, a process and batch size;
    warmup_seconds: at most, a candidate and batch size, the first call not counted.
    Smoke runs may use 1 process; published ones use at least PROCESSES. seed: of the
    candidates' weights and inputs and of the order. timeout: seconds for one process.
    alone: candidates that change a setting of the whole process; each has processes of
    its own, which take turns with those that the others share. environments: variables
    that some candidates' processes are started with; those of equal ones share theirs.
    progress: called with a line of text after each process.

    ValueError for settings outside their range; RuntimeError, one line with the
    candidate's name, where one fails. The worker ends with
    this process, also on Ctrl-C.
    """
    _check(candidates, factory=factory, batches=batches, apart=[*alone, *environments])
    for name, number in (
        ("threads", threads),
        ("processes", processes),
        ("rounds", rounds),
    ):
        if number < 1:
            raise ValueError(f"{name} {number!r} is not at least 1")
    job = {
        "factory": factory,
        "batches": list(batches),
        "threads": threads,
        "rounds": rounds,
        "seconds": seconds,
        "warmup_seconds": warmup_seconds,
        "seed": seed,
    }
    jobs = [{"name": n, "args": dict(a)} for n, a in candidates.items()]
    told = [{**job, "process": process} for process in range(processes)]

    def done(process: int) -> None:
        if progress is not None:
            progress(f"process {process + 1} of {processes}")

    groups: dict[object, dict[str, Any]] = {}
    for each in jobs:
        name = each["name"]
        environment = dict(environments.get(name, {}))
        key = name if name in alone else tuple(sorted(environment.items()))
        group = groups.setdefault(key, {"candidates": [], "environment": environment})
        group["candidates"].append(each)
    if len(groups) == 1:
        (group,) = groups.values()
        told = [{**each, **group} for each in told]
        return aggregate(workers.take_turns(told, timeout=timeout, done=done))
    answers = []
    for each in told:
        answer: dict[str, Any] = {}
        for group in groups.values():
            # Each ends before the next is built: one that waits may not wait quietly.
            answer |= workers.ask({**each, **group}, timeout=timeout)
        answers.append(answer)
        done(each["process"])
    return aggregate(answers)


def _check(
    candidates: Mapping[str, Mapping[str, Any]],
    *,
    factory: str,
    batches: Sequence[int],
    apart: Collection[str],
) -> None:
    if not candidates:
        raise ValueError("no candidates to time; give name -> arguments")
    slashed = [name for name in candidates if not name or "/" in name]
    if slashed:
        raise ValueError(f"candidate {slashed[0]!r} is empty or has a '/'; rename it")
    for name in apart:
        if name not in candidates:
            raise ValueError(f"candidate {name!r} is not one of {list(candidates)}")
    module, _, function = factory.partition(":")
    if not module or not function:
        raise ValueError(f"factory {factory!r} is not of the form 'module:function'")
    if not batches or len(set(batches)) < len(batches) or min(batches) < 1:
        raise ValueError(f"batches {list(batches)} are not distinct numbers from 1")
