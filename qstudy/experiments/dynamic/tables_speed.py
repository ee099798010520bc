"""How fast the dynamic chapter's forms are, as a table."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import timing
from qstudy.experiments.dynamic.grid import HEADLINE
from qstudy.spec import RunRecord

ORDER = ("threads", "length", "batch", "forms", "baseline", "candidate")


def latency_table(records: list[RunRecord]) -> pd.DataFrame:
    """A row a (candidate, baseline, batch); `forms` says in whose company it ran."""
    rows = []
    for r in records:
        params = r.spec.params
        for row in timing.rows(r):
            row = {**row, "length": params["length"] or None}
            rows.append({**row, "forms": _company(params["candidates"])})
    frame = pd.DataFrame(rows)
    frame.insert(1, "precision", frame.candidate.str.split(":").str[0])
    return frame


def _company(candidates: list[str]) -> str:
    """In whose company a candidate ran: "with compiled", "slow engines" or "eager".

    A candidate can be timed in several runs of one setting; ratios are of one run.
    """
    if any(name.endswith("compiled") for name in candidates):
        return "with compiled"
    return "eager" if f"int8:{HEADLINE}" in candidates else "slow engines"


def fastest_int8(latency: pd.DataFrame) -> pd.DataFrame:
    """Of dynamic_latency.csv, the rows of the fastest int8 of each setting.

    Each setting is one network, batch, length and thread count. Where compiled forms
    were timed their run counts, since only there the best fp32 and bf16 are known.
    """
    rows = latency[latency.precision.eq("int8") & latency.forms.ne("slow engines")]
    setting = ["model", "batch", "length", "threads"]
    by_setting = rows.groupby(setting, dropna=False)
    # "with compiled" comes after "eager".
    rows = rows[rows.forms == by_setting.forms.transform("max")]
    best = rows.groupby(setting, dropna=False).ms.transform("min")
    return rows[rows.ms == best]
