"""Tables as files and on pages: CSV with reproducible bytes, MyST pipe tables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from qstudy.report.style import METHODS
from qstudy.spec import interval_columns

MOST_COLUMNS = 7

# Header, with its unit, of the columns that several chapters share.
HEADERS: Mapping[str, str] = {
    "model": "Network",
    "dataset": "Data",
    "method": "Method",
    "engine": "Engine",
    "precision": "Precision",
    "weight_bits": "Weight [bit]",
    "activation_bits": "Activation [bit]",
    "granularity": "Weights",
    "calibrator": "Observer",
    "modules_before": "Modules",
    "modules_after": "after",
    "operations_before": "Ops",
    "operations_after": "ops after",
    "float64_difference": "In float64",
    "fp32_difference": "In fp32",
    "seed": "Seed",
    "draw": "Draw",
    "n": "n",
    "epochs": "Epochs",
    "batch": "Batch",
    "threads": "Threads",
    "parameters": "Parameters",
    "top1": "Top-1 [%]",
    "drop_pp": "Drop [pp]",
    "fp32_top1": "fp32 top-1 [%]",
    "condition": "Changed",
    "gain_pp": "Gain [pp]",
    "train_loss": "Training loss",
    "ms": "Time [ms]",
    "ms_unfused": "Unfused [ms]",
    "ms_fused": "Fused [ms]",
    "minutes": "Time [min]",
    "baseline": "Baseline",
    "ratio": "Speed-up [×]",
    "cost_ratio": "Cost [×]",
    "size_mib": "Size [MiB]",
    "form": "Form",
    "length": "Tokens",
    "perplexity": "Perplexity",
    "cosine": "Cosine",
    "rank_correlation": "Rank correlation",
    "quantized_pct": "Quantized [%]",
    "left_in_float": "Left in float",
    "differing": "Differing",
    "machine": "Machine",
}

# Columns that say what was set. One that says the same in each row is told once.
SETTINGS = (
    *("model", "dataset", "stage", "split", "engine", "precision", "width"),
    *("weight_bits", "activation_bits", "granularity", "calibrator", "expected"),
    *("seed", "draw", "n", "epochs", "batch", "threads"),
)
FEWEST_ROWS = 4  # of a table from which such a column is taken

_KEYS = {"run": str, "baseline_run": str}
# Digits after the point, by the unit that a column's name tells: in files, on pages.
# Files keep what the measurement can resolve and drop what only the last bit decides.
_DIGITS = {
    "top1": (4, 2),
    "loss": (4, 3),
    "drop": (4, 2),
    "pp": (4, 2),
    "ratio": (4, 2),
    "mib": (4, 3),
    "ms": (4, 3),
    "minutes": (2, 1),
    "perplexity": (4, 1),
    "rise": (4, 2),
}


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` without its index: UTF-8, "\\n", numbers rounded by their unit.

    The same values give the same bytes on every platform. Floats of columns with a
    known unit have a fixed number of digits after the point; whole numbers are written
    whole; all others have 6 significant digits. Missing values are empty.
    """
    text = frame.copy()
    for column in text.columns:
        digits = _digits(str(column), page=False)
        text[column] = [_cell(value, digits) for value in text[column]]
    put(path, text.to_csv(index=False, lineterminator="\n").encode())


def put(path: Path, content: bytes) -> None:
    """Write a file as a whole: who reads meanwhile sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_csv(path: Path) -> pd.DataFrame:
    """A table that `write_csv` wrote; only empty fields are missing values.

    Raises FileNotFoundError in one line where there is none, and ValueError where the
    file is no table.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"table {path} is missing; 'qstudy collect' makes the tables of a results "
            "tree"
        )
    # The method "none" or a key of digits only must come back as they were written.
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=_KEYS)
        if not all(re.fullmatch(r"\w+", column) for column in frame.columns):
            raise ValueError(f"its first line is {','.join(frame.columns)!r:.60}")
        # Fields beyond the header's become an index of their own.
        if not frame.index.equals(pd.RangeIndex(len(frame))):
            raise ValueError("its rows are longer than its first line")
    except ValueError as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"{path} is no table ({told}); 'qstudy collect' makes the tables of a "
            "results tree"
        ) from error
    return frame


@dataclass(frozen=True)
class PageTable:
    """A table as a notebook displays it; the book adds caption, label and CSV link."""

    markdown: str
    plain: str
    caption: str
    name: str
    csv: str

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        told = {"name": self.name, "caption": self.caption, "csv": f"tables/{self.csv}"}
        bundle = {
            "text/markdown": f"{self.caption}\n\n{self.markdown}",
            "text/plain": f"{self.caption}\n\n{self.plain}",
        }
        return bundle, {"text/markdown": told}


