"""The ledger of one results tree: claims.csv, and the numbers that pages quote.

A row a claim: what it says, where it is from, by which rule it was judged, the figure
with its interval, the verdict, the planted fault and what became of it. Text and
figures are written the same way on every processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from qstudy.claims.deck import RESULTS
from qstudy.claims.deck_guide import SELECTION
from qstudy.claims.deck_modes import TABLE
from qstudy.claims.deck_types import TYPES
from qstudy.claims.deck_versus import AGAINST, LEARNED
from qstudy.claims.ledger import Claim, Evidence, Finding, judge, judge_control
from qstudy.claims.papers import JACOB, WHITEPAPER
from qstudy.claims.papers_esser import ESSER
from qstudy.claims.papers_mobilenet import DEPTHWISE_LAYERS
from qstudy.claims.papers_static import NAGEL, NVIDIA, WU_SWEEPS
from qstudy.claims.papers_wu import WU
from qstudy.claims.posts import PYTORCH
from qstudy.claims.speed import LARGER
from qstudy.report.numbers import format_number
from qstudy.report.tables import read_csv
from qstudy.spec import Number, RunRecord

FILE = "claims.csv"
PREFIX = "ledger."
GROUPS: Mapping[str, tuple[Claim, ...]] = {
    "The deck: its three results": RESULTS,
    "Size and speed on larger networks": LARGER,
    "The deck: types of quantization": TYPES,
    "The deck: selection guide": SELECTION,
    "The deck: modes": TABLE,
    "The deck: PTQ against QAT, and its example": AGAINST,
    "The deck: learned step sizes": LEARNED,
    "Wu et al. 2020": (*WU, *WU_SWEEPS),
    "Jacob et al. 2018": JACOB,
    "Krishnamoorthi 2018": WHITEPAPER,
    "Esser et al. 2020": ESSER,
    "Nagel et al. 2019 and 2020": NAGEL,
    "Networks with depthwise layers": DEPTHWISE_LAYERS,
    "PyTorch's own posts": PYTORCH,
    "NVIDIA's sample": NVIDIA,
}
ALL: tuple[Claim, ...] = tuple(claim for group in GROUPS.values() for claim in group)
COLUMNS = (
    *("claim", "source", "chapter", "condition", "tolerance", "figure", "verdict"),
    *("control", "control_verdict"),
)


def by_id(name: str) -> Claim:
    """The claim `name`; ValueError names the nearest ones."""
    for claim in ALL:
        if claim.id == name:
            return claim
    near = get_close_matches(name, [c.id for c in ALL], n=3, cutoff=0.0)
    raise ValueError(
        f"claim {name!r} is not one of the ledger's {len(ALL)}; the nearest: "
        f"{', '.join(near)}"
    )


def figure(finding: Finding) -> str:
    """A finding's figures as one text, "size: 3.78×; drop: -0.07 pp [-0.21, 0.07]"."""
    parts = [
        f"{label}: {format_number(number)}" if label else format_number(number)
        for label, number in finding.figures
    ]
    return "; ".join([*parts, finding.remark] if finding.remark else parts)


def collect(
    tables: Mapping[str, pd.DataFrame],
    records: Sequence[RunRecord],
    *,
    claims: Sequence[Claim] = ALL,
) -> tuple[pd.DataFrame, dict[str, Number]]:
    """claims.csv of a tree's tables and records, and ledger.* for numbers.json.

    The column `claim` is the identifier, a colon and the claim in our words.

    `ledger.claim.<id>` is the verdict, `ledger.figure.<id>` all of its figures as text
    and `ledger.<id>` the figure itself where there is a single one; `ledger.count.*`
    how many claims have which verdict.
    """
    evidence = Evidence(tables, {record.spec.key: record for record in records})
    rows, numbers = [], {}
    for claim in claims:
        finding = judge(claim, evidence)
        runs = tuple(
            sorted({key for _, number in finding.figures for key in number.runs})
        )
        control = claim.control.fault if claim.control else ""
        rejected = judge_control(claim, evidence)
        rows.append(
            {
                "claim": f"{claim.id}: {claim.wording}",
                "source": f"{claim.source}, {claim.place}",
                "chapter": claim.chapter,
                "condition": claim.condition,
                "tolerance": claim.tolerance,
                "figure": figure(finding) or None,
                "verdict": finding.verdict,
                "control": control or None,
                "control_verdict": rejected or None,
            }
        )
        name = f"{PREFIX}claim.{claim.id}"
        numbers[name] = Number(finding.verdict, runs=runs)
        shown = figure(finding) or "–"
        numbers[f"{PREFIX}figure.{claim.id}"] = Number(shown, runs=runs)
    numbers |= counts(rows)
    return pd.DataFrame(rows, columns=list(COLUMNS)), numbers


def counts(rows: Sequence[Mapping[str, str]]) -> dict[str, Number]:
    """How many claims there are, have which verdict, and whose control rejected."""
    made = {f"{PREFIX}count.claims": Number(len(rows), "", 0)}
    for name, begins in (
        ("holds", "holds"),
        ("fails", "fails"),
        ("undecided", "undecided"),
        ("not_testable", "not testable"),
        ("not_measured", "not measured"),
    ):
        found = sum(row["verdict"].startswith(begins) for row in rows)
        made[f"{PREFIX}count.{name}"] = Number(found, "", 0)
    verdicts = [row["control_verdict"] or "" for row in rows]
    tried = [v for v in verdicts if v and not v.startswith("not measured")]
    rejected = sum(v.startswith("rejected") for v in tried)
    made[f"{PREFIX}count.controls"] = Number(len(tried), "", 0)
    made[f"{PREFIX}count.rejected"] = Number(rejected, "", 0)
    return made


def read(tree: Path) -> pd.DataFrame:
    """claims.csv of a results tree, with the identifiers in a column `id` of their own.

    FileNotFoundError in one line where the tree has none.
    """
    path = tree / "tables" / FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; 'qstudy collect --tree {tree}' makes it"
        )
    ledger = read_csv(path)
    named = ledger.claim.str.partition(": ")
    return ledger.assign(id=named[0], claim=named[2])


def as_text(ledger: pd.DataFrame) -> str:
    """The whole ledger, a line a claim: id, verdict, figure."""
    widths = [max(map(len, ledger[column])) for column in ("id", "verdict")]
    lines = []
    for row in ledger.itertuples():
        found = "" if pd.isna(row.figure) else row.figure
        line = f"{row.id:<{widths[0]}}  {row.verdict:<{widths[1]}}  {found}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def told(claim: Claim, ledger: pd.DataFrame) -> str:
    """One claim's row in full, and what explains a verdict that is not "holds".

    ValueError where the tree's claims.csv has no such row.
    """
    found = ledger[ledger.id == claim.id]
    if not len(found):
        raise ValueError(
            f"claim {claim.id!r} is not in this tree's {FILE}; 'qstudy collect' makes "
            "it anew"
        )
    row = found.iloc[0].dropna()
    explained = (
        {"explained": claim.explained[row.verdict]}
        if (row.verdict in claim.explained)
        else {}
    )
    fields = {**row.drop("id"), **explained}
    return "\n".join(f"{name:<16} {text}" for name, text in fields.items())
