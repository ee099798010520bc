"""Steps held against other steps, updates, an engine's codes, and the cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import timing
from qstudy.spec import RunRecord


def errors(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_error.csv: a row a network, tensor and measure.

    `share` of the learned step is what errs least by `measure`; `away_pct` how far that
    is from the learned one, |share - 1| in percent, as the paper reports it.
    """
    rows = []
    for record in records:
        params = record.spec.params
        for key, value in record.values.items():
            sort, _, rest = key.partition("/")
            if sort != "share":
                continue
            tensor, _, measure = rest.rpartition("/")
            layer, _, kind = tensor.rpartition(".")
            rows.append(
                {
                    **_about(record),
                    "weight_bits": params["simulate"]["weight_bits"],
                    "layer": layer,
                    "tensor": "weight" if kind == "weight" else "activation",
                    "measure": measure,
                    "share": value.value,
                    "away_pct": 100 * abs(value.value - 1),
                    **_source(record),
                }
            )
    return _sorted(rows, ["model", "weight_bits", "seed", "measure"])


def ratios(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_ratio.csv: R of each tensor by what scales the gradient of its step."""
    rows = [
        {
            **_about(record),
            "gradient": record.spec.params["simulate"]["gradient"],
            "layer": key.removeprefix("ratio/").rpartition(".")[0],
            "tensor": "weight" if key.endswith(".weight") else "activation",
            "ratio": value.value,
            **_source(record),
        }
        for record in records
        for key, value in record.values.items()
    ]
    return _sorted(rows, ["model", "seed", "gradient"])


def integers(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_integers.csv: codes and predictions of an engine that differ."""
    rows = [
        {
            **_about(record),
            "engine": record.spec.params["engine"],
            "n": record["examples"],
            **{
                name: record[name]
                for name in ("codes", "codes_alone", "codes_free", "predictions")
            },
            "from_tie": record["from_tie"],
            "machine": record.machine,
            **_source(record),
        }
        for record in records
    ]
    return _sorted(rows, ["model", "seed", "engine"])


def costs(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_cost.csv: a row a candidate and baseline; `cost_ratio` is 1 / `ratio`."""
    rows: list[dict[str, Any]] = []
    for record in records:
        for row in timing.rows(record):
            method, precision, *how = row["candidate"].split(":")
            rows.append(
                {
                    "method": method,
                    "precision": precision,
                    "compiled": "compiled" in how,
                    **row,
                    "cost_ratio": 1 / row["ratio"],
                    "cost_ratio_lo": 1 / row["ratio_hi"],
                    "cost_ratio_hi": 1 / row["ratio_lo"],
                }
            )
    return _sorted(rows, ["model", "threads", "baseline", "candidate"])


def _about(record: RunRecord) -> dict[str, Any]:
    params = record.spec.params
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "width": params["width"],
        "seed": record.spec.seed,
    }


def _source(record: RunRecord) -> dict[str, Any]:
    return {"origin": record.origin, "run": record.spec.key}


def _sorted(rows: list[dict[str, Any]], by: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if not len(frame):
        return frame
    return frame.sort_values(by, ignore_index=True, kind="stable")
