"""Where the boxes and lines of a computation graph stand: one column, read downwards.

Such graphs are nearly chains. What comes from the input stands in one column, in the
order in which it runs; weights, and what is done to them, stand beside the operation
that reads them; an edge that passes over others takes a lane of its own on the left. So
the picture stays as narrow as a phone.

Edges come as rows of a table: source, source_kind, source_operation, the same of
target, dtype, bits and grid (qstudy.methods.graphs). Places are in rows, from 0 down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Box:
    """A node at `row`, as high as `rows` rows; in the main column, or `beside` it."""

    name: str
    kind: str
    operation: str
    beside: bool
    row: int
    rows: int = 1


@dataclass(frozen=True)
class Line:
    """An edge. `lane` is 0 for a straight one, else its lane on the left, from 1."""

    source: Box
    target: Box
    dtype: str
    bits: int
    grid: int
    lane: int
    row: int

    @property
    def integer(self) -> bool:
        """Whether what passes are integer codes or sums."""
        return "int" in self.dtype


@dataclass(frozen=True)
class Layout:
    """All boxes and lines, the number of rows, and of lanes."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    rows: int
    lanes: int


def lay_out(edges: Iterable[Any]) -> Layout:
    """Places for the graph of `edges`, named tuples of the columns above.

    Raises ValueError where there is no edge from an input.
    """
    edges = list(edges)
    told = {}
    for edge in edges:
        told.setdefault(edge.source, (edge.source_kind, edge.source_operation))
        told.setdefault(edge.target, (edge.target_kind, edge.target_operation))
    main = _main_column(edges)
    boxes: dict[str, Box] = {}
    free, beside_free = 0, 0  # the first rows that are not taken
    for name in main:
        chains = [
            _chain(edge.source, edges)
            for edge in edges
            if edge.target == name and edge.source not in main
        ]
        first = max([free] + [beside_free + len(chain) - 1 for chain in chains[:1]])
        row = first
        for place, chain in enumerate(chains):
            row += len(chain) if place else 0
            for above, side in enumerate(chain):
                boxes[side] = Box(side, *told[side], beside=True, row=row - above)
            beside_free = row + 1
        boxes[name] = Box(
            name, *told[name], beside=False, row=first, rows=row - first + 1
        )
        free = row + 1
    lines = _lines(edges, boxes, main)
    lanes = max((line.lane for line in lines), default=0)
    return Layout(tuple(boxes.values()), tuple(lines), free, lanes)


def _main_column(edges: list[Any]) -> list[str]:
    """Nodes that the input reaches, in the order in which they run."""
    main = list(
        dict.fromkeys(edge.source for edge in edges if edge.source_kind == "input")
    )
    if not main:
        raise ValueError(f"none of {len(edges)} edges comes from an input")
    # Edges are sorted by when their target runs, and so one look at each is enough.
    for target in dict.fromkeys(edge.target for edge in edges):
        if any(edge.target == target and edge.source in main for edge in edges):
            main.append(target)
    return main


def _chain(name: str, edges: list[Any]) -> list[str]:
    """`name` and what it is made of, one after the other, upwards."""
    chain = [name]
    while before := [e.source for e in edges if e.target == chain[-1]]:
        if len(before) > 1:
            raise ValueError(f"parameter {name!r} is made of {before}: one is drawn")
        chain += before
    return chain


def _lines(edges: list[Any], boxes: dict[str, Box], main: list[str]) -> list[Line]:
    lines: list[Line] = []
    for edge in edges:
        source, target = boxes[edge.source], boxes[edge.target]
        lane = 0
        straight = source.beside or main.index(edge.target) - main.index(edge.source)
        if straight is not True and straight != 1:
            taken = {
                line.lane
                for line in lines
                if line.lane
                and line.source.row < target.row
                and source.row < line.target.row
            }
            lane = next(n for n in range(1, len(edges) + 1) if n not in taken)
        lines.append(
            Line(
                source,
                target,
                edge.dtype,
                int(edge.bits),
                int(edge.grid),
                lane,
                source.row,
            )
        )
    return lines
