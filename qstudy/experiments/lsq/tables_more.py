"""Steps held against other steps, updates, integer forms, and the cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns, timing
from qstudy.experiments.lsq.recipe import SHARES
from qstudy.measure import portable, statistics
from qstudy.spec import RunRecord

# Layers whose tensors have 8 bits at every width.
EDGES = ("conv1", "fc")


def errors(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_error.csv: a row a network, tensor and measure.

    `share` of the learned step is what errs least by `measure`; `away_pct` how far that
    is from the learned one, |share - 1| in percent, as the paper reports it. `bits`
    are the tensor's own, 8 in the first and the last layer. `inside`: the best share is
    none of the ends of what was tried. Of a tensor with many values that are exactly 0
    the divergence falls as the cell of the 0 narrows, and has no least value inside.
    """
    rows = []
    for record in records:
        params = record.spec.params
        tried = params.get("shares", SHARES)
        for key, value in record.values.items():
            sort, _, rest = key.partition("/")
            if sort != "share":
                continue
            tensor, _, measure = rest.rpartition("/")
            layer, _, kind = tensor.rpartition(".")
            bits = params["simulate"]["weight_bits"]
            if layer in EDGES:
                bits = params["simulate"]["first_last_bits"]
            rows.append(
                {
                    **_about(record),
                    "weight_bits": params["simulate"]["weight_bits"],
                    "layer": layer,
                    "tensor": "weight" if kind == "weight" else "activation",
                    "bits": bits,
                    "measure": measure,
                    "share": value.value,
                    "away_pct": 100 * abs(value.value - 1),
                    "inside": tried["first"] < value.value < tried["last"],
                    **_source(record),
                }
            )
    return _sorted(rows, ["model", "weight_bits", "seed", "measure"])


def error_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """lsq_error_summary.csv: means over the tensors that have the network's bits.

    `away_pct` with its t interval over the `n` of the `tensors` whose best share lies
    inside what was tried, and `share`, the mean of the latter: below 1 they would have
    a smaller step than was learned.
    """
    if not len(frame):
        return frame
    own = frame[frame.bits == frame.weight_bits]
    by = ["model", "width", "weight_bits", "seed", "tensor", "measure"]
    rows = []
    for key, tensors in own.groupby(by, sort=False):
        inside = tensors[tensors.inside]
        away = inside.away_pct.tolist()
        mean = statistics.t_interval(away) if len(away) > 1 else None
        rows.append(
            {
                **dict(zip(by, key, strict=True)),
                "tensors": len(tensors),
                "n": len(away),
                **columns.interval("away_pct", mean),
                "share": portable.mean(inside.share) if away else None,
                "origin": tensors.origin.iloc[0],
                "run": tensors.run.iloc[0],
            }
        )
    return _sorted(rows, ["model", "weight_bits", "seed", "tensor"])


def ratios(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_ratio.csv: R of each tensor by what scales the gradient of its step.

    `alive` is the share of updates, in percent, in which the layer's weights had a
    gradient; `loss` that of the whole training at its end.
    """
    rows = [
        {
            **_about(record),
            "gradient": record.spec.params["simulate"]["gradient"],
            "layer": key.removeprefix("ratio/").rpartition(".")[0],
            "tensor": "weight" if key.endswith(".weight") else "activation",
            "ratio": value.value,
            "alive": record.values[
                f"alive/{key.removeprefix('ratio/').rpartition('.')[0]}"
            ].value,
            "loss": record.values["loss"].value,
            **_source(record),
        }
        for record in records
        for key, value in record.values.items()
        if key.startswith("ratio/")
    ]
    return _sorted(rows, ["model", "seed", "gradient"])


def integers(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_integers.csv: a row a network and integer form, codes and what differs.

    `free` where both run on their own, `alone` where each kernel is given the simulated
    codes; `from_tie` how far from a tie, in steps, the furthest of the latter was;
    `logits` the largest difference of a logit where all codes are the simulated ones.
    """
    rows = []
    for record in records:
        forms = [k.partition("/")[2] for k in record.values if k.startswith("codes/")]
        order = record.spec.params["forms"]
        for form in sorted(forms, key=order.index):
            tie = record.values.get(f"tie/{form}")
            codes = record[f"codes/{form}"]
            rows.append(
                {
                    **_about(record),
                    "form": form,
                    "n": record["examples"],
                    "codes": codes,
                    "free": record[f"free/{form}"],
                    "free_pct": 100 * record[f"free/{form}"] / codes,
                    "alone": record[f"alone/{form}"],
                    "from_tie": None if tie is None else tie.value,
                    "differing": record[f"differ/{form}"],
                    "logits": record[f"logits/{form}"],
                    "machine": record.machine,
                    **_source(record),
                }
            )
    return _sorted(rows, ["model", "seed", "width"])


def costs(records: list[RunRecord], weighed: list[RunRecord]) -> pd.DataFrame:
    """lsq_cost.csv: a row a candidate and baseline; `cost_ratio` is 1 / `ratio`.

    `peak_mib` is the memory of a process that makes such steps, found in `weighed`,
    by the run `peak_run`.
    """
    peaks = {
        (r.spec.params["model"], key.removeprefix("peak/")): (value.value, r.spec.key)
        for r in weighed
        for key, value in r.values.items()
    }
    rows: list[dict[str, Any]] = []
    for record in records:
        for row in timing.rows(record):
            method, precision, *how = row["candidate"].split(":")
            peak = peaks.get((row["model"], row["candidate"]), (None, None))
            rows.append(
                {
                    "method": method,
                    "precision": precision,
                    "compiled": "compiled" in how,
                    **row,
                    "cost_ratio": 1 / row["ratio"],
                    "cost_ratio_lo": 1 / row["ratio_hi"],
                    "cost_ratio_hi": 1 / row["ratio_lo"],
                    "peak_mib": peak[0],
                    "peak_run": peak[1],
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
