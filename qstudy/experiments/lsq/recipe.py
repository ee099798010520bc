"""How the networks of the LSQ chapter are trained, and what is varied and compared.

The plain recipe is the paper's (Esser et al. 2020, arXiv 1902.08153, section 2.3) at
the length that a CPU allows: weights and steps at one rate, a cosine, weight decay
1e-4, no help. What is added to it for the core was chosen beforehand on ResNet-20's
`dev` network by the 5,000 images held out, in EXPLORED short runs of plain code on an
accelerator, of which nothing is published; the published networks come from a CPU.
"""

from __future__ import annotations

from typing import Any

from qstudy.experiments.baselines.recipe import PLAIN

# Bits of weights and activations, first and last layer 8 always.
WIDTHS: dict[str, dict[str, int]] = {
    f"w{bits}a{bits}": {"weight_bits": bits, "activation_bits": bits}
    for bits in (2, 3, 4, 8)
}
# Every field of LsqConfig but the widths, as published.
PAPER: dict[str, Any] = {
    "first_last_bits": 8,
    "skip_bits": 8,
    "placement": "inputs",
    "granularity": "per_tensor",
    "bn_strategy": "none",
    "start": "paper",
    "count": "features",
    "gradient": "full",
    "bounds": "paper",
    "positivity": "clamp",
    "offset": False,
}
# Training images that the steps of activations start from: one batch.
START: dict[str, int] = {"images": 128}
FINE_TUNING: dict[str, Any] = {
    **PLAIN,
    "epochs": 10,
    "peak_lr": 0.01,
    "step_lr": 0.01,
    "weight_decay": 1e-4,
    "warmup": 0.05,
    # The quantizers between the layers are fused by the compiler.
    "compiled": True,
}

# The ingredients, and what each changes in the simulation and in the recipe.
INGREDIENTS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "start mse": {"simulate": {"start": "mse"}},
    "distilled": {"recipe": {"distill": 0.5, "temperature": 4.0}},
    "muon": {"recipe": {"muon_lr": 0.002}},
    "averaged": {"recipe": {"ema_decay": 0.998, "bn_batches": 64}},
}


def mixed(*names: str) -> dict[str, dict[str, Any]]:
    """The changes of several ingredients at once; KeyError for an unknown one."""
    made: dict[str, dict[str, Any]] = {"simulate": {}, "recipe": {}}
    for name in names:
        for part, fields in INGREDIENTS[name].items():
            made[part] |= fields
    return made


ALL_TOGETHER = mixed(*INGREDIENTS)
# What each width is trained with, besides its bits. At 8 bits there is little to win
# back, so what trains little moves little; there the rounding is the engines', so that
# their kernels can run what was trained.
CHOSEN: dict[str, dict[str, dict[str, Any]]] = {
    "w2a2": {**ALL_TOGETHER, "recipe": {**ALL_TOGETHER["recipe"], "epochs": 30}},
    "w3a3": {**ALL_TOGETHER, "recipe": {**ALL_TOGETHER["recipe"], "epochs": 20}},
    "w4a4": {**ALL_TOGETHER, "recipe": {**ALL_TOGETHER["recipe"], "epochs": 12}},
    "w8a8": {
        "simulate": {"start": "min_max", "placement": "outputs"},
        "recipe": {"peak_lr": 0.005, "step_lr": 0.0005, "epochs": 3},
    },
}
# What each ingredient brings at 2 bits: ResNet-20 from dev, one seed, these epochs.
TRIED = "w2a2"
TRIALS: dict[str, dict[str, dict[str, Any]]] = {
    **{name: mixed(name) for name in INGREDIENTS},
    "steps over 10": {"recipe": {"step_lr": 0.001}},
    "all": ALL_TOGETHER,
}

