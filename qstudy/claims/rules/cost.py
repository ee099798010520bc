"""Rules on size and speed.

A ratio of times is refused without warm-up, from fewer than five processes, and where
the baseline is not the fastest of its precision.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.claims.ledger import Evidence, Finding, Refused, Rule
from qstudy.claims.rules.common import STATIC, above
from qstudy.experiments import columns
from qstudy.measure import statistics
from qstudy.measure.statistics import FAILS, HOLDS, UNDECIDED
from qstudy.spec import Number

LEAST_PROCESSES = 5
BASELINES = {"eager_fp32": "fp32", "best_fp32": "fp32", "best_bf16": "bf16"}


def static_size() -> Rule:
    """A quarter of the size: fp32 file over int8 file of ResNet-20."""

    def rule(evidence: Evidence) -> Finding:
        int8 = evidence.row("static.csv", seed=0, **STATIC)
        fp32 = evidence.row("static.csv", model="resnet20", method="fp32", seed=0)
        ratio = fp32.size_mib / int8.size_mib
        number = Number(ratio, "×", 2, runs=(fp32.run, int8.run))
        return Finding(statistics.size_verdict(ratio), (("", number),))

    return rule


def dynamic_size(model: str, *, form: str, least: float) -> Rule:
    """The file of a network in fp32 is at least `least` times that in `form`."""

    def rule(evidence: Evidence) -> Finding:
        row = evidence.row("dynamic_size.csv", model=model, form=form)
        number = columns.number(row, "ratio", "×", 2, compared=True)
        return Finding(HOLDS if row.ratio >= least else FAILS, (("", number),))

    return rule


def file_ratio(table: str, candidate: str, *, least: float, **setting: Any) -> Rule:
    """The file of eager fp32 is at least `least` times that of the candidate."""

    def rule(evidence: Evidence) -> Finding:
        fp32, other = (
            evidence.row(table, candidate=name, **setting)
            for name in ("fp32:eager", candidate)
        )
        ratio = fp32.size_mib / other.size_mib
        number = Number(ratio, "×", 2, runs=columns.runs(other))
        return Finding(HOLDS if ratio >= least else FAILS, (("", number),))

    return rule


def timed_row(
    evidence: Evidence, table: str, candidate: str, baseline: str, **setting: Any
) -> pd.Series:
    """The row of one ratio, if its run may be judged by; Refused with why not."""
    row = evidence.row(table, candidate=candidate, baseline=baseline, **setting)
    if row.n < LEAST_PROCESSES:
        raise Refused(f"{int(row.n)} process instead of {LEAST_PROCESSES}")
    if not evidence.record(row.run).spec.params["warmup_seconds"] > 0:
        raise Refused("timed without warm-up")
    beside = evidence.rows(table, run=row.run, batch=row.batch, baseline=baseline)
    precision = BASELINES[baseline]
    if baseline.startswith("best_"):
        same = beside[beside.candidate.str.startswith(f"{precision}:")]
        faster = same[same.ratio_lo > 1]
        if len(faster):
            name = faster.iloc[0].candidate
            raise Refused(f"{name} is faster than the baseline")
    return row


def speed(
    table: str,
    candidate: str,
    baseline: str,
    *,
    least: float | None = None,
    **setting: Any,
) -> Rule:
    """So many times as fast: 2 to 4 by its own rule, or more than `least`."""

    def rule(evidence: Evidence) -> Finding:
        row = timed_row(evidence, table, candidate, baseline, **setting)
        low, high = row.ratio_lo, row.ratio_hi
        if least is None:
            verdict = statistics.speed_verdict(low, high)
        else:
            verdict = above(low, high, least)
        return Finding(verdict, (("", columns.number(row, "ratio", "×", 2)),))

    return rule


def falls_with_batch(
    table: str, candidate: str, *, few: int, many: int, **setting: Any
) -> Rule:
    """The gain is larger for a small batch: the two ratios' intervals lie apart."""

    def rule(evidence: Evidence) -> Finding:
        rows = [
            timed_row(evidence, table, candidate, "eager_fp32", batch=b, **setting)
            for b in (few, many)
        ]
        small, large = rows
        verdict = UNDECIDED
        if small.ratio_lo > large.ratio_hi:
            verdict = HOLDS
        elif small.ratio_hi < large.ratio_lo:
            verdict = FAILS
        told = zip((f"batch {few}", f"batch {many}"), rows, strict=True)
        return Finding(
            verdict,
            tuple((name, columns.number(row, "ratio", "×", 2)) for name, row in told),
        )

    return rule
