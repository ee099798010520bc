"""What stands where a results tree has no records: of a number, a figure, a table.

A book is built from whatever a tree holds. Where a chapter was not measured its page
says so in the place of each figure and table, under the label that prose refers to, and
`collect` puts the words NOT_MEASURED in the place of each number that pages quote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured in this tree"

_OPERATORS = "getitem call and or invert neg add radd sub rsub mul rmul truediv"
_OPERATORS += " eq ne lt le gt ge"


@dataclass(frozen=True)
class Absent:
    """In place of the figure or the table with a `label`, as a notebook displays it."""

    label: str
    chapter: str

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        said = NOT_MEASURED
        if self.label.startswith("tab-"):
            said = f"| Rows |\n|:---|\n| {NOT_MEASURED} |"
        caption = f"This results tree has no records of the chapter {self.chapter}."
        bundle = {"text/markdown": said, "text/plain": f"{NOT_MEASURED}. {caption}"}
        return bundle, {"text/markdown": {"name": self.label, "caption": caption}}


class AbsentFrame:
    """A table that there is not, and whatever a cell of a chapter makes of it.

    Selecting, sorting, comparing and adding up give the same again; as text it is "–",
    it has no rows, and `Chapter.table` shows it as `Absent`.
    """

    __hash__ = None  # type: ignore[assignment]

    def _same(self, *arguments: Any, **named: Any) -> AbsentFrame:
        return self

    def __getattr__(self, name: str) -> AbsentFrame:
        if name.startswith("_"):  # what IPython and copy ask for
            raise AttributeError(name)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __int__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "–"

    def __format__(self, spec: str) -> str:
        return "–"


for _name in _OPERATORS.split():
    setattr(AbsentFrame, f"__{_name}__", AbsentFrame._same)
