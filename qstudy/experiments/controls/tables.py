"""The controls' records as a table."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """controls.csv: a row a fault, its drop paired with the sound network."""
    from qstudy.measure.statistics import paired_drop

    sound = {
        (r.spec.params["model"], r.spec.params["dataset"]): r
        for r in records
        if r.spec.params["fault"] == "none"
    }
    rows = []
    for r in sorted(records, key=lambda r: (r.spec.params["model"], r.spec.key)):
        params = r.spec.params
        base = sound.get((params["model"], params["dataset"]))
        compared = base is not None and base is not r
        drop = (
            paired_drop(base.arrays["correct"], r.arrays["correct"])
            if compared
            else None
        )
        rows.append(
            {
                "model": params["model"],
                "dataset": params["dataset"],
                "split": "test",
                "fault": params["fault"],
                "weight_bits": params["bits"],
                "activation_bits": params["bits"],
                "granularity": params["granularity"],
                "calibrator": params["observer"],
                "n": len(r.arrays["correct"]),
                **columns.interval("top1", r.values["top1"]),
                **columns.interval("drop_pp", drop),
                "origin": r.origin,
                "run": r.spec.key,
                "baseline_run": base.spec.key if compared else None,
            }
        )
    frame = pd.DataFrame(rows).sort_values(["model", "fault"], kind="stable")
    return {"controls.csv": frame.reset_index(drop=True)}
