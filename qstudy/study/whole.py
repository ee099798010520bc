"""`make study`: every chapter executed, the comparison printed, the book built once."""

from __future__ import annotations

import time

from qstudy import data, experiments
from qstudy.study import notebooks, verify
from qstudy.study.collect import collect
from qstudy.study.runner import say
from qstudy.study.store import Store
from qstudy.study.tree import StudyError, repository, results_root, work_root


def study(mode: str) -> None:
    """Regenerate the study in `mode` ("quick" or "full") and build the book from it.

    Raises StudyError where a chapter fails, or where a chapter has nothing that can be
    compared with the published results.
    """
    if mode not in ("quick", "full"):
        raise ValueError(f"mode {mode!r} is not one of ('quick', 'full')")
    started = time.monotonic()
    data.ensure("cifar10")
    work, published = work_root(), results_root()
    names = notebooks.chapters()
    for number, name in enumerate(names, start=1):
        say(f"chapter {number} of {len(names)}: {name}")
        chapter_mode = mode if name in experiments.NAMES else "read"
        target = work / "notebooks" / f"{name}.ipynb"
        notebooks.execute(name, target, parameters={"mode": chapter_mode})
    collect(work, published=published)
    say("building the book")
    front = notebooks.build_book(work, repository(), quiet=True)
    print(comparison(Store(published), Store(work), names))
    say(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
    print(f"the book is at {front}")


def comparison(published: Store, work: Store, names: list[str]) -> str:
    """Regenerated against published values, by chapter and kind."""
    comparisons = verify.compare(published, work)
    lines = ["regenerated against published values:", verify.summary(comparisons)]
    lines += [f"  {c}" for c in comparisons if c.agrees is False]
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
    return "\n".join(lines)
