"""What the formulas chapter's prose quotes, read from its tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.formulas.grid import NAME
from qstudy.measure import portable
from qstudy.spec import Number


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """formulas.*: what the chapter's prose quotes."""
    makers = {
        "conventions.csv": _convention_numbers,
        "integer_operators.csv": _operator_numbers,
        "overflow.csv": _overflow_numbers,
        "integer_network.csv": _network_numbers,
        "integer_layers.csv": _layer_numbers,
        "integer_steps.csv": _step_numbers,
        "quantization_error.csv": _error_numbers,
        "calibrator_cost.csv": _cost_numbers,
        "conformance.csv": _conformance_numbers,
    }
    quoted = {}
    for name, maker in makers.items():
        if name in tables:
            found = maker(tables[name])
            quoted |= {f"{NAME}.{key}": number for key, number in found.items()}
    return quoted


def _count(value: Any, frame: pd.DataFrame, n: int | None = None) -> Number:
    return Number(int(value), "", 0, n=n, runs=columns.runs(frame))


def _convention_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    for row in frame.itertuples():
        key = f"{row.scheme}.{row.convention}"
        quoted[f"{key}.code"] = Number(int(row.code), "", 0, runs=(row.run,))
        quoted[f"{key}.scale"] = Number(float(row.scale), "", 5, runs=(row.run,))
        quoted[f"{key}.zero_point"] = Number(
            int(row.zero_point), "", 0, runs=(row.run,)
        )
    return quoted


def _operator_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    eight = frame[frame.activation_bits == 8]
    pairs = eight.groupby(["engine", "operator"]).agg(
        differing=("differing", "sum"), n=("n", "sum")
    )
    quoted = {
        "operators.pairs": _count(len(pairs), frame),
        "operators.exact_pairs": _count((pairs.differing == 0).sum(), frame),
        "operators.compared": _count(pairs.n.sum(), frame),
        "operators.inexact": Number(
            ", ".join(f"{o} on {e}" for e, o in pairs[pairs.differing > 0].index)
            or "none",
            runs=columns.runs(eight),
        ),
    }
    for bits in (8, 7):
        depthwise = frame[
            (frame.engine == "fbgemm")
            & (frame.operator == "conv2d_depthwise")
            & (frame.activation_bits == bits)
        ]
        if len(depthwise):
            share = 100 * depthwise.differing.sum() / depthwise.n.sum()
            quoted[f"depthwise.{bits}bit"] = Number(
                float(share),
                "%",
                2,
                n=int(depthwise.n.sum()),
                runs=columns.runs(depthwise),
            )
    return quoted


def _overflow_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    saturating = frame[frame.saturating > 0]
    names = [f"{r.operator} on {r.engine}" for r in saturating.itertuples()]
    return {
        "overflow.sum": _count(frame.exact_sum.iloc[0], frame),
        "overflow.saturating": Number(
            ", ".join(names).replace("_", " ") or "none", runs=columns.runs(frame)
        ),
        "overflow.saturating_pairs": _count(saturating.saturating.sum(), frame),
        "overflow.pairs": _count(frame.n.max(), frame),
        "overflow.engines": _count(frame.engine.nunique(), frame),
    }


def _network_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    most = frame[frame.n == frame.n.max()]
    for row in most.itertuples():
        if row.activation_bits == 8:
            key, n = f"network.{row.engine}.{row.arithmetic}", int(row.n)
            quoted[f"{key}.top1"] = columns.number(row, "top1", "%")
            quoted[f"{key}.changed"] = Number(
                100 * row.changed / n, "%", 2, n=n, runs=(row.run,)
            )
            quoted[f"{key}.drop"] = columns.number(row, "drop_pp", "pp")
            if row.arithmetic == "float32":
                quoted[f"{key}.other_logits"] = Number(
                    int(row.other_logits), "", 0, n=n, runs=(row.run,)
                )
        elif row.arithmetic == "engine" and not pd.isna(row.seven_pp):
            quoted["reduce_range.drop"] = columns.number(
                row, "seven_pp", "pp", compared=True
            )
    quoted["network.images"] = _count(most.n.max(), most)
    return quoted


