"""What the dynamic chapter computes, a function a task; torch is imported inside.

The words of the Brown corpus come through ctx.texts, MiniLM through ctx.pretrained.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from qstudy.experiments import dynamic_networks as networks
from qstudy.experiments import timing
from qstudy.spec import Context, RunSpec, Value, Values

TRAINED = ("lstm", "minilm", "mlp")
# A score may move in its last digits between instruction sets.
_POINTS = 0.5  # percentage points, of a few hundred passages
_PERPLEXITY = 0.5


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
    encode = _vocabulary(spec, ctx, model.embedding.num_embeddings).encode
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

    from qstudy.training.classifier import ClassifierRecipe, train_classifier

    params = spec.params
    recipe = ClassifierRecipe(**params["recipe"])
    model = _classifier(spec, dropout=recipe.dropout)
    encoder = _encoder(spec, ctx) if _is_encoder(params["model"]) else None
    features, labels = _features(spec, ctx, "train", encoder)
    with ctx.progress(recipe.epochs, f"{params['model']} head") as step:
        loss = train_classifier(
            model,
            torch.from_numpy(features),
            labels.label,
            recipe=recipe,
            seed=spec.seed,
            step=step,
        )
    features, labels = _features(spec, ctx, "validation", encoder)
    with torch.inference_mode():
        predicted = model(torch.from_numpy(features)).argmax(1).numpy()
    right = float((predicted == labels.label).mean() * 100)
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
    vocabulary = _vocabulary(spec, ctx, size)
    parts = {
        split: [vocabulary.encode(t) for t in ctx.texts(params["dataset"], split)]
        for split in ("train", "validation", "test")
    }
    found, values = {}, {}
    with ctx.progress(len(params["discounts"]), "3-gram") as step:
        for discount in params["discounts"]:
            model = KneserNeyTrigram(parts["train"], discount=discount)
            losses = np.concatenate([model.losses(t) for t in parts["validation"]])
            found[discount] = (losses.mean(), model)
            values[f"validation_perplexity/{discount}"] = _perplexity(losses.mean())
            step(f"discount {discount}: {np.exp(losses.mean()):.1f}")
    discount = min(found, key=lambda d: found[d][0])
    losses = [found[discount][1].losses(t) for t in parts["test"]]
    whole = np.concatenate(losses).mean()
    return Values(
        values={
            **values,
            "discount": Value(discount, "", "exact"),
            "perplexity": _perplexity(whole),
        },
        arrays={
            "loss": np.array([x.sum() for x in losses]),
            "tokens": np.array([len(x) for x in losses]),
            "genre": _genre_numbers(spec, ctx),
        },
    )


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
    vocabulary = _vocabulary(spec, ctx, model.embedding.num_embeddings)
    form = networks.form(model, params["how"])
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
            "perplexity": _perplexity(loss.sum() / tokens.sum()),
            "top1": Value(float(top1), "%", "isa", tolerance=_POINTS),
            **_sizes(model, form),
        },
        arrays={
            "loss": loss,
            "hits": hits,
            "tokens": tokens,
            "genre": _genre_numbers(spec, ctx),
        },
    )


def _genre_quality(spec: RunSpec, ctx: Context) -> Values:
    import torch

    from qstudy.models import text

    params = spec.params
    classifier = _classifier(spec)
    text.load_weights(classifier, ctx.checkpoint(RunSpec.from_dict(params["parent"])))
    values, arrays = {}, {}
    if _is_encoder(params["model"]):
        encoder = _encoder(spec, ctx)
        form = _encoder_form(spec, ctx, encoder)
        features, labels = _features(spec, ctx, "test", form)
        predict = classifier
        # Two passages a text in half precision: enough to correlate, small to keep.
        kept = _first_of_each(labels.text, 2)
        arrays["embeddings"] = features[kept].astype(np.float16)
        if not params["how"].startswith("simulated"):
            values |= _sizes(encoder, form)
    else:
        features, labels = _features(spec, ctx, "test", None)
        predict = networks.form(classifier, params["how"])
        values |= _sizes(classifier, predict)
    x = torch.from_numpy(features)
    if predict is not classifier and params["how"] == "bf16":
        x = x.to(torch.bfloat16)
    with torch.inference_mode():
        # One passage at a time: the range of a batch depends on what else is in it.
        predicted = np.array([int(predict(row[None]).argmax()) for row in x])
    correct = (predicted == labels.label).astype(np.uint8)
    values["top1"] = Value(float(100 * correct.mean()), "%", "isa", tolerance=_POINTS)
    return Values(
        values=values,
        arrays={
            **arrays,
            "correct": correct,
            "text": labels.text.astype(np.int16),
            "genre": _genre_numbers(spec, ctx),
        },
    )


def _encoder_form(spec: RunSpec, ctx: Context, encoder: Any) -> Any:
    how = spec.params["how"]
    if not how.startswith("simulated"):
        return networks.form(encoder, how)
    if how == "simulated_dynamic":
        return networks.simulated(encoder, None)
    calibrators = _calibrated(spec, ctx, encoder)
    sort = "max" if how.endswith("max") else "percentile"
    fixed = {path: c[sort].range() for path, c in calibrators.items()}
    return networks.simulated(encoder, fixed)


def _calibrated(spec: RunSpec, ctx: Context, encoder: Any) -> dict[str, dict[str, Any]]:
    """Two calibrators a Linear, fed with the inputs of training passages."""
    from qstudy.numerics.calibration import MaxCalibrator, PercentileCalibrator

    found = {
        path: {
            "max": MaxCalibrator(),
            "percentile": PercentileCalibrator(percentile=99.99),
        }
        for path in networks.linear_paths(encoder)
    }

    def watch(path: str, x: Any) -> None:
        for calibrator in found[path].values():
            calibrator.update(x)

    ids = _passage_ids(spec, ctx, "train", per_text=1)[: spec.params["calibration"]]
    networks.observed_ranges(encoder, ids, watch=watch)
    return found


def ranges(spec: RunSpec, ctx: Context) -> Values:
    """Each Linear's input: ranges fixed on training text, those of test passages."""
    encoder = _encoder(spec, ctx)
    fixed = _calibrated(spec, ctx, encoder)
    seen: dict[str, list[tuple[float, float, float]]] = {p: [] for p in fixed}

    def watch(path: str, x: Any) -> None:
        low, high = fixed[path]["max"].range()
        outside = ((x < low) | (x > high)).double().mean()
        seen[path].append((float(x.min()), float(x.max()), float(outside)))

    ids = _passage_ids(spec, ctx, "test", per_text=2)[: spec.params["passages"]]
    networks.observed_ranges(encoder, ids, watch=watch)
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
    from qstudy.methods import dynamic_kernels

    encoder = _encoder(spec, ctx)
    inputs: dict[str, list] = {path: [] for path in networks.linear_paths(encoder)}
    ids = _passage_ids(spec, ctx, "test", per_text=1)[: spec.params["passages"]]
    networks.observed_ranges(
        encoder, ids, watch=lambda path, x: inputs[path].append(x[0])
    )
    values = {}
    with ctx.progress(len(dynamic_kernels.kernels()), "kernels") as step:
        for kernel in dynamic_kernels.kernels():
            count = differing = 0
            for path, seen in inputs.items():
                for x in seen:
                    outcome = dynamic_kernels.compare(
                        kernel, encoder.get_submodule(path), x
                    )
                    count += outcome.count
                    differing += outcome.differing
            values[f"compared/{kernel.name}"] = Value(count, "count", "exact")
            values[f"differing/{kernel.name}"] = Value(
                differing, "count", "isa", tolerance=count
            )
            step(f"{kernel.name}: {differing} of {count} differ")
    return Values(values=values)


