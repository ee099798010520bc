"""Claims on calibration, granularity and cures, judged on the static sweeps.

Wording, rule and tolerance were written before any of these sweeps had been run on
CIFAR-10, save that one trial of the entropy calibrator with zeros counted was known.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import rules
from qstudy.claims.faults import after
from qstudy.claims.faults.sweeps import become, other_images, spoiled_setting
from qstudy.claims.ledger import Change, Claim, Control
from qstudy.claims.rules.sweeps import Setting
from qstudy.claims.wording import ACROSS, GAIN_RULE
from qstudy.measure.statistics import FAILS, UNDECIDED

_ONE_PERCENT = "holds if the upper end of the relative drop is at most 1 %"
_NETWORK = "resnet20"
_CLOSE = {UNDECIDED: "Five thousand images do not resolve the difference at 8 bits."}


def activation(calibrator: str, *, scheme: str = "affine", **more: Any) -> dict:
    """The condition of the activations' sweep at 8 bits."""
    condition = {"scheme": scheme, "calibrator": calibrator, **more}
    return condition | {"activation_bits": 8}


def spoiled(task: str, *settings: Setting, model: str = _NETWORK) -> Control:
    """Of a claim that little is lost: a tenth is; supposed: nothing is."""
    changes: list[Change] = [spoiled_setting(task, model, s, 0.1) for s in settings]
    nothing = become(task, model, settings[0], "fp32")
    return Control("a tenth of the answers spoiled", after(*changes), nothing)


def same(
    task: str, first: Setting, second: Setting, *, model: str = _NETWORK
) -> Control:
    """Of a claim that one setting gains: they are one; supposed: it gains a tenth."""
    gains = after(
        become(task, model, first, "fp32"),
        become(task, model, second, "fp32"),
        spoiled_setting(task, model, second, 0.1),
    )
    fault = become(task, model, first, second)
    return Control("one setting's answers under both names", fault, gains)


_PER_CHANNEL = {"granularity": "per_channel", "bn": "folded", "weight_bits": 8}
_MAX, _ENTROPY = activation("minmax"), activation("entropy_nonzero")
_PERCENTILES = {
    p: activation("percentile", percentile=p) for p in (99.9, 99.99, 99.999)
}
_THEIRS = (_MAX, _ENTROPY, _PERCENTILES[99.99], _PERCENTILES[99.999])
_SCALE = activation("percentile", scheme="scale", percentile=99.99)


def cure(name: str) -> dict[str, str]:
    """The condition of the cures' sweep at one scale a tensor."""
    return {"granularity": "per_tensor", "cure": name}


WU_SWEEPS = (
    Claim(
        id="wu.weights",
        wording="With one scale a channel, weights alone in 8 bits lose nothing.",
        source="wu2020",
        place="on weight quantization",
        chapter="static",
        condition="ResNet-20, batch normalization folded, activations in fp32",
        tolerance="holds if the drop's upper end is at most 0.2 points",
        rule=rules.sweep_drop("weights", _NETWORK, _PER_CHANNEL, limit=0.2),
        control=spoiled("weights", _PER_CHANNEL),
        explained={FAILS: "Rounding the weights alone costs more.", **ACROSS},
    ),
    Claim(
        id="wu.calibrators",
        wording="One of four calibrators keeps int8 within 1 % of fp32: the largest "
        "value, entropy, the 99.99 or the 99.999 percentile.",
        source="wu2020",
        place="recommended workflow",
        chapter="static",
        condition="ResNet-20 of the dev stage, held-out images, W8A8, the best of four",
        tolerance=_ONE_PERCENT,
        rule=rules.sweep_drop(
            "activations", _NETWORK, *_THEIRS, limit=1.0, relative=True
        ),
        control=spoiled("activations", *_THEIRS),
        explained={FAILS: "None of the four does.", **ACROSS},
    ),
    Claim(
        id="wu.clips_too_much",
        wording="The 99.9 percentile clips too much of a CNN's activations.",
        source="wu2020",
        place="on calibration",
        chapter="static",
        condition="ResNet-20 of the dev stage, held-out images, W8A8, the 99.99 "
        "percentile against the 99.9",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain(
            "activations", _NETWORK, _PERCENTILES[99.99], _PERCENTILES[99.9]
        ),
        control=same("activations", _PERCENTILES[99.99], _PERCENTILES[99.9]),
        explained={FAILS: "Clipping more serves at least as well here.", **_CLOSE},
    ),
    Claim(
        id="wu.entropy",
        wording="For a CNN, ranges by entropy are better than the largest value.",
        source="wu2020",
        place="on calibration",
        chapter="static",
        condition="ResNet-20 of the dev stage, held-out images, W8A8, the search for "
        "the least divergence with the bin of zeros evened out",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain("activations", _NETWORK, _ENTROPY, _MAX),
        control=same("activations", _ENTROPY, _MAX),
        explained={FAILS: "The largest value serves better here.", **_CLOSE},
    ),
    Claim(
        id="wu.scale",
        wording="Activations need no zero point: int8 stays within 1 % without.",
        source="wu2020",
        place="recommended workflow",
        chapter="static",
        condition="ResNet-20 of the dev stage, held-out images, W8A8 with the zero "
        "point in the middle of the codes, the 99.99 percentile",
        tolerance=_ONE_PERCENT,
        rule=rules.sweep_drop(
            "activations", _NETWORK, _SCALE, limit=1.0, relative=True
        ),
        control=spoiled("activations", _SCALE),
        explained={
            FAILS: "After a ReLU half of the codes then have nothing to stand for.",
            **ACROSS,
        },
    ),
    Claim(
        id="wu.partial",
        wording="Leaving a few sensitive layers in floats wins accuracy back.",
        source="wu2020",
        place="on partial quantization",
        chapter="static",
        condition="ResNet-20 of the dev stage, W4A4, six layers by what leaving each "
        "out saves, scored on held-out images that did not rank them",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain("partial", _NETWORK, "leave_one_out-6", "0"),
        control=same("partial", "leave_one_out-6", "0"),
        explained={
            FAILS: "The six layers were chosen on other images, and do not help here.",
            **ACROSS,
        },
    ),
)

