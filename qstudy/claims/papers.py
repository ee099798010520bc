"""Headline claims of Jacob et al. 2018 and of Krishnamoorthi 2018.

Only what these texts say in words, or figures read in them, stands here. A tolerance is
a rule of the house or a figure of the source; the page tells which claims were worded
when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    ACROSS,
    GAIN_RULE,
    INT8,
    STATIC,
)
from qstudy.measure.statistics import FAILS

_ONE_THREAD = {"model": "resnet20", "batch": 1, "threads": 1}
_EMBEDDING = (
    "Linear layers shrink to a quarter and the embedding not at all. How much of a "
    "file it fills decides, and in a small language model it fills most."
)


JACOB = (
    Claim(
        id="jacob.integers",
        wording="A network can be computed in integers alone without losing accuracy.",
        source="jacob2018",
        place="section 2",
        chapter="formulas",
        condition="ResNet-20 with fixed-point multipliers against fbgemm",
        tolerance="holds if the drop's upper end is at most 0.2 points",
        rule=rules.integer_drop("fbgemm", "double", limit=0.2),
        control=Control(
            "a hundredth of the answers spoiled",
            faults.spoiled(
                lambda e: (
                    e.rows(
                        "integer_network.csv",
                        model="resnet20",
                        engine="fbgemm",
                        arithmetic="double",
                        activation_bits=8,
                    )
                    .sort_values("n")
                    .iloc[-1]
                    .run
                ),
                "correct_double",
                0.01,
            ),
        ),
        explained={FAILS: "Integers alone lose more.", **ACROSS},
    ),
    Claim(
        id="jacob.resnet",
        wording="Trained with rounding, a ResNet in 8 bits loses at most 1.5 points.",
        source="jacob2018",
        place="Table 4.1",
        chapter="qat",
        condition="ResNet-20 on CIFAR-10, three seeds",
        tolerance="holds if the mean drop's upper end is at most 1.5 points",
        rule=rules.qat_drop("qat", "w8a8", limit=1.5),
        control=Control("networks at chance", faults.at_chance("qat", "w8a8")),
        explained={FAILS: "The mean loss is larger.", **ACROSS},
    ),
    Claim(
        id="jacob.weights",
        wording="Few bits hurt weights more than activations.",
        source="jacob2018",
        place="Tables 4.7 and 4.8",
        chapter="qat",
        condition="ResNet-8 trained with rounding, three seeds: 8-bit weights with "
        "4-bit activations against the reverse",
        tolerance=GAIN_RULE,
        rule=rules.ablation("qat_ablation_runs.csv", "w8a4", over="w4a8"),
        control=Control(
            "the ones under the name of the others",
            faults.same_condition("qat_ablation_runs.csv", "w4a8", "w8a4"),
            faults.rows_answered(
                "qat_ablation_runs.csv", faults.faultless, condition="w8a4"
            ),
        ),
        explained={FAILS: "Here the activations are the weaker part.", **ACROSS},
    ),
)


WHITEPAPER = (
    Claim(
        id="krishnamoorthi.two_percent",
        wording="Calibrated int8, one scale a channel, stays within 2 points of fp32.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="static",
        condition="three trained ResNet-20, the mean drop",
        tolerance="holds if the t interval's upper end is at most 2.0 points",
        rule=rules.static_drop_over_seeds(limit=2.0),
        control=Control("one of the networks at chance", faults.one_seed_breaks),
        explained={FAILS: "The mean loss is larger.", **ACROSS},
    ),
    Claim(
        id="krishnamoorthi.weights",
        wording="Weights alone in 8 bits make the file four times smaller.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="dynamic",
        condition="an MLP with torchao's weight-only form",
        tolerance="holds if fp32 size over int8 size is at least 3.5",
        rule=rules.dynamic_size("mlp", form="torchao_weight_only", least=3.5),
        control=Control(
            "the fp32 weights kept beside the codes",
            faults.embedding_left_out("mlp", "torchao_weight_only"),
        ),
        explained={FAILS: _EMBEDDING},
    ),
    Claim(
        id="krishnamoorthi.qat",
        wording="Trained with rounding, 8 bits stay within 1 point of fp32.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="qat",
        condition="ResNet-20, weights and activations of 8 bits, three seeds",
        tolerance="holds if the mean drop's upper end is at most 1.0 point",
        rule=rules.qat_drop("qat", "w8a8", limit=1.0),
        control=Control(
            "networks at chance",
            faults.at_chance("qat", "w8a8"),
            faults.nothing_lost("qat", "w8a8"),
        ),
        explained={FAILS: "The mean loss is larger.", **ACROSS},
    ),
    Claim(
        id="krishnamoorthi.four_bits",
        wording="Trained with rounding, weights of 4 bits lose at most 10 points.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="qat",
        condition="ResNet-20, 4 bits of weights and of activations (the paper: of "
        "weights), three seeds",
        tolerance="holds if the mean drop's upper end is at most 10 points",
        rule=rules.qat_drop("qat", "w4a4", limit=10.0),
        control=Control(
            "networks at chance",
            faults.at_chance("qat", "w4a4"),
            faults.nothing_lost("qat", "w4a4"),
        ),
        explained={FAILS: "The mean loss is larger.", **ACROSS},
    ),
    Claim(
        id="krishnamoorthi.speed",
        wording="On a CPU, int8 is at least twice as fast as floats.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="static",
        condition="ResNet-20, one image, one thread, against eager fp32",
        tolerance="holds if the interval of the ratio lies above 2, fails if below",
        rule=rules.speed(STATIC, INT8, "eager_fp32", least=2.0, **_ONE_THREAD),
        control=Control("times divided the wrong way round", faults.swapped(STATIC)),
        explained={FAILS: "int8 gains less here.", **ACROSS},
    ),
)
