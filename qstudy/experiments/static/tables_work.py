"""How long quantizing takes, as a table."""

from __future__ import annotations

from typing import Any

from qstudy.experiments import columns
from qstudy.experiments.static.grid_work import GOAL_SECONDS, WORKS
from qstudy.experiments.static.tables_parts import about, end, ordered
from qstudy.spec import RunRecord


def work(records: list[RunRecord]) -> list[dict[str, Any]]:
    """Seconds of each work, the median of n rounds, from the least to the most."""
    return [
        {
            **about(record),
            "engine": record.spec.params["engine"],
            "threads": record.spec.params["threads"],
            "work": name,
            "images": record["images"]
            if name == "evaluate"
            else record.spec.params["calibration_images"],
            "n": record.spec.params["rounds"],
            **columns.interval("s", record.values[f"s.{name}"]),
            "goal_s": GOAL_SECONDS,
            "machine": record.machine,
            **end(record),
        }
        for record in ordered(records)
        for name in WORKS
    ]
