"""Score the dynamic chapter's networks, ranges and kernels; torch comes inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from qstudy.experiments.dynamic import forms, inputs, tasks_timing, tasks_training
from qstudy.spec import Context, RunSpec, Value, Values

# A score may move in its last digits between instruction sets.
_POINTS = 0.5  # percentage points, of a few hundred passages


def quality(spec: RunSpec, ctx: Context) -> Values:
    """One network in one form on the test texts; its size by part."""
    params = spec.params
    if params["model"].endswith("lstm"):
        return _lstm_quality(spec, ctx)
    return _genre_quality(spec, ctx)


def _lstm_quality(spec: RunSpec, ctx: Context) -> Values:
    from qstudy.models import text
    from qstudy.training import language

    params = spec.params
    parent = RunSpec.from_dict(params["parent"])
    model = text.build(params["model"])
    text.load_weights(model, ctx.checkpoint(parent))
    vocabulary = inputs.vocabulary(spec, ctx, model.embedding.num_embeddings)
    form = forms.form(model, params["how"])
    texts = ctx.texts(params["dataset"], "test")
    scores = language.token_scores(
        form, [vocabulary.encode(t) for t in texts], batch=params["batch"]
    )
    loss = np.array([s.loss.astype(np.float64).sum() for s in scores])
    hits = np.array([s.hit.sum() for s in scores])
    tokens = np.array([len(s.loss) for s in scores])
    top1 = 100 * hits.sum() / tokens.sum()
    return Values(
        values={
            "perplexity": inputs.perplexity(loss.sum() / tokens.sum()),
            "top1": Value(float(top1), "%", "isa", tolerance=_POINTS),
            **_sizes(model, form),
        },
        arrays={
            "loss": loss,
            "hits": hits,
            "tokens": tokens,
            "genre": inputs.genre_numbers(spec, ctx),
        },
    )


def _genre_quality(spec: RunSpec, ctx: Context) -> Values:
    import torch

    from qstudy.measure import accuracy
    from qstudy.models import text

    params = spec.params
    classifier = inputs.classifier(spec)
    text.load_weights(classifier, ctx.checkpoint(RunSpec.from_dict(params["parent"])))
    values, arrays = {}, {}
    if inputs.is_encoder(params["model"]):
        encoder = inputs.encoder(spec, ctx)
        form = _encoder_form(spec, ctx, encoder)
        features, labels = inputs.features(spec, ctx, "test", form)
        predict = classifier
        # Two passages a text in half precision: enough to correlate, small to keep.
        kept = _first_of_each(labels.text, 2)
        arrays["embeddings"] = features[kept].astype(np.float16)
        if not params["how"].startswith("simulated"):
            values |= _sizes(encoder, form)
    else:
        features, labels = inputs.features(spec, ctx, "test", None)
        predict = forms.form(classifier, params["how"])
        values |= _sizes(classifier, predict)
    x = torch.from_numpy(features)
    if predict is not classifier and params["how"] == "bf16":
        x = x.to(torch.bfloat16)
    with torch.inference_mode():
        # One passage at a time: the range of a batch depends on what else is in it.
        logits = np.concatenate([predict(row[None]).float().numpy() for row in x])
    predicted = accuracy.classes(logits)
    correct = accuracy.correct(predicted, labels.label).astype(np.uint8)
    values["top1"] = Value(float(100 * correct.mean()), "%", "isa", tolerance=_POINTS)
    return Values(
        values=values,
        arrays={
            **arrays,
            "correct": correct,
            "text": labels.text.astype(np.int16),
            "genre": inputs.genre_numbers(spec, ctx),
        },
    )


def _encoder_form(spec: RunSpec, ctx: Context, encoder: Any) -> Any:
    how = spec.params["how"]
    if not how.startswith("simulated"):
        return forms.form(encoder, how)
    if how == "simulated_dynamic":
        return forms.simulated(encoder, None)
    calibrators = _calibrated(spec, ctx, encoder)
    sort = "max" if how.endswith("max") else "percentile"
    fixed = {path: c[sort].range() for path, c in calibrators.items()}
    return forms.simulated(encoder, fixed)


def _calibrated(spec: RunSpec, ctx: Context, encoder: Any) -> dict[str, dict[str, Any]]:
    """Two calibrators a Linear, fed with the inputs of training passages."""
    from qstudy.numerics.calibration import MaxCalibrator, PercentileCalibrator

    found = {
        path: {
            "max": MaxCalibrator(),
            "percentile": PercentileCalibrator(percentile=99.99),
        }
        for path in forms.linear_paths(encoder)
    }

    def watch(path: str, x: Any) -> None:
        for calibrator in found[path].values():
            calibrator.update(x)

    ids = inputs.passage_ids(spec, ctx, "train", per_text=1)
    few = ids[: spec.params["calibration"]]
    forms.observed_ranges(encoder, few, watch=watch)
    return found


def ranges(spec: RunSpec, ctx: Context) -> Values:
    """Each Linear's input: ranges fixed on training text, those of test passages."""
    encoder = inputs.encoder(spec, ctx)
    fixed = _calibrated(spec, ctx, encoder)
    seen: dict[str, list[tuple[float, float, float]]] = {p: [] for p in fixed}

    def watch(path: str, x: Any) -> None:
        low, high = fixed[path]["max"].range()
        outside = ((x < low) | (x > high)).double().mean()
        seen[path].append((float(x.min()), float(x.max()), float(outside)))

    ids = inputs.passage_ids(spec, ctx, "test", per_text=2)[: spec.params["passages"]]
    forms.observed_ranges(encoder, ids, watch=watch)
    values = {}
    for path, rows in seen.items():
        table = np.array(rows)
        for sort, calibrator in fixed[path].items():
            for end, value in zip(("low", "high"), calibrator.range(), strict=True):
                values[f"static_{sort}_{end}/{path}"] = _real(value)
        for column, end in enumerate(("low", "high")):
            for share in (5, 50, 95):
                value = np.percentile(table[:, column], share)
                values[f"dynamic_{end}_p{share}/{path}"] = _real(value)
        values[f"outside/{path}"] = _real(100 * table[:, 2].mean(), "%")
    return Values(values=values)


