"""From work/ to results/: the one command that changes what is published.

Only runs of the full grids are published, and what the grids no longer name is removed,
so that results/ is always exactly the study as the code describes it.
"""

from __future__ import annotations

from pathlib import Path

from qstudy import experiments
from qstudy.study.collect import collect, rewrite_readme
from qstudy.study.runner import stale_reason
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import StudyError


def publish(work: Path, results: Path, *, experiment: str = "") -> tuple[int, int]:
    """Copy records to `results`, collect there, rewrite README.

    With `experiment`, its records alone are copied; a `make study` may have left newer
    timings of others in `work`, which nobody meant to publish. Returns (published now,
    runs of the full grids that are still missing). Raises ValueError for an unknown
    experiment and StudyError for a stale record.
    """
    chosen = experiments.by_name(experiment).NAME if experiment else ""
    source, target = Store(work), Store(results)
    kept: set[Path] = set()
    published = missing = 0
    for each in experiments.ALL:
        for spec in each.grid("full"):
            record = source.read(spec) if chosen in ("", each.NAME) else None
            if record is not None:
                reason = stale_reason(record, work=source, results=target)
                if reason:
                    raise StudyError(f"run {spec.key} is stale: {reason}; run it again")
                target.take_over(record, source)
                published += 1
            there = target.read(spec)
            missing += there is None
            kept.add(target.path(spec))
            if there is not None and (made := checkpoint_of(there)):
                kept.add(results / "checkpoints" / made[0])
    for path in (
        *(results / "runs").glob("*/*.json"),
        *(results / "checkpoints").glob("*.safetensors"),
    ):
        if path not in kept:
            path.unlink()
            path.with_suffix(".npz").unlink(missing_ok=True)
    collect(results, origin="published")
    rewrite_readme(results)
    return published, missing
