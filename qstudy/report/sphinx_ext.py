"""The Sphinx extension: quoted numbers, citations, links to CSV files, alt text.

{q}`KEY` and {q}`KEY:part` print numbers of the results tree, {csv}`tables/NAME.csv`
offers one of its files for download. The tree is the one that QSTUDY_RESULTS names, or
results/ beside the book's configuration. What is missing is a warning, and the book is
built with -W.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from qstudy.report import citation, docstrings, explorer, numbers, provenance
from qstudy.report.sphinx_nodes import (
    cite_this,
    keep_together,
    quoted,
    setup_nodes,
)
from qstudy.spec import Number

_logger = logging.getLogger(__name__)
_CARD = re.compile(r"```\{include\} (\.\./results/cards/\S+)\n```\n*")


def results_tree(source: Path) -> Path:
    """The results tree that the book in folder `source` is built from."""
    named = os.environ.get("QSTUDY_RESULTS", "")
    return Path(named).resolve() if named else source / "results"


class NumberRole(SphinxRole):
    """{q}`KEY:part`: a number that opens to what stands behind it."""

    def __init__(self, known: dict[str, Number], runs: provenance.Runs) -> None:
        super().__init__()
        self._known, self._runs = known, runs

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        key, part = numbers.split_key(self.text)
        try:
            number = numbers.look_up(self._known, key)
            text = numbers.format_number(number, part)
        except ValueError as error:
            _logger.warning(
                "%s: %s", self.text, error, location=self.get_location(), type="qstudy"
            )
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        if number.n is None and number.low is None and not number.runs:
            return [nodes.inline(self.rawtext, text, classes=["q-number"])], []
        node = quoted(self.rawtext, text)
        node["key"] = key
        node["rows"] = provenance.rows(key, number, self._runs)
        node["rows"].append(("cite", f"qstudy cite {key}"))
        page = self.env.docname.replace("/", "-")
        node["popover"] = f"q-{page}-{self.env.new_serialno('q')}"
        return [node], []


class CsvRole(SphinxRole):
    """{csv}`tables/NAME.csv`: a download link to a file of the results tree."""

    def __init__(self, tree: Path) -> None:
        super().__init__()
        self._tree = tree

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        # Sphinx takes download targets from the book's own folder; a leading slash
        # and a relative path lead to a tree anywhere.
        target = os.path.relpath(self._tree / self.text, self.env.srcdir)
        link = addnodes.download_reference(
            self.rawtext,
            refdoc=self.env.docname,
            reftarget="/" + Path(target).as_posix(),
            reftype="download",
            refdomain="",
            refexplicit=True,
            refwarn=False,
        )
        link += nodes.literal(self.rawtext, Path(self.text).name, classes=["download"])
        return [link], []


def leave_out_cards(app: Sphinx, docname: str, source: list[str]) -> None:
    """Drop a network's card where `collect` wrote none, for want of its record."""
    folder = Path(app.env.doc2path(docname)).parent
    source[0] = _CARD.sub(
        lambda card: card[0] if (folder / card[1]).exists() else "", source[0]
    )


def require_alt_text(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of each image of a page, from Markdown or from a cell, without alt text."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            _logger.warning(
                "image %s has no alt text: say in words what it shows",
                image["uri"],
                location=image if image.source else doctree.get("source"),
                type="qstudy",
                subtype="alt",
            )


def add_citation(app: Sphinx, doctree: nodes.document) -> None:
    """End each page with how to cite it, and the keys of the numbers quoted on it."""
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:  # a file that other pages include
        return
    try:
        cited = citation.load(Path(app.srcdir) / "CITATION.cff")
    except (FileNotFoundError, ValueError) as error:
        _logger.warning("%s", error, type="qstudy")
        return
    name = app.env.docname
    front = name == app.config.root_doc
    page = "" if front else title.astext()
    node = cite_this()
    node["front"] = front
    node["sentence"] = cited.text(page)
    node["bibtex"] = cited.bibtex(page, slug="" if front else Path(name).name)
    node["keys"] = sorted({number["key"] for number in doctree.findall(quoted)})
    doctree.append(node)


def write_explorer_weights(app: Sphinx, error: Exception | None) -> None:
    """Put the explorer's real weights beside its script, where a page loads them."""
    sources = (Path(app.env.doc2path(name)) for name in app.env.found_docs)
    explored = any(
        "explorer-weights.js" in page.read_text(encoding="utf-8")
        for page in sources
        if page.suffix == ".md"
    )
    if error is not None or app.builder.format != "html" or not explored:
        return
    source = Path(app.srcdir)
    found = explorer.find_checkpoint(results_tree(source), source / "results")
    try:
        script = explorer.weights_script(found)
    except FileNotFoundError as missing:
        _logger.warning("%s", missing, type="qstudy")
        return
    target = Path(app.outdir) / "_static" / "explorer-weights.js"
    target.write_text(script, encoding="ascii")


# What Jupyter Book brings along and what does not say that pages may be read in
# parallel: one copies MathJax at the end, the other numbers parts of the contents.
_SILENT = ("sphinx-mathjax-offline", "sphinx_multitoc_numbering")


def declare_parallel(app: Sphinx, *_: Any) -> None:
    """Say it for them, right before pages are read: neither reads one."""
    for name in _SILENT:
        if name in app.extensions and app.extensions[name].parallel_read_safe is None:
            app.extensions[name].parallel_read_safe = True


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    source = Path(app.srcdir)
    tree = results_tree(source)
    known: dict[str, Number] = {}
    try:
        known = numbers.load(tree)
    except (FileNotFoundError, ValueError) as error:
        _logger.warning("%s", error, type="qstudy")
    # A work tree is completed from the published one, its numbers too.
    runs = provenance.Runs(tree, source / "results")
    setup_nodes(app)
    app.add_role("q", NumberRole(known, runs))
    app.add_role("csv", CsvRole(tree))
    app.connect("env-before-read-docs", declare_parallel)
    app.connect("source-read", leave_out_cards)
    app.connect("doctree-read", keep_together)
    app.connect("doctree-read", require_alt_text)
    app.connect("doctree-read", add_citation)
    app.connect("build-finished", write_explorer_weights)
    docstrings.setup(app)
    app.setup_extension("qstudy.report.verdicts")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
