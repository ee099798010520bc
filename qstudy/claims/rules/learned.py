"""Rules on learned steps: what a step minimises, and whether few bits pay at a size."""

from __future__ import annotations

from qstudy.claims.ledger import Evidence, Finding, NotMeasured, Rule
from qstudy.claims.rules.accuracy import paired
from qstudy.claims.rules.common import above, quoted, worst
from qstudy.experiments import columns
from qstudy.measure import statistics
from qstudy.measure.statistics import FAILS, HOLDS, UNDECIDED

ERRORS, SIZES = "lsq_error.csv", "lsq_size.csv"
TENSORS, MEASURES = ("weight", "activation"), ("mae", "mse", "kl")


def step_errs_more(bits: int, *, least: float) -> Rule:
    """The learned step is not the one that errs least, by any measure.

    Of ResNet-20's first seed, over its tensors of `bits` bits: how far from the learned
    step the best one is, |share - 1| in percent, is on average above `least`. Tensors
    whose best step is an end of what was tried are left out, and so is a measure of
    which fewer than two are left.
    """

    def rule(evidence: Evidence) -> Finding:
        verdicts, figures = [], []
        for tensor in TENSORS:
            for measure in MEASURES:
                rows = evidence.rows(
                    ERRORS,
                    model="resnet20",
                    seed=0,
                    weight_bits=bits,
                    bits=bits,
                    tensor=tensor,
                    measure=measure,
                )
                rows = rows[rows.inside]
                if len(rows) < 2:
                    continue
                mean = statistics.t_interval(rows.away_pct.tolist())
                verdicts.append(above(mean.low, mean.high, least))
                label = f"{tensor}s, {measure.upper()}"
                figures.append((label, quoted(mean, "%", 0, columns.runs(rows))))
        if not verdicts:
            raise NotMeasured(f"{ERRORS}: tensors of {bits} bits")
        return Finding(worst(verdicts), tuple(figures))

    return rule


def best_at_a_size(bits: int) -> Rule:
    """Some network of `bits` bits is more accurate than any that takes no more space.

    Only against networks of more bits; one that has none to beat proves nothing. Image
    by image, first seeds. NotMeasured before two networks have learned steps.
    """

    def rule(evidence: Evidence) -> Finding:
        rows = evidence.table(SIZES)
        learned = rows[rows.method == "lsq"]
        if learned.model.nunique() < 2:
            raise NotMeasured(f"{SIZES}: learned steps in two networks")
        found = []
        for row in learned[learned.weight_bits == bits].itertuples():
            rivals = rows[(rows.size_kib <= row.size_kib) & (rows.weight_bits > bits)]
            if not len(rivals):
                continue
            rival = rivals.loc[rivals.top1.idxmax()]
            gain = paired(evidence.record(row.run), evidence.record(rival.run))
            label = f"{row.model} at {bits} bits over {rival.model} at "
            label += f"{rival.weight_bits}"
            number = quoted(gain, "pp", 2, (rival.run, row.run))
            found.append((above(gain.low, gain.high, 0.0), (label, number)))
        if not found:
            raise NotMeasured(f"{SIZES}: a network of {bits} bits with one to beat")
        verdicts = {verdict for verdict, _ in found}
        said = next(v for v in (HOLDS, UNDECIDED, FAILS) if v in verdicts)
        return Finding(said, tuple(figure for _, figure in found))

    return rule
