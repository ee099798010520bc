"""The runs of the LSQ chapter: core, sizes, ablation, trials of the recipe, cost.

`method` is "lsq" (steps learned), "fp32" (the network it started from), "static_int8"
(calibrated alone, in the same simulated form, at any bits) or "qat".
"""

from __future__ import annotations

from functools import partial
from typing import Any

from qstudy.experiments import baselines
from qstudy.experiments.evaluation import child_spec
from qstudy.experiments.lsq.recipe import (
    ABLATION,
    ABLATION_EPOCHS,
    ABLATION_SEEDS,
    CHOSEN,
    FEW,
    FINE_TUNING,
    FORMS,
    PAPER,
    PUBLISHED,
    PUBLISHED_ABLATION,
    PUBLISHED_SIZES,
    RATIOS,
    SEEDS,
    SHARES,
    START,
    TRACED,
    TRIALS,
    TRIED,
    WIDTHS,
)
from qstudy.experiments.qat.grid import ptq_spec, qat_spec
from qstudy.spec import RunSpec

NAME = "lsq"
VERSION = 1
PARAMETERS: dict[str, Any] = {}
# "method:precision", then any of ":compiled" and ":kept" (training.memory). none: the
# same network unquantized. native: torch's own learnable fake quantizer.
CANDIDATES = (
    "none:fp32:kept",
    "none:fp32:compiled:kept",
    "none:bf16:kept",
    "none:bf16:compiled:kept",
    "lsq:fp32:compiled:kept",
    "lsq:bf16:kept",
    "native:bf16:kept",
    "lsq:bf16:compiled:kept",
)
# Of which networks the QAT chapter trains which widths.
TUNED = {"resnet20": ("w8a8", "w4a4")}
# What a step of LSQ is, as the study trains, and the same without rounding.
STUDY, UNQUANTIZED = CANDIDATES[-1], "none:bf16:compiled:kept"


_spec = partial(child_spec, name=NAME, version=VERSION)


def lsq_spec(
    parent: RunSpec,
    width: str,
    *,
    condition: str = "",
    seed: int | None = None,
    simulate: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    start: dict[str, Any] | None = None,
    task: str = "train",
    **params: Any,
) -> RunSpec:
    """Train `parent`'s network with learned steps, as published where nothing is said.

    Another `seed` than the parent's is for repetitions from one network; `condition`
    names what a comparison has changed.
    """
    return _spec(
        parent,
        task,
        seed=seed,
        method="lsq",
        width=width,
        **({"condition": condition} if condition else {}),
        simulate={**PAPER, **WIDTHS[width], **(simulate or {})},
        start={**START, **(start or {})},
        recipe={**FINE_TUNING, **(recipe or {})},
        **params,
    )


def chosen_spec(parent: RunSpec, width: str, **params: Any) -> RunSpec:
    """The chosen recipe of `width`, from `parent`."""
    return lsq_spec(parent, width, **CHOSEN[width], **params)


def evaluate_spec(
    parent: RunSpec,
    method: str,
    *,
    width: str = "",
    first: int | None = None,
) -> RunSpec:
    """Score and weigh `parent`'s network: as it is, or calibrated to `width`.

    With `first` only so many test images are scored.
    """
    if method != "static_int8":
        told: dict[str, Any] = {} if first is None else {"first": first}
        if "width" in parent.params:
            told["width"] = parent.params["width"]
        return _spec(parent, "evaluate", method=method, **told)
    alike = ptq_spec(parent, "w4a4").params
    return _spec(
        parent,
        "evaluate",
        method=method,
        width=width,
        simulate=alike["simulate"] | WIDTHS[width],
        calibration=alike["calibration"],
    )


