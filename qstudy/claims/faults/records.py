"""Faults in what a record keeps: answers image by image, how it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from qstudy.claims.ledger import Change, Evidence
from qstudy.claims.rules import STATIC
from qstudy.spec import RunRecord

SEED = 2022


def with_arrays(record: RunRecord, **arrays: np.ndarray) -> RunRecord:
    """The record with other arrays of these names."""
    return replace(record, arrays={**record.arrays, **arrays})


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
