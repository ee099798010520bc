"""What is claimed of speed, put to networks of the size that those who claim it timed.

The other entries on speed are judged by ResNet-20, which is small. These are the same
claims by the same rules on ResNet-18 and MobileNetV2, images of 224 by 224 pixels, in
speed.csv. int8 is that of torch's default engine on x86, chosen beforehand and not for
its time; the fastest fp32 and bf16 are those of every engine in the table.
"""

from __future__ import annotations

from typing import Any

from qstudy.claims import faults, rules
from qstudy.claims.faults import ratio_of, supposed
from qstudy.claims.ledger import Claim, Control
from qstudy.claims.wording import INT8, NAMES, SPEED_RULE, deck
from qstudy.experiments.speed.recipe import CANDIDATES
from qstudy.measure.statistics import FAILS, SIZE_HOLDS, UNDECIDED

TABLE = "speed.csv"
TITLES = {"resnet18": "ResNet-18", "mobilenet_v2": "MobileNetV2"}

_AGAINST = {
    "eager_fp32": "Called operator by operator, int8 keeps the calls between operators "
    "that fp32 has; only its kernels are faster, and depthwise ones hardly.",
    "best_fp32": "The fastest fp32 is fused, compiled or run by another engine, and "
    "gains without int8 what int8, called operator by operator, does not have.",
    "best_bf16": "This processor multiplies bfloat16 in hardware, which halves the "
    "traffic as well; the comparison leaves little to int8.",
}
_ACROSS = "The interval reaches across the limit."
_LESS = {
    FAILS: "int8 of the default engine gains less here, or not at all.",
    UNDECIDED: _ACROSS,
}


def _setting(model: str, threads: int) -> dict[str, Any]:
    # Quick runs stand in the same table and timed fewer routes.
    return {
        "model": model,
        "batch": 1,
        "threads": threads,
        "routes": len(CANDIDATES),
    }


def _true(baseline: str, ratio: float, setting: dict[str, Any]) -> Any:
    return supposed(
        TABLE, ratio_of(ratio), candidate=INT8, baseline=baseline, **setting
    )


def _fault(baseline: str, model: str) -> tuple[str, Any]:
    if baseline.startswith("best_"):
        told = f"the eager {baseline.removeprefix('best_')} passed off as the fastest"
        return told, faults.eager_as_best(TABLE, baseline)
    if model == "resnet18":
        return "a timing without warm-up", faults.without_warmup(TABLE)
    return "a timing of a single process", faults.one_process(TABLE)


def _deck(model: str, baseline: str) -> Claim:
    setting = _setting(model, 2)
    return deck(
        "Result of Quantization",
        id=f"deck.speed.{model}.{baseline}",
        wording=f"int8 runs 2 to 4 times as fast as {NAMES[baseline]}, one image at a "
        "time.",
        chapter="speed",
        condition=f"{TITLES[model]}, weights from a seed, static int8 of the x86 "
        "engine, one image, two threads",
        tolerance=SPEED_RULE,
        rule=rules.speed(TABLE, INT8, baseline, **setting),
        control=Control(*_fault(baseline, model), _true(baseline, 3.0, setting)),
        explained={FAILS: _AGAINST[baseline], UNDECIDED: _ACROSS},
    )


def _more(
    least: float,
    model: str,
    *,
    id: str,
    wording: str,
    source: str,
    place: str,
    was: str,
) -> Claim:
    """More than `least` times as fast as eager fp32, one image, one thread."""
    setting = _setting(model, 1)
    return Claim(
        id=id,
        wording=wording,
        source=source,
        place=place,
        chapter="speed",
        condition=f"{TITLES[model]}{was}, weights from a seed, one image, one thread, "
        "against eager fp32",
        tolerance=f"holds if the interval of the ratio lies above {least:g}, fails if "
        "below",
        rule=rules.speed(TABLE, INT8, "eager_fp32", least=least, **setting),
        control=Control(
            "times divided the wrong way round",
            faults.swapped(TABLE),
            _true("eager_fp32", least + 1.0, setting),
        ),
        explained=_LESS,
    )


def _size(model: str) -> Claim:
    setting = _setting(model, 2)
    return deck(
        "Result of Quantization",
        id=f"deck.size.{model}",
        wording="An int8 network needs a quarter of the space.",
        chapter="speed",
        condition=f"{TITLES[model]}, static int8 of the x86 engine, each as a file",
        tolerance="holds if fp32 size over int8 size is at least 3.5",
        rule=rules.file_ratio(TABLE, INT8, least=SIZE_HOLDS, **setting),
        control=Control(
            "an fp32 file passed off as int8",
            supposed(TABLE, {"size_mib": 40.0}, model=model),
            supposed(TABLE, {"size_mib": 10.0}, model=model, candidate=INT8),
        ),
        explained={FAILS: "What stays in floats weighs too much."},
    )


LARGER = (
    *(_size(model) for model in TITLES),
    *(_deck(model, baseline) for model in TITLES for baseline in NAMES),
    _more(
        2.0,
        "resnet18",
        id="pytorch.resnet18",
        wording="Static int8 runs a ResNet twice as fast on one thread.",
        source="pytorchblog2020",
        place="table of latencies",
        was=" (the post: ResNet-50)",
    ),
    _more(
        5.7,
        "mobilenet_v2",
        id="pytorch.mobilenet_v2",
        wording="Static int8 runs MobileNetV2 5.7 times as fast.",
        source="pytorchblog2020",
        place="table of latencies",
        was=" on x86 (the post: on a phone, against an fp32 that was not optimized)",
    ),
    _more(
        2.0,
        "resnet18",
        id="krishnamoorthi.speed.resnet18",
        wording="On a CPU, int8 is at least twice as fast as floats.",
        source="krishnamoorthi2018",
        place="abstract",
        was="",
    ),
)
