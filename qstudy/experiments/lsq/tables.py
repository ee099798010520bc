"""The LSQ chapter's records as tables: networks, and what each is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.baselines.recipe import goal_verdict
from qstudy.experiments.lsq import tables_ablation, tables_more
from qstudy.experiments.lsq.recipe import DROP_GOAL, GOALS, SEEDS
from qstudy.measure import portable, statistics
from qstudy.spec import RunRecord, RunSpec, interval_columns


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """By file name, each where there are records for it.

    lsq.csv: a row a trained network scored on the test set; lsq_methods.csv: those by
    other methods beside them; lsq_summary.csv: a row a network and width, over seeds;
    lsq_checkpoints.csv: packed files, read back; lsq_size.csv: accuracy against size,
    all methods; lsq_error.csv: the step that errs least, lsq_error_summary.csv the
    means over layers; lsq_recipe.csv and lsq_ablation.csv: what changes bring, on
    images held out; lsq_ratio.csv: how far updates move steps; lsq_integers.csv:
    integer forms, code by code; lsq_cost.csv: a training
    step, its time and memory.
    """
    by_task: dict[str, list[RunRecord]] = {}
    for record in records:
        by_task.setdefault(record.spec.params["task"], []).append(record)
    trained = by_task.get("train", [])
    tested = [r for r in trained if r.spec.params["scored_on"] == "test"]
    tested = [r for r in tested if "condition" not in r.spec.params]
    scored = by_task.get("evaluate", [])
    plain = [r for r in scored if r.spec.params["method"] == "fp32"]
    read_back = [r for r in scored if r.spec.params["method"] == "lsq"]
    others = [r for r in scored if r.spec.params["method"] != "lsq"]
    errors = tables_more.errors(tested)
    made = {
        "lsq.csv": networks(tested, plain),
        "lsq_methods.csv": networks([*tested, *others], plain),
        "lsq_checkpoints.csv": checkpoints(read_back, tested),
        "lsq_size.csv": sizes([*tested, *others]),
        "lsq_error.csv": errors,
        "lsq_error_summary.csv": tables_more.error_summary(errors),
        "lsq_ratio.csv": tables_more.ratios(by_task.get("ratio", [])),
        "lsq_integers.csv": tables_more.integers(by_task.get("integers", [])),
        "lsq_cost.csv": tables_more.costs(
            by_task.get("cost", []), by_task.get("memory", [])
        ),
        **tables_ablation.tables([r for r in trained if "condition" in r.spec.params]),
    }
    made["lsq_summary.csv"] = summary(made["lsq.csv"])
    return {name: frame for name, frame in made.items() if len(frame)}


def row(record: RunRecord) -> dict[str, Any]:
    """The columns of a scored network."""
    params = record.spec.params
    simulated, recipe = params.get("simulate", {}), params.get("recipe", {})
    if params["method"] in ("lsq", "qat") and not simulated:
        simulated = params["parent"]["params"]["simulate"]
        recipe = params["parent"]["params"]["recipe"]
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "split": params["scored_on"],
        "method": params["method"],
        "weight_bits": simulated.get("weight_bits", 32),
        "activation_bits": simulated.get("activation_bits", 32),
        "granularity": simulated.get("granularity"),
        "seed": record.spec.seed,
        "n": len(record.arrays["correct"]),
        "epochs": recipe.get("epochs", 0),
        "batch": recipe.get("batch"),
        "threads": params["threads"],
        "train_loss": record["loss"] if "loss" in record.values else None,
        **columns.interval("top1", record.values["top1"]),
        "size_kib": record["size"] if "size" in record.values else None,
        "peak_mib": record.peak_mib,
        "origin": record.origin,
        "run": record.spec.key,
    }


def networks(trained: list[RunRecord], plain: Iterable[RunRecord]) -> pd.DataFrame:
    """lsq.csv, lsq_methods.csv: each with its drop from the fp32 network it was."""
    bases = {(r.spec.params["model"], r.spec.seed): r for r in plain}
    rows = []
    for record in trained:
        base = bases.get((record.spec.params["model"], record.spec.seed))
        drop = None
        if base is not None and base is not record:
            drop = statistics.paired_drop(
                base.arrays["correct"], record.arrays["correct"], seed=0
            )
        rows.append(
            {
                **row(record),
                **columns.interval("drop_pp", drop),
                "baseline_run": base.spec.key if base is not None else None,
            }
        )
    return _sorted(rows, ["model", "weight_bits", "method", "seed"])


def checkpoints(read_back: list[RunRecord], trained: list[RunRecord]) -> pd.DataFrame:
    """lsq_checkpoints.csv: each packed file, scored as it was read back.

    `trained_top1` is what the network had right of the same images at the end of its
    training, `differing` how many predictions are others than then.
    """
    ends = {r.spec.key: r for r in trained}
    rows = []
    for record in read_back:
        made = row(record)
        end = ends.get(RunSpec.from_dict(record.spec.params["parent"]).key)
        n = made["n"]
        about: dict[str, Any] = {"trained_top1": None, "differing": None}
        if end is not None:
            now, then = (r.arrays["predictions"][:n] for r in (record, end))
            right = int(end.arrays["correct"][:n].sum())
            about["trained_top1"] = 100 * right / n
            about["differing"] = int((now != then).sum())
        kept = ("model", "weight_bits", "activation_bits", "seed", "n")
        scores = ("top1", *interval_columns("top1"))
        last = ("size_kib", "origin", "run")
        rows.append(
            {k: made[k] for k in (*kept, *scores)}
            | about
            | {k: made[k] for k in last}
            | {"baseline_run": None if end is None else end.spec.key}
        )
    return _sorted(rows, ["model", "weight_bits", "seed", "n"])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """lsq_summary.csv: by network and width, mean and range of the seeds.

    `drop_pp` is the mean of the per-seed drops with its t interval, or, of a single
    seed, its drop with its interval over images; `drop_over` says which. A goal was
    set for the mean of all SEEDS and is judged where all are there.
    """
    rows = []
    if not len(frame):
        return frame
    for (model, bits), seeds in frame.groupby(["model", "weight_bits"], sort=False):
        drops = seeds.drop_pp.dropna()
        many = len(drops) > 1
        drop = statistics.t_interval(drops) if many else None
        if len(drops) == 1 and len(seeds) == 1:
            only = seeds.iloc[0]
            ends = (only.drop_pp, only.drop_lo, only.drop_hi)
            drop = statistics.Interval(*ends, n=int(only.n))
        top1 = portable.mean(seeds.top1)
        rows.append(
            {
                "model": model,
                "weight_bits": bits,
                "activation_bits": seeds.activation_bits.iloc[0],
                "epochs": seeds.epochs.iloc[0],
                "n": len(seeds),
                "top1": top1,
                "top1_min": seeds.top1.min(),
                "top1_max": seeds.top1.max(),
                **columns.interval("drop_pp", drop),
                "drop_over": None if drop is None else "seeds" if many else "images",
                **_goal(model, bits, list(seeds.seed), top1, drop),
            }
        )
    return pd.DataFrame(rows)


def _goal(
    model: str,
    bits: int,
    seeds: list[int],
    top1: float,
    drop: statistics.Interval | None,
) -> dict[str, Any]:
    """Its goal in words, and whether it is reached; empty for a smaller network."""
    if model != "resnet20":
        return {"goal": None, "goal_verdict": None}
    width = f"w{bits}a{bits}"
    asked = f"drop of at most {DROP_GOAL:.1f} pp"
    if width in GOALS:
        asked = f"mean of at least {GOALS[width]:.1f} %"
    said = None
    if set(seeds) != set(SEEDS):
        said = f"not judged yet: {len(seeds)} of {len(SEEDS)} seeds"
    elif width in GOALS:
        said = goal_verdict(top1, goal=GOALS[width])
    elif drop is not None:
        said = goal_verdict(-drop.high, goal=-DROP_GOAL)
    return {"goal": asked, "goal_verdict": said}


def sizes(records: list[RunRecord]) -> pd.DataFrame:
    """lsq_size.csv: a row a network, method and width, of the first seed of each.

    Only some have more seeds, and a mean beside single runs would compare unlike
    things. `front`: no network that is at most as large is more accurate.
    """
    kept = [row(r) for r in records if "size" in r.values]
    made = _sorted(kept, ["size_kib", "model", "method", "seed"])
    if not len(made):
        return made
    by = ["model", "method", "weight_bits", "activation_bits"]
    made = made.drop_duplicates(by, ignore_index=True)
    made["front"] = [
        not ((made.size_kib <= each.size_kib) & (made.top1 > each.top1)).any()
        for each in made.itertuples()
    ]
    about = ("split", "seed", "n", "size_kib", "top1", *interval_columns("top1"))
    return made[[*by, *about, "front", "origin", "run"]]


def _sorted(rows: list[dict[str, Any]], by: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if not len(frame):
        return frame
    return frame.sort_values(by, key=_in_order, ignore_index=True, kind="stable")


def _in_order(column: pd.Series) -> pd.Series:
    """ResNets by their depth, all else as it is."""
    return column.str[len("resnet") :].astype(int) if column.name == "model" else column
