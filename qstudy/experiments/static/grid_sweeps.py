"""The runs that vary one choice at a time: each is a whole sweep over one network.

A sweep lists its conditions in the spec, fp32 first among what it scores, and keeps for
each which images were right, so that every drop is paired. What is chosen by its score
is scored on held-out images of the dev network, the rest on the test set.
"""

from __future__ import annotations

from typing import Any

from qstudy.experiments import baselines
from qstudy.spec import RunSpec

NAME, VERSION = "static", 1
ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
PERCENTILES = (99.9, 99.99, 99.999, 99.9999)
CALIBRATORS: tuple[dict[str, Any], ...] = (
    {"calibrator": "minmax"},
    {"calibrator": "moving_average"},
    *({"calibrator": "percentile", "percentile": p} for p in PERCENTILES),
    {"calibrator": "entropy"},
    {"calibrator": "entropy_nonzero"},
    {"calibrator": "mse"},
)
# The activations whose histograms are shown: the first, one inside, the last sum.
SHOWN = ("conv1.output", "stage2.1.conv1.output", "stage3.2.add.output")
# Those that the symmetric scheme is tried with, and those of the variance map.
FEW = (CALIBRATORS[0], CALIBRATORS[3], *CALIBRATORS[-2:])
DRAWN = (*CALIBRATORS[:2], CALIBRATORS[3], *CALIBRATORS[-2:])
IMAGES = (8, 32, 128, 512, 2048)
DRAWS = range(10)
CURES = ("nearest", "bias", "equalized", "equalized_bias", "adaround", "adaround_bias")
# All that conditions are told apart by.
WORDS = (
    *("scheme", "granularity", "bn", "calibrator", "percentile", "weight_bits"),
    *("activation_bits", "images", "engine", "how", "cure"),
)
# How the layers are ordered by what they cost; see tables_sweeps.
RANKINGS = ("leave_one_out", "one_in", "noise")
# In which layers go back to fp32, as the task scores them.
ORDERS = ("leave_one_out", "noise", "greedy")
# Of the models' networks, those whose checkpoints are published: another network joins
# the size curve by its name.
MODELS = {"resnet8": (0, 1, 2), "resnet14": (0,), "resnet20": (0, 1, 2)}
SWEEPS = (
    "weights",
    "activations",
    "clips",
    "variance",
    "sensitivity",
    "partial",
    "models",
    "engines",
    "depth",
    "cures",
)

# Tasks whose runs have modules of their own: grid_transfer, grid_kept, grid_work.
APART = ("transfer", "equalized", "kept", "kept_latency", "work")


def label(condition: dict[str, Any]) -> str:
    """The name of a condition in a record: its values, in the order of WORDS.

    Not in the order of the dictionary, which a record on disk does not keep.
    """
    return "-".join(str(condition[word]) for word in WORDS if word in condition)


def sweep_spec(
    task: str,
    parent: RunSpec,
    *,
    seed: int = 0,
    conditions: list[dict[str, Any]] | None = None,
    **params: Any,
) -> RunSpec:
    """A sweep of `parent`'s network, scored on images that did not train it."""
    about = parent.params
    return RunSpec(
        experiment=NAME,
        version=VERSION,
        seed=seed,
        params={
            "task": task,
            "model": about["model"],
            "dataset": about["dataset"],
            "scored_on": about.get("scored_on", "test"),
            "parent": parent.as_dict(),
            "threads": 1,
            "calibration_images": 512,
            **({} if conditions is None else {"conditions": conditions}),
            **params,
        },
    )


def weights(parent: RunSpec, *, bits: tuple[int, ...] = (8, 7, 6, 5, 4, 3, 2)) -> Any:
    """Weights alone rounded: one scale or many, before or after the folding."""
    return sweep_spec(
        "weights",
        parent,
        conditions=[
            {"granularity": granularity, "bn": bn, "weight_bits": b}
            for granularity in ("per_tensor", "per_channel")
            for bn in ("folded", "kept")
            for b in bits
        ],
    )


def activations(parent: RunSpec, *, bits: tuple[int, ...] = (8, 6, 4)) -> RunSpec:
    """Activations by every calibrator, weights at 8 bits; then the symmetric scheme."""
    return sweep_spec(
        "activations",
        parent,
        conditions=[
            {"scheme": scheme, **calibrator, "activation_bits": b}
            for scheme, calibrators in (("affine", CALIBRATORS), ("scale", FEW))
            for calibrator in calibrators
            for b in bits
        ],
    )


def clips(parent: RunSpec, *, layers: tuple[str, ...] = SHOWN) -> RunSpec:
    """Where each calibrator clips a few activations for 4 bits."""
    return sweep_spec(
        "clips",
        parent,
        conditions=[dict(calibrator) for calibrator in CALIBRATORS],
        layers=list(layers),
        bins=128,
        bits=4,
    )


