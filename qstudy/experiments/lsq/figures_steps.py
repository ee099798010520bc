"""The LSQ chapter's figures of steps: their gradient, and what they minimise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qstudy.report import scales, style
from qstudy.report.figures import Figure

# The example: 2 bits for what follows a ReLU.
_MOST = 3
_MARKS = {"mae": "o", "mse": "s", "kl": "^"}
MEASURES = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "kl": "KL divergence",
}


def step_gradients(steps: np.ndarray, *, most: int) -> dict[str, np.ndarray]:
    """d v_hat / d s by method, of v = `steps` times s, codes 0 to `most`.

    "lsq" is equation 3 of Esser et al. 2020 (arXiv 1902.08153). "pact" is the gradient
    of the clipping point, most s, which is 1 above it and 0 below (Choi et al. 2018,
    arXiv 1805.06085, equation 3), by the chain rule. "qil" is that of an interval from
    0 to most s which is mapped linearly before it is rounded (Jung et al. 2019, arXiv
    1808.05779, equation 2, gamma 1), rounding taken for the identity, in units of s.
    """
    inside = (steps > 0) & (steps < most)
    codes = np.round(np.clip(steps, 0, most))
    return {
        "lsq": np.where(inside, codes - steps, codes),
        "qil": np.where(inside, -steps, 0.0),
        "pact": np.where(steps >= most, float(most), 0.0),
    }


def gradient() -> Figure:
    """lsq_gradient: the paper's Figure 2, from the three methods' own formulas."""
    steps = np.linspace(-0.5, _MOST + 1, 901)
    found = step_gradients(steps, most=_MOST)
    rounded = np.round(np.clip(steps, 0, _MOST))
    figure, axes = style.new_figure(rows=2, height=4.4, sharex=True)
    axes[0].plot(steps, steps, color="#999999", linestyle="--", linewidth=1)
    axes[0].plot(steps, rounded, color=style.method("lsq").colour)
    axes[0].set_ylabel("v̂ / s")
    looks: dict[str, dict[str, Any]] = {
        "lsq": {"color": style.method("lsq").colour},
        "qil": {"color": "#666666", "linestyle": "--"},
        "pact": {"color": style.method("pact").colour, "linestyle": ":"},
    }
    for name, values in found.items():
        axes[1].plot(steps, values, label=name.upper(), linewidth=1.8, **looks[name])
    axes[1].axhline(0, color="#000000", linewidth=0.6)
    axes[1].set(xlabel="v / s", ylabel="∂v̂ / ∂s")
    axes[1].legend(fontsize=8, loc="upper left")
    told = (
        "LSQ's gradient is a sawtooth between -1/2 and 1/2 that jumps where a value "
        f"changes its code, and {_MOST} beyond the last code; PACT's is 0 up to there; "
        "QIL's grows with the value and knows no codes"
    )
    data = pd.DataFrame({"steps": steps, "rounded": rounded, **found})
    return Figure(
        name="lsq_gradient",
        figure=figure,
        data=data[::5],
        alt=f"Above a staircase of {_MOST + 1} codes, below three gradients. {told}.",
        caption=(
            f"{told}. Above: the quantizer with 2 bits for what follows a ReLU. Below: "
            "how its output moves with the step, by three methods that learn it. "
            "Computed from the formulas; nothing is measured."
        ),
    )


def errors(frame: pd.DataFrame) -> Figure:
    """lsq_error: by tensor and measure, the share of the learned step that errs least.

    Of the network with the fewest bits, its first seed, and its tensors of these bits.
    """
    least = frame[frame.weight_bits == frame.weight_bits.min()]
    shown = least[(least.seed == least.seed.min()) & (least.bits == least.weight_bits)]
    ends, shown = shown[~shown.inside], shown[shown.inside]
    kinds = [kind for kind in ("weight", "activation") if kind in set(shown.tensor)]
    figure, axes = style.new_figure(
        rows=len(kinds), height=0.8 + 1.5 * len(kinds), sharex=True, squeeze=False
    )
    told = []
    for axis, kind in zip(axes.flat, kinds, strict=True):
        names = [m for m in MEASURES if m in set(shown.measure)]
        for place, measure in enumerate(reversed(names)):
            rows = shown[(shown.tensor == kind) & (shown.measure == measure)]
            axis.plot(
                rows.share,
                [place] * len(rows),
                linestyle="none",
                marker=_MARKS[measure],
                markerfacecolor="none",
                color=style.method("lsq").colour,
            )
            below = int((rows.share < 1).sum())
            told.append(
                f"{MEASURES[measure]} of {kind}s: {below} of {len(rows)} tensors "
                "would have a smaller step"
            )
        axis.axvline(1, color="#000000", linewidth=1)
        axis.set_yticks(
            range(len(names)), [MEASURES[m] for m in reversed(names)], fontsize=9
        )
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.set_title(f"{kind}s", loc="left", fontsize=10)
        scales.logarithmic(axis, "x")
    axes.flat[-1].set_xlabel("step that errs least, over the learned step")
    bits = int(shown.weight_bits.iloc[0])
    left = ""
    if len(ends):
        left = (
            f" {len(ends)} that have no best step within what was tried are left out."
        )
    return Figure(
        name="lsq_error",
        figure=figure,
        data=shown,
        alt=(
            "By measure, the step that errs least over the learned one. "
            f"{'; '.join(told)}."
        ),
        caption=(
            f"{told[0][:1].upper()}{told[0][1:]}; {'; '.join(told[1:])}. A mark a "
            f"tensor of {bits} bits; 1 would be a learned step that errs least. "
            f"{shown.model.iloc[0]}, seed {shown.seed.iloc[0]}.{left}"
        ),
    )
