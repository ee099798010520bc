"""Rules on accuracy: differences image by image, or text by text.

A score on other images or texts than the test's is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from qstudy.claims.ledger import Evidence, Finding, Refused, Rule
from qstudy.claims.rules.common import STATIC, above, at_most, quoted, worst
from qstudy.experiments import columns
from qstudy.measure import statistics
from qstudy.measure.statistics import Interval
from qstudy.spec import RunRecord


def scored_pair(evidence: Evidence, row: pd.Series) -> tuple[RunRecord, RunRecord]:
    """The records of a row and of its baseline, scored on the same test images."""
    if row.split != "test":
        raise Refused(f"scored on {row.split} images, not on the test's")
    record = evidence.record(row.run)
    read = [name for name in record.inputs if name.startswith("data:")]
    if all(name.endswith("/test") for name in read):
        raise Refused("calibrated on test images, or not at all")
    return evidence.record(row.baseline_run), record


def paired(base: RunRecord, candidate: RunRecord) -> Interval:
    """The drop of top-1 from one record to another in points, image by image."""
    return statistics.paired_drop(base.arrays["correct"], candidate.arrays["correct"])


def static_drop(*, limit: float = statistics.ALMOST_NO_DROP, **changes: Any) -> Rule:
    """The drop of ResNet-20's first seed is at most `limit` points."""

    def rule(evidence: Evidence) -> Finding:
        row = evidence.row("static.csv", seed=0, **{**STATIC, **changes})
        drop = paired(*scored_pair(evidence, row))
        number = quoted(drop, "pp", 2, columns.runs(row, compared=True))
        return Finding(at_most(drop.low, drop.high, limit), (("", number),))

    return rule


def static_drop_over_seeds(*, limit: float, relative: bool = False) -> Rule:
    """Over the trained networks, the mean drop is at most `limit` points.

    By Student's interval over seeds; `relative` counts in percent of fp32's accuracy.
    """

    def rule(evidence: Evidence) -> Finding:
        rows = evidence.rows("static.csv", **STATIC)
        drops = []
        for row in rows.sort_values("seed").itertuples():
            base, candidate = scored_pair(evidence, row)
            value = paired(base, candidate).value
            drops.append(100 * value / base["top1"] if relative else value)
        if len(drops) < 2:
            raise Refused("1 trained network has no spread")
        mean = statistics.t_interval(drops)
        unit = "%" if relative else "pp"
        number = quoted(mean, unit, 2, columns.runs(rows, compared=True))
        return Finding(at_most(mean.low, mean.high, limit), (("", number),))

    return rule


def between(first: Mapping[str, Any], second: Mapping[str, Any]) -> Rule:
    """The `first` static setting is more accurate than the `second`, image by image."""

    def rule(evidence: Evidence) -> Finding:
        rows = [
            evidence.row("static.csv", seed=0, **{**STATIC, **changes})
            for changes in (first, second)
        ]
        better, other = (scored_pair(evidence, row)[1] for row in rows)
        gain = paired(better, other)
        number = quoted(gain, "pp", 2, tuple(row.run for row in rows))
        return Finding(above(gain.low, gain.high, 0.0), (("", number),))

    return rule


def text_drops(models: Iterable[str], *, form: str, limit: float) -> Rule:
    """The drop of each text network in a dynamic `form` is at most `limit` points."""
    named = tuple(models)

    def rule(evidence: Evidence) -> Finding:
        verdicts, figures = [], []
        for model in named:
            row = evidence.row("dynamic_quality.csv", model=model, form=form)
            if row.split != "test":
                raise Refused(f"scored on {row.split} texts, not on the test's")
            verdicts.append(at_most(row.drop_lo, row.drop_hi, limit))
            number = columns.number(row, "drop_pp", "pp", 2, compared=True)
            figures.append((model if len(named) > 1 else "", number))
        return Finding(worst(verdicts), tuple(figures))

    return rule


def text_gain(model: str, first: str, second: str) -> Rule:
    """The `first` form of a text network is more accurate than the `second`.

    Paired by text, which is the unit that is drawn.
    """

    def rule(evidence: Evidence) -> Finding:
        from qstudy.measure import clusters

        rows = [
            evidence.row("dynamic_quality.csv", model=model, form=form)
            for form in (first, second)
        ]
        arrays = [evidence.record(row.run).arrays for row in rows]
        texts = int(arrays[0]["text"].max()) + 1
        hits = [clusters.per_text(a["correct"], a["text"], texts=texts) for a in arrays]
        ones = clusters.per_text(
            0 * arrays[0]["correct"] + 1, arrays[0]["text"], texts=texts
        )
        gain = clusters.by_text(100 * (hits[0] - hits[1]), ones, arrays[0]["genre"])
        number = quoted(gain, "pp", 2, tuple(row.run for row in rows))
        return Finding(above(gain.low, gain.high, 0.0), (("", number),))

    return rule


def perplexity_rise(model: str, *, form: str, limit: float) -> Rule:
    """The perplexity rises by at most `limit` percent over fp32."""

    def rule(evidence: Evidence) -> Finding:
        row = evidence.row("dynamic_quality.csv", model=model, form=form)
        if row.split != "test":
            raise Refused(f"scored on {row.split} texts, not on the test's")
        number = columns.number(row, "perplexity_rise_pct", "%", 2, compared=True)
        return Finding(at_most(row.rise_lo, row.rise_hi, limit), (("", number),))

    return rule


def integer_drop(engine: str, arithmetic: str, *, limit: float) -> Rule:
    """A network in integers alone loses at most `limit` points to the engine's."""

    def rule(evidence: Evidence) -> Finding:
        where = {"engine": engine, "activation_bits": 8}
        rows = evidence.rows("integer_network.csv", model="resnet20", **where)
        row = rows[rows.arithmetic == arithmetic].sort_values("n").iloc[-1]
        arrays = evidence.record(row.run).arrays
        drop = statistics.paired_drop(
            arrays["correct_engine"], arrays[f"correct_{arithmetic}"]
        )
        number = quoted(drop, "pp", 2, columns.runs(row))
        return Finding(at_most(drop.low, drop.high, limit), (("", number),))

    return rule


def folded_per_tensor() -> Rule:
    """One scale a tensor loses accuracy after folding, against one a channel."""

    def rule(evidence: Evidence) -> Finding:
        row = evidence.row("fusion_rounding.csv", model="resnet20", weights="fused")
        arrays = evidence.record(row.run).arrays
        loss = statistics.paired_drop(
            arrays["fused_per_channel"], arrays["fused_per_tensor"]
        )
        number = quoted(loss, "pp", 2, columns.runs(row))
        return Finding(above(loss.low, loss.high, 0.0), (("", number),))

    return rule
