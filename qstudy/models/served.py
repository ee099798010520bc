"""The text networks as a server calls them: ids in, one answer out, nothing looked up.

`WordLSTM` and `Encoder` check their ids by value and count positions anew in each call,
which no compiler can follow. Here the length is fixed and the ids are trusted; the
weights, their names behind a prefix, and the answers are the same.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from qstudy.models import text
from qstudy.models.encoder import Encoder
from qstudy.models.lstm import WordLSTM

# Tokens of a call, as the dynamic chapter's quick run times them.
LENGTH = 64
NAMES = ("lstm", "minilm")


class NextWord(nn.Module):
    """Logits (B, vocabulary) of the word after int64 ids (B, T)."""

    def __init__(self, model: WordLSTM) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        states = self.model.lstm(self.model.embedding(ids))[0]
        return self.model.output(states[:, -1])


class Sentence(nn.Module):
    """Vectors (B, width) of length 1 for int64 ids (B, `length`), none of them padding.

    ValueError for a length that the encoder has no positions for.
    """

    def __init__(self, model: Encoder, *, length: int) -> None:
        super().__init__()
        if not 1 <= length <= model.shape.longest:
            raise ValueError(f"length {length} is outside 1 to {model.shape.longest}")
        self.model, self.length = model, length

    def forward(self, ids: Tensor) -> Tensor:
        model = self.model
        # The rows themselves: a table that is read at constant places is one that some
        # engines fold away and others stumble over.
        x = model.token_embedding(ids) + model.position_embedding.weight[: self.length]
        x = model.embedding_norm(x + model.type_embedding.weight[0])
        for layer in model.layers:
            x = layer(x)
        return functional.normalize(x.mean(1), dim=-1)


def lstm() -> NextWord:
    """The dynamic chapter's LSTM in eval mode, its weights drawn from a seed."""
    return NextWord(text.build("lstm")).eval()


def minilm() -> Sentence:
    """all-MiniLM-L6-v2's shape in eval mode, its weights drawn from a seed."""
    return Sentence(text.build("minilm"), length=LENGTH).eval()


def vocabulary(name: str) -> int:
    """How many ids the network `name` knows; ValueError for one not in NAMES."""
    if name not in NAMES:
        raise ValueError(f"model {name!r} is not one of {NAMES}")
    return {"lstm": text.VOCABULARY, "minilm": text.MINILM.vocabulary}[name]
