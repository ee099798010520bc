"""A computation graph as a figure for a narrow page, and as a sentence.

Every line says in text what passes on it. Its looks say it again: thin for floats,
dashed for floats on the grid of an integer type, thick for integers. The figure is as
wide as a phone's text column, so that nothing shrinks there.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from qstudy.report import style
from qstudy.report.graph_layout import Box, Layout, Line, lay_out

WIDTH = 3.4  # inches: 326 of the 328 pixels that a phone of 360 leaves
_SIZE = 9.0  # of all letters, in points
_ROW = 0.56
_MAIN, _MAIN_HALF = 1.02, 0.57  # centre and half width of the main column, inches
_SIDE, _SIDE_HALF = 2.9, 0.42
_LANE = 0.3  # what each further lane adds to the width
_BOX, _TALL = 0.25, 0.38  # heights of boxes of one and two lines
_FLOAT = {"color": style.METHODS["fp32"].colour, "linewidth": 1.0}
_GRID = {
    **{"color": style.METHODS["qat"].colour, "linewidth": 1.5},
    "linestyle": (0, (3.5, 1.5)),
}
_INTEGER = {"color": style.METHODS["static_int8"].colour, "linewidth": 2.4}


def draw(edges: pd.DataFrame, *, bits: bool = False) -> Figure:
    """The graph of `edges` (columns as in graph_layout); with `bits`, widths too."""
    layout = lay_out(edges.itertuples(index=False))
    height, more = _ROW * layout.rows, _LANE * max(layout.lanes - 1, 0)
    with style.context():
        figure = Figure(figsize=(WIDTH + more, height))
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(-more, WIDTH), ylim=(height, 0))
        axis.set_axis_off()
        for line in layout.lines:
            _draw_line(axis, line, bits=bits)
        for box in layout.boxes:
            _draw_box(axis, box, layout)
    return figure


def sentence(edges: pd.DataFrame, *, bits: bool = False) -> str:
    """The graph in words: what each operation reads beside the one above, and gives."""
    layout = lay_out(edges.itertuples(index=False))
    told = []
    for box in layout.boxes:
        if box.beside:
            continue
        given = [line for line in layout.lines if line.source == box]
        words = [box.operation.replace("×", "times").replace("+ ", "plus ", 1)]
        also = [
            _also(line, layout, bits=bits)
            for line in layout.lines
            if line.target == box and (line.source.beside or line.lane)
        ]
        if also:
            words.append(f"with {' and '.join(also)}")
        said = " ".join(words)
        if given:
            said += f": {' '.join(_words(given[0], bits=bits))}"
        told.append(said)
    return "; ".join(told)


def _also(line: Line, layout: Layout, *, bits: bool) -> str:
    """What a line brings from beside or from further up, and of what type."""
    name, said = line.source.operation, " ".join(_words(line, bits=bits))
    if line.lane:
        return f"what {name} gave above ({said})"
    before = [other for other in layout.lines if other.target == line.source]
    if before:
        name = f"{name} of {before[0].source.operation}"
    return f"{name} ({said})"


def _words(line: Line, *, bits: bool) -> list[str]:
    if line.grid:
        return [line.dtype, f"{line.grid}-bit grid"]
    return [line.dtype, f"{line.bits} bit"] if bits else [line.dtype]


def _looks(line: Line) -> dict[str, Any]:
    return _INTEGER if line.integer else _GRID if line.grid else _FLOAT


def _middle(box: Box) -> float:
    return _ROW * (box.row + box.rows / 2)


def _half(box: Box) -> float:
    """Half the height of a box, in inches."""
    return _ROW * (box.rows - 1) / 2 + (_TALL if "\n" in _label(box) else _BOX) / 2


def _label(box: Box) -> str:
    """The operation, on two lines where one is too long for its box."""
    longest = 9 if box.beside else 16
    words, lines = box.operation.split(), [""]
    for word in words:
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) > longest and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return "\n".join(lines)


def _draw_box(axis: Axes, box: Box, layout: Layout) -> None:
    x, half = (_SIDE, _SIDE_HALF) if box.beside else (_MAIN, _MAIN_HALF)
    y, tall = _middle(box), _half(box)
    given = [line for line in layout.lines if line.source == box]
    taken = [line for line in layout.lines if line.target == box]
    # Dashed is what rounds, and not what hands on what was rounded before.
    passing = given and given[0].grid and any(line.grid for line in taken)
    looks = dict(_looks(given[0])) if given and not passing else dict(_FLOAT)
    looks["edgecolor"] = looks.pop("color")
    looks["linewidth"] = min(looks["linewidth"], 1.6)
    if box.kind in ("input", "output"):
        looks["edgecolor"] = "none"
    shape = "square" if box.kind == "parameter" else "round,rounding_size=0.09"
    axis.add_patch(
        FancyBboxPatch(
            (x - half, y - tall),
            2 * half,
            2 * tall,
            boxstyle=f"{shape},pad=0",
            facecolor="#eeeeee" if box.kind == "parameter" else "#ffffff",
            zorder=3,
            **looks,
        )
    )
    _write(
        axis, x, y, _label(box), ha="center", va="center",
        fontstyle="italic" if box.kind in ("input", "output") else "normal",
    )  # fmt: skip


def _draw_line(axis: Axes, line: Line, *, bits: bool) -> None:
    words, (source, target) = _words(line, bits=bits), (line.source, line.target)
    if line.lane:
        x = _MAIN - _MAIN_HALF - 0.18 - _LANE * (line.lane - 1)
        left, start, end = _MAIN - _MAIN_HALF, _middle(source), _middle(target)
        axis.plot([left, x, x], [start, start, end], zorder=2, **_looks(line))
        _arrow(axis, line, (x, end), (left, end))
        _write(
            axis, x - 0.03, (start + end) / 2, ", ".join(words), ha="right",
            va="center", rotation=90,
        )  # fmt: skip
    elif source.beside and not target.beside:
        y = _middle(source)
        start, end = _SIDE - _SIDE_HALF, _MAIN + _MAIN_HALF
        _arrow(axis, line, (start, y), (end, y))
        middle = (start + end) / 2
        _write(axis, middle, y - 0.04, words[0], ha="center", va="bottom")
        below = "\n".join(words[1:])
        _write(axis, middle, y + 0.05, below, ha="center", va="top")
    else:
        x = _SIDE if source.beside else _MAIN
        start = _middle(source) + _half(source)
        end = _middle(target) - _half(target)
        _arrow(axis, line, (x, start), (x, end))
        y = (start + end) / 2 + 0.01
        if source.beside:  # little room: the dtype before the arrow, the rest behind
            y -= 0.03
            _write(axis, x - 0.07, y, words.pop(0), ha="right", va="center")
        _write(axis, x + 0.07, y, ", ".join(words), ha="left", va="center")


def _arrow(
    axis: Axes, line: Line, start: tuple[float, float], end: tuple[float, float]
) -> None:
    looks = _looks(line)
    arrow = {"arrowstyle": "-|>,head_length=0.35,head_width=0.18", "shrinkA": 0}
    axis.annotate(
        "", end, start, zorder=2,
        arrowprops={**arrow, "shrinkB": 0, "mutation_scale": 11, **looks},
    )  # fmt: skip


def _write(axis: Axes, x: float, y: float, text: str, **options: Any) -> None:
    if text:
        axis.text(x, y, text, fontsize=_SIZE, zorder=4, linespacing=1.1, **options)
