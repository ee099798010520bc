"""What is missing, how long it takes, and which part of it a machine should do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from qstudy import experiments
from qstudy.spec import RunSpec
from qstudy.study import runner
from qstudy.study.store import Store


@dataclass(frozen=True)
class Step:
    """A missing run; `seconds` is None where no earlier record tells."""

    spec: RunSpec
    seconds: float | None


def plan(specs: list[RunSpec], *, work: Store, results: Store) -> list[Step]:
    """The missing runs of `specs`, with seconds from earlier records.

    A record of the very run counts first; else the median of the same experiment and
    task, which is a guess and the best there is.
    """
    earlier: dict[str, float] = {}
    alike: dict[tuple, list[float]] = {}
    for store in (results, work):
        for experiment in experiments.ALL:
            for record in store.records(experiment.NAME, experiment.VERSION):
                earlier[record.spec.key] = record.seconds
                alike.setdefault(_sort(record.spec), []).append(record.seconds)
    return [
        Step(spec, earlier.get(spec.key) or _median(alike.get(_sort(spec))))
        for spec in runner.missing(specs, work=work, results=results)
    ]


def _sort(spec: RunSpec) -> tuple:
    return spec.experiment, spec.params.get("task"), spec.params.get("model")


def _median(seconds: list[float] | None) -> float | None:
    return median(seconds) if seconds else None


def as_text(steps: list[Step], specs: list[RunSpec]) -> str:
    """One line a missing run, and the sum."""
    lines = [
        f"{runner.describe(s.spec)}  "
        + (f"{s.seconds:.0f} s" if s.seconds is not None else "unknown time")
        for s in steps
    ]
    known = sum(s.seconds for s in steps if s.seconds is not None)
    unknown = sum(s.seconds is None for s in steps)
    lines.append(
        f"{len(steps)} of {len(specs)} runs are missing: about {known / 60:.0f} minutes"
        + (f" and {unknown} runs of unknown length" if unknown else "")
    )
    return "\n".join(lines)


def as_json(steps: list[Step]) -> list[dict]:
    """For schedulers: the key, the seconds and the spec of each missing run."""
    return [
        {"key": s.spec.key, "seconds": s.seconds, "spec": s.spec.as_dict()}
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
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise ValueError(f"shard {shard!r} is not i/n with 1 <= i <= n, such as 1/4")
    return specs[int(number) - 1 :: int(of)]
