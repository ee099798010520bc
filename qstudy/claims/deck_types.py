"""The deck's table of types: what each quantizes, what it needs, what it suits.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.faults import after, drop_of, ratio_of, supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    DROP_RULE,
    DYNAMIC,
    GAIN_RULE,
    INT8,
    STATIC,
    TEXT,
    deck,
    untestable,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

_PROMISES = "size at least 3.5, speed above 2, drop at most 1.0, each by its own rule"


def _promises(model: str) -> Claim:
    setting: dict[str, Any] = {"model": model, "batch": 1, "threads": 2}
    if model != "mlp":
        setting["length"] = 64.0
    setting["forms"] = "eager"
    baseline = "eager_fp32"
    file = {"model": model, "form": "x86"}
    parts = {
        "size": rules.dynamic_size(model, form="x86", least=3.5),
        "speed": rules.speed(DYNAMIC, INT8, baseline, least=2.0, **setting),
        "drop": rules.text_drops([model], form="x86", limit=1.0),
    }
    true = after(
        supposed("dynamic_size.csv", {"ratio": 3.9}, **file),
        supposed(DYNAMIC, ratio_of(3.0), candidate=INT8, baseline=baseline, **setting),
        supposed("dynamic_quality.csv", drop_of(0.0, 0.5), **file),
    )
    planted = {
        "lstm": ("an embedding left in fp32", faults.embedding_left_out(model, "x86")),
        "minilm": ("scored on training texts", _split("dynamic_quality.csv")),
        "mlp": ("times divided the wrong way round", faults.swapped(DYNAMIC)),
    }
    return deck(
        "Types of Quantization",
        id=f"deck.types.dynamic.{model}",
        wording=f"Dynamic quantization keeps the deck's three promises for "
        f"{TEXT[model]}.",
        chapter="dynamic",
        condition="one input, two threads, against eager fp32; sequences of 64 tokens",
        tolerance=_PROMISES,
        rule=rules.both(*parts.items()),
        control=Control(*planted[model], true),
        explained={
            FAILS: "torch quantizes Linear and LSTM layers alone. The embedding stays "
            "in fp32 and fills most of a small text network's file; speed falls short "
            "where layers are narrow.",
            UNDECIDED: "One of the intervals reaches across its limit; with a hundred "
            "test texts that of a drop is wide.",
        },
    )


def _split(table: str) -> Any:
    return faults.other_split(table)


TYPES = (
    deck(
        "Types of Quantization",
        id="deck.types.dynamic.what",
        wording="Dynamic int8 quantization quantizes weights only.",
        chapter="dynamic",
        condition="torch's dynamic Linear kernels on real activations of an encoder",
        tolerance="holds if no kernel's results are all those of rounded activations",
        rule=rules.float_activations(),
        control=Control(
            "a kernel that rounds activations, passed off as weight-only",
            lambda e: faults.cell(
                "dynamic_kernels.csv", lambda row: 0, "differing", engine="x86"
            )(e),
            supposed("dynamic_kernels.csv", {"differing": 1}),
        ),
        explained={
            FAILS: "Weights alone are stored in 8 bits, which is what the table means; "
            "the kernels round the activations too, in every call. The accuracy shows "
            "it: forms that round weights alone stay closer to fp32."
        },
    ),
    deck(
        "Types of Quantization",
        id="deck.types.dynamic.data",
        wording="Dynamic quantization needs no data.",
        chapter="dynamic",
        condition="what the runs read beyond scoring the fp32 network",
        tolerance="exact: no run reads more",
        rule=rules.data_read(form="x86", more=False),
        control=Control("a leaked calibration", faults.reads_training_data),
        explained={FAILS: "A run read data that scoring alone does not need."},
    ),
    *(_promises(model) for model in TEXT),
    deck(
        "Types of Quantization",
        id="deck.types.dynamic.accuracy",
        wording="The accuracy of dynamic quantization is good.",
        chapter="dynamic",
        condition="LSTM, encoder and MLP, torch's default form, on the test texts",
        tolerance="holds if each drop's upper end is at most 1.0 point",
        rule=rules.text_drops(TEXT, form="x86", limit=1.0),
        control=Control(
            "scored on training texts",
            _split("dynamic_quality.csv"),
            supposed("dynamic_quality.csv", drop_of(0.0, 0.5), form="x86"),
        ),
        explained={
            FAILS: "One of the three loses more than the limit.",
            UNDECIDED: "An interval reaches across the limit. The encoder's outputs "
            "move visibly; a hundred texts are too few to say how much accuracy that "
            "costs. One scale a channel and 8-bit activations move them less.",
        },
    ),
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
            lambda e: faults.cell(
                "integer_network.csv",
                lambda row: 1.0,
                "other_logits",
                engine="fbgemm",
                arithmetic="float32",
            )(e),
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
        tolerance=_PROMISES,
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