def show(
    frame: pd.DataFrame,
    *,
    columns: Sequence[str] | Mapping[str, str],
    caption: str,
    name: str,
    csv: str,
    digits: Mapping[str, int] | None = None,
    best: Mapping[str, str] | None = None,
) -> PageTable:
    """The chosen columns of `frame` as a table of the page.

    `columns` are at most 7 names, or names with their headers (unit in brackets); names
    alone take the house's headers. A column whose interval stands in the frame is
    printed with it. A setting that is the same in all of FEWEST_ROWS rows or more goes
    into the caption. Rows taken over from the published results carry † where others
    do not, and the caption says so. `name` is the label for references, `csv` the file
    of tables/ that holds all columns. `digits` overrides the digits after the point of
    float columns.
    `best` maps a column to "max" or "min": its best cells are bold.

    Raises ValueError for too many or unknown columns, two columns under one header, no
    rows, or an unknown `best`.
    """
    headers = (
        dict(columns)
        if isinstance(columns, Mapping)
        else {c: HEADERS.get(c, c.replace("_", " ").capitalize()) for c in columns}
    )
    _check(frame, headers, name, best or {})
    cells = {
        header: _column(frame, column, (digits or {}).get(column))
        for column, header in headers.items()
    }
    same = [c for c in _same_everywhere(frame, headers, cells) if c not in (best or {})]
    if same:
        told = ", ".join(f"{headers[c]} {cells.pop(headers[c])[0]}" for c in same)
        headers = {c: header for c, header in headers.items() if c not in same}
        caption += f" In all rows: {told}."
    taken = taken_over(frame)
    if taken.any():
        first = next(iter(cells))
        cells[first] = [
            f"{text} †" if mark else text
            for text, mark in zip(cells[first], taken, strict=True)
        ]
        caption += f" {origin_note(frame)}"
    plain = pd.DataFrame(cells).to_string(index=False)
    for column, direction in (best or {}).items():
        chosen = getattr(frame[column], direction)()
        shown = cells[headers[column]]
        cells[headers[column]] = [
            f"**{text}**" if value == chosen else text
            for text, value in zip(shown, frame[column], strict=True)
        ]
    rules = [
        "---:" if pd.api.types.is_numeric_dtype(frame[column]) else ":---"
        for column in headers
    ]
    rows = zip(*(map(_escape, column) for column in cells.values()), strict=True)
    lines = [list(cells), rules, *rows]
    markdown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return PageTable(markdown, plain, caption, name, csv)


def _same_everywhere(
    frame: pd.DataFrame, headers: Mapping[str, str], cells: Mapping[str, list[str]]
) -> list[str]:
    """The settings that every row repeats; never all columns, and of no short table."""
    if len(frame) < FEWEST_ROWS:
        return []
    found = [c for c in headers if c in SETTINGS and len(set(cells[headers[c]])) == 1]
    return found if len(found) < len(headers) else []


def taken_over(frame: pd.DataFrame) -> pd.Series:
    """Which rows come from the published results while others were measured here.

    All False where `frame` has rows of one origin alone.
    """
    if "origin" not in frame:
        return pd.Series(False, index=frame.index)
    published = frame["origin"] == "published"
    return published & (not published.all())


def origin_note(frame: pd.DataFrame) -> str:
    """The sentence of a caption for what `taken_over` marks: †, and both machines."""
    taken = taken_over(frame)
    if "machine" not in frame:
        return "† from the published results, not measured here."
    theirs = "; ".join(sorted(set(frame["machine"][taken].dropna())))
    ours = "; ".join(sorted(set(frame["machine"][~taken].dropna())))
    return f"† from the published results, on {theirs}; the others on {ours}."


def _check(
    frame: pd.DataFrame,
    headers: Mapping[str, str],
    name: str,
    best: Mapping[str, str],
) -> None:
    if not 1 <= len(headers) <= MOST_COLUMNS:
        raise ValueError(
            f"table {name!r} has {len(headers)} columns: a page takes 1 to "
            f"{MOST_COLUMNS}, the CSV behind it takes the rest"
        )
    if len(set(headers.values())) < len(headers):
        raise ValueError(f"table {name!r} repeats a header: {list(headers.values())}")
    unknown = [column for column in (*headers, *best) if column not in frame]
    if unknown:
        raise ValueError(f"columns {unknown} are not among {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"table {name!r} has no rows: loosen what selects them")
    for column, direction in best.items():
        if direction not in ("max", "min") or column not in headers:
            raise ValueError(
                f"best {column!r}: {direction!r} needs a shown column and 'max' or "
                "'min'"
            )


def _column(frame: pd.DataFrame, column: str, digits: int | None) -> list[str]:
    """The column's cells as text, each with its interval where the frame has one."""
    if digits is None:
        digits = _digits(column, page=True)
    shown = [_label(value, digits) for value in frame[column]]
    low, high = interval_columns(column)
    if low not in frame or high not in frame:
        return shown
    return [
        text if pd.isna(lo) else f"{text} [{_cell(lo, digits)}, {_cell(hi, digits)}]"
        for text, lo, hi in zip(shown, frame[low], frame[high], strict=True)
    ]


def _label(value: Any, digits: int | None) -> str:
    if isinstance(value, str):
        return METHODS[value].label if value in METHODS else value.replace("_", " ")
    if isinstance(value, float) and digits is None and not value.is_integer():
        return "–" if math.isnan(value) else f"{value:.3g}"
    text = _cell(value, digits) or "–"
    return f"{int(text):,}" if text.isdigit() and len(text) > 4 else text


def _digits(column: str, *, page: bool) -> int | None:
    """Digits after the point for a column, by the first or last word of its name."""
    words = column.split("_")
    known = _DIGITS.get(words[-1]) or _DIGITS.get(words[0])
    return known[page] if known else None


def _cell(value: Any, digits: int | None) -> str:
    """One value as text: a fixed number of digits, or 6 significant ones."""
    if value is None or value is pd.NA:
        return ""
    if not hasattr(value, "dtype") and not isinstance(value, float):
        return str(value)
    if not isinstance(value, float):  # NumPy integers, booleans, float32
        value = value.item()
        if not isinstance(value, float):
            return str(value)
    if math.isnan(value):
        return ""
    if digits is not None:
        # Adding zero makes of -0.0, and of what rounds to it, a plain 0.
        return f"{round(value, digits) + 0.0:.{digits}f}"
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return f"{value:.6g}"


def _escape(text: str) -> str:
    return text.replace("|", r"\|")
