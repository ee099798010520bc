"""Figures as files: a byte-reproducible SVG, the data behind it, its words."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import matplotlib.figure
import pandas as pd

from qstudy.report import style
from qstudy.report.tables import put, taken_over, write_csv

# What Matplotlib names by a hash: "p" of clipping, "m" of a mark, "h" of a hatch.
_HASHED = re.compile(r'id="([a-zA-Z]?[0-9a-f]{10})"')
_TAG = re.compile(r"<[a-z][^>]*>")
_COORDINATE = re.compile(r"-?\d+\.\d{4,}")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the book.

    `data` holds the rows drawn. `alt` says in words what a reader who cannot see the
    figure must know; `caption` states the answer, with n and machine. Both are needed:
    ValueError where one is empty.
    """

    name: str
    figure: matplotlib.figure.Figure
    data: pd.DataFrame
    alt: str
    caption: str

    def __post_init__(self) -> None:
        for field in ("name", "alt", "caption"):
            value = getattr(self, field)
            if not value.strip():
                raise ValueError(
                    f"figure {self.name!r} has {field} {value!r}: write a sentence"
                )


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of a results tree, as a notebook displays it."""

    name: str
    svg: str
    alt: str
    caption: str

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        told = {
            "alt": self.alt,
            "caption": self.caption,
            "name": f"fig-{self.name.replace('_', '-')}",
            "csv": f"figures/{self.name}.csv",
        }
        bundle = {"image/svg+xml": self.svg, "text/plain": f"{self.caption} {self.alt}"}
        return bundle, {"image/svg+xml": told}


def publish(figure: Figure, folder: Path) -> None:
    """Write NAME.svg, NAME.csv and NAME.json (alt and caption) into `folder`.

    The same figure gives the same bytes: no date, no version, no random identifiers.
    Coordinates have 3 digits after the point, a thousandth of a typographic point.
    """
    buffer = io.StringIO()
    with style.context():
        figure.figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}
        )
    svg = _settled(buffer.getvalue(), name=figure.name)
    # Matplotlib leaves blanks at line ends, which git and editors would complain of.
    lines = [line.rstrip() for line in svg.splitlines()]
    words = {"alt": figure.alt, "caption": figure.caption}
    if taken := int(taken_over(figure.data).sum()):
        words["caption"] += (
            f" {taken} of its {len(figure.data)} rows are taken over from the "
            "published results and were not measured here; its data say which."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(figure.data, folder / f"{figure.name}.csv")
    _write(folder / f"{figure.name}.svg", "\n".join(lines))
    _write(
        folder / f"{figure.name}.json", json.dumps(words, indent=1, ensure_ascii=False)
    )


def show(folder: Path, name: str) -> PublishedFigure:
    """The figure `name` that `publish` wrote into `folder`, for display in a notebook.

    Raises FileNotFoundError in one line where the folder has no such figure, and
    ValueError where its words or its picture are damaged.
    """
    picture, words = folder / f"{name}.svg", folder / f"{name}.json"
    for path in (picture, words):
        if not path.exists():
            raise FileNotFoundError(
                f"figure {name!r} is not there: {path} is missing; 'qstudy collect' "
                "draws the figures of a results tree"
            )
    try:
        told = json.loads(words.read_text(encoding="utf-8"))
        svg = picture.read_text(encoding="utf-8")
        texts = [told["alt"], told["caption"], svg]
        if not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError("alt and caption are not texts")
        if not svg.rstrip().endswith("</svg>"):
            raise ValueError("the picture is cut")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"figure {picture.with_suffix('')} (.svg, .json) is damaged ({error}); "
            "'qstudy collect' draws the figures of a results tree"
        ) from error
    return PublishedFigure(name, svg, told["alt"], told["caption"])


def _settled(svg: str, *, name: str) -> str:
    """`svg` with coordinates of 3 digits and with identifiers that say whose they are.

    Matplotlib names clipping paths and marks by a hash of all their digits, and writes
    6 of them. They are numbered instead, under the figure's name, so that two figures
    of one page cannot take each other's.
    """
    made = dict.fromkeys(_HASHED.findall(svg))
    for number, old in enumerate(made, start=1):
        svg = svg.replace(f'id="{old}"', f'id="{name}-{number}"')
        svg = svg.replace(f"#{old}", f"#{name}-{number}")
    return _TAG.sub(lambda tag: _COORDINATE.sub(_thousandths, tag[0]), svg)


def _thousandths(match: re.Match[str]) -> str:
    """A number with at least 4 digits after the point, with 3.

    Matplotlib's transforms go through BLAS and the C library, so that the last bits of
    a coordinate may differ. Where sizes of letters are halved, coordinates lie exactly
    between two steps of 1/1000, where such a bit decides. The threshold is therefore at
    0.4125 of a step, which no multiple of a power of two meets.
    """
    millionths = int(f"{Decimal(match[0]):.6f}".replace(".", ""))
    whole = (10 * millionths + 5875) // 10_000
    return f"{Decimal(whole) / 1000:f}".rstrip("0").rstrip(".") if whole else "0"


def _write(path: Path, text: str) -> None:
    # Bytes, and so "\n" on every platform: the files are compared byte for byte.
    put(path, f"{text}\n".encode())