NAGEL = (
    Claim(
        id="nagel.equalize",
        wording="Equalized layers with corrected biases lose less than layers rounded "
        "as they are.",
        source="nagel2019",
        place="abstract",
        chapter="static",
        condition="ResNet-20, one 4-bit scale a tensor of weights (the paper: 8 bits, "
        "MobileNets), activations 8 bits",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain(
            "cures", _NETWORK, cure("equalized_bias"), cure("nearest")
        ),
        control=same("cures", cure("equalized_bias"), cure("nearest")),
        explained={FAILS: "They lose at least as much here.", **ACROSS},
    ),
    Claim(
        id="nagel.adaround",
        wording="Learned rounding loses less than rounding to nearest.",
        source="nagel2020",
        place="abstract",
        chapter="static",
        condition="ResNet-20, one 4-bit scale a tensor of weights, activations 8 bits",
        tolerance=GAIN_RULE,
        rule=rules.sweep_gain("cures", _NETWORK, cure("adaround"), cure("nearest")),
        control=same("cures", cure("adaround"), cure("nearest")),
        explained={FAILS: "It loses at least as much here.", **ACROSS},
    ),
    Claim(
        id="nagel.four_bits",
        wording="With learned rounding, weights of 4 bits stay within 1 % of fp32, "
        "without training.",
        source="nagel2020",
        place="abstract",
        chapter="static",
        condition="ResNet-20 (the paper: ResNet-18 and 50), one scale a tensor of "
        "weights, activations 8 bits",
        tolerance=_ONE_PERCENT,
        rule=rules.sweep_drop(
            "cures", _NETWORK, cure("adaround"), limit=1.0, relative=True
        ),
        control=spoiled("cures", cure("adaround")),
        explained={FAILS: "A network this small loses more.", **ACROSS},
    ),
)

_FEW = {"calibrator": "entropy_nonzero", "images": 512}
_MANY = {**_FEW, "images": 2048}
NVIDIA = (
    Claim(
        id="nvidia.images",
        wording="About 500 images are enough to calibrate.",
        source="tensorrtsample",
        place="README, calibration data",
        chapter="static",
        condition="ResNet-8 of the dev stage, W8A4, ranges by entropy, 512 images "
        "against 2,048, ten draws",
        tolerance="holds if four times the images save at most 0.2 points at the t "
        "interval's upper end",
        rule=rules.images_enough(
            "resnet8", "entropy_nonzero", few=512, many=2048, limit=0.2
        ),
        control=Control(
            "a tenth of the answers spoiled",
            spoiled_setting("variance", "resnet8", _FEW, 0.1),
            become("variance", "resnet8", _FEW, _MANY),
        ),
        explained={FAILS: "More images save more than that.", **ACROSS},
    ),
    Claim(
        id="nvidia.one_percent",
        wording="Ranges by entropy keep int8 within 1 % of fp32.",
        source="tensorrtsample",
        place="README, verifying the output",
        chapter="static",
        condition="ResNet-20 of the dev stage, held-out images, W8A8, the bin of zeros "
        "evened out",
        tolerance=_ONE_PERCENT,
        rule=rules.sweep_drop(
            "activations", _NETWORK, _ENTROPY, limit=1.0, relative=True
        ),
        control=Control(
            "scored on the images that calibrated it",
            other_images("activations", _NETWORK),
            become("activations", _NETWORK, _ENTROPY, "fp32"),
        ),
        explained={FAILS: "The search clips too much here.", **ACROSS},
    ),
)
