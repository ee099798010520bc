"""The graphs of the QAT chapter, drawn from what tracing found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from qstudy.report import graphs
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

_LINES = "Thin: floats; dashed: floats on an integer grid; thick: integers."


def graph_figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """The deck's five graphs and the two of Jacob et al., where they were traced."""
    if "qat_graphs.csv" not in tables:
        return
    found = tables["qat_graphs.csv"]
    yield _figure(found, "qat_graph_original", "The original network")
    yield _figure(found, "qat_graph_dynamic", "The network quantized dynamically")
    yield _figure(found, "qat_graph_static", "The network quantized statically")
    yield _figure(found, "qat_graph_fake_quantized", "In training with rounding")
    yield _figure(found, "qat_graph_converted", "Converted after training")
    yield _figure(found, "qat_graph_jacob_inference", "A layer on integers", bits=True)
    yield _figure(found, "qat_graph_jacob_training", "A layer in training", bits=True)


def _figure(
    found: pd.DataFrame, name: str, heading: str, *, bits: bool = False
) -> Figure:
    edges = found[found.graph == name.removeprefix("qat_graph_")]
    model = edges.model.iloc[0].replace("resnet", "ResNet-")
    kernels = edges.dtype.str.startswith("q").any()
    engine = f" as engine {edges.engine.iloc[0]} has it" if kernels else ""
    where = "its last block's first layer" if bits else "its last block to its output"
    return Figure(
        name=name,
        figure=graphs.draw(edges, bits=bits),
        data=edges,
        alt=(
            f"{heading}, from the top down, each step with what it reads from beside "
            f"and the type that it gives. {graphs.sentence(edges, bits=bits)}."
        ),
        caption=(
            f"{heading}: {_answer(edges)}. {model}, {where}, traced{engine}. {_LINES}"
        ),
    )


def _answer(edges: pd.DataFrame) -> str:
    """How many edges carry what; of floats and integers the rarer ones by name."""
    integer = edges.dtype.str.contains("int")
    grid, count = edges.grid > 0, len(edges)
    if grid.any():
        widths = _either(edges.grid[grid])
        return (
            f"{int(grid.sum())} of {count} edges carry floats on a grid of {widths} "
            f"bits, {int(integer.sum()) or 'none'} integers"
        )
    if integer.all():
        return f"all {count} edges carry integers, of {_either(edges.bits)} bits"
    if not integer.any():
        return f"all {count} edges carry floats of {_either(edges.bits)} bits"
    rarer = integer if 2 * integer.sum() < count else ~integer
    told = [
        name if times == 1 else f"{name} {counted(times, 'time')}"
        for name, times in Counter(edges.source_operation[rarer]).items()
    ]
    verb = "carries" if rarer.sum() == 1 else "carry"
    what = "integers" if rarer is integer else "floats"
    return f"of {count} edges {rarer.sum()} {verb} {what} ({', '.join(told)})"


def _either(bits: pd.Series) -> str:
    return " and ".join(str(b) for b in sorted(bits.unique()))
