"""Nodes of the book that are more than text: a number that opens, and "Cite this page".

In HTML a number is a button and what stands behind it a popover, which mouse, touch and
keyboard open and Escape closes, without a script. Other formats print the number alone.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


class quoted(nodes.Inline, nodes.TextElement):
    """A number of numbers.json: `key`, `rows` of (name, text), `popover` its id."""


class cite_this(nodes.General, nodes.Element):
    """The end of a page: `sentence`, `bibtex`, `keys` of the numbers quoted on it."""


# Names of rows whose text is to be copied.
_LITERAL = ("key", "run", "runs", "repeat", "cite")

# Signs that touch a number: a bracket before it, a full stop after it.
_BEFORE, _AFTER = re.compile(r"[^\w\s]{1,3}\Z"), re.compile(r"[^\w\s]{1,3}")
# Letters that would make the column of a table too wide, and a line of a phone.
_LONG, _LONGER = 16, 36


def _in_table(node: nodes.Node | None) -> bool:
    while node is not None and not isinstance(node, nodes.entry):
        node = node.parent
    return node is not None


def keep_together(app: Sphinx, doctree: nodes.document) -> None:
    """Put each number and the signs that touch it into a span that does not wrap.

    A browser breaks a line on either side of a button, even before a full stop, and a
    word joiner does not keep it from that. Long ones may part, such as the name of a
    machine, since they would be wider than a phone; in tables that is sooner.
    """
    for number in list(doctree.findall(quoted)):
        parent = number.parent
        if len(number.astext()) > (_LONG if _in_table(number) else _LONGER):
            continue
        place = parent.index(number)
        kept = nodes.inline(classes=["q-kept"])
        if place and isinstance(parent[place - 1], nodes.Text):
            before = parent[place - 1].astext()
            if found := _BEFORE.search(before):
                kept += nodes.Text(found[0])
                parent[place - 1] = nodes.Text(before[: found.start()])
        kept += number.deepcopy()
        if place + 1 < len(parent) and isinstance(parent[place + 1], nodes.Text):
            after = parent[place + 1].astext()
            if found := _AFTER.match(after):
                kept += nodes.Text(found[0])
                parent[place + 1] = nodes.Text(after[found.end() :])
        if len(kept) > 1:
            parent[place] = kept


def _visit_quoted(writer: Any, node: quoted) -> None:
    writer.body.append(
        f'<button type="button" class="q-number" popovertarget="{node["popover"]}">'
    )


def _depart_quoted(writer: Any, node: quoted) -> None:
    # Spans, because a paragraph holds no blocks.
    rows = "".join(
        f'<span class="q-row"><b>{escape(name)}</b> '
        + (f"<code>{escape(t)}</code>" if name in _LITERAL else escape(t))
        + "</span>"
        for name, t in node["rows"]
    )
    opened = f'<span popover class="q-behind" id="{node["popover"]}">'
    writer.body.append(f"</button>{opened}{rows}</span>")


def _visit_cite_this(writer: Any, node: cite_this) -> None:
    single = writer.builder.name == "singlehtml"
    if single and not node["front"]:
        raise nodes.SkipNode  # the whole book in one page is cited once
    keys = " ".join(f"<code>{escape(key)}</code>" for key in node["keys"])
    told = (
        f"<p>Permanent keys of the numbers on this page, for "
        f"<code>qstudy cite KEY</code>:</p><p class='cite-keys'>{keys}</p>"
        if keys
        else ""
    )
    writer.body.append(
        f'<details class="cite-this"{" open" if single else ""}>'
        f"<summary>Cite this {'book' if single else 'page'}</summary>"
        f"<p>{escape(node['sentence'])}</p><pre>{escape(node['bibtex'])}</pre>"
        f"{'' if single else told}</details>\n"
    )
    raise nodes.SkipNode


def _nothing(writer: Any, node: nodes.Element) -> None:
    """For formats in which the node is its text, or nothing."""


def _skip(writer: Any, node: nodes.Element) -> None:
    raise nodes.SkipNode


def setup_nodes(app: Sphinx) -> None:
    """Tell Sphinx how the nodes are written."""
    plain = {form: (_nothing, _nothing) for form in ("latex", "text", "man", "texinfo")}
    app.add_node(quoted, html=(_visit_quoted, _depart_quoted), **plain)
    left_out = {form: (_skip, None) for form in plain}
    app.add_node(cite_this, html=(_visit_cite_this, None), **left_out)
