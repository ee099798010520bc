"""Static quantization's records as tables and quoted numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import timing
from qstudy.spec import Number, RunRecord, RunSpec

NAME = "static"
# The configuration that prose and front page quote, fixed before it was measured.
HEADLINE = {
    "engine": "x86",
    "granularity": "per_channel",
    "calibrator": "histogram",
    "activation_bits": 8,
}

_SEEDS = (
    "model",
    "stage",
    "seed",
    "n",
    "fp32_top1",
    "top1",
    "drop_pp",
    "drop_lo",
    "drop_hi",
    "origin",
    "run",
)


def _drops(records: list[RunRecord]) -> dict[str, Any]:
    """Key of an int8 run -> its drop against the fp32 run of the same network."""
    from qstudy.measure.statistics import paired_drop

    references = {
        RunSpec.from_dict(r.spec.params["parent"]).key: r
        for r in records
        if r.spec.params["method"] == "fp32"
    }
    drops = {}
    for r in records:
        if r.spec.params["method"] == "fp32":
            continue
        reference = references.get(RunSpec.from_dict(r.spec.params["parent"]).key)
        if reference is not None:
            drops[r.spec.key] = paired_drop(
                reference.arrays["correct"], r.arrays["correct"], seed=0
            )
    return drops


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """fp32.csv and static.csv: a row a network; static_latency.csv: a row a ratio.

    static_seeds.csv: the headline configuration, a row a seed of training.
    """
    evaluated = [r for r in records if r.spec.params["task"] == "evaluate"]
    drops = _drops(evaluated)
    rows = [_row(r, drops.get(r.spec.key)) for r in evaluated]
    order = ["engine", "granularity", "calibrator", "activation_bits", "draw"]
    frame = pd.DataFrame(rows).sort_values(["method", *order], ignore_index=True)
    fp32 = frame[frame.method == "fp32"].drop(columns=[*order[:3], "draw"])
    made = {
        "fp32.csv": fp32.dropna(axis="columns", how="all").reset_index(drop=True),
        "static.csv": frame,
    }
    seeds = _headline(frame, seed=None).groupby("seed", as_index=False).first()
    tops = fp32.set_index("seed").top1.rename("fp32_top1")
    made["static_seeds.csv"] = seeds.join(tops, on="seed")[[*_SEEDS]]
    timed = [
        row
        for r in records
        if r.spec.params["task"] == "latency"
        for row in timing.rows(r)
    ]
    if timed:
        latency = pd.DataFrame(timed)
        split = latency.candidate.str.split(":", expand=True)
        latency.insert(1, "precision", split[0])
        latency.insert(2, "how", split[1])
        keys = ["threads", "batch", "baseline", "precision", "how"]
        made["static_latency.csv"] = latency.sort_values(keys, ignore_index=True)
    return made


def _row(record: RunRecord, drop: Any) -> dict[str, Any]:
    params = record.spec.params
    int8 = params["method"] == "static_int8"
    parent = RunSpec.from_dict(params["parent"])
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "stage": parent.params["stage"],
        "split": "test",
        "method": params["method"],
        "engine": params["engine"] if int8 else None,
        "weight_bits": 8 if int8 else 32,
        "activation_bits": params["activation_bits"] if int8 else 32,
        "granularity": params["granularity"] if int8 else None,
        "calibrator": params["calibrator"] if int8 else None,
        "calibration_images": params["calibration_images"] if int8 else None,
        "seed": parent.seed,
        "draw": record.spec.seed if int8 else None,
        "n": len(record.arrays["correct"]),
        "threads": params["threads"],
        "top1": record["top1"],
        "top1_lo": record.values["top1"].low,
        "top1_hi": record.values["top1"].high,
        "drop_pp": drop.value if drop else None,
        "drop_lo": drop.low if drop else None,
        "drop_hi": drop.high if drop else None,
        "size_mib": record["size_mib"],
        "origin": record.origin,
        "run": record.spec.key,
    }


def _headline(frame: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    """The rows of the headline configuration, or of one that differs in `changes`.

    They are those of the first seed of training; `seed=None` takes all seeds.
    """
    wanted = {**HEADLINE, "seed": frame.seed.min(), **changes}
    chosen = frame[frame.method == "static_int8"]
    for column, value in wanted.items():
        if value is not None:
            chosen = chosen[chosen[column] == value]
    return chosen.sort_values(["seed", "draw"])


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.<model>.* of the headline configuration, and static.claim.*.

    .runs_7bit and .runs_8bit count the first seed's runs, of all settings and draws of
    calibration images; .resolved_* those whose drop has its whole interval above 0.
    """
    from qstudy.measure import statistics

    frame = tables["static.csv"]
    fp32 = frame[frame.method == "fp32"].sort_values("seed").iloc[0]
    headline = _headline(frame)
    first = headline.iloc[0]
    key, runs = f"{NAME}.{first.model}", (fp32.run, first.run)
    ratio = fp32.size_mib / first.size_mib
    quoted = {
        f"{key}.fp32_top1": _top1(fp32),
        f"{key}.top1": _top1(first),
        f"{key}.top1_min": Number(headline.top1.min(), "%", 2, n=len(headline)),
        f"{key}.top1_max": Number(headline.top1.max(), "%", 2, n=len(headline)),
        f"{key}.drop": _drop(first),
        f"{key}.size_ratio": Number(ratio, "×", 2, runs=runs),
        f"{key}.fp32_mib": Number(fp32.size_mib, "MiB", 2, runs=(fp32.run,)),
        f"{key}.int8_mib": Number(first.size_mib, "MiB", 2, runs=(first.run,)),
        f"{key}.calibration_images": Number(int(first.calibration_images), "", 0),
        f"{NAME}.claim.size": Number(statistics.size_verdict(ratio), runs=runs),
        f"{NAME}.claim.accuracy": Number(
            statistics.accuracy_verdict(first.drop_hi, low=first.drop_lo), runs=runs
        ),
    }
    for name, changes in (
        ("drop_7bit", {"activation_bits": 7}),
        ("drop_per_tensor", {"granularity": "per_tensor", "calibrator": "minmax"}),
    ):
        other = _headline(frame, **changes)
        if len(other):
            quoted[f"{key}.{name}"] = _drop(other.iloc[0])
    for bits in (7, 8):
        rows = frame[(frame.activation_bits == bits) & (frame.seed == first.seed)]
        resolved = rows[rows.drop_lo > 0]
        quoted[f"{key}.runs_{bits}bit"] = Number(len(rows), "", 0, runs=tuple(rows.run))
        quoted[f"{key}.resolved_{bits}bit"] = Number(
            len(resolved), "", 0, n=len(rows), runs=tuple(resolved.run)
        )
    seeds = tables["static_seeds.csv"]
    for name in ("mean", "min", "max") if len(seeds) > 1 else ():
        drop = getattr(seeds.drop_pp, name)()
        quoted[f"{key}.drop_{name}"] = Number(
            drop, "pp", 2, n=len(seeds), runs=tuple(seeds.run)
        )
    if "static_latency.csv" in tables:
        quoted |= _speed_numbers(key, tables["static_latency.csv"])
    return quoted


