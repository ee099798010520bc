"""The networks that the dynamic chapter keeps, as others load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qstudy.experiments.dynamic import inputs
from qstudy.spec import RunRecord, Trained


def _load(record: RunRecord, path: Path) -> Any:
    """The LSTM or MLP of `record`, or its head behind the encoder that it reads."""
    from torch import nn

    from qstudy.data import weights
    from qstudy.models import text

    model = record.spec.params["model"]
    if model.endswith("lstm"):
        network = text.build(model)
    else:
        network = inputs.classifier(record.spec)
    text.load_weights(network, path)
    if not inputs.is_encoder(model):
        return network.eval()
    encoder = text.build(model)
    text.load_weights(encoder, weights.path(model))
    return nn.Sequential(encoder, network).eval()


TRAINED = Trained(
    limits=(
        "Made to be quantized and compared, not to be used: American English of 1961, "
        "a million words, one run. The score says nothing about other text."
    ),
    load=_load,
)
