"""What the dynamic chapter's prose quotes, and its verdicts on the deck's claims."""

from __future__ import annotations

from typing import Any

import pandas as pd

from qstudy.experiments import columns
from qstudy.experiments.dynamic.grid import HEADLINE, NAME
from qstudy.experiments.dynamic.tables_speed import fastest_int8
from qstudy.measure import portable
from qstudy.spec import Number

# The setting of the headline ratios: one sequence of 64 tokens, both cores.
BATCH, LENGTH, THREADS = 1, 64, 2
_SHORT = {"eager_fp32": "eager", "best_fp32": "best_fp32", "best_bf16": "best_bf16"}


def numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Number]:
    """dynamic.<model>.<form>.*, dynamic.<model>.speed_* and dynamic.claim.<model>.*."""
    made: dict[str, Number] = {}
    for file, quote in (
        ("dynamic_quality.csv", _quality),
        ("dynamic_size.csv", _size),
        ("dynamic_training.csv", _training),
        ("dynamic_ngram.csv", _ngram),
        ("dynamic_ranges.csv", _ranges),
        ("dynamic_kernels.csv", _kernels),
        ("dynamic_latency.csv", _speed),
    ):
        if file in tables:
            made |= quote(tables[file])
    return made


def _quality(frame: pd.DataFrame) -> dict[str, Number]:
    from qstudy.measure import statistics

    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.{row.model}.{row.form}"
        made[f"{key}.top1"] = columns.number(row, "top1", "%", 2)
        if _there(row, "perplexity"):
            made[f"{key}.perplexity"] = columns.number(row, "perplexity", "", 1)
        if _there(row, "drop_pp"):
            made[f"{key}.drop"] = columns.number(row, "drop_pp", "pp", 2, compared=True)
        if _there(row, "perplexity_rise_pct"):
            made[f"{key}.rise"] = columns.number(
                row, "perplexity_rise_pct", "%", 2, compared=True
            )
        if _there(row, "cosine"):
            made[f"{key}.cosine"] = columns.number(row, "cosine", "", 4, compared=True)
            made[f"{key}.cosine_min"] = columns.number(
                row, "cosine_min", "", 4, compared=True
            )
            made[f"{key}.rank"] = columns.number(
                row, "rank_correlation", "", 4, compared=True
            )
        if row.form == HEADLINE and _there(row, "drop_pp"):
            made[f"{NAME}.claim.{row.model}.accuracy"] = Number(
                statistics.accuracy_verdict(row.drop_hi, low=row.drop_lo),
                runs=columns.runs(row, compared=True),
            )
        here = columns.runs(frame[frame.model == row.model])
        made[f"{NAME}.{row.model}.texts"] = Number(int(row.n), "", 0, runs=here)
        made[f"{NAME}.{row.model}.units"] = Number(int(row.units), "", 0, runs=here)
    return made


def _there(row: Any, column: str) -> bool:
    value = getattr(row, column, None)
    return value is not None and not pd.isna(value)


def _size(frame: pd.DataFrame) -> dict[str, Number]:
    from qstudy.measure import statistics

    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.{row.model}.{row.form}"
        made[f"{key}.mib"] = columns.number(row, "size_mib", "MiB", 2)
        made[f"{key}.quantized"] = columns.number(row, "quantized_pct", "%", 1)
        if _there(row, "ratio"):
            made[f"{key}.size_ratio"] = columns.number(
                row, "ratio", "×", 2, compared=True
            )
        if row.form == HEADLINE and _there(row, "ratio"):
            made[f"{NAME}.claim.{row.model}.size"] = Number(
                statistics.size_verdict(row.ratio),
                runs=columns.runs(row, compared=True),
            )
        if row.form == "fp32":
            made[f"{NAME}.{row.model}.parameters"] = Number(
                int(row.parameters), "", 0, runs=(row.run,)
            )
            made[f"{NAME}.{row.model}.embedding_share"] = Number(
                100 * row.embedding_mib / row.size_mib, "%", 0, runs=(row.run,)
            )
    return made


def _training(frame: pd.DataFrame) -> dict[str, Number]:
    made = {}
    for row in frame.itertuples():
        key = f"{NAME}.{row.model}"
        made[f"{key}.epochs"] = Number(int(row.epochs), "", 0, runs=(row.run,))
        if _there(row, "perplexity"):
            made[f"{key}.validation"] = columns.number(row, "perplexity", "", 1)
        else:
            made[f"{key}.validation"] = columns.number(row, "top1", "%", 1)
    return made


