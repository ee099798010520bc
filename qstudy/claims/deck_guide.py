"""The deck's selection guide: the scheme to prefer for a network, and why.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.faults import after, drop_of, ratio_of, supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    BF16,
    DYNAMIC,
    GAIN_RULE,
    INT8,
    STATIC,
    deck,
    untestable,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

GUIDE = "Table of Quantization Type Selection Guide"


def case(model: str, forms: str = "eager", length: float = 64.0) -> dict[str, Any]:
    """Where a text network is timed: one input, two threads, so many tokens."""
    long = {} if model == "mlp" else {"length": length}
    return {"model": model, "batch": 1, "threads": 2, "forms": forms, **long}


def _preferred(model: str, family: str, forms: str, fault: Control) -> Claim:
    setting = case(model, forms)
    file = {"model": model, "form": "x86"}
    quick = {"candidate": INT8, **setting}
    return deck(
        GUIDE,
        id=f"deck.guide.{model}",
        wording=f"For {family}, dynamic quantization is the scheme to prefer.",
        chapter="dynamic",
        condition="one sequence of 64 tokens, two threads, against the best fp32 and "
        "the best bf16 of the same network",
        tolerance="faster than both (intervals above 1) and a drop of at most 1.0",
        rule=rules.both(
            (
                "against fp32",
                rules.speed(DYNAMIC, INT8, "best_fp32", least=1, **setting),
            ),
            (
                "against bf16",
                rules.speed(DYNAMIC, INT8, "best_bf16", least=1, **setting),
            ),
            ("drop", rules.text_drops([model], form="x86", limit=1.0)),
        ),
        control=Control(
            fault.fault,
            fault.plant,
            after(
                supposed(DYNAMIC, ratio_of(1.5), baseline="best_fp32", **quick),
                supposed(DYNAMIC, ratio_of(1.5), baseline="best_bf16", **quick),
                supposed("dynamic_quality.csv", drop_of(0.0, 0.5), **file),
            ),
        ),
        explained={FAILS: BF16, UNDECIDED: f"{BF16} Or a drop is not resolved."},
    )


def _bandwidth(model: str, family: str) -> Claim:
    setting = {k: v for k, v in case(model).items() if k != "batch"}
    return deck(
        GUIDE,
        id=f"deck.guide.{model}.why",
        wording=f"In {family}, time goes into reading weights: int8 gains more with "
        "one sequence than with many.",
        chapter="dynamic",
        condition="sequences of 64 tokens, 1 and 32 at a time, two threads, eager fp32",
        tolerance="holds if the ratio's interval for one lies above that for 32, fails "
        "if below",
        rule=rules.falls_with_batch(DYNAMIC, INT8, few=1, many=32, **setting),
        control=Control(
            "a timing of a single process",
            faults.one_process(DYNAMIC),
            after(
                *(
                    supposed(
                        DYNAMIC,
                        ratio_of(value),
                        candidate=INT8,
                        baseline="eager_fp32",
                        batch=batch,
                        **setting,
                    )
                    for batch, value in ((1, 4.0), (32, 2.0))
                )
            ),
        ),
        explained={
            FAILS: "The gain does not fall with the batch, so it comes from int8's "
            "faster multiplication as well.",
            UNDECIDED: "The two intervals overlap: in a sequence of many tokens each "
            "weight is used often, whatever the batch.",
        },
    )


SELECTION = (
    _preferred(
        "lstm",
        "an LSTM",
        "eager",
        Control(
            "times divided the wrong way round",
            faults.swapped(DYNAMIC),
        ),
    ),
    _preferred(
        "minilm",
        "a BERT-like transformer",
        "with compiled",
        Control(
            "the eager fp32 passed off as the fastest",
            faults.eager_as_best(DYNAMIC, "best_fp32"),
        ),
    ),
    _bandwidth("lstm_1024", "an LSTM"),
    _bandwidth("bert_base", "a transformer"),
    deck(
        GUIDE,
        id="deck.guide.cnn",
        wording="For a CNN, static quantization is the scheme to prefer.",
        chapter="static",
        condition="ResNet-20, one image, two threads, against the best fp32",
        tolerance="faster (interval above 1) and a drop of at most 1.0",
        rule=rules.both(
            (
                "against fp32",
                rules.speed(
                    STATIC,
                    INT8,
                    "best_fp32",
                    least=1,
                    **{"model": "resnet20", "batch": 1, "threads": 2},
                ),
            ),
            ("drop", rules.static_drop()),
        ),
        control=Control(
            "the eager fp32 passed off as the fastest",
            faults.eager_as_best(STATIC, "best_fp32"),
        ),
        explained={
            FAILS: "It is slower than the best fp32, or loses more than the limit.",
            UNDECIDED: "One of the intervals reaches across its limit.",
        },
    ),
    untestable(
        GUIDE,
        "The study reads no counters of memory traffic, and activations of a network "
        "for 32 by 32 pixels fit into the caches of its processors.",
        id="deck.guide.cnn.why",
        wording="In a CNN, the memory bandwidth of activations limits throughput.",
        chapter="static",
        condition="none",
    ),
    deck(
        GUIDE,
        id="deck.guide.cnn.qat",
        wording="Where static quantization of a CNN loses too much, QAT recovers it.",
        chapter="qat",
        condition="ResNet-20, weights and activations of 4 bits, three seeds",
        tolerance=GAIN_RULE,
        rule=rules.qat_gain("w4a4"),
        control=Control(
            "calibrated networks passed off as trained", faults.static_as_qat("w4a4")
        ),
        explained={
            FAILS: "Training with rounding ends below calibration alone.",
            UNDECIDED: "Three seeds do not resolve the gain.",
        },
    ),
)
