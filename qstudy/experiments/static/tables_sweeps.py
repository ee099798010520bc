"""The sweeps' records as tables: a row a condition, its drop paired with fp32's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.static.grid_sweeps import ORDERS, RANKINGS, label
from qstudy.measure import portable
from qstudy.spec import RunRecord, RunSpec


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """static_weights, _calibration, _variance, _sensitivity, _engines, _models, _cures.

    Beside them _variance_summary (over draws), _ranks (how far two measures of
    sensitivity order the layers alike), _partial, _depth and _clips. A table whose runs
    are missing is left out.
    """
    of: dict[str, list[RunRecord]] = {}
    for record in records:
        of.setdefault(record.spec.params["task"], []).append(record)
    makers: dict[str, tuple[str, Callable[[list[RunRecord]], list[dict]]]] = {
        "static_weights.csv": ("weights", _weights),
        "static_calibration.csv": ("activations", _calibration),
        "static_variance.csv": ("variance", _variance),
        "static_sensitivity.csv": ("sensitivity", _sensitivity),
        "static_partial.csv": ("partial", _partial),
        "static_models.csv": ("models", _models),
        "static_engines.csv": ("engines", _engines),
        "static_depth.csv": ("depth", _depth),
        "static_clips.csv": ("clips", _clips),
        "static_cures.csv": ("cures", _cures),
    }
    made = {
        name: pd.DataFrame(make(of[task]))
        for name, (task, make) in makers.items()
        if task in of
    }
    if "static_variance.csv" in made:
        summary = _summary(made["static_variance.csv"])
        made["static_variance_summary.csv"] = summary
    if "static_sensitivity.csv" in made:
        made["static_ranks.csv"] = _ranks(made["static_sensitivity.csv"])
    return made


def _about(record: RunRecord) -> dict[str, Any]:
    params = record.spec.params
    parent = RunSpec.from_dict(params["parent"])
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "stage": parent.params["stage"],
        "split": params["scored_on"],
        "seed": parent.seed,
    }


def _end(record: RunRecord) -> dict[str, Any]:
    return {"origin": record.origin, "run": record.spec.key}


def _scores(record: RunRecord, name: str, place: int) -> dict[str, Any]:
    """Top-1 of the condition `name`, row `place` of the arrays, and its paired drop."""
    from qstudy.measure.statistics import paired_drop

    correct = record.arrays["correct"]
    drop = paired_drop(correct[0], correct[place], seed=0) if place else None
    return {
        "n": correct.shape[1],
        **columns.interval("top1", record.values[f"top1.{name}"]),
        **columns.interval("drop_pp", drop),
    }


def _swept(
    record: RunRecord, *, first: int = 1
) -> Iterable[tuple[dict[str, Any], str, dict[str, Any]]]:
    """(condition, its name, its scores); the first rows of the arrays come before."""
    for place, condition in enumerate(record.spec.params["conditions"], start=first):
        name = label(condition)
        yield dict(condition), name, _scores(record, name, place)


def _calibrator(condition: dict[str, Any]) -> str:
    """One text for a calibrator with its percentile."""
    if "percentile" in condition:
        return f"percentile {condition['percentile']}"
    return condition["calibrator"]


def _ordered(records: list[RunRecord]) -> list[RunRecord]:
    return sorted(
        records,
        key=lambda r: (
            len(r.spec.params["model"]),
            r.spec.params["model"],
            RunSpec.from_dict(r.spec.params["parent"]).seed,
            r.spec.seed,
        ),
    )


def _weights(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **_about(record),
            "weight_bits": condition["weight_bits"],
            "activation_bits": 32,
            "granularity": condition["granularity"],
            "bn": condition["bn"],
            **scores,
            **_end(record),
        }
        for record in _ordered(records)
        for condition, _, scores in _swept(record)
    ]


def _calibration(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **_about(record),
            "weight_bits": 8,
            "activation_bits": condition["activation_bits"],
            "scheme": condition["scheme"],
            "calibrator": _calibrator(condition),
            "calibration_images": record.spec.params["calibration_images"],
            **scores,
            **_end(record),
        }
        for record in _ordered(records)
        for condition, _, scores in _swept(record)
    ]


def _variance(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **_about(record),
            "weight_bits": 8,
            "activation_bits": record.spec.params["activation_bits"],
            "calibrator": _calibrator(condition),
            "calibration_images": condition["images"],
            "draw": record.spec.seed,
            **scores,
            "sqnr_db": record[f"noise.{name}"],
            **_end(record),
        }
        for record in _ordered(records)
        for condition, name, scores in _swept(record)
    ]


def _summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Over the draws of each calibrator and number of images."""
    keys = ["model", "split", "activation_bits", "calibrator", "calibration_images"]
    rows = []
    for key, draws in frame.groupby(keys, sort=False):
        drops = draws.drop_pp.tolist()
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "draws": len(drops),
                "n": int(draws.n.iloc[0]),
                "drop_mean": portable.mean(drops),
                "drop_best": min(drops),
                "drop_worst": max(drops),
                "range_pp": max(drops) - min(drops),
                "sqnr_db": portable.mean(draws.sqnr_db),
                "origin": draws.origin.iloc[0],
                "run": draws.run.iloc[0],
                "runs": " ".join(draws.run),
            }
        )
    return pd.DataFrame(rows)


