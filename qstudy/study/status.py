"""The status page: every table and figure, when, where and by which module it was made.

A Sphinx extension with the directives {status-files}, {status-systems} and
{status-versions}. They judge the results tree that the book is built from, at the
moment it is built: a file is stale where a run behind it is of an older version of its
experiment, is no longer in the grids, or started from a checkpoint that has changed.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from qstudy import experiments
from qstudy.report import origins
from qstudy.report.sphinx_ext import results_tree
from qstudy.report.tables import read_csv
from qstudy.spec import RunRecord
from qstudy.study.runner import stale_reason
from qstudy.study.store import Store


@dataclass(frozen=True)
class FileStatus:
    """One table or figure and the runs behind it; empty texts where nothing is known.

    `measured` is a date or two, "first to last", of the commits that the runs were made
    with; `stale` says why, and is empty where nothing is.
    """

    file: str
    experiment: str
    module: str
    runs: int
    machines: tuple[str, ...]
    measured: str
    stale: str


class Records:
    """The records of a results tree, completed from the published one."""

    def __init__(self, tree: Path, published: Path) -> None:
        self.store, self.published = Store(tree), Store(published)
        self.by_key: dict[str, RunRecord] = {}
        for store in (self.published, self.store):
            for path in sorted(store.root.glob("runs/*/*.json")):
                record = store.by_key(path.parent.name, path.stem)
                self.by_key[path.stem] = record

    def of_experiment(self, name: str) -> list[RunRecord]:
        return [r for r in self.by_key.values() if r.spec.experiment == name]

    def why_stale(self, record: RunRecord) -> str:
        """Why a run no longer is what the code describes; empty where it is."""
        version = experiments.by_name(record.spec.experiment).VERSION
        if record.spec.version != version:
            return f"run of version {record.spec.version}, now {version}"
        if record.spec.key not in _planned(record.spec.experiment):
            return "run that the grids no longer name"
        return stale_reason(record, work=self.store, results=self.published)


@cache
def _records(tree: Path, published: Path) -> Records:
    return Records(tree, published)


@cache
def _planned(name: str) -> frozenset[str]:
    modes = ("full", "quick")
    return frozenset(s.key for mode in modes for s in experiments.grid(name, mode))


def files(records: Records, tree: Path) -> list[FileStatus]:
    """The tables and figures of `tree`, those of one experiment together."""
    paths = [*(tree / "tables").glob("*.csv"), *(tree / "figures").glob("*.csv")]
    told = [_status(path, records) for path in paths]
    order = {name: place for place, name in enumerate(experiments.NAMES)}
    return sorted(told, key=lambda s: (order.get(s.experiment, len(order)), s.file))


def _status(path: Path, records: Records) -> FileStatus:
    figure = path.parent.name == "figures"
    module = origins.module_of(path.stem if figure else path.name)
    name = next((n for n in experiments.NAMES if _belongs(module, n)), "")
    frame = read_csv(path)
    named = set(frame["run"].dropna()) if "run" in frame else set()
    behind = [records.by_key[key] for key in sorted(named) if key in records.by_key]
    if not figure and "run" not in frame:
        behind = records.of_experiment(name)  # an aggregate of all of them
    reasons = Counter(filter(None, map(records.why_stale, behind)))
    stale = "; ".join(f"{count}: {why}" for why, count in reasons.items())
    lost = len(named) - len(behind) if named else 0
    if lost:
        stale = "; ".join(filter(None, [stale, f"{lost} runs without a record"]))
    return FileStatus(
        file=f"{path.parent.name}/{path.name}",
        experiment=name,
        module=module,
        runs=len(behind),
        machines=tuple(sorted({r.machine for r in behind})),
        measured=_dates(r.commit for r in behind),
        stale=stale,
    )


def _belongs(module: str, experiment: str) -> bool:
    """Whether a module is of an experiment: experiments.NAME..., file or package."""
    rest = module.removeprefix("qstudy.experiments.")
    return rest.replace(".", "_").split("_")[0] == experiment


def _dates(commits: Iterable[str]) -> str:
    days = sorted(filter(None, map(_day, set(commits))))
    if not days:
        return ""
    first, last = days[0], days[-1]
    if first[:8] == last[:8]:  # one month: only the day of the last
        last = last[8:]
    return first if days[0] == days[-1] else f"{first} to {last}"


@cache
def _day(commit: str) -> str:
    """The day of a commit, or nothing where git or the commit is not at hand."""
    name = commit.removesuffix("-dirty")
    command = ["git", "-C", str(Path(__file__).parent), "show", "-s", "--format=%cs"]
    try:
        done = subprocess.run([*command, name], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def systems(records: Records) -> list[tuple[str, dict[str, Any], Counter[str]]]:
    """(id, description, runs by experiment) of each machine that made a record."""
    counts: dict[str, Counter[str]] = {}
    for record in records.by_key.values():
        counts.setdefault(record.system, Counter())[record.spec.experiment] += 1
    told = []
    for name in sorted(counts):
        stores = (records.store, records.published)
        paths = [store.root / "systems" / f"{name}.json" for store in stores]
        path = next(path for path in paths if path.exists())
        told.append((name, json.loads(path.read_bytes()), counts[name]))
    return told


def _pipe(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [header, [":---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _files_table(records: Records, tree: Path) -> list[str]:
    rows = []
    letters = {s["label"]: letter for letter, (_, s, _) in _lettered(records)}
    for told in files(records, tree):
        rows.append(
            [
                f"{{csv}}`{told.file}`",
                _link(told.module) if told.module else "–",
                str(told.runs) if told.runs else "computed",
                told.measured or "–",
                ", ".join(sorted(letters[m] for m in told.machines)) or "–",
                told.stale or "no",
            ]
        )
    header = ["File", "Made by", "Runs", "Measured", "Machine", "Stale"]
    return _pipe(header, rows)


def _link(module: str) -> str:
    return f"{{py:mod}}`{module.removeprefix('qstudy.experiments.')} <{module}>`"


def _lettered(records: Records) -> list[tuple[str, tuple]]:
    """The systems as A, B, ..., the one with most runs first."""
    found = sorted(systems(records), key=lambda s: (-s[2].total(), s[0]))
    return list(zip(ascii_uppercase, found, strict=False))


def _systems_table(records: Records, tree: Path) -> list[str]:
    lettered = _lettered(records)
    found = [system for _, system in lettered]
    facts = {
        "Processor": lambda s: f"{s['cpu']} ({s['cpu_signature']})",
        "Cores": lambda s: str(s["cores"]),
        "Memory [GiB]": lambda s: str(s["memory_gib"]),
        "Class": lambda s: s["isa_class"],
        "Instructions": lambda s: ", ".join(s["flags"]),
        "System": lambda s: s["os"],
    }
    rows = [[name, *(tell(s) for _, s, _ in found)] for name, tell in facts.items()]
    for name in experiments.NAMES:
        rows.append([f"Runs of {name}", *(str(counts[name]) for _, _, counts in found)])
    header = [f"{letter}: `{name}`" for letter, (name, _, _) in lettered]
    return _pipe(["", *header], rows)


def _versions_table(records: Records, tree: Path) -> list[str]:
    told = Counter(
        ", ".join(f"{name} {v}" for name, v in sorted(record.versions.items()))
        for record in records.by_key.values()
    )
    return _pipe(["Versions", "Runs"], ([v, str(n)] for v, n in told.most_common()))


class _Table(SphinxDirective):
    """A directive that prints one of the tables above."""

    tables = {  # noqa: RUF012
        "status-files": _files_table,
        "status-systems": _systems_table,
        "status-versions": _versions_table,
    }

    def run(self) -> list[nodes.Node]:
        source = Path(self.env.srcdir)
        tree = results_tree(source)
        lines = self.tables[self.name](_records(tree, source / "results"), tree)
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), 0, holder)
        return holder.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    for name in _Table.tables:
        app.add_directive(name, _Table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
