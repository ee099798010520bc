"""What prose quotes of the sweeps."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_sweeps import NAME, RANKINGS
from qstudy.experiments.static.numbers_parts import drop_number, of_tables
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """static.calibration.*, .variance.*, .sensitivity.*, .partial.*.

    Drops are named by their condition; .worst and .best name the condition in text. A
    table that is missing gives no numbers.
    """
    return of_tables(
        tables,
        {
            "calibration": _calibration,
            "variance_summary": _variance,
            "sensitivity": _sensitivity,
            "ranks": _ranks,
            "partial": _partial,
        },
    )


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
