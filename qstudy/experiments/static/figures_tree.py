"""The decision tree for who quantizes a network: every leaf is a measured row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from qstudy.experiments.static.figures_parts import spoken
from qstudy.measure.statistics import ALMOST_NO_DROP
from qstudy.report import style
from qstudy.report.figures import Figure

NEEDED = ("engines", "cures", "calibration", "partial")
_STATIC = style.METHODS["static_int8"].colour
# Of the picture's width, 100: where the columns begin, how wide their boxes are.
_COLUMNS = (0, 23, 46, 70)
_WIDTHS = (18, 18, 18, 30)


@dataclass(frozen=True)
class Leaf:
    """What to do, and the row of a table in which it was measured."""

    advice: str
    row: Any

    @property
    def text(self) -> str:
        """The advice and its drop with the interval."""
        low, high = self.row.drop_lo, self.row.drop_hi
        return f"{self.advice}: {self.row.drop_pp:.2f} pp [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True)
class Question:
    """A question with two answers, each of which leads to a question or a leaf."""

    text: str
    yes: Question | Leaf
    no: Question | Leaf


def tree(tables: dict[str, pd.DataFrame]) -> Figure:
    """From left to right; needs the tables of NEEDED."""
    root = _grown(tables)
    leaves = list(_leaves(root, ()))
    figure, axis = style.new_figure(height=0.2 + 0.8 * len(leaves))
    axis.set_axis_off()
    axis.set_xlim(-0.5, 100.5)
    axis.set_ylim(len(leaves) - 0.5, -0.5)
    _draw(axis, root, 0, 0)
    rows = [
        {
            "path": "; ".join(f"{question} {answer}" for question, answer in path),
            "advice": leaf.advice,
            "model": leaf.row.model,
            "split": leaf.row.split,
            "n": leaf.row.n,
            "drop_pp": leaf.row.drop_pp,
            "drop_lo": leaf.row.drop_lo,
            "drop_hi": leaf.row.drop_hi,
            "origin": leaf.row.origin,
            "run": leaf.row.run,
        }
        for path, leaf in leaves
    ]
    good = [leaf.advice for _, leaf in leaves if _little(leaf)]
    bad = [leaf.advice for _, leaf in leaves if not _little(leaf)]
    told = "; ".join(
        f"{' '.join(f'{question} {answer}.' for question, answer in path)} {leaf.text}"
        for path, leaf in leaves
    )
    return Figure(
        name="static_tree",
        figure=figure,
        data=pd.DataFrame(rows),
        alt=f"A decision tree. {told}.",
        caption=(
            f"Almost no drop: {'; '.join(good) or 'none'}. "
            f"More than that, or undecided (dashed): {'; '.join(bad) or 'none'}. Each "
            f"leaf is a row of this page's tables on {leaves[0][1].row.model}, with "
            "its paired 95 % interval; calibrators and kept layers are chosen and "
            "scored on held-out images, the rest on the test set."
        ),
    )


def _little(leaf: Leaf) -> bool:
    return leaf.row.drop_hi <= ALMOST_NO_DROP


def _grown(tables: dict[str, pd.DataFrame]) -> Question:
    engines, cures, calibration, partial = (
        tables[f"static_{name}.csv"] for name in NEEDED
    )
    cures = cures[cures.model == engines.model.iloc[0]]
    x86 = engines[engines.engine == "x86"].set_index("how", drop=False)
    affine = calibration[calibration.scheme == "affine"]
    narrow = affine[affine.activation_bits == affine.activation_bits.min()]
    ranged = narrow.loc[narrow.drop_pp.idxmin()]
    # Like the calibrator, the order is chosen by its score on held-out images, each
    # with all the layers that it was given.
    whole = partial[partial.ranking != "none"].groupby("ranking", sort=False).tail(1)
    kept = whole.loc[whole.drop_pp.idxmin()]
    a, w = int(ranged.activation_bits), int(cures.weight_bits.iloc[0])
    layers = "layer" if kept.kept == 1 else "layers"
    return Question(
        "Are 8 bits small enough?",
        Question(
            "Does the processor have VNNI?",
            Leaf("8 bits, one weight scale a channel", x86.loc["same"]),
            Leaf("7-bit activations, torch default", x86.loc["default"]),
        ),
        Question(
            "May activations keep 8 bits?",
            Question(
                "Can weights have a scale a channel?",
                *(_cured(cures, g, w) for g in ("per_channel", "per_tensor")),
            ),
            Question(
                "May weights keep 8 bits?",
                Leaf(f"W8A{a}, ranges by {spoken(ranged.calibrator)}", ranged),
                Leaf(
                    f"W{kept.bits}A{kept.bits} with {kept.kept} {layers} in fp32, by "
                    f"{spoken(kept.ranking)}, or train",
                    kept,
                ),
            ),
        ),
    )


def _cured(cures: pd.DataFrame, granularity: str, bits: int) -> Leaf:
    rows = cures[cures.granularity == granularity]
    row = rows[rows.cure == "adaround"].iloc[0]
    return Leaf(f"W{bits}A8, weights {spoken(granularity)}, rounding learned", row)


def _leaves(
    node: Question | Leaf, path: tuple[tuple[str, str], ...]
) -> Iterator[tuple[tuple[tuple[str, str], ...], Leaf]]:
    """Each leaf with the questions and answers that lead to it, from the top."""
    if isinstance(node, Leaf):
        yield path, node
        return
    for answer, child in (("yes", node.yes), ("no", node.no)):
        yield from _leaves(child, (*path, (node.text, answer)))


def _draw(axis: Axes, node: Question | Leaf, column: int, top: int) -> float:
    """Draw `node` and what follows, leaves from row `top` on; its own height."""
    if isinstance(node, Leaf):
        looks = {"edgecolor": _STATIC, "linestyle": "-" if _little(node) else "--"}
        _box(axis, len(_COLUMNS) - 1, float(top), fill(node.text, 27), **looks)
        return float(top)
    below = top + len(list(_leaves(node.yes, ())))
    children = ((node.yes, "yes", top), (node.no, "no", below))
    heights = [_draw(axis, child, column + 1, row) for child, _, row in children]
    y = sum(heights) / 2
    _box(axis, column, y, fill(node.text, 15), edgecolor="#000000")
    start = _COLUMNS[column] + _WIDTHS[column]
    for (child, answer, _), height in zip(children, heights, strict=True):
        last = len(_COLUMNS) - 1
        end = _COLUMNS[last if isinstance(child, Leaf) else column + 1]
        bend = start + 1.2
        axis.plot(
            [start, bend, bend, end], [y, y, height, height], color="#000000", lw=0.8
        )
        axis.text(bend + 0.4, height - 0.04, answer, fontsize=6.5, va="bottom")
    return y


def _box(axis: Axes, column: int, y: float, text: str, **looks: Any) -> None:
    x, width = _COLUMNS[column], _WIDTHS[column]
    axis.add_patch(
        Rectangle((x, y - 0.4), width, 0.8, facecolor="#ffffff", linewidth=1, **looks)
    )
    axis.text(x + width / 2, y, text, fontsize=6.8, ha="center", va="center")
