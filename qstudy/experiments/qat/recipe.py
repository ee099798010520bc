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

# Peak rates tried on ResNet-20 from its dev network, by width; the first is Wu's.
RATES: dict[str, tuple[float, ...]] = {
    "w8a8": (WU_RATE, 0.0005, 0.01),
    "w4a4": (WU_RATE, 0.01, 0.05),
}
# Set before any of these was trained: points lost at most by the mean of W8A8, with
# its interval, and the least mean top-1 in percent of W4A4.
DROP_GOAL = 0.1
W4A4_GOAL = 92.3
