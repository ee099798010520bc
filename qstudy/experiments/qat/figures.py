"""The QAT chapter's figures: the graphs, before its networks are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qstudy.experiments.qat.figures_graphs import graph_figures


def figures(tables: dict[str, Any]) -> Iterator[Any]:
    """qat_graph_*: see figures_graphs."""
    yield from graph_figures(tables)
