"""The ledger in the book: {claims} prints a group, {claims-explained} what failed.

Both read claims.csv of the tree that the book is built from, so that pages and table
cannot differ. What explains a verdict is chosen by the verdict found in that tree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pandas as pd
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from qstudy.claims import entries
from qstudy.claims.ledger import HOLDING, NOT_MEASURED, NOT_TESTABLE, Claim
from qstudy.report.sphinx_ext import results_tree

_logger = logging.getLogger(__name__)
HEADER = ("Claim, and how it is judged", "Verdict", "Found", "Planted fault")


def group_table(ledger: pd.DataFrame, group: str) -> list[str]:
    """The lines of a Markdown table of one group's claims.

    Raises ValueError for a group that there is not.
    """
    if group not in entries.GROUPS:
        raise ValueError(f"group {group!r} is not one of {tuple(entries.GROUPS)}")
    rows = by_id(ledger)
    lines = [HEADER, [":---"] * len(HEADER)]
    for claim in entries.GROUPS[group]:
        row = rows[claim.id]
        what = f"**{claim.wording}** {{cite}}`{claim.source}`, {claim.place}; "
        what += f"`{claim.id}`. {_judged(claim)}"
        control = f"{_text(row.control)}: {_text(row.control_verdict)}"
        planted = "–" if pd.isna(row.control) else control
        lines.append([what, row.verdict, _text(row.figure), planted])
    return [f"| {' | '.join(line)} |" for line in lines]


def _judged(claim: Claim) -> str:
    """Condition and rule, with a link to the chapter; nothing without a rule."""
    if claim.rule is None:
        return ""
    return f"Judged on {claim.condition}: {claim.tolerance} ([]({claim.chapter}))."


def explained(ledger: pd.DataFrame, *, verdicts: tuple[str, ...]) -> list[str]:
    """A definition list of the claims with one of `verdicts`, each explained."""
    rows = by_id(ledger)
    lines: list[str] = []
    for claim in entries.ALL:
        row = rows[claim.id]
        if row.verdict not in verdicts:
            continue
        why = claim.explained.get(row.verdict, "The figures above say how.")
        found = "" if pd.isna(row.figure) else f" Found: {row.figure}."
        lines += [f"`{claim.id}` {claim.wording}", f": *{row.verdict}.* {why}{found}"]
        lines.append("")
    return lines or ["None."]


def by_id(ledger: pd.DataFrame) -> dict[str, Any]:
    """The rows by claim; ValueError where the table lacks one."""
    rows = {row.id: row for row in ledger.itertuples()}
    missing = [claim.id for claim in entries.ALL if claim.id not in rows]
    if missing:
        raise ValueError(
            f"{entries.FILE} lacks {', '.join(missing)}: 'qstudy collect' makes it anew"
        )
    return rows


def _text(value: Any) -> str:
    return "–" if pd.isna(value) else str(value)


class _Ledger(SphinxDirective, ABC):
    """What both directives do: read the table, parse the lines."""

    has_content = False

    @abstractmethod
    def lines(self, ledger: pd.DataFrame) -> list[str]:
        """The Markdown that stands for the directive."""

    def run(self) -> list[nodes.Node]:
        try:
            lines = self.lines(entries.read(results_tree(Path(self.env.srcdir))))
        except (FileNotFoundError, ValueError) as error:
            _logger.warning("%s", error, location=self.get_location(), type="qstudy")
            return []
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), 0, holder)
        for table in holder.findall(nodes.table):
            table["classes"].append("claims-table")
        return holder.children


class Claims(_Ledger):
    """{claims} GROUP: the table of one group."""

    required_arguments, final_argument_whitespace = 1, True

    def lines(self, ledger: pd.DataFrame) -> list[str]:
        return group_table(ledger, self.arguments[0])


class ClaimsExplained(_Ledger):
    """{claims-explained}: each claim that was measured and does not hold.

    With the argument `untested`, those that cannot be tested here.
    """

    optional_arguments = 1

    def lines(self, ledger: pd.DataFrame) -> list[str]:
        if self.arguments == ["untested"]:
            return explained(ledger, verdicts=(NOT_TESTABLE,))
        others = {*HOLDING, NOT_TESTABLE, NOT_MEASURED}
        found = tuple(v for v in ledger.verdict.unique() if v not in others)
        return explained(ledger, verdicts=found)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_directive("claims", Claims)
    app.add_directive("claims-explained", ClaimsExplained)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
