"""What prose quotes of the sweeps."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_sweeps import NAME, RANKINGS
from qstudy.experiments.static.numbers_parts import drop_number, of_tables
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.weights.*, .calibration.*, .variance.*, .sensitivity.*, .partial.*, ...

    Drops are named by their condition; .worst and .best name the condition in text. A
    table that is missing gives no numbers.
    """
    return of_tables(
        tables,
        {
            "weights": _weights,
            "calibration": _calibration,
            "variance_summary": _variance,
            "sensitivity": _sensitivity,
            "ranks": _ranks,
            "partial": _partial,
            "models": _models,
            "engines": _engines,
            "depth": _depth,
            "cures": _cures,
            "transfer": _transfer,
        },
    )


def _transfer(frame: pd.DataFrame) -> dict[str, Number]:
    """static.transfer.GRANULARITY.wB.drop and .verdict, of calibrator mse; .fp32."""
    made = {}
    for row in frame[frame.calibrator == "mse"].itertuples():
        key = f"{NAME}.transfer.{row.granularity}.w{row.weight_bits}"
        made[f"{key}.drop"] = drop_number(row)
        made[f"{key}.verdict"] = _verdict(row)
        made[f"{NAME}.transfer.fp32"] = Number(row.fp32_top1, "%", runs=(row.run,))
        for name in ("side", "fitted_images"):
            told = Number(getattr(row, name), digits=0, runs=(row.run,))
            made[f"{NAME}.transfer.{name}"] = told
    return made


def _verdict(row: Any) -> Number:
    from qstudy.measure import statistics

    said = statistics.accuracy_verdict(row.drop_hi, low=row.drop_lo)
    return Number(said, runs=(row.run,))


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
        made[claim] = _verdict(row)
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


def _calibration(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        name = row.calibrator.replace(" ", "_")
        key = f"{NAME}.calibration.{row.scheme}.{name}.a{row.activation_bits}"
        made[f"{key}.drop"] = drop_number(row)
    affine = frame[frame.scheme == "affine"]
    for bits, rows in affine.groupby("activation_bits"):
        best, worst = (
            rows.loc[i] for i in (rows.drop_pp.idxmin(), rows.drop_pp.idxmax())
        )
        key = f"{NAME}.calibration.a{bits}"
        for said, row in (("best", best), ("worst", worst)):
            made[f"{key}.{said}"] = Number(row.calibrator, runs=(row.run,))
            made[f"{key}.{said}_drop"] = drop_number(row)
        # By the book, with all zeros counted, it fails where no other does.
        others = rows[rows.calibrator != "entropy"]
        spread = others.drop_pp.max() - others.drop_pp.min()
        made[f"{key}.spread"] = Number(spread, "pp", 2, n=len(others), runs=(best.run,))
    return made


def _variance(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        name = row.calibrator.replace(" ", "_")
        key = f"{NAME}.variance.{name}.n{row.calibration_images}"
        runs = tuple(row.runs.split())
        for said, column in (
            ("mean", "drop_mean"),
            ("worst", "drop_worst"),
            ("best", "drop_best"),
            ("range", "range_pp"),
        ):
            value = getattr(row, column)
            made[f"{key}.{said}"] = Number(value, "pp", 2, n=row.draws, runs=runs)
    first = frame.iloc[0]
    runs = tuple(first.runs.split())
    made[f"{NAME}.variance.draws"] = Number(int(first.draws), "", 0, runs=runs)
    made[f"{NAME}.variance.scored"] = Number(int(first.n), "", 0, runs=runs)
    return made


def _sensitivity(frame: pd.DataFrame) -> dict[str, Number]:
    """static.sensitivity.MEASURE.first: the layer that costs most, mean over draws."""
    made = {}
    runs = columns.runs(frame)
    layers = list(dict.fromkeys(frame.layer))
    for measure in RANKINGS:
        means = [
            portable.mean(frame[frame.layer == layer][measure]) for layer in layers
        ]
        first = layers[means.index(max(means))]
        made[f"{NAME}.sensitivity.{measure}.first"] = Number(first, runs=runs)
    made[f"{NAME}.sensitivity.draws"] = Number(frame.draw.nunique(), "", 0, runs=runs)
    return made


def _ranks(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for (a, b), rows in frame.groupby(["first", "second"], sort=False):
        name = f"{a}.stable" if a == b else f"{a}.{b}"
        runs = tuple(sorted(set(rows.run)))
        made[f"{NAME}.sensitivity.tau.{name}"] = Number(
            portable.mean(rows.tau), "", 2, n=len(rows), runs=runs
        )
    made[f"{NAME}.sensitivity.layers"] = Number(
        int(frame.n.iloc[0]), "", 0, runs=(frame.run.iloc[0],)
    )
    return made


def _partial(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.partial.{row.ranking}.k{row.kept}"
        made[f"{key}.drop"] = drop_number(row)
    greedy = frame[frame.ranking == "greedy"]
    if len(greedy):
        last = greedy.iloc[-1]
        told = ", ".join(last.layers.split())
        made[f"{NAME}.partial.greedy.layers"] = Number(told, runs=(last.run,))
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
        made[f"{NAME}.claim.cures.{granularity}"] = _verdict(best)
    return made
