"""What the figures of the sweeps share: a line of drops, its axis, colours."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from qstudy.report import scales

# Colours of Okabe and Ito for what is no method; each has a marker of its own too.
SHADES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def line(axis: Axes, rows: pd.DataFrame, x: str, place: int, name: str) -> None:
    """One line of drops with intervals over `x`, in colour and marker `place`."""
    axis.errorbar(
        rows[x],
        rows.drop_pp,
        yerr=[rows.drop_pp - rows.drop_lo, rows.drop_hi - rows.drop_pp],
        color=SHADES[place % len(SHADES)],
        marker=MARKS[place % len(MARKS)],
        markersize=5,
        label=name,
    )


def drop_axis(axis: Axes, frame: pd.DataFrame) -> None:
    """The vertical axis of drops in percentage points, as far as `frame` asks."""
    axis.set_ylabel("drop of top-1 [pp] (lower is better)")
    scales.symmetric(axis, "y")
    axis.axhline(1, color="#666666", linestyle="--", linewidth=1)
    axis.set_ylim(min(-1.0, frame.drop_lo.min()), 100)


def spoken(name: str) -> str:
    """A calibrator, ranking or cure as figures name it, of a table or of a label."""
    return name.replace("-", " ").replace("_", " ")
