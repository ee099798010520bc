"""What prose quotes of files, of other methods, of steps and of integers."""

from __future__ import annotations

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.lsq.grid import NAME
from qstudy.experiments.lsq.recipe import RATIOS, WIDTHS
from qstudy.measure import portable
from qstudy.spec import Number

# The key's word for a method that LSQ is held against.
OTHERS = {"static_int8": "ptq", "qat": "qat"}
WIDE = "integer_wide"


def more(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """lsq.file.*, lsq.<other>.w<bits>a<bits>.*, lsq.error.* and lsq.integers.*.

    lsq.error.<tensor>.<measure> is of the network with the fewest bits, lsq.error.bits,
    lsq.error.inside.<measure> how many of its tensors have a best step inside the grid;
    lsq.integers.wide.* of all networks in integers alone; lsq.ratio.<gradient>.*:
    how far an update moves a step. What no network is there for
    is "–".
    """
    names = ("bits", "tensors", "inside.mae", "inside.mse", "inside.kl", *_errors())
    made = {f"{NAME}.error.{name}": Number("–") for name in names}
    wide = ("networks", "images", "codes", "alone", "tie", "differing", "logits")
    made |= {f"{NAME}.integers.wide.{name}": Number("–") for name in wide}
    made |= {f"{NAME}.file.lsq.{width}.smaller": Number("–") for width in WIDTHS}
    made |= {f"{NAME}.ptq.{width}.drop": Number("–") for width in WIDTHS}
    made |= {
        f"{NAME}.ratio.{gradient}.{name}": Number("–")
        for gradient in RATIOS
        for name in ("weight", "activation", "loss", "alive")
    }
    return (
        made
        | _others(tables.get("lsq_methods.csv", pd.DataFrame()))
        | _files(tables.get("lsq_checkpoints.csv", pd.DataFrame()), tables)
        | _error(tables.get("lsq_error_summary.csv", pd.DataFrame()))
        | _integers(tables.get("lsq_integers.csv", pd.DataFrame()))
        | _ratios(tables.get("lsq_ratio.csv", pd.DataFrame()))
    )


def _errors() -> list[str]:
    kinds, measures = ("weight", "activation"), ("mae", "mse", "kl")
    return [f"{kind}.{measure}" for kind in kinds for measure in measures]


def _others(frame: pd.DataFrame) -> dict[str, Number]:
    """What calibration and QAT leave of ResNet-20's first seed, and its fp32 mean."""
    made = {}
    if len(frame):
        plain = frame[(frame.model == "resnet20") & (frame.method == "fp32")]
        if len(plain):
            top1, runs = portable.mean(plain.top1), columns.runs(plain)
            n = len(plain)
            made[f"{NAME}.fp32.top1"] = Number(top1, "%", 2, n=n, runs=runs)
    for row in frame.itertuples():
        if row.model != "resnet20" or row.seed != 0 or row.method not in OTHERS:
            continue
        key = f"{NAME}.{OTHERS[row.method]}.w{row.weight_bits}a{row.activation_bits}"
        made[f"{key}.top1"] = columns.number(row, "top1", "%")
        if pd.notna(row.drop_pp):
            made[f"{key}.drop"] = columns.number(row, "drop_pp", "pp", compared=True)
    return made


def _ratios(frame: pd.DataFrame) -> dict[str, Number]:
    """By what scales the gradient of steps: median R, loss, and the fewest updates."""
    made: dict[str, Number] = {}
    for gradient, rows in frame.groupby("gradient", sort=False) if len(frame) else ():
        key, runs = f"{NAME}.ratio.{gradient}", columns.runs(rows)
        for tensor, of_one in rows.groupby("tensor", sort=False):
            median, n = portable.median(of_one.ratio), len(of_one)
            made[f"{key}.{tensor}"] = Number(median, "", 2, n=n, runs=runs)
        made[f"{key}.loss"] = Number(float(rows.loss.iloc[0]), "", 2, runs=runs)
        made[f"{key}.alive"] = Number(float(rows.alive.min()), "%", 0, runs=runs)
    return made


def _files(frame: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """How large the packed files are, and whether they give the same predictions."""
    made: dict[str, Number] = {}
    sizes = tables.get("lsq_size.csv", pd.DataFrame())
    if len(sizes):
        whole = sizes[(sizes.model == "resnet20") & (sizes.method == "fp32")]
        for row in sizes[sizes.model == "resnet20"].itertuples():
            key = f"{NAME}.file.{row.method}.w{row.weight_bits}a{row.activation_bits}"
            made[f"{key}.size"] = Number(row.size_kib, "KiB", 0, runs=(row.run,))
            for base in whole.itertuples():
                made[f"{key}.smaller"] = Number(
                    base.size_kib / row.size_kib, "×", 1, runs=(base.run, row.run)
                )
    if len(frame):
        runs = columns.runs(frame)
        whole = frame[frame.n == frame.n.max()]
        compared = whole[whole.differing.notna()]
        both = columns.runs(compared, compared=True)
        made[f"{NAME}.file.largest"] = Number(whole.size_kib.max(), "KiB", 0, runs=runs)
        made[f"{NAME}.file.count"] = Number(len(whole), "", 0, runs=runs)
        made[f"{NAME}.file.images"] = Number(int(whole.n.max()), "", 0, runs=runs)
        made[f"{NAME}.file.differing"] = Number(
            int(compared.differing.sum()), "", 0, runs=both
        )
    return made


def _error(frame: pd.DataFrame) -> dict[str, Number]:
    """How far from the learned step the one that errs least is, on average."""
    made: dict[str, Number] = {}
    if not len(frame):
        return made
    least = frame[frame.weight_bits == frame.weight_bits.min()]
    least = least[least.seed == least.seed.min()]
    made[f"{NAME}.error.bits"] = Number(
        int(least.weight_bits.iloc[0]), "", 0, runs=columns.runs(least)
    )
    for measure, rows in least.groupby("measure", sort=False):
        runs, every = columns.runs(rows), int(rows.tensors.sum())
        inside = Number(int(rows.n.sum()), "", 0, runs=runs)
        made[f"{NAME}.error.inside.{measure}"] = inside
        made[f"{NAME}.error.tensors"] = Number(every, "", 0, runs=runs)
    for row in least.itertuples():
        if pd.notna(row.away_pct):
            key = f"{NAME}.error.{row.tensor}.{row.measure}"
            made[key] = columns.number(row, "away_pct", "%", 0)
    return made


def _integers(frame: pd.DataFrame) -> dict[str, Number]:
    """By width and form, and of all networks in integers alone together."""
    made: dict[str, Number] = {}
    if not len(frame):
        return made
    for row in frame.itertuples():
        key = f"{NAME}.integers.{row.width}.{row.form.removeprefix('integer_')}"
        made |= _form(key, frame[frame.index == row.Index])
    wide = frame[frame.form == WIDE]
    if len(wide):
        key, runs = f"{NAME}.integers.wide", columns.runs(wide)
        made |= _form(key, wide)
        made[f"{key}.networks"] = Number(len(wide), "", 0, runs=runs)
    return made


def _form(key: str, rows: pd.DataFrame) -> dict[str, Number]:
    runs = columns.runs(rows)
    counts = {name: int(rows[name].sum()) for name in ("codes", "alone", "differing")}
    made = {f"{key}.{name}": Number(v, "", 0, runs=runs) for name, v in counts.items()}
    made[f"{key}.images"] = Number(int(rows.n.max()), "", 0, runs=runs)
    ties = rows.from_tie.dropna()
    if len(ties):
        made[f"{key}.tie"] = Number(_tiny(ties.max()), runs=runs)
    made[f"{key}.logits"] = Number(_tiny(rows.logits.max()), runs=runs)
    return made


def _tiny(value: float) -> str:
    """One significant digit, written out: 0.00002."""
    return f"{float(f'{value:.1g}'):.12f}".rstrip("0").rstrip(".")
