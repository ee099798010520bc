"""How the networks of the QAT chapter are fine-tuned, and what is varied to choose it.

The start is Wu et al. 2020 (arXiv 2004.09602, section 5 and appendix A): a tenth of the
original schedule, one per cent of its learning rate, a cosine, ranges that stay as
calibration set them. Trials on ResNet-20 start from its `dev` network and are scored on
the 5,000 images held out; the chosen recipe then runs from each published seed.
"""

from __future__ import annotations

from typing import Any

from qstudy.experiments.baselines.recipe import EPOCHS, PLAIN

# What all fine-tuning shares, quantized or not; `peak_lr` is each condition's own.
FINE_TUNING: dict[str, Any] = {
    **PLAIN,
    "epochs": EPOCHS // 10,
    "weight_decay": 1e-4,
    "warmup": 0.05,
    # The quantizers between the layers are fused by the compiler.
    "compiled": True,
}
WU_RATE = 0.01 * PLAIN["peak_lr"]
CALIBRATION: dict[str, Any] = {"images": 512, "observer": "mse"}

# Bits of weights and activations, first and last layer 8 always.
W8A8 = {"weight_bits": 8, "activation_bits": 8}
W4A4 = {"weight_bits": 4, "activation_bits": 4}
WIDTHS: dict[str, dict[str, int]] = {"w8a8": W8A8, "w4a4": W4A4}
# Ranges of activations as calibrated; each weight's own extremes at every step, and
# its batch normalization folded only afterwards: per channel the codes are the same.
SIMULATION: dict[str, Any] = {
    "granularity": "per_channel",
    "ranges": "fixed",
    "weight_ranges": "moving_average",
    "bn_strategy": "none",
}
SCHEDULE: dict[str, float] = {"observe": 0.5, "statistics": 1.0}

# What was chosen on ResNet-20's dev network: by width the peak rate, and the epochs.
# 8 bits have little to win back, and what trains little moves little.
CHOSEN: dict[str, dict[str, Any]] = {
    "w8a8": {"peak_lr": 0.001, "epochs": 4},
    "w4a4": {"peak_lr": 0.05, "epochs": FINE_TUNING["epochs"]},
}
# Observers that calibrate without training, tried on images held out; at both widths
# that of CALIBRATION came out best, so that it is the one of every published network.
CALIBRATORS = ("minmax", "percentile", "entropy", "mse")

# On ResNet-8, from its dev network, over these seeds of the training: one thing at a
# time is changed in 4 bits, per channel, ranges fixed, no folding, these epochs.
ABLATION_SEEDS = (0, 1, 2)
ABLATION_EPOCHS = 4
ABLATION: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "bits 8": {"simulate": W8A8},
    "bits 6": {"simulate": {"weight_bits": 6, "activation_bits": 6}},
    "bits 3": {"simulate": {"weight_bits": 3, "activation_bits": 3}},
    "w8a4": {"simulate": {"weight_bits": 8}},
    "w4a8": {"simulate": {"activation_bits": 8}},
    "per_tensor": {"simulate": {"granularity": "per_tensor"}},
    "moving_average": {"simulate": {"ranges": "moving_average"}},
    "pact": {"simulate": {"ranges": "pact"}},
    "bn frozen": {"simulate": {"bn_strategy": "frozen"}},
    "bn one_pass": {"simulate": {"bn_strategy": "one_pass"}},
    "bn two_pass": {"simulate": {"bn_strategy": "two_pass"}},
    "bn fold_first": {"simulate": {"bn_strategy": "fold_first"}},
    "peak_lr 0.01": {"recipe": {"peak_lr": 0.01}},
    "peak_lr 0.002": {"recipe": {"peak_lr": WU_RATE}},
    # Added when the two had been seen to diverge at the base's rate.
    "bn frozen, peak_lr 0.002": {
        "simulate": {"bn_strategy": "frozen"},
        "recipe": {"peak_lr": WU_RATE},
    },
    "bn fold_first, peak_lr 0.002": {
        "simulate": {"bn_strategy": "fold_first"},
        "recipe": {"peak_lr": WU_RATE},
    },
    "epochs 1": {"recipe": {"epochs": 1}},
    "epochs 12": {"recipe": {"epochs": FINE_TUNING["epochs"]}},
}
# The factor that each of these conditions varies; Holm's correction is within one.
FACTORS: dict[str, tuple[str, ...]] = {
    "bits": ("bits 8", "bits 6", "bits 3"),
    "bits of one": ("w8a4", "w4a8"),
    "granularity": ("per_tensor",),
    "ranges": ("moving_average", "pact"),
    "batch normalization": ("bn frozen", "bn one_pass", "bn two_pass", "bn fold_first"),
    "learning rate": ("peak_lr 0.01", "peak_lr 0.002"),
    "length": ("epochs 1", "epochs 12"),
    "batch normalization, low rate": (
        "bn frozen, peak_lr 0.002",
        "bn fold_first, peak_lr 0.002",
    ),
}
# A condition is compared with the base, these with the one that shares their rate.
BASES = dict.fromkeys(FACTORS["batch normalization, low rate"], "peak_lr 0.002")
# On the network that one scale per tensor fails the weights are rounded as they will be
# run: folded with their batch normalization, whose factors set the channels' ranges
# apart. Of the strategies that fold, the ablation chose.
FOLDED: dict[str, str] = {"bn_strategy": "one_pass"}
# It is trained on at the rates of the core, at 8 bits for as long, at 4 for half as
# long: its epochs cost more, and it had fewer of them.
HARD_EPOCHS = {"w8a8": CHOSEN["w8a8"]["epochs"], "w4a4": CHOSEN["w4a4"]["epochs"] // 2}
# What is compared with the network as it is trained: each engine's int8 kernels, and
# this study's own integers, which alone have fewer bits.
ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
INTEGERS = ("float32", "fixed_point")
FORMS = {"w8a8": ENGINES, "w4a4": tuple(f"integer_{name}" for name in INTEGERS)}
# Of the test images, in their order: those whose every code is compared, those that a
# quick rerun scores, those that are predicted in this study's own integers.
TRACED, FEW, SOME = 200, 1000, 2000
# A training step, timed as "method:precision" with ":compiled" where it is. PyTorch's
# eager fake-quantizers take float32 only; its exported network is timed as exported.
COSTS = (
    "fp32:bf16:compiled",
    "qat-w8a8:bf16:compiled",
    "qat-w4a4:bf16:compiled",
    "fp32:bf16",
    "torch_pt2e:bf16",
    "fp32:fp32",
    "torch_eager:fp32",
)
# What a candidate is compared with: nothing rounded, all else alike.
COST_BASELINES = {
    f"{method}:{how}": f"fp32:{how}"
    for how in ("bf16:compiled", "bf16", "fp32")
    for method in ("fp32", "qat-w8a8", "qat-w4a4", "torch_pt2e", "torch_eager")
}
# Set before any of these was trained: points lost at most by the mean of W8A8, with
# its interval, and the least mean top-1 in percent of W4A4.
DROP_GOAL = 0.1
W4A4_GOAL = 92.3
# Predictions in percent that at most differ between the trained and the int8 network at
# 8 bits, and the most that a step may cost, as a multiple of the unquantized one.
GAP_GOAL = 0.1
COST_GOAL = 1.3
