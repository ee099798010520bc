"""Claims about networks with depthwise layers, judged on MobileNetV2's sweeps.

Wording, rule and tolerance were written while that network was still being trained.
"""

from __future__ import annotations

from qstudy.claims import rules
from qstudy.claims.ledger import Claim
from qstudy.claims.papers_static import cure, same, spoiled
from qstudy.claims.wording import ACROSS, GAIN_RULE
from qstudy.experiments.baselines.recipe import DEPTHWISE
from qstudy.measure.statistics import FAILS

_PER_TENSOR, _PER_CHANNEL = (
    {"granularity": granularity, "bn": "folded", "weight_bits": 8}
    for granularity in ("per_tensor", "per_channel")
)
_BOTH_EIGHT = {"weight_bits": 8, "activation_bits": 8, "calibrator": "mse"}
_FOUR_BITS = (
    "MobileNetV2 for images of 32x32, one 4-bit scale a tensor of weights, "
    "activations 8 bits"
)

DEPTHWISE_LAYERS = (
    Claim(
        id="krishnamoorthi.mobilenet.granularity",
        wording="A MobileNet's weights in 8 bits lose less with one scale a channel "
        "than with one a tensor.",
        source="krishnamoorthi2018",
        place="on weights alone, by granularity",
        chapter="static",
        condition="MobileNetV2 for images of 32x32, batch normalization folded, "
        "activations in fp32",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain("weights", DEPTHWISE, _PER_CHANNEL, _PER_TENSOR),
        control=same("weights", _PER_CHANNEL, _PER_TENSOR, model=DEPTHWISE),
        explained={FAILS: "One a tensor serves as well here.", **ACROSS},
    ),
    Claim(
        id="krishnamoorthi.mobilenet.two_percent",
        wording="Calibrated int8, one scale a channel, stays within 2 points of fp32.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="static",
        condition="MobileNetV2 for images of 32x32, W8A8, one trained network",
        tolerance="holds if the drop's upper end is at most 2.0 points",
        rule=rules.sweep_drop("models", DEPTHWISE, _BOTH_EIGHT, limit=2.0),
        control=spoiled("models", _BOTH_EIGHT, model=DEPTHWISE),
        explained={FAILS: "Depthwise layers lose more.", **ACROSS},
    ),
    Claim(
        id="nagel.mobilenet.equalize",
        wording="Equalized layers with corrected biases lose less than layers rounded "
        "as they are.",
        source="nagel2019",
        place="abstract",
        chapter="static",
        condition=f"{_FOUR_BITS} (the paper: 8 bits)",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain(
            "cures", DEPTHWISE, cure("equalized_bias"), cure("nearest")
        ),
        control=same("cures", cure("equalized_bias"), cure("nearest"), model=DEPTHWISE),
        explained={FAILS: "They lose at least as much here.", **ACROSS},
    ),
    Claim(
        id="nagel.mobilenet.adaround",
        wording="Learned rounding loses less than rounding to nearest.",
        source="nagel2020",
        place="abstract",
        chapter="static",
        condition=_FOUR_BITS,
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain("cures", DEPTHWISE, cure("adaround"), cure("nearest")),
        control=same("cures", cure("adaround"), cure("nearest"), model=DEPTHWISE),
        explained={FAILS: "It loses at least as much here.", **ACROSS},
    ),
)
