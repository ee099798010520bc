"""What the modules of the static chapter's numbers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_sweeps import NAME
from qstudy.spec import Number

Maker = Callable[[pd.DataFrame], dict[str, Number]]


def of_tables(
    tables: Mapping[str, pd.DataFrame], makers: Mapping[str, Maker]
) -> dict[str, Number]:
    """The numbers of static_NAME.csv by makers[NAME]; none of a table that is not."""
    made: dict[str, Number] = {}
    for name, make in makers.items():
        if f"{NAME}_{name}.csv" in tables:
            made |= make(tables[f"{NAME}_{name}.csv"])
    return made


def drop_number(row: Any) -> Number:
    """A row's drop with its interval, against the fp32 network of the same run."""
    return columns.number(row, "drop_pp", "pp")


def verdict(row: Any) -> Number:
    """Whether a row has almost no drop."""
    from qstudy.measure import statistics

    said = statistics.accuracy_verdict(row.drop_hi, low=row.drop_lo)
    return Number(said, runs=(row.run,))
