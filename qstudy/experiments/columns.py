"""One shape for an interval, from statistics and records to columns to numbers.

Not an experiment itself. In a table an interval is three columns: the value's own, and
its two ends under the names that `qstudy.spec.interval_columns` gives. A row names its
record in `run`; where it is compared with another record, that one's key stands in
`baseline_run`, so that a number can name all runs behind it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.measure.statistics import Interval
from qstudy.spec import Number, Value, interval_columns


def interval(column: str, found: Interval | Value | None) -> dict[str, Any]:
    """The three columns of an interval; empty ones where there is none."""
    names = (column, *interval_columns(column))
    ends = (found.value, found.low, found.high) if found else (None,) * 3
    return dict(zip(names, ends, strict=True))


def number(
    row: Any, column: str, unit: str, digits: int = 2, *, compared: bool = False
) -> Number:
    """`column` of a row (of itertuples, or a Series) with its interval, n and runs.

    `compared` says that the value is a comparison with `baseline_run`.
    """
    low, high = (_maybe(row, name) for name in interval_columns(column))
    n = _maybe(row, "n")
    return Number(
        getattr(row, column),
        unit,
        digits,
        low,
        high,
        None if n is None else int(n),
        runs(row, compared=compared),
    )


def runs(rows: Any, *, compared: bool = False) -> tuple[str, ...]:
    """The keys of all runs behind a row or a frame; a row's baseline comes first."""
    if isinstance(rows, pd.DataFrame):
        found = set(rows.run)
        if compared and "baseline_run" in rows:
            found |= set(rows.baseline_run.dropna())
        return tuple(sorted(found))
    base = _maybe(rows, "baseline_run") if compared else None
    return (rows.run,) if base is None else (base, rows.run)


def _maybe(row: Any, name: str) -> Any:
    value = getattr(row, name, None)
    return None if value is None or pd.isna(value) else value
