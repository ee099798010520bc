"""The deck's selection guide, its table of modes, PTQ against QAT, and its example.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.deck import (
    _BF16,
    _DROP_RULE,
    _FASTER_RULE,
    _GAIN_RULE,
    DYNAMIC,
    INT8,
    STATIC,
    deck,
    untestable,
)
from qstudy.claims.faults import after, drop_of, ratio_of, supposed
from qstudy.claims.faults_sweeps import become, names_swapped, spoiled_setting
from qstudy.claims.ledger import Claim, Control
from qstudy.measure.statistics import FAILS, UNDECIDED

GUIDE, MODES = "Table of Quantization Type Selection Guide", "Quantization Modes"
VERSUS = "PTQ and QAT"
_TWO_BITS = {"method": "lsq", "weight_bits": 2}


def _setting(model: str, forms: str = "eager", length: float = 64.0) -> dict[str, Any]:
    long = {} if model == "mlp" else {"length": length}
    return {"model": model, "batch": 1, "threads": 2, "forms": forms, **long}


def _preferred(model: str, family: str, forms: str, fault: Control) -> Claim:
    setting = _setting(model, forms)
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
        explained={FAILS: _BF16, UNDECIDED: f"{_BF16} Or a drop is not resolved."},
    )


def _bandwidth(model: str, family: str) -> Claim:
    setting = {k: v for k, v in _setting(model).items() if k != "batch"}
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
        tolerance=_GAIN_RULE,
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


def _faster(model: str) -> tuple[str, rules.Rule]:
    setting = _setting(model)
    return model, rules.speed(DYNAMIC, INT8, "eager_fp32", least=1, **setting)


TABLE = (
    deck(
        MODES,
        id="deck.modes.dynamic.latency",
        wording="Dynamic quantization is faster than fp32.",
        chapter="dynamic",
        condition="LSTM, encoder and MLP, one input, two threads, against eager fp32",
        tolerance=_FASTER_RULE,
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
        tolerance=_GAIN_RULE,
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


def _small(bits: int, end: str = "") -> Claim:
    names = ("models", "resnet8", "resnet20")
    of = rules.width(bits)
    differs = after(
        *(become("models", model, of, "fp32") for model in names[1:]),
        spoiled_setting("models", "resnet8", of, 0.1),
    )
    return deck(
        VERSUS,
        id=f"deck.ptq.small{end}",
        wording=f"PTQ loses more accuracy in small networks, in {bits} bits.",
        chapter="static",
        condition=f"ResNet-8 against ResNet-20, W{bits}A{bits}, three seeds each",
        tolerance="holds if the t interval of the difference of the two drops, over "
        "seeds, lies above 0, fails if below",
        rule=rules.smaller_loses_more("resnet8", "resnet20", bits=bits),
        control=Control(
            "the two networks under each other's names",
            names_swapped(*names),
            differs,
        ),
        explained={
            FAILS: "The smaller network loses less.",
            UNDECIDED: "Both lose so little, or three networks differ so much, that "
            "the interval holds 0.",
        },
    )


AGAINST = (
    untestable(
        VERSUS,
        "No large network with labelled images was at hand.",
        id="deck.ptq.large",
        wording="PTQ loses little accuracy in large networks.",
        chapter="static",
        condition="none",
    ),
    _small(8),
    _small(4, "_w4"),
    deck(
        VERSUS,
        id="deck.qat.advantage",
        wording="QAT keeps the loss of accuracy to a minimum.",
        chapter="qat",
        condition="ResNet-20, weights and activations of 4 bits, three seeds",
        tolerance=_DROP_RULE,
        rule=rules.qat_drop("qat", "w4a4", limit=1.0),
        control=Control("networks at chance", faults.at_chance("qat", "w4a4")),
        explained={
            FAILS: "At 4 bits a network this small loses more than the limit.",
            UNDECIDED: "The interval over three seeds reaches across the limit.",
        },
    ),
    deck(
        "Asymmetric Quantization / Scale Quantization Mapping",
        id="deck.formula.example",
        wording="In the deck's example 0.1 has the code 13.",
        chapter="formulas",
        condition="a range that ends at 1, as the slide divides",
        tolerance="exact",
        rule=rules.code_of("max_code", "deck", expected=13),
        control=Control(
            "a quantizer that rounds down",
            faults.rounds_down(0.1, scheme="deck", convention="max_code"),
        ),
        explained={FAILS: "The convention gives another code."},
    ),
    deck(
        "Asymmetric Quantization / Scale Quantization Mapping",
        id="deck.formula.naming",
        wording="Scale quantization is the asymmetric one.",
        chapter="formulas",
        condition="the range from -1.5 to 3 in signed codes",
        tolerance="exact: holds if its zero point is not 0",
        rule=rules.asymmetric("scale", "max_code"),
        control=Control(
            "a zero point left out",
            supposed("conventions.csv", {"zero_point": 0}, scheme="scale"),
            supposed("conventions.csv", {"zero_point": 5}, scheme="scale"),
        ),
        explained={
            FAILS: "The slide's two headings have the names the wrong way round: scale "
            "quantization has no zero point and is symmetric, affine is asymmetric."
        },
    ),
)

LEARNED = (
    deck(
        "Learned Step Size Quantization",
        id="deck.lsq.size",
        wording="Some 2-bit network is the most accurate at its size.",
        chapter="lsq",
        condition="ResNet-8, 14 and 20 at each width, as packed on disk, first seeds",
        tolerance="holds if, for one, the interval of the gain over the best of more "
        "bits that is no larger lies above 0; fails if below for all",
        rule=rules.best_at_a_size(2),
        control=Control(
            "2-bit networks at chance",
            faults.rows_answered("lsq_size.csv", faults.guessing, **_TWO_BITS),
            faults.rows_answered("lsq_size.csv", faults.faultless, **_TWO_BITS),
        ),
        explained={
            FAILS: "Each is beaten by a network of more bits that is no larger.",
            UNDECIDED: "The interval of the gain reaches across 0.",
        },
    ),
)
