"""The records of the dynamic chapter as tables."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.dynamic import tables_layers, tables_speed
from qstudy.experiments.dynamic.forms import FORMS
from qstudy.experiments.dynamic.grid import NAME
from qstudy.measure import portable
from qstudy.spec import RunRecord

# The tiny networks of smoke runs stand in the tables under their own names.
MODELS = (
    "lstm", "lstm_512", "lstm_1024", "minilm", "bert_base", "mlp", "linear_1024",
    "linear_4096", "tiny_lstm", "tiny_encoder", "tiny_mlp",
)  # fmt: skip


def tables(records: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """dynamic_quality, _size, _ngram, _training, _ranges, _kernels and _latency.csv."""
    by_task: dict[str, list[RunRecord]] = {}
    for record in records:
        by_task.setdefault(record.spec.params["task"], []).append(record)
    makers = {
        "quality": ("quality", _quality),
        "size": ("quality", _size),
        "training": ("train", _training),
        "ngram": ("ngram", _ngram),
        "ranges": ("ranges", tables_layers.ranges_table),
        "kernels": ("kernels", tables_layers.kernels_table),
        "latency": ("latency", _latency),
    }
    return {
        f"{NAME}_{name}.csv": make(by_task[task])
        for name, (task, make) in makers.items()
        if task in by_task
    }


def _ordered(frame: pd.DataFrame, *more: str) -> pd.DataFrame:
    """By the house's order of models and forms, then by the columns `more`."""
    places = {
        "model": {name: i for i, name in enumerate(MODELS)},
        "form": {name: i for i, name in enumerate(FORMS)},
    }
    keys = [c for c in ("model", "form") if c in frame] + list(more)
    return frame.sort_values(
        keys,
        key=lambda c: c.map(places[c.name]) if c.name in places else c,
        ignore_index=True,
        kind="stable",
    )


def _about(record: RunRecord) -> dict[str, Any]:
    params = record.spec.params
    form = FORMS[params["how"]]
    return {
        "model": params["model"],
        "dataset": params["dataset"],
        "method": form.method,
        "form": form.how,
        "engine": form.engine or None,
        "weight_bits": form.weight_bits,
        "activation_bits": form.activation_bits,
        "granularity": form.granularity or None,
    }


def _strata(record: RunRecord) -> np.ndarray:
    """The genre of each test text, kept with the record: collecting reads no corpus."""
    return record.arrays["genre"]


def _quality(records: list[RunRecord]) -> pd.DataFrame:
    """One row a network in one form; differences are paired with its fp32 form."""
    from qstudy.measure import clusters, similarity

    reference = {
        r.spec.params["model"]: r for r in records if r.spec.params["how"] == "fp32"
    }
    rows = []
    for r in records:
        base = reference.get(r.spec.params["model"])
        lstm = "loss" in r.arrays
        hits, counts = _hits(r)
        top1 = clusters.by_text(100 * hits, counts, _strata(r))
        row = {**_about(r), "split": "test", "n": top1.n, "units": int(counts.sum())}
        row |= columns.interval("top1", top1)
        if lstm:
            row |= _perplexity(r.arrays["loss"], counts, _strata(r))
        if base is not None and base is not r:
            drop = clusters.by_text(100 * (_hits(base)[0] - hits), counts, _strata(r))
            row |= columns.interval("drop_pp", drop)
            if lstm:
                row |= _increase(r, base, counts)
            if "embeddings" in r.arrays:
                row |= similarity.agreement(
                    base.arrays["embeddings"], r.arrays["embeddings"]
                )
        named = {"origin": r.origin, "run": r.spec.key}
        rows.append({**row, **named, **_beside(base, r)})
    return _ordered(pd.DataFrame(rows))


def _beside(base: RunRecord | None, record: RunRecord) -> dict[str, str]:
    """The key of the fp32 run that a form is compared with, where there is one."""
    if base is None or base is record:
        return {}
    return {"baseline_run": base.spec.key}


def _hits(record: RunRecord) -> tuple[np.ndarray, np.ndarray]:
    """Per test text: how many of its tokens or passages are right, of how many."""
    from qstudy.measure import clusters

    arrays = record.arrays
    if "hits" in arrays:
        return arrays["hits"].astype(float), arrays["tokens"].astype(float)
    texts = int(arrays["text"].max()) + 1
    ones = np.ones(len(arrays["text"]))
    return (
        clusters.per_text(arrays["correct"], arrays["text"], texts=texts),
        clusters.per_text(ones, arrays["text"], texts=texts),
    )


def _perplexity(loss: np.ndarray, tokens: np.ndarray, strata: Any) -> dict[str, float]:
    from qstudy.measure import clusters

    mean = clusters.by_text(loss, tokens, strata)
    return _through(portable.exp, "perplexity", mean)


def _increase(record: RunRecord, base: RunRecord, tokens: np.ndarray) -> dict:
    """By how many percent the perplexity rises over fp32, paired by text."""
    from qstudy.measure import clusters

    change = clusters.by_text(
        record.arrays["loss"] - base.arrays["loss"], tokens, _strata(record)
    )
    return _through(
        lambda nats: 100 * portable.expm1(nats), "perplexity_rise_pct", change
    )


def _through(function: Any, column: str, found: Any) -> dict[str, float]:
    """An interval's columns after a rising `function` of all three."""
    shown = columns.interval(column, found)
    return {name: function(value) for name, value in shown.items()}


def _size(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    whole = {
        r.spec.params["model"]: r for r in records if r.spec.params["how"] == "fp32"
    }
    for r in records:
        if "size_mib/file" not in r.values:
            continue
        parts = {
            f"{p}_mib": r[f"size_mib/{p}"] for p in ("embedding", "weight", "other")
        }
        base = whole.get(r.spec.params["model"])
        rows.append(
            {
                **_about(r),
                **parts,
                "size_mib": r["size_mib/file"],
                "ratio": base["size_mib/file"] / r["size_mib/file"] if base else None,
                "parameters": r["parameters"],
                "quantized_pct": 100 * r["quantized_parameters"] / r["parameters"],
                "left_in_float": ", ".join(json.loads(str(r["left_in_float"]))) or None,
                "origin": r.origin,
                "run": r.spec.key,
                **_beside(base, r),
            }
        )
    return _ordered(pd.DataFrame(rows))


def _training(records: list[RunRecord]) -> pd.DataFrame:
    rows = [
        {
            "model": r.spec.params["model"],
            "dataset": r.spec.params["dataset"],
            "split": "validation",
            "seed": r.spec.seed,
            "epochs": r.spec.params["recipe"]["epochs"],
            "perplexity": _maybe(r, "validation_perplexity"),
            "top1": _maybe(r, "validation_top1"),
            "minutes": r.seconds / 60,
            "origin": r.origin,
            "run": r.spec.key,
        }
        for r in records
    ]
    return _ordered(pd.DataFrame(rows))


def _maybe(record: RunRecord, name: str) -> Any:
    return record[name] if name in record.values else None


def _ngram(records: list[RunRecord]) -> pd.DataFrame:
    rows = []
    for r in records:
        row = _perplexity(r.arrays["loss"], r.arrays["tokens"], _strata(r))
        rows.append(
            {
                "model": r.spec.params["model"],
                "dataset": r.spec.params["dataset"],
                "split": "test",
                "discount": r["discount"],
                "n": len(r.arrays["tokens"]),
                **row,
                "origin": r.origin,
                "run": r.spec.key,
            }
        )
    return pd.DataFrame(rows)


def _latency(records: list[RunRecord]) -> pd.DataFrame:
    return _ordered(tables_speed.latency_table(records), *tables_speed.ORDER)
