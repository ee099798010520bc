"""`make study`: every run computed, the book built, the verdict printed last."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from qstudy import data, experiments
from qstudy.study import ahead, book, notebooks, plan, progress, verify
from qstudy.study.collect import refresh
from qstudy.study.runner import announcement, describe, say
from qstudy.study.store import Store
from qstudy.study.tree import (
    StudyError,
    book_folder,
    results_root,
    work_root,
)

MODES = ("quick", "full")


def study(mode: str) -> None:
    """Regenerate the study in `mode` ("quick" or "full") and build the book from it.

    Each chapter is executed by papermill in `mode` when all its runs are there, and
    stands in the book as papermill left it. Raises StudyError where a run or a chapter
    fails, or where a chapter has nothing that can be compared with the published
    results.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {MODES}")
    started = time.monotonic()
    data.ensure("cifar10")
    work, published = work_root(), results_root()
    names = notebooks.chapters()
    with progress.log_of("study") as log:
        steps = _steps(names, mode)
        watch = progress.Watch(log, _expected(steps))
        try:
            _compute(steps, watch, log=Path(log.name))
            watch.chapter("tables, figures and numbers")
            refresh(work, published=published)
            _regenerate(names, mode, watch, stream=log)
            front = book.build(
                work,
                book_folder(),
                log=log,
                say=watch.chapter,
                regenerated=work / "chapters",
            )
        finally:
            watch.close()
    print(comparison(Store(published), Store(work), names))
    say(f"done in {plan.spoken(time.monotonic() - started)}; the log is {log.name}")
    print(f"the book is at {front}")


def _expected(steps: list[plan.Step]) -> dict[str, float]:
    """Seconds of each missing run, by the short key; of a pair, each counts half."""
    paired = ahead.two_at_a_time(steps)
    return {
        step.spec.key[:12]: (step.seconds or 0.0)
        / (ahead.AT_ONCE if step in paired else 1)
        for step in steps
    }


def _compute(steps: list[plan.Step], watch: progress.Watch, *, log: Path) -> None:
    """Compute all that is missing: in pairs what times nothing, then one by one."""
    stores = {"work": Store(work_root()), "results": Store(results_root())}

    def done(step: plan.Step, number: int, of: int) -> None:
        key = step.spec.key[:12]
        watch.finished(key, f"{number} of {of} done: {describe(step.spec)}")

    def begun(step: plan.Step, number: int, of: int) -> None:
        watch.begun(step.spec.key[:12], announcement(number, of, step.spec))

    watch.chapter("what is not timed, two runs at a time")
    ahead.compute(steps, log=log, done=done, **stores)
    watch.chapter("what is timed, one run at a time")
    ahead.compute_the_rest(steps, log=log, begun=begun, **stores)


def _regenerate(
    names: list[str], mode: str, watch: progress.Watch, *, stream: TextIO
) -> None:
    """Execute the chapters by papermill; those that compute nothing are read."""

    def regenerate(name: str) -> str:
        given = {"mode": mode}
        if name not in experiments.NAMES:
            given = {"mode": "read", "results": os.fspath(work_root())}
        output = work_root() / "chapters" / f"{name}.ipynb"
        notebooks.regenerate(name, output, parameters=given, stream=stream)
        return name

    # Two at a time: a kernel takes most of its seconds to start, on one core.
    with ThreadPoolExecutor(2) as pool:
        for number, name in enumerate(pool.map(regenerate, names), start=1):
            watch.chapter(f"chapter {number} of {len(names)} by papermill: {name}")


def _steps(names: list[str], mode: str) -> list[plan.Step]:
    """The missing runs of all chapters, with their expected seconds."""
    stores = {"work": Store(work_root()), "results": Store(results_root())}
    specs = [
        spec
        for name in names
        if name in experiments.NAMES
        for spec in experiments.grid(name, mode)
    ]
    return plan.plan(specs, **stores)


def comparison(published: Store, work: Store, names: list[str]) -> str:
    """Regenerated against published values, by chapter and kind; the verdict last."""
    comparisons = verify.compare(published, work)
    lines = ["regenerated against published values:", verify.summary(comparisons)]
    for name in names:
        if name not in experiments.NAMES:
            continue
        experiment = experiments.by_name(name)
        records = published.records(name, experiment.VERSION)
        here = {r.spec.key for r in work.records(name, experiment.VERSION)}
        taken = sum(r.spec.key not in here for r in records)
        lines.append(f"  {name:<10} {taken} published runs taken over")
        judged = [c for c in comparisons if c.experiment == name]
        if records and not any(c.agrees is not None for c in judged):
            raise StudyError(
                f"chapter {name}: none of its values could be compared with the "
                "published results; 'qstudy plan --mode quick' says what is missing"
            )
    return "\n".join([*lines, *verdict(comparisons)])


def verdict(comparisons: list[verify.Comparison]) -> list[str]:
    """Each value that differs, with both figures and the rule; then the count."""
    differing = [c for c in comparisons if c.agrees is False]
    judged = [c for c in comparisons if c.agrees is not None]
    told = f"{len(judged) - len(differing):,} of {len(judged):,} compared values agree"
    if differing:
        told += f"; {len(differing):,} differ, named above"
    return [*map(str, differing), told]
