"""One visual language: a colour, a marker and a label a method, one font, one ground.

Colours are those of Okabe and Ito (2008), told apart in the common kinds of colour
blindness; each method also has its own marker, and figures label it directly. The
ground is opaque white, so that a figure reads the same on light and on dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Method:
    """How one method looks in every figure and table: label, colour, marker."""

    label: str
    colour: str
    marker: str


# The order is the order of the book, in every legend and table.
METHODS: Mapping[str, Method] = {
    "fp32": Method("fp32", "#000000", "o"),
    "bf16": Method("bf16", "#56B4E9", "s"),
    "dynamic_int8": Method("dynamic int8", "#E69F00", "^"),
    "dynamic_fp16": Method("dynamic fp16", "#767676", "p"),
    "static_int8": Method("static int8", "#0072B2", "D"),
    "qat": Method("QAT", "#009E73", "v"),
    "lsq": Method("LSQ", "#D55E00", "P"),
    "pact": Method("PACT", "#CC79A7", "X"),
}

# Width of the page's text column, in inches; the text stays legible on a phone.
PAGE_WIDTH = 6.0

_RC: dict[str, Any] = {
    # DejaVu Sans comes with Matplotlib, so every machine lays text out alike; Verdana
    # has its widths and stands in where a reader's browser lacks it.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 10.0,
    "figure.facecolor": "#ffffff",
    "savefig.facecolor": "#ffffff",
    "axes.facecolor": "#ffffff",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 6.0,
    "errorbar.capsize": 3.0,
    # Text stays text: it can be searched, selected and read aloud.
    "svg.fonttype": "none",
    # Identifiers inside an SVG are random unless salted.
    "svg.hashsalt": "qstudy",
}


def context() -> AbstractContextManager[None]:
    """The house's Matplotlib settings, for making, drawing and saving a figure.

    They stand on Matplotlib's own defaults, whatever a user's matplotlibrc says, and
    most of them are read when something is drawn: `qstudy collect` holds this context
    around all that an experiment draws.
    """
    return matplotlib.style.context(["default", _RC])


def new_figure(
    *, rows: int = 1, columns: int = 1, height: float = 3.2, **options: Any
) -> tuple[Figure, Any]:
    """A figure as wide as the page's text, and its axes.

    `height` is in inches; `options` go to Matplotlib's `Figure.subplots` (sharex, ...).
    Returns one `Axes`, or an array of them where there are several. Draws through no
    global state, so nothing needs to be closed.
    """
    with context():
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, columns, **options)
    return figure, axes


def method(name: str) -> Method:
    """The looks of method `name`; ValueError names those there are."""
    if name not in METHODS:
        raise ValueError(f"method {name!r} is not one of {tuple(METHODS)}")
    return METHODS[name]


def method_label(name: str) -> str:
    """The method's name as the book prints it, for instance "static int8"."""
    return method(name).label


def method_style(name: str) -> dict[str, str]:
    """Colour, marker and label as keyword arguments of `plot` and `errorbar`."""
    looks = method(name)
    return {"color": looks.colour, "marker": looks.marker, "label": looks.label}


def direct_label(axis: Axes, x: float, y: float, name: str, **options: Any) -> None:
    """Write the method's label beside the point (x, y), in data units.

    The text is black: several of the colours are too light to read as text.
    """
    axis.annotate(
        method_label(name),
        (x, y),
        xytext=options.pop("offset", (6, 4)),
        textcoords="offset points",
        color="#000000",
        **options,
    )
