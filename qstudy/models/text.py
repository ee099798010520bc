"""Every network of the dynamic chapter by name, built or loaded.

lstm, mlp and minilm are trained; the others are shapes that are only timed. tiny_*
serve smoke runs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

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

    A tied weight is stored once. Raises ValueError, one line, where a tensor is missing
    or too many or of another shape.
    """
    state = load_file(path)
    if isinstance(model, Encoder):
        state = from_bert(state)
    if isinstance(model, WordLSTM):
        state.setdefault("output.weight", state.get("embedding.weight"))
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ValueError(
            f"checkpoint {path} does not fit {type(model).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error


def stored(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors to save: each once, by the first of its names."""
    return {
        n: t.detach() for n, t in (*model.named_parameters(), *model.named_buffers())
    }
