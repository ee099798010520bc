"""What prose quotes of the sweeps over weights, networks, engines and cures."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.experiments.static.grid_sweeps import NAME
from qstudy.experiments.static.numbers_parts import drop_number, of_tables, verdict
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.weights.*, .models.*, .engines.*, .depth.*, .cures.* and .transfer.*.

    Drops are named by their condition. Those of the network with depthwise layers have
    static.mobilenet.* in place of static.*, weights among them.
    """
    others = {name: _rows(frame, depthwise=False) for name, frame in tables.items()}
    theirs = {name: _rows(frame, depthwise=True) for name, frame in tables.items()}
    made = of_tables(
        others,
        {
            "weights": _weights,
            "models": _models,
            "engines": _engines,
            "depth": _depth,
            "cures": _cures,
            "transfer": _transfer,
        },
    )
    special = of_tables(
        {name: frame for name, frame in theirs.items() if len(frame)},
        {"weights": _weights, "models": _models, "cures": _cures},
    )
    stem = f"{NAME}.mobilenet"
    return made | {key.replace(NAME, stem, 1): it for key, it in special.items()}


def _rows(frame: pd.DataFrame, *, depthwise: bool) -> pd.DataFrame:
    """The rows of the network with depthwise layers, or all others."""
    if "model" not in frame:
        return frame[:0] if depthwise else frame
    return frame[(frame.model == DEPTHWISE) == depthwise]


def _weights(frame: pd.DataFrame) -> dict[str, Number]:
    """Each drop; static.weights.GRANULARITY.fewest: bits that cost almost nothing.

    The fewest bits at which they and all more bits have almost no drop, folded.
    """
    from qstudy.measure import statistics

    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.weights.{row.granularity}.{row.bn}.w{row.weight_bits}"
        made[f"{key}.drop"] = drop_number(row)
    folded = frame[frame.bn == "folded"]
    for row in folded.itertuples():
        claim = f"{NAME}.claim.weights.{row.granularity}.w{row.weight_bits}"
        made[claim] = verdict(row)
    for granularity, rows in folded.groupby("granularity"):
        fewest = None
        ordered = rows.sort_values("weight_bits", ascending=False, kind="stable")
        for row in ordered.itertuples():
            if row.drop_hi > statistics.ALMOST_NO_DROP:
                break
            fewest = row
        if fewest is not None:
            made[f"{NAME}.weights.{granularity}.fewest"] = Number(
                int(fewest.weight_bits), "", 0, runs=(fewest.run,)
            )
    return made


def _transfer(frame: pd.DataFrame) -> dict[str, Number]:
    """static.transfer.GRANULARITY.wB.drop and .verdict, of calibrator mse; .fp32."""
    made = {}
    for row in frame[frame.calibrator == "mse"].itertuples():
        key = f"{NAME}.transfer.{row.granularity}.w{row.weight_bits}"
        made[f"{key}.drop"] = drop_number(row)
        made[f"{key}.verdict"] = verdict(row)
        made[f"{NAME}.transfer.fp32"] = Number(row.fp32_top1, "%", runs=(row.run,))
        for name in ("side", "fitted_images"):
            told = Number(getattr(row, name), digits=0, runs=(row.run,))
            made[f"{NAME}.transfer.{name}"] = told
    return made


def _models(frame: pd.DataFrame) -> dict[str, Number]:
    """The first seeds' drops, and by how many points the smallest network loses more.

    .least and .most are the ends of a network's drops over its seeds.
    .difference is the mean over the seeds that both have, with Student's interval;
    static.claim.small_models.*: holds where that lies above 0, fails where below, else
    undecided here.
    """
    from qstudy.measure import statistics

    made = {}
    for row in frame[frame.seed == 0].itertuples():
        width = f"w{row.weight_bits}a{row.activation_bits}"
        made[f"{NAME}.models.{row.model}.{width}.drop"] = drop_number(row)
    for (model, bits), rows in frame.groupby(["model", "weight_bits"], sort=False):
        key = f"{NAME}.models.{model}.w{bits}a{bits}"
        for said, drop in (("least", min(rows.drop_pp)), ("most", max(rows.drop_pp))):
            runs = columns.runs(rows)
            made[f"{key}.{said}"] = Number(drop, "pp", 2, n=len(rows), runs=runs)
    for bits, rows in frame.groupby("weight_bits"):
        sizes = list(dict.fromkeys(rows.model))
        small, large = (
            rows[rows.model == model].set_index("seed")
            for model in (sizes[0], sizes[-1])
        )
        seeds = sorted(set(small.index) & set(large.index))
        if len(sizes) < 2 or len(seeds) < 2:
            continue
        mean = statistics.t_interval(
            [small.drop_pp[seed] - large.drop_pp[seed] for seed in seeds]
        )
        runs = tuple(
            run for seed in seeds for run in (small.run[seed], large.run[seed])
        )
        said = statistics.UNDECIDED
        if mean.low > 0:
            said = statistics.HOLDS
        elif mean.high < 0:
            said = statistics.FAILS
        width = f"w{bits}a{bits}"
        made[f"{NAME}.models.difference.{width}"] = Number(
            mean.value, "pp", 2, mean.low, mean.high, mean.n, runs
        )
        made[f"{NAME}.claim.small_models.{width}"] = Number(said, runs=runs)
    return made


def _engines(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.engines.{row.engine}.{row.how}"
        made[f"{key}.drop"] = drop_number(row)
        made[f"{key}.agree"] = Number(
            row.agree_pct, "%", 2, n=int(row.n), runs=(row.run,)
        )
    same = frame[(frame.how == "same") & (frame.engine != "simulated")]
    runs = columns.runs(same)
    made[f"{NAME}.engines.same.agree_least"] = Number(
        same.agree_pct.min(), "%", 2, n=len(same), runs=runs
    )
    made[f"{NAME}.engines.worst_drop"] = drop_number(frame.loc[frame.drop_pp.idxmax()])
    return made


def _depth(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for form, rows in frame.groupby("form"):
        rows = rows.sort_values("place", kind="stable")
        worst = rows.loc[rows.sqnr_db.idxmin()]
        made[f"{NAME}.depth.{form}.where"] = Number(worst.kernel, runs=(worst.run,))
        of = (("first", rows.iloc[0]), ("least", worst), ("last", rows.iloc[-1]))
        for said, row in of:
            value = Number(row.sqnr_db, "dB", 1, n=int(row.n), runs=(row.run,))
            made[f"{NAME}.depth.{form}.{said}"] = value
    wide = frame.pivot(index="place", columns="form", values="sqnr_db")
    gap = (wide.simulated - wide.converted).abs().max()
    made[f"{NAME}.depth.gap"] = Number(
        gap, "dB", 2, n=len(wide), runs=(frame.run.iloc[0],)
    )
    return made


def _cures(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.cures.{row.granularity}.{row.cure}"
        made[f"{key}.drop"] = drop_number(row)
        made[f"{key}.cpu"] = Number(row.cpu_s, "s", 0, runs=(row.run,))
    for granularity, rows in frame.groupby("granularity"):
        best = rows.loc[rows.drop_pp.idxmin()]
        key = f"{NAME}.cures.{granularity}.best"
        made[key] = Number(best.cure.replace("_", " with "), runs=(best.run,))
        made[f"{NAME}.claim.cures.{granularity}"] = verdict(best)
    return made
