"""Fusion's records as tables, figures and quoted numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qstudy.experiments import timing
from qstudy.report import style
from qstudy.report.figures import Figure
from qstudy.spec import Number, RunRecord

NAME = "fusion"


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """A file a task: fusion.csv, fusion_latency.csv, _rounding.csv and _ranges.csv."""
    files = {
        "agreement": "fusion.csv",
        "latency": "fusion_latency.csv",
        "rounding": "fusion_rounding.csv",
        "ranges": "fusion_ranges.csv",
    }
    makers = {
        "agreement": lambda r: [{name: v.value for name, v in r.values.items()}],
        "latency": _latency_rows,
        "rounding": _rounding_rows,
        "ranges": _range_rows,
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for r in records:
        task = r.spec.params["task"]
        for row in makers[task](r):
            model = r.spec.params.get("pretrained", r.spec.params["model"])
            named = {"model": model, **row}
            rows.setdefault(files[task], []).append(
                named | {"origin": r.origin, "run": r.spec.key}
            )
    order = {"fusion_latency.csv": ["model", "batch"]}
    return {
        name: pd.DataFrame(made).sort_values(
            order.get(name, ["model"]), kind="stable", ignore_index=True
        )
        for name, made in rows.items()
    }


def _latency_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    (row,) = timing.rows(record)
    unfused = record.values[f"ms/unfused/b{row['batch']}"]
    row |= {"ms_unfused": unfused.value, "ms_fused": row.pop("ms")}
    for dropped in ("candidate", "ms_lo", "ms_hi", "baseline"):
        row.pop(dropped)
    yield row


def _rounding_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    from qstudy.measure.statistics import paired_drop

    for name in ("fp32", *(n for n in record.arrays if n != "fp32")):
        when, _, granularity = name.partition("_")
        top1 = record.values[f"{name.replace('_', '/', 1)}/top1"]
        row = {
            "weights": "fp32" if when == "fp32" else when,
            "granularity": granularity or None,
            "n": len(record.arrays[name]),
            "top1": top1.value,
            "top1_lo": top1.low,
            "top1_hi": top1.high,
        }
        if name != "fp32":
            drop = paired_drop(record.arrays["fp32"], record.arrays[name], seed=0)
            row |= {"drop_pp": drop.value, "drop_lo": drop.low, "drop_hi": drop.high}
        yield row


def _range_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    # A layer's own name may hold dots, never slashes.
    layers: dict[str, dict[str, Any]] = {}
    for key, value in record.values.items():
        layer, *rest = key.split("/")
        layers.setdefault(layer, {})["_".join(reversed(rest))] = value.value
    for layer, row in layers.items():
        inputs = row.pop("inputs")
        kind = "depthwise" if inputs == 1 else "dense"
        yield {"layer": layer, "kind": kind, **row}


def figures(tables: dict[str, pd.DataFrame]) -> Iterator[Figure]:
    """fusion_latency: ratios; fusion_ranges: int8 errors layer by layer."""
    if "fusion_latency.csv" in tables:
        yield _latency_figure(tables["fusion_latency.csv"])
    if "fusion_ranges.csv" in tables:
        yield _ranges_figure(tables["fusion_ranges.csv"])


def _latency_figure(timed: pd.DataFrame) -> Figure:
    figure, axis = style.new_figure(height=0.9 + 0.35 * len(timed))
    labels = [f"{r.model}, batch {int(r.batch)}" for r in timed.itertuples()]
    positions = range(len(timed))[::-1]
    errors = [timed.ratio - timed.ratio_lo, timed.ratio_hi - timed.ratio]
    looks = style.method_style("fp32") | {"label": None}
    axis.errorbar(timed.ratio, positions, xerr=errors, linestyle="none", **looks)
    for position, row in zip(positions, timed.itertuples(), strict=True):
        axis.annotate(
            f"{row.ratio:.2f}×",
            (row.ratio, position),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
        )
    axis.axvline(1, color="#666666", linestyle="--", linewidth=1)
    axis.set_yticks(list(positions), labels)
    axis.set_ylim(-0.6, len(timed) - 0.3)
    axis.set_xlabel("unfused time / fused time (right is better)")
    told = "; ".join(
        f"{label} {row.ratio:.2f} times ({row.ratio_lo:.2f} to {row.ratio_hi:.2f})"
        for label, row in zip(labels, timed.itertuples(), strict=True)
    )
    machines = ", ".join(sorted(timed.machine.unique()))
    best = timed.ratio_lo.idxmax()
    resolved = int(((timed.ratio_lo > 1) | (timed.ratio_hi < 1)).sum())
    return Figure(
        name="fusion_latency",
        figure=figure,
        data=timed,
        alt=f"Speed of the fused network over the unfused one, eager fp32: {told}.",
        caption=(
            f"Fusion alone makes {labels[best]}, {timed.ratio[best]:.2f} times as "
            f"fast; {resolved} of {len(timed)} intervals lie clear of 1. Bars: 95 % "
            f"interval over {int(timed.n.min())} fresh processes, "
            f"{int(timed.threads.min())} threads, on {machines}."
        ),
    )


def _ranges_figure(ranges: pd.DataFrame) -> Figure:
    models = sorted(ranges.model.unique(), reverse=True)  # ResNets first
    figure, axes = style.new_figure(
        columns=len(models), height=3.8, sharey=True, squeeze=False
    )
    looks = {
        "per_channel_sqnr_unfused": ("#0072B2", "D", "none", "per channel, unfolded"),
        "per_channel_sqnr_fused": ("#0072B2", "D", "full", "per channel, folded"),
        "per_tensor_sqnr_unfused": ("#D55E00", "o", "none", "per tensor, unfolded"),
        "per_tensor_sqnr_fused": ("#D55E00", "o", "full", "per tensor, folded"),
    }
    told = []
    for axis, model in zip(axes[0], models, strict=True):
        layers = ranges[ranges.model == model]
        for column, (colour, marker, fill, label) in looks.items():
            axis.plot(
                range(1, len(layers) + 1),
                layers[column],
                color=colour,
                marker=marker,
                markersize=4,
                fillstyle=fill,
                linewidth=0.8,
                linestyle="-" if fill == "full" else ":",
                label=label,
            )
        axis.set_xlabel(f"convolution, input to output\n{model}")
        loss = layers.per_tensor_sqnr_unfused - layers.per_tensor_sqnr_fused
        channel = layers.per_channel_sqnr_unfused - layers.per_channel_sqnr_fused
        told.append(
            f"{model}, {len(layers)} convolutions: with one scale a tensor folding "
            f"costs {loss.median():.1f} dB in the median layer and {loss.max():.1f} dB "
            f"in the worst, with one scale a channel at most {channel.max():.1f} dB"
        )
    axes[0, 0].set_ylabel("int8 weights: SQNR [dB]\n(up is better)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return Figure(
        name="fusion_ranges",
        figure=figure,
        data=ranges,
        alt=f"Signal-to-quantization-noise ratio of int8 weights. {'; '.join(told)}.",
        caption=f"What folding does to int8 weights. {'; '.join(told)}.",
    )


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """fusion.<model>.*: differences, counts, ratios, ranges, accuracies."""
    quoted = {}
    nothing = pd.DataFrame()
    for row in tables.get("fusion.csv", nothing).to_dict("records"):
        key, runs = f"{NAME}.{row['model']}", (row["run"],)
        for name in ("", "torch_"):
            for dtype in ("float64", "fp32"):
                quantity = f"{name}{dtype}_difference"
                quoted[f"{key}.{quantity}"] = Number(f"{row[quantity]:.1e}", runs=runs)
        for name in ("modules", "operations"):
            for when in ("before", "after"):
                quantity = f"{name}_{when}"
                quoted[f"{key}.{quantity}"] = Number(
                    int(row[quantity]), "", 0, runs=runs
                )
    for row in tables.get("fusion_latency.csv", nothing).itertuples():
        quoted[f"{NAME}.{row.model}.ratio_b{int(row.batch)}"] = Number(
            row.ratio, "×", 2, row.ratio_lo, row.ratio_hi, int(row.n), (row.run,)
        )
        quoted[f"{NAME}.{row.model}.verdict_b{int(row.batch)}"] = Number(
            _verdict(row.ratio_lo, row.ratio_hi), runs=(row.run,)
        )
    for row in tables.get("fusion_rounding.csv", nothing).itertuples():
        if row.weights == "fp32":
            continue
        quoted[f"{NAME}.{row.model}.drop_{row.weights}_{row.granularity}"] = Number(
            row.drop_pp, "pp", 2, row.drop_lo, row.drop_hi, int(row.n), (row.run,)
        )
    if "fusion_ranges.csv" in tables:
        for model, layers in tables["fusion_ranges.csv"].groupby("model"):
            quoted |= _range_numbers(f"{NAME}.{model}", layers)
    return quoted


def _verdict(low: float, high: float) -> str:
    if low <= 1 <= high:
        return "not resolved"
    return "faster" if low > 1 else "slower"


def _range_numbers(key: str, layers: pd.DataFrame) -> dict[str, Number]:
    runs, n = tuple(layers.run.unique()), len(layers)
    widening = layers.spread_fused / layers.spread_unfused
    quoted = {
        f"{key}.range_widening": Number(widening.median(), "×", 2, n=n, runs=runs),
        f"{key}.range_widening_max": Number(widening.max(), "×", 2, n=n, runs=runs),
        f"{key}.layers_widened": Number(int((widening > 1).sum()), "", 0, runs=runs),
        f"{key}.layers": Number(n, "", 0, runs=runs),
    }
    for short in ("tensor", "channel"):
        before = layers[f"per_{short}_sqnr_unfused"]
        loss = before - layers[f"per_{short}_sqnr_fused"]
        quoted[f"{key}.{short}_sqnr_loss"] = Number(
            loss.median(), "dB", 2, n=n, runs=runs
        )
        quoted[f"{key}.{short}_sqnr_loss_max"] = Number(
            loss.max(), "dB", 2, n=n, runs=runs
        )
        depthwise = loss[layers.kind == "depthwise"]
        if len(depthwise):
            quoted[f"{key}.{short}_sqnr_loss_depthwise"] = Number(
                depthwise.median(), "dB", 2, n=len(depthwise), runs=runs
            )
    return quoted
