"""The runs of the QAT chapter: trials of the recipe, then each published seed.

`method` is "qat" (trained with rounding), "finetune" (the same fine-tuning without
it, the control), "static_int8" (calibrated alone, in the same simulated form), "fp32"
(the network as it was), or "torch_eager" and "torch_pt2e" (PyTorch's own training).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.evaluation import child_spec
from qstudy.experiments.qat.recipe import (
    CALIBRATION,
    CALIBRATORS,
    CHOSEN,
    COSTS,
    FEW,
    FINE_TUNING,
    FORMS,
    SCHEDULE,
    SIMULATION,
    SOME,
    TRACED,
    WIDTHS,
)
from qstudy.spec import RunSpec

NAME = "qat"
VERSION = 1
PARAMETERS: dict[str, Any] = {}

_SIMULATED = {
    **{"averaging_constant": 0.01, "first_last_bits": 8, "skip_bits": 8},
    **SIMULATION,
}
# What an ablation changes one thing of.
SIMULATED_W4A4 = {**_SIMULATED, **WIDTHS["w4a4"]}


_spec = partial(child_spec, name=NAME, version=VERSION)


def qat_spec(
    parent: RunSpec,
    width: str,
    *,
    seed: int | None = None,
    simulate: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    calibration: dict[str, Any] | None = None,
) -> RunSpec:
    """Train `parent`'s network with rounding; changed fields override the recipe's.

    Another `seed` than the parent's is for repetitions from one network.
    """
    return _spec(
        parent,
        "train",
        seed=seed,
        method="qat",
        width=width,
        simulate={**_SIMULATED, **WIDTHS[width], **(simulate or {})},
        calibration={**CALIBRATION, **(calibration or {})},
        schedule=SCHEDULE,
        recipe={**FINE_TUNING, **CHOSEN[width], **(recipe or {})},
    )


def finetune_spec(
    parent: RunSpec,
    width: str,
    *,
    seed: int | None = None,
    recipe: dict[str, Any] | None = None,
) -> RunSpec:
    """The control: the fine-tuning of `width`, without rounding."""
    return _spec(
        parent,
        "train",
        seed=seed,
        method="finetune",
        recipe={**FINE_TUNING, **CHOSEN[width], **(recipe or {})},
    )


def ptq_spec(
    parent: RunSpec,
    width: str,
    *,
    simulate: dict[str, Any] | None = None,
    observer: str = CALIBRATION["observer"],
    images: int = CALIBRATION["images"],
    first: int | None = None,
) -> RunSpec:
    """Calibrate `parent`'s network, trained or fine-tuned, and train nothing.

    `simulate` overrides the fields that it has; with `first` only so many images are
    scored.
    """
    return _spec(
        parent,
        "ptq",
        method="static_int8",
        width=width,
        simulate={**_SIMULATED, **WIDTHS[width], **(simulate or {})},
        calibration={"images": images, "observer": observer},
        **({} if first is None else {"first": first}),
    )


def fp32_spec(parent: RunSpec) -> RunSpec:
    """Score `parent`'s network as it is: what every drop is paired with."""
    return _spec(parent, "fp32", method="fp32")


def gap_spec(
    trained: RunSpec,
    *,
    forms: tuple[str, ...] | None = None,
    first: int | None = None,
    traced: int = TRACED,
    threads: int = 1,
) -> RunSpec:
    """Compare the network of a QAT run, as trained, with its integer `forms`.

    Predictions on all test images, or the `first` ones; codes on those `traced`.
    """
    width = trained.params["width"]
    return _spec(
        trained,
        "gap",
        method="qat",
        width=width,
        simulate=trained.params["simulate"],
        forms=list(FORMS[width] if forms is None else forms),
        traced=traced,
        **{"threads": threads, **({} if first is None else {"first": first})},
    )


def cost_spec(model: str, *, threads: int = 2, **quicker: Any) -> RunSpec:
    """Time a training step of `model`, batch 128, each candidate in its own process."""
    params = {
        "task": "cost",
        "model": model,
        "candidates": list(COSTS),
        "batch": FINE_TUNING["batch"],
        "threads": threads,
        "processes": 5,
        "rounds": 30,
        "seconds": 8.0,
        "warmup_seconds": 1.0,
        **quicker,
    }
    # What a process does with its memory depends on all that runs in it.
    params["alone"] = params["candidates"]
    return RunSpec(experiment=NAME, version=VERSION, params=params)


def trials() -> list[RunSpec]:
    """ResNet-20 from dev, scored on the images held out: what chooses a calibrator."""
    dev = baselines.dev("resnet20")
    return [ptq_spec(dev, w, observer=o) for w in WIDTHS for o in CALIBRATORS]


def originals() -> list[RunSpec]:
    """The networks that the others start from, scored on the same images."""
    starts = [*_published(), baselines.dev("resnet20"), baselines.dev("resnet8")]
    return [fp32_spec(parent) for parent in starts]


def _published() -> list[RunSpec]:
    return [baselines.published("resnet20", seed=s) for s in baselines.SEEDS]


def core() -> list[RunSpec]:
    """Each seed of ResNet-20, by width: trained with rounding, without, calibrated."""
    return [
        spec
        for width in WIDTHS
        for parent in _published()
        for spec in (
            qat_spec(parent, width),
            finetune_spec(parent, width),
            ptq_spec(parent, width),
            ptq_spec(finetune_spec(parent, width), width),
        )
    ]


def gaps() -> list[RunSpec]:
    """Every core QAT network against its integer forms.

    At 8 bits on all test images; at 4, in this study's own integers, which are slower,
    on the first of them.
    """
    return [
        gap_spec(qat_spec(p, width), first={"w8a8": None, "w4a4": SOME}[width])
        for width in WIDTHS
        for p in _published()
    ]


def rerun() -> list[RunSpec]:
    """What a quick run computes again without training, on the first test images.

    Every core QAT network from its checkpoint, at 8 bits in the kernels of the first
    engine too, and one network calibrated.
    """
    first, *_ = _published()
    forms = {"w8a8": FORMS["w8a8"][:1], "w4a4": ()}
    checked = [
        gap_spec(
            qat_spec(p, width),
            forms=forms[width],
            first=FEW,
            traced=TRACED // 4 if forms[width] and p == first else 0,
            threads=2,
        )
        for width in WIDTHS
        for p in _published()
    ]
    return [*checked, ptq_spec(first, "w4a4", first=FEW)]


def costs() -> list[RunSpec]:
    """A step of ResNet-20 on two threads."""
    return [cost_spec("resnet20")]


def grid(mode: str) -> list[RunSpec]:
    """full: all of the above. quick: checkpoints, one short training."""
    # They build on this module.
    from qstudy.experiments.qat import grid_graphs, grid_side, grid_smoke

    if mode == "smoke":
        return [*grid_smoke.smoke(), *grid_graphs.smoke()]
    quick = [*rerun(), grid_side.live()]
    if mode == "quick":
        return quick
    full = [*trials(), *originals(), *core(), *gaps(), *costs()]
    varied = [*grid_side.ablation(), *grid_side.references()]
    return list(dict.fromkeys([*full, *varied, *grid_graphs.graphs(), *quick]))
