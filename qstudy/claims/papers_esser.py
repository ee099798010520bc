"""Headline claims of Esser et al. 2020 on learned steps.

Only what these texts say in words, or figures read in them, stands here. A tolerance is
a rule of the house or a figure of the source; the page tells which claims were worded
when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.faults import supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    ACROSS,
    GAIN_RULE,
)
from qstudy.measure.statistics import FAILS


def _lsq(bits: int, limit: float, words: str) -> Claim:
    width = f"w{bits}a{bits}"
    return Claim(
        id=f"esser.w{bits}",
        wording=words,
        source="esser2020",
        place="Table 1",
        chapter="lsq",
        condition=f"ResNet-20 on CIFAR-10, {bits} bits, three seeds",
        tolerance=f"holds if the mean drop's upper end is at most {limit} points",
        rule=rules.qat_drop("lsq", width, limit=limit),
        control=Control(
            "networks at chance",
            faults.at_chance("lsq", width),
            faults.nothing_lost("lsq", width),
        ),
        explained={
            FAILS: "A network this small, on images this small, has less to spare than "
            "those of the paper.",
            **ACROSS,
        },
    )


ESSER = (
    _lsq(8, 0.2, "Learned steps in 8 bits reach the fp32 accuracy."),
    _lsq(4, 0.2, "Learned steps in 4 bits reach the fp32 accuracy."),
    _lsq(3, 1.5, "Learned steps in 3 bits come close to fp32."),
    _lsq(2, 3.5, "Learned steps in 2 bits lose a few points."),
    Claim(
        id="esser.distilled",
        wording="Learned steps with distillation reach the fp32 accuracy in 3 bits.",
        source="esser2020",
        place="section 3.7",
        chapter="lsq",
        condition="ResNet-20 on CIFAR-10, 3 bits, half of the loss from fp32, 3 seeds",
        tolerance="holds if the mean drop's upper end is at most 0.2 points",
        rule=rules.qat_drop("lsq", "w3a3", limit=0.2),
        control=Control(
            "networks at chance",
            faults.at_chance("lsq", "w3a3"),
            faults.nothing_lost("lsq", "w3a3"),
        ),
        explained={
            FAILS: "A network this small, on images this small, has less to spare than "
            "those of the paper.",
            **ACROSS,
        },
    ),
    Claim(
        id="esser.error",
        wording="The step that is learned is not the one that errs least.",
        source="esser2020",
        place="section 3.6",
        chapter="lsq",
        condition="ResNet-20, first seed, its tensors of 2 bits, each measure of error",
        tolerance="holds if the mean distance of the two, in percent of the step, lies "
        "above 1 with its t interval over tensors, the spacing of the paper's grid",
        rule=rules.step_errs_more(2, least=1.0),
        control=Control(
            "the learned step held against itself",
            supposed("lsq_error.csv", {"share": 1.0, "away_pct": 0.0}),
            supposed("lsq_error.csv", {"share": 1.5, "away_pct": 50.0}),
        ),
        explained={FAILS: "By one of the measures it is.", **ACROSS},
    ),
    Claim(
        id="esser.gradient",
        wording="Without the scale of the step's gradient, 2 bits train worse.",
        source="esser2020",
        place="Table 3",
        chapter="lsq",
        condition="ResNet-8, 2 bits, the same recipe without the factor, by seed",
        tolerance=GAIN_RULE,
        rule=rules.ablation("lsq_ablation.csv", "base", over="gradient none"),
        control=Control(
            "the unchanged runs under the name of the changed",
            faults.same_condition("lsq_ablation.csv", "base", "gradient none"),
            faults.rows_answered(
                "lsq_ablation.csv", faults.faultless, condition="base"
            ),
        ),
        explained={FAILS: "It trains as well or better without.", **ACROSS},
    ),
)