def _top1(row: Any) -> Number:
    return Number(row.top1, "%", 2, row.top1_lo, row.top1_hi, int(row.n), (row.run,))


def _drop(row: Any) -> Number:
    return Number(
        row.drop_pp, "pp", 2, row.drop_lo, row.drop_hi, int(row.n), (row.run,)
    )


def _speed_numbers(key: str, latency: pd.DataFrame) -> dict[str, Number]:
    """The headline engine's ratios: batch 1, 2 threads as ...; all as ..._b1_t2."""
    from qstudy.measure import statistics

    quoted = {}
    engine = latency[latency.candidate == f"int8:{HEADLINE['engine']}"]
    for row in engine.itertuples():
        short = "eager" if row.baseline == "eager_fp32" else row.baseline
        number = Number(
            row.ratio, "×", 2, row.ratio_lo, row.ratio_hi, int(row.n), (row.run,)
        )
        verdict = Number(
            statistics.speed_verdict(row.ratio_lo, row.ratio_hi), runs=(row.run,)
        )
        setting = f"{short}_b{row.batch}_t{row.threads}"
        quoted[f"{key}.speed_{setting}"] = number
        quoted[f"{NAME}.claim.speed_{setting}"] = verdict
        if (row.batch, row.threads) == (1, 2):
            quoted[f"{key}.speed_{short}"] = number
            quoted[f"{NAME}.claim.speed_{short}"] = verdict
            quoted[f"{NAME}.machine"] = Number(row.machine)
    return quoted
