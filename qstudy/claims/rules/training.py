"""Rules on networks that were trained with rounding: differences seed by seed."""

from __future__ import annotations

from qstudy.claims.ledger import Evidence, Finding, NotMeasured, Rule
from qstudy.claims.rules.accuracy import paired
from qstudy.claims.rules.common import above, at_most, quoted
from qstudy.experiments import columns
from qstudy.measure import statistics
from qstudy.spec import RunRecord


def trained(evidence: Evidence, method: str, width: str) -> dict[int, RunRecord]:
    """ResNet-20 by `method`, scored on the test images, by the seed of its fp32 form.

    Of the LSQ chapter for "lsq", else of the QAT chapter; NotMeasured for fewer than
    two seeds.
    """
    experiment = "lsq" if method == "lsq" else "qat"
    found = {}
    for record in evidence.records.values():
        params = record.spec.params
        if record.spec.experiment != experiment or params.get("method") != method:
            continue
        # A quick rerun scores the first images only.
        if params["task"] not in ("train", "ptq") or "first" in params:
            continue
        parent = params["parent"]
        of_width = params.get("width") == width
        if (
            of_width
            and params["model"] == "resnet20"
            and params["scored_on"] == "test"
            and parent["experiment"] == "baselines"
        ):
            found[parent["seed"]] = record
    if len(found) < 2:
        raise NotMeasured(f"{experiment}: {method} at {width}")
    return found


def qat_gain(width: str) -> Rule:
    """Training with rounding beats calibrating alone, by per-seed differences."""

    def rule(evidence: Evidence) -> Finding:
        qat = trained(evidence, "qat", width)
        static = trained(evidence, "static_int8", width)
        seeds = sorted(qat.keys() & static.keys())
        gains = [paired(qat[s], static[s]).value for s in seeds]
        mean = statistics.t_interval(gains)
        runs = tuple(r[s].spec.key for s in seeds for r in (static, qat))
        number = quoted(mean, "pp", 2, runs)
        return Finding(above(mean.low, mean.high, 0.0), (("", number),))

    return rule


def qat_drop(method: str, width: str, *, limit: float) -> Rule:
    """The mean drop from fp32 of networks by `method` is at most `limit` points."""

    def rule(evidence: Evidence) -> Finding:
        found = trained(evidence, method, width)
        fp32 = evidence.rows("static.csv", model="resnet20", method="fp32")
        base = {row.seed: evidence.record(row.run) for row in fp32.itertuples()}
        seeds = sorted(found.keys() & base.keys())
        drops = [paired(base[s], found[s]).value for s in seeds]
        mean = statistics.t_interval(drops)
        runs = tuple(r[s].spec.key for s in seeds for r in (base, found))
        number = quoted(mean, "pp", 2, runs)
        return Finding(at_most(mean.low, mean.high, limit), (("", number),))

    return rule


def adds_little(method: str, over: str, *, width: str, limit: float) -> Rule:
    """Networks by `method` are at most `limit` points ahead of those by `over`.

    By per-seed differences.
    """

    def rule(evidence: Evidence) -> Finding:
        first, second = (trained(evidence, name, width) for name in (method, over))
        seeds = sorted(first.keys() & second.keys())
        gains = [paired(first[s], second[s]).value for s in seeds]
        mean = statistics.t_interval(gains)
        runs = tuple(r[s].spec.key for s in seeds for r in (second, first))
        number = quoted(mean, "pp", 2, runs)
        return Finding(at_most(mean.low, mean.high, limit), (("", number),))

    return rule


def as_simulated(form: str, *, width: str, limit: float) -> Rule:
    """Trained with simulated rounding, networks lose at most `limit` points in codes.

    By per-seed differences of top-1 on as many images as were scored in both.
    """

    def rule(evidence: Evidence) -> Finding:
        where = {"model": "resnet20", "width": width, "form": form}
        rows = evidence.rows("qat_gap.csv", **where)
        rows = rows[rows.n == rows.n.max()].sort_values("seed")
        if len(rows) < 2:
            raise NotMeasured(f"qat_gap.csv: {where} of two seeds")
        mean = statistics.t_interval((rows.simulated_top1 - rows.top1).tolist())
        number = quoted(mean, "pp", 2, columns.runs(rows))
        return Finding(at_most(mean.low, mean.high, limit), (("", number),))

    return rule


def ablation(table: str, condition: str, *, over: str) -> Rule:
    """ResNet-8 learns more with one `condition` than with the other, seed by seed.

    `table` has a row a training, by condition and seed; NotMeasured for fewer than two
    seeds that have both.
    """

    def rule(evidence: Evidence) -> Finding:
        first, second = (
            {
                row.seed: evidence.record(row.run)
                for row in evidence.rows(table, condition=name).itertuples()
            }
            for name in (condition, over)
        )
        seeds = sorted(first.keys() & second.keys())
        if len(seeds) < 2:
            raise NotMeasured(f"{table}: two seeds of {condition!r} and {over!r}")
        gains = [paired(first[s], second[s]).value for s in seeds]
        mean = statistics.t_interval(gains)
        runs = tuple(r[s].spec.key for s in seeds for r in (first, second))
        number = quoted(mean, "pp", 2, runs)
        return Finding(above(mean.low, mean.high, 0.0), (("", number),))

    return rule
