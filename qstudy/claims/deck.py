"""The deck's three results: size, speed, accuracy.

A tolerance is a rule of the house or a figure of the source; the page tells which
claims were worded when a result was already known.
"""

from __future__ import annotations

from qstudy.claims import faults, rules
from qstudy.claims.faults import ratio_of, supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import (
    BF16,
    DROP_RULE,
    INT8,
    NAMES,
    SPEED_RULE,
    STATIC,
    deck,
)
from qstudy.measure.statistics import FAILS, UNDECIDED

_SLOWER = (
    "What int8 gains over fp32 as users write it is partly what a fused, compiled "
    "network gains without int8. Against that network, int8 has only its kernels, and "
    "a network of this size at a small batch spends much of its time outside them."
)


def _speed_claim(baseline: str, batch: int, fault: Control) -> Claim:
    setting = {"model": "resnet20", "batch": batch, "threads": 2}
    images = "one image" if batch == 1 else f"{batch} images"
    end = "" if batch == 1 else f"_b{batch}"
    why = BF16 if baseline == "best_bf16" else _SLOWER
    return deck(
        "Result of Quantization",
        id=f"deck.speed.{baseline}{end}",
        wording=f"int8 runs 2 to 4 times as fast as {NAMES[baseline]}, {images} at a "
        "time.",
        chapter="static",
        condition=f"ResNet-20, static int8 of the x86 engine, {images}, two threads",
        tolerance=SPEED_RULE,
        rule=rules.speed(STATIC, INT8, baseline, **setting),
        control=Control(
            fault.fault,
            fault.plant,
            supposed(
                STATIC, ratio_of(3.0), candidate=INT8, baseline=baseline, **setting
            ),
        ),
        explained={FAILS: why, UNDECIDED: why},
    )


def _best(baseline: str) -> Control:
    return Control(
        f"the eager {baseline.removeprefix('best_')} passed off as the fastest",
        faults.eager_as_best(STATIC, baseline),
    )


_COLD = Control("a timing without warm-up", faults.without_warmup(STATIC))
_ALONE = Control("a timing of a single process", faults.one_process(STATIC))


RESULTS = (
    deck(
        "Result of Quantization",
        id="deck.size",
        wording="An int8 network needs a quarter of the space.",
        chapter="static",
        condition="ResNet-20 as a safetensors file with codes, scales, zero points and "
        "biases",
        tolerance="holds if fp32 size over int8 size is at least 3.5",
        rule=rules.static_size(),
        control=Control(
            "an fp32 file passed off as int8",
            faults.fp32_file_as_int8,
            supposed("static.csv", {"size_mib": 0.25}, method="static_int8"),
        ),
        explained={FAILS: "What stays in floats weighs too much in a small network."},
    ),
    _speed_claim("eager_fp32", 1, _COLD),
    _speed_claim("eager_fp32", 64, _ALONE),
    _speed_claim("best_fp32", 1, _best("best_fp32")),
    _speed_claim("best_fp32", 64, _best("best_fp32")),
    _speed_claim("best_bf16", 1, _best("best_bf16")),
    _speed_claim("best_bf16", 64, _best("best_bf16")),
    deck(
        "Result of Quantization",
        id="deck.accuracy",
        wording="int8 loses almost no accuracy.",
        chapter="static",
        condition="ResNet-20 on CIFAR-10, static int8, first seed, 512 calibration "
        "images",
        tolerance=DROP_RULE,
        rule=rules.static_drop(),
        control=Control("shuffled labels", faults.shuffled_labels),
        explained={
            FAILS: "The drop of this setting is larger than the promise allows.",
            UNDECIDED: "The interval of the drop reaches across the limit.",
        },
    ),
)