def cost_spec(model: str, *, threads: int, **quicker: Any) -> RunSpec:
    """Time a training step of `model` at 2 bits and without rounding, batch 128."""
    params = {
        "task": "cost",
        "model": model,
        "width": "w2a2",
        "candidates": list(CANDIDATES),
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


def memory_spec(model: str, **quicker: Any) -> RunSpec:
    """The memory of the same candidates, a few steps each."""
    params = {
        "task": "memory",
        "model": model,
        "width": "w2a2",
        "candidates": list(CANDIDATES),
        "batch": FINE_TUNING["batch"],
        "threads": 2,
        "steps": 5,
        **quicker,
    }
    return RunSpec(experiment=NAME, version=VERSION, params=params)


def core() -> list[RunSpec]:
    """Each seed of ResNet-20 at each width, the steps held against other steps."""
    return [
        chosen_spec(baselines.published("resnet20", seed=seed), width, shares=SHARES)
        for width in WIDTHS
        for seed in SEEDS
    ]


def sizes() -> list[RunSpec]:
    """The smaller networks at each width, one seed: accuracy against size."""
    return [
        chosen_spec(baselines.published(model, seed=0), width)
        for model in ("resnet8", "resnet14")
        for width in WIDTHS
    ]


def trained() -> list[RunSpec]:
    """What of the core and of the sizes is trained by now, as the recipe declares."""
    return [
        *(s for s in core() if s.seed in PUBLISHED.get(s.params["width"], ())),
        *(
            s
            for s in sizes()
            if s.params["width"] in PUBLISHED_SIZES.get(s.params["model"], ())
        ),
    ]


def checkpoints() -> list[RunSpec]:
    """Every trained network, read back from its packed file and scored again."""
    return [evaluate_spec(spec, "lsq") for spec in trained()]


def rerun() -> list[RunSpec]:
    """Each packed file, scored again on the first test images."""
    return [evaluate_spec(spec, "lsq", first=FEW) for spec in trained()]


def quick() -> list[RunSpec]:
    """What a quick run computes again: the files, and an epoch of training."""
    return [*rerun(), ratios()[0]]


def references() -> list[RunSpec]:
    """What the trained ones are compared with: fp32, calibrated, and trained by QAT.

    fp32 for each seed of a network that is trained, the others for its first seed.
    """
    parents = dict.fromkeys(RunSpec.from_dict(s.params["parent"]) for s in trained())
    first = [parent for parent in parents if parent.seed == 0]
    tuned = [(p, width) for p in first for width in TUNED.get(p.params["model"], ())]
    return [
        *(evaluate_spec(parent, "fp32") for parent in parents),
        *(
            evaluate_spec(parent, "static_int8", width=width)
            for parent in first
            for width in WIDTHS
        ),
        *(evaluate_spec(qat_spec(parent, width), "qat") for parent, width in tuned),
    ]


def side() -> list[RunSpec]:
    """ResNet-8 from dev, one thing changed at a time."""
    dev = baselines.dev("resnet8")
    short = {"epochs": ABLATION_EPOCHS}
    return [
        lsq_spec(
            dev,
            "w2a2",
            condition=name,
            seed=seed,
            simulate=changed.get("simulate"),
            recipe={**short, **changed.get("recipe", {})},
        )
        for name, changed in ABLATION.items()
        for seed in ABLATION_SEEDS
    ]


def ratios() -> list[RunSpec]:
    """ResNet-8 from dev, one epoch: R by what scales the gradient of a step."""
    return [ratio_spec(baselines.dev("resnet8"), how) for how in RATIOS]


def integers_spec(
    parent: RunSpec, *, forms: tuple[str, ...], images: int = TRACED
) -> RunSpec:
    """Compare the network of a `lsq_spec` with its integer `forms`, code by code."""
    return _spec(
        parent,
        "integers",
        method="lsq",
        width=parent.params["width"],
        forms=list(forms),
        images=images,
    )


def integers() -> list[RunSpec]:
    """ResNet-20 of the first seed, at each width that is trained by now."""
    return [
        integers_spec(spec, forms=FORMS[spec.params["width"]])
        for spec in trained()
        if spec.params["model"] == "resnet20" and spec.seed == SEEDS[0]
    ]


def ratio_spec(
    parent: RunSpec, gradient: str, *, recipe: dict[str, Any] | None = None
) -> RunSpec:
    """How far an update moves each step, and its weights, in the first epoch."""
    return lsq_spec(
        parent,
        "w2a2",
        task="ratio",
        simulate={"gradient": gradient},
        recipe={"epochs": 1, **(recipe or {})},
    )


def recipe_trials() -> list[RunSpec]:
    """ResNet-20 from dev at 2 bits: what each ingredient brings to the plain recipe."""
    dev = baselines.dev("resnet20")
    return [
        lsq_spec(dev, TRIED, condition=name, **changed)
        for name, changed in TRIALS.items()
    ]


def costs() -> list[RunSpec]:
    """A training step of ResNet-20 on two threads, and its memory."""
    return [cost_spec("resnet20", threads=2), memory_spec("resnet20")]


def grid(mode: str) -> list[RunSpec]:
    """full: what is trained by now and all that follows from it. quick: see `quick`.

    The rest of `side`, and `recipe_trials`, join when they have been run.
    """
    from qstudy.experiments.lsq import grid_smoke  # which builds on this module

    if mode == "smoke":
        return grid_smoke.smoke()
    if mode == "quick":
        return quick()
    made = [*trained(), *checkpoints(), *references(), *integers(), *rerun()]
    varied = [s for s in side() if s.params["condition"] in PUBLISHED_ABLATION]
    return [*made, *varied, *ratios(), *costs()]
