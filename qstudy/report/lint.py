"""Two checks on the book's sources: no measured number typed by hand, tidy notebooks.

    python -m qstudy.report.lint [ROOT]

reads README.md and chapters/ under ROOT, prints one line a finding and ends with 1 if
there is any. Prose is what is left of Markdown without code, math, roles, links,
comments and generated numbers. A number on a line with a citation is the literature's.
Phrases in chapters/numbers-allowed.txt, one a line as `PHRASE :: REASON`, are let
through.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

MOST_LINES = 15
MOST_COLUMNS = 80

_MEASURED = re.compile(
    r"""(?<![\w.])(?<!arXiv:)(?:
      \d[\d,]*\.\d+                                  # a decimal
    | \d[\d,]*\s?(?:%|per\ ?cent\b)                  # a percentage
    | \d[\d,]*\s?×(?!\s?\d)                          # a ratio, but not 32 × 32
    | \d[\d,]*(?:x\b|\ times\b|-fold\b)
    | \d[\d,]*\s?(?:ms|µs|[KMG]i?B|kB|pp|points?)\b  # with a unit that we measure in
    )""",
    re.VERBOSE,
)
_GENERATED = re.compile(r"<!--.*?-->", re.DOTALL)
_MARKED = re.compile(r"<!-- q:\S+ -->.*?<!-- /q -->", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_OPTION = re.compile(r"^\s*:[\w-]+:.*$", re.MULTILINE)
# Directives whose content is not prose.
_LITERAL = ("{code", "{math}", "{literalinclude}", "{bibliography}", "{toctree}")


@dataclass(frozen=True)
class Finding:
    """One thing to mend: where it is and what it is."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def read_allowed(path: Path) -> tuple[str, ...]:
    """The phrases of an allow list; none where the file is missing.

    Raises ValueError for a line that is not `PHRASE :: REASON`.
    """
    if not path.exists():
        return ()
    phrases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        phrase, separator, reason = line.partition("::")
        if not (phrase.strip() and separator and reason.strip()):
            raise ValueError(f"{path.name}: {line!r} is not 'PHRASE :: REASON'")
        phrases.append(phrase.strip())
    return tuple(phrases)


def measured_numbers(
    text: str, *, where: str, allowed: Iterable[str] = ()
) -> list[Finding]:
    """The measured numbers typed into the prose of Markdown `text`, in order."""
    # Generated and hidden parts go first, line breaks stay so that line numbers hold.
    for hidden in (_MARKED, _GENERATED):
        text = hidden.sub(lambda match: "\n" * match[0].count("\n"), text)
    lines = text.splitlines()
    findings = []
    for number, prose in _prose(text, 0):
        if "{cite" in lines[min(number, len(lines) - 1)]:
            continue
        for phrase in allowed:
            prose = prose.replace(phrase, " ")
        findings += [
            Finding(f"{where}:{number + 1}", f"measured number {found[0]!r} in prose")
            for found in _MEASURED.finditer(prose)
        ]
    return findings


def _prose(text: str, first: int) -> Iterator[tuple[int, str]]:
    """Line number (from 0, plus `first`) and prose of each line of Markdown."""
    for token in _parser().parse(text):
        start = first + (token.map[0] if token.map else 0)
        if token.type == "inline":
            yield from _inline_prose(token.children or [], start)
        elif token.type == "html_block":
            for offset, line in enumerate(_TAG.sub(" ", token.content).splitlines()):
                yield start + offset, line
        elif token.type in ("fence", "colon_fence"):
            info = token.info.strip()
            if info.startswith("{") and not info.startswith(_LITERAL):
                yield start, info.partition("}")[2]
                content = _OPTION.sub("", token.content)
                yield from _prose(content, start + 1)


def _inline_prose(children: list[Token], start: int) -> Iterator[tuple[int, str]]:
    line, words, in_link = start, "", 0
    for child in children:
        if child.type in ("softbreak", "hardbreak"):
            yield line, words
            line, words = line + 1, ""
            continue
        in_link += {"link_open": 1, "link_close": -1}.get(child.type, 0)
        if child.type == "text" and not in_link:
            words += child.content
        elif not child.type.endswith(("_open", "_close")):
            # Code, math or a role: a blank that joins nothing to its neighbours.
            words += "\0"
            line += child.content.count("\n")
    yield line, words


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    for plugin in (
        front_matter_plugin,
        colon_fence_plugin,
        dollarmath_plugin,
        myst_role_plugin,
    ):
        parser.use(plugin)
    return parser


def notebook_findings(path: Path) -> list[Finding]:
    """What is untidy in a notebook that is to be committed.

    It must be valid, name the kernel python3, carry no outputs and no execution
    counts, have one cell tagged parameters, and code cells of at most 15 lines and 80
    columns.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        first = str(error).splitlines()[0]
        return [Finding(path.name, f"is no valid notebook: {first}")]
    found = []
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        found.append("has no cell ids: save it as nbformat 4.5")
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        found.append(f"names the kernel {kernel!r}, not 'python3'")
    tagged = sum("parameters" in c.metadata.get("tags", []) for c in notebook.cells)
    if tagged != 1:
        found.append(f"has {tagged} cells tagged parameters, not 1")
    findings = [Finding(path.name, what) for what in found]
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            where = f"{path.name}, cell {index}"
            findings += [Finding(where, what) for what in _cell_findings(cell)]
    return findings


def _cell_findings(cell: nbformat.NotebookNode) -> Iterator[str]:
    if cell.outputs:
        yield "has outputs: clear them"
    if cell.execution_count is not None:
        yield f"has the execution count {cell.execution_count}: clear it"
    lines = cell.source.splitlines()
    if len(lines) > MOST_LINES:
        yield f"has {len(lines)} lines, more than {MOST_LINES}"
    widest = max(map(len, lines), default=0)
    if widest > MOST_COLUMNS:
        yield f"has {widest} columns, more than {MOST_COLUMNS}"


def lint(root: Path) -> list[Finding]:
    """All findings in README.md and chapters/ under `root`."""
    chapters = root / "chapters"
    allowed = read_allowed(chapters / "numbers-allowed.txt")
    findings = []
    for path in [*root.glob("README.md"), *sorted(chapters.glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        findings += measured_numbers(text, where=path.name, allowed=allowed)
    for path in sorted(chapters.glob("*.ipynb")):
        untidy = notebook_findings(path)
        findings += untidy
        if any("no valid notebook" in finding.what for finding in untidy):
            continue
        for index, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "markdown":
                where = f"{path.name}, cell {index}"
                findings += measured_numbers(cell.source, where=where, allowed=allowed)
    return findings


def main(arguments: list[str]) -> int:
    """The command: 0 where all is tidy, else 1."""
    findings = lint(Path(arguments[0] if arguments else "."))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
