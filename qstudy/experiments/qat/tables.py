"""The QAT chapter's records as tables.

What a table compares stands in a module of its own: tables_runs, tables_summary,
tables_ablation, tables_gap, tables_graphs. Each leaves out what its records are missing
for.
"""

from __future__ import annotations

import pandas as pd

from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.qat.tables_ablation import ablation_tables
from qstudy.experiments.qat.tables_gap import cost_table, gap_tables
from qstudy.experiments.qat.tables_graphs import graph_tables
from qstudy.experiments.qat.tables_runs import hard_table, network_row, networks
from qstudy.experiments.qat.tables_summary import summary
from qstudy.spec import RunRecord

# Whose predictions are an accuracy of their own row, not a comparison.
_SCORED = ("fp32", "train", "ptq")


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat.csv: a row a published network and what was made of it; qat_summary.csv: a
    row a width and condition, over seeds. qat_recipe.csv: a row a calibrator tried.
    qat_mobilenet.csv: the networks made of the one that is hard to quantize.

    The others: ablation_tables, gap_tables and cost_table.
    """
    made = {}
    scored = [r for r in records if r.spec.params["task"] in _SCORED]
    test = [r for r in scored if r.spec.params["scored_on"] == "test"]
    hard = [r for r in test if r.spec.params["model"] == DEPTHWISE]
    if hard:
        made["qat_mobilenet.csv"] = hard_table(hard)
    if core := [r for r in test if r.spec.params["model"] != DEPTHWISE]:
        frame = networks(core)
        made["qat.csv"] = frame
        if len(whole := summary(frame)):
            made["qat_summary.csv"] = whole
    tried = [r for r in scored if r not in test and r.spec.params["task"] == "ptq"]
    if tried:
        keys = ["model", "weight_bits", "activation_bits", "calibrator"]
        rows = pd.DataFrame([network_row(r, {}) for r in tried])
        made["qat_recipe.csv"] = rows.sort_values(
            keys, kind="stable", ignore_index=True
        )
    made |= ablation_tables(records)
    made |= gap_tables([r for r in records if r.spec.params["task"] == "gap"])
    made |= cost_table([r for r in records if r.spec.params["task"] == "cost"])
    return made | graph_tables(records)