def variance(
    parent: RunSpec,
    draw: int,
    *,
    images: tuple[int, ...] = IMAGES,
    scored_images: int = 2000,
) -> RunSpec:
    """One draw, ever more of it: what each calibrator makes of 8 to 2048 images."""
    return sweep_spec(
        "variance",
        parent,
        seed=draw,
        conditions=[
            {**calibrator, "images": count} for calibrator in DRAWN for count in images
        ],
        calibration_images=max(images),
        scored_images=scored_images,
        activation_bits=4,
    )


def sensitivity(parent: RunSpec, draw: int, *, scored_images: int = 1000) -> RunSpec:
    """W4A4 throughout: each layer left out of it, and each alone in it."""
    return sweep_spec(
        "sensitivity",
        parent,
        seed=draw,
        scored_images=scored_images,
        noise_images=256,
        bits=4,
    )


def partial(
    parent: RunSpec, *, scored_images: int = 1000, layers: int = 6, greedy: int = 4
) -> RunSpec:
    """Layers back to fp32, in the order of two rankings and greedily."""
    return sweep_spec(
        "partial",
        parent,
        scored_images=scored_images,
        noise_images=256,
        bits=4,
        layers=layers,
        greedy=greedy,
    )


def models(parent: RunSpec) -> RunSpec:
    """One network at 8, 6 and 4 bits, weights and activations."""
    return sweep_spec(
        "models",
        parent,
        conditions=[
            {"weight_bits": b, "activation_bits": b, "calibrator": "mse"}
            for b in (8, 6, 4)
        ],
    )


def engines(parent: RunSpec, *, names: tuple[str, ...] | None = None) -> RunSpec:
    """One simulated network in every engine, then what each does by default."""
    chosen = ENGINES if names is None else names
    same = [{"engine": e, "how": "same"} for e in chosen]
    own = [{"engine": e, "how": "default"} for e in (*chosen, "onnxruntime")]
    matched = [{"engine": "onnxruntime", "how": "matched"}]
    return sweep_spec("engines", parent, conditions=[*same, *matched, *own])


def depth(parent: RunSpec, *, engine: str = "x86", images: int = 256) -> RunSpec:
    """The error kernel by kernel, fake-quantized and converted."""
    return sweep_spec("depth", parent, engine=engine, noise_images=images)


def cures(parent: RunSpec, *, images: int = 256, steps: int = 1000) -> RunSpec:
    """Weights at 4 bits, as they are and cured."""
    return sweep_spec(
        "cures",
        parent,
        conditions=[
            {"granularity": granularity, "cure": cure}
            for granularity in ("per_tensor", "per_channel")
            for cure in CURES
        ],
        weight_bits=4,
        calibration_images=images,
        steps=steps,
    )


def second() -> list[RunSpec]:
    """Every sweep of the chapter, in the order of its sections."""
    headline = baselines.published("resnet20")
    large, small = baselines.dev("resnet20"), baselines.dev("resnet8")
    return [
        weights(headline),
        activations(large),
        clips(large),
        *(variance(small, draw) for draw in DRAWS),
        *(sensitivity(large, draw) for draw in range(3)),
        partial(large),
        *(
            models(baselines.published(model, seed=seed))
            for model, seeds in MODELS.items()
            for seed in seeds
        ),
        engines(headline),
        depth(headline),
        cures(headline),
    ]


def quick() -> list[RunSpec]:
    """Of these, what takes seconds: clips, the error by depth, the smallest network."""
    return [
        clips(baselines.dev("resnet20")),
        depth(baselines.published("resnet20")),
        models(baselines.published("resnet8")),
    ]


def smoke() -> list[RunSpec]:
    """Every sweep on generated images, as small as it can be."""
    parent = baselines.smoke()
    made = [
        weights(parent, bits=(4,)),
        activations(parent, bits=(4,)),
        clips(parent, layers=("conv1.output", "stage3.0.add.output")),
        variance(parent, 0, images=(8, 32), scored_images=50),
        sensitivity(parent, 0, scored_images=50),
        partial(parent, scored_images=50, layers=1, greedy=1),
        models(parent),
        engines(parent, names=("x86",)),
        depth(parent, images=32),
        cures(parent, images=32, steps=20),
    ]
    few = {"calibration_images": 32}
    return [
        RunSpec(
            experiment=NAME,
            version=VERSION,
            seed=spec.seed,
            params={**spec.params, **few, **_fewer(spec.params)},
        )
        for spec in made
    ]


def _fewer(params: dict[str, Any]) -> dict[str, Any]:
    if "noise_images" in params:
        return {"noise_images": 32}
    return {}
