"""The state of this machine and of what the study needs, as text for a person."""

from __future__ import annotations

from qstudy import data, experiments
from qstudy.measure import system
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import StudyError


def report(*, work: Store, results: Store) -> str:
    """Versions, processor, engines, data and checkpoints, and how to get the rest."""
    machine = system.describe()
    lines = ["versions"]
    lines += [f"  {name} {version}" for name, version in system.versions().items()]
    lines += ["machine"]
    lines += [f"  {name}: {_plain(value)}" for name, value in machine.items()]
    lines += ["data"]
    lines += [f"  {state}" for state in data.state()]
    lines += ["checkpoints"]
    lines += _checkpoints(work, results)
    return "\n".join(lines)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _checkpoints(work: Store, results: Store) -> list[str]:
    lines = []
    for store in (work, results):
        for experiment in experiments.ALL:
            for record in store.records(experiment.NAME, experiment.VERSION):
                if checkpoint_of(record):
                    lines.append(f"  {_state(store, record)}")
    return lines or [
        "  none: 'git checkout results' restores the published ones, "
        "'qstudy run --mode full --experiment baselines' trains them"
    ]


def _state(store: Store, record) -> str:
    try:
        path = store.checkpoint(record)
    except StudyError as error:
        return str(error)
    return f"{store.root.name}/checkpoints/{path.name}: there, SHA-256 right"
