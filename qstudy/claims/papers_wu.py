"""Headline claims of Wu et al. 2020, save those on sweeps.

Only what these texts say in words, or figures read in them, stands here. A tolerance is
a rule of the house or a figure of the source; the page tells which claims were worded
when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.faults import after
from qstudy.claims.ledger import Claim, Control, Evidence
from qstudy.claims.wording import (
    ACROSS,
    GAIN_RULE,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

_CALIBRATED = Control(
    "calibrated networks passed off as trained", faults.static_as_qat("w8a8")
)


def _unpaired_gain(changes: dict[str, str]) -> Control:
    """Small losses of the other setting that a comparison of two orders cannot see."""

    def run(evidence: Evidence) -> str:
        return evidence.row("static.csv", seed=0, **{**rules.STATIC, **changes}).run

    return Control(
        "an unpaired comparison",
        faults.unpaired,
        faults.spoiled(run, "correct", 0.005),
    )


WU = (
    Claim(
        id="wu.one_percent",
        wording="int8 stays within 1 % of the fp32 accuracy.",
        source="wu2020",
        place="abstract",
        chapter="static",
        condition="three trained ResNet-20, static int8, the mean relative drop",
        tolerance="holds if the t interval's upper end is at most 1 %",
        rule=rules.static_drop_over_seeds(limit=1.0, relative=True),
        control=Control("shuffled labels", faults.shuffled_labels),
        explained={FAILS: "The mean loss is larger.", **ACROSS},
    ),
    Claim(
        id="wu.per_channel",
        wording="Weights need one scale a channel; one a tensor costs accuracy.",
        source="wu2020",
        place="recommended workflow",
        chapter="static",
        condition="ResNet-20, static int8 of the x86 engine, one scale a channel "
        "against one a tensor, the same images",
        tolerance=GAIN_RULE,
        rule=rules.between({}, {"granularity": "per_tensor"}),
        control=_unpaired_gain({"granularity": "per_tensor"}),
        explained={
            FAILS: "One scale a tensor is at least as accurate here.",
            UNDECIDED: "The two differ by less than ten thousand images resolve: the "
            "weight ranges of a ResNet-20 differ little from channel to channel. The "
            "networks for which this matters have depthwise layers.",
        },
    ),
    Claim(
        id="wu.folded",
        wording="After folding, one weight scale a tensor costs accuracy.",
        source="wu2020",
        place="on weight quantization",
        chapter="fusion",
        condition="ResNet-20, weights alone in 8 bits, batch normalization folded",
        tolerance=GAIN_RULE,
        rule=rules.folded_per_tensor(),
        control=Control(
            "the fp32 answers passed off as rounded",
            faults.right_where(
                lambda e: e.row("fusion_rounding.csv", weights="fused").run,
                "fused_per_channel",
                "fused_per_tensor",
            ),
            faults.spoiled(
                lambda e: e.row("fusion_rounding.csv", weights="fused").run,
                "fused_per_tensor",
                0.01,
            ),
        ),
        explained={
            FAILS: "One scale a tensor is at least as accurate here.",
            UNDECIDED: "The loss is smaller than ten thousand images resolve, although "
            "folding does widen the ranges.",
        },
    ),
    Claim(
        id="wu.maximum",
        wording="For a CNN, ranges of the largest value seen are not the best.",
        source="wu2020",
        place="on calibration",
        chapter="static",
        condition="ResNet-20, static int8, a histogram's least-error range against the "
        "extremes, the same images",
        tolerance=GAIN_RULE,
        rule=rules.between({}, {"calibrator": "minmax"}),
        control=_unpaired_gain({"calibrator": "minmax"}),
        explained={
            FAILS: "The extremes serve at least as well here.",
            UNDECIDED: "In 8 bits the two differ by less than ten thousand images "
            "resolve: a ResNet-20 has no outliers that would waste codes.",
        },
    ),
    Claim(
        id="wu.clipping",
        wording="In a transformer, clipping rare large activations costs accuracy.",
        source="wu2020",
        place="on calibration",
        chapter="dynamic",
        condition="the encoder, simulated in int8, fixed ranges: all values against "
        "the 99.99 percentile",
        tolerance=GAIN_RULE,
        rule=rules.text_gain(
            "minilm", "simulated_static_max", "simulated_static_percentile"
        ),
        control=Control(
            "one calibrator's answers under both names",
            faults.same_answers("simulated_static_max", "simulated_static_percentile"),
            faults.spoiled(
                lambda e: (
                    e.row(
                        "dynamic_quality.csv",
                        model="minilm",
                        form="simulated_static_percentile",
                    ).run
                ),
                "correct",
                0.5,
            ),
        ),
        explained={
            FAILS: "Clipping does no harm here.",
            UNDECIDED: "A hundred texts do not resolve the difference.",
        },
    ),
    Claim(
        id="wu.affine",
        wording="Affine quantization with a multiplying scale gives PyTorch's codes.",
        source="wu2020",
        place="equations 1 and 2",
        chapter="formulas",
        condition="0.1 in the range from -1.5 to 3",
        tolerance="exact",
        rule=rules.same_code("affine", "wu", "int8"),
        control=Control(
            "a scale off by two",
            faults.scale_twice(0.1, scheme="affine", convention="int8"),
        ),
        explained={FAILS: "The two conventions give other codes."},
    ),
    Claim(
        id="wu.qat",
        wording="Fine-tuned with rounding, int8 stays within 1 point of fp32.",
        source="wu2020",
        place="recommended workflow",
        chapter="qat",
        condition="ResNet-20, 8 bits, three seeds",
        tolerance="holds if the mean drop's upper end is at most 1.0 point",
        rule=rules.qat_drop("qat", "w8a8", limit=1.0),
        control=Control("networks at chance", faults.at_chance("qat", "w8a8")),
        explained={FAILS: "The mean loss is larger.", **ACROSS},
    ),
    Claim(
        id="wu.learned_ranges",
        wording="In int8, learning the ranges adds nothing to careful calibration.",
        source="wu2020",
        place="on learned ranges",
        chapter="lsq",
        condition="ResNet-20, 8 bits, three seeds: steps learned against QAT whose "
        "ranges follow a moving average",
        tolerance="holds if the mean gain's upper end is at most 0.2 points",
        rule=rules.adds_little("lsq", "qat", width="w8a8", limit=0.2),
        control=Control(
            "the other networks at chance",
            faults.at_chance("qat", "w8a8"),
            after(
                faults.nothing_lost("lsq", "w8a8"), faults.nothing_lost("qat", "w8a8")
            ),
        ),
        explained={FAILS: "Learned steps gain more than that here.", **ACROSS},
    ),
)
