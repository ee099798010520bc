"""Rules on the static sweeps: one network's settings, scored on the same images.

A sweep keeps, setting by setting, which images were right; fp32 comes first. Settings
that are chosen by their score are scored on held-out images, all others on the test's;
a score on other images is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from qstudy.claims.ledger import Evidence, Finding, NotMeasured, Refused, Rule
from qstudy.claims.rules.common import above, at_most, quoted
from qstudy.experiments.static.grid_sweeps import label
from qstudy.experiments.static.tables_parts import names
from qstudy.measure import statistics
from qstudy.spec import RunRecord

# A setting of a sweep: its condition, or the name that the task gives it.
Setting = Mapping[str, Any] | str
SCORED_ON = {
    **dict.fromkeys(("weights", "models", "cures"), "test"),
    **dict.fromkeys(("activations", "variance", "partial"), "validation"),
}


def sweeps(evidence: Evidence, task: str, model: str) -> dict[tuple, RunRecord]:
    """The records of a sweep by (seed of training, draw); NotMeasured for none.

    Refused where one is scored on other images than its task should be.
    """
    found = {}
    for record in evidence.records.values():
        params = record.spec.params
        if record.spec.experiment != "static" or params["task"] != task:
            continue
        if params["model"] == model and params["dataset"] == "cifar10":
            found[params["parent"]["seed"], record.spec.seed] = record
            if params["scored_on"] != SCORED_ON[task]:
                raise Refused(
                    f"scored on {params['scored_on']} images, not on the "
                    f"{SCORED_ON[task]} ones"
                )
    if not found:
        raise NotMeasured(f"static: {task} of {model}")
    return dict(sorted(found.items()))


def place(record: RunRecord, setting: Setting) -> int:
    """The row of a setting's answers; NotMeasured where the sweep has no such one."""
    name = setting if isinstance(setting, str) else label(dict(setting))
    told = names(record)
    if name not in told:
        raise NotMeasured(f"run {record.spec.key}: {name}")
    return told.index(name)


def answers(record: RunRecord, setting: Setting) -> NDArray[Any]:
    """Which images the network was right about in a setting, 0 or 1."""
    return record.arrays["correct"][place(record, setting)]


def _first(evidence: Evidence, task: str, model: str) -> RunRecord:
    return next(iter(sweeps(evidence, task, model).values()))


def sweep_drop(
    task: str, model: str, *settings: Setting, limit: float, relative: bool = False
) -> Rule:
    """The least drop of the `settings` is at most `limit` points.

    Of the first seed and draw; `relative` counts in percent of fp32's accuracy.
    """

    def rule(evidence: Evidence) -> Finding:
        record = _first(evidence, task, model)
        fp32 = answers(record, "fp32")
        drops = [
            statistics.paired_drop(fp32, answers(record, setting))
            for setting in settings
        ]
        least = min(drops, key=lambda drop: drop.value)
        scale = 100 / record["top1.fp32"] if relative else 1.0
        drop = statistics.Interval(
            scale * least.value, scale * least.low, scale * least.high, least.n
        )
        unit = "%" if relative else "pp"
        number = quoted(drop, unit, 2, (record.spec.key,))
        chosen = settings[drops.index(least)]
        name = chosen if isinstance(chosen, str) else label(dict(chosen))
        told = name if len(settings) > 1 else ""
        return Finding(at_most(drop.low, drop.high, limit), ((told, number),))

    return rule


def sweep_gain(task: str, model: str, first: Setting, second: Setting) -> Rule:
    """The `first` setting is more accurate than the `second`, image by image."""

    def rule(evidence: Evidence) -> Finding:
        record = _first(evidence, task, model)
        gain = statistics.paired_drop(answers(record, first), answers(record, second))
        number = quoted(gain, "pp", 2, (record.spec.key,))
        return Finding(above(gain.low, gain.high, 0.0), (("", number),))

    return rule


def smaller_loses_more(small: str, large: str, *, bits: int) -> Rule:
    """The smaller network loses more at so many bits: differences of drops, by seed.

    The seeds of two networks have nothing in common, so each difference is a draw of
    its own.
    """

    def rule(evidence: Evidence) -> Finding:
        found = [sweeps(evidence, "models", model) for model in (small, large)]
        seeds = sorted(found[0].keys() & found[1].keys())
        if len(seeds) < 2:
            raise Refused(f"{len(seeds)} seed has no spread")
        differences = []
        for seed in seeds:
            drops = [
                statistics.paired_drop(
                    answers(one[seed], "fp32"), answers(one[seed], width(bits))
                ).value
                for one in found
            ]
            differences.append(drops[0] - drops[1])
        mean = statistics.t_interval(differences)
        runs = tuple(one[seed].spec.key for seed in seeds for one in found)
        number = quoted(mean, "pp", 2, runs)
        return Finding(above(mean.low, mean.high, 0.0), (("", number),))

    return rule


def width(bits: int) -> dict[str, Any]:
    """The condition of the models' sweep with so many bits."""
    return {"weight_bits": bits, "activation_bits": bits, "calibrator": "mse"}


def images_enough(
    model: str, calibrator: str, *, few: int, many: int, limit: float
) -> Rule:
    """From `few` to `many` calibration images the drop falls by at most `limit` points.

    A draw's first images are part of its many: differences draw by draw.
    """

    def rule(evidence: Evidence) -> Finding:
        found = sweeps(evidence, "variance", model)
        if len(found) < 2:
            raise Refused(f"{len(found)} draw has no spread")
        saved = [
            statistics.paired_drop(
                *(
                    answers(record, {"calibrator": calibrator, "images": count})
                    for count in (many, few)
                )
            ).value
            for record in found.values()
        ]
        mean = statistics.t_interval(saved)
        runs = tuple(record.spec.key for record in found.values())
        number = quoted(mean, "pp", 2, runs)
        return Finding(at_most(mean.low, mean.high, limit), (("", number),))

    return rule
