"""How to cite this study: CITATION.cff as a sentence and as BibTeX, for each page.

`.zenodo.json` and `codemeta.json` say the same to archives; cffconvert makes them, see
CONTRIBUTING.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Citation:
    """What CITATION.cff says of the study."""

    authors: tuple[str, ...]
    title: str
    version: str
    released: date

    def text(self, page: str = "") -> str:
        """One sentence; with `page`, its title stands before that of the study."""
        names = ", ".join(self.authors)
        part = f"{page}. In: " if page else ""
        return (
            f"{names} ({self.released.year}). {part}{self.title} "
            f"(version {self.version})."
        )

    def bibtex(self, page: str = "", *, slug: str = "") -> str:
        """A BibTeX entry; `slug`, the page's file name, goes into its key."""
        # Braces keep an organization's name in one piece.
        names = " and ".join(f"{{{author}}}" for author in self.authors)
        fields = {
            "author": names,
            "title": page or self.title,
            "year": str(self.released.year),
            "version": self.version,
        }
        if page:
            fields["howpublished"] = f"In: {self.title}"
        key = "-".join(part for part in ("qstudy", self.version, slug) if part)
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{key},\n{body}\n}}"


def load(path: Path) -> Citation:
    """The citation in the file `path`.

    Raises FileNotFoundError where it is missing and ValueError where it lacks a field,
    both in one line.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: restore it with git")
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return Citation(
            authors=tuple(_name(author) for author in fields["authors"]),
            title=fields["title"],
            version=str(fields["version"]),
            released=date.fromisoformat(str(fields["date-released"])),
        )
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}: CFF 1.2.0 asks for it") from error


def _name(author: dict[str, str]) -> str:
    """An organization's name, or a person's as "Given Family"."""
    given = f"{author.get('given-names', '')} {author.get('family-names', '')}"
    return author.get("name") or given.strip()