def _layer_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    most = frame[(frame.n == frame.n.max()) & (frame.activation_bits == 8)]
    for (engine, rounding), rows in most.groupby(["engine", "rounding"]):
        for name, row in (("first", rows.iloc[0]), ("logits", rows.iloc[-1])):
            quoted[f"layers.{engine}.{rounding}.{name}"] = Number(
                float(row.off_by_one), "%", 2, n=int(row.n), runs=(row.run,)
            )
    return quoted


def _step_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    most = frame[(frame.n == frame.n.max()) & (frame.activation_bits == 8)]
    quoted = {}
    for row in most.itertuples():
        key, n, runs = f"same_input.{row.engine}.{row.step}", int(row.n), (row.run,)
        moved = float(row.off_by_one + row.off_by_more)
        quoted[key] = Number(moved, "%", 2, n=n, runs=runs)
        more = float(row.off_by_more)
        quoted[f"{key}.by_more"] = Number(more, "%", 2, n=n, runs=runs)
    return quoted


def _error_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    quoted = {}
    whole = frame[frame.granularity == "per_tensor"]
    for source, rows in whole.groupby("source"):
        key = f"errors.{source.replace(' ', '_')}"
        most = rows[rows.calibrator == "max"].sort_values("bits", kind="stable")
        if len(most) > 1:
            slope = portable.slope(most.bits, most.sqnr)
            quoted[f"{key}.slope"] = Number(slope, "dB", 2, runs=columns.runs(most))
        for bits in (4, 8):
            at = rows[(rows.bits == bits) & (rows.calibrator != "max_signed")]
            if len(at):
                best = at.loc[at.sqnr.idxmax()]
                largest = at[at.calibrator == "max"].iloc[0]
                quoted[f"{key}.best_{bits}"] = columns.number(best, "sqnr", "dB", 1)
                quoted[f"{key}.max_{bits}"] = columns.number(largest, "sqnr", "dB", 1)
                quoted[f"{key}.winner_{bits}"] = Number(
                    str(best.calibrator).replace("_", " "), runs=columns.runs(at)
                )
        signed = rows[(rows.calibrator == "max_signed") & (rows.bits == 8)]
        if len(signed):
            affine = rows[(rows.calibrator == "max") & (rows.bits == 8)].iloc[0]
            quoted[f"{key}.signed_loss"] = Number(
                float(affine.sqnr - signed.sqnr.iloc[0]),
                "dB",
                2,
                runs=columns.runs(signed),
            )
    return quoted


def _cost_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    most = frame[frame["values"] == frame["values"].max()]
    quoted = {}
    for row in most.itertuples():
        key = f"cost.{row.candidate.partition(':')[2]}"
        quoted[f"{key}.ratio"] = columns.number(row, "ratio", "×")
    quoted["cost.machine"] = Number(most.machine.iloc[0], runs=columns.runs(most))
    return quoted


def _conformance_numbers(frame: pd.DataFrame) -> dict[str, Number]:
    vectors = frame.drop_duplicates("id")
    derived = int((vectors.derived == "yes").sum())
    quoted = {
        "conformance.published": _count(len(vectors) - derived, frame),
        "conformance.derived": _count(derived, frame),
    }
    for name, rows in frame.groupby("implementation"):
        offered = rows[rows.result != "not offered"]
        passed = int((offered.result == "passes").sum())
        published = offered[offered.derived == "no"]
        right = int((published.result == "passes").sum())
        quoted[f"conformance.{name}.published_passes"] = _count(right, rows)
        quoted[f"conformance.{name}.published_offered"] = _count(len(published), rows)
        quoted[f"conformance.{name}.passes"] = _count(passed, rows, len(offered))
        quoted[f"conformance.{name}.offered"] = _count(len(offered), rows)
        quoted[f"conformance.{name}.differs"] = _count(len(offered) - passed, rows)
    return quoted
