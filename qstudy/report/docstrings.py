"""Docstrings on the API pages: written as Markdown, read by autodoc as RST.

The study's docstrings hold formulas (max|w|), patterns (*.json) and pipe tables, all of
which RST takes for markup of its own. Tables and indented lines become literal blocks,
`code` becomes RST's ``code``, and all other markup is escaped. The directive {modules}
documents all modules of a package.
"""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from itertools import groupby
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_CODE = re.compile(r"``?([^`]+)``?")
_MARKUP = re.compile(r"([\\*|_])")


def to_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring as RST that prints them as they were meant."""
    made: list[str] = []
    for literal, block in groupby(lines, key=_is_literal):
        if literal:
            # A literal block ends at the next line that is not indented.
            made += ["", "::", "", *(f"   {line}" for line in block), ""]
        else:
            made += _escaped("\n".join(block)).split("\n")
    return made


def _is_literal(line: str) -> bool:
    return line.startswith(("|", "   "))


def _escaped(text: str) -> str:
    """Markup escaped outside `code`, which may run over a line's end."""
    parts = _CODE.split(text)
    words, codes = parts[::2], parts[1::2]
    made = _MARKUP.sub(r"\\\1", words[0])
    for code, after in zip(codes, words[1:], strict=True):
        # An escaped blank parts RST's literal from a letter, as in `RunSpec`s.
        before = "" if re.search(r"(^|[\s(\"'])$", made) else "\\ "
        glued = "\\ " if after[:1].isalnum() else ""
        literal = f"{before}``{' '.join(code.split())}``{glued}"
        made += literal + _MARKUP.sub(r"\\\1", after)
    return made


class Modules(SphinxDirective):
    """{modules} PACKAGE: autodoc's automodule for a package and each module in it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = import_module(self.arguments[0])
        found = pkgutil.walk_packages(
            getattr(package, "__path__", []), f"{package.__name__}."
        )
        names = [package.__name__, *sorted(m.name for m in found)]
        return [self._section(name) for name in names]

    def _section(self, name: str) -> nodes.section:
        section = nodes.section(ids=[f"api-{name.replace('.', '-')}"])
        # Where the contents of the page are too narrow for it, a name breaks at a dot.
        section += nodes.title("", name.replace(".", ".\u200b"))
        lines = ["```{eval-rst}", f".. automodule:: {name}", "   :members:"]
        # What a package takes over from its modules is documented with them.
        lines += ["   :member-order: bysource", "   :ignore-module-all:", "```"]
        source = self.get_source_info()[0]
        self.state.nested_parse(StringList(lines, source), 0, section)
        return section


def setup(app: Sphinx) -> None:
    """Called by the book's extension; autodoc must be loaded for docstrings."""
    app.add_directive("modules", Modules)
    if "autodoc-process-docstring" in app.events.events:
        app.connect("autodoc-process-docstring", _process)


def _process(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = to_rst(lines)
