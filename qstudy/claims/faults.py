"""Faults to plant in evidence: each takes evidence and gives what a mistake would have.

Planted where the mistake shows: in the rows of a table, in a record's answers image by
image, in what a record notes of how it was made. `supposed` is the one that is no
fault: rows as they would be if the claim were true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from qstudy.claims.ledger import Change, Evidence
from qstudy.claims.rules import STATIC, trained
from qstudy.spec import RunRecord

SEED = 2022


def supposed(name: str, values: dict[str, Any], **where: Any) -> Change:
    """Other `values` in the rows of a table that `where` names."""

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(name).copy()
        chosen = evidence.rows(name, **where).index
        for column, value in values.items():
            frame.loc[chosen, column] = value
        return evidence.put(name, frame)

    return change


def after(*changes: Change) -> Change:
    """Several changes, one after the other."""

    def change(evidence: Evidence) -> Evidence:
        for one in changes:
            evidence = one(evidence)
        return evidence

    return change


def ratio_of(value: float, spread: float = 0.1) -> dict[str, float]:
    """The columns of a ratio with an interval of +- `spread`."""
    return {"ratio": value, "ratio_lo": value - spread, "ratio_hi": value + spread}


def drop_of(value: float, spread: float) -> dict[str, float]:
    """The columns of a drop with an interval of +- `spread`."""
    return {"drop_pp": value, "drop_lo": value - spread, "drop_hi": value + spread}


# ---- rows


def fp32_file_as_int8(evidence: Evidence) -> Evidence:
    """The int8 row weighs the fp32 file: nothing was stored in 8 bits."""
    fp32 = evidence.row("static.csv", model="resnet20", method="fp32", seed=0)
    return supposed("static.csv", {"size_mib": fp32.size_mib}, method="static_int8")(
        evidence
    )


def embedding_left_out(model: str, form: str) -> Change:
    """A ratio computed on both sides with the embedding in fp32 counted once more."""

    def change(evidence: Evidence) -> Evidence:
        row = evidence.row("dynamic_size.csv", model=model, form=form)
        base = evidence.row("dynamic_size.csv", model=model, form="fp32")
        return supposed(
            "dynamic_size.csv",
            {"ratio": base.size_mib / (row.size_mib + base.size_mib)},
            model=model,
            form=form,
        )(evidence)

    return change


def one_process(table: str) -> Change:
    """All ratios come from a single process, which can be slow as a whole."""

    def change(evidence: Evidence) -> Evidence:
        return evidence.put(table, evidence.table(table).assign(n=1))

    return change


def eager_as_best(table: str, baseline: str) -> Change:
    """The slow, eager form of a precision is passed off as its fastest."""
    precision = baseline.removeprefix("best_")

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(table).copy()
        of_best = frame[frame.baseline == baseline]
        eager = of_best[of_best.candidate == f"{precision}:eager"]
        keys = ["run", "batch"]
        by = {tuple(row[k] for k in keys): row.ratio for _, row in eager.iterrows()}
        for index, row in of_best.iterrows():
            scale = by.get((row.run, row.batch), 1.0)
            for column in ("ratio", "ratio_lo", "ratio_hi"):
                frame.loc[index, column] = row[column] / scale
        return evidence.put(table, frame)

    return change


def swapped(table: str) -> Change:
    """Times are divided the wrong way round: candidate by baseline."""

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(table)
        turned = {
            "ratio": 1 / frame.ratio,
            "ratio_lo": 1 / frame.ratio_hi,
            "ratio_hi": 1 / frame.ratio_lo,
        }
        return evidence.put(table, frame.assign(**turned))

    return change


def other_split(table: str, split: str = "train") -> Change:
    """Scored on the very part of the data that calibration saw."""

    def change(evidence: Evidence) -> Evidence:
        return evidence.put(table, evidence.table(table).assign(split=split))

    return change


def cell(
    name: str, function: Callable[[Any], Any], column: str, **where: Any
) -> Change:
    """Another value in each named cell, computed from the row."""

    def change(evidence: Evidence) -> Evidence:
        frame = evidence.table(name).copy()
        for index, row in evidence.rows(name, **where).iterrows():
            frame.loc[index, column] = function(row)
        return evidence.put(name, frame)

    return change


def rounds_down(value: float, **where: Any) -> Change:
    """The quantizer cuts the fraction off instead of rounding to the nearest code."""
    return cell(
        "conventions.csv", lambda row: int(value / row["scale"]), "code", **where
    )


def scale_twice(value: float, **where: Any) -> Change:
    """The scale is twice what the range asks for."""

    def code(row: Any) -> int:
        return round(value / (2 * row["scale"]))

    return cell("conventions.csv", code, "code", **where)


# ---- records


def on_record(key_of: Callable[[Evidence], str], function: Callable) -> Change:
    """Another record in the place of one: function(record, evidence)."""

    def change(evidence: Evidence) -> Evidence:
        record = evidence.record(key_of(evidence))
        return evidence.put_record(function(record, evidence))

    return change


def _static_runs(evidence: Evidence) -> list[Any]:
    return list(evidence.rows("static.csv", **STATIC).itertuples())


def shuffled_labels(evidence: Evidence) -> Evidence:
    """The int8 networks are scored against labels in another order.

    The labels are read from the fp32 network's right answers; where that is wrong the
    label is unknown and counts as missed.
    """
    for row in _static_runs(evidence):
        base, own = evidence.record(row.baseline_run), evidence.record(row.run)
        right = base.arrays["correct"].astype(bool)
        labels = np.where(right, base.arrays["predictions"].astype(int), -1)
        order = np.random.default_rng(SEED).permutation(len(labels))
        correct = (own.arrays["predictions"] == labels[order]).astype(np.uint8)
        evidence = evidence.put_record(with_arrays(own, correct=correct))
    return evidence


def unpaired(evidence: Evidence) -> Evidence:
    """The int8 answers are compared with those of fp32 to other images."""
    for row in _static_runs(evidence):
        own = evidence.record(row.run)
        order = np.random.default_rng(SEED).permutation(len(own.arrays["correct"]))
        shuffled = own.arrays["correct"][order]
        evidence = evidence.put_record(with_arrays(own, correct=shuffled))
    return evidence


def one_seed_breaks(evidence: Evidence) -> Evidence:
    """One of the trained networks falls to chance in int8."""
    row = _static_runs(evidence)[-1]
    own = evidence.record(row.run)
    chance = np.random.default_rng(SEED).integers(10, size=len(own.arrays["correct"]))
    broken = with_arrays(own, correct=(chance == 0).astype(np.uint8))
    return evidence.put_record(broken)


def with_arrays(record: RunRecord, **arrays: np.ndarray) -> RunRecord:
    """The record with other arrays of these names."""
    return replace(record, arrays={**record.arrays, **arrays})


def without_warmup(table: str) -> Change:
    """Every run behind a table was timed from its first call on."""

    def change(evidence: Evidence) -> Evidence:
        for key in evidence.table(table).run.unique():
            record = evidence.record(key)
            params = {**record.spec.params, "warmup_seconds": 0.0}
            cold = replace(record, spec=replace(record.spec, params=params))
            # Kept under the key that the rows name, which is no longer the spec's.
            records = {**evidence.records, key: cold}
            evidence = replace(evidence, records=records)
        return evidence

    return change


def reads_training_data(evidence: Evidence) -> Evidence:
    """A form that claims to need no data was calibrated on training texts."""
    row = evidence.row("dynamic_quality.csv", model="minilm", form="x86")
    own = evidence.record(row.run)
    inputs = {**own.inputs, "data:brown/train": "0" * 64}
    return evidence.put_record(replace(own, inputs=inputs))


def reads_nothing(evidence: Evidence) -> Evidence:
    """A static network without calibration: its record notes only the test images."""
    for row in _static_runs(evidence):
        own = evidence.record(row.run)
        inputs = {k: v for k, v in own.inputs.items() if not k.endswith("/train")}
        evidence = evidence.put_record(replace(own, inputs=inputs))
    return evidence


def static_as_qat(width: str) -> Change:
    """Networks that were only calibrated are passed off as trained with rounding."""

    def change(evidence: Evidence) -> Evidence:
        qat, static = (trained(evidence, m, width) for m in ("qat", "static_int8"))
        for seed in qat.keys() & static.keys():
            correct = static[seed].arrays["correct"]
            evidence = evidence.put_record(with_arrays(qat[seed], correct=correct))
        return evidence

    return change


def qat_mends(width: str, share: float = 0.1) -> Change:
    """Supposed: training with rounding mends a `share` of what calibration gets wrong.

    No fault: evidence in which QAT is ahead, for a claim that the measured rows do not
    support.
    """

    def change(evidence: Evidence) -> Evidence:
        qat, static = (trained(evidence, m, width) for m in ("qat", "static_int8"))
        for seed in qat.keys() & static.keys():
            correct = static[seed].arrays["correct"].copy()
            wrong = np.flatnonzero(correct == 0)
            correct[wrong[: round(share * len(wrong))]] = 1
            evidence = evidence.put_record(with_arrays(qat[seed], correct=correct))
        return evidence

    return change


def nothing_lost(method: str, width: str) -> Change:
    """Supposed: networks by `method` get right what their fp32 forms do. No fault."""

    def change(evidence: Evidence) -> Evidence:
        fp32 = evidence.rows("static.csv", model="resnet20", method="fp32")
        base = {row.seed: evidence.record(row.run) for row in fp32.itertuples()}
        for seed, record in trained(evidence, method, width).items():
            if seed in base:
                same = base[seed].arrays["correct"]
                evidence = evidence.put_record(with_arrays(record, correct=same))
        return evidence

    return change


def at_chance(method: str, width: str) -> Change:
    """Networks of the QAT chapter answer at random."""

    def change(evidence: Evidence) -> Evidence:
        for seed, record in trained(evidence, method, width).items():
            drawn = np.random.default_rng((SEED, seed))
            correct = drawn.integers(10, size=len(record.arrays["correct"])) == 0
            random = with_arrays(record, correct=correct.astype(np.uint8))
            evidence = evidence.put_record(random)
        return evidence

    return change


def rows_answered(
    name: str, right: Callable[[np.random.Generator, int], np.ndarray], **where: Any
) -> Change:
    """Other answers in the records behind the rows of a table that `where` names.

    `right(generator, n)` says which of n images are right.
    """

    def change(evidence: Evidence) -> Evidence:
        for row in evidence.rows(name, **where).itertuples():
            record = evidence.record(row.run)
            drawn = np.random.default_rng(SEED)
            correct = right(drawn, len(record.arrays["correct"])).astype(np.uint8)
            evidence = evidence.put_record(with_arrays(record, correct=correct))
        return evidence

    return change


def guessing(generator: np.random.Generator, n: int) -> np.ndarray:
    """Right by chance, one time in ten."""
    return generator.integers(10, size=n) == 0


def faultless(generator: np.random.Generator, n: int) -> np.ndarray:
    """Right about every image."""
    return np.ones(n, bool)


def right_where(run_of: Callable[[Evidence], str], source: str, target: str) -> Change:
    """In one record, the answers called `target` become those called `source`."""

    def swap(record: RunRecord, evidence: Evidence) -> RunRecord:
        return with_arrays(record, **{target: record.arrays[source]})

    return on_record(run_of, swap)


def spoiled(run_of: Callable[[Evidence], str], target: str, share: float) -> Change:
    """In one record, a `share` of the answers called `target` become wrong."""

    def spoil(record: RunRecord, evidence: Evidence) -> RunRecord:
        correct = record.arrays[target].copy()
        drawn = np.random.default_rng(SEED).random(len(correct)) < share
        correct[drawn] = 0
        return with_arrays(record, **{target: correct})

    return on_record(run_of, spoil)


def same_condition(source: str, target: str) -> Change:
    """Runs of the condition `source` are passed off as those of `target`."""

    def change(evidence: Evidence) -> Evidence:
        by_seed: dict[tuple[str, int], RunRecord] = {
            (record.spec.params.get("condition", ""), record.spec.seed): record
            for record in evidence.records.values()
        }
        for (name, seed), record in by_seed.items():
            if name == target and (source, seed) in by_seed:
                correct = by_seed[source, seed].arrays["correct"]
                evidence = evidence.put_record(with_arrays(record, correct=correct))
        return evidence

    return change


def same_answers(source: str, target: str) -> Change:
    """The encoder's answers in the form `source` stand under `target` too."""

    def change(evidence: Evidence) -> Evidence:
        first, second = (
            evidence.record(
                evidence.row("dynamic_quality.csv", model="minilm", form=form).run
            )
            for form in (source, target)
        )
        same = with_arrays(second, correct=first.arrays["correct"])
        return evidence.put_record(same)

    return change


def computed(fault: str) -> Change:
    """The answers of ResNet-20 with a fault in its quantizers, as the controls have it.

    NotMeasured where the tree has no such run.
    """

    def change(evidence: Evidence) -> Evidence:
        row = evidence.row("static.csv", seed=0, **STATIC)
        faulty = evidence.row("controls.csv", model="resnet20", fault=fault)
        arrays = evidence.record(faulty.run).arrays
        own = evidence.record(row.run)
        return evidence.put_record(with_arrays(own, correct=arrays["correct"]))

    return change