def _ngram(frame: pd.DataFrame) -> dict[str, Number]:
    row = next(frame.itertuples())
    return {
        f"{NAME}.ngram.perplexity": columns.number(row, "perplexity", "", 1),
        f"{NAME}.ngram.discount": columns.number(row, "discount", "", 1),
    }


def _ranges(frame: pd.DataFrame) -> dict[str, Number]:
    """How far fixed ranges and each passage's own lie apart, over layers."""
    fixed = frame.static_max_high - frame.static_max_low
    own = frame.dynamic_high_p50 - frame.dynamic_low_p50
    ratio = fixed / own
    runs = columns.runs(frame)
    widest = frame.loc[ratio.idxmax(), "layer"]
    return {
        f"{NAME}.ranges.layers": Number(len(frame), "", 0, runs=runs),
        f"{NAME}.ranges.median": Number(portable.median(ratio), "×", 2, runs=runs),
        f"{NAME}.ranges.most": Number(ratio.max(), "×", 2, runs=runs),
        f"{NAME}.ranges.widest": Number(widest, runs=runs),
        f"{NAME}.ranges.outside": Number(frame.outside_pct.max(), "%", 3, runs=runs),
        f"{NAME}.ranges.passages": Number(int(frame.n.iloc[0]), "", 0, runs=runs),
    }


def _kernels(frame: pd.DataFrame) -> dict[str, Number]:
    runs = columns.runs(frame)
    same = int((frame.differing == 0).sum())
    return {
        f"{NAME}.kernels.same": Number(same, "", 0, runs=runs),
        f"{NAME}.kernels.all": Number(len(frame), "", 0, runs=runs),
        f"{NAME}.kernels.results": Number(int(frame.n.sum()), "", 0, runs=runs),
        f"{NAME}.kernels.differing": Number(
            int(frame.differing.sum()), "", 0, runs=runs
        ),
    }


def _speed(frame: pd.DataFrame) -> dict[str, Number]:
    """Ratios of torch's int8 at every setting, and verdicts at the headline's."""
    from qstudy.measure import statistics

    made = {}
    chosen = frame[frame.candidate.isin((f"int8:{HEADLINE}", "bf16:eager"))]
    chosen = chosen[chosen.forms != "slow engines"]
    for row in chosen.itertuples():
        short = "int8" if row.candidate.startswith("int8") else "bf16"
        length = "" if pd.isna(row.length) else f"_l{int(row.length)}"
        setting = f"{short}_{_SHORT[row.baseline]}_b{row.batch}{length}_t{row.threads}"
        key = f"{NAME}.{row.model}.speed_{setting}"
        if row.forms == "with compiled":
            key = f"{key}_compiled"
        made[key] = columns.number(row, "ratio", "×", 2)
        made[f"{NAME}.machine"] = Number(row.machine, runs=(row.run,))
    made |= _against_bf16(frame)
    for model in chosen.model.unique():
        rows = chosen[
            (chosen.model == model) & (chosen.candidate == f"int8:{HEADLINE}")
        ]
        rows = rows[(rows.batch == BATCH) & (rows.threads == THREADS)]
        rows = rows[rows.length.isna() | (rows.length == LENGTH)]
        for baseline, short in _SHORT.items():
            # The run with compiled forms knows the fastest fp32; else the eager ones.
            found = rows[rows.baseline == baseline].sort_values("forms", kind="stable")
            if baseline == "eager_fp32":
                found = found[found.forms == "eager"]
            if not len(found):
                continue
            row = next(found.iloc[[-1]].itertuples())
            made[f"{NAME}.{model}.speed_{short}"] = columns.number(row, "ratio", "×", 2)
            made[f"{NAME}.claim.{model}.speed_{short}"] = Number(
                statistics.speed_verdict(row.ratio_lo, row.ratio_hi), runs=(row.run,)
            )
    return made


def _against_bf16(frame: pd.DataFrame) -> dict[str, Number]:
    """In how many settings the fastest int8 is surely faster, or slower, than bf16."""
    rows = fastest_int8(frame)
    rows = rows[(rows.baseline == "best_bf16") & (rows.threads == THREADS)]
    made = {}
    for model, settings in rows.groupby("model"):
        key, runs = f"{NAME}.{model}.bf16", columns.runs(settings)
        for name, count in (
            ("settings", len(settings)),
            ("int8_faster", int((settings.ratio_lo > 1).sum())),
            ("bf16_faster", int((settings.ratio_hi < 1).sum())),
        ):
            made[f"{key}.{name}"] = Number(count, "", 0, runs=runs)
        made[f"{key}.least"] = Number(settings.ratio.min(), "×", 2, runs=runs)
        made[f"{key}.most"] = Number(settings.ratio.max(), "×", 2, runs=runs)
    return made
