"""Every network of the dynamic chapter by name, built or loaded.

lstm, mlp and minilm are trained; the others are shapes that are only timed. tiny_*
serve smoke runs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from qstudy.models import zoo
from qstudy.models.encoder import BERT_BASE, MINILM, Encoder, EncoderShape, from_bert
from qstudy.models.lstm import WordLSTM

VOCABULARY = 10_000
FEATURES = 1024
GENRES = 15
_LSTMS = {"lstm": (256, 2), "lstm_512": (512, 2), "lstm_1024": (1024, 2)}
_ENCODERS = {
    "minilm": MINILM,
    "bert_base": BERT_BASE,
    "tiny_encoder": EncoderShape(
        vocabulary=300, width=32, layers=2, heads=4, inner=64, longest=128
    ),
}
_LINEARS = {"linear_1024": 1024, "linear_4096": 4096}
_MLPS = {"mlp": (FEATURES, 1536), "tiny_mlp": (64, 32)}
NAMES = (*_LSTMS, "tiny_lstm", *_MLPS, *_ENCODERS, *_LINEARS)


def build(name: str, *, seed: int = 0, dropout: float = 0.0) -> nn.Module:
    """The network `name`, float32, its weights drawn from `seed`.

    `dropout` is that of the LSTM and MLP in training. The global random state is left
    as it was. Raises ValueError for a name that is not in NAMES.
    """
    if name not in NAMES:
        raise ValueError(f"model {name!r} is not one of {NAMES}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "tiny_lstm":
            return WordLSTM(vocabulary=200, width=32, layers=2, dropout=dropout)
        if name in _LSTMS:
            width, layers = _LSTMS[name]
            return WordLSTM(
                vocabulary=VOCABULARY, width=width, layers=layers, dropout=dropout
            )
        if name in _ENCODERS:
            return Encoder(_ENCODERS[name])
        if name in _LINEARS:
            return nn.Sequential(nn.Linear(_LINEARS[name], _LINEARS[name]))
        return _mlp(*_MLPS[name], dropout=dropout)


def _mlp(features: int, width: int, *, dropout: float) -> nn.Sequential:
    """Two hidden layers; features (B, features) in, logits (B, GENRES) out."""
    return nn.Sequential(
        nn.Linear(features, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, GENRES),
    )


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Put a safetensors file into `model`: a checkpoint of ours or BERT's own names.

    A tied weight is stored once. Raises as zoo.load_checkpoint.
    """
    state = zoo.read_checkpoint(path)
    if isinstance(model, Encoder):
        state = from_bert(state)
    if isinstance(model, WordLSTM) and "embedding.weight" in state:
        state.setdefault("output.weight", state["embedding.weight"])
    zoo.fill(model, state, path)


def stored(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors to save: each once, by the first of its names."""
    return {
        n: t.detach() for n, t in (*model.named_parameters(), *model.named_buffers())
    }
