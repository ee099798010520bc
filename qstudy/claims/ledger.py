"""What a claim is, what decides it, and the fault that its check must reject.

A claim is in our words, with its source. Its rule is code over the tables and records
of a results tree and gives a finding: a verdict with the figures behind it. A tolerance
is a rule of the house or a figure of the source. Each rule has a control: a fault
planted in the same evidence, after which the rule must no longer say "holds". Where
the measured rows do not support a claim, the control first supposes rows that would,
so that it is the fault that is rejected and not the claim once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from qstudy.measure.statistics import FAILS, HOLDS, HOLDS_ABOVE_4, UNDECIDED
from qstudy.report.absent import NOT_MEASURED
from qstudy.spec import Number, RunRecord

NOT_TESTABLE = "not testable here"
VERDICTS = (HOLDS, HOLDS_ABOVE_4, FAILS, UNDECIDED, NOT_TESTABLE, NOT_MEASURED)
HOLDING = (HOLDS, HOLDS_ABOVE_4)


class NotMeasured(Exception):
    """The tree lacks a table, a row or a record that a rule needs."""


class Refused(Exception):
    """The evidence is not what the rule may judge by; the text says why."""


@dataclass(frozen=True)
class Finding:
    """A verdict and its figures as (label, number); a single figure needs no label."""

    verdict: str
    figures: tuple[tuple[str, Number], ...] = ()
    remark: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is not one of {VERDICTS}")


@dataclass(frozen=True)
class Evidence:
    """Tables by file name and records by key, as `collect` has them; never changed."""

    tables: Mapping[str, pd.DataFrame]
    records: Mapping[str, RunRecord] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """The table `name`; NotMeasured where the tree has none."""
        if name not in self.tables:
            raise NotMeasured(name)
        return self.tables[name]

    def rows(self, name: str, **where: Any) -> pd.DataFrame:
        """The rows of a table whose columns have these values; at least one.

        None stands for an empty cell.
        """
        frame = self.table(name)
        for column, value in where.items():
            if column not in frame:
                raise NotMeasured(f"{name}: {column}")
            empty = value is None
            frame = frame[frame[column].isna() if empty else frame[column] == value]
        if not len(frame):
            raise NotMeasured(f"{name}: {where}")
        return frame

    def row(self, name: str, **where: Any) -> pd.Series:
        """The first of `rows`."""
        return self.rows(name, **where).iloc[0]

    def record(self, key: str) -> RunRecord:
        """The record of a run; NotMeasured where the tree lacks it."""
        if key not in self.records:
            raise NotMeasured(f"run {key}")
        return self.records[key]

    def put(self, name: str, frame: pd.DataFrame) -> Evidence:
        """The same evidence with another table `name`."""
        return replace(self, tables={**self.tables, name: frame})

    def put_record(self, record: RunRecord) -> Evidence:
        """The same evidence with another record under the same key."""
        return replace(self, records={**self.records, record.spec.key: record})


Rule = Callable[[Evidence], Finding]
Change = Callable[[Evidence], Evidence]


@dataclass(frozen=True)
class Control:
    """A fault by name, and, for a claim that does not hold, rows in which it would."""

    fault: str
    plant: Change
    suppose: Change | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One entry of the ledger.

    `source` is a citation key and `place` the page, table or section. `chapter` is
    where the measurement is told. `explained` has a text for verdicts that are not
    "holds", by verdict; the text must be right whatever the figures.
    """

    id: str
    wording: str
    source: str
    place: str
    chapter: str
    condition: str
    tolerance: str
    rule: Rule | None
    control: Control | None
    explained: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.rule is None) != (self.control is None):
            raise ValueError(f"claim {self.id}: a rule needs a control, and no other")
        if self.rule is None and NOT_TESTABLE not in self.explained:
            raise ValueError(f"claim {self.id}: say why it is not testable here")


def judge(claim: Claim, evidence: Evidence) -> Finding:
    """The finding of a claim on a tree's evidence."""
    if claim.rule is None:
        return Finding(NOT_TESTABLE)
    try:
        return claim.rule(evidence)
    except NotMeasured:
        return Finding(NOT_MEASURED)
    except Refused as refused:
        return Finding(UNDECIDED, remark=str(refused))


def judge_control(claim: Claim, evidence: Evidence) -> str:
    """What the claim's rule says of the planted fault, as "rejected: ..." or not.

    "not measured in this tree" where evidence is missing, "no control: ..." where the
    claim does not hold and no rows are supposed in which it would; empty without a
    rule.
    """
    if claim.rule is None or claim.control is None:
        return ""
    try:
        found = judge(claim, evidence)
        if found.verdict == NOT_MEASURED:
            return NOT_MEASURED
        if found.verdict not in HOLDING:
            if claim.control.suppose is None:
                return "no control: the claim does not hold, so no fault can hide in it"
            evidence = claim.control.suppose(evidence)
            if judge(claim, evidence).verdict not in HOLDING:
                return "no control: the supposed rows do not support the claim"
        faulty = claim.rule(claim.control.plant(evidence))
    except NotMeasured:
        return NOT_MEASURED
    except Refused as refused:
        return f"rejected: {refused}"
    if faulty.verdict in HOLDING:
        return f"not rejected: {faulty.verdict}"
    return f"rejected: {faulty.verdict}"