def latency(spec: RunSpec, ctx: Context) -> Values:
    """Every candidate's time at every batch, and its ratios to the baselines."""
    from qstudy.measure import latency as measure

    params = spec.params
    weights = ""
    if params["model"] == "minilm":
        weights = str(ctx.pretrained("minilm"))
    elif "parent" in params and not _is_encoder(params["model"]):
        weights = str(ctx.checkpoint(RunSpec.from_dict(params["parent"])))
    result = timing.measure(
        spec,
        ctx,
        factory=timed_forward,
        arguments={
            "model": params["model"],
            "weights": weights,
            "length": params["length"],
        },
    )
    values = measure.to_values(result)
    for batch in params["batches"]:
        for name, baseline in timing.baselines(result, batch=batch).items():
            for candidate in result.medians:
                ratio = measure.ratio(result, baseline, candidate, batch=batch)
                values[f"ratio/{name}/{candidate}/b{batch}"] = Value(
                    ratio.value, "ratio", "timing", ratio.low, ratio.high
                )
    return Values(values=values)


def timed_forward(
    *, name: str, model: str, weights: str, length: int, batch: int
) -> Any:
    """What a timing worker times: one forward pass of candidate `name`.

    Weights do not change the time, so a network without a file keeps random ones.
    Sequences are `length` tokens; the MLP and the linear layers take `batch` rows.
    """
    import torch

    from qstudy.models import text

    network = text.build(model).eval()
    if weights:
        text.load_weights(network, weights)
    precision, _, how = name.partition(":")
    compiled = how.endswith("compiled")
    how = how.removesuffix("compiled").removesuffix("_")
    forward = networks.form(network, precision if how in ("", "eager") else how)
    generator = torch.Generator().manual_seed(0)
    if length:
        tables = [m for m in network.modules() if isinstance(m, torch.nn.Embedding)]
        words = tables[0].num_embeddings
        x = torch.randint(0, words, (batch, length), generator=generator)
    else:
        width = next(p.shape[1] for p in network.parameters() if p.dim() == 2)
        x = torch.randn(batch, width, generator=generator)
        x = x.to(torch.bfloat16) if precision == "bf16" else x
    if compiled:
        forward = torch.compile(forward, dynamic=False)

    def call() -> None:
        with torch.inference_mode():
            forward(x)

    return call


