"""What prose quotes of the sweeps."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_sweeps import NAME
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.weights.*, .calibration.*, .variance.*, .sensitivity.*, .partial.*, ...

    Drops are named by their condition; .worst and .best name the condition in text. A
    table that is missing gives no numbers.
    """
    made: dict[str, Number] = {}
    for name, make in (
        ("weights", _weights),
        ("calibration", _calibration),
        ("variance_summary", _variance),
        ("ranks", _ranks),
        ("partial", _partial),
        ("models", _models),
        ("engines", _engines),
        ("depth", _depth),
        ("cures", _cures),
    ):
        if f"static_{name}.csv" in tables:
            made |= make(tables[f"static_{name}.csv"])
    return made


def _drop(row: Any) -> Number:
    return columns.number(row, "drop_pp", "pp")


def _verdict(row: Any) -> Number:
    from qstudy.measure import statistics

    said = statistics.accuracy_verdict(row.drop_hi, low=row.drop_lo)
    return Number(said, runs=(row.run,))


def _weights(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.weights.{row.granularity}.{row.bn}.w{row.weight_bits}"
        made[f"{key}.drop"] = _drop(row)
    for row in frame[(frame.bn == "folded")].itertuples():
        claim = f"{NAME}.claim.weights.{row.granularity}.w{row.weight_bits}"
        made[claim] = _verdict(row)
    return made


def _calibration(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        name = row.calibrator.replace(" ", "_")
        key = f"{NAME}.calibration.{row.scheme}.{name}.a{row.activation_bits}"
        made[f"{key}.drop"] = _drop(row)
    affine = frame[frame.scheme == "affine"]
    for bits, rows in affine.groupby("activation_bits"):
        best, worst = (
            rows.loc[i] for i in (rows.drop_pp.idxmin(), rows.drop_pp.idxmax())
        )
        key = f"{NAME}.calibration.a{bits}"
        for said, row in (("best", best), ("worst", worst)):
            made[f"{key}.{said}"] = Number(row.calibrator, runs=(row.run,))
            made[f"{key}.{said}_drop"] = _drop(row)
        spread = worst.drop_pp - best.drop_pp
        made[f"{key}.spread"] = Number(spread, "pp", 2, n=len(rows), runs=(best.run,))
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
        made[f"{key}.drop"] = _drop(row)
    best = frame.loc[frame.drop_pp.idxmin()]
    made[f"{NAME}.partial.best"] = Number(
        f"{best.ranking.replace('_', ' ')}, {best.kept} layers", runs=(best.run,)
    )
    return made


def _models(frame: pd.DataFrame) -> dict[str, Number]:
    """static.claim.small_models.*: whether the smaller network loses more.

    Judged on the first seeds' intervals: holds where that of the smallest network lies
    above that of the largest, fails where below, else undecided here.
    """
    from qstudy.measure import statistics

    made = {}
    for row in frame.itertuples():
        width = f"w{row.weight_bits}a{row.activation_bits}"
        if row.seed == 0:
            made[f"{NAME}.models.{row.model}.{width}.drop"] = _drop(row)
    first = frame[frame.seed == 0]
    for bits, rows in first.groupby("weight_bits"):
        small, large = rows.iloc[0], rows.iloc[-1]
        said = statistics.UNDECIDED
        if small.drop_lo > large.drop_hi:
            said = statistics.HOLDS
        elif small.drop_hi < large.drop_lo:
            said = statistics.FAILS
        runs = (small.run, large.run)
        made[f"{NAME}.claim.small_models.w{bits}a{bits}"] = Number(said, runs=runs)
    return made


def _engines(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.engines.{row.engine}.{row.how}"
        made[f"{key}.drop"] = _drop(row)
        made[f"{key}.agree"] = Number(
            row.agree_pct, "%", 2, n=int(row.n), runs=(row.run,)
        )
    same = frame[(frame.how == "same") & (frame.engine != "simulated")]
    runs = columns.runs(same)
    made[f"{NAME}.engines.same.agree_least"] = Number(
        same.agree_pct.min(), "%", 2, n=len(same), runs=runs
    )
    made[f"{NAME}.engines.worst_drop"] = _drop(frame.loc[frame.drop_pp.idxmax()])
    return made


def _depth(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for form, rows in frame.groupby("form"):
        rows = rows.sort_values("place", kind="stable")
        for said, row in (("first", rows.iloc[0]), ("last", rows.iloc[-1])):
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
        made[f"{key}.drop"] = _drop(row)
        made[f"{key}.cpu"] = Number(row.cpu_s, "s", 0, runs=(row.run,))
    for granularity, rows in frame.groupby("granularity"):
        best = rows.loc[rows.drop_pp.idxmin()]
        key = f"{NAME}.cures.{granularity}.best"
        made[key] = Number(best.cure.replace("_", " with "), runs=(best.run,))
        made[f"{NAME}.claim.cures.{granularity}"] = _verdict(best)
    return made
