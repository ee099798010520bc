"""Faults, and supposed answers, of networks that were trained with rounding."""

from __future__ import annotations

import numpy as np

from qstudy.claims.faults.records import SEED, with_arrays
from qstudy.claims.ledger import Change, Evidence
from qstudy.claims.rules import trained


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


def same_condition(table: str, source: str, target: str) -> Change:
    """Trainings of the condition `source` are passed off as those of `target`."""

    def change(evidence: Evidence) -> Evidence:
        runs = {
            name: {
                r.seed: r.run for r in evidence.rows(table, condition=name).itertuples()
            }
            for name in (source, target)
        }
        for seed in runs[source].keys() & runs[target].keys():
            mine, other = (evidence.record(runs[n][seed]) for n in (target, source))
            correct = other.arrays["correct"]
            evidence = evidence.put_record(with_arrays(mine, correct=correct))
        return evidence

    return change
