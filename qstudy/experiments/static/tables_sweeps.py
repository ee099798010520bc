"""The sweeps' records as tables: a row a condition, its drop paired with fp32's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from qstudy.experiments.static import (
    tables_kept,
    tables_layers,
    tables_transfer,
    tables_work,
)
from qstudy.experiments.static.tables_parts import (
    about,
    calibrator,
    end,
    ordered,
    scores,
    swept,
)
from qstudy.measure import portable
from qstudy.spec import RunRecord


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """static_weights, _calibration, _variance, _sensitivity, _engines, _models, _cures.

    And _transfer and _equalized, of the pretrained network. Beside them
    _variance_summary (over draws), _ranks (how far two measures of sensitivity order
    the layers alike), _partial, _depth, _clips, _work (seconds) and those of
    tables_kept. A table whose runs are missing is left out.
    """
    of: dict[str, list[RunRecord]] = {}
    for record in records:
        of.setdefault(record.spec.params["task"], []).append(record)
    makers: dict[str, tuple[str, Callable[[list[RunRecord]], list[dict]]]] = {
        "static_weights.csv": ("weights", _weights),
        "static_calibration.csv": ("activations", _calibration),
        "static_variance.csv": ("variance", _variance),
        "static_sensitivity.csv": ("sensitivity", tables_layers.sensitivity),
        "static_partial.csv": ("partial", tables_layers.partial),
        "static_models.csv": ("models", _models),
        "static_engines.csv": ("engines", _engines),
        "static_depth.csv": ("depth", tables_layers.depth),
        "static_clips.csv": ("clips", _clips),
        "static_cures.csv": ("cures", _cures),
        "static_transfer.csv": ("transfer", tables_transfer.transfer),
        "static_equalized.csv": ("equalized", tables_transfer.equalized),
        "static_work.csv": ("work", tables_work.work),
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
        made["static_ranks.csv"] = tables_layers.ranks(made["static_sensitivity.csv"])
    kept = (of.get(task, []) for task in ("kept", "kept_latency"))
    return made | dict(tables_kept.tables(*kept))


def _weights(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **about(record),
            "weight_bits": condition["weight_bits"],
            "activation_bits": 32,
            "granularity": condition["granularity"],
            "bn": condition["bn"],
            **found,
            **end(record),
        }
        for record in ordered(records)
        for condition, _, found in swept(record)
    ]


def _calibration(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **about(record),
            "weight_bits": 8,
            "activation_bits": condition["activation_bits"],
            "scheme": condition["scheme"],
            "calibrator": calibrator(condition),
            "calibration_images": record.spec.params["calibration_images"],
            **found,
            **end(record),
        }
        for record in ordered(records)
        for condition, _, found in swept(record)
    ]


def _variance(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **about(record),
            "weight_bits": 8,
            "activation_bits": record.spec.params["activation_bits"],
            "calibrator": calibrator(condition),
            "calibration_images": condition["images"],
            "draw": record.spec.seed,
            **found,
            "sqnr_db": record[f"noise.{name}"],
            **end(record),
        }
        for record in ordered(records)
        for condition, name, found in swept(record)
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


def _models(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **about(record),
            "weight_bits": condition["weight_bits"],
            "activation_bits": condition["activation_bits"],
            "calibrator": calibrator(condition),
            "fp32_top1": record["top1.fp32"],
            **found,
            **end(record),
        }
        for record in ordered(records)
        for condition, _, found in swept(record)
    ]


def _engines(records: list[RunRecord]) -> list[dict[str, Any]]:
    rows = []
    for record in ordered(records):
        simulated = {"engine": "simulated", "how": "same"}, "simulated"
        of = [(*simulated, scores(record, "simulated")), *swept(record)]
        for condition, name, found in of:
            rows.append(
                {
                    **about(record),
                    **condition,
                    **found,
                    "agree_pct": record[f"agree.{name}"],
                    **end(record),
                }
            )
    return rows


def _clips(records: list[RunRecord]) -> list[dict[str, Any]]:
    """Of each activation shown: counts by bin (calibrator None), and each clip."""
    rows = []
    for record in ordered(records):
        layers = record.spec.params["layers"]
        for layer, counts in zip(layers, record.arrays["counts"], strict=True):
            width = record[f"width.{layer}"]
            common = {**about(record), "layer": layer}
            for place, count in enumerate(counts.tolist()):
                held = {"calibrator": None, "value": (place + 0.5) * width}
                rows.append({**common, **held, "count": count, **end(record)})
            for key in record.values:
                if key.startswith("clip.") and key.endswith(f"@{layer}"):
                    name = key[5:].rpartition("@")[0]
                    clip = {"calibrator": name, "value": record[key], "count": None}
                    rows.append({**common, **clip, **end(record)})
    return rows


def _cures(records: list[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            **about(record),
            "weight_bits": record.spec.params["weight_bits"],
            "activation_bits": 8,
            "granularity": condition["granularity"],
            "cure": condition["cure"],
            "calibration_images": record.spec.params["calibration_images"],
            **found,
            "cpu_s": record[f"cpu.{name}"],
            "machine": record.machine,
            **end(record),
        }
        for record in ordered(records)
        for condition, name, found in swept(record)
    ]
