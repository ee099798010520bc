"""Compare two results trees, value by value, each by the rule of its kind.

exact: equal. isa: equal on the same ISA class, else within the stated tolerance.
stochastic: equal where the machine class is the same; else inside the 95 % prediction
interval of the published seeds. timing: a ratio agrees where the two intervals overlap
or lie on the same side of 1; absolute times are never compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from qstudy import experiments
from qstudy.measure.statistics import prediction_interval
from qstudy.spec import RunRecord, Value
from qstudy.study.store import Store

# Equal to the last digit; within the rule of its kind; a ratio on the same side or with
# overlapping interval; outside its rule; no rule.
HOW = ("equal", "within tolerance", "only ordered", "differs", "not judged")


@dataclass(frozen=True)
class Comparison:
    """One value in both trees; `agrees` is None where no rule can judge it.

    `systems` are the ids of the published record's system and of the other's.
    """

    experiment: str
    key: str
    name: str
    kind: str
    published: float | int | str
    found: float | int | str
    rule: str
    agrees: bool | None
    systems: tuple[str, str] = ("", "")
    machines: tuple[str, str] = ("", "")

    @property
    def how(self) -> str:
        """One of HOW: how far the two trees agree in this value."""
        if self.agrees is None:
            return "not judged"
        if not self.agrees:
            return "differs"
        if self.kind == "timing":
            return "only ordered"
        return "equal" if self.published == self.found else "within tolerance"

    def __str__(self) -> str:
        verdict = {True: "agrees", False: "differs", None: "not judged"}[self.agrees]
        return (
            f"{verdict}: {self.experiment} {self.key[:12]} {self.name}: published "
            f"{self.published}, found {self.found} ({self.kind}: {self.rule})"
        )


def isa_class(machine: str) -> str:
    """The instruction-set part of a machine's label (what follows the last comma)."""
    return machine.rpartition(",")[2].strip()


def compare_value(
    published: Value, found: Value, *, same_isa: bool, seeds: list[float]
) -> tuple[bool | None, str]:
    """(agrees, rule) for one value; `seeds` are the published runs of other seeds."""
    if published.kind == "exact":
        return published.value == found.value, "must be equal"
    if published.kind == "isa":
        if same_isa:
            return published.value == found.value, "must be equal on one ISA class"
        if published.tolerance is None:
            return None, "no tolerance across ISA classes is stated"
        close = abs(published.value - found.value) <= published.tolerance
        return (
            close,
            f"within {published.tolerance} {published.unit} across ISA classes",
        )
    if published.kind == "stochastic":
        if len(seeds) >= 3:
            interval = prediction_interval(seeds)
            inside = interval.low <= found.value <= interval.high
            return inside, f"inside {interval.low:.3g} to {interval.high:.3g}"
        if same_isa:
            return published.value == found.value, "same seed, same ISA class: equal"
        return None, f"{len(seeds)} published seeds give no prediction interval"
    if published.unit != "ratio" or None in (
        published.low,
        published.high,
        found.low,
        found.high,
    ):
        return None, "absolute times are not compared"
    overlap = published.low <= found.high and found.low <= published.high
    one_side = (published.low > 1 and found.low > 1) or (
        published.high < 1 and found.high < 1
    )
    return overlap or one_side, "intervals overlap or lie on one side of 1"


def compare(published: Store, found: Store) -> list[Comparison]:
    """All values of all runs that both trees hold, in chapter order."""
    comparisons = []
    for experiment in experiments.ALL:
        ours = {
            r.spec.key: r for r in found.records(experiment.NAME, experiment.VERSION)
        }
        theirs = published.records(experiment.NAME, experiment.VERSION)
        for record in theirs:
            if record.spec.key in ours:
                comparisons += _compare_records(record, ours[record.spec.key], theirs)
    return comparisons


def _compare_records(
    published: RunRecord, found: RunRecord, population: list[RunRecord]
) -> list[Comparison]:
    same_isa = isa_class(published.machine) == isa_class(found.machine)
    siblings = [r for r in population if r.spec.params == published.spec.params]
    made = []
    for name, value in published.values.items():
        if name not in found.values:
            made.append((name, value, "nothing", False, "the value must exist"))
            continue
        other = found.values[name]
        seeds = [r[name] for r in siblings if name in r.values]
        agrees, rule = compare_value(value, other, same_isa=same_isa, seeds=seeds)
        made.append((name, value, other.value, agrees, rule))
    return [
        Comparison(
            experiment=published.spec.experiment,
            key=published.spec.key,
            name=name,
            kind=value.kind,
            published=value.value,
            found=other,
            rule=rule,
            agrees=agrees,
            systems=(published.system, found.system),
            machines=(published.machine, found.machine),
        )
        for name, value, other, agrees, rule in made
    ]


def summary(comparisons: list[Comparison]) -> str:
    """By chapter and kind: so many compared, so many agreeing, so many not judged."""
    counts = Counter((c.experiment, c.kind, c.agrees) for c in comparisons)
    lines = []
    for experiment in experiments.NAMES:
        for kind in ("exact", "isa", "stochastic", "timing"):
            agree = counts[experiment, kind, True]
            differ = counts[experiment, kind, False]
            unjudged = counts[experiment, kind, None]
            if agree + differ + unjudged:
                lines.append(
                    f"  {experiment:<10} {kind:<11} compared {agree + differ:4d}, "
                    f"agreeing {agree:4d}, not comparable {unjudged:4d}"
                )
    return "\n".join(lines)


def machines(comparisons: list[Comparison]) -> str:
    """The machines of the two trees, and how many values agree how far, in a table."""
    pairs = Counter((c.machines, c.how) for c in comparisons)
    lines = []
    for ours, theirs in dict.fromkeys(c.machines for c in comparisons):
        named = f"{ours}, both" if ours == theirs else f"{ours} / {theirs}"
        counts = ", ".join(
            f"{pairs[(ours, theirs), how]} {how}"
            for how in HOW
            if pairs[(ours, theirs), how]
        )
        lines.append(f"  {named}: {counts}")
    return "\n".join(lines)
