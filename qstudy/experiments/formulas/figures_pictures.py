"""Pictures of the formulas chapter that need no measurement: mapping, sums, graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from qstudy.report import style
from qstudy.report.figures import Figure

_INT8 = style.METHODS["static_int8"].colour
_QAT = style.METHODS["qat"].colour
_LSQ = style.METHODS["lsq"].colour


def pictures() -> Iterator[Figure]:
    """formulas_number_line, _sawtooth, _relu, _matmul and _graphs."""
    yield _number_line()
    yield _sawtooth()
    yield _relu()
    yield _matmul()
    yield _graphs()


def _mapped(x: np.ndarray, scale: float, zero: int, low: int, high: int) -> Any:
    """(codes, values) of x: the chapter's own formula, in NumPy."""
    codes = np.clip(np.round(x / scale) + zero, low, high)
    return codes, scale * (codes - zero)


def _number_line() -> Figure:
    """Three bits over -1 to 2.5: what is mapped where, and what is clipped."""
    scale, zero, low, high = 0.5, 2, 0, 7
    x = np.array([-1.7, -0.4, 0.0, 0.6, 1.85, 3.2])
    codes, values = _mapped(x, scale, zero, low, high)
    figure, axis = style.new_figure(height=2.6)
    grid = scale * (np.arange(low, high + 1) - zero)
    axis.axvspan(-2.2, grid[0], color="#eeeeee")
    axis.axvspan(grid[-1], 3.6, color="#eeeeee")
    for code, value in zip(range(low, high + 1), grid, strict=True):
        axis.plot([value, value], [-0.08, 0.08], color="#000000", linewidth=1)
        axis.text(value, -0.3, str(code), ha="center", fontsize=9)
    axis.axhline(0, color="#000000", linewidth=1)
    for real, value in zip(x, values, strict=True):
        clipped = not grid[0] <= real <= grid[-1]
        colour = _LSQ if clipped else _INT8
        axis.plot(real, 1, marker="s" if clipped else "o", color=colour)
        axis.annotate(
            "", (value, 0.1), (real, 0.94),
            arrowprops={"arrowstyle": "->", "color": colour},
        )  # fmt: skip
        axis.text(real, 1.14, f"{real:g}", ha="center", fontsize=9)
    for middle, text in ((-1.6, "clipped"), (3.05, "clipped")):
        axis.text(middle, 0.45, text, ha="center", fontsize=9)
    axis.text(-2.2, -0.3, "code", fontsize=9)
    axis.text(-2.2, 1.14, "x", fontsize=9)
    axis.set(xlim=(-2.3, 3.6), ylim=(-0.5, 1.4), yticks=[], xlabel="real value")
    axis.grid(False)
    axis.spines["left"].set_visible(False)
    data = pd.DataFrame({"x": x, "code": codes, "value": values})
    pairs = ", ".join(f"{a:g} to code {int(c)}" for a, c in zip(x, codes, strict=True))
    return Figure(
        name="formulas_number_line",
        figure=figure,
        data=data,
        alt=f"A number line with eight codes; arrows take {pairs}.",
        caption=(
            f"Affine quantization to 3 bits, scale {scale:g}, zero point {zero}: each "
            "real value goes to the nearest code, and what lies beyond the outermost "
            "codes is clipped to them (squares). Real zero has a code of its own."
        ),
    )


def _sawtooth() -> Figure:
    scale, zero, low, high = 0.5, 2, 0, 7
    x = np.linspace(-2, 3.5, 1101)
    _, values = _mapped(x, scale, zero, low, high)
    figure, axes = style.new_figure(rows=2, height=3.6, sharex=True)
    axes[0].plot(x, x, color="#999999", linestyle="--")
    axes[0].plot(x, values, color=_INT8)
    axes[0].set_ylabel("quantized")
    axes[1].plot(x, x - values, color=_INT8)
    for bound in (-scale / 2, scale / 2):
        axes[1].axhline(bound, color="#666666", linestyle=":", linewidth=1)
    axes[1].set(ylabel="error", xlabel="real value")
    inside = (x >= scale * (low - zero)) & (x <= scale * (high - zero))
    worst = np.abs(x - values)[inside].max()
    return Figure(
        name="formulas_sawtooth",
        figure=figure,
        data=pd.DataFrame({"x": x, "quantized": values, "error": x - values})[::5],
        alt=(
            "Above, a staircase of eight steps along the diagonal, flat beyond its "
            f"ends. Below, its error: a sawtooth of at most {worst:.2f} inside the "
            "range, growing without bound outside."
        ),
        caption=(
            "Inside the range rounding errs by at most half a step (dotted), outside "
            "the error of clipping grows without bound. A wider range clips less and "
            "rounds worse: that is what calibration weighs."
        ),
    )


