"""Quoted numbers: read from numbers.json, printed the same way everywhere.

The book's role {q}`KEY`, README's markers and a notebook's `study.number(KEY)` all
print through `format_number`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from qstudy.report.absent import NOT_MEASURED
from qstudy.spec import Number

PARTS = ("full", "value", "n")
SIGNIFICANT = 10
# Keys of numbers that no page quotes, one a line: for the answer to a wrong key.
UNQUOTED = "numbers-unquoted.txt"

_RATIOS = ("×", "x", "ratio")
_MARKER = re.compile(r"(<!-- q:(\S+) -->)(.*?)(<!-- /q -->)", re.DOTALL)


class Quoted(dict[str, Number]):
    """The numbers of a results tree by key; `unquoted` are keys that it left out."""

    unquoted: tuple[str, ...] = ()


def as_json(known: Mapping[str, Number]) -> str:
    """Numbers as numbers.json holds them: sorted, floats with 10 significant digits.

    No number prints more than that; what follows in a double is noise of the last
    operation, and would not survive another way to write the same sum.
    """
    cut = {key: _cut(asdict(number)) for key, number in known.items()}
    return json.dumps(cut, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _cut(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.{SIGNIFICANT}g}") if isinstance(value, float) else value
        for name, value in fields.items()
    }


def load(tree: Path) -> Quoted:
    """The numbers of a results tree, by key.

    Raises FileNotFoundError in one line where the tree has none, and ValueError where
    the file is cut or holds something else.
    """
    path = tree / "numbers.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; 'qstudy collect --tree {tree}' makes it"
        )
    try:
        quoted = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(quoted, dict):
            raise ValueError(f"it holds {quoted!r:.40}, not numbers by key")
        known = Quoted({key: _number(key, f) for key, f in quoted.items()})
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); 'qstudy collect --tree {tree}' makes it anew"
        ) from error
    others = tree / UNQUOTED
    if others.exists():
        known.unquoted = tuple(others.read_text(encoding="utf-8").split())
    return known


def _number(key: str, fields: object) -> Number:
    if not isinstance(fields, dict):
        raise ValueError(f"number {key!r} is {fields!r:.40}, not its fields")
    try:
        number = Number(**{**fields, "runs": tuple(fields.get("runs", ()))})
    except TypeError as error:
        told = str(error).removeprefix("Number.__init__() ")
        raise ValueError(f"number {key!r}: {told}") from error
    for name in ("value", "low", "high", "n"):
        found = getattr(number, name)
        text = name == "value" and isinstance(found, str)
        none = name != "value" and found is None
        real = isinstance(found, int | float) and not isinstance(found, bool)
        if not (text or none or (real and math.isfinite(found))):
            raise ValueError(f"number {key!r}: {name} {found!r} is no finite number")
    return number


def split_key(text: str) -> tuple[str, str]:
    """`KEY` or `KEY:PART` as key and part; the part is "full" where none is named."""
    key, _, part = text.partition(":")
    return key, part or "full"


def format_number(number: Number, part: str = "full") -> str:
    """A number as prose prints it.

    full: value, unit and 95 % interval, as in "0.05 pp [-0.07, 0.17]". value: value and
    unit. n: the sample size. Ratios print as "2.31×"; a verdict is its own text, and so
    are the words for what was not measured, whatever the part. Raises ValueError for an
    unknown part and for the n of a number that has none.
    """
    if part not in PARTS:
        raise ValueError(f"part {part!r} is not one of {PARTS}")
    if number.value == NOT_MEASURED:
        return NOT_MEASURED
    if part == "n":
        if number.n is None:
            raise ValueError("this number has no n: quote its value instead")
        return f"{number.n:,}"
    if isinstance(number.value, str):
        return number.value
    text = _with_unit(_digits(number.value, number.digits), number.unit)
    if part == "value" or number.low is None or number.high is None:
        return text
    low, high = (_digits(end, number.digits) for end in (number.low, number.high))
    return f"{text} [{low}, {high}]"


def counted(count: int, noun: str) -> str:
    """A count before its noun, as in "1 thread" and "2 threads"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def rewrite_markers(text: str, numbers: Mapping[str, Number]) -> str:
    """Put numbers between `<!-- q:KEY -->` and `<!-- /q -->`; all else stays.

    KEY may carry a part, as in `KEY:value`. Raises ValueError in one line for an
    unknown key and for a marker without its end.
    """
    matches = _MARKER.findall(text)
    if not text.count("<!-- q:") == text.count("<!-- /q -->") == len(matches):
        raise ValueError(
            "a number marker is broken: each '<!-- q:KEY -->' needs its '<!-- /q -->'"
        )

    def replaced(match: re.Match[str]) -> str:
        key, part = split_key(match[2])
        return f"{match[1]}{format_number(look_up(numbers, key), part)}{match[4]}"

    return _MARKER.sub(replaced, text)


def look_up(numbers: Mapping[str, Number], key: str) -> Number:
    """The number `key`; ValueError names the keys that are most like it.

    Those are looked for among all keys that the experiments know, also where `numbers`
    is `Quoted` and leaves them out because no page quoted them.
    """
    if key in numbers:
        return numbers[key]
    others = numbers.unquoted if isinstance(numbers, Quoted) else ()
    if key in others:
        raise ValueError(
            f"number {key!r} is known but not in numbers.json, where only what a page "
            "quotes is kept: quote it in README.md or chapters/, then run 'qstudy "
            "collect'"
        )
    known = [*numbers, *others]
    near = get_close_matches(key, known, n=5, cutoff=0.0)
    told = f"the nearest of all known keys ({len(known)}): {', '.join(near)}"
    raise ValueError(
        f"number {key!r} is not in numbers.json; "
        f"{told if near else 'there are no numbers in it'}"
    )


def measured(numbers: Mapping[str, Number], chapter: str) -> bool:
    """Whether any number of a chapter is known, quoted or not, that was measured."""
    quoted = (k for k, number in numbers.items() if number.value != NOT_MEASURED)
    others = numbers.unquoted if isinstance(numbers, Quoted) else ()
    return any(key.startswith(f"{chapter}.") for key in (*quoted, *others))


def _digits(value: float | int, digits: int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    # Adding zero makes of -0.0, and of what rounds to it, a plain 0.
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def _with_unit(value: str, unit: str) -> str:
    if unit in _RATIOS:
        return f"{value}×"
    return f"{value} {unit}" if unit else value
