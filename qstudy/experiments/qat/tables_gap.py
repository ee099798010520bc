"""Between the trained network and its integers, and what a training step costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.experiments.qat.recipe import COSTS, FORMS, WIDTHS
from qstudy.methods import causes
from qstudy.spec import RunRecord

# Forms that make integers of biases and multipliers.
ROUNDS_BIAS = ("qnnpack", "integer_fixed_point")
_FORMS = [form for forms in FORMS.values() for form in forms]


def gap_tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat_gap.csv: a row a network and integer form, with "simulated" for none.

    qat_gap_layers.csv: a row a kernel, in calling order: codes that differ where both
    run on their own (free) and where each kernel is given the simulated codes (alone).
    """
    made = {}
    rows = [row for r in records for row in _forms(r)]
    if rows:
        keys = ["place", "n", "seed", "form_place"]
        frame = pd.DataFrame(rows).sort_values(keys, kind="stable", ignore_index=True)
        made["qat_gap.csv"] = frame.drop(columns=["place", "form_place"])
    rows = [row for r in records for row in _kernels(r)]
    if rows:
        keys = ["place", "seed", "n", "form_place", "kernel_number"]
        frame = pd.DataFrame(rows).sort_values(keys, kind="stable", ignore_index=True)
        made["qat_gap_layers.csv"] = frame.drop(columns=["place", "form_place"])
    return made


def most_traced(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each width that come from the most images."""
    return rows[rows.n == rows.groupby("width").n.transform("max")]


def _common(record: RunRecord, form: str) -> dict[str, Any]:
    params = record.spec.params
    return {
        "place": list(WIDTHS).index(params["width"]),
        "form_place": _FORMS.index(form) if form in _FORMS else -1,
        "model": params["model"],
        "dataset": params["dataset"],
        "width": params["width"],
        "form": form,
        "seed": record.spec.seed,
    }


def _forms(record: RunRecord) -> list[dict[str, Any]]:
    params, n = record.spec.params, len(record.arrays["correct"])
    simulated = record.values["top1/simulated"]
    rows = []
    for key, value in record.values.items():
        sort, _, form = key.partition("/")
        if sort != "top1" or (form == "simulated" and params["forms"]):
            continue
        off = record.values.get(f"differ/{form}")
        margin = record.values.get(f"margin/{form}")
        rows.append(
            {
                **_common(record, form),
                "n": n,
                "simulated_top1": simulated.value,
                **columns.interval("top1", value),
                "differing": None if off is None else off.value,
                "differing_pct": None if off is None else 100 * off.value / n,
                "margin_steps": None if margin is None else margin.value,
                "begins": _begins(record, form),
                "threads": params["threads"],
                "origin": record.origin,
                "run": record.spec.key,
            }
        )
    return rows


def _begins(record: RunRecord, form: str) -> str | None:
    """Kernels where images that are told otherwise begin to differ, most first."""
    start = f"begins/{form}/"
    found = {
        key.removeprefix(start): value.value
        for key, value in record.values.items()
        if key.startswith(start)
    }
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{name} ({count})" for name, count in ordered) or None


def _kernels(record: RunRecord) -> list[dict[str, Any]]:
    rows, params = [], record.spec.params
    # A record keeps its values by name; the order of the kernels is the graph's.
    for key, value in record.values.items():
        sort, _, rest = key.partition("/")
        if sort != "free":
            continue
        form, _, kernel = rest.partition("/")
        alone = record.values[f"alone/{form}/{kernel}"].value
        tie = record.values.get(f"tie/{form}/{kernel}")
        clipped = record[f"clipped/{kernel}"]
        differs = value.value > 0 or alone > 0
        rows.append(
            {
                **_common(record, form),
                "n": params["traced"],
                "kernel_number": record[f"number/{kernel}"],
                "kernel": kernel,
                "computed": record[f"computed/{kernel}"],
                "free_pct": value.value,
                "alone_pct": alone,
                "tie_steps": None if tie is None else tie.value,
                "clipped_weights": clipped,
                "cause": causes.cause(
                    record[f"computed/{kernel}"],
                    from_tie=None if tie is None else tie.value,
                    clipped=clipped,
                    rounds_bias=form in ROUNDS_BIAS,
                )
                if differs
                else None,
                "origin": record.origin,
                "run": record.spec.key,
            }
        )
    return rows


def cost_table(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """qat_cost.csv: a row a way to compute a training step.

    `cost_ratio` is its time over that of the unquantized step at the same precision,
    compiled or not as it is.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        for row in timing.rows(record):
            method, precision, *how = row["candidate"].split(":")
            rows.append(
                {
                    "model": row["model"],
                    "method": method,
                    "precision": precision,
                    "compiled": "compiled" in how,
                    **{k: v for k, v in row.items() if not k.startswith("ratio")},
                    "cost_ratio": 1 / row["ratio"],
                    "cost_ratio_lo": 1 / row["ratio_hi"],
                    "cost_ratio_hi": 1 / row["ratio_lo"],
                }
            )
    if not rows:
        return {}
    frame = pd.DataFrame(rows)
    frame["place"] = frame.candidate.map({c: i for i, c in enumerate(COSTS)})
    frame = frame.sort_values(["threads", "place"], ignore_index=True, kind="stable")
    last = ["machine", "origin", "run"]
    kept = [c for c in frame.columns if c not in (*last, "place")]
    return {"qat_cost.csv": frame[[*kept, *last]]}