def kernels(spec: RunSpec, ctx: Context) -> Values:
    """Results that differ between the study's dynamic linear and each engine's."""
    from qstudy.methods.dynamic import kernels as asked

    encoder = inputs.encoder(spec, ctx)
    seen_by: dict[str, list] = {path: [] for path in forms.linear_paths(encoder)}
    ids = inputs.passage_ids(spec, ctx, "test", per_text=1)[: spec.params["passages"]]
    forms.observed_ranges(
        encoder, ids, watch=lambda path, x: seen_by[path].append(x[0])
    )
    values = {}
    with ctx.progress(len(asked.kernels()), "kernels") as step:
        for kernel in asked.kernels():
            count = differing = 0
            for path, seen in seen_by.items():
                outcome = asked.compare(kernel, encoder.get_submodule(path), seen)
                count += outcome.count
                differing += outcome.differing
            values[f"compared/{kernel.name}"] = Value(count, "count", "exact")
            values[f"differing/{kernel.name}"] = Value(
                differing, "count", "isa", tolerance=count
            )
            step(f"{kernel.name}: {differing} of {count} differ")
    return Values(values=values)


def _first_of_each(owner: np.ndarray, count: int) -> np.ndarray:
    """The indices of the first `count` members of each owner, ascending."""
    kept = [np.flatnonzero(owner == name)[:count] for name in np.unique(owner)]
    return np.sort(np.concatenate(kept))


def _sizes(model: Any, form: Any) -> dict[str, Value]:
    """size_mib of the file and of each part; parameters quantized and in all."""
    from qstudy.methods import dynamic

    values = {
        f"size_mib/{part}": Value(mib, "MiB", "exact")
        for part, mib in forms.size_by_part(form).items()
    }
    parts = dynamic.coverage(model, form)
    covered = sum(p.parameters for p in parts if p.quantized)
    kinds = {p.kind for p in parts if not p.quantized}
    values["parameters"] = Value(sum(p.parameters for p in parts), "count", "exact")
    values["quantized_parameters"] = Value(covered, "count", "exact")
    values["left_in_float"] = Value(json.dumps(sorted(kinds)), "", "exact")
    return values


def _real(value: float, unit: str = "") -> Value:
    return Value(
        float(value), unit, "isa", tolerance=max(1e-3, abs(float(value)) / 100)
    )


_TASKS: Mapping[str, Any] = {
    "train": tasks_training.train,
    "ngram": tasks_training.ngram,
    "quality": quality,
    "ranges": ranges,
    "kernels": kernels,
    "latency": tasks_timing.latency,
}


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names; ValueError for another."""
    from qstudy.measure import system

    task = spec.params["task"]
    if task not in _TASKS:
        raise ValueError(f"task {task!r} is not one of {tuple(_TASKS)}")
    if task == "latency":  # its workers set their own threads
        return _TASKS[task](spec, ctx)
    with system.threads(spec.params["threads"]):
        return _TASKS[task](spec, ctx)
