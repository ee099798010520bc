"""Where a quoted number comes from: its runs, their machines, the way to repeat it.

Reads of each record what a reader asks for and checks nothing; qstudy.study.store
checks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qstudy.report.numbers import format_number
from qstudy.spec import Number

SHORT = 12  # digits of a run's key that are shown; `qstudy run --only` takes them
MOST_RUNS = 3


@dataclass(frozen=True)
class Run:
    """One run: its experiment, machine, and PyTorch's version."""

    key: str
    experiment: str
    machine: str
    torch: str


class Runs:
    """The runs of results trees, by key; the first tree that has a run is asked."""

    def __init__(self, *trees: Path) -> None:
        self._trees = trees

    @cached_property
    def _places(self) -> dict[str, Path]:
        places: dict[str, Path] = {}
        for tree in self._trees:
            for path in tree.glob("runs/*/*.json"):
                places.setdefault(path.stem, path)
        return places

    def get(self, key: str) -> Run | None:
        """The run `key`, or None where no tree has it."""
        path = self._places.get(key)
        if path is None:
            return None
        record = json.loads(path.read_bytes())
        system = path.parents[2] / "systems" / f"{record['system']}.json"
        return Run(
            key=key,
            experiment=record["spec"]["experiment"],
            machine=json.loads(system.read_bytes())["label"],
            torch=record["versions"].get("torch", ""),
        )


def rows(key: str, number: Number, runs: Runs) -> list[tuple[str, str]]:
    """What stands behind a number, as (name, text), in the order in which it is told.

    Names: key, value, interval, n, machine, PyTorch, run or runs, repeat. What a
    number does not have is left out.
    """
    told = [("key", key), ("value", format_number(number, "value"))]
    if number.low is not None and number.high is not None:
        both = format_number(number)
        told.append(("interval", f"{both[both.index('[') :]} (95 %)"))
    if number.n is not None:
        told.append(("n", f"{number.n:,}"))
    found = [run for run in map(runs.get, number.runs) if run is not None]
    machines = sorted({run.machine for run in found})
    if machines:
        told.append(("machine", "; ".join(machines)))
        told.append(("PyTorch", ", ".join(sorted({run.torch for run in found}))))
    if number.runs:
        shown = ", ".join(run[:SHORT] for run in number.runs[:MOST_RUNS])
        more = len(number.runs) - MOST_RUNS
        told.append(
            (
                "run" if len(number.runs) == 1 else "runs",
                shown + (f" and {more} more" if more > 0 else ""),
            )
        )
        told += [("repeat", line) for line in repeat(number, found)]
    return told


def repeat(number: Number, found: list[Run]) -> list[str]:
    """The commands that measure a number again: one a run, or one for many runs."""
    if len(number.runs) <= MOST_RUNS:
        return [f"qstudy run --only {run[:SHORT]}" for run in number.runs]
    names = dict.fromkeys(run.experiment for run in found)
    return [f"qstudy run --mode full --experiment {name}" for name in names]
