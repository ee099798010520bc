"""What is missing, how long it takes, and which part of it a machine should do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from qstudy import experiments
from qstudy.spec import RunRecord, RunSpec, Value
from qstudy.study import runner
from qstudy.study.store import Store


@dataclass(frozen=True)
class Step:
    """A missing run.

    `seconds` is None where no earlier record tells. `record` is the file that the run
    will make, `parents` the keys of the missing runs that it starts from, and `alone`
    whether runs of its task have measured time, which other work would disturb.
    """

    spec: RunSpec
    seconds: float | None
    record: Path
    parents: tuple[str, ...] = ()
    alone: bool = False


def plan(
    specs: list[RunSpec],
    *,
    work: Store,
    results: Store,
    timed: Iterable[Store] | None = None,
) -> list[Step]:
    """The missing runs of `specs` and of their parents, with seconds from records.

    Those of `timed`, or of both trees where None is given. A record of the very run
    counts first; else the median of the same experiment and task, which is a guess and
    the best there is.
    """
    earlier: dict[str, float] = {}
    alike: dict[tuple, list[float]] = {}
    latencies: set[tuple] = set()
    for store in (results, work) if timed is None else timed:
        for experiment in experiments.ALL:
            for record in store.records(experiment.NAME, experiment.VERSION):
                earlier[record.spec.key] = record.seconds
                alike.setdefault(_sort(record.spec), []).append(record.seconds)
                if any(value.unit == "ratio" for value in _timings(record)):
                    latencies.add(_sort(record.spec)[:2])
    wanted = runner.missing(
        runner.with_parents(specs, work=work, results=results),
        work=work,
        results=results,
    )
    keys = {spec.key for spec in wanted}
    return [
        Step(
            spec,
            earlier.get(spec.key) or _median(alike.get(_sort(spec))),
            work.path(spec),
            tuple(p.key for p in runner.parents_of(spec) if p.key in keys),
            _sort(spec)[:2] in latencies,
        )
        for spec in wanted
    ]


def _timings(record: RunRecord) -> list[Value]:
    return [value for value in record.values.values() if value.kind == "timing"]


def _sort(spec: RunSpec) -> tuple:
    return spec.experiment, spec.params.get("task"), spec.params.get("model")


def _median(seconds: list[float] | None) -> float | None:
    return median(seconds) if seconds else None


def as_text(steps: list[Step], specs: list[RunSpec]) -> str:
    """One line a missing run, one a chapter, and the sum."""
    lines = [
        f"{runner.describe(s.spec)}  "
        + (f"{s.seconds:.0f} s" if s.seconds is not None else "unknown time")
        for s in steps
    ]
    for name in dict.fromkeys(spec.experiment for spec in specs):
        lines.append(_sum(f"{name}:", specs, steps, name))
    return "\n".join([*lines, _sum("in all:", specs, steps)])


def _sum(
    words: str, specs: list[RunSpec], steps: list[Step], experiment: str = ""
) -> str:
    """How many runs of `experiment` ("": of all) are missing, and their seconds."""
    of = sum(s.experiment == experiment or not experiment for s in specs)
    mine = [s for s in steps if s.spec.experiment == experiment or not experiment]
    known = [s.seconds for s in mine if s.seconds is not None]
    told = f"{words:<11} {len(mine)} of {of} runs are missing"
    if known:
        told += f", about {spoken(sum(known))}"
    if len(known) < len(mine):
        told += f", {len(mine) - len(known)} of unknown length"
    return told


def spoken(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "4 min 10 s", "2 h 05 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def as_json(steps: list[Step]) -> list[dict]:
    """For schedulers: the key, the seconds and the spec of each missing run."""
    return [
        {
            "key": s.spec.key,
            "seconds": s.seconds,
            "record": os.fspath(s.record),
            "parents": list(s.parents),
            "alone": s.alone,
            "spec": s.spec.as_dict(),
        }
        for s in steps
    ]


def matching(specs: Iterable[RunSpec], key: str) -> list[RunSpec]:
    """The one run whose key begins with `key`. Raises ValueError otherwise."""
    found = {s.key: s for s in specs if s.key.startswith(key)}
    if len(found) != 1:
        raise ValueError(
            f"--only {key!r} matches {len(found)} runs; 'qstudy plan --json' lists keys"
        )
    return list(found.values())


def part(specs: list[RunSpec], shard: str) -> list[RunSpec]:
    """Every n-th run from the i-th, for `shard` "i/n" with 1 <= i <= n."""
    number, _, of = shard.partition("/")
    # Other scripts have digits too, and superscripts pass for some.
    plain = shard.isascii() and number.isdigit() and of.isdigit()
    if not (plain and 1 <= int(number) <= int(of)):
        raise ValueError(f"shard {shard!r} is not i/n with 1 <= i <= n, such as 1/4")
    return specs[int(number) - 1 :: int(of)]
