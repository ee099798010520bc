"""Compute what is missing, keep each run as it ends, and lose one at most.

Runs are looked up in the work tree alone; the published results supply checkpoints. A
record whose inputs have changed since is stale: it says so and is computed again.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from qstudy import data, experiments
from qstudy.spec import RunRecord, RunSpec
from qstudy.study.store import Store, checkpoint_of, sha256_file
from qstudy.study.tree import StudyError


def say(line: str) -> None:
    """Progress goes to standard error, so that output can be piped."""
    print(line, file=sys.stderr, flush=True)


@dataclass
class RunContext:
    """What a run is given: data, parents' checkpoints, a resume folder, a bar."""

    work: Store
    results: Store
    resume: Path
    inputs: dict[str, str] = field(default_factory=dict)
    origin: str = "regenerated"

    def images(self, dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        self.inputs[f"data:{dataset}/{split}"] = data.sha256(dataset, split)
        return data.load(dataset, split)

    def texts(self, dataset: str, split: str) -> tuple[Any, ...]:
        self.inputs[f"data:{dataset}/{split}"] = data.sha256(dataset, split)
        return data.texts(dataset, split)

    def checkpoint(self, parent: RunSpec) -> Path:
        record, store = find_parent(parent, self.work, self.results)
        path = store.checkpoint(record)
        _, sha = checkpoint_of(record)
        self.inputs[f"parent:{parent.experiment}/{parent.key}"] = sha
        if store.root == self.results.root:
            self.origin = "from-checkpoint"
        return path

    def pretrained(self, name: str) -> Path:
        path = data.weights.path(name)
        self.inputs[f"weights:{name}"] = sha256_file(path)
        return path

    @contextmanager
    def progress(self, total: int, description: str) -> Iterator[Callable[[str], None]]:
        with tqdm(total=total, desc=f"  {description}", file=sys.stderr) as bar:

            def step(note: str = "") -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update()

            yield step


def find_parent(
    parent: RunSpec, work: Store, results: Store
) -> tuple[RunRecord, Store]:
    """The record of a parent run and the tree that holds it, work before results."""
    for store in (work, results):
        record = store.read(parent)
        if record is not None:
            return record, store
    raise StudyError(
        f"the run {parent.key} ({parent.experiment}) that this one starts from is in "
        f"neither {work.root.name}/ nor {results.root.name}/; compute it with "
        f"'qstudy run --only {parent.key}'"
    )


def stale_reason(record: RunRecord, *, work: Store, results: Store) -> str:
    """Why `record` no longer follows from its inputs; empty where it does."""
    for name, sha in record.inputs.items():
        sort, _, rest = name.partition(":")
        if sort == "data":
            now = data.sha256(*rest.split("/"))
        elif sort == "weights":  # their SHA-256 is pinned in the code that loads them
            now = sha
        else:
            parent = work.by_key(*rest.split("/")) or results.by_key(*rest.split("/"))
            now = checkpoint_of(parent)[1] if parent else sha
        if now != sha:
            return f"{name} is now {now[:12]}, it was computed from {sha[:12]}"
    return ""


def reason_to_run(spec: RunSpec, *, work: Store, results: Store) -> str | None:
    """Why `spec` must run: "" for no record, else why it is stale; None if not."""
    record = work.read(spec)
    if record is None:
        return ""
    return stale_reason(record, work=work, results=results) or None


def missing(specs: Iterable[RunSpec], *, work: Store, results: Store) -> list[RunSpec]:
    """Those of `specs` that the work tree has no record of, or a stale one; says so."""
    wanted = []
    for spec in specs:
        reason = reason_to_run(spec, work=work, results=results)
        if reason:
            say(f"stale: {describe(spec)}: {reason}")
        if reason is not None:
            wanted.append(spec)
    return wanted


def run_one(spec: RunSpec, *, work: Store, results: Store) -> RunRecord:
    """Compute `spec` now and keep its record in the work tree."""
    from qstudy.measure import system

    experiment = experiments.by_name(spec.experiment)
    resume = work.root / "resume" / spec.key
    carried = results.root / "partial" / spec.key
    if carried.is_dir() and not resume.exists():
        shutil.copytree(carried, resume)
    context = RunContext(work=work, results=results, resume=resume)
    started = time.perf_counter()
    outcome = experiment.run(spec, context)
    machine = system.describe()
    record = RunRecord(
        spec=spec,
        values=outcome.values,
        inputs=context.inputs,
        artifacts={},
        seconds=outcome.earlier_seconds + time.perf_counter() - started,
        peak_mib=system.peak_memory_mib(),
        versions=system.versions(),
        commit=system.commit(),
        system=machine["id"],
        origin=context.origin,
        arrays=outcome.arrays,
    )
    kept = work.write(
        record,
        machine=machine,
        checkpoint=outcome.checkpoint,
        checkpoint_name=outcome.checkpoint_name,
    )
    shutil.rmtree(resume, ignore_errors=True)
    return kept


def with_parameters(spec: RunSpec, changed: Mapping[str, Any]) -> RunSpec:
    """`spec` with a reader's own parameters; `seed` is added to the run's own seed.

    A parameter that this run does not have leaves it as it is.
    """
    own = {k: v for k, v in changed.items() if k in spec.params}
    return replace(
        spec,
        params={**spec.params, **own},
        seed=spec.seed + changed.get("seed", 0),
    )


def parents_of(spec: RunSpec) -> list[RunSpec]:
    """The runs that `spec` starts from, as its parameters name them."""
    return [
        RunSpec.from_dict(value)
        for value in spec.params.values()
        if isinstance(value, Mapping) and "experiment" in value
    ]


def with_parents(
    specs: Iterable[RunSpec], *, work: Store, results: Store
) -> list[RunSpec]:
    """`specs`, each after the parents that neither tree has."""
    ordered: dict[RunSpec, None] = {}
    for spec in specs:
        absent = [
            p
            for p in parents_of(spec)
            if work.read(p) is None and results.read(p) is None
        ]
        for parent in with_parents(absent, work=work, results=results):
            ordered.setdefault(parent)
        ordered.setdefault(spec)
    return list(ordered)


def run_missing(specs: list[RunSpec], *, work: Store, results: Store) -> int:
    """Compute what is missing of `specs`, in order; return how many were computed."""
    specs = with_parents(specs, work=work, results=results)
    wanted = missing(specs, work=work, results=results)
    if not wanted:
        say(f"all {len(specs)} runs are there")
    for number, spec in enumerate(wanted, start=1):
        say(announcement(number, len(wanted), spec))
        with claimed(spec, work):
            # Another process may have computed it since, or while this one waited.
            if reason_to_run(spec, work=work, results=results) is not None:
                run_one(spec, work=work, results=results)
    return len(wanted)


@contextmanager
def claimed(spec: RunSpec, work: Store) -> Iterator[None]:
    """Hold the run `spec` of this work tree; wait where another process holds it.

    Two processes must not share a resume folder. The lock is a byte of one file, at an
    offset that the key gives, and ends with the process however that ends.
    """
    path = work.root / "locks"
    try:
        work.root.mkdir(parents=True, exist_ok=True)
        handle = open(path, "ab")  # noqa: SIM115, closed below
    except OSError as error:
        raise StudyError(
            f"cannot write {path}: {error.strerror}; set QSTUDY_WORK to a folder that "
            "can be written"
        ) from error
    with handle:
        place = int(spec.key[:15], 16)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            say(f"another process computes the run {spec.key[:12]}: waiting for it")
            fcntl.lockf(handle, fcntl.LOCK_EX, 1, place)
        yield


def announcement(number: int, of: int, spec: RunSpec) -> str:
    """The line before a run."""
    return f"run {number} of {of}: {describe(spec)}"


def describe(spec: RunSpec) -> str:
    """One line for a person: experiment, plain parameters, seed, short key."""
    plain = [
        f"{name}={value}"
        for name, value in sorted(spec.params.items())
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]
    return f"{spec.experiment} {' '.join(plain)} seed={spec.seed} [{spec.key[:12]}]"
