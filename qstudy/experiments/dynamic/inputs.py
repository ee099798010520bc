"""What the dynamic chapter's networks read and are: words, passages, features.

The words of the Brown corpus come through ctx.texts, MiniLM through ctx.pretrained;
torch is imported inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qstudy.experiments.dynamic import forms
from qstudy.spec import Context, RunSpec, Value

# A score may move in its last digits between instruction sets.
_PERPLEXITY = 0.5


def is_encoder(model: str) -> bool:
    """Whether passages go through an encoder to a head, not whole to an MLP."""
    return model in ("minilm", "tiny_encoder")


def vocabulary(spec: RunSpec, ctx: Context, size: int) -> Any:
    """The vocabulary of the training texts, `size` words."""
    from qstudy.data.vocabulary import Vocabulary

    return Vocabulary.of(ctx.texts(spec.params["dataset"], "train"), size=size)


def encoder(spec: RunSpec, ctx: Context) -> Any:
    """The fp32 encoder that `spec` names, in eval mode."""
    from qstudy.models import text

    model = text.build(spec.params["model"]).eval()
    if spec.params["model"] == "minilm":
        text.load_weights(model, ctx.pretrained("minilm"))
    return model


def classifier(spec: RunSpec, *, dropout: float = 0.0) -> Any:
    """The linear head of an encoder, or the whole MLP."""
    import torch

    from qstudy.models import text

    name = spec.params["model"]
    if not is_encoder(name):
        return text.build(name, seed=spec.seed, dropout=dropout)
    width = text.build("tiny_encoder").shape.width if name != "minilm" else 384
    head = torch.nn.Linear(width, text.GENRES)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head


def features(spec: RunSpec, ctx: Context, split: str, model: Any) -> tuple:
    """The features of a split's passages, float32 (n, K), and the passages."""
    from qstudy.data.passages import bag_of_words

    chosen = _passages(spec, ctx, split)
    if model is None:
        from qstudy.models import text

        size = text.FEATURES if spec.params["model"] == "mlp" else 64
        return bag_of_words(chosen, vocabulary(spec, ctx, size)), chosen
    ids = _encoded(spec, ctx, chosen)
    with ctx.progress(len(ids) // 100, f"{split} passages") as step:
        return forms.embeddings(model, ids, step=step), chosen


def genre_numbers(spec: RunSpec, ctx: Context) -> np.ndarray:
    """uint8 (texts,): the genre of each test text, the strata of the bootstrap."""
    from qstudy.data.brown import GENRES

    names = list(GENRES.values())
    texts = ctx.texts(spec.params["dataset"], "test")
    return np.array([names.index(t.genre) for t in texts], dtype=np.uint8)


def _passages(spec: RunSpec, ctx: Context, split: str, per_text: int = 0) -> Any:
    from qstudy.data.passages import passages

    params = spec.params
    return passages(
        ctx.texts(params["dataset"], split),
        per_text=per_text or params["per_text"],
        words=params["words"],
    )


def passage_ids(spec: RunSpec, ctx: Context, split: str, *, per_text: int) -> list:
    """Token ids of `per_text` passages of each text of a split, int64 (1, T)."""
    return _encoded(spec, ctx, _passages(spec, ctx, split, per_text))


def _encoded(spec: RunSpec, ctx: Context, chosen: Any) -> list:
    """Token ids of each passage, int64 (1, T) tensors, as its encoder reads them."""
    import torch

    if spec.params["model"] != "minilm":
        encode = vocabulary(spec, ctx, 300).ids
        rows = [[encode.get(w.lower(), 0) for w in words] for words in chosen.words]
        return [torch.tensor([row]) for row in rows]
    from tokenizers import Tokenizer

    from qstudy.data import weights

    tokenizer = Tokenizer.from_str(weights.text("minilm", "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    made = tokenizer.encode_batch([" ".join(words) for words in chosen.words])
    return [torch.tensor([encoding.ids]) for encoding in made]


def perplexity(mean_loss: float) -> Value:
    """e to the mean loss in nats, as a record keeps it."""
    return Value(float(np.exp(mean_loss)), "", "isa", tolerance=_PERPLEXITY)
