"""Which numbers README and the book quote: only these are written to numbers.json."""

from __future__ import annotations

import re
from pathlib import Path

from qstudy.report.numbers import split_key

# A role in prose, in a caption or in a cell; a marker of README; a cell's own call.
_QUOTED = re.compile(
    r"""\{q\}`([^`]+)` | <!--\ q:(\S+)\ --> | \.number\(\s*\\?["']([^"'\\]+)""",
    re.VERBOSE,
)


def quoted_keys(root: Path) -> set[str]:
    """The keys that README.md and the pages and notebooks of chapters/ quote.

    `root` is the checkout. A key that no experiment knows is found as well: the book's
    build names it.
    """
    pages = [root / "README.md", *(root / "chapters").glob("*.md")]
    pages += (root / "chapters").glob("*.ipynb")
    texts = (p.read_text(encoding="utf-8") for p in pages if p.exists())
    return {
        split_key(next(filter(None, match.groups())))[0]
        for text in texts
        for match in _QUOTED.finditer(text)
    }
