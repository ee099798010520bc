"""What a book built from other results says on its front page: the verdicts that moved.

The directive {verdict-changes} compares the claims of the tree that the book is built
from with those of the published one beside the book's configuration. In the published
book it prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from qstudy.report import numbers
from qstudy.report.sphinx_ext import results_tree
from qstudy.spec import Number

_CLAIM = ".claim."


def changes(
    here: Mapping[str, Number], published: Mapping[str, Number]
) -> list[tuple[str, str, str]]:
    """(key, published verdict, verdict here) of each claim that differs."""
    claims = [key for key in published if _CLAIM in key and key in here]
    pairs = [(key, str(published[key].value), str(here[key].value)) for key in claims]
    return sorted(pair for pair in pairs if pair[1] != pair[2])


def told(here: Mapping[str, Number], published: Mapping[str, Number]) -> list[str]:
    """Sentences for the front page of a book whose results are not the published ones.

    A claim that is missing on either side is counted too.
    """
    claims = {key for key in (*here, *published) if _CLAIM in key}
    moved = changes(here, published)
    lacking = sum(key not in here for key in claims)
    first = (
        "This book was built from results computed anew, completed from the published "
        "ones where a run was not repeated; tables and captions mark rows taken over."
    )
    count = f"{len(claims) - len(moved) - lacking} of {len(claims)} verdicts are those "
    lines = [f"{first} {count}of the published results."]
    lines += [f"{key}: now {new}; published: {old}." for key, old, new in moved]
    return [*lines, *([f"{lacking} verdicts are missing here."] if lacking else [])]


class VerdictChanges(SphinxDirective):
    """A note with a line for each verdict that differs; nothing where none can."""

    def run(self) -> list[nodes.Node]:
        source = Path(self.env.srcdir)
        tree, published = results_tree(source), source / "results"
        if tree.resolve() == published.resolve() or not published.exists():
            return []
        first, *rest = told(numbers.load(tree), numbers.load(published))
        note = nodes.note("", nodes.paragraph(text=first))
        if rest:
            items = [nodes.list_item("", nodes.paragraph(text=line)) for line in rest]
            note += nodes.bullet_list("", *items)
        return [note]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_directive("verdict-changes", VerdictChanges)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
