"""What all rules share: verdicts by an interval's two ends, several parts as one.

A comparison "holds" where its whole 95 % interval lies on the claimed side, "fails"
where the whole interval lies on the other, and is "undecided here" between. The limits
of a quarter of the size, of 2 to 4 times the speed and of almost no drop are those of
qstudy.measure.statistics.
"""

from __future__ import annotations

from collections.abc import Iterable

from qstudy.claims.ledger import Evidence, Finding, Rule
from qstudy.experiments.static.grid import HEADLINE
from qstudy.measure.statistics import FAILS, HOLDS, UNDECIDED, Interval
from qstudy.spec import Number

STATIC = {"model": "resnet20", "method": "static_int8", **HEADLINE, "draw": 0.0}


def worst(verdicts: Iterable[str]) -> str:
    """Of several parts of one claim: it fails with the first that fails."""
    found = set(verdicts)
    for verdict in (FAILS, UNDECIDED):
        if verdict in found:
            return verdict
    return HOLDS


def above(low: float, high: float, limit: float) -> str:
    """The verdict on "more than `limit`" by an interval's two ends."""
    if low > limit:
        return HOLDS
    return FAILS if high < limit else UNDECIDED


def at_most(low: float, high: float, limit: float) -> str:
    """The verdict on "at most `limit`" by an interval's two ends."""
    if high <= limit:
        return HOLDS
    return FAILS if low > limit else UNDECIDED


def quoted(found: Interval, unit: str, digits: int, runs: tuple[str, ...]) -> Number:
    """An interval as a number of the ledger."""
    ends = found.low, found.high
    return Number(found.value, unit, digits, *ends, found.n, runs)


def both(*rules: tuple[str, Rule]) -> Rule:
    """All of several labelled rules: as their worst, with the figures of all."""

    def rule(evidence: Evidence) -> Finding:
        found = [(label, one(evidence)) for label, one in rules]
        return Finding(
            worst(f.verdict for _, f in found),
            tuple(
                (f"{label} {name}".strip(), number)
                for label, finding in found
                for name, number in finding.figures
            ),
        )

    return rule