# On ResNet-8, from its dev network, over these seeds of the training: one thing at a
# time is changed in the plain recipe at 2 bits.
ABLATION_SEEDS = (0, 1, 2)
ABLATION_EPOCHS = 6
W3A3, W4A4 = WIDTHS["w3a3"], WIDTHS["w4a4"]
ABLATION: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "gradient sqrt_n": {"simulate": {"gradient": "sqrt_n"}},
    "gradient none": {"simulate": {"gradient": "none"}},
    "gradient times_10": {"simulate": {"gradient": "times_10"}},
    "gradient over_10": {"simulate": {"gradient": "over_10"}},
    "count batch": {"simulate": {"count": "batch"}},
    "bounds torch": {"simulate": {"bounds": "torch"}},
    "start min_max": {"simulate": {"start": "min_max"}},
    "start mse": {"simulate": {"start": "mse"}},
    "per_channel": {"simulate": {"granularity": "per_channel"}},
    "offset": {"simulate": {"offset": True}},
    "first and last 2 bits": {"simulate": {"first_last_bits": 2}},
    "skip 8 bits": {"simulate": {"placement": "outputs"}},
    "positivity abs": {"simulate": {"positivity": "abs"}},
    "positivity softplus": {"simulate": {"positivity": "softplus"}},
    "decay 0": {"recipe": {"weight_decay": 0.0}},
    "decay 2.5e-5": {"recipe": {"weight_decay": 2.5e-5}},
    "decay 4e-4": {"recipe": {"weight_decay": 4e-4}},
    "3 bits": {"simulate": W3A3},
    "3 bits, decay 2.5e-5": {"simulate": W3A3, "recipe": {"weight_decay": 2.5e-5}},
    "4 bits": {"simulate": W4A4},
    "4 bits, decay 2.5e-5": {"simulate": W4A4, "recipe": {"weight_decay": 2.5e-5}},
    "schedule step": {"recipe": {"schedule": "step"}},
    "distilled": mixed("distilled"),
    "distilled alone": {"recipe": {"distill": 1.0, "temperature": 4.0}},
    "muon": mixed("muon"),
}
# The factor that each of these conditions varies; Holm's correction is within one.
FACTORS: dict[str, tuple[str, ...]] = {
    "gradient": (
        "gradient sqrt_n",
        "gradient none",
        "gradient times_10",
        "gradient over_10",
    ),
    "count": ("count batch",),
    "bounds": ("bounds torch",),
    "start": ("start min_max", "start mse"),
    "granularity": ("per_channel",),
    "offset": ("offset",),
    "placement": ("first and last 2 bits", "skip 8 bits"),
    "positivity": ("positivity abs", "positivity softplus"),
    "weight decay": ("decay 0", "decay 2.5e-5", "decay 4e-4"),
    "bits": ("3 bits", "4 bits"),
    "weight decay at more bits": ("3 bits, decay 2.5e-5", "4 bits, decay 2.5e-5"),
    "schedule": ("schedule step",),
    "distillation": ("distilled", "distilled alone"),
    "optimizer": ("muon",),
}
# A condition is compared with the base of its own bits.
BASES = {"3 bits, decay 2.5e-5": "3 bits", "4 bits, decay 2.5e-5": "4 bits"}
# Of these the update ratio of each layer is measured (the paper's section 3.4).
RATIOS = ("full", "sqrt_n", "none")

# The shares of the learned step that are tried in its place.
SHARES = {"first": 0.01, "last": 20.0, "count": 2000}
# Runs of the exploration that the docstring of this module tells of.
EXPLORED = 61
# What is trained by now: of the core, by width its seeds, of the smaller networks, by
# network its widths, and of the ablation its conditions. The published grid has these,
# and grows with them.
PUBLISHED: dict[str, tuple[int, ...]] = {
    "w2a2": (0, 1, 2),
    "w3a3": (0, 1, 2),
    "w4a4": (0, 1, 2),
    "w8a8": (0, 1, 2),
}
PUBLISHED_SIZES: dict[str, tuple[str, ...]] = {
    "resnet8": tuple(WIDTHS),
    "resnet14": tuple(WIDTHS),
}
PUBLISHED_ABLATION = (
    "base",
    *FACTORS["gradient"],
    *FACTORS["count"],
    *FACTORS["bounds"],
    *FACTORS["start"],
    *FACTORS["granularity"],
    *FACTORS["offset"],
    *FACTORS["schedule"],
    *FACTORS["optimizer"],
)

# What a network is compared with in integers, by width: where sums are rounded as the
# engines do, one of them and this study's own two ways; elsewhere integers alone.
FORMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("w2a2", "w3a3", "w4a4"), ("integer_wide",)),
    "w8a8": ("fbgemm", "integer_float32", "integer_fixed_point"),
}
# Of the test images, in their order: those whose every code is compared, and those
# that a quick rerun scores.
TRACED, FEW = 100, 1000

# Set before any training. To beat: the checkpoints that the authors of APoT (Li et al.
# 2020, arXiv 1909.13144) released, each at its best epoch on the test set, in percent.
SEEDS = (0, 1, 2)
GOALS = {"w2a2": 91.0, "w3a3": 92.3, "w4a4": 92.5}
# At 8 bits, the most that the interval of the drop may reach, in points.
DROP_GOAL = 0.3
# A step of LSQ over the same step without rounding.
COST_GOAL = 1.15