def _sensitivity(records: list[RunRecord]) -> list[dict[str, Any]]:
    """Three measures, each larger for a layer that costs more.

    leave_one_out: the loss that keeping the layer in fp32 saves; one_in: the loss that
    quantizing it alone adds; noise: the power of the noise that it alone makes, -SQNR.
    """
    rows = []
    for record in _ordered(records):
        for name in record["layers"].split():
            rows.append(
                {
                    **_about(record),
                    "bits": record.spec.params["bits"],
                    "layer": name,
                    "draw": record.spec.seed,
                    "n": record.arrays["correct"].shape[1],
                    "leave_one_out": record["loss.all"] - record[f"loss.out.{name}"],
                    "one_in": record[f"loss.in.{name}"] - record["loss.fp32"],
                    "noise": -record[f"noise.{name}"],
                    "top1_out": record[f"top1.out.{name}"],
                    "top1_in": record[f"top1.in.{name}"],
                    **_end(record),
                }
            )
    return rows


def kendall(a: list[float], b: list[float]) -> float:
    """Kendall's tau-a: the share of pairs ordered alike minus that ordered otherwise.

    A ratio of whole numbers, the same on every processor. ValueError for other lengths
    or fewer than two values.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{len(a)} and {len(b)} values have no order to compare")
    signs = [
        ((a[i] > a[j]) - (a[i] < a[j])) * ((b[i] > b[j]) - (b[i] < b[j]))
        for i, j in combinations(range(len(a)), 2)
    ]
    return sum(signs) / len(signs)


def _ranks(frame: pd.DataFrame) -> pd.DataFrame:
    """Of two measures in one draw, and of one measure in two draws."""
    of = {draw: rows for draw, rows in frame.groupby("draw")}
    rows = []
    for draw, layers in of.items():
        for a, b in combinations(RANKINGS, 2):
            tau = kendall(layers[a].tolist(), layers[b].tolist())
            about = layers.iloc[0]
            rows.append((a, b, f"{draw}", tau, len(layers), about.origin, about.run))
    for measure in RANKINGS:
        for a, b in combinations(of, 2):
            tau = kendall(of[a][measure].tolist(), of[b][measure].tolist())
            about = of[a].iloc[0]
            end = (about.origin, about.run)
            rows.append((measure, measure, f"{a} and {b}", tau, len(of[a]), *end))
    names = ["first", "second", "draw", "tau", "n", "origin", "run"]
    return pd.DataFrame(rows, columns=names)


def _partial(records: list[RunRecord]) -> list[dict[str, Any]]:
    rows = []
    for record in _ordered(records):
        orders = {r: record[f"order.{r}"].split() for r in ORDERS}
        # As the task scored them: fp32, none kept, then each ranking's first layers.
        names = ["0"] + [
            f"{r}-{count}" for r in ORDERS for count in range(1, len(orders[r]) + 1)
        ]
        for place, name in enumerate(names, start=1):
            ranking, _, count = name.rpartition("-")
            order = orders.get(ranking, [])
            rows.append(
                {
                    **_about(record),
                    "bits": record.spec.params["bits"],
                    "ranking": ranking or "none",
                    "kept": int(count),
                    "layers": " ".join(order[: int(count)]),
                    **_scores(record, name, place),
                    **_end(record),
                }
            )
    return rows


def _models(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **_about(record),
            "weight_bits": condition["weight_bits"],
            "activation_bits": condition["activation_bits"],
            "calibrator": _calibrator(condition),
            "fp32_top1": record["top1.fp32"],
            **scores,
            **_end(record),
        }
        for record in _ordered(records)
        for condition, _, scores in _swept(record)
    ]


def _engines(records: list[RunRecord]) -> list[dict[str, Any]]:
    rows = []
    for record in _ordered(records):
        simulated = {"engine": "simulated", "how": "same"}, "simulated"
        of = [(*simulated, _scores(record, "simulated", 1)), *_swept(record, first=2)]
        for condition, name, scores in of:
            rows.append(
                {
                    **_about(record),
                    **condition,
                    **scores,
                    "agree_pct": record[f"agree.{name}"],
                    **_end(record),
                }
            )
    return rows


def _depth(records: list[RunRecord]) -> list[dict[str, Any]]:
    rows = []
    for record in _ordered(records):
        for key, value in record.values.items():
            place, _, rest = key.partition(".")
            kernel, _, form = rest.rpartition(".")
            rows.append(
                {
                    **_about(record),
                    "engine": record.spec.params["engine"],
                    "place": int(place),
                    "kernel": kernel,
                    "form": form,
                    "n": record.spec.params["noise_images"],
                    "sqnr_db": value.value,
                    **_end(record),
                }
            )
    return rows


def _clips(records: list[RunRecord]) -> list[dict[str, Any]]:
    """Of each activation shown: counts by bin (calibrator None), and each clip."""
    rows = []
    for record in _ordered(records):
        layers = record.spec.params["layers"]
        for layer, counts in zip(layers, record.arrays["counts"], strict=True):
            width = record[f"width.{layer}"]
            about = {**_about(record), "layer": layer}
            for place, count in enumerate(counts.tolist()):
                held = {"calibrator": None, "value": (place + 0.5) * width}
                rows.append({**about, **held, "count": count, **_end(record)})
            for key in record.values:
                if key.startswith("clip.") and key.endswith(f"@{layer}"):
                    name = key[5:].rpartition("@")[0]
                    clip = {"calibrator": name, "value": record[key], "count": None}
                    rows.append({**about, **clip, **_end(record)})
    return rows


def _cures(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **_about(record),
            "weight_bits": record.spec.params["weight_bits"],
            "activation_bits": 8,
            "granularity": condition["granularity"],
            "cure": condition["cure"],
            "calibration_images": record.spec.params["calibration_images"],
            **scores,
            "cpu_s": record[f"cpu.{name}"],
            "machine": record.machine,
            **_end(record),
        }
        for record in _ordered(records)
        for condition, name, scores in _swept(record)
    ]
