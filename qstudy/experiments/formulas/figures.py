"""The figures of the formulas chapter that show measurements; pictures come first."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from qstudy.experiments.formulas.figures_pictures import pictures
from qstudy.report import style
from qstudy.report.figures import Figure

# Calibrators are no methods; they get marks of their own among the same colours.
_MARKS = {
    "max": ("#000000", "o"),
    "percentile": ("#56B4E9", "s"),
    "entropy": ("#E69F00", "^"),
    "mse": ("#0072B2", "D"),
}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """The pictures, formulas_error and formulas_layers."""
    yield from pictures()
    if "quantization_error.csv" in tables:
        yield _error(tables["quantization_error.csv"])
    if "integer_layers.csv" in tables:
        yield _layers(tables["integer_layers.csv"])


def _error(frame: pd.DataFrame) -> Figure:
    whole = frame[
        (frame.granularity == "per_tensor") & frame.calibrator.isin([*_MARKS])
    ]
    # One of each kind of data; the table has all layers.
    layer = [s.partition(" ")[2] for s in whole.source if s.startswith("weights")][-1]
    sources = ["gaussian", "laplace", f"weights {layer}", f"activations {layer}"]
    figure, axes = style.new_figure(
        rows=2, columns=2, height=4.8, sharex=True, sharey=True
    )
    told = []
    for axis, source in zip(axes.flat, sources, strict=True):
        rows = whole[whole.source == source]
        for calibrator, (colour, marker) in _MARKS.items():
            line = rows[rows.calibrator == calibrator].sort_values(
                "bits", kind="stable"
            )
            axis.plot(
                line.bits, line.sqnr, color=colour, marker=marker, markersize=4,
                linewidth=1, label=calibrator,
            )  # fmt: skip
        theory = rows[rows.calibrator == "max"].sort_values("bits", kind="stable")
        axis.plot(theory.bits, theory.theory, color="#999999", linestyle="--",
                  label="theory (max)")  # fmt: skip
        axis.set_title(source, fontsize=9)
        lowest = rows[rows.bits == rows.bits.min()]
        best = lowest.loc[lowest.sqnr.idxmax()]
        told.append(
            f"{source}: at {best.bits} bits {best.calibrator} is best with "
            f"{best.sqnr:.1f} dB"
        )
    for axis in axes[1]:
        axis.set_xlabel("bits")
    for axis in axes[:, 0]:
        axis.set_ylabel("SQNR [dB]")
    axes[0, 0].legend(fontsize=7)
    return Figure(
        name="formulas_error",
        figure=figure,
        data=whole[whole.source.isin(sources)],
        alt=f"Signal to quantization noise against bits. {'; '.join(told)}.",
        caption=(
            "Each bit brings about 6 dB as long as nothing is clipped (dashed: theory "
            "for the range of max), and fewer bits want a narrower range. "
            f"{told[0][:1].upper()}{told[0][1:]}. Layer {layer} of ResNet-20, per "
            "tensor; up is better."
        ),
    )


def _layers(frame: pd.DataFrame) -> Figure:
    most = frame[(frame.n == frame.n.max()) & (frame.activation_bits == 8)]
    engines = [e for e in ("fbgemm", "qnnpack") if e in set(most.engine)]
    figure, axis = style.new_figure(height=3.2)
    looks = {
        ("fbgemm", "double"): ("#0072B2", "o", "-"),
        ("fbgemm", "single"): ("#0072B2", "s", "--"),
        ("qnnpack", "double"): ("#D55E00", "^", "-"),
        ("qnnpack", "single"): ("#D55E00", "v", "--"),
    }
    told = []
    for engine in engines:
        for rounding in ("double", "single"):
            rows = most[(most.engine == engine) & (most.rounding == rounding)]
            colour, marker, line = looks[engine, rounding]
            share = rows.off_by_one + rows.off_by_more
            axis.plot(
                rows.place, share, color=colour, marker=marker, linestyle=line,
                markersize=4, label=f"{engine}, {rounding} rounding",
            )  # fmt: skip
            told.append(f"{engine} {rounding}: {share.iloc[-1]:.1f} % of the logits")
    names = most.drop_duplicates("place").sort_values("place", kind="stable")
    axis.set_xticks(names.place, names.after, rotation=60, fontsize=8)
    axis.set_ylabel("codes that differ [%]")
    axis.legend(fontsize=8)
    n = int(most.n.max())
    return Figure(
        name="formulas_layers",
        figure=figure,
        data=most[most.engine.isin(engines)],
        alt=f"Share of codes that differ after each layer. {'; '.join(told)}.",
        caption=(
            "Integers alone against float32 requantization, from the same input "
            "codes on: differences of single layers are rare, and add up with depth. "
            f"{n:,} images; down is better."
        ),
    )
