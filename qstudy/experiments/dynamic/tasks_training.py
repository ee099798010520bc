"""Train the dynamic chapter's networks, and count its 3-gram; torch comes inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from qstudy.experiments.dynamic import inputs
from qstudy.spec import Context, RunSpec, Value, Values


def train(spec: RunSpec, ctx: Context) -> Values:
    """Train one network and keep it, scored on the validation texts."""
    from qstudy.models import text

    model = spec.params["model"]
    if model.endswith("lstm"):
        trained, values, earlier = _train_lstm(spec, ctx)
    else:
        trained, values, earlier = _train_classifier(spec, ctx)
    from qstudy.training.resume import write_tensors

    name = "minilm_head" if model == "minilm" else model
    return Values(
        values=values,
        checkpoint=write_tensors(
            text.stored(trained), ctx.resume / "checkpoint.safetensors"
        ),
        checkpoint_name=(
            f"{name}-{spec.params['dataset']}-fp32-s{spec.seed}.safetensors"
        ),
        earlier_seconds=earlier,
    )


def _train_lstm(spec: RunSpec, ctx: Context) -> tuple:
    from qstudy.models import text
    from qstudy.training import language

    params = spec.params
    recipe = language.LanguageRecipe(**params["recipe"])
    model = text.build(params["model"], seed=spec.seed, dropout=recipe.dropout)
    encode = inputs.vocabulary(spec, ctx, model.embedding.num_embeddings).encode
    here: list[Any] = []
    with ctx.progress(recipe.epochs, params["model"]) as step:
        log = language.train_language(
            model,
            [encode(t) for t in ctx.texts(params["dataset"], "train")],
            recipe=recipe,
            seed=spec.seed,
            resume=ctx.resume,
            report=lambda progress: (here.append(progress), step(str(progress))),
        )
    held = [encode(t) for t in ctx.texts(params["dataset"], "validation")]
    scores = language.token_scores(model, held)
    loss = np.concatenate([s.loss for s in scores]).mean()
    earlier = sum(epoch["seconds"] for epoch in log[: len(log) - len(here)])
    values = {
        "validation_perplexity": Value(float(np.exp(loss)), "", "stochastic"),
        "loss": Value(log[-1]["loss"], "nat", "stochastic"),
        "training_seconds": Value(sum(e["seconds"] for e in log), "s", "timing"),
    }
    return model, values, earlier


def _train_classifier(spec: RunSpec, ctx: Context) -> tuple:
    import torch

    from qstudy.measure import accuracy
    from qstudy.training.classifier import ClassifierRecipe, train_classifier

    params = spec.params
    recipe = ClassifierRecipe(**params["recipe"])
    model = inputs.classifier(spec, dropout=recipe.dropout)
    encoder = inputs.encoder(spec, ctx) if inputs.is_encoder(params["model"]) else None
    features, labels = inputs.features(spec, ctx, "train", encoder)
    with ctx.progress(recipe.epochs, f"{params['model']} head") as step:
        loss = train_classifier(
            model,
            torch.from_numpy(features),
            labels.label,
            recipe=recipe,
            seed=spec.seed,
            step=step,
        )
    features, labels = inputs.features(spec, ctx, "validation", encoder)
    with torch.inference_mode():
        predicted = accuracy.classes(model(torch.from_numpy(features)))
    right = float(accuracy.correct(predicted, labels.label).mean() * 100)
    values = {
        "validation_top1": Value(right, "%", "stochastic"),
        "loss": Value(loss, "nat", "stochastic"),
    }
    return model, values, 0.0


def ngram(spec: RunSpec, ctx: Context) -> Values:
    """Perplexity of the 3-gram at the discount that the validation texts prefer."""
    from qstudy.models import text
    from qstudy.training.ngram import KneserNeyTrigram

    params = spec.params
    size = text.VOCABULARY if params["dataset"] == "brown" else 200
    vocabulary = inputs.vocabulary(spec, ctx, size)
    parts = {
        split: [vocabulary.encode(t) for t in ctx.texts(params["dataset"], split)]
        for split in ("train", "validation", "test")
    }
    found, values = {}, {}
    with ctx.progress(len(params["discounts"]), "3-gram") as step:
        for discount in params["discounts"]:
            model = KneserNeyTrigram(parts["train"], discount=discount)
            losses = np.concatenate([model.losses(t) for t in parts["validation"]])
            mean = losses.mean()
            found[discount] = (mean, model)
            values[f"validation_perplexity/{discount}"] = inputs.perplexity(mean)
            step(f"discount {discount}: {np.exp(losses.mean()):.1f}")
    discount = min(found, key=lambda d: found[d][0])
    losses = [found[discount][1].losses(t) for t in parts["test"]]
    whole = np.concatenate(losses).mean()
    return Values(
        values={
            **values,
            "discount": Value(discount, "", "exact"),
            "perplexity": inputs.perplexity(whole),
        },
        arrays={
            "loss": np.array([x.sum() for x in losses]),
            "tokens": np.array([len(x) for x in losses]),
            "genre": inputs.genre_numbers(spec, ctx),
        },
    )
