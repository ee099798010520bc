"""The deck's table of types: what each quantizes, what it needs, what it suits.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.deck_dynamic import DYNAMIC_TYPE
from qstudy.claims.faults import supposed
from qstudy.claims.ledger import Control
from qstudy.claims.wording import (
    DROP_RULE,
    GAIN_RULE,
    INT8,
    PROMISES,
    STATIC,
    deck,
    untestable,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

TYPES = (
    *DYNAMIC_TYPE,
    deck(
        "Types of Quantization",
        id="deck.types.static.what",
        wording="Static quantization computes on 8-bit weights and activations.",
        chapter="formulas",
        condition="ResNet-20 under fbgemm, from 8-bit codes alone, in our arithmetic",
        tolerance="exact: every image's logits are equal",
        rule=rules.same_logits("fbgemm", "float32"),
        control=Control(
            "one image whose logits differ",
            supposed(
                "integer_network.csv",
                {"other_logits": 1.0},
                engine="fbgemm",
                arithmetic="float32",
            ),
        ),
        explained={FAILS: "Some logits need more than the codes to be explained."},
    ),
    deck(
        "Types of Quantization",
        id="deck.types.static.data",
        wording="Static quantization needs calibration data.",
        chapter="static",
        condition="what the runs read beyond scoring the fp32 network",
        tolerance="exact: every run reads more",
        rule=rules.data_read(form="static", more=True),
        control=Control("a network without calibration", faults.reads_nothing),
        explained={FAILS: "A run read no calibration images."},
    ),
    deck(
        "Types of Quantization",
        id="deck.types.static.cnn",
        wording="Static quantization keeps the deck's three promises for a CNN.",
        chapter="static",
        condition="ResNet-20, one image, two threads, against eager fp32",
        tolerance=PROMISES,
        rule=rules.both(
            ("size", rules.static_size()),
            (
                "speed",
                rules.speed(
                    STATIC,
                    INT8,
                    "eager_fp32",
                    least=2.0,
                    **{"model": "resnet20", "batch": 1, "threads": 2},
                ),
            ),
            ("drop", rules.static_drop()),
        ),
        control=Control("an fp32 file passed off as int8", faults.fp32_file_as_int8),
        explained={
            FAILS: "One of the three falls short; the rows above say which.",
            UNDECIDED: "One of the intervals reaches across its limit.",
        },
    ),
    deck(
        "Types of Quantization",
        id="deck.types.static.accuracy",
        wording="The accuracy of static quantization is good.",
        chapter="static",
        condition="three trained ResNet-20, the mean drop and its t interval",
        tolerance=DROP_RULE,
        rule=rules.static_drop_over_seeds(limit=1.0),
        control=Control("a leaked calibration", faults.reads_nothing),
        explained={
            FAILS: "The mean drop is above the limit.",
            UNDECIDED: "Three networks differ too much to say.",
        },
    ),
    untestable(
        "Types of Quantization",
        "A definition: the chapter trains with rounded weights and activations because "
        "that is what the method is.",
        id="deck.types.qat.what",
        wording="QAT trains with weights and activations of 8 bits.",
        chapter="qat",
        condition="none",
    ),
    untestable(
        "Types of Quantization",
        "A definition: without further training there is no QAT.",
        id="deck.types.qat.data",
        wording="QAT needs fine-tuning.",
        chapter="qat",
        condition="none",
    ),
    untestable(
        "Types of Quantization",
        "Only CNNs were trained with rounding here, so there is no other family for "
        "which it could work less well.",
        id="deck.types.qat.cnn",
        wording="QAT works best for CNNs.",
        chapter="qat",
        condition="none",
    ),
    deck(
        "Types of Quantization",
        id="deck.types.qat.accuracy",
        wording="QAT is the most accurate: better than static quantization.",
        chapter="qat",
        condition="ResNet-20, weights and activations of 8 bits, three seeds",
        tolerance=GAIN_RULE,
        rule=rules.qat_gain("w8a8"),
        control=Control(
            "calibrated networks passed off as trained",
            faults.static_as_qat("w8a8"),
            faults.qat_mends("w8a8"),
        ),
        explained={
            FAILS: "At 8 bits calibration leaves nothing to win back, and training "
            "moves the network.",
            UNDECIDED: "At 8 bits calibration leaves so little to win back that three "
            "seeds do not resolve it.",
        },
    ),
)
