"""Headline claims of the papers and posts that the deck builds on.

Only what these texts say in words, or figures read in them, stands here. A tolerance is
a rule of the house or a figure of the source; the page tells which claims were worded
when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.deck import DYNAMIC, INT8, STATIC
from qstudy.claims.faults import supposed
from qstudy.claims.ledger import NOT_TESTABLE, Claim, Control, Evidence
from qstudy.measure.statistics import FAILS, UNDECIDED

_GAIN_RULE = "holds if the interval of the gain lies above 0, fails if below"
_ACROSS = {UNDECIDED: "The interval reaches across the limit."}
_ONE_THREAD = {"model": "resnet20", "batch": 1, "threads": 1}
_BERT = {"model": "bert_base", "batch": 1, "threads": 2, "length": 128.0}
_BERT |= {"forms": "eager"}
_LSTM = {"model": "lstm", "batch": 1, "threads": 1, "length": 16.0, "forms": "eager"}
_CALIBRATED = Control(
    "calibrated networks passed off as trained", faults.static_as_qat("w8a8")
)
_EMBEDDING = (
    "Linear layers shrink to a quarter and the embedding not at all. How much of a "
    "file it fills decides, and in a small language model it fills most."
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
        explained={FAILS: "The mean loss is larger.", **_ACROSS},
    ),
    Claim(
        id="wu.per_channel",
        wording="Weights need one scale a channel; one a tensor costs accuracy.",
        source="wu2020",
        place="recommended workflow",
        chapter="static",
        condition="ResNet-20, static int8 of the x86 engine, one scale a channel "
        "against one a tensor, the same images",
        tolerance=_GAIN_RULE,
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
        tolerance=_GAIN_RULE,
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
        tolerance=_GAIN_RULE,
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
        tolerance=_GAIN_RULE,
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
        explained={FAILS: "The mean loss is larger.", **_ACROSS},
    ),
    Claim(
        id="wu.learned_ranges",
        wording="In int8, learning the ranges adds nothing to careful calibration.",
        source="wu2020",
        place="on learned ranges",
        chapter="qat",
        condition="none",
        tolerance="none",
        rule=None,
        control=None,
        explained={NOT_TESTABLE: "No run of the study learns its ranges in 8 bits."},
    ),
)

JACOB = (
    Claim(
        id="jacob.integers",
        wording="A network can be computed in integers alone without losing accuracy.",
        source="jacob2018",
        place="section 2",
        chapter="formulas",
        condition="ResNet-20 with fixed-point multipliers against fbgemm",
        tolerance="holds if the drop's upper end is at most 0.2 points",
        rule=rules.integer_drop("fbgemm", "double", limit=0.2),
        control=Control(
            "a hundredth of the answers spoiled",
            faults.spoiled(
                lambda e: (
                    e.rows(
                        "integer_network.csv",
                        model="resnet20",
                        engine="fbgemm",
                        arithmetic="double",
                        activation_bits=8,
                    )
                    .sort_values("n")
                    .iloc[-1]
                    .run
                ),
                "correct_double",
                0.01,
            ),
        ),
        explained={FAILS: "Integers alone lose more.", **_ACROSS},
    ),
    Claim(
        id="jacob.resnet",
        wording="Trained with rounding, a ResNet in 8 bits loses at most 1.5 points.",
        source="jacob2018",
        place="Table 4.1",
        chapter="qat",
        condition="ResNet-20 on CIFAR-10, three seeds",
        tolerance="holds if the mean drop's upper end is at most 1.5 points",
        rule=rules.qat_drop("qat", "w8a8", limit=1.5),
        control=Control("networks at chance", faults.at_chance("qat", "w8a8")),
        explained={FAILS: "The mean loss is larger.", **_ACROSS},
    ),
    Claim(
        id="jacob.weights",
        wording="Few bits hurt weights more than activations.",
        source="jacob2018",
        place="Tables 4.7 and 4.8",
        chapter="qat",
        condition="ResNet-20, 8-bit weights with 4-bit activations against the reverse",
        tolerance=_GAIN_RULE,
        rule=rules.qat_gain("w8a4", over="w4a8"),
        control=Control("networks at chance", faults.at_chance("static_int8", "w8a4")),
        explained={FAILS: "Here the activations are the weaker part.", **_ACROSS},
    ),
)

WHITEPAPER = (
    Claim(
        id="krishnamoorthi.two_percent",
        wording="Calibrated int8, one scale a channel, stays within 2 points of fp32.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="static",
        condition="three trained ResNet-20, the mean drop",
        tolerance="holds if the t interval's upper end is at most 2.0 points",
        rule=rules.static_drop_over_seeds(limit=2.0),
        control=Control("one of the networks at chance", faults.one_seed_breaks),
        explained={FAILS: "The mean loss is larger.", **_ACROSS},
    ),
    Claim(
        id="krishnamoorthi.weights",
        wording="Weights alone in 8 bits make the file four times smaller.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="dynamic",
        condition="an MLP with torchao's weight-only form",
        tolerance="holds if fp32 size over int8 size is at least 3.5",
        rule=rules.dynamic_size("mlp", form="torchao_weight_only", least=3.5),
        control=Control(
            "the fp32 weights kept beside the codes",
            faults.embedding_left_out("mlp", "torchao_weight_only"),
        ),
        explained={FAILS: _EMBEDDING},
    ),
    Claim(
        id="krishnamoorthi.speed",
        wording="On a CPU, int8 is at least twice as fast as floats.",
        source="krishnamoorthi2018",
        place="abstract",
        chapter="static",
        condition="ResNet-20, one image, one thread, against eager fp32",
        tolerance="holds if the interval of the ratio lies above 2, fails if below",
        rule=rules.speed(STATIC, INT8, "eager_fp32", least=2.0, **_ONE_THREAD),
        control=Control("times divided the wrong way round", faults.swapped(STATIC)),
        explained={FAILS: "int8 gains less here.", **_ACROSS},
    ),
)


def _lsq(bits: int, limit: float, words: str) -> Claim:
    width = f"w{bits}a{bits}"
    return Claim(
        id=f"esser.w{bits}",
        wording=words,
        source="esser2020",
        place="Table 1",
        chapter="lsq",
        condition=f"ResNet-20 on CIFAR-10, {bits} bits, three seeds",
        tolerance=f"holds if the mean drop's upper end is at most {limit} points",
        rule=rules.qat_drop("lsq", width, limit=limit),
        control=Control("networks at chance", faults.at_chance("lsq", width)),
        explained={
            FAILS: "A network this small, on images this small, has less to spare than "
            "those of the paper.",
            **_ACROSS,
        },
    )


ESSER = (
    _lsq(8, 0.2, "Learned steps in 8 bits reach the fp32 accuracy."),
    _lsq(4, 0.2, "Learned steps in 4 bits reach the fp32 accuracy."),
    _lsq(3, 1.5, "Learned steps in 3 bits come close to fp32."),
    _lsq(2, 3.5, "Learned steps in 2 bits lose a few points."),
    Claim(
        id="esser.distilled",
        wording="Learned steps with distillation reach the fp32 accuracy in 3 bits.",
        source="esser2020",
        place="section 3.7",
        chapter="lsq",
        condition="ResNet-20 on CIFAR-10, 3 bits, half of the loss from fp32, 3 seeds",
        tolerance="holds if the mean drop's upper end is at most 0.2 points",
        rule=rules.qat_drop("lsq", "w3a3", limit=0.2),
        control=Control("networks at chance", faults.at_chance("lsq", "w3a3")),
        explained={
            FAILS: "A network this small, on images this small, has less to spare than "
            "those of the paper.",
            **_ACROSS,
        },
    ),
    Claim(
        id="esser.error",
        wording="The step that is learned is not the one that errs least.",
        source="esser2020",
        place="section 3.6",
        chapter="lsq",
        condition="ResNet-20, first seed, its tensors of 2 bits, each measure of error",
        tolerance="holds if the mean distance of the two, in percent of the step, lies "
        "above 1 with its t interval over tensors, the spacing of the paper's grid",
        rule=rules.step_errs_more(2, least=1.0),
        control=Control(
            "the learned step held against itself",
            supposed("lsq_error.csv", {"share": 1.0, "away_pct": 0.0}),
            supposed("lsq_error.csv", {"share": 1.5, "away_pct": 50.0}),
        ),
        explained={FAILS: "By one of the measures it is.", **_ACROSS},
    ),
    Claim(
        id="esser.gradient",
        wording="Without the scale of the step's gradient, 2 bits train worse.",
        source="esser2020",
        place="Table 3",
        chapter="lsq",
        condition="ResNet-8, 2 bits, the same recipe without the factor, by seed",
        tolerance=_GAIN_RULE,
        rule=rules.ablation("gradient none"),
        control=Control(
            "the unchanged runs under the name of the changed",
            faults.same_condition("base", "gradient none"),
        ),
        explained={FAILS: "It trains as well or better without.", **_ACROSS},
    ),
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
        explained={FAILS: "int8 gains less here.", **_ACROSS},
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
        explained={FAILS: "int8 gains less here.", **_ACROSS},
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
        explained={FAILS: "It loses more here.", **_ACROSS},
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
        explained={FAILS: "It loses more here.", **_ACROSS},
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
        explained={FAILS: "The perplexity rises by more.", **_ACROSS},
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
        explained={FAILS: "int8 gains less here.", **_ACROSS},
    ),
)
