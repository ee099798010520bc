"""A BERT-style transformer encoder that turns a passage into one vector.

The architecture of all-MiniLM-L6-v2: token, position and type embeddings, layers of
self-attention and a two-layer network with a normalization after each (Devlin et al.
2019), the mean of the last layer's tokens, scaled to length 1 (Reimers and Gurevych
2019). Every matrix product with a weight is an nn.Linear, so dynamic quantization finds
all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from qstudy.models.lstm import check_ids


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """The sizes of an encoder; `longest` is how many positions it has."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    longest: int = 512


MINILM = EncoderShape(vocabulary=30_522, width=384, layers=6, heads=12, inner=1536)
BERT_BASE = EncoderShape(vocabulary=30_522, width=768, layers=12, heads=12, inner=3072)
EPSILON = 1e-12


class Layer(nn.Module):
    """Self-attention and a two-layer network, each with a residual and a norm."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.up = nn.Linear(width, shape.inner)
        self.down = nn.Linear(shape.inner, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, width) to the same; `mask` is bool (B, 1, 1, T), True at tokens.

        None: all are tokens.
        """
        width = self.query.in_features
        batch, length = x.shape[0], x.shape[1]
        split = (batch, length, self.heads, width // self.heads)
        query, key, value = (
            linear(x).reshape(split).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask
        )
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = self.attention_norm(x + self.output(mixed))
        return self.norm(x + self.down(functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids to unit vectors."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embedding = nn.Embedding(shape.longest, shape.width)
        self.type_embedding = nn.Embedding(2, shape.width)
        self.embedding_norm = nn.LayerNorm(shape.width, eps=EPSILON)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors (B, width) of length 1 for int64 ids (B, T).

        `mask` is bool (B, T), True at tokens and False at padding; all True if None.
        Raises ValueError for an empty or over-long sequence or ids out of range.
        """
        check_ids(ids, vocabulary=self.shape.vocabulary, longest=self.shape.longest)
        if mask is None:
            mask = torch.ones_like(ids, dtype=torch.bool)
        # contiguous, as the kernel of an 8-bit table needs its indices
        positions = torch.arange(ids.shape[1]).expand_as(ids).contiguous()
        x = self.token_embedding(ids) + self.position_embedding(positions)
        x = self.embedding_norm(x + self.type_embedding(torch.zeros_like(ids)))
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        share = mask[..., None].to(x.dtype)
        return functional.normalize((x * share).sum(1) / share.sum(1), dim=-1)


_NAMES = (
    (r"^embeddings\.word_embeddings", "token_embedding"),
    (r"^embeddings\.position_embeddings", "position_embedding"),
    (r"^embeddings\.token_type_embeddings", "type_embedding"),
    (r"^embeddings\.LayerNorm", "embedding_norm"),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.self\.", "."),
    (r"\.attention\.output\.dense", ".output"),
    (r"\.attention\.output\.LayerNorm", ".attention_norm"),
    (r"\.intermediate\.dense", ".up"),
    (r"\.output\.dense", ".down"),
    (r"\.output\.LayerNorm", ".norm"),
)


def from_bert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A BERT state dict (Hugging Face's names) under this module's names.

    The pooler, which sentence embeddings do not use, and the table of position ids are
    left out; everything else is kept, so that load_state_dict is strict.
    """
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("pooler.") or name == "embeddings.position_ids":
            continue
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
