"""Rules without an interval: what a method reads, which codes it gives."""

from __future__ import annotations

from qstudy.claims.ledger import Evidence, Finding, Rule
from qstudy.claims.rules.common import STATIC
from qstudy.experiments import columns
from qstudy.measure.statistics import FAILS, HOLDS
from qstudy.spec import Number


def data_read(*, form: str, more: bool) -> Rule:
    """Whether quantizing reads data that scoring the fp32 network does not.

    From the inputs that the records note: `more` claims that it does.
    """

    def rule(evidence: Evidence) -> Finding:
        if form == "static":
            rows = evidence.rows("static.csv", **STATIC)
        else:
            rows = evidence.rows("dynamic_quality.csv", form=form)
        extra = 0
        for row in rows.itertuples():
            base, own = evidence.record(row.baseline_run), evidence.record(row.run)
            read = {name for name in own.inputs if name.startswith("data:")}
            extra += bool(read - base.inputs.keys())
        wanted = len(rows) if more else 0
        number = Number(extra, "", 0, n=len(rows), runs=columns.runs(rows))
        verdict = HOLDS if extra == wanted else FAILS
        return Finding(verdict, ((f"networks that read data, of {len(rows)}", number),))

    return rule


def float_activations() -> Rule:
    """Activations stay floats: no dynamic kernel's results are those of integer codes.

    A kernel whose every result equals this study's integer arithmetic on rounded
    activations rounds its activations.
    """

    def rule(evidence: Evidence) -> Finding:
        rows = evidence.rows("dynamic_kernels.csv")
        rounding = int((rows.differing == 0).sum())
        number = Number(rounding, "", 0, n=len(rows), runs=columns.runs(rows))
        label = f"kernels that round activations, of {len(rows)}"
        return Finding(HOLDS if rounding == 0 else FAILS, ((label, number),))

    return rule


def ranges_of_the_call() -> Rule:
    """Every dynamic kernel's results are those of the range of its own input.

    By this study's integer arithmetic, which takes the range from each input anew.
    """

    def rule(evidence: Evidence) -> Finding:
        rows = evidence.rows("dynamic_kernels.csv")
        other = int((rows.differing > 0).sum())
        number = Number(other, "", 0, n=len(rows), runs=columns.runs(rows))
        label = f"kernels with other results, of {len(rows)}"
        return Finding(HOLDS if other == 0 else FAILS, ((label, number),))

    return rule


def same_logits(engine: str, arithmetic: str) -> Rule:
    """8-bit codes of weights and activations alone give the engine's very logits."""

    def rule(evidence: Evidence) -> Finding:
        where = {"engine": engine, "arithmetic": arithmetic, "activation_bits": 8}
        rows = evidence.rows("integer_network.csv", model="resnet20", **where)
        row = rows.sort_values("n").iloc[-1]
        other = int(row.other_logits)
        number = Number(other, "", 0, n=int(row.n), runs=columns.runs(row))
        label = f"images with other logits, of {int(row.n):,}"
        return Finding(HOLDS if other == 0 else FAILS, ((label, number),))

    return rule


def code_of(convention: str, scheme: str, *, expected: int) -> Rule:
    """A convention gives this code for the deck's number."""

    def rule(evidence: Evidence) -> Finding:
        row = evidence.row("conventions.csv", scheme=scheme, convention=convention)
        number = Number(int(row.code), "", 0, runs=columns.runs(row))
        return Finding(HOLDS if row.code == expected else FAILS, (("code", number),))

    return rule


def same_code(scheme: str, first: str, second: str) -> Rule:
    """Two conventions of a scheme give the deck's number the same code."""

    def rule(evidence: Evidence) -> Finding:
        rows = [
            evidence.row("conventions.csv", scheme=scheme, convention=name)
            for name in (first, second)
        ]
        codes = [Number(int(r.code), "", 0, runs=columns.runs(r)) for r in rows]
        equal = codes[0].value == codes[1].value
        told = tuple(zip((first, second), codes, strict=True))
        return Finding(HOLDS if equal else FAILS, told)

    return rule


def asymmetric(scheme: str, convention: str) -> Rule:
    """A scheme's zero point lies off 0."""

    def rule(evidence: Evidence) -> Finding:
        row = evidence.row("conventions.csv", scheme=scheme, convention=convention)
        zero = int(row.zero_point)
        number = Number(zero, "", 0, runs=columns.runs(row))
        return Finding(HOLDS if zero != 0 else FAILS, (("zero point", number),))

    return rule
