"""Faults, and supposed evidence, in the answers that the static sweeps keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qstudy.claims.faults.records import SEED, with_arrays
from qstudy.claims.ledger import Change, Evidence
from qstudy.claims.rules.sweeps import Setting, answers, place, sweeps


def become(task: str, model: str, target: Setting, source: Setting) -> Change:
    """The answers of one setting stand under the name of another as well.

    With the source "fp32", supposed and no fault: the setting loses nothing.
    """

    def change(evidence: Evidence) -> Evidence:
        for record in sweeps(evidence, task, model).values():
            correct = record.arrays["correct"].copy()
            correct[place(record, target)] = answers(record, source)
            evidence = evidence.put_record(with_arrays(record, correct=correct))
        return evidence

    return change


def spoiled_setting(task: str, model: str, target: Setting, share: float) -> Change:
    """A `share` of the answers of one setting become wrong, in every such sweep."""

    def change(evidence: Evidence) -> Evidence:
        for seeds, record in sweeps(evidence, task, model).items():
            correct = record.arrays["correct"].copy()
            row = place(record, target)
            drawn = np.random.default_rng((SEED, *seeds)).random(correct.shape[1])
            correct[row, drawn < share] = 0
            evidence = evidence.put_record(with_arrays(record, correct=correct))
        return evidence

    return change


def other_images(task: str, model: str) -> Change:
    """A sweep was scored on the very images that calibrated it."""

    def change(evidence: Evidence) -> Evidence:
        for record in sweeps(evidence, task, model).values():
            params = {**record.spec.params, "scored_on": "train"}
            leaked = replace(record, spec=replace(record.spec, params=params))
            # Kept under the key that the rows name, which is no longer the spec's.
            records = {**evidence.records, record.spec.key: leaked}
            evidence = replace(evidence, records=records)
        return evidence

    return change


def names_swapped(task: str, first: str, second: str) -> Change:
    """Two networks' answers stand under each other's names."""

    def change(evidence: Evidence) -> Evidence:
        found = [sweeps(evidence, task, model) for model in (first, second)]
        for seed in found[0].keys() & found[1].keys():
            one, other = (records[seed] for records in found)
            for record, taken in ((one, other), (other, one)):
                correct = taken.arrays["correct"]
                evidence = evidence.put_record(with_arrays(record, correct=correct))
        return evidence

    return change
