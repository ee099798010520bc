"""Times of every route, and the chapter's summary: the fastest of each kind."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from qstudy.experiments.speed.recipe import MODELS
from qstudy.experiments.speed.tables_selection import fastest
from qstudy.report import scales, style
from qstudy.report.figures import Figure
from qstudy.report.numbers import counted

METHODS = {"fp32": "fp32", "bf16": "bf16", "int8": "static_int8"}
# What the summary shows, from the top: label, precision, of PyTorch's routes alone.
_KINDS = (
    ("fp32, fastest of PyTorch", "fp32", True),
    ("fp32, fastest of all", "fp32", False),
    ("bf16, fastest of PyTorch", "bf16", True),
    ("bf16, fastest of all", "bf16", False),
    ("int8, fastest of PyTorch", "int8", True),
    ("int8, fastest of all", "int8", False),
)
TITLES = {"resnet18": "ResNet-18", "mobilenet_v2": "MobileNetV2"}
TITLES |= {"resnet20": "ResNet-20", "resnet8": "ResNet-8"}


def networks(rows: pd.DataFrame) -> list[str]:
    """The networks of `rows` in the order in which they are always shown."""
    there = list(dict.fromkeys(rows.model))
    return sorted(there, key=lambda m: MODELS.index(m) if m in MODELS else len(MODELS))


def route_label(candidate: str) -> str:
    """ "int8:ort_qdq" as figures print it: "int8 ort qdq"."""
    return candidate.replace(":", " ").replace("_", " ")


def one_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows over eager fp32 at the fewest images a call and the most threads."""
    rows = frame[frame.baseline == "eager_fp32"]
    rows = rows[rows.batch == rows.batch.min()]
    return rows[rows.threads == rows.threads.max()]


def summary_figure(frame: pd.DataFrame) -> Figure:
    """The fastest of each precision over eager fp32, a panel a network."""
    rows = one_setting(frame)
    models = networks(rows)
    figure, axes = style.new_figure(
        columns=len(models), height=2.7, sharey=True, squeeze=False
    )
    shown = []
    for label, precision, alone in _KINDS:
        found = fastest(rows, precision=precision, torch_alone=alone)
        shown.append(found.assign(kind=label))
    data = pd.concat(shown, ignore_index=True)
    labels = [label for label, _, _ in _KINDS]
    for axis, model in zip(axes[0], models, strict=True):
        own = data[data.model == model]
        for row in own.itertuples():
            _point(axis, row, "ratio", len(labels) - 1 - labels.index(row.kind))
        axis.axvline(1, color="#000000", linewidth=0.8)
        most = own.ratio_hi.max()
        step = 5 if most > 10 else 2
        axis.set_xticks(range(0, int(most) + 1, step))
        axis.set_xlim(0, 1.05 * most)
        axis.set_title(TITLES.get(model, model), fontsize=9, loc="left")
    _rows_of(axes[0], labels)
    axes[0, len(models) // 2].set_xlabel("speed over fp32 as users write it [×]")
    one = rows.iloc[0]
    told = "; ".join(
        f"{TITLES.get(r.model, r.model)}, {r.kind}: {r.ratio:.2f} times "
        f"({route_label(r.candidate)})"
        for r in data.sort_values("model", kind="stable").itertuples()
    )
    own = data[data.kind == "int8, fastest of PyTorch"]
    span = f"{own.ratio.min():.2f} to {own.ratio.max():.2f}"
    return Figure(
        name="speed_summary",
        figure=figure,
        data=data,
        alt=f"Speed over eager fp32. {told}.",
        caption=(
            f"The fastest int8 of PyTorch is {span} times as fast as fp32 as users "
            "write it, and part of that is to be had without int8, or in another "
            f"engine. Batch {one.batch}, {counted(one.threads, 'thread')}; bars: 95 % "
            f"interval over {int(rows.n.min())} fresh processes, on {one.machine}."
        ),
    )


def routes_figure(frame: pd.DataFrame) -> Figure:
    """Milliseconds of each route, one panel a network, in the order of the table."""
    rows = one_setting(frame)
    models = networks(rows)
    order = list(dict.fromkeys(rows.candidate))
    figure, axes = style.new_figure(
        columns=len(models), height=1.0 + 0.2 * len(order), sharey=True, squeeze=False
    )
    told = []
    for axis, model in zip(axes[0], models, strict=True):
        own = rows[rows.model == model]
        for row in own.itertuples():
            _point(axis, row, "ms", len(order) - 1 - order.index(row.candidate))
        axis.set_title(TITLES.get(model, model), fontsize=9, loc="left")
        scales.logarithmic(axis, "x")
        scales.enclose(axis, "x", own.ms_lo.min(), own.ms_hi.max())
        axis.tick_params(axis="x", labelsize=8)
        first, last = own.loc[own.ms.idxmin()], own.loc[own.ms.idxmax()]
        told.append(
            f"{TITLES.get(model, model)}: {route_label(first.candidate)} "
            f"{first.ms:.2f} ms is fastest, {route_label(last.candidate)} "
            f"{last.ms:.2f} ms slowest"
        )
    _rows_of(axes[0], [route_label(name) for name in order])
    axes[0, len(models) // 2].set_xlabel(
        "time of one forward pass [ms], logarithmic (left is better)"
    )
    one = rows.iloc[0]
    return Figure(
        name="speed_routes",
        figure=figure,
        data=rows,
        alt=f"Time of one forward pass by route. {'; '.join(told)}.",
        caption=(
            f"{'; '.join(told)}. Batch {one.batch}, {counted(one.threads, 'thread')}; "
            "networks for 224 by 224 pixels have weights drawn from a seed. Bars: "
            f"95 % interval over {int(rows.n.min())} fresh processes, on {one.machine}."
        ),
    )


def _point(axis: Axes, row: tuple, column: str, position: int) -> None:
    value = getattr(row, column)
    low, high = getattr(row, f"{column}_lo"), getattr(row, f"{column}_hi")
    axis.errorbar(
        value,
        position,
        # A median of few is not always inside its interval's bootstrap.
        xerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]],
        markersize=4.5,
        capsize=2.0,
        **style.method_style(METHODS[row.precision]) | {"label": None},
    )


def _rows_of(axes: list[Axes], labels: list[str]) -> None:
    axes[0].set_yticks(range(len(labels)), labels[::-1], fontsize=8)
    axes[0].set_ylim(-0.6, len(labels) - 0.4)
