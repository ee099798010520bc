"""The deck's PTQ against QAT, its example in numbers, and its picture of LSQ.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.faults import after, supposed
from qstudy.claims.faults.sweeps import become, names_swapped, spoiled_setting
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    ACROSS,
    DROP_RULE,
    deck,
    untestable,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

VERSUS = "PTQ and QAT"
_TWO_BITS = {"method": "lsq", "weight_bits": 2}


def _as_simulated(row: Any) -> float:
    return row.simulated_top1


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
        "A definition: what the chapter calibrates was trained to the end, and is "
        "rounded as it stands.",
        id="deck.ptq.what",
        wording="PTQ quantizes a network whose training is over, with little error.",
        chapter="static",
        condition="none",
    ),
    deck(
        VERSUS,
        id="deck.qat.what",
        wording="QAT simulates in training what quantization will do in inference.",
        chapter="qat",
        condition="ResNet-20, 8 bits, three seeds: converted to the x86 engine's int8 "
        "kernels, against the network as it was trained",
        tolerance="holds if the mean drop of top-1 is at most 0.2 points at its t "
        "interval's upper end",
        rule=rules.as_simulated("x86", width="w8a8", limit=0.2),
        control=Control(
            "converted networks at chance",
            supposed("qat_gap.csv", {"top1": 10.0}, form="x86"),
            faults.cell("qat_gap.csv", _as_simulated, "top1", form="x86"),
        ),
        explained={FAILS: "The kernels lose more than was simulated.", **ACROSS},
    ),
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
        tolerance=DROP_RULE,
        rule=rules.qat_drop("qat", "w4a4", limit=1.0),
        control=Control("networks at chance", faults.at_chance("qat", "w4a4")),
        explained={
            FAILS: "At 4 bits a network this small loses more than the limit.",
            UNDECIDED: "The interval over three seeds reaches across the limit.",
        },
    ),
    untestable(
        VERSUS,
        "A definition, as in the table of types. The chapter has what it costs, in "
        "epochs and in time for a step.",
        id="deck.qat.disadvantage",
        wording="QAT needs further training once the network is trained.",
        chapter="qat",
        condition="none",
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
