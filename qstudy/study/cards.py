"""A model card for each trained network: what it is, how it came to be, what it is not.

Written from the record of its training alone, as Markdown, so that the same record
gives the same card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qstudy import data, experiments
from qstudy.report.numbers import counted
from qstudy.spec import RunRecord
from qstudy.study.networks import method_of, stage_of
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import write_atomically

_SCORES = {
    "top1": "Top-1 accuracy",
    "validation_top1": "Top-1 accuracy",
    "validation_perplexity": "Perplexity",
}


def write_cards(store: Store, records: list[RunRecord]) -> None:
    """cards/<checkpoint>.md for each network that a recipe made; others are dropped.

    `records` are those of all experiments of the tree.
    """
    kept = {}
    for record in records:
        found = checkpoint_of(record)
        trained = "recipe" in record.spec.params
        if found and trained and (store.root / "checkpoints" / found[0]).exists():
            kept[f"{Path(found[0]).stem}.md"] = card(record)
    folder = store.root / "cards"
    for path in folder.glob("*.md"):
        if path.name not in kept:
            path.unlink()
    for name, text in kept.items():
        write_atomically(folder / name, text)


def card(record: RunRecord) -> str:
    """The model card of a training run's network. KeyError where it kept none."""
    name, sha = checkpoint_of(record) or ("", "")
    if not name:
        raise KeyError(f"run {record.spec.key} kept no checkpoint")
    params = record.spec.params
    dataset, split = params["dataset"], params.get("split", "train")
    rows = {
        "Network": _network(record),
        "Data": f"{dataset}, split `{split}`",
        "Recipe": _settings(params["recipe"]),
        "Seed": str(record.spec.seed),
        "Cost": (
            f"{record.seconds / 60:.0f} minutes of wall time on "
            f"{counted(params['threads'], 'thread')}, with other work beside it or "
            f"not; {record.peak_mib:.0f} MiB at most; {record.machine}"
        ),
        **_scores(record),
        "Load": f"`{_call(record)}`",
        "File": f"`checkpoints/{name}`",
        "SHA-256": f"`{sha}`",
        "Run": f"`{record.spec.key}`, commit `{record.commit[:12]}`",
        "Versions": ", ".join(f"{k} {v}" for k, v in sorted(record.versions.items())),
        "Licence": f"MIT for the weights; trained on {data.TERMS[dataset]}",
        "Limits": experiments.by_name(record.spec.experiment).TRAINED.limits,
    }
    lines = "\n".join(f"* **{key}:** {value}" for key, value in rows.items())
    return f"## {Path(name).stem}\n\n{lines}\n"


def _network(record: RunRecord) -> str:
    model = record.spec.params["model"]
    said = "linear head on MiniLM's embedding" if model == "minilm" else model
    if "parameters" in record.values:
        said += f", {record['parameters']:,} parameters"
    return f"{said}, {method_of(record)}"


def _settings(recipe: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(recipe.items()))


def _scores(record: RunRecord) -> dict[str, str]:
    """The accuracy or perplexity, named with the split it was measured on."""
    made = {}
    params = record.spec.params
    for key, label in _SCORES.items():
        value = record.values.get(key)
        if value is None:
            continue
        unit = f" {value.unit}" if value.unit else ""
        said = f"{value.value:.2f}{unit}"
        if value.low is not None:
            said += f" [{value.low:.2f}, {value.high:.2f}]"
        split = params.get(
            "scored_on", "validation" if key.startswith("validation") else "test"
        )
        made[f"{label}, {split}"] = f"{said} at the last epoch"
    return made


def _call(record: RunRecord) -> str:
    params = record.spec.params
    how = method_of(record)
    told = "" if how == "fp32" else f', method="{how}"'
    return (
        f'qstudy.load("{params["model"]}", seed={record.spec.seed}, '
        f'stage="{stage_of(record)}"{told})'
    )
