"""Which rows of the speed chapter's tables prose and pictures are about."""

from __future__ import annotations

import pandas as pd

SETTING = ["model", "batch", "threads"]


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Of speed.csv, each setting's run of the most routes; others are quick ones."""
    most = frame.groupby(SETTING).routes.transform("max")
    return frame[frame.routes == most]


def fastest(
    frame: pd.DataFrame, *, precision: str = "int8", torch_alone: bool = False
) -> pd.DataFrame:
    """The rows of the fastest route of each setting in a precision, one a baseline."""
    rows = frame[frame.precision == precision]
    if torch_alone:
        rows = rows[rows.engine == "torch"]
    least = rows.groupby(SETTING).ms.transform("min")
    return rows[rows.ms == least]


def best_engine(frame: pd.DataFrame) -> pd.DataFrame:
    """Of speed_crossover.csv, the faster engine of each shape and form, whole runs."""
    setting = ["operator", "batch", "threads"]
    most = frame.groupby(setting).shapes.transform("max")
    rows = frame[frame.shapes == most]
    place = [*setting, "first", "second", "form"]
    least = rows.groupby(place).ms.transform("min")
    return rows[rows.ms == least].drop_duplicates(place)
