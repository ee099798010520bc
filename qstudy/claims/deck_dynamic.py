"""The deck's table of types, its row on dynamic quantization.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.faults import after, drop_of, ratio_of, supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    DYNAMIC,
    INT8,
    PROMISES,
    TEXT,
    deck,
)
from qstudy.measure.statistics import FAILS, UNDECIDED


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
        "minilm": (
            "scored on training texts",
            faults.other_split("dynamic_quality.csv"),
        ),
        "mlp": ("times divided the wrong way round", faults.swapped(DYNAMIC)),
    }
    return deck(
        "Types of Quantization",
        id=f"deck.types.dynamic.{model}",
        wording=f"Dynamic quantization keeps the deck's three promises for "
        f"{TEXT[model]}.",
        chapter="dynamic",
        condition="one input, two threads, against eager fp32; sequences of 64 tokens",
        tolerance=PROMISES,
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


DYNAMIC_TYPE = (
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
            supposed("dynamic_kernels.csv", {"differing": 0}, engine="x86"),
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
        id="deck.types.dynamic.fp16",
        wording="Dynamic quantization also stores weights in 16-bit floats.",
        chapter="dynamic",
        condition="the MLP's file in torch's fp16 form",
        tolerance="holds if fp32 size over fp16 size is at least 1.75, as 3.5 is for a "
        "quarter",
        rule=rules.dynamic_size("mlp", form="fp16_weights", least=1.75),
        control=Control(
            "the fp32 weights kept beside the halves",
            faults.embedding_left_out("mlp", "fp16_weights"),
            supposed("dynamic_size.csv", {"ratio": 2.0}, form="fp16_weights"),
        ),
        explained={FAILS: "What stays in fp32 weighs too much."},
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
            faults.other_split("dynamic_quality.csv"),
            supposed("dynamic_quality.csv", drop_of(0.0, 0.5), form="x86"),
        ),
        explained={
            FAILS: "One of the three loses more than the limit.",
            UNDECIDED: "An interval reaches across the limit. The encoder's outputs "
            "move visibly; a hundred texts are too few to say how much accuracy that "
            "costs. One scale a channel and 8-bit activations move them less.",
        },
    ),
)