def _relu() -> Figure:
    """The codes that 3 bits offer for outputs of a ReLU between 0 and 3."""
    top = 3.0
    kinds = {
        "scale, signed": (top / 3, 0, -3, 3),
        "affine, unsigned": (top / 7, 0, 0, 7),
    }
    figure, axis = style.new_figure(height=2.2)
    rows = []
    for place, (name, (scale, zero, low, high)) in enumerate(kinds.items()):
        codes = np.arange(low, high + 1)
        values = scale * (codes - zero)
        used = values >= 0
        axis.plot(
            values[used], np.full(used.sum(), -place), "o", color=_INT8, markersize=7
        )
        axis.plot(
            values[~used], np.full((~used).sum(), -place), "x", color=_LSQ, markersize=7
        )
        rows += [
            {"mapping": name, "code": c, "value": v, "used": "yes" if u else "no"}
            for c, v, u in zip(codes, values, used, strict=True)
        ]
    axis.axvspan(0, top, color="#eeeeee")
    axis.set_yticks([0, -1], list(kinds))
    axis.set(xlabel="real value (grey: what a ReLU gives)", ylim=(-1.6, 0.6))
    axis.grid(False)
    data = pd.DataFrame(rows)
    used = data[data.used == "yes"].groupby("mapping", sort=False).code.count()
    told = ", ".join(f"{name} {count}" for name, count in used.items())
    return Figure(
        name="formulas_relu",
        figure=figure,
        data=data,
        alt=f"Codes that 3 bits offer for values from 0 to {top:g}: {told}.",
        caption=(
            "A ReLU gives no negative values. Signed codes spend half of themselves "
            f"(crosses) on what never comes: usable codes: {told}. Half as many levels "
            "is one bit, 6.02 dB."
        ),
    )


def _matmul() -> Figure:
    """One row of x times one column of w, by the four terms."""
    x, w, z_x, z_w = np.array([7, 2, 5]), np.array([3, 6, 1]), 4, 2
    products = int((x * w).sum())
    terms = {
        "sum x w": products,
        "- z_x sum w": -z_x * int(w.sum()),
        "- z_w sum x": -z_w * int(x.sum()),
        "+ K z_x z_w": len(x) * z_x * z_w,
    }
    total = int(((x - z_x) * (w - z_w)).sum())
    when = {
        "sum x w": "run time, bytes",
        "- z_x sum w": "beforehand",
        "- z_w sum x": "run time; 0 if z_w = 0",
        "+ K z_x z_w": "beforehand",
    }
    figure, axis = style.new_figure(height=2.9)
    places = np.arange(len(terms) + 1)[::-1]
    bars = [*terms.values(), total]
    colours = [_INT8, _QAT, _LSQ, _QAT, "#000000"]
    axis.barh(places, bars, color=colours, height=0.6)
    axis.axvline(0, color="#000000", linewidth=1)
    names = ["Σ x w", "− z_x Σ w", "− z_w Σ x", "+ K z_x z_w", "Σ (x − z_x)(w − z_w)"]
    axis.set_yticks(places, names)
    notes = [*when.values(), "their sum, exactly"]
    for place, value, note in zip(places, bars, notes, strict=True):
        axis.annotate(
            f"{value:g}: {note}", (max(value, 0), place), xytext=(5, -3),
            textcoords="offset points", fontsize=8.5,
        )  # fmt: skip
    axis.set(xlabel="contribution to the integer sum", xlim=(min(bars) - 5, 92))
    axis.grid(False)
    data = pd.DataFrame({"term": [*terms, "sum"], "value": bars, "when": notes})
    return Figure(
        name="formulas_matmul",
        figure=figure,
        data=data,
        alt=(
            f"Codes x = {x.tolist()} with zero point {z_x}, w = {w.tolist()} with zero "
            f"point {z_w}: "
            + ", ".join(f"{k} is {v}" for k, v in terms.items())
            + f"; together {total}."
        ),
        caption=(
            f"The integer product of x = {x.tolist()} (zero point {z_x}) and w = "
            f"{w.tolist()} (zero point {z_w}), term by term. Only the first term needs "
            "a product of bytes for each input; weights quantized with z_w = 0 spare "
            "the third."
        ),
    )


_CHAINS = {
    "integer-only inference": [
        "uint8 input",
        "convolution: int8 × uint8",
        "+ bias, int32",
        "requantize: × M, round",
        "ReLU: clamp",
        "uint8 output",
    ],
    "simulated in training": [
        "float input",
        "fake quantize",
        "convolution: float × fake-quantized w",
        "+ bias, float; ReLU",
        "fake quantize",
        "float output",
    ],
}


def _graphs() -> Figure:
    figure, axis = style.new_figure(height=4.2)
    rows = []
    for column, (name, boxes) in enumerate(_CHAINS.items()):
        colour = _INT8 if column == 0 else _QAT
        axis.text(column, 0.75, name, ha="center", fontsize=10, fontweight="bold")
        for place, text in enumerate(boxes):
            axis.annotate(
                text.replace(": ", ":\n"),
                (column, -place),
                ha="center", va="center", fontsize=9,
                bbox={"boxstyle": "round", "facecolor": "#ffffff", "edgecolor": colour},
            )  # fmt: skip
            if place:
                axis.annotate(
                    "", (column, -place + 0.32), (column, -place + 0.68),
                    arrowprops={"arrowstyle": "->", "color": colour},
                )  # fmt: skip
            rows.append({"graph": name, "place": place, "step": text})
    axis.set(xlim=(-0.55, 1.55), ylim=(-5.5, 1.1), xticks=[], yticks=[])
    axis.grid(False)
    for side in axis.spines.values():
        side.set_visible(False)
    told = ". ".join(
        f"{name}: {', then '.join(boxes)}" for name, boxes in _CHAINS.items()
    )
    return Figure(
        name="formulas_graphs",
        figure=figure,
        data=pd.DataFrame(rows),
        alt=f"Two chains of boxes. {told}.",
        caption=(
            "The figure of the deck, after Jacob et al.: at inference (left) every "
            "tensor is "
            "an integer; in training (right) every tensor is a float that was rounded "
            "to what the integers could have held."
        ),
    )
