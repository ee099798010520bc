"""The traced graphs as a table: an edge a row."""

from __future__ import annotations

import json

import pandas as pd

from qstudy.spec import RunRecord

COLUMNS = (
    *("source", "source_kind", "source_operation"),
    *("target", "target_kind", "target_operation"),
    *("dtype", "bits", "grid"),
)


def graph_tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat_graphs.csv, of the records of the task "graph" among `records`.

    `bits` are those of the dtype; `grid` those of the codes whose values a float has,
    0 where it may have any.
    """
    rows = [
        {
            "model": record.spec.params["model"],
            "engine": record.spec.params["engine"],
            "graph": name.partition("/")[0],
            **dict(zip(COLUMNS, json.loads(value.value), strict=True)),
            "origin": record.origin,
            "run": record.spec.key,
        }
        for record in records
        if record.spec.params["task"] == "graph"
        for name, value in sorted(record.values.items())
    ]
    return {"qat_graphs.csv": pd.DataFrame(rows)} if rows else {}
