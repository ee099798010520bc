"""Headline claims of PyTorch's own posts and tutorials.

Only what these texts say in words, or figures read in them, stands here. A tolerance is
a rule of the house or a figure of the source; the page tells which claims were worded
when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.faults import supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    ACROSS,
    DYNAMIC,
    INT8,
    STATIC,
)
from qstudy.measure.statistics import FAILS

_ONE_THREAD = {"model": "resnet20", "batch": 1, "threads": 1}
_BERT = {"model": "bert_base", "batch": 1, "threads": 2, "length": 128.0}
_BERT |= {"forms": "eager"}
_LSTM = {"model": "lstm", "batch": 1, "threads": 1, "length": 16.0, "forms": "eager"}
_EMBEDDING = (
    "Linear layers shrink to a quarter and the embedding not at all. How much of a "
    "file it fills decides, and in a small language model it fills most."
)


PYTORCH = (
    Claim(
        id="pytorch.size",
        wording="A quantized model is four times smaller.",
        source="pytorchblog2020",
        place="introduction",
        chapter="dynamic",
        condition="MiniLM, dynamic int8, torch's default form",
        tolerance="holds if fp32 size over int8 size is at least 3.5",
        rule=rules.dynamic_size("minilm", form="x86", least=3.5),
        control=Control(
            "the fp32 weights kept beside the codes",
            faults.embedding_left_out("minilm", "x86"),
            supposed("dynamic_size.csv", {"ratio": 3.9}, model="minilm", form="x86"),
        ),
        explained={FAILS: _EMBEDDING},
    ),
    Claim(
        id="pytorch.bert",
        wording="Dynamic int8 runs BERT 1.8 times as fast.",
        source="pytorchblog2020",
        place="table of latencies",
        chapter="dynamic",
        condition="a BERT base of random weights, one sequence of 128 tokens, two "
        "threads (the post: one), against eager fp32",
        tolerance="holds if the interval of the ratio lies above 1.8, fails if below",
        rule=rules.speed(DYNAMIC, INT8, "eager_fp32", least=1.8, **_BERT),
        control=Control("a timing without warm-up", faults.without_warmup(DYNAMIC)),
        explained={FAILS: "int8 gains less here.", **ACROSS},
    ),
    Claim(
        id="pytorch.resnet",
        wording="Static int8 runs a ResNet twice as fast on one thread.",
        source="pytorchblog2020",
        place="table of latencies",
        chapter="static",
        condition="ResNet-20 (the post: ResNet-50), one image, one thread, eager fp32",
        tolerance="holds if the interval of the ratio lies above 2, fails if below",
        rule=rules.speed(STATIC, INT8, "eager_fp32", least=2.0, **_ONE_THREAD),
        control=Control("a timing of a single process", faults.one_process(STATIC)),
        explained={FAILS: "int8 gains less here.", **ACROSS},
    ),
    Claim(
        id="pytorch.static_accuracy",
        wording="Static int8 of a small ResNet loses at most 0.4 points.",
        source="pytorchblog2020",
        place="table of accuracies",
        chapter="static",
        condition="ResNet-20 (the post: ResNet-18), first seed",
        tolerance="holds if the drop's upper end is at most 0.4 points",
        rule=rules.static_drop(limit=0.4),
        control=Control("an unpaired comparison", faults.unpaired),
        explained={FAILS: "It loses more here.", **ACROSS},
    ),
    Claim(
        id="pytorch.resnet50_accuracy",
        wording="Static int8 of a ResNet loses at most 0.2 points.",
        source="pytorchblog2020",
        place="table of accuracies",
        chapter="static",
        condition="ResNet-20 (the post: ResNet-50), first seed",
        tolerance="holds if the drop's upper end is at most 0.2 points",
        rule=rules.static_drop(limit=0.2),
        control=Control("a quantizer that rounds down", faults.computed("rounds_down")),
        explained={FAILS: "It loses more here.", **ACROSS},
    ),
    Claim(
        id="pytorch.lstm.size",
        wording="Dynamic int8 makes an LSTM language model 1.4 times smaller.",
        source="lstmtutorial",
        place="output of the tutorial",
        chapter="dynamic",
        condition="the LSTM of this study, whose output layer shares the embedding",
        tolerance="holds if fp32 size over int8 size is at least 1.4",
        rule=rules.dynamic_size("lstm", form="x86", least=1.4),
        control=Control(
            "the fp32 weights kept beside the codes",
            faults.embedding_left_out("lstm", "x86"),
            supposed("dynamic_size.csv", {"ratio": 1.5}, model="lstm", form="x86"),
        ),
        explained={
            FAILS: "Where the output layer shares the embedding's weights, quantizing "
            "it stores them a second time, which eats what the LSTM layers save."
        },
    ),
    Claim(
        id="pytorch.lstm.loss",
        wording="Dynamic int8 leaves the loss of an LSTM language model as it was.",
        source="lstmtutorial",
        place="output of the tutorial",
        chapter="dynamic",
        condition="the LSTM of this study on the Brown corpus",
        tolerance="holds if perplexity rises by at most 0.2 % at the upper end",
        rule=rules.perplexity_rise("lstm", form="x86", limit=0.2),
        control=Control(
            "scored on training texts", faults.other_split("dynamic_quality.csv")
        ),
        explained={FAILS: "The perplexity rises by more.", **ACROSS},
    ),
    Claim(
        id="pytorch.lstm.speed",
        wording="Dynamic int8 runs an LSTM language model 1.8 times as fast.",
        source="lstmtutorial",
        place="output of the tutorial",
        chapter="dynamic",
        condition="the LSTM of this study, one sequence of 16 tokens, one thread",
        tolerance="holds if the interval of the ratio lies above 1.8, fails if below",
        rule=rules.speed(DYNAMIC, INT8, "eager_fp32", least=1.8, **_LSTM),
        control=Control("times divided the wrong way round", faults.swapped(DYNAMIC)),
        explained={FAILS: "int8 gains less here.", **ACROSS},
    ),
)