def _is_encoder(model: str) -> bool:
    return model in ("minilm", "tiny_encoder")


def _vocabulary(spec: RunSpec, ctx: Context, size: int) -> Any:
    from qstudy.data.vocabulary import Vocabulary

    return Vocabulary.of(ctx.texts(spec.params["dataset"], "train"), size=size)


def _encoder(spec: RunSpec, ctx: Context) -> Any:
    from qstudy.models import text

    model = text.build(spec.params["model"]).eval()
    if spec.params["model"] == "minilm":
        text.load_weights(model, ctx.pretrained("minilm"))
    return model


def _classifier(spec: RunSpec, *, dropout: float = 0.0) -> Any:
    """The linear head of an encoder, or the whole MLP."""
    import torch

    from qstudy.models import text

    name = spec.params["model"]
    if not _is_encoder(name):
        return text.build(name, seed=spec.seed, dropout=dropout)
    width = text.build("tiny_encoder").shape.width if name != "minilm" else 384
    head = torch.nn.Linear(width, text.GENRES)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head


def _features(spec: RunSpec, ctx: Context, split: str, encoder: Any) -> tuple:
    """The features of a split's passages, float32 (n, K), and the passages."""
    from qstudy.data.passages import bag_of_words

    chosen = _passages(spec, ctx, split)
    if encoder is None:
        from qstudy.models import text

        size = text.FEATURES if spec.params["model"] == "mlp" else 64
        return bag_of_words(chosen, _vocabulary(spec, ctx, size)), chosen
    ids = _encoded(spec, ctx, chosen)
    with ctx.progress(len(ids) // 100, f"{split} passages") as step:
        return networks.embeddings(encoder, ids, step=step), chosen


def _genre_numbers(spec: RunSpec, ctx: Context) -> np.ndarray:
    """uint8 (texts,): the genre of each test text, the strata of the bootstrap."""
    from qstudy.data.brown import GENRES

    names = list(GENRES.values())
    texts = ctx.texts(spec.params["dataset"], "test")
    return np.array([names.index(t.genre) for t in texts], dtype=np.uint8)


def _first_of_each(owner: np.ndarray, count: int) -> np.ndarray:
    """The indices of the first `count` members of each owner, ascending."""
    kept = [np.flatnonzero(owner == name)[:count] for name in np.unique(owner)]
    return np.sort(np.concatenate(kept))


def _passages(spec: RunSpec, ctx: Context, split: str, per_text: int = 0) -> Any:
    from qstudy.data.passages import passages

    params = spec.params
    return passages(
        ctx.texts(params["dataset"], split),
        per_text=per_text or params["per_text"],
        words=params["words"],
    )


def _passage_ids(spec: RunSpec, ctx: Context, split: str, *, per_text: int) -> list:
    return _encoded(spec, ctx, _passages(spec, ctx, split, per_text))


def _encoded(spec: RunSpec, ctx: Context, chosen: Any) -> list:
    """Token ids of each passage, int64 (1, T) tensors, as its encoder reads them."""
    import torch

    if spec.params["model"] != "minilm":
        encode = _vocabulary(spec, ctx, 300).ids
        rows = [[encode.get(w.lower(), 0) for w in words] for words in chosen.words]
        return [torch.tensor([row]) for row in rows]
    from tokenizers import Tokenizer

    from qstudy.data import weights

    tokenizer = Tokenizer.from_str(weights.text("minilm", "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    made = tokenizer.encode_batch([" ".join(words) for words in chosen.words])
    return [torch.tensor([encoding.ids]) for encoding in made]


def _sizes(model: Any, form: Any) -> dict[str, Value]:
    """size_mib of the file and of each part; parameters quantized and in all."""
    from qstudy.methods import dynamic

    values = {
        f"size_mib/{part}": Value(mib, "MiB", "exact")
        for part, mib in networks.size_by_part(form).items()
    }
    parts = dynamic.coverage(model, form)
    covered = sum(p.parameters for p in parts if p.quantized)
    kinds = {p.kind for p in parts if not p.quantized}
    values["parameters"] = Value(sum(p.parameters for p in parts), "count", "exact")
    values["quantized_parameters"] = Value(covered, "count", "exact")
    values["left_in_float"] = Value(json.dumps(sorted(kinds)), "", "exact")
    return values


def _perplexity(mean_loss: float) -> Value:
    return Value(float(np.exp(mean_loss)), "", "isa", tolerance=_PERPLEXITY)


def _real(value: float, unit: str = "") -> Value:
    return Value(
        float(value), unit, "isa", tolerance=max(1e-3, abs(float(value)) / 100)
    )
