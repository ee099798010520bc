"""The deck's table of modes: which is the fastest, which loses least.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.deck_guide import case
from qstudy.claims.faults import supposed
from qstudy.claims.ledger import Control
from qstudy.claims.wording import (
    DYNAMIC,
    FASTER_RULE,
    GAIN_RULE,
    INT8,
    deck,
    untestable,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

MODES = "Quantization Modes"


def _faster(model: str) -> tuple[str, rules.Rule]:
    return model, rules.speed(DYNAMIC, INT8, "eager_fp32", least=1, **case(model))


def _swapped_forms(evidence: Any) -> Any:
    frame = evidence.table("dynamic_quality.csv").copy()
    names = {
        "simulated_dynamic": "simulated_static_max",
        "simulated_static_max": "simulated_dynamic",
    }
    return evidence.put(
        "dynamic_quality.csv", frame.assign(form=frame.form.replace(names))
    )


def _wins_everywhere(evidence: Any) -> Any:
    row = evidence.row("dynamic_quality.csv", model="minilm", form="simulated_dynamic")
    record = evidence.record(row.run)
    right = 0 * record.arrays["correct"] + 1
    return evidence.put_record(faults.with_arrays(record, correct=right))


TABLE = (
    deck(
        MODES,
        id="deck.modes.dynamic.what",
        wording="Dynamic quantization computes the range of its data in every call.",
        chapter="dynamic",
        condition="torch's and torchao's dynamic Linear kernels on real activations of "
        "an encoder, against integer arithmetic with the range of each input",
        tolerance="exact: every result of every kernel",
        rule=rules.ranges_of_the_call(),
        control=Control(
            "one result of a range from elsewhere",
            supposed("dynamic_kernels.csv", {"differing": 1}, engine="x86"),
            supposed("dynamic_kernels.csv", {"differing": 0}),
        ),
        explained={FAILS: "Some kernel takes its range from elsewhere."},
    ),
    deck(
        MODES,
        id="deck.modes.static.what",
        wording="Static quantization limits the range of its data by calibration.",
        chapter="formulas",
        condition="ResNet-20 under fbgemm, computed anew from the ranges that "
        "calibration left, whatever the image",
        tolerance="exact: every image's logits are equal",
        rule=rules.same_logits("fbgemm", "float32"),
        control=Control(
            "one image with a range of its own",
            supposed(
                "integer_network.csv",
                {"other_logits": 1.0},
                engine="fbgemm",
                arithmetic="float32",
            ),
            supposed("integer_network.csv", {"other_logits": 0.0}),
        ),
        explained={FAILS: "Some logits need more than the ranges to be explained."},
    ),
    deck(
        MODES,
        id="deck.modes.dynamic.latency",
        wording="Dynamic quantization is faster than fp32.",
        chapter="dynamic",
        condition="LSTM, encoder and MLP, one input, two threads, against eager fp32",
        tolerance=FASTER_RULE,
        rule=rules.both(*(_faster(model) for model in ("lstm", "minilm", "mlp"))),
        control=Control(
            "a timing without warm-up",
            faults.without_warmup(DYNAMIC),
        ),
        explained={
            FAILS: "One of the networks is slower in int8 at this setting.",
            UNDECIDED: "One of the intervals reaches across 1.",
        },
    ),
    untestable(
        MODES,
        "No network was timed both with dynamic and with static quantization.",
        id="deck.modes.static.latency",
        wording="Static quantization is the fastest: faster than dynamic.",
        chapter="static",
        condition="none",
    ),
    untestable(
        MODES,
        "A network trained with rounding is converted to the kernels of the static "
        "one; other codes in the same kernels take the same time.",
        id="deck.modes.qat.latency",
        wording="QAT is the fastest, like static quantization.",
        chapter="qat",
        condition="none",
    ),
    deck(
        MODES,
        id="deck.modes.dynamic.loss",
        wording="Dynamic quantization loses less accuracy than static quantization.",
        chapter="dynamic",
        condition="the encoder, simulated with the same weights and widths; static "
        "with its better calibrator of two",
        tolerance=GAIN_RULE,
        rule=rules.text_gain("minilm", "simulated_dynamic", "simulated_static_max"),
        control=Control(
            "the two rows swapped",
            lambda e: _swapped_forms(e),
            lambda e: _wins_everywhere(e),
        ),
        explained={
            FAILS: "With well-chosen fixed ranges the encoder loses less.",
            UNDECIDED: "With the better calibrator the two differ by less than a "
            "hundred texts resolve. The other calibrator loses more: in an encoder, "
            "static quantization turns on its ranges; dynamic has none to choose.",
        },
    ),
    deck(
        MODES,
        id="deck.modes.static.loss",
        wording="Static quantization loses little accuracy: nothing, at 8 bits.",
        chapter="static",
        condition="ResNet-20, static int8, first seed",
        tolerance="holds if the drop's upper end is at most 0.2, fails if the lower "
        "end is above",
        rule=rules.static_drop(limit=0.2),
        control=Control("a scale off by two", faults.computed("half_scale")),
        explained={
            FAILS: "The network loses more than what this study calls lossless.",
            UNDECIDED: "The interval reaches across the limit.",
        },
    ),
    deck(
        MODES,
        id="deck.modes.qat.loss",
        wording="QAT loses the least accuracy: nothing, at 8 bits.",
        chapter="qat",
        condition="ResNet-20, weights and activations of 8 bits, three seeds",
        tolerance="holds if the mean drop's upper end is at most 0.2, fails if the "
        "lower end is above",
        rule=rules.qat_drop("qat", "w8a8", limit=0.2),
        control=Control(
            "networks at chance",
            faults.at_chance("qat", "w8a8"),
            faults.nothing_lost("qat", "w8a8"),
        ),
        explained={
            FAILS: "The networks lose more than what this study calls lossless.",
            UNDECIDED: "The mean is small, and three seeds are too few to bound it.",
        },
    ),
)
